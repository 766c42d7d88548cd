"""A layer's steps, forward and back, against autograd through the equations, in float64. CPU, a minute.

Every shipped cell with its knobs, gates held at constants, what is read out and written back, one and two biases; and
random cells.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given as drawn_by
from hypothesis import settings
from torch import Generator, Tensor

from ablate.cells.cell import Cell, Variant
from ablate.cells.derivative import Derived, derived, derived_or_why_not
from ablate.cells.functions import ABSENT
from ablate.config.errors import ConfigError
from ablate.config.registry import CELLS
from ablate.networks import recurrence
from ablate.networks.layer import Bound, WithBias
from ablate.networks.steps import Shape, Steps
from tests.cells.random_cells import FOUND, RandomCell, random_cells

R, T, B, H = 2, 4, 3, 5
SHIPPED = ("rnn", "gru", "lstm", "mgu", "mingru", "minlstm")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """What equations make of numbers alone, as `where(h > 0, 1.0, 0.3)`, is of the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def variants(cell: Cell) -> Iterator[Variant]:
    """Each choice of each knob, each gate at 0, 1 or 0.3, reset before and after."""
    for chosen in cell._choices():
        for fixed in ({}, *({gate: value} for gate in chosen.structure.gates for value in (0.0, 1.0, 0.3))):
            for reset in ("before", "after") if cell.reset_gate else (None,):
                made = cell._variant(fixed, chosen.own, reset)
                try:
                    _ = made.structure
                except ConfigError:  # gates that mean nothing together
                    continue
                yield made


def drawn(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def expected(
    variant: Variant, d: Derived, given: dict[Any, Tensor], X: Tensor, states: list[Tensor], readout: str
) -> tuple[Tensor, list[Tensor]]:
    """Outputs (R, T, B, H) and last states by the equations; shares of the input have the folded biases in them."""
    kinds = variant.structure
    absent = dict.fromkeys(variant.fixed, ABSENT)

    def weights_of(kind: str) -> Bound:
        out: dict[str, Any] = absent | dict.fromkeys(kinds.preactivations, ABSENT)
        for name, own in (*kinds.matrices, *kinds.vectors):
            if own == kind:
                W = given.get((name, kind), torch.zeros(R, kinds.matrices.get((name, kind), 1) * H, H).double())
                W = W if (name, kind) in kinds.matrices else W[:, :1]
                out[name] = WithBias(W, given[name, "b_h"]) if kind == "W" and (name, "b_h") in given else W
        return Bound(out)

    weights = {kind: weights_of(kind) for kind in variant.cell.weights}
    unreached = {name: torch.zeros(R, B, H).double() for name in kinds.reads_input if name not in d.inputs}
    recurs, outputs = any(getattr(e, "index", -1) != s for e, s in zip(d.new_states, d.states, strict=True)), []
    for t in range(T):
        shares = {name: X[:, t, :, k * H : (k + 1) * H] for k, name in enumerate(d.inputs)}
        full: list[Any] = [ABSENT] * len(variant.cell.states)
        for place, state in zip(kinds.carried, states, strict=True):
            full[place] = state
        new, candidate = variant(Bound({**absent, **unreached, **shares}), full, weights)
        outputs.append(candidate if readout == "candidate" else new[0])
        states = [new[place] for place in kinds.carried] if recurs else states
    return torch.stack(outputs, 1), states


def check(variant: Variant, readout: str, write_back: bool, bias_vectors: int) -> None:
    d, generator = derived(variant.structure, readout, write_back, bias_vectors), Generator().manual_seed(0)
    given = {key: drawn(generator, R, len(g.operand) * H, H) / H**0.5 for g in d.groups for key in g.weights}
    given |= {key: drawn(generator, R, 1, H) for key in d.vectors}
    X, dY = drawn(generator, R, T, B, len(d.inputs) * H), drawn(generator, R, T, B, H)
    first, last = ([drawn(generator, R, B, H) for _ in d.states] for _ in range(2))
    for leaf in (X, *given.values(), *first):
        leaf.requires_grad_()
    outputs, after = expected(variant, d, given, X, first, readout)
    ends = [(outputs * dY).sum(), *((a * b).sum() for a, b in zip(after, last, strict=True) if write_back)]
    leaves = [X, *given.values(), *first]
    by_autograd = torch.autograd.grad(sum(ends), leaves, allow_unused=True, materialize_grads=True)

    with torch.no_grad():
        matrices = [torch.cat([given[key] for key in group.weights], -1) for group in d.groups]
        for training in (False, True):
            steps = Steps(d, Shape(R, T, B, H, torch.float64, torch.device("cpu")), training)
            steps.bind(matrices, [given[key] for key in d.vectors])
            rows = torch.zeros(R, T * B, steps.columns, dtype=torch.float64)
            rows[..., steps.from_input] = X.flatten(1, 2)
            steps.prefill(rows)
            for part, own in steps.split(rows.view(R, T, B, -1)):
                part.copy_(own.transpose(0, 1))
            steps.load(first)
            steps.forward()
            torch.testing.assert_close(steps.output, outputs, rtol=0, atol=1e-10)
        steps.d_output.copy_(dY)
        steps.backward(last, initial=True)
        into = [torch.zeros_like(W) for W in matrices]
        steps.matrix_gradients(into)
        found = dict(zip(d.vectors, steps.vector_gradients(), strict=True))
        for group, whole in zip(d.groups, into, strict=True):
            found |= dict(zip(group.weights, whole.split(H, -1), strict=True))
        ours = [steps.D[..., steps.from_input], *(found[key] for key in given)]
        ours += steps.initial_gradients() if write_back else []
    for gradient, reference in zip(ours, by_autograd, strict=False):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_cell(name: str) -> None:
    check(CELLS[name].plain, "state", True, 2)


@pytest.mark.full
@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize("write_back", [True, False])
@pytest.mark.parametrize("readout", ["state", "candidate"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_variant(name: str, readout: str, write_back: bool, bias_vectors: int) -> None:
    if readout == "candidate" and not CELLS[name].has_candidate:
        pytest.skip("no candidate")
    for variant in variants(CELLS[name]):
        check(variant, readout, write_back, bias_vectors)


@pytest.mark.parametrize("what", FOUND)
def test_cells_that_were_wrong(what: str) -> None:
    check(FOUND[what].variant, FOUND[what].readout, FOUND[what].write_back, FOUND[what].bias_vectors)


@pytest.mark.full
@settings(max_examples=300, deadline=None, derandomize=True)
@drawn_by(random_cells())
def test_random_cells(drawn: RandomCell) -> None:
    """Two hundred different ones; the others are computed as one of these. What has no derivative has a reason."""
    found = derived_or_why_not(drawn.variant.structure, drawn.readout, drawn.write_back, drawn.bias_vectors)
    if isinstance(found, str):
        assert found.startswith("a product of a number with")
        return
    check(drawn.variant, drawn.readout, drawn.write_back, drawn.bias_vectors)


def test_buffers_of_a_few_sizes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were used last, so that a sweep over sizes does not fill the memory."""
    kept: dict[Any, Any] = {}
    monkeypatch.setattr(recurrence, "_shared", kept)
    monkeypatch.setattr(recurrence._place, "spare", kept)
    d = derived(CELLS["rnn"].plain.structure, "state", True, 1)

    def gradient(H: int) -> Tensor:
        shares = torch.ones(R, T, B, H, requires_grad=True)
        outputs, _ = recurrence.recurrence(d, shares, [torch.zeros(R, B, H)], [torch.ones(R, H, H)], [])
        return torch.autograd.grad(outputs.sum(), shares)[0]

    first = gradient(1)
    for H in range(2, recurrence.FORMS + 4):
        gradient(H)
    assert len(kept) == recurrence.FORMS
    assert torch.equal(gradient(1), first)


@pytest.mark.parametrize(("model", "most"), [("rnn", 2), ("gru", 5), ("lstm", 7)])
def test_a_step_takes_few_operations(model: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products go to the shares of the input, and neighbours through one call: what speed rests on."""
    written: list[int] = []
    made = Steps._loop

    def counting(self: Steps, lines: Any, backwards: bool = False) -> Any:
        written.append(len(lines))
        return made(self, lines, backwards)

    monkeypatch.setattr(Steps, "_loop", counting)
    cell = CELLS[model]
    variant = cell._variant({}, cell.plain.own, "after" if cell.reset_gate else None)
    Steps(derived(variant.structure, "state", True, 1), Shape(R, T, B, H, torch.float64, torch.device("cpu")), False)
    assert written[0] <= most
