"""The kernel as a shared library: compiled once per source, compiler and CPU, and kept in the user's cache.

`ABLATE_NATIVE=0` switches it off; `CXX` names the compiler. No compiler, or one that fails, is no error: the
reason is kept for the record and torch does the work.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from ablate.records.files import cache_folder

SOURCE = Path(__file__).with_name("kernel.cpp")
COMPILERS = ("g++", "c++", "clang++")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
TIMEOUT_S = 120


class Sizes(ctypes.Structure):
    """`struct Sizes` of the kernel."""

    _fields_ = [(name, ctypes.c_int64) for name in ("T", "B", "H", "V", "layers", "cell", "training")]


@dataclass(frozen=True)
class Native:
    """The loaded library, or why there is none."""

    library: ctypes.CDLL | None
    reason: str


_lock = threading.Lock()
_native: Native | None = None


def native() -> Native:
    """The library, compiled or taken from the cache the first time."""
    global _native
    if os.environ.get("ABLATE_NATIVE") == "0":
        return Native(None, "ABLATE_NATIVE=0")
    with _lock:
        if _native is None:
            try:
                _native = Native(_declared(ctypes.CDLL(str(built()))), "")
            except (OSError, RuntimeError) as error:
                _native = Native(None, str(error))
        return _native


def unavailable() -> str:
    """Why this machine has no native kernel; empty where it has one."""
    return native().reason


def built() -> Path:
    """The path of the compiled library. Raises RuntimeError or OSError, with the reason, where it cannot be made."""
    compiler = _compiler()
    version = _output([compiler, "--version"])
    identity = "\n".join([SOURCE.read_text(), compiler, version, " ".join(FLAGS), _cpu()])
    path = cache_dir() / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            made = Path(aside) / "kernel.so"
            _output([compiler, *FLAGS, str(SOURCE), "-o", str(made)])
            os.replace(made, path)
    return path


def cache_dir() -> Path:
    return cache_folder() / "native"


def _compiler() -> str:
    for name in (os.environ.get("CXX", ""), *COMPILERS):
        if found := shutil.which(name):
            return found
    raise RuntimeError(f"no C++ compiler ({', '.join(COMPILERS)}, or the one that CXX names)")


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        raise RuntimeError(f"{command[0]}: {lines[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[0]} took more than {TIMEOUT_S} s") from error


def _cpu() -> str:
    """What -march=native depends on."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    return "\n".join([platform.machine(), platform.processor(), *_first_of(lines, ("model name", "flags", "Features"))])


def _first_of(lines: list[str], keys: tuple[str, ...]) -> list[str]:
    return [next((line for line in lines if line.startswith(key)), "") for key in keys]


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """With the types of its functions. Addresses are passed as numbers."""
    sizes, address, i64 = ctypes.POINTER(Sizes), ctypes.c_void_p, ctypes.c_int64
    library.workspace_bytes.argtypes, library.workspace_bytes.restype = [sizes], i64
    library.minibatch.argtypes, library.minibatch.restype = [sizes, *[address] * 7], ctypes.c_double
    library.clipped_descent.argtypes = [address, address, i64, ctypes.c_float, ctypes.c_float]
    library.clipped_descent.restype = ctypes.c_int
    library.functions.argtypes, library.functions.restype = [*[address] * 4, i64], None
    return library
