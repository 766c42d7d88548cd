"""Recurrent cells, each its equations.

cell        the decorator, and what is known of a cell
functions   sigmoid, tanh … of tensors, numbers, and values of a trace
trace       the graph of a cell's equations
shipped     the cells that come with ablate, a file for each family
"""
