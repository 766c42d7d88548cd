"""The speed lane: tokens per second, measured alone, warmed up, and repeated until it is precise.

machine   the machine's fingerprint, its matrix product limit, its lock, and what else it is busy with
worker    a fresh process that times one setting and nothing else
process   … seen from outside: started, asked, ended
clock     seconds on a device, a GPU's by its own events
cards     what a GPU was doing: clocks, temperature, power, other processes
samples   what is not clean; medians with intervals
kept      the timings that sweeps keep
lane      rounds interleaved across settings
engines   the cohort engine beside torch.nn
gpu       what a card computes and how fast, in one command
"""
