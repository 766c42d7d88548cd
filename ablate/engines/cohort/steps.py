"""One time step of each cell, forward and back, for many replicas at once, with derivatives by hand.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns. Two layouts:

    (R, T, B, …)  what enters a product over all steps at once, one `bmm` over (R, T·B, …): states, gradients `D`
    (T, R, B, …)  what a step's product is added to, because torch batches only products whose result is
                  contiguous: pre-activations `A`, gradients at the states

`A` holds the pre-activations, and after the step the gates. The loop in `ablate.engines.cohort.bptt` has already
added the input's share and adds the recurrent product; a cell supplies

    step      pre-activations → gates and new state, in place
    jacobian  after the last step, for all steps at once: d pre-activation / d state, into `D`
    backward  one step back: `D` becomes the gradient of the loss at the pre-activations
    carry     what of the gradient reaches the old state past the recurrent product

tanh(a) = 2σ(2a) − 1: torch's sigmoid is about five times as fast as its tanh on the CPU, so the columns in
`doubled` hold 2a. The factor 2 is exact; the result is within 1e-7 (float32) of tanh, absolutely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.cells.cell import live_gates, variant_of
from ablate.config.schema import Config, resolve

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (g, σ) → g σ (1 − σ)
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (g, τ) → g (1 − τ²)

NOTHING = slice(0, 0)


@dataclass
class Shape:
    """Sizes of one batched program, which allocates its buffers here."""

    R: int
    T: int
    B: int
    H: int
    dtype: torch.dtype
    device: torch.device
    allocated_bytes: int = 0

    def zeros(self, *sizes: int) -> Tensor:
        buffer = torch.zeros(sizes, dtype=self.dtype, device=self.device)
        self.allocated_bytes += buffer.numel() * buffer.element_size()
        return buffer


def columns(names: Sequence[str], H: int) -> dict[str, slice]:
    """Block names in order → the columns of each."""
    return {name: slice(k * H, (k + 1) * H) for k, name in enumerate(names)}


def unstack(buffer: Tensor) -> list[Tensor]:
    """(R, T, …) → its T views (R, …)."""
    return list(buffer.unbind(1))


def replicas_first(buffer: Tensor) -> Tensor:
    """(T, R, …) ↔ (R, T, …), a view."""
    return buffer.transpose(0, 1)


class Steps:
    """The buffers of one layer and its cell. Without `training`, those of the way back are left out.

    `blocks` names the blocks of columns; the input's share covers the columns `from_input`, the recurrent product
    of the loop the first ones, `from_state`. Those are in `A`, what is left of them in `A_rest`. `input_gates` and
    `state_gates` give the order of the gates in the columns of W_x and W_h, and `bias_columns` those of b_h.
    """

    parts = 1
    blocks: tuple[str, ...]
    doubled: slice

    def __init__(self, config: Config, shape: Shape, training: bool) -> None:
        self.model = config.model
        self.shape = shape
        self.training = training
        R, T, B, H = shape.R, shape.T, shape.B, shape.H
        self.input_gates, self.state_gates, self.blocks = self.arrange(config)
        self.at = columns(self.blocks, H)
        K = len(self.blocks)
        self.from_input = slice((K - len(self.input_gates)) * H, K * H)
        self.bias_columns = slice(0, len(self.state_gates) * H)
        self.from_state = slice(0, self.recurrent_blocks() * H)
        self.doubled = self.at["candidate"]
        self.A = shape.zeros(T, R, B, self.from_state.stop)
        self.A_rest = shape.zeros(T, R, B, K * H - self.from_state.stop)
        self.state = shape.zeros(R, T + 1, B, H)  # [:, 0] is the state before the first step
        self.fixed = {
            gate: torch.tensor(value, dtype=shape.dtype, device=shape.device)
            for gate, value in config.model.gates.items()
        }
        self.minus_one = torch.tensor(-1.0, dtype=shape.dtype, device=shape.device)
        self.one = -self.minus_one
        if training:
            self.D = shape.zeros(R, T, B, K * H)
            self.d_state = shape.zeros(T, R, B, H)  # gradient at the state after each step
            # Where the candidate is read out, its gradient does not come through the state.
            self.d_candidate = shape.zeros(T, R, B, H) if self.reads_candidate else None
            self.E = shape.zeros(R, T, B, K * H) if self.reads_candidate else None

    @staticmethod
    def arrange(config: Config) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Gate order in the columns of W_x, in those of W_h, and the blocks of `A`."""
        gates = live_gates(config)
        return gates, gates, gates

    def recurrent_blocks(self) -> int:
        """How many blocks the recurrent product of the loop is added to."""
        return len(self.state_gates)

    @property
    def reads_candidate(self) -> bool:
        return self.model.readout == "candidate"

    @property
    def recurs(self) -> bool:
        """Whether a step reads the state that the step before it made."""
        return self.model.write_back

    def values(self, name: str) -> Tensor:
        """A block of `A` over all steps, (T, R, B, H)."""
        at, end = self.at[name], self.from_state.stop
        return self.A[..., at] if at.stop <= end else self.A_rest[..., at.start - end : at.stop - end]

    def gate(self, name: str) -> Tensor:
        """A gate over all steps (R, T, B, H), or the number () at which the model holds it."""
        return self.fixed[name] if name in self.fixed else replicas_first(self.values(name))

    def each(self, name: str) -> list[Tensor]:
        """A gate at each step, (R, B, H) or ()."""
        return [self.fixed[name]] * self.shape.T if name in self.fixed else list(self.values(name))

    def old(self, state: Tensor) -> Tensor:
        """(R, T + 1, B, H) → the state that each step reads, (R, T, B, H)."""
        return state[:, :-1] if self.recurs else state[:, :1].expand_as(state[:, 1:])

    @property
    def output(self) -> Tensor:
        """What the next layer reads, (R, T, B, H)."""
        return self.state[:, 1:]

    @property
    def d_output(self) -> Tensor:
        """Where the gradient at `output` belongs, (R, T, B, H)."""
        return replicas_first(self.d_state if self.d_candidate is None else self.d_candidate)

    def load(self, states: Sequence[Tensor]) -> None:
        """Start from these states, (R, B, H) each."""
        self.state[:, 0].copy_(states[0])

    def store(self, states: Sequence[Tensor]) -> None:
        """Copy the states after the last step out, for the next minibatch."""
        if self.recurs:
            states[0].copy_(self.state[:, -1])

    def tanh_(self, doubled: Tensor) -> None:
        """2a → tanh(a), in place."""
        torch.add(self.minus_one, doubled.sigmoid_(), alpha=2, out=doubled)

    def bind(self, W_h: Tensor, W_h_T: Tensor | None) -> None:
        """Take the recurrent weights (R, H, columns), doubled where `A` is, and their plain transpose."""

    def step(self, t: int) -> None:
        raise NotImplementedError

    def jacobian(self) -> None:
        raise NotImplementedError

    def backward(self, t: int) -> None:
        raise NotImplementedError

    def carry(self, t: int) -> None:
        raise NotImplementedError

    def state_products(self) -> list[tuple[Tensor, Tensor, slice]]:
        """What multiplied W_h, the gradient at the product, and the columns of W_h: for its gradient."""
        return [(self.old(self.state), self.D[..., self.from_state], self.from_state)]


class RNN(Steps):
    """H = φ(A); dA = φ' ⊙ dH."""

    def __init__(self, config: Config, shape: Shape, training: bool) -> None:
        super().__init__(config, shape, training)
        self.relu = config.model.activation == "relu"
        self.doubled = NOTHING if self.relu else self.doubled
        self.forward_views = list(zip(self.A, unstack(self.state[:, 1:]), strict=True))
        if training:
            self.back_views = list(zip(unstack(self.D), self.d_state, strict=True))

    @property
    def reads_candidate(self) -> bool:
        return False  # the candidate of this cell is its state

    def step(self, t: int) -> None:
        A, H = self.forward_views[t]
        if self.relu:
            torch.clamp_min(A, 0, out=H)
        else:
            torch.add(self.minus_one, A.sigmoid_(), alpha=2, out=H)

    def jacobian(self) -> None:
        H = self.state[:, 1:]
        if self.relu:
            torch.gt(H, 0, out=self.D)
        else:
            torch.addcmul(self.one, H, H, value=-1, out=self.D)

    def backward(self, t: int) -> None:
        D, dH = self.back_views[t]
        D.mul_(dH)

    def carry(self, t: int) -> None:
        pass


class GRU(Steps):
    """Reset after the product, as cuDNN and torch.nn: U = H W_h + b_h, H̃ = tanh(A_c + R ⊙ U).

    U has columns of its own in front of the gates, [U R Z C]: the recurrent product covers the first three blocks,
    the input's share the last three. Of a fixed gate the block is left out.
    """

    @staticmethod
    def arrange(config: Config) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        gates = tuple(gate for gate in live_gates(config) if gate != "candidate")
        return (*gates, "candidate"), ("candidate", *gates), ("product", *gates, "candidate")

    def __init__(self, config: Config, shape: Shape, training: bool) -> None:
        super().__init__(config, shape, training)
        self.sigmoids = list(self.A[..., shape.H :])
        self.pointwise = list(
            zip(
                self.each("product"),
                self.each("reset"),
                self.each("update"),
                self.each("candidate"),
                unstack(self.old(self.state)),
                unstack(self.state[:, 1:]),
                strict=True,
            )
        )
        if training:
            self.view_back()

    def view_back(self) -> None:
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        self.d_views = list(
            zip(
                unstack(self.D.view(R, T, B, -1, H)),
                self.d_state.unsqueeze(3),
                [None] * T if self.E is None else unstack(self.E.view(R, T, B, -1, H)),
                strict=True,
            )
        )
        self.carry_views = list(zip(self.d_state[:-1], self.d_state[1:], self.each("update")[1:], strict=True))

    @property
    def output(self) -> Tensor:
        return self.gate("candidate") if self.reads_candidate else self.state[:, 1:]

    def step(self, t: int) -> None:
        self.sigmoids[t].sigmoid_()
        U, R, Z, C, H_old, H = self.pointwise[t]
        C.addcmul_(R, U, value=2)
        self.tanh_(C)
        torch.lerp(C, H_old, Z, out=H)  # keep the old state where Z is near 1

    def jacobian(self) -> None:
        Z, C = self.gate("update"), self.gate("candidate")
        if "update" in self.at:
            D_z = self.D[..., self.at["update"]]
            sigmoid_backward(torch.sub(self.old(self.state), C, out=D_z), Z, grad_input=D_z)
        D_c = self.D[..., self.at["candidate"]]
        D_c.copy_(1 - Z) if Z.ndim == 0 else torch.sub(self.one, Z, out=D_c)
        tanh_backward(D_c, C, grad_input=D_c)
        self.through_candidate(self.D)
        if self.E is not None and self.d_candidate is not None:
            tanh_backward(self.d_output, C, grad_input=self.E[..., self.at["candidate"]])
            self.through_candidate(self.E)

    def through_candidate(self, D: Tensor) -> None:
        """From the candidate's columns of D on to the reset gate's and those of U."""
        D_c, D_u = D[..., self.at["candidate"]], D[..., self.at["product"]]
        if "reset" in self.at:
            R, D_r = self.gate("reset"), D[..., self.at["reset"]]
            sigmoid_backward(torch.mul(D_c, self.gate("product"), out=D_r), R, grad_input=D_r)
        torch.mul(D_c, self.gate("reset"), out=D_u)

    def backward(self, t: int) -> None:
        D, dH, E = self.d_views[t]
        if E is None:
            D.mul_(dH)
        else:
            torch.addcmul(E, D, dH, out=D)

    def carry(self, t: int) -> None:
        dH_old, dH, Z = self.carry_views[t - 1]
        dH_old.addcmul_(dH, Z)


class GRUResetBefore(GRU):
    """Reset before the product (Cho 2014 v1): H̃ = tanh(A_c + (R ⊙ H) W_h). The candidate needs a product of its own."""

    @staticmethod
    def arrange(config: Config) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        return Steps.arrange(config)

    def recurrent_blocks(self) -> int:
        return len(self.state_gates) - 1

    def __init__(self, config: Config, shape: Shape, training: bool) -> None:
        Steps.__init__(self, config, shape, training)
        R, T, B, H = shape.R, shape.T, shape.B, shape.H
        self.sigmoids = list(self.A)
        self.RH = shape.zeros(R, T, B, H)
        self.pointwise = list(
            zip(
                unstack(self.RH),
                self.each("reset"),
                self.each("update"),
                self.each("candidate"),
                unstack(self.old(self.state)),
                unstack(self.state[:, 1:]),
                strict=True,
            )
        )
        if training:
            self.Q = shape.zeros(R, B, H)
            self.view_back()

    def view_back(self) -> None:
        super().view_back()
        # The reset gate's block comes first and is not reached by dH alone.
        self.d_views = [(D[:, :, 1:], dH, None if E is None else E[:, :, 1:]) for D, dH, E in self.d_views]
        self.reset_views = list(
            zip(unstack(self.D[..., self.at["candidate"]]), unstack(self.D[..., self.at["reset"]]), strict=True)
        )
        self.resets = self.each("reset")

    def bind(self, W_h: Tensor, W_h_T: Tensor | None) -> None:
        at = self.at["candidate"]
        self.W_c = W_h[..., at]
        if W_h_T is not None:
            self.W_c_T = W_h_T[:, at]

    def step(self, t: int) -> None:
        self.sigmoids[t].sigmoid_()
        RH, R, Z, C, H_old, H = self.pointwise[t]
        torch.mul(R, H_old, out=RH)
        C.baddbmm_(RH, self.W_c)
        self.tanh_(C)
        torch.lerp(C, H_old, Z, out=H)

    def through_candidate(self, D: Tensor) -> None:
        if D is self.D:
            sigmoid_backward(self.old(self.state), self.gate("reset"), grad_input=D[..., self.at["reset"]])

    def backward(self, t: int) -> None:
        super().backward(t)
        D_c, D_r = self.reset_views[t]
        torch.bmm(D_c, self.W_c_T, out=self.Q)  # gradient at R ⊙ H
        D_r.mul_(self.Q)

    def carry(self, t: int) -> None:
        super().carry(t)
        self.carry_views[t - 1][0].addcmul_(self.Q, self.resets[t])

    def state_products(self) -> list[tuple[Tensor, Tensor, slice]]:
        at = self.at["candidate"]
        return [*super().state_products(), (self.RH, self.D[..., at], at)]


class LSTM(Steps):
    """C = F ⊙ C + I ⊙ tanh(A_c), H = O ⊙ tanh(C).

    The buffers hold 2C and 2 tanh(A_c), so that tanh(C) too is a sigmoid without a scaling of its own; `dC` is
    the gradient at 2C.
    """

    parts = 2

    def __init__(self, config: Config, shape: Shape, training: bool) -> None:
        super().__init__(config, shape, training)
        R, T, B, H = shape.R, shape.T, shape.B, shape.H
        self.minus_two = 2 * self.minus_one
        self.C2 = shape.zeros(T + 1, R, B, H)  # 2C, [0] before the first step
        self.squashed = shape.zeros(T, R, B, H)  # tanh(C)
        self.pointwise = list(
            zip(
                self.A,
                *(self.each(gate) for gate in ("input", "forget", "candidate", "output")),
                unstack(self.old(replicas_first(self.C2))),
                self.C2[1:],
                self.squashed,
                unstack(self.state[:, 1:]),
                strict=True,
            )
        )
        if training:
            self.view_back()

    def view_back(self) -> None:
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        self.dC = self.shape.zeros(R, B, H)
        self.J_c = self.shape.zeros(T, R, B, H)  # 2 dH/d(2C)
        of_C = slice(0, len(self.blocks) - ("output" in self.at))
        self.d_views = list(
            zip(
                unstack(self.D.view(R, T, B, -1, H)[:, :, :, of_C]),
                [None] * T if self.E is None else unstack(self.E.view(R, T, B, -1, H)[:, :, :, of_C]),
                unstack(self.D[..., self.at["output"]]) if "output" in self.at else [None] * T,
                self.d_state,
                self.J_c,
                strict=True,
            )
        )
        self.dC_each = self.dC.unsqueeze(2)
        self.forgets = self.each("forget")

    @property
    def output(self) -> Tensor:
        # Doubled in the buffer; the few published models that read the candidate pay for a copy.
        return self.gate("candidate") / 2 if self.reads_candidate else self.state[:, 1:]

    def load(self, states: Sequence[Tensor]) -> None:
        super().load(states)
        torch.mul(states[1], 2, out=self.C2[0])

    def store(self, states: Sequence[Tensor]) -> None:
        super().store(states)
        if self.recurs:
            torch.mul(self.C2[-1], 0.5, out=states[1])

    def step(self, t: int) -> None:
        A, I, F, G, O, C_old, C, S, H = self.pointwise[t]
        A.sigmoid_()
        torch.add(self.minus_two, G, alpha=4, out=G)
        torch.mul(C_old, F, out=C)
        C.addcmul_(I, G)
        torch.sigmoid(C, out=S)
        torch.add(self.minus_one, S, alpha=2, out=S)
        torch.mul(S, O, out=H)

    def jacobian(self) -> None:
        G, I, O = self.gate("candidate"), self.gate("input"), self.gate("output")
        factors = {"input": G, "forget": self.old(replicas_first(self.C2)), "output": replicas_first(self.squashed)}
        for gate, factor in factors.items():
            if gate in self.at:
                sigmoid_backward(factor, self.gate(gate), grad_input=self.D[..., self.at[gate]])
        D_g = self.D[..., self.at["candidate"]]
        torch.addcmul(2 * self.one, G, G, value=-0.5, out=D_g)
        if self.E is not None:
            torch.mul(D_g, self.d_output, out=self.E[..., self.at["candidate"]]).mul_(0.5)
        D_g.mul_(I)
        O_each = self.values("output") if "output" in self.at else O.expand_as(self.J_c)
        tanh_backward(O_each, self.squashed, grad_input=self.J_c)
        self.dC.zero_()

    def backward(self, t: int) -> None:
        D, E, D_o, dH, J_c = self.d_views[t]
        if not self.recurs:
            self.dC.zero_()
        self.dC.addcmul_(dH, J_c, value=0.5)
        if E is None:
            D.mul_(self.dC_each)
        else:
            torch.addcmul(E, D, self.dC_each, out=D)
        if D_o is not None:
            D_o.mul_(dH)

    def carry(self, t: int) -> None:
        self.dC.mul_(self.forgets[t])


CLASSES: dict[str, type[Steps]] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
"""The cells whose derivatives are written here, of those variants that torch.nn has, and with gates fixed."""


def covers(config: Config) -> bool:
    """Whether the steps of a config's cell are written here, with its knobs as they are."""
    cell = variant_of(config).cell
    return cell.name in CLASSES and not cell.beyond_torch_nn(config.model)


def steps_class(config: Config) -> type[Steps]:
    """The steps of the cell that `config.model` means."""
    if config.model.cell == "gru" and resolve(config).reset == "before":
        return GRUResetBefore
    return CLASSES[config.model.cell]
