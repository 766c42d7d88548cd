"""`python -m ablate`"""

from ablate.entry import run_program


def command() -> int:
    from ablate.cli import main  # loads Hydra, during which Ctrl-C is heard already

    return main()


if __name__ == "__main__":
    run_program(command)
