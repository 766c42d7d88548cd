"""Recurrent cells: one time step each, by its equations."""
