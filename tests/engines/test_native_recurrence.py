"""One layer by the native kernel against the steps of its graph under autograd in float64; random cells among them.

CPU; needs a C++ compiler. A minute, most of it to compile, here with -O1.
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ablate.cells.cell import variant_of
from ablate.cells.derivative import Derived, derived
from ablate.cells.functions import apply
from ablate.cells.lowering import ARITHMETIC, End
from ablate.cells.structure import Structure
from ablate.cells.trace import Value
from ablate.engines.cohort.native import build, unavailable
from ablate.engines.cohort.native.recurrence import native_recurrence
from tests.engines.random_cells import random_cell
from tests.engines.sample_networks import composed

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}"),
]
R = 2


@pytest.fixture(autouse=True)
def quickly_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FLAGS", ("-O1", *build.FLAGS[1:]))


def by_graph(
    d: Derived, shares: Tensor, states: Sequence[Tensor], matrices: Sequence[Tensor], vectors: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """As `native_recurrence`, value by value."""
    H = states[0].shape[-1]
    states, outputs = list(states), []

    def at(end: End) -> Tensor | float:
        return values[end.index] if isinstance(end, Value) else end

    for own in shares.unbind(1):
        values = dict(zip(d.states, states, strict=True)) | dict(zip(d.vectors.values(), vectors, strict=True))
        values |= dict(zip(d.inputs.values(), own.split(H, -1), strict=True))
        for stage in d.forward:
            for k in stage.groups:
                operand = torch.cat([values[part] for part in d.groups[k].operand], -1)
                values |= dict(zip(d.groups[k].products, (operand @ matrices[k]).split(H, -1), strict=True))
            for index in stage.values:
                node = d.node(index)
                of = [at(end) for end in node.of]
                values[index] = ARITHMETIC[node.op](*of) if node.op in ARITHMETIC else apply(node.op, *of)
        like = states[0]
        outputs.append(like.new_zeros(like.shape) + at(d.output))
        states = [like.new_zeros(like.shape) + at(end) for end in d.new_states]
    return torch.stack(outputs, 1), states


def compare(d: Derived, H: int, B: int, T: int) -> None:
    """Outputs, states, and the gradients of a random function of both, relative to the largest number of each."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    given = [drawn(R, T, B, len(d.inputs) * H), *(drawn(R, B, H) for _ in d.states)]
    given += [drawn(R, len(g.operand) * H, len(g.products) * H) / H**0.5 for g in d.groups]
    given += [drawn(R, 1, H) for _ in d.vectors]
    weights = [drawn(R, T, B, H), *(drawn(R, B, H) for _ in d.states)]
    recurs = [end.index if isinstance(end, Value) else -1 for end in d.new_states] != list(d.states)
    results = []
    for function, dtype in ((by_graph, torch.float64), (native_recurrence, torch.float32)):
        shares, *rest = leaves = [tensor.to(dtype, copy=True).requires_grad_() for tensor in given]
        ends = [len(d.states), len(d.states) + len(d.groups)]
        outputs, new = function(d, shares, rest[: ends[0]], rest[ends[0] : ends[1]], rest[ends[1] :])  # type: ignore[operator]
        found = [outputs, *new] if recurs else [outputs]  # the gradient at states that never change nobody asks for
        loss = sum((value * weight.to(dtype)).sum() for value, weight in zip(found, weights, strict=False))
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        dropped = range(0) if recurs else range(1, 1 + len(d.states))
        kept = [torch.zeros_like(x) if g is None else g for k, (x, g) in enumerate(zip(leaves, gradients, strict=True))
                if k not in dropped]  # fmt: skip
        results.append([*found, *kept])
    for exact, ours in zip(*results, strict=True):
        error = float((ours.detach().double() - exact.detach()).abs().max()) / (1 + float(exact.detach().abs().max()))
        assert error < 1e-5


def structure_of(*overrides: str) -> Structure:
    return variant_of(composed(*overrides)).structure


@pytest.mark.parametrize(("readout", "write_back"), [("state", True), ("candidate", True), ("candidate", False)])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mgu", "mingru", "minlstm"])
def test_shipped_cells(cell: str, readout: str, write_back: bool) -> None:
    for H, B, T in ((5, 3, 4), (17, 1, 3), (32, 9, 1)):
        compare(derived(structure_of(f"model={cell}"), readout, write_back, 2), H, B, T)


@pytest.mark.parametrize("option", ["peepholes", "gate_recurrence", "coupled"])
def test_variants_of_the_lstm(option: str) -> None:
    for H, B, T in ((5, 3, 4), (17, 1, 3), (32, 9, 1)):
        compare(derived(structure_of("model=lstm", f"model.{option}=true"), "state", True, 2), H, B, T)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(s, marks=pytest.mark.slow) for s in range(4, 200))])
def test_random_cells(seed: int) -> None:
    structure = random_cell(seed).plain.structure
    for bias_vectors, H, B, T in ((2, 17, 3, 4), (1, 5, 9, 2)):
        compare(derived(structure, "state", True, bias_vectors), H, B, T)


def test_a_replica_is_the_same_alone() -> None:
    d = derived(structure_of("model=gru"), "state", True, 2)
    generator = torch.Generator().manual_seed(0)
    H, B, T = 19, 7, 5
    shapes = [(T, B, len(d.inputs) * H), (B, H), *((H, len(g.products) * H) for g in d.groups), (1, H)]
    given = [torch.randn(R, *shape, generator=generator) for shape in shapes]
    given[0][1] = torch.inf  # beside one that has diverged

    def gradients(tensors: Sequence[Tensor]) -> list[Tensor]:
        shares, state, *matrices, vector = leaves = [t.clone().requires_grad_() for t in tensors]
        outputs, _ = native_recurrence(d, shares, [state], matrices, [vector])
        return [outputs, *torch.autograd.grad(outputs.square().sum(), leaves)]

    for alone, together in zip(gradients([t[:1] for t in given]), gradients(given), strict=True):
        assert torch.equal(alone[0], together[0])
