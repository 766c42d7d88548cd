"""Whether a cell is one that every engine can train. Axes: R replicas, T steps, B sequences, H hidden units, V words.

All is computed in float64, on the CPU, in networks of two layers of three units.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.cells.cell import Cell, variant_of
from ablate.config.composing import compose
from ablate.config.errors import ConfigError
from ablate.config.registry import CELLS
from ablate.config.resolved import Resolved, resolve
from ablate.networks.causality import is_causal
from ablate.networks.layer import Layer, State
from ablate.networks.network import Network
from ablate.networks.parameters import initial, shapes
from ablate.training.choice import disagreeing, make_kernels

R, T, B, H, V = 3, 5, 4, 3, 6
SAME = 1e-12
"""Two ways to compute one thing differ by less, relative to the largest number."""
STEP = 1e-6
"""Of the central differences that gradients are compared with."""
DIFFERENCE = 1e-6
"""Those and derivatives differ by less, relative to the largest gradient."""
HALF_OPEN = 0.5
"""The constant at which each gate is held."""


def check_cell(cell: Cell) -> None:
    """Check a cell with its knobs at each of their choices and with each gate fixed. Raises AssertionError.

    It checks shapes, reproducibility, that sequences and replicas do not influence each other, causality, gradients
    against central differences, that the state can be carried over, that parameters can be saved and loaded and are
    all used, and that each engine computes what the equations say. Raises ConfigError for equations that cannot be
    evaluated at all.

    The engine `cohort` compiles a kernel for each of them if there is a compiler: a few seconds each, the first time.
    """
    assert isinstance(cell, Cell), f"{cell!r} is no cell; give a function with the decorator @ablate.cell"
    with _registered(cell):
        cases = [case for case in _cases(cell) if case.means_something()]
        for case in cases:
            case.check()
        make_kernels(case.config for case in cases)
        for case in cases:
            case.check_engines()


@contextmanager
def _registered(cell: Cell) -> Iterator[None]:
    """The cell under its name for a while, if it has not been added."""
    before = CELLS.found.get(cell.name) if cell.name in CELLS else None
    CELLS.found[cell.name] = cell
    try:
        yield
    finally:
        if before is None:
            del CELLS.found[cell.name]
        else:
            CELLS.found[cell.name] = before


def _cases(cell: Cell) -> Iterator[Case]:
    usual = {knob.name: knob.default for knob in cell.knobs}
    base = compose(())

    def case(what: str, own: Mapping[str, Any], bias_vectors: int = 1, **changed: Any) -> Case:
        model = replace(base.model, name=cell.name, cell=cell.name, own={**usual, **own}, **changed)
        config = base.but(model=model, num_hiddens=H, layers=2, bias_vectors=bias_vectors, init="torch", reset=None)
        return Case(f"cell {cell.name}{what}", cell, resolve(config))

    yield case("", {})
    yield case(" with bias_vectors=2", {}, bias_vectors=2)
    for knob in cell.knobs:
        for choice in knob.choices or ((True, False) if knob.kind is bool else ()):
            if choice != knob.default:
                yield case(f" with model.{knob.name}={str(choice).lower()}", {knob.name: choice})
    for gate in cell.gates:
        yield case(f" with model.gates.{gate}={HALF_OPEN}", {}, gates={gate: HALF_OPEN})
    if cell.has_candidate:
        yield case(" with model.readout=candidate", {}, readout="candidate")


@dataclass
class Case:
    """A cell as a model has it, and how a message names it."""

    what: str
    cell: Cell
    config: Resolved

    def means_something(self) -> bool:
        """Whether the cell can be computed: one whose only gate is fixed may be left with nothing to read."""
        if not self.config.model.gates:
            return True
        try:
            return bool(variant_of(self.config).structure.preactivations)
        except ConfigError:
            return False

    def check(self) -> None:
        self.check_shapes()
        self.check_reproducible()
        self.check_sequences_are_apart()
        self.check_causal()
        self.check_carried()
        self.check_replicas_are_apart()
        self.check_gradients()
        self.check_saved()

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise AssertionError(f"{self.what}: {otherwise}")

    def parameters(self, seed: int = 0) -> dict[str, Tensor]:
        """Three times as large as they start, so that gates leave the linear range."""
        drawn = initial(self.config, V, Generator().manual_seed(seed), torch.float64)
        return {name: 3 * value for name, value in drawn.items()}

    def network(self, seed: int = 0, *, project: bool = False) -> Network:
        return Network(self.config, V, self.parameters(seed), project=project)

    def logits(self, tokens: Tensor, seed: int = 0) -> Tensor:
        """Tokens (T, B) → logits (T, B, V), by the very equations, from a zero state."""
        net = self.network(seed)
        return net(tokens, net.initial_state(tokens.shape[-1]))[0]

    def check_shapes(self) -> None:
        layer = self.network().layers[0][0]
        assert isinstance(layer, Layer)
        X = torch.randn(B, V, generator=Generator().manual_seed(0), dtype=torch.float64)
        state = tuple(torch.full((B, H), 0.1, dtype=torch.float64) for _ in range(layer.states))
        output, new = layer(X, state)
        names = layer.structure.state_names
        for name, value in (("the output", output), *zip((f"the new {name}" for name in names), new, strict=True)):
            self.expect(
                value.shape == (B, H),
                f"{name} has shape {tuple(value.shape)}, but it must be that of the states, (…, H), here ({B}, {H})",
            )
            self.expect(value.dtype == torch.float64, f"{name} is {value.dtype} where all that was given is float64")

    def check_reproducible(self) -> None:
        one, other = tokens(1), tokens(2)
        first = self.logits(one)
        self.logits(other)
        self.expect(
            torch.equal(first, self.logits(one)),
            "the same input gives other outputs the second time; equations draw no random numbers and remember "
            "nothing but their states",
        )

    def check_sequences_are_apart(self) -> None:
        """A token of one sequence is changed."""
        one = tokens(1)
        other = one.clone()
        other[:, 0] = (one[:, 0] + 1) % V
        moved = _distance(self.logits(one)[:, 1:], self.logits(other)[:, 1:])
        self.expect(moved < SAME, "a sequence's outputs depend on another sequence of the minibatch")
        alone = _distance(self.logits(one)[:, :1], self.logits(one[:, :1]))
        self.expect(alone < SAME, "a sequence's outputs depend on how many others there are in the minibatch")

    def check_causal(self) -> None:
        self.expect(is_causal(self.logits, V, T), "an output depends on a later token")

    def check_carried(self) -> None:
        """Two halves, the second from the state in which the first ended, against the whole."""
        net, whole = self.network(), tokens(1)
        expected, end = net(whole, net.initial_state(B))
        first, middle = net(whole[:2], net.initial_state(B))
        second, other_end = net(whole[2:], middle)
        same = _distance(expected, torch.cat([first, second])) < SAME and all(
            _distance(part, other) < SAME for part, other in zip(_flat(end), _flat(other_end), strict=True)
        )
        self.expect(same, "a sequence in two halves gives other outputs than in one: its states are not all it needs")

    def check_replicas_are_apart(self) -> None:
        """Replicas as one program, with products taken together, against each by the very equations."""
        batch = torch.stack([tokens(seed) for seed in range(R)])
        apart = [self.parameters(seed) for seed in range(R)]
        rows = {name: torch.stack([own[name] for own in apart]) for name in apart[0]}
        stacked = {name: rows[name] if rows[name].dim() == 3 else rows[name].unsqueeze(1) for name in rows}
        for value in stacked.values():
            value.requires_grad_()
        net = Network(self.config, V, stacked, project=True)
        try:
            together, _ = net(batch, net.initial_state(R, B))
        except RuntimeError as error:
            raise AssertionError(
                f"{self.what}: several replicas at once cannot be computed: {error}; write equations for (…, H)"
            ) from error
        found = _gradients(together, stacked)
        for k, own in enumerate(apart):
            for value in own.values():
                value.requires_grad_()
            single = Network(self.config, V, own)
            logits, _ = single(batch[k], single.initial_state(B))
            self.expect(
                _distance(together[k], logits) < SAME,
                f"replica {k} gives other outputs beside {R - 1} others than alone (by up to "
                f"{float((together[k] - logits).detach().abs().max()):.1e}); a mean over all, or an axis "
                "counted from the front?",
            )
            for name, gradient in _gradients(logits, own).items():
                self.expect(
                    _distance(found[name][k].view_as(gradient), gradient) < 100 * SAME,
                    f"replica {k} has another gradient of {name} beside others than alone",
                )

    def check_gradients(self) -> None:
        """A number of each parameter, by central differences; and none that nothing depends on."""
        own, batch = self.parameters(), tokens(1)
        for value in own.values():
            value.requires_grad_()
        net = Network(self.config, V, own, project=True)

        def loss() -> Tensor:
            return _scalar(net(batch, net.initial_state(B))[0])

        gradients = _gradients(net(batch, net.initial_state(B))[0], own)
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        source = Generator().manual_seed(3)
        with torch.no_grad():
            for name, value in own.items():
                used = bool(gradients[name].any()) or self.config.model.readout == "candidate"
                self.expect(used, f"nothing depends on its parameter {name}; leave it out")
                entries, gradient = value.view(-1), gradients[name].reshape(-1)
                for index in torch.randperm(len(entries), generator=source)[:1].tolist():
                    kept = float(entries[index])
                    entries[index] = kept + STEP
                    above = float(loss())
                    entries[index] = kept - STEP
                    below = float(loss())
                    entries[index] = kept
                    difference, derivative = (above - below) / (2 * STEP), float(gradient[index])
                    self.expect(
                        abs(difference - derivative) < DIFFERENCE * max(largest, 1.0),
                        f"the gradient of {name} is {derivative:.6g}, but differences of the loss say "
                        f"{difference:.6g}; is a value detached, rounded, or turned into a number?",
                    )

    def check_saved(self) -> None:
        """Parameters written to a file and read again, and none of a fixed gate among them."""
        own = self.parameters()
        gone = [name for name in own if any(f".{gate}." in name for gate in self.config.model.gates)]
        self.expect(not gone, f"a gate that is fixed has parameters: {', '.join(gone)}")
        file = io.BytesIO()
        torch.save(own, file)
        file.seek(0)
        again = torch.load(file, weights_only=True)
        self.expect(
            {name: tuple(value.shape) for name, value in again.items()} == shapes(self.config, V),
            "the parameters that were saved are not those that the cell needs",
        )
        net = Network(self.config, V, again)
        logits, _ = net(tokens(1), net.initial_state(B))
        self.expect(torch.equal(logits, self.logits(tokens(1))), "loaded parameters give other outputs than saved ones")

    def check_engines(self) -> None:
        """What the engines that train it make of its equations, forward and back, against the equations themselves."""
        engines = ", ".join(f"engine={engine}" for engine in disagreeing(self.config))
        self.expect(
            not engines,
            f"{engines} computes something else than the equations; do they ask what kind of number they are given, "
            "or how often they were called?",
        )


def tokens(seed: int) -> Tensor:
    """Random ones (T, B)."""
    return torch.randint(V, (T, B), generator=Generator().manual_seed(seed))


def _scalar(logits: Tensor) -> Tensor:
    """A number that depends on every output in its own way."""
    weights = torch.arange(1, logits.numel() + 1, dtype=logits.dtype).view(logits.shape).cos()
    return (weights * logits).sum()


def _gradients(logits: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of `_scalar` of each replica, if there are several; zeros where there is no path."""
    whole = logits if logits.dim() == 3 else logits.unbind(0)
    loss = _scalar(whole) if isinstance(whole, Tensor) else torch.stack([_scalar(one) for one in whole]).sum()
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(parameters.items(), found, strict=True)
    }


def _flat(states: list[State]) -> list[Tensor]:
    return [part for state in states for part in state]


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest number where that is above 1."""
    if not bool(one.isfinite().all() and other.isfinite().all()):
        return 0.0 if torch.equal(one.isfinite(), other.isfinite()) else math.inf
    one, other = one.detach(), other.detach()
    return float((one - other).abs().max()) / max(1.0, float(other.abs().max()))
