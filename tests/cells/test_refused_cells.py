"""What is no cell is refused where its file is loaded, and what a cell lacks where it is asked for. CPU, 2 s."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ablate.cells.cell import cell
from ablate.cells.functions import concat, tanh, where
from ablate.config.errors import ConfigError
from ablate.config.registry import CELLS, Knob
from ablate.config.schema import Config
from ablate.networks.parameters import initial


def a_cell(x, h, *, W):
    return tanh(x.a + h @ W.a)


def no_input(x, h, *, W, gate):
    return gate.a(h @ W.a)


def no_state(x):
    return x.a


def unknown_keyword(x, h, *, V):
    return x.a


def names_of_parameters(x, h, *, W, W_h):
    return tanh(x.a + h @ W.a + h @ W_h.a)


def the_input_again(x, h, *, W, W_x):
    return tanh(x.a + h @ W.a + h @ W_x.a)


def state_with_default(x, h, leak=0.5):
    return x.a


def two_for_one(x, h, *, gate):
    return gate.a(x.a), gate.a(x.a)


def a_number(x, h, *, gate):
    gate.a(x.a)
    return 1.0


def undefined(x, h):
    return x.a + something  # noqa: F821


def twice_as_wide(x, h, *, gate):
    return concat(gate.a(x.a), h)


def narrower(x, h, *, gate):
    return gate.a(x.a).mean(-1, keepdim=True)


def side_by_side(x, h, *, W):
    return torch.cat([x.a, h @ W.a], -1)


def compared(x, h, *, W, gate):
    return h if gate.a(x.a + h @ W.a) > 0.5 else x.a


def compared_by_its_mean(x, h, *, W, gate):
    Z = gate.a(x.a + h @ W.a)
    return h if Z.mean() > 0.5 else Z


def compared_with_a_number(x, h):
    return x.a if h == 0 else x.b


def made_a_number(x, h):
    return x.a * float(h.max())


def no_candidate(x, h, *, W, candidate):
    return torch.tanh(x.a + h @ W.a)


def no_reset(x, h, *, gate, reset):
    return gate.a(x.a + h)


def no_knob(x, h, *, gate, leak: float = 0.5):
    return gate.a(x.a + h)


def one_less_a_comparison(x, h, *, W):
    return tanh(x.a + h @ W.a) * (1 - (h > 0.5))


def minus_a_comparison(x, h, *, W):
    return tanh(x.a + h @ W.a) * -(h > 0.5)


def a_comparison_multiplied(x, h, *, W):
    return tanh(x.a + (h > 0) @ W.a)


def chosen_by_a_number(x, h, *, W):
    return where(h, x.a + h @ W.a, x.b)


def by_numpy(x, h, *, W):
    return np.tanh(x.a + h @ W.a)


def a_state_in_place(x, h, *, W):
    h *= 0.5
    return tanh(x.a + h @ W.a)


def a_share_in_place(x, h, *, W):
    A = x.a
    A += h @ W.a
    return tanh(A)


def a_gate_in_place(x, h, *, W, gate):
    """Torch needs the sigmoid as it was."""
    A = gate.a(x.a + h @ W.a)
    A += 0.1
    return A * h


def a_second_name_in_place(x, h, *, W):
    new = tanh(x.a + h @ W.a)
    old = new
    new -= 0.5
    return old


def untraced_in_place(x, h, *, W):
    return torch.nn.functional.normalize(x.a + h @ W.a).mul_(0.5)


def untraced_by_an_operator(x, h, *, W):
    new = torch.nn.functional.normalize(x.a + h @ W.a)
    new *= 0.5
    return new


def untraced_in_part(x, h, *, W):
    new = torch.nn.functional.normalize(x.a + h @ W.a)
    new[..., 0] = 0.0
    return new


def a_state_in_place_by_a_method(x, h, *, W):
    return torch.nn.functional.normalize(x.a + h.mul_(0.5) @ W.a)


MISTAKES = [
    (by_numpy, "Python number"),
    (a_state_in_place, "in place, .*; write a = a . b"),
    (a_share_in_place, "in place, .*; write a = a . b"),
    (a_state_in_place_by_a_method, "in place, .*; write a = a . b"),
    (a_gate_in_place, "in place, .*; write a = a . b"),
    (a_second_name_in_place, "in place, .*; write a = a . b"),
    (untraced_in_place, "in place, .*; write a = a . b"),
    (untraced_in_part, "in place, .*; write a = a . b"),
    (untraced_by_an_operator, "in place, .*; write a = a . b"),
    (one_less_a_comparison, "bool tensor"),
    (minus_a_comparison, "bool tensor"),
    (a_comparison_multiplied, "W.a multiplies .*; where"),
    (chosen_by_a_number, "condition"),
    (side_by_side, "shape .*2·H"),
    (compared, "where"),
    (compared_by_its_mean, "where"),
    (compared_with_a_number, "where"),
    (made_a_number, "where"),
    (no_candidate, "candidate but never uses"),
    (no_reset, "reset but never uses"),
    (no_knob, "leak but never uses"),
    (no_input, "nothing of the input"),
    (no_state, "takes x"),
    (unknown_keyword, "asks for V"),
    (names_of_parameters, "asks for W_h, .*; write W"),
    (the_input_again, "asks for W_x"),
    (state_with_default, "leak has a default"),
    (two_for_one, "return 2 values"),
    (a_number, "output is 1.0"),
    (undefined, "something"),
    (twice_as_wide, "shape .*2·H"),
    (narrower, "shape"),
]


@pytest.mark.parametrize(("equations", "said"), MISTAKES, ids=[equations.__name__ for equations, _ in MISTAKES])
def test_a_mistake_is_one_line_with_its_place(equations: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        cell(equations)
    line = str(caught.value)
    assert "\n" not in line
    assert f"cell {equations.__name__}" in line
    assert f"{__file__}:" in line
    assert equations.__name__ not in CELLS


def test_a_share_of_a_fixed_gate_cannot_be_used_elsewhere(compose: Callable[..., Config]) -> None:
    @cell
    def mine(x: Any, h: Any, *, gate: Any) -> Any:
        return gate.a(x.a) * h + tanh(x.a)

    config = compose("formulation=torch", "num_hiddens=4")
    config = config.but(model=replace(config.model, name="mine", cell="mine", gates={"a": 0.5}))
    with pytest.raises(ConfigError, match="with a fixed"):
        initial(config, 6, torch.Generator())


def test_a_knob_of_a_cell_is_the_same_in_all_runs_of_a_program() -> None:
    """Regression: runs that differed in one that was declared per_replica were all computed with that of the first."""

    def leaky(x: Any, h: Any, *, leak: float = 0.5) -> Any:
        return leak * h + tanh(x.a)

    with pytest.raises(ConfigError, match=r"cell leaky: its knob leak is per_replica; .*leave per_replica out"):
        cell(knobs=[Knob("leak", float, 0.5, per_replica=True)])(leaky)
    assert "leaky" not in CELLS


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ConfigError, match="gru"):
        cell(name="gru")(a_cell)


def test_a_gate_that_a_knob_takes_away_cannot_be_fixed(compose: Callable[..., Config]) -> None:
    @cell
    def mine(x: Any, h: Any, *, gate: Any, extra: bool = False) -> Any:
        return gate.a(x.a) * h + (gate.b(x.b) if extra else x.c)

    mine.check(replace(compose().model, cell="mine", gates={"a": 1}))
    with pytest.raises(ConfigError, match="without its b gate"):
        mine.check(replace(compose().model, cell="mine", gates={"b": 1}))


def test_what_only_a_candidate_can_do_needs_one(compose: Callable[..., Config]) -> None:
    @cell
    def mine(x: Any, h: Any, *, gate: Any) -> Any:
        return gate.a(x.a) * h + x.b

    model = replace(compose().model, cell="mine", readout="candidate")
    with pytest.raises(ConfigError, match="no candidate"):
        mine.check(model)


def test_a_gate_and_a_knob_are_named_as_a_command_can_spell_them() -> None:
    def with_gate(x, h, *, W, gate):  # type: ignore[no-untyped-def]
        return gate.öffnen(x.öffnen + h @ W.öffnen) * h

    def with_knob(x, h, *, W, größe: float = 1.0):  # type: ignore[no-untyped-def]
        return größe * (x.new + h @ W.new)

    def with_share(x, h, *, W):  # type: ignore[no-untyped-def]
        return x["in/out"] + h @ W["in/out"]

    for equations, name in ((with_gate, "öffnen"), (with_knob, "größe"), (with_share, "in/out")):
        with pytest.raises(ConfigError, match=f"cannot be called '{name}'; .* a to z"):
            cell(equations)
        assert equations.__name__ not in CELLS
