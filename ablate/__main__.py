"""`python -m ablate`"""

from ablate.cli.entry import run_program


def command() -> int:
    from ablate.cli.run import main

    return main()


if __name__ == "__main__":
    run_program(command)
