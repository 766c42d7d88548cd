"""One layer by the native kernel against the steps of its graph under autograd in float64; random cells among them.

CPU; needs a C++ compiler. A minute, most of it to compile, here without optimisation.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from hypothesis import assume, given, reject, settings
from torch import Tensor

from ablate.cells.cell import variant_of
from ablate.cells.derivative import Derived, derived
from ablate.cells.functions import apply
from ablate.cells.lowering import ARITHMETIC, End
from ablate.cells.structure import Structure
from ablate.cells.trace import Value
from ablate.engines.cohort.native import build, unavailable
from ablate.engines.cohort.native.recurrence import native_recurrence
from tests.cells.random_cells import FOUND, RandomCell, random_cells
from tests.engines.sample_networks import composed

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}"),
]
R = 2


@pytest.fixture(autouse=True)
def quickly_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FLAGS", ("-O0", *build.FLAGS[1:]))
    monkeypatch.setattr(build, "TIMEOUT_S", 600)  # beside other work


def by_graph(
    d: Derived,
    shares: Tensor,
    states: Sequence[Tensor],
    matrices: Sequence[Tensor],
    vectors: Sequence[Tensor],
    rounded: Callable[[Tensor], Tensor] = lambda value: value,
) -> tuple[Tensor, list[Tensor]]:
    """As `native_recurrence`, value by value, each of which is `rounded`."""
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
                products = rounded(operand @ matrices[k])
                values |= dict(zip(d.groups[k].products, products.split(H, -1), strict=True))
            for index in stage.values:
                node = d.node(index)
                of = [at(end) for end in node.of]
                value = ARITHMETIC[node.op](*of) if node.op in ARITHMETIC else apply(node.op, *of)
                values[index] = rounded(value) if isinstance(value, Tensor) and value.is_floating_point() else value
        like = states[0]
        outputs.append(like.new_zeros(like.shape) + at(d.output))
        states = [like.new_zeros(like.shape) + at(end) for end in d.new_states]
    return torch.stack(outputs, 1), states


Recurrence = Callable[..., tuple[Tensor, Sequence[Tensor]]]


def drawn(d: Derived, H: int, B: int, T: int, seed: int = 0) -> list[Tensor]:
    """What `native_recurrence` is given, one after the other, and then weights of outputs and states in a sum."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(T, B, len(d.inputs) * H), *((B, H) for _ in d.states)]
    shapes += [(len(g.operand) * H, len(g.products) * H) for g in d.groups] + [(1, H) for _ in d.vectors]
    shapes += [(T, B, H), *((B, H) for _ in d.states)]
    made = [torch.randn(R, *shape, dtype=torch.float64, generator=generator) for shape in shapes]
    first = 1 + len(d.states)
    for matrix in made[first : first + len(d.groups)]:
        matrix /= H**0.5
    return made


def computed(function: Recurrence, d: Derived, given: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Outputs, states, and the gradients of the weighted sum of both, in float64."""
    count = 1 + len(d.states) + len(d.groups) + len(d.vectors)
    leaves = [tensor.to(dtype, copy=True).requires_grad_() for tensor in given[:count]]
    recurs = [end.index if isinstance(end, Value) else -1 for end in d.new_states] != list(d.states)
    shares, *rest = leaves
    ends = [len(d.states), len(d.states) + len(d.groups)]
    outputs, new = function(d, shares, rest[: ends[0]], rest[ends[0] : ends[1]], rest[ends[1] :])
    found = [outputs, *new] if recurs else [outputs]  # the gradient at states that never change nobody asks for
    loss = sum((value * weight.to(dtype)).sum() for value, weight in zip(found, given[count:], strict=False))
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    dropped = range(0) if recurs else range(1, 1 + len(d.states))
    found += [gradient for k, gradient in enumerate(gradients) if k not in dropped]
    return [tensor.detach().double() for tensor in found]


def error(ours: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The largest, relative to the largest number of each."""
    each = [float((a - b).abs().max() / (1 + b.abs().max())) for a, b in zip(ours, exact, strict=True)]
    return math.inf if any(map(math.isnan, each)) else max(each)


def compare(d: Derived, H: int, B: int, T: int) -> None:
    given = drawn(d, H, B, T)
    exact = computed(by_graph, d, given, torch.float64)
    assert error(computed(native_recurrence, d, given, torch.float32), exact) < 1e-5


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


def compare_random(cell: RandomCell) -> None:
    """By numbers of which float32 computes the plain equations well: far from kinks, and of moderate gradients."""
    d = cell.derived()
    assume(d.inputs)  # else torch computes it
    for H, B, T in ((17, 3, 4), (5, 9, 2)):
        for seed in range(4):
            given = drawn(d, H, B, T, seed)
            exact = computed(by_graph, d, given, torch.float64)
            if error(computed(by_graph, d, given, torch.float32), exact) < 2e-6:
                break
        else:
            reject()
        found = error(computed(native_recurrence, d, given, torch.float32), exact)
        assert found < max(1e-5, unavoidable(d, given, exact)), f"H={H} B={B} T={T} seed={seed}"


def unavoidable(d: Derived, given: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The largest of four errors that the equations have in float64 where every value is off by up to two units in the
    last place of float32, at random: none can be asked to be more exact, and of most cells it is far below 1e-5.
    """
    generator = torch.Generator().manual_seed(0)

    def off(value: Tensor) -> Tensor:
        return value * (1 + 2**-22 * (2 * torch.rand(value.shape, dtype=value.dtype, generator=generator) - 1))

    return max(error(computed(partial(by_graph, rounded=off), d, given, torch.float64), exact) for _ in range(4))


@pytest.mark.parametrize("what", FOUND)
def test_cells_that_were_wrong(what: str) -> None:
    for H, B, T in ((17, 3, 4), (5, 9, 2)):
        compare(FOUND[what].derived(), H, B, T)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(random_cells())
def test_random_cells(cell: RandomCell) -> None:
    compare_random(cell)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(random_cells())
def test_two_hundred_random_cells(cell: RandomCell) -> None:
    """Of 300 that are drawn, 200 are different; of the others the kernel is there already."""
    compare_random(cell)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_other_direction(cell: str) -> None:
    """From the last step to the first is the same as of what is turned round; H fills whole vectors or not."""
    d = derived(structure_of(f"model={cell}"), "state", True, 2)
    weight = 1 + len(d.states) + len(d.groups) + len(d.vectors)  # of the outputs in the sum
    for H, B, T in ((5, 3, 4), (32, 2, 3), (16, 1, 1)):
        given = [tensor.float() for tensor in drawn(d, H, B, T)]
        turned = list(given)
        turned[0] = given[0].flip(1)
        turned[weight] = given[weight].flip(1)
        ours = computed(partial(native_recurrence, reverse=True), d, turned, torch.float32)
        exact = computed(native_recurrence, d, given, torch.float32)
        gradient = 1 + len(d.states)  # of the shares, behind outputs and states
        exact[0], exact[gradient] = exact[0].flip(1), exact[gradient].flip(1)
        for one, other in zip(ours, exact, strict=True):
            assert torch.equal(one, other)


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
