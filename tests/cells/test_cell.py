"""What follows from a cell's equations: its parameters, states, gates and knobs. CPU, 4 s."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from ablate.cells.cell import Cell, cell
from ablate.cells.derivative import Derived, derived_or_why_not
from ablate.cells.functions import concat, exp, log, maximum, minimum, relu, sigmoid, softplus, sqrt, tanh, where
from ablate.config.registry import CELLS
from ablate.config.schema import Config
from ablate.networks.network import Network
from ablate.networks.parameters import initial
from ablate.networks.recurrence import recurrence

V, T, B, H = 6, 5, 3, 4


def two_ways(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits by the very equations, and by the fused step."""
    parameters = initial(config, V, torch.Generator().manual_seed(0), torch.float64)
    tokens = torch.randint(V, (T, B), generator=torch.Generator().manual_seed(1))
    nets = [Network(config, V, parameters, project=project) for project in (False, True)]
    one, other = (net(tokens, net.initial_state(B))[0] for net in nets)
    return one, other


def by_the_derivative(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits by the very equations, and by all steps of a layer at once."""
    parameters = initial(config, V, torch.Generator().manual_seed(0), torch.float64)
    tokens = torch.randint(V, (T, B), generator=torch.Generator().manual_seed(1))
    stacked = {
        name: value.view(1, *((1, -1) if value.dim() == 1 else value.shape)) for name, value in parameters.items()
    }
    alone, together = Network(config, V, parameters), Network(config, V, stacked, project=True, recurrence=recurrence)
    assert together.layers[0][0].derivative is not None
    other, _ = together(tokens.unsqueeze(0), together.initial_state(1, B))
    return alone(tokens, alone.initial_state(B))[0], other[0]


def config_of(compose: Callable[..., Config], made: Cell, **knobs: Any) -> Config:
    config = compose("formulation=torch")
    return config.but(model=replace(config.model, name=made.name, cell=made.name), num_hiddens=H, **knobs)


FACTS = {
    "rnn": ((), ("candidate",), 1, True, None),
    "gru": (("reset", "update"), ("reset", "update", "candidate"), 1, True, None),
    "lstm": (("input", "forget", "output"), ("input", "forget", "candidate", "output"), 2, True, "forget"),
    "mgu": (("forget",), ("forget", "candidate"), 1, True, None),
    "mingru": (("update",), ("update", "candidate"), 1, False, None),
    "minlstm": (("input", "forget"), ("input", "forget", "candidate"), 1, False, "forget"),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_the_shipped_cells(name: str) -> None:
    found = CELLS[name]
    plain = found.plain.structure
    facts = (found.gates, found.preactivations, len(plain.carried), found.recurrent, found.forget_gate)
    assert facts == FACTS[name]
    assert not plain.untraceable
    assert found.source
    assert found.summary


def test_the_shipped_cells_are_those_of_the_table() -> None:
    assert tuple(FACTS) == CELLS.names


def test_names_shapes_and_knobs_follow_from_the_equations() -> None:
    @cell(activation="relu")
    def mine(
        x: Any, h: Any, c: Any, *, W: Any, W_c: Any, P: Any, gate: Any, candidate: Any,
        leak: float = 0.5, kind: Literal["a", "b"] = "a", extra: bool = False,
    ) -> Any:  # fmt: skip
        """Mine."""
        A = gate.keep(x.keep + h @ W.keep + concat(h, c) @ W_c.keep)
        A = A * gate.extra(x.extra) if extra or kind == "b" else A
        new = candidate(x.candidate + P.candidate * c)
        return leak * h + (1 - leak) * new, A * c + new

    assert CELLS["mine"] is mine
    assert (mine.gates, mine.states, mine.summary) == (("keep", "extra"), ("h", "c"), "Mine")
    knobs = [(knob.name, knob.default, knob.choices) for knob in mine.knobs]
    activations = ("activation", "relu", ("tanh", "relu", "identity"))
    assert knobs == [activations, ("leak", 0.5, ()), ("kind", "a", ("a", "b")), ("extra", False, ())]
    assert mine.plain.structure.shapes(mine.weights, 7, H, 2) == {
        "keep.W_x": (7, H),
        "keep.W_h": (H, H),
        "keep.b_x": (H,),
        "keep.b_h": (H,),
        "keep.W_c": (2 * H, H),
        "candidate.W_x": (7, H),
        "candidate.b_x": (H,),
        "candidate.P": (H,),
    }


def test_states_that_nothing_reads_or_that_are_numbers_are_not_carried() -> None:
    @cell
    def mine(x: Any, h: Any, unread: Any, number: Any, none: Any, *, gate: Any) -> Any:
        A = gate.a(x.a)
        return A * h, A, 1.0, None

    assert mine.plain.structure.state_names == ("h",)


def every_function(x: Any, h: Any, c: Any, *, W: Any, gate: Any, candidate: Any) -> Any:
    A = gate["a"](x["a"] + h @ W["a"], relu)
    b = exp(-softplus(x.b)) + log(1 + A) - sqrt(1 + A**2) / 2
    b = b + maximum(A, 0.5) * minimum(b, c) + where(c > 0, c, 0.1 * c) + torch.tanh(c)
    return tanh(b + candidate(x.candidate)) * sigmoid(h @ W.b - x.b), 0.9 * c + 0.1 * tanh(b)


@pytest.mark.parametrize("bias_vectors", [1, 2])
def test_the_fused_step_computes_what_the_equations_say(compose: Callable[..., Config], bias_vectors: int) -> None:
    """Every function there is, of tensors and of numbers; products that are subtracted."""
    made = cell(every_function)
    assert not made.plain.structure.untraceable
    one, other = two_ways(config_of(compose, made, bias_vectors=bias_vectors, layers=2))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_what_cannot_be_traced_is_computed_by_the_equations_and_says_where(compose: Callable[..., Config]) -> None:
    @cell
    def mine(x: Any, h: Any, *, W: Any, gate: Any) -> Any:
        A = gate.a(x.a + h @ W.a)
        return torch.nn.functional.normalize(A + h, dim=-1)

    structure = mine.plain.structure
    assert "normalize" in structure.untraceable
    assert __file__ in structure.untraceable
    assert (mine.gates, mine.preactivations, mine.recurrent) == (("a",), ("a",), True)
    for bias_vectors in (1, 2):
        one, other = two_ways(config_of(compose, mine, bias_vectors=bias_vectors, layers=2))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_torch_cat_is_followed_as_concat_is_and_equality_chooses_unit_by_unit() -> None:
    def joined(x: Any, h: Any, c: Any, *, W: Any) -> Any:
        return torch.tanh(x.a + torch.cat([h, c], dim=-1) @ W.a), c + h

    structure = cell(register=False)(joined).plain.structure
    assert (structure.untraceable, dict(structure.matrices)) == ("", {("a", "W"): 2})

    def equal(x: Any, h: Any, *, W: Any) -> Any:
        return where(h == 0, x.b, x.a + h @ W.a)

    assert cell(register=False)(equal).preactivations == ("b", "a")


def test_a_function_of_torchs_with_further_arguments_is_another_one(compose: Callable[..., Config]) -> None:
    def steeper(x: Any, h: Any, *, W: Any) -> Any:
        return tanh(x.a - torch.nn.functional.softplus(h @ W.a, 2.0))

    assert "torch's softplus" in cell(register=False)(steeper).plain.structure.untraceable


def test_a_sum_of_comparisons_is_what_torch_has_it_to_be() -> None:
    """Of true and true it makes true, which is 1; of them as numbers 2."""

    def either(x: Any, h: Any, c: Any, *, W: Any) -> Any:
        return tanh(x.a + h @ W.a) * ((h > 0) + (c > 0)), tanh(x.c)

    def both(x: Any, h: Any, c: Any, *, W: Any) -> Any:
        return tanh(x.a + h @ W.a) * ((h > 0) * 1 + (c > 0) * 1) + where((h > 0) * (c > 0), h, c), tanh(x.c)

    assert "comparison" in cell(register=False)(either).plain.structure.untraceable
    assert not cell(register=False)(both).plain.structure.untraceable


def test_states_made_by_comparing_or_of_vectors_alone_are_states(compose: Callable[..., Config]) -> None:
    @cell
    def compared_states(x: Any, h: Any, c: Any, n: Any, *, W: Any) -> Any:
        return tanh(x.a + concat(h, c, n) @ W.a), h > 0.1, (c > 0) * 2 - 1

    @cell
    def of_vectors(x: Any, h: Any, c: Any, *, W: Any, P: Any) -> Any:
        return tanh(P.h), tanh(x.a + concat(c, h, P.c) @ W.a)

    @cell
    def read_out(x: Any, h: Any, *, W: Any, P: Any, candidate: Any) -> Any:
        return tanh(x.a + candidate(P.a) * h + h @ W.a)

    configs = [config_of(compose, made, layers=2) for made in (compared_states, of_vectors, read_out)]
    configs.append(configs[-1].but(model=replace(configs[-1].model, readout="candidate")))
    for config in configs:
        one, other = by_the_derivative(config)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("held", [None, 0.3, 0.0])
def test_a_gate_that_is_held_may_stand_beside_states(compose: Callable[..., Config], held: float | None) -> None:
    @cell
    def beside(x: Any, h: Any, *, W: Any, gate: Any, candidate: Any) -> Any:
        Z = gate.update(x.update + h @ W.update)
        return Z * h + (1 - Z) * candidate(x.candidate + concat(Z, h) @ W.candidate)

    config = config_of(compose, beside, layers=2)
    if held is not None:
        config = config.but(model=replace(config.model, gates={"update": held}))
    one, other = two_ways(config)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("held", [None, 0.3])
def test_a_gate_may_be_held_however_its_argument_is_made(compose: Callable[..., Config], held: float | None) -> None:
    """Methods of tensors, facts about them, parts of them: all of it goes with the gate."""

    @cell
    def by_methods(x: Any, h: Any, *, W: Any, gate: Any) -> Any:
        A = (x.update + h @ W.update).clamp(-1, 1)
        A = A / A.shape[-1] + abs(A)[..., :1] + A % 2
        return gate.update(A, function=relu) * h + tanh(x.new + h @ W.new)

    config = config_of(compose, by_methods)
    if held is not None:
        config = config.but(model=replace(config.model, gates={"update": held}))
    one, other = two_ways(config)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_what_has_no_number_where_a_gate_is_held_is_left_to_torch() -> None:
    """The logarithm of 0, which a tensor has; autograd computes it."""

    def of_nothing(x: Any, h: Any, *, W: Any, gate: Any) -> Any:
        return tanh(x.a + h @ W.a) * (1 - exp(log(gate.g(x.g) * h)))

    def derivative(held: float) -> Derived | str:
        structure = cell(register=False)(of_nothing)._variant({"g": held}, {}, None).structure
        return derived_or_why_not(structure, "state", True, 1)

    assert isinstance(derivative(0.5), Derived)
    assert derivative(0.0) == "log of 0.0, which is no number"


def test_a_fixed_gate_has_no_parameters_and_costs_nothing() -> None:
    gru = CELLS["gru"]
    structure = gru._variant({"reset": 1.0, "update": 0.25}, {"activation": "tanh"}, "before").structure
    assert structure.preactivations == ("candidate",)
    assert structure.graph is not None
    used = [value.node.op for value in structure.graph.reached(list(structure.new_states))]
    assert "sigmoid" not in used
    assert used.count("product") == 1
