"""`python -m ablate.plan`: the name until version 0.1 of `ablate plan`."""

from ablate.cli.commands import former_program

if __name__ == "__main__":
    former_program("plan")
