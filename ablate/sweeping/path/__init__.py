"""`ablate path …`: from a baseline to a target, one change at a time, each step really trained.

question  what was typed: the values that stay, and the changes
walk      the greedy path, round by round
show      its table
"""
