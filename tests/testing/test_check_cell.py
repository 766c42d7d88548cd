"""`check_cell` passes what ablate ships, and says what is wrong with cells that are broken. CPU, 20 s."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ablate.cells.cell import Cell, cell
from ablate.cells.functions import tanh
from ablate.config.registry import CELLS
from ablate.testing import check_cell


@pytest.mark.full
@pytest.mark.parametrize("name", CELLS.names)
def test_the_shipped_cells_pass(name: str) -> None:
    check_cell(CELLS[name])


@pytest.mark.full
def test_a_cell_is_checked_without_being_registered() -> None:
    made = cell(register=False)(sound)
    check_cell(made)
    assert "sound" not in CELLS


def test_a_cell_that_cannot_be_traced_passes_too() -> None:
    def normalised(x: Any, h: Any, *, W: Any, gate: Any) -> Any:
        return torch.nn.functional.normalize(gate.a(x.a + h @ W.a) + h / 2, dim=-1, eps=1e-3)

    made = cell(register=False)(normalised)
    assert made.plain.structure.untraceable
    check_cell(made)


def sound(x, h, *, W, gate):
    A = gate.a(x.a + h @ W.a)
    return A * h + (1 - A) * tanh(x.b)


def not_broadcast(x, h, *, W, gate):
    """Of the right shape where there are two sequences only."""
    A = gate.a(x.a + h @ W.a)
    return torch.nn.functional.normalize(A, dim=-1)[..., :2, :]


def other_precision(x, h, *, W, gate):
    return gate.a(x.a + h @ W.a).float()


def mean_over_sequences(x, h, *, W, gate):
    A = gate.a(x.a + h @ W.a)
    return A - 0.01 * A.mean(-2, keepdim=True)


def reads_the_first_sequence(x, h, *, W, gate):
    return gate.a(x.a + h @ W.a) + 0.1 * h[..., :1, :]


def mean_over_replicas(x, h, *, W, gate):
    A = gate.a(x.a + h @ W.a)
    return A - 0.01 * A.mean(0, keepdim=True) if A.dim() == 3 else A


def axis_from_the_front(x, h, *, W, gate):
    A = gate.a(x.a + h @ W.a)
    return torch.nn.functional.softmax(A, 1)


def random_numbers(x, h, *, W, gate):
    A = gate.a(x.a + h @ W.a)
    return A + 0.01 * torch.rand_like(A)


KEPT: list[Any] = []


def remembers(x, h, *, W, gate):
    """Something of the evaluation before it."""
    now = torch.nn.functional.normalize(x.a, dim=-1)
    last = KEPT[-1] if KEPT and KEPT[-1].shape == now.shape else now
    KEPT.append(now.detach())
    return gate.a(x.a + h @ W.a) + 0.1 * last


FUTURE: list[Any] = []


def uses_the_future(x, h, *, W, gate):
    """By a closure through which a probe has handed the whole input."""
    A = gate.a(torch.clone(x.a) + h @ W.a)
    return A + 0.1 * FUTURE[0] if FUTURE else A


def hidden_state(x, h, *, W, gate):
    """Begins a sequence otherwise than it goes on, and knows its beginning by the state."""
    begins = (torch.clone(h) == 0).all()
    STEPS[:] = [torch.where(begins, 0, sum(STEPS) + 1)]
    return gate.a(x.a + h @ W.a) * (1 + 0.01 * (STEPS[0] % 5))


STEPS: list[Any] = []


def detached(x, h, *, W, gate):
    A = gate.a(x.a + h @ W.a)
    return A * A.detach()


def rounded(x, h, *, W, gate):
    return gate.a(x.a + h @ W.a) + torch.round(8 * x.b) / 8


def useless(x, h, *, W, gate):
    gate.unused(x.unused + h @ W.unused)
    return gate.a(x.a + h @ W.a)


def asks_what_it_is_given(x, h, *, W, gate):
    """Another cell where it is traced, and not computed with tensors."""
    A = gate.a(x.a + h @ W.a)
    return A * h + (1 - A) * tanh(x.b) if isinstance(h, torch.Tensor) else A * tanh(x.b)


BROKEN: list[tuple[Callable[..., Any], str]] = [
    (not_broadcast, "shape"),
    (other_precision, "float32"),
    (mean_over_sequences, "another sequence"),
    (reads_the_first_sequence, "another sequence"),
    (mean_over_replicas, "beside 2 others"),
    (axis_from_the_front, "beside 2 others"),
    (random_numbers, "second time"),
    (remembers, "second time|another sequence|two halves"),
    (hidden_state, "second time|two halves"),
    (detached, "differences of the loss"),
    (rounded, "depends on its parameter|differences of the loss"),
    (useless, "depends on its parameter 0.unused"),
    (asks_what_it_is_given, "engine=cohort computes something else"),
]


@pytest.mark.full
@pytest.mark.parametrize(("equations", "said"), BROKEN, ids=[equations.__name__ for equations, _ in BROKEN])
def test_a_broken_cell_is_told_what_is_wrong(equations: Callable[..., Any], said: str) -> None:
    KEPT.clear()
    STEPS.clear()
    made = cell(register=False)(equations)
    with pytest.raises(AssertionError, match=said) as caught:
        check_cell(made)
    assert f"cell {equations.__name__}" in str(caught.value)


def test_a_cell_that_uses_the_future_is_not_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equations see one step; what leaks must come past them: here the mean of all inputs, noted before the loop."""
    from ablate.networks.dropout import NOTHING_DROPPED
    from ablate.networks.network import Network

    def run(self: Network, tokens: torch.Tensor, states: Any, masks: Any = NOTHING_DROPPED) -> Any:
        FUTURE[:] = [tokens.double().mean(-2).unsqueeze(-1)]
        try:
            return called(self, tokens, states, masks)
        finally:
            FUTURE.clear()

    called = Network.__call__
    monkeypatch.setattr(Network, "__call__", run)
    made: Cell = cell(register=False)(uses_the_future)
    with pytest.raises(AssertionError, match="later token"):
        check_cell(made)


@pytest.mark.parametrize("thing", ["gru", len])
def test_what_is_no_cell_is_said(thing: Any) -> None:
    with pytest.raises(AssertionError, match=r"is no cell; give a function with the decorator @ablate\.cell"):
        check_cell(thing)
