"""The plugins of ablate that Hydra discovers: `hydra/launcher=ablate`, `hydra/sweeper=ablate` and
`hydra/sweeper=optuna`.

The modules hold only what Hydra needs to find them; the work is done in `ablate.sweeping` and
`ablate.searching`, imported on use.
"""
