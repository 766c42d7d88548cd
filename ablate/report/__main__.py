"""`python -m ablate.report`: the name until version 0.1 of `ablate report`."""

from ablate.cli.entry import run_program
from ablate.cli.report import main

if __name__ == "__main__":
    run_program(main)
