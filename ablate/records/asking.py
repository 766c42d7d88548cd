"""Other programs that are asked: git, nvidia-smi, SLURM, a C++ compiler. Each may be missing, fail or hang."""

import subprocess

ASK_S = 30.0
"""How long one may take to answer; SLURM's controller is the slowest."""

NO_ANSWER = (OSError, subprocess.SubprocessError)
"""What `ask` raises."""


def ask(*command: str, timeout_s: float = ASK_S, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What a program answers. Raises one of NO_ANSWER where it cannot be started or takes too long, and, with `check`,
    where it fails."""
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s, check=check
    )


def output_of(*command: str, check: bool = True) -> str:
    """What a program prints; nothing without an answer, as `ask` has it: without `check` what one prints that fails."""
    try:
        return ask(*command, check=check).stdout
    except NO_ANSWER:
        return ""
