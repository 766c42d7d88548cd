"""Importing this loads what installed packages bring: the last of what `ablate.config.registry` loads by itself."""

from ablate.config.plugins import load_installed

load_installed()
