"""`python -m ablate.path`: the name until version 0.1 of `ablate path`."""

from ablate.cli.entry import run_program
from ablate.cli.path import main

if __name__ == "__main__":
    run_program(main)
