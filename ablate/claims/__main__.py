"""`python -m ablate.claims`: the name until version 0.1 of `ablate claims`."""

from ablate.cli.commands import former_program

if __name__ == "__main__":
    former_program("claims")
