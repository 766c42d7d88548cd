"""`python -m ablate.claims`: the name until version 0.1 of `ablate claims`."""

from ablate.cli.claims import main
from ablate.cli.entry import run_program

if __name__ == "__main__":
    run_program(main)
