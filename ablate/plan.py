"""`python -m ablate.plan`: the name until version 0.1 of `ablate plan`."""

from ablate.cli.entry import run_program
from ablate.cli.plan import main

if __name__ == "__main__":
    run_program(main)
