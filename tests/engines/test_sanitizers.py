"""The native kernels under AddressSanitizer and UndefinedBehaviorSanitizer: every shipped cell, option and odd shape.

Runs the tests of the kernels once more in a process of their own, with libraries that are compiled so; by hand:

    LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \\
        python -c "$(sed -n '/^PROGRAM/,/^\"\"\"/p' tests/engines/test_sanitizers.py | sed '1d;$d')" -k every_option

CPU; needs GCC with its sanitizers. A quarter of an hour, most of it to compile.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.engines.cohort.native import unavailable

PROGRAM = """
import sys
import pytest
from ablate.engines.cohort.native import build
build.FLAGS = (*build.FLAGS, "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")  # the last -O counts
build.TIMEOUT_S = 600
names = ("test_native", "test_native_portions", "test_native_recurrence", "test_bf16")
files = [f"tests/engines/{name}.py" for name in names]
sys.exit(pytest.main(["-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "", *sys.argv[1:], *files]))
"""
LEFT_OUT = ("narrower", "two_hundred", "without_a_compiler", "switched_off")
"""Tests of other flags, of very many kernels, or of none."""


def library(name: str) -> str:
    """The path of a sanitizer's runtime; empty where GCC has none."""
    if not (compiler := shutil.which("g++")):
        return ""
    command = [compiler, f"-print-file-name={name}"]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return path if os.path.isabs(path) else ""


@pytest.mark.slow
@pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}")
def test_sanitizers_are_silent(tmp_path: Path) -> None:
    preloaded = [library("libasan.so"), library("libubsan.so")]
    if not all(preloaded):
        pytest.skip("g++ has no sanitizers")
    environment = os.environ | {
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "XDG_CACHE_HOME": str(tmp_path),
    }
    others = " and ".join(f"not {name}" for name in LEFT_OUT)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "-k", others],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
