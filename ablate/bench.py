"""`python -m ablate.bench`: the name until version 0.1 of `ablate bench`."""

from ablate.cli.commands import former_program

if __name__ == "__main__":
    former_program("bench")
