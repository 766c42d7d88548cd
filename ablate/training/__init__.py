"""From settings to trained runs: trajectories, random streams, checkpoints, and which engine computes them."""
