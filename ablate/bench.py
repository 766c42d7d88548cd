"""`python -m ablate.bench`: the name until version 0.1 of `ablate bench`."""

from ablate.cli.bench import main
from ablate.cli.entry import run_program

if __name__ == "__main__":
    run_program(main)
