"""`ablate plan …`: what a sweep would train and what it can show, before anything is spent.

estimate  time and memory, from training each kind of program for a moment
jobs      of a cluster: how many, and what they take
spread    how far seeds lie apart, and so which differences their number can detect
show      the tables
"""
