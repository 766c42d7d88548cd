"""Which kernels compute a layer on a GPU: found when a cell of a size is first asked for, and kept.

A form counts only if Triton compiles it without many numbers that wait in memory for a register, and if it computes
what torch's form does on a small example. Where none does, torch computes the layer, and one line says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from ablate.cells.derivative import Derived, derivative_of
from ablate.config.errors import is_out_of_memory
from ablate.config.resolved import Resolved
from ablate.config.terminal import lines
from ablate.engines.cohort.cuda.build import unavailable
from ablate.engines.cohort.cuda.steps import KernelSteps, Tile, precision_now, tile_of
from ablate.networks.products import EXACT, Products
from ablate.networks.steps import LayerSteps, Shape, Steps, take

UNITS_LIMIT = 256
"""Hidden units up to which one kernel takes all steps."""
SHARED_BYTES = 227 * 1024
"""Of shared memory that a program may have on an H100 or H200."""
SEQUENCES = {"ieee": (32, 16, 8), "tf32": (32, 16)}
"""Of a tile of whole steps; tensor cores take 16 at least."""
HELD_IEEE_UNITS = 64
"""Hidden units up to which weights stay on the chip in products without tensor cores: those of a thread fill its
registers (`docs/benchmarks/kernel_resources.py`)."""
HELD_IEEE_WEIGHTS = 2**15
"""Weights of a step, the same: 16,384 do (lstm, 64 units), and 53,248 (with full gate recurrence) spill or are compiled
for minutes."""
SPILLS_LIMIT, FEW_SPILLS = 128, 16
"""Numbers of a thread that may wait in memory for a register; and so few where a smaller tile does as well."""
EXAMPLE = (2, 3)
"""Replicas and steps of the example."""
TOLERANCE = {"ieee": 1e-4, "tf32": 2e-2}
"""Difference from torch's form on the example, of the largest number of each result."""


@dataclass(frozen=True)
class Chosen:
    """The form of the kernels and its tile, or why there is none."""

    form: str
    tile: Tile | None
    reason: str = ""

    @property
    def name(self) -> str:
        """For the record."""
        if not self.form:
            return f"torch (no Triton kernel: {self.reason})"
        return "triton" if self.form == "stages" else "triton-persistent"


def steps(d: Derived, shape: Shape, training: bool) -> LayerSteps:
    """The steps of a layer on a GPU."""
    chosen = choose(d, shape.R, shape.B, shape.H, shape.dtype, shape.device, shape.products)
    if not chosen.form:
        return Steps(d, shape, training)
    return KernelSteps(d, shape, training, chosen.form, chosen.tile)


def choose(
    d: Derived, R: int, B: int, H: int, dtype: torch.dtype, device: torch.device, products: Products = EXACT
) -> Chosen:
    """What computes the steps of R replicas of a layer."""
    if reason := unavailable(device):
        return Chosen("", None, reason)
    if not products.exact:
        return Chosen("", None, "factors rounded to bfloat16")
    if dtype != torch.float32:
        return Chosen("", None, "not float32")
    return _chosen(d, _sequences(R, B, device), B, H, device, precision_now())


def choose_for(config: Resolved, R: int, device: torch.device) -> Chosen:
    """The same for layers of a config in float32, multiplied as torch does now."""
    return choose(derivative_of(config), R, config.batch_size, config.num_hiddens, torch.float32, device)


def _sequences(R: int, B: int, device: torch.device) -> int:
    """The most that a tile can have so that there are programs enough for the device; else the fewest.

    A tile of more reads the weights for more sequences at once.
    """
    sizes = SEQUENCES[precision_now()]
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return next((size for size in sizes if R * -(-B // size) >= processors), sizes[-1])


@lru_cache(256)
def _chosen(d: Derived, sequences: int, B: int, H: int, device: torch.device, precision: str) -> Chosen:
    reason = ""
    tried = list(candidates(d, sequences, B, H, precision))
    for form, tile in tried:
        reason = _why_not(d, form, tile, B, H, device, precision, most_spills(form, tile, tried, precision))
        if not reason:
            return Chosen(form, tile)
    lines()(f"torch computes layers of {H} units on {device}: {reason}")
    return Chosen("", None, reason)


def candidates(d: Derived, sequences: int, B: int, H: int, precision: str) -> Iterator[tuple[str, Tile]]:
    """Forms and tiles, the one that is expected to be the fastest first."""
    sizes = dict.fromkeys((sequences, SEQUENCES["tf32"][-1]))  # of which the last are good for any product
    whole = ("held", "streamed") if H <= UNITS_LIMIT else ()
    for form in whole if d.groups else ("held",):
        for size in sizes:
            tile = tile_of(form, bool(d.groups), B, H, precision, size)
            if form == "streamed" or is_held(d, tile, precision):
                yield form, tile
    yield "stages", tile_of("stages", bool(d.groups), B, H, precision)


def most_spills(form: str, tile: Tile, tried: Sequence[tuple[str, Tile]], precision: str) -> int:
    """Numbers of a thread that may wait in memory for a register, of a form and tile among those that are tried.

    Without tensor cores half the sequences take half the time, so a smaller tile of the same form loses nothing.
    """
    smaller = any(form == other and own.BB < tile.BB for other, own in tried)
    return FEW_SPILLS if smaller and precision == "ieee" else SPILLS_LIMIT


def is_held(d: Derived, tile: Tile, precision: str) -> bool:
    """Whether all weights of a step fit on the chip, each way, beside one operand; where there are none, they do."""
    if not d.groups:
        return True
    weights = tile.HP**2 * sum(len(g.operand) * len(g.products) for g in d.groups)
    if precision == "ieee" and (tile.HP > HELD_IEEE_UNITS or weights > HELD_IEEE_WEIGHTS):
        return False
    return 4 * (weights + tile.HP * tile.BB) <= SHARED_BYTES


def _why_not(
    d: Derived,
    form: str,
    tile: Tile,
    B: int,
    H: int,
    device: torch.device,
    precision: str,
    spills_limit: int = SPILLS_LIMIT,
) -> str:
    """Why a form does not count; empty where it does. Raises what says that the memory does not suffice."""
    try:
        shape = (*EXAMPLE, B, H, torch.float32, device)
        with torch.inference_mode():
            for training in (False, True):
                own = KernelSteps(d, Shape(*shape), training, form, tile)
                difference = _largest(
                    _example(own, d, training), _example(Steps(d, Shape(*shape), training), d, training)
                )
                if not difference < TOLERANCE[precision]:
                    return f"the {form} kernels differ from torch by {difference:.1e}"
                spilled = max((getattr(made, "n_spills", 0) for made in own.launched.values()), default=0)
                if spilled > spills_limit and form != "stages":
                    return f"the {form} kernels lack registers"
    except Exception as error:  # whatever Triton raises, torch computes the same
        if is_out_of_memory(error):  # which says nothing of the kernels
            raise
        return f"the {form} kernels fail ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})"
    return ""


def _example(own: LayerSteps, d: Derived, training: bool) -> list[Tensor]:
    """Outputs, states and gradients of random numbers, always the same."""
    generator = Generator().manual_seed(0)

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=own.output.dtype).to(own.output.device)

    R, T, B, H = own.output.shape
    matrices = [drawn(R, len(g.operand) * H, len(g.products) * H, scale=H**-0.5) for g in d.groups]
    own.bind(matrices, [drawn(R, 1, H) for _ in d.vectors])
    shares, states, d_output = drawn(R, T, B, len(d.inputs) * H), [drawn(R, B, H) for _ in d.states], drawn(R, T, B, H)
    take(own, shares)
    own.load(states)
    own.forward()
    last = -1 if own.recurs else 0
    found = [own.output.clone(), *(own.state(number)[:, last].clone() for number in range(len(states)))]
    if training:
        own.d_output.copy_(d_output)
        own.backward()
        into = [torch.zeros_like(matrix) for matrix in matrices]
        own.matrix_gradients(into)
        found += [own.D[..., : own.columns][..., own.from_input].clone(), *into, *own.vector_gradients()]
    return found


def _largest(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference, of the largest number of each; not a number where one is not."""
    each = [(a - b).abs().max() / (1 + b.abs().max()) for a, b in zip(ours, theirs, strict=True)]
    return float(torch.stack(each).max())
