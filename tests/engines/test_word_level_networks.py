"""Embeddings, tied output layers, dropout of every kind and clipping by value, in every engine, against an lstm written
out once more, in float64; and that a replica alone computes what it does in a crowd. CPU, 4 s.
"""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.resolved import Resolved
from ablate.config.schema import with_seed
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.capacity import is_derived
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.engines.cohort.portions import Stacked
from ablate.engines.cohort.stacked import StackedCohort
from ablate.training.behaviour import disagreement
from ablate.training.choice import build
from tests.engines.sample_networks import batches, network, weights

V, B, T, H = 6, 3, 4, 5
UPDATES = 3
CPU = torch.device("cpu")

KINDS = {
    "embedding": ["model.embedding=4"],
    "tied": ["model.tied=true"],
    "tied, with a projection": ["model.embedding=4", "model.tied=true"],
    "tokens dropped": ["dropout_in=0.4"],
    "words dropped": ["dropout_in=0.4", "dropout_mask=variational"],
    "embedding dropped": ["model.embedding=4", "dropout_in=0.4"],
    "output dropped": ["dropout_out=0.4"],
    "variational between layers": ["dropout=0.4", "dropout_mask=variational"],
    "all of it": [
        *("model.embedding=4", "model.tied=true", "dropout=0.2", "dropout_in=0.3", "dropout_out=0.4"),
        *("dropout_mask=variational", "clip_by=value", "clip=0.02"),
    ],
    "clipped by value": ["clip_by=value", "clip=0.02"],
}
ENGINES = ("cohort", "eager", "torch_nn")


def config_of(kind: str, *overrides: str) -> Resolved:
    return network("model=lstm", "layers=2", "bias_vectors=1", *KINDS[kind], *overrides, lr=0.5)


# --- written out once more --------------------------------------------------------------------------------


def masks_of(config: Resolved, generator: Generator) -> dict[str, Tensor]:
    """What is multiplied at the input, between the layers and at the output, drawn in this order."""
    one_hot = config.model.embedding is None
    variational = config.dropout_mask == "variational"
    steps = 1 if variational else T
    first = config.model.embedding or (V if variational else 1)
    out = {}
    for name, share, width in (
        ("in", config.dropout_in, first),
        ("between", config.dropout, H),
        ("out", config.dropout_out, H),
    ):
        kept = torch.rand(steps, B, width, generator=generator) >= share if share else torch.ones(1, 1, 1)
        out[name] = kept.double() / (1 - share)
    assert one_hot or out["in"].shape[-1] in (1, config.model.embedding)
    return out


def lstm(p: Mapping[str, Tensor], layer: int, X: Tensor) -> Tensor:
    """Inputs (T, B, n) → outputs (T, B, H), from zeros."""
    h = c = X.new_zeros(B, H)
    outputs = []
    for x in X:
        a = {
            gate: x @ p[f"{layer}.{gate}.W_x"] + h @ p[f"{layer}.{gate}.W_h"] + p[f"{layer}.{gate}.b_x"]
            for gate in ("input", "forget", "candidate", "output")
        }
        c = a["forget"].sigmoid() * c + a["input"].sigmoid() * a["candidate"].tanh()
        h = a["output"].sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs)


def loss_of(config: Resolved, p: Mapping[str, Tensor], x: Tensor, y: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
    one_hot = F.one_hot(x, V).double()
    X = one_hot if config.model.embedding is None else one_hot @ p["input.embedding"]
    X = lstm(p, 0, X * masks["in"])
    X = lstm(p, 1, X * masks["between"]) * masks["out"]
    if "output.projection" in p:
        X = X @ p["output.projection"]
    W = p["input.embedding"].T if config.model.tied else p["output.W"]
    return F.cross_entropy((X @ W + p["output.b"]).flatten(0, 1), y.flatten())


def by_hand(
    config: Resolved, parameters: Mapping[str, Tensor], minibatches: list[tuple[Tensor, Tensor]]
) -> list[float]:
    """Losses of plain gradient descent, each before its update; the parameters move on in place."""
    generator, losses = Generator().manual_seed(config.seed), []
    for x, y in minibatches:
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        loss = loss_of(config, leaves, x, y, masks_of(config, generator))
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        if config.clip_by == "value":
            gradients = {name: value.clamp(-config.clip, config.clip) for name, value in gradients.items()}
        else:
            norm = torch.cat([value.flatten() for value in gradients.values()]).norm()
            gradients = {name: value * min(1.0, config.clip / norm) for name, value in gradients.items()}
        for name, value in gradients.items():
            parameters[name].sub_(config.lr * value)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_trains_as_it_is_written(kind: str, engine: str) -> None:
    config = config_of(kind)
    parameters = weights(config, V, 0)
    minibatches = [(x[0], y[0]) for x, y in batches(config, V, 1, UPDATES)]
    program = build(engine, [config], V, [parameters], [Generator().manual_seed(config.seed)], CPU, UPDATES)
    ours = [float(program.step(x[None], y[None], carry=False)) for x, y in minibatches]
    expected = {name: value.clone() for name, value in parameters.items()}
    assert ours == pytest.approx(by_hand(config, expected, minibatches), rel=1e-9)
    trained = program.named_tensors(0)
    assert trained.keys() == expected.keys()
    for name, value in expected.items():
        assert not torch.equal(value, parameters[name]), name
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-9, msg=name)
    x, y = minibatches[0]
    nothing = dict.fromkeys(("in", "between", "out"), torch.ones((), dtype=torch.float64))
    held_out = float(loss_of(config, expected, x, y, nothing))
    assert float(program.evaluate(x, y)) == pytest.approx(held_out, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_agree_on_what_a_run_is_checked_by(kind: str) -> None:
    assert disagreement("torch_nn", config_of(kind)) == ""


@pytest.mark.full
@pytest.mark.parametrize("form", ["torch", "native"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_alone_as_in_a_crowd_and_after_a_stop(kind: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, in float32, at shares of its own."""
    if form == "torch":
        monkeypatch.setenv("ABLATE_NATIVE", "0")
    elif unavailable():
        pytest.skip(unavailable())
    base = network("model=lstm", "layers=2", *KINDS[kind], batch_size=32, lr=0.5)
    configs = [with_seed(base, k) for k in range(3)]
    if base.dropout_out:
        configs[1] = configs[1].but(dropout_out=0.1)
    parameters = [{name: value.float() for name, value in weights(base, V, k).items()} for k in range(3)]
    minibatches = batches(base, V, 3, 2 * UPDATES)

    def program(*numbers: int) -> object:
        generators = [Generator().manual_seed(k) for k in numbers]
        own = [configs[k] for k in numbers]
        return build("cohort", own, V, [parameters[k] for k in numbers], generators, CPU, 2 * UPDATES)

    crowd = program(0, 1, 2)
    losses = torch.stack([crowd.step(x, y, carry=True) for x, y in minibatches])
    for k in range(3):
        first, second = program(k), program(k)
        own = [first.step(x[k : k + 1], y[k : k + 1], carry=True) for x, y in minibatches[:UPDATES]]
        second.load_replica_states(first.replica_states())
        own += [second.step(x[k : k + 1], y[k : k + 1], carry=True) for x, y in minibatches[UPDATES:]]
        assert torch.equal(torch.cat(own), losses[:, k])
        for name, value in second.named_tensors(0).items():
            assert torch.equal(value, crowd.named_tensors(k)[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_minibatches_without_a_question_to_the_device(kind: str) -> None:
    """As a GPU trains: in tensors that stay in their places, bit for bit as minibatch by minibatch; one is ended."""
    base = config_of(kind)
    configs = [with_seed(base, k) for k in range(3)]
    parameters = [weights(base, V, k) for k in range(3)]
    minibatches = batches(base, V, 3, 2 * UPDATES)

    def program(silent: bool) -> Cohort:
        kinds = Cohort if is_derived(base) else StackedCohort
        generators = [Generator().manual_seed(k) for k in range(3)]
        return kinds(configs, V, parameters, generators=generators, updates=2 * UPDATES, cuda_graphs=silent)

    def losses(own: Cohort, some: list[tuple[Tensor, Tensor]]) -> Tensor:
        if own.silent:
            return own.train(Stacked(*(torch.stack(parts) for parts in zip(*some, strict=True))), carry=False)
        return torch.stack([own.step(x, y, carry=k > 0) for k, (x, y) in enumerate(some)])

    asking, silent = program(False), program(True)
    assert torch.equal(losses(asking, minibatches[:UPDATES]), losses(silent, minibatches[:UPDATES]))
    for own in (asking, silent):
        own.end([1])
    before = silent.named_tensors(1)
    assert torch.equal(losses(asking, minibatches[UPDATES:]), losses(silent, minibatches[UPDATES:]))
    for k in range(3):
        for name, value in silent.named_tensors(k).items():
            assert torch.equal(value, asking.named_tensors(k)[name]), name
            assert torch.equal(value, before[name]) or k != 1, name
    assert silent.divergences() == [""] * 3


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_it_is_mixed_with_another_device(kind: str) -> None:
    """On torch's meta device, where a question to the device is an error."""
    meta, base = torch.device("meta"), config_of(kind, "cuda_graphs=false")
    configs = [with_seed(base, k) for k in range(2)]
    parameters = [weights(base, V, k, torch.float32) for k in range(2)]
    program = build("cohort", configs, V, parameters, [Generator(), Generator()], meta, UPDATES)
    x, y = (torch.stack(parts).to(meta) for parts in zip(*batches(base, V, 2, UPDATES), strict=True))
    assert program.train(Stacked(x, y), carry=False).device == meta
    assert program.evaluate(x[0], y[0]).device == meta


def test_which_program_computes_it() -> None:
    """Whole minibatches natively where the kernel covers them, else layers natively and the rest by torch."""
    native = {kind for kind in KINDS if is_derived(config_of(kind))}
    assert native == {"variational between layers", "clipped by value"}
    if not unavailable():
        config = config_of("clipped by value")
        single = {name: value.float() for name, value in weights(config, V, 0).items()}
        assert isinstance(build("cohort", [config], V, [single], [Generator()], CPU, 1), NativeCohort)


@pytest.mark.parametrize("knob", ["dropout_mask", "clip_by"])
def test_what_a_program_has_once_cannot_differ_between_replicas(knob: str) -> None:
    config = config_of("variational between layers")
    other = config.but(dropout_mask="step") if knob == "dropout_mask" else config.but(clip_by="value")
    parameters = [weights(config, V, 0)] * 2
    with pytest.raises(ValueError, match=f"must agree in {knob}"):
        build("cohort", [config, other], V, parameters, [Generator(), Generator()], CPU, 1)


def test_the_way_back_through_a_tied_matrix_has_both_parts() -> None:
    """What the first layer reads and what the output layer reads move the same numbers."""
    config = config_of("tied")
    untied = config.but(model=replace(config.given.model, tied=False, embedding=H))
    parameters = weights(config, V, 0)
    apart = parameters | {"output.W": parameters["input.embedding"].t().clone()}
    minibatch = batches(config, V, 1, 1)[0]
    one = build("cohort", [config], V, [parameters], [Generator()], CPU, 1)
    two = build("cohort", [untied], V, [{name: apart[name] for name in weights(untied, V, 0)}], [Generator()], CPU, 1)
    [tied], [both] = (program.gradients(*minibatch, carry=False) for program in (one, two))
    torch.testing.assert_close(tied["input.embedding"], both["input.embedding"] + both["output.W"].t())
