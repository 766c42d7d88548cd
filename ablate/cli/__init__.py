"""The command line: what is typed, its help, and how every command begins and ends."""

from ablate.cli.commands import main

__all__ = ["main"]
