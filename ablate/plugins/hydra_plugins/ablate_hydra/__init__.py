"""The plugins of ablate that Hydra discovers: `hydra/launcher=ablate` and `hydra/sweeper=ablate`.

The modules hold only what Hydra needs to find them; the work is done in `ablate.sweeping`, imported on use.
"""
