"""Recurrent cells, each its equations.

cell        the decorator, and what is known of a cell
functions   sigmoid, tanh … of tensors, numbers, and values of a trace
structure   parameters, states and gates, from the equations
trace       the graph of a cell's equations
shipped     the cells that come with ablate, a file for each family
"""
