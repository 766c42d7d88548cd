"""Any training function or script as a task of its own kind: no network of ours, and everything that is not about one.

declaring   a function becomes a task: knobs from its signature, metrics from what it returns
calling     the function called with a run's knobs and seed; what it reports, epoch by epoch
words       `experiment=train.py:train lr=0.1,0.01`: a bare name is the function's own knob
"""
