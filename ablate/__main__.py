"""`python -m ablate`"""

from ablate.cli.commands import program

if __name__ == "__main__":
    program()
