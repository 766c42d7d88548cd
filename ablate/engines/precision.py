"""Which products torch takes: of float32 factors (ieee), or of factors that a GPU shortens to TF32 on its own.

torch keeps that as flags of the process, one for products and one for cuDNN's recurrent kernels, and their defaults
differ: cuDNN shortens, products do not. Here is the one place that sets them. bf16 needs no flag: its factors are
rounded where they are multiplied (`ablate.networks.products`, `ablate.engines.cohort.native`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch

from ablate.config.resolved import Resolved
from ablate.networks.products import has_flags, shortened

AMPERE = (8, 0)
"""The compute capability from which NVIDIA's GPUs multiply in TF32 and bfloat16."""

GPU_FLAGS = (("cuda", "matmul"), ("cuda", "rnn"), ("cuda", "conv"))
CPU_FLAGS = (("mkldnn", "matmul"), ("mkldnn", "rnn"), ("mkldnn", "conv"))
"""torch's flags by back end and operator. A CPU's are always ieee: a program around us may have set others."""

P = ParamSpec("P")
Result = TypeVar("Result")


def unavailable(precision: str, device: torch.device) -> str:
    """Why this device has not these products in the torch form; empty where it has."""
    if precision == "ieee":
        return ""
    name = {"tf32": "TF32", "bf16": "bfloat16"}[precision]
    if device.type != "cuda":
        return f"only GPUs of NVIDIA multiply in {name}, and device={device.type}"
    if torch.cuda.get_device_capability(device) < AMPERE:
        return f"{torch.cuda.get_device_name(device)} is older than Ampere and has no {name} products"
    if precision == "bf16" and not _multiplies_into_float32():
        return f"torch {torch.__version__} has no bfloat16 products with sums in float32, torch 2.8 has"
    return ""


def out_of_reach(precision: str, device: torch.device) -> str:
    """Why no engine has these products on this device; empty where one may have, for some networks at least."""
    native_only = precision == "bf16" and device.type == "cpu"  # what the kernels of a CPU cover, they have
    return "" if native_only else unavailable(precision, device)


def _multiplies_into_float32() -> bool:
    return "dtype" in torch.ops.aten.bmm.overloads()  # type: ignore[no-untyped-call]


def widest(device: torch.device) -> torch.dtype:
    """What sums are kept in: float64, which MPS has not."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def computing(precision: str) -> Iterator[None]:
    """While it lasts torch's products and cuDNN's recurrent kernels are as `precision` says; then as they were.

    Several threads may compute at once where they want the same; one that wants others waits until these are done.
    Raises RuntimeError within a context of the same thread that wants others.
    """
    _flags.enter("tf32" if precision == "tf32" else "ieee")
    try:
        yield
    finally:
        _flags.leave()


def as_asked(
    function: Callable[Concatenate[Sequence[Resolved], P], Result],
) -> Callable[Concatenate[Sequence[Resolved], P], Result]:
    """The same function of configs with one precision, called while torch computes as they say."""

    @wraps(function)
    def inner(configs: Sequence[Resolved], /, *args: P.args, **options: P.kwargs) -> Result:
        with computing(configs[0].precision):
            return function(configs, *args, **options)

    return inner


def tf32_state() -> dict[str, bool]:
    """Whether torch may shorten factors on a GPU now: of products, and in cuDNN's recurrent kernels. For records."""
    if has_flags():
        cudnn = torch._C._get_fp32_precision_getter("cuda", "rnn") == "tf32"
    else:
        cudnn = torch.backends.cudnn.allow_tf32
    return {"matmul": shortened(), "cudnn": cudnn}


class _Flags:
    """The flags of the process, those that they had before, and who computes with them."""

    def __init__(self) -> None:
        self.free = threading.Condition()
        self.mode, self.inside = "", 0
        self.before: Before = [], None
        self.of_thread = threading.local()

    def enter(self, mode: str) -> None:
        own = getattr(self.of_thread, "modes", [])
        if own and own[-1] != mode:
            raise RuntimeError(f"this thread computes in {own[-1]} already, and cannot in {mode} meanwhile")
        with self.free:
            self.free.wait_for(lambda: self.inside == 0 or self.mode == mode)
            if self.inside == 0:
                self.before = _read()
                _write(_as_asked(mode, self.before))
            self.mode, self.inside = mode, self.inside + 1
        self.of_thread.modes = [*own, mode]

    def leave(self) -> None:
        self.of_thread.modes.pop()
        with self.free:
            self.inside -= 1
            if self.inside == 0:
                _write(self.before)
                self.free.notify_all()


_flags = _Flags()


Before = tuple[list[str], tuple[str, bool] | None]


def _read() -> Before:
    """The flags of each operator, where torch has them, and the older two, unless the program around us mixed both."""
    flags = [torch._C._get_fp32_precision_getter(*flag) for flag in (*GPU_FLAGS, *CPU_FLAGS)] if has_flags() else []
    try:
        return flags, (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return flags, None


def _write(values: Before) -> None:
    """Both kinds alike, the older ones first, which set some of the others: torch refuses to read where they differ."""
    flags, older = values
    if older is not None:
        torch.set_float32_matmul_precision(older[0])
        torch.backends.cudnn.allow_tf32 = older[1]
    for flag, value in zip((*GPU_FLAGS, *CPU_FLAGS), flags, strict=bool(flags)):
        torch._C._set_fp32_precision_setter(*flag, value)


def _as_asked(mode: str, before: Before) -> Before:
    shortened = mode == "tf32"
    flags = [mode] * len(GPU_FLAGS) + ["ieee"] * len(CPU_FLAGS)
    older = ("high" if shortened else "highest", shortened)
    return flags if before[0] else [], None if before[1] is None else older
