"""The kernel of a cell as a shared library: compiled once per source, compiler and CPU, and kept in the user's cache.

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
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ablate.cells.derivative import Derived, derivative_of, why_underivable
from ablate.cells.lowering import Underivable
from ablate.config.resolved import Resolved
from ablate.engines.cohort.native.generate import source
from ablate.records.asking import ask
from ablate.records.environment import cores
from ablate.records.files import cache_folder

HEADERS = tuple(Path(__file__).with_name(name) for name in ("kernel.h", "bf16.h", "calls.h"))
COMPILERS = ("g++", "c++", "clang++")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-fvisibility=hidden", "-shared", "-fPIC")
PRECISION_FLAGS = {"ieee": (), "bf16": ("-DBF16",)}
BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16"})
"""The flags of CPUs that multiply bfloat16, one of which bf16.h needs."""
TIMEOUT_S = 120


class Sizes(ctypes.Structure):
    """`struct Sizes` of the kernel."""

    _fields_ = [(name, ctypes.c_int64) for name in ("T", "B", "H", "V", "layers", "training", "dropout", "features")]


class Minibatches(ctypes.Structure):
    """`struct Minibatches` of calls.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("J", "R", "P", "carries")),
        *((name, ctypes.c_void_p) for name in ("parameters", "grads", "tokens", "targets", "numbers")),
        *((name, ctypes.c_void_p) for name in ("states", "masks")),
        *((name, ctypes.c_void_p) for name in ("rates", "clips", "losses", "last", "causes")),
    ]


@dataclass(frozen=True)
class Native:
    """The loaded library, or why there is none."""

    library: ctypes.CDLL | None
    reason: str


_made: dict[tuple[str, str], Native] = {}
"""By the source of the cell and the precision of its products."""
_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
"""Each is held while that library is made: others can be made meanwhile, in other threads."""


def native(d: Derived, precision: str = "ieee") -> Native:
    """The library of a cell, compiled or taken from the cache the first time."""
    if reason := unavailable(precision):
        return Native(None, reason)
    try:
        text = source(d)
    except Underivable as error:
        return Native(None, str(error))
    key = text, precision
    with _locks[key]:
        if key not in _made:
            try:
                library = _loaded(text, precision)
                _made[key] = (
                    Native(library, "") if library.allowed() else Native(None, "the system does not allow tiles")
                )
            except (OSError, RuntimeError) as error:
                _made[key] = Native(None, str(error))
        return _made[key]


def _loaded(text: str, precision: str) -> ctypes.CDLL:
    """The library, made once more where the one in the cache is damaged. Raises RuntimeError or OSError."""
    for last in (False, True):
        path = built(text, precision)
        try:
            return _declared(ctypes.CDLL(str(path)))
        except (OSError, AttributeError) as error:  # no library, or one without our functions
            if last:
                raise RuntimeError(f"{path}: {error}") from error
            path.unlink(missing_ok=True)
    raise AssertionError("the last attempt returns or raises")


def make(configs: Iterable[Resolved]) -> None:
    """Have the libraries of these configs' cells made side by side, so that `native` has them at once."""
    wanted = {(derivative_of(one), one.precision): None for one in configs if not why_underivable(one)}
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda one: native(*one), wanted))


def unavailable(precision: str = "ieee") -> str:
    """Why this machine has no native kernels of these products; empty where it can make them."""
    if precision not in PRECISION_FLAGS:
        return f"no native kernel has {precision} products"
    if os.environ.get("ABLATE_NATIVE") == "0":
        return "ABLATE_NATIVE=0"
    try:
        _compiler()
    except RuntimeError as error:
        return str(error)
    lacking = precision == "bf16" and BFLOAT16.isdisjoint(_cpu().split())
    return "this CPU multiplies no bfloat16 (it has neither AMX nor AVX512-BF16)" if lacking else ""


def built(text: str, precision: str = "ieee") -> Path:
    """The path of the compiled library. Raises RuntimeError or OSError, with the reason, where it cannot be made."""
    compiler, more = _compiler(), PRECISION_FLAGS[precision]
    headers = [header.read_text() for header in HEADERS]
    identity = "\n".join([text, *headers, compiler, _version(compiler), " ".join([*FLAGS, *more]), _cpu()])
    path = cache_dir() / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            made = Path(aside) / "cell.so"
            compiled(text, made, *more)
            os.replace(made, path)
    return path


def compiled(text: str, to: Path, *flags: str) -> None:
    """Compile the source of a cell, with more flags if there are any. Raises as `built`."""
    cell = to.with_suffix(".cpp")
    cell.write_text(text)
    _output([_compiler(), *FLAGS, *flags, f"-I{HEADERS[0].parent}", str(cell), "-o", str(to)])


def cache_dir() -> Path:
    return cache_folder(writable=True) / "native"


def _compiler() -> str:
    if found := _which(os.environ.get("CXX", ""), os.environ.get("PATH")):
        return found
    raise RuntimeError(f"no C++ compiler ({', '.join(COMPILERS)}, or the one that CXX names)")


@cache  # every minibatch of a layer asks
def _which(named: str, path: str | None) -> str | None:
    return next((found for name in (named, *COMPILERS) if (found := shutil.which(name, path=path))), None)


@cache
def _version(compiler: str) -> str:
    return _output([compiler, "--version"])


def _output(command: list[str]) -> str:
    try:
        return ask(*command, timeout_s=TIMEOUT_S).stdout
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        said = next((line for line in lines if "error:" in line.lower()), lines[0])  # not where an include began
        raise RuntimeError(f"{command[0]}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[0]} took more than {TIMEOUT_S} s") from error


@cache
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
    library.workspace_bytes.argtypes, library.workspace_bytes.restype = [sizes, ctypes.c_int], i64
    library.minibatches.argtypes = [sizes, address, ctypes.POINTER(Minibatches), address]
    library.minibatches.restype = ctypes.c_int
    for function in (library.layer_forward, library.layer_backward):
        function.argtypes, function.restype = [sizes, ctypes.c_int, *[address] * 7], None
    library.clipped_descent.argtypes = [address, address, i64, ctypes.c_float, ctypes.c_float]
    library.clipped_descent.restype = ctypes.c_int
    library.functions.argtypes, library.functions.restype = [*[address] * 4, i64], None
    return library
