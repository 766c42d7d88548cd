"""The Python interface, for notebooks and programs; its names are those of the package, `ablate.sweep` and the rest.

words       knobs as Python values, as the words that a command line would have
sweeps      train what is missing of a sweep; the runs of one or several sweeps as frames, tests, figures, page
sentences   `gru < lstm`: a claim in one line
trained     a trained network as a torch.nn.Module, and what it writes
summary     a sweep as a notebook shows it
loading     libraries that change their process when they are imported, imported so that it stays as it was

Nothing here changes its process: not its signal handlers, arguments, environment, logging, random numbers, threads,
arithmetic, warnings, matplotlib, nor a Hydra of its own (tests/api/test_embedding.py).
"""
