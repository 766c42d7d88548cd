"""Linear recurrences over all steps at once, and a layer's steps as one operation, against the loop in float64."""

import pytest
import torch
from torch import Tensor

from ablate.cells.derivative import derivative_of
from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.networks import scan
from ablate.networks.network import Network
from ablate.networks.parameters import initial
from ablate.networks.recurrence import recurrence
from ablate.networks.scan import linear_recurrence

V, R, H, B = 5, 2, 4, 3
SCANNED = {
    "mingru": ["model=mingru"],
    "mingru-tanh": ["model=mingru", "model.activation=tanh"],
    "mingru-candidate": ["model=mingru", "model.readout=candidate"],
    "minlstm": ["model=minlstm"],
    "minlstm-held": ["model=minlstm", "+model.gates.forget=1"],
}
OTHERS = {
    "rnn": ["model=rnn"],
    "gru": ["model=gru"],
    "gru-before": ["model=gru", "formulation=textbook"],
    "lstm-peepholes": ["model=lstm-peepholes"],
    "lstm-gate-recurrence": ["model=lstm", "model.gate_recurrence=true"],
    "not-written": ["model=lstm", "model.write_back=false"],
    "mgu": ["model=mgu"],
}


@pytest.mark.parametrize("T", [1, 2, 3, 8, 35])
def test_it_is_the_loop(T: int) -> None:
    torch.manual_seed(0)
    a, b, start = (torch.randn(R, *shape, dtype=torch.float64) for shape in ((T, B, H), (T, B, H), (B, H)))
    states, s = [], start
    for t in range(T):
        s = a[:, t] * s + b[:, t]
        states.append(s)
    torch.testing.assert_close(linear_recurrence(a, b, start), torch.stack(states, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize("name", [*SCANNED, *OTHERS])
@pytest.mark.parametrize("form", [[], ["model.bidirectional=true", "sampling=random"]], ids=["", "bidirectional"])
def test_steps_at_once_are_those_of_the_equations(name: str, form: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits, states and gradients, from states that are not zero; scanned where that is possible."""
    options = {**SCANNED, **OTHERS}[name]
    config = resolve(compose([*options, *form, f"num_hiddens={H}", "layers=2", "init=torch"]))
    assert (derivative_of(config).scan is not None) == (name in SCANNED)
    drawn = [initial(config, V, torch.Generator().manual_seed(k), torch.float64) for k in range(R)]
    stacked = {key: torch.stack([one[key] for one in drawn]) for key in drawn[0]}
    stacked = {key: value.unsqueeze(1) if value.dim() == 2 else value for key, value in stacked.items()}
    tokens = torch.randint(V, (R, 6, B), generator=torch.Generator().manual_seed(9))
    found: list[list[Tensor]] = []
    for at_once, forced in ((None, False), (recurrence, False), *([(recurrence, True)] if name in SCANNED else [])):
        monkeypatch.setattr(scan, "scans", lambda d, steps, device, forced=forced: forced)
        p = {key: value.clone().requires_grad_() for key, value in stacked.items()}
        network = Network(config, V, p, project=True, recurrence=at_once)
        torch.manual_seed(1)
        states = [tuple(torch.randn_like(part) for part in state) for state in network.initial_state(R, B)]
        logits, after = network(tokens, states)
        total = (logits * torch.randn_like(logits)).sum() + sum(part.sum() for state in after for part in state)
        gradients = torch.autograd.grad(total, list(p.values()), allow_unused=True)
        found.append([logits, *(part for state in after for part in state)])
        found[-1] += [torch.zeros(()) if g is None else g for g in gradients]
    for own in found[1:]:
        for one, other in zip(found[0], own, strict=True):
            torch.testing.assert_close(one, other.expand_as(one), rtol=1e-10, atol=1e-12)


def test_what_is_scanned() -> None:
    """Linear recurrences of several steps on a GPU; nothing on a CPU."""
    linear, other = (derivative_of(compose([f"model={name}"])) for name in ("minlstm", "gru"))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert scan.scans(linear, 35, gpu)
    assert not any((scan.scans(linear, 1, gpu), scan.scans(linear, 35, cpu), scan.scans(other, 35, gpu)))
