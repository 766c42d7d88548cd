"""An optimizer of one's own, by the example of the documents: Lion, against Lion written for one tensor. CPU, 5 s."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from ablate.cells.cell import cell
from ablate.config.errors import ConfigError
from ablate.config.registry import OPTIMIZERS, Knob
from ablate.config.schema import Config, OptimizerConfig, with_seed
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.engines.cohort.stacked import StackedCohort
from ablate.engines.updates import Update
from ablate.optimizers.optimizer import optimizer
from ablate.testing import check_optimizer
from ablate.training.behaviour import disagreement, keys
from tests.engines.sample_networks import batches, network, weights
from tests.optimizers.conftest import EXAMPLES, Bring

Configs = Callable[..., Config]

V, R = 7, 3


def with_lion(config: Config, lr: float = 0.01, **own: Any) -> Config:
    chosen = {"betas": [0.8, 0.95], "weight_decay": 0.0} | own
    return config.but(optimizer=OptimizerConfig.of({"name": "lion", "lr": lr, **chosen}, given=True), lr=lr)


def lion_by_hand(start: Tensor, gradients: Tensor, lr: float, betas: tuple[float, float], decay: float) -> Tensor:
    """Chen et al. 2023, algorithm 2: θ after the gradients (updates, P)."""
    theta, m = start.clone(), torch.zeros_like(start)
    for g in gradients:
        c = betas[0] * m + (1 - betas[0]) * g
        theta = theta - lr * (torch.sign(c) + decay * theta)
        m = betas[1] * m + (1 - betas[1]) * g
    return theta


def test_the_example_is_short() -> None:
    code = (EXAMPLES / "optimizer.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) <= 15


def test_the_page_shows_the_very_examples() -> None:
    page = (EXAMPLES.parent / "optimizers-and-schedules.md").read_text()
    for name in ("optimizer.py", "schedule.py"):
        assert f'--8<-- "docs/examples/{name}"' in page


def test_replicas_move_as_lion_moves_one_tensor(compose: Configs, bring: Bring) -> None:
    bring("optimizer.py")
    rates, decays = (0.01, 0.003, 0.1), (0.0, 0.1, 0.02)
    configs = [
        with_lion(compose(), lr, weight_decay=decay).but(clip=None) for lr, decay in zip(rates, decays, strict=True)
    ]
    generator = Generator().manual_seed(0)
    start = torch.randn(R, 20, generator=generator, dtype=torch.float64)
    gradients = torch.randn(30, R, 20, generator=generator, dtype=torch.float64)
    update = Update(configs, start.clone())
    for each in gradients:
        update(each.clone())
    for k in range(R):
        expected = lion_by_hand(start[k], gradients[:, k], rates[k], (0.8, 0.95), decays[k])
        torch.testing.assert_close(update.parameters[k], expected, rtol=1e-12, atol=1e-12)


def test_it_passes_the_check(bring: Bring) -> None:
    bring("optimizer.py")
    lion = OPTIMIZERS["lion"]
    check_optimizer("lion")
    check_optimizer(lion)
    check_optimizer(lion.rule)
    assert (lion.lr, lion.moments, lion.counts) == (3e-4, ("mean",), False)
    assert [(knob.name, knob.default, knob.per_replica) for knob in lion.knobs] == [
        ("betas", [0.9, 0.99], False),
        ("weight_decay", 0.0, True),
    ]
    assert "Chen" in lion.source
    assert lion.summary.startswith("Lion")


def cohort_of(engine: type[Cohort], configs: list[Config], broken: int | None = None) -> Cohort:
    parameters = [weights(config, V, config.seed, torch.float32) for config in configs]
    if broken is not None:
        parameters[broken]["output.b"][0] = float("nan")
    return engine(configs, V, parameters)


@pytest.mark.parametrize("engine", [Cohort, StackedCohort, NativeCohort])
def test_a_cohort_is_its_replicas_alone(engine: type[Cohort], bring: Bring) -> None:
    """Of other seeds, rates and weight decays; one that diverges disturbs nobody; and it resumes bit for bit."""
    if engine is NativeCohort and unavailable():
        pytest.skip(unavailable())
    bring("optimizer.py")
    base = network("model=gru", "reset=after", batch_size=32)
    configs = [with_lion(with_seed(base, k), 0.01 * (k + 1), weight_decay=0.1 * k) for k in range(R)]
    minibatches = batches(base, V, R, 8)
    together, spoilt = cohort_of(engine, configs), cohort_of(engine, configs, broken=1)
    losses = torch.stack([together.step(x, y, carry=True) for x, y in minibatches])
    disturbed = torch.stack([spoilt.step(x, y, carry=True) for x, y in minibatches])
    assert losses.isfinite().all()
    assert spoilt.alive.tolist() == [True, False, True]
    assert torch.equal(losses[:, [0, 2]], disturbed[:, [0, 2]])
    for k in range(R):
        alone = cohort_of(engine, [configs[k]])
        own = torch.cat([alone.step(x[k : k + 1], y[k : k + 1], carry=True) for x, y in minibatches])
        if engine is StackedCohort:  # the same to rounding
            torch.testing.assert_close(losses[:, k], own, rtol=1e-4, atol=1e-4)
        else:
            assert torch.equal(losses[:, k], own)
    first, second = cohort_of(engine, configs), cohort_of(engine, configs)
    for x, y in minibatches[:4]:
        first.step(x, y, carry=True)
    saved = first.replica_states()
    assert all(list(state["moments"]) == ["mean"] and state["moments"]["mean"].any() for state in saved)
    second.load_replica_states(saved)
    resumed = torch.stack([second.step(x, y, carry=True) for x, y in minibatches[4:]])
    assert torch.equal(resumed, losses[4:])


@pytest.mark.parametrize("engine", ["eager", "torch_nn"])
def test_one_run_is_a_replica_of_the_cohort(engine: str, bring: Bring) -> None:
    bring("optimizer.py")
    config = with_lion(network("model=lstm", bias_vectors=2), weight_decay=0.1)
    minibatches, parameters = batches(config, V, 1, 10), weights(config, V, 0)
    cohort = Cohort([config], V, [parameters])
    whole, first, second = (AutogradProgram(engine, config, V, parameters) for _ in range(3))
    for step, (x, y) in enumerate(minibatches):
        losses = [float(one.step(x, y, carry=step > 0)) for one in (whole, cohort)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-8)
    for x, y in minibatches[:5]:
        first.step(x, y, carry=False)
    second.load_replica_states(first.replica_states())
    for x, y in minibatches[5:]:
        assert torch.equal(second.step(x, y, carry=False), first.step(x, y, carry=False))


def test_what_a_run_is_checked_by_has_its_knobs(compose: Configs, bring: Bring) -> None:
    bring("optimizer.py")
    config = with_lion(compose("model=rnn"))
    assert '"lion"' in keys(config)["update"]
    assert disagreement("cohort", config) == ""


# --- mistakes -------------------------------------------------------------------------------------------

KEPT: list[Tensor] = []


def moves_nothing(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters = parameters - lr * gradients


def climbs(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters.add_(lr * gradients)


def overflows(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters.sub_(lr * gradients / (gradients * 0))


def mixes(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters.sub_(lr * gradients / (1 + gradients.norm()))


def remembers(parameters: Any, gradients: Any, *, lr: Any) -> None:
    KEPT[:] = [gradients + 0.5 * KEPT[0] if KEPT and KEPT[0].shape == gradients.shape else gradients]
    parameters.sub_(lr * KEPT[0])


def drifts(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters.sub_(lr * (gradients.sign() + 0.1))


def averages(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters.sub_(lr * gradients / (1 + gradients.square().mean(1, keepdim=True).sqrt()))


def anneals(parameters: Any, gradients: Any, *, lr: Any) -> None:
    parameters.sub_(lr.mul_(0.99) * gradients)


BROKEN: dict[Callable[..., None], str] = {
    moves_nothing: "moves nothing",
    climbs: "does not go down a quadratic",
    overflows: "not finite",
    mixes: "otherwise in company than alone",
    remembers: "otherwise in company than alone|saved moments",
    drifts: "moves numbers that are zero",
    averages: "otherwise where zeros that belong to nothing",
    anneals: "changes its learning rate",
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_refused(rule: Callable[..., None]) -> None:
    KEPT.clear()
    optimizer(lr=0.1)(rule)
    with pytest.raises(AssertionError, match=f"^{rule.__name__} .*({BROKEN[rule]})"):
        check_optimizer(rule)


def test_a_knob_that_no_command_could_give_is_refused(compose: Configs) -> None:
    """Regression: a default of None was taken, and from then on no config could be composed, of whatever optimizer."""

    def limited(parameters: Any, gradients: Any, *, lr: Any, limit: Any = None) -> None:
        parameters.sub_(lr * gradients.clamp(-(limit or 1), limit or 1))

    def leaky(x: Any, h: Any, *, W: Any, leak=None) -> Any:
        return x.a + h @ W.a * (leak or 1)

    with pytest.raises(ConfigError, match=r"optimizer limited: .* knob limit, whose default is None; .*ablate\.Knob"):
        optimizer(lr=0.1)(limited)
    with pytest.raises(ConfigError, match=r"cell leaky: .* leak: float \| None = None"):
        cell(leaky)
    for kind, default in ((float | None, None), (list[float], [0.1])):
        with pytest.raises(ConfigError, match=r"its knob limit is per_replica; .* numbers of their optimizer alone"):
            optimizer(lr=0.1, knobs=[Knob("limit", kind, default, per_replica=True)], name="limits")(
                lambda parameters, gradients, *, lr, limit: parameters.sub_(lr * gradients)
            )
    assert compose("optimizer=adam", "optimizer.eps=0.1").optimizer.eps == 0.1
    optimizer(lr=0.1, knobs=[Knob("limit", float | None, None)])(limited)
    assert compose("optimizer=limited", "optimizer.limit=0.5").optimizer.limit == 0.5


def test_a_rule_that_moves_nothing_is_refused_when_it_is_chosen(compose: Configs) -> None:
    def subtracts(parameters: Any, gradients: Any, velocity: Any, *, lr: Any) -> Any:
        return parameters - lr * gradients

    def waits(parameters: Any, gradients: Any, kept: Any, *, lr: Any, step: int) -> None:
        """Moves at every third update."""
        kept.add_(gradients)
        if step % 3 == 0:
            parameters.sub_(lr * kept)
            kept.zero_()

    optimizer(lr=0.1)(subtracts)
    optimizer(lr=1e-6)(waits)
    with pytest.raises(ConfigError, match=f"optimizer=subtracts .*{__file__}:.*in place"):
        compose("optimizer=subtracts")
    assert compose("optimizer=waits").optimizer.name == "waits"


def nameless(parameters: Any, gradients: Any, *, lr: Any, share: float) -> None: ...
def without_rate(parameters: Any, gradients: Any) -> None: ...
def short(parameters: Any, *, lr: Any) -> None: ...
def open_ended(parameters: Any, gradients: Any, *moments: Any, lr: Any) -> None: ...
def twice(parameters: Any, gradients: Any, *, lr: Any, share: float = 0.2) -> None: ...


@pytest.mark.parametrize(
    ("rule", "options", "says"),
    [
        (nameless, {}, "knob share without a default"),
        (without_rate, {}, "does not ask for its learning rate"),
        (short, {}, "takes 1 tensor"),
        (open_ended, {}, r"has \*moments"),
        (twice, {"knobs": [Knob("share", float, 0.1)]}, "share two defaults"),
        (climbs, {"knobs": [Knob("share", float, 0.1)]}, "declares the knob share"),
        (climbs, {"lr": 0.0}, "above 0"),
        (climbs, {"name": "adam"}, "there is an optimizer 'adam' already"),
    ],
)
def test_what_cannot_be_a_rule_is_one_line(rule: Callable[..., None], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        optimizer(**({"lr": 0.1} | options))(rule)
    assert "\n" not in str(caught.value)
    assert "name" in options or "test_own.py:" in str(caught.value)


def test_an_error_in_a_rule_is_one_line_with_its_place(compose: Configs) -> None:
    def fails(parameters: Any, gradients: Any, *, lr: Any) -> None:
        parameters.sub_(lr * gradients[:, :2])

    optimizer(lr=0.1)(fails)
    OPTIMIZERS.origin["fails"] = "0" * 64
    config = compose("clip=null").but(optimizer=OptimizerConfig.of({"name": "fails"}, given=True))
    place = fails.__code__.co_firstlineno + 1
    with pytest.raises(ConfigError, match=rf"optimizer=fails fails: .*test_own.py:{place}: RuntimeError"):
        Update([config], torch.zeros(1, 4))(torch.zeros(1, 4))
