"""The plugins of ablate that Hydra discovers: `hydra/launcher=ablate`, `hydra/sweeper=ablate` and
`hydra/sweeper=ablate_optuna`. Hydra loads them in every program of the environment, so that no name is anybody else's.

The modules hold only what Hydra needs to find them; the work is done in `ablate.sweeping` and
`ablate.searching`, imported on use.
"""
