"""Schedules against torch.optim.lr_scheduler, and what each engine makes of them. CPU, 5 s."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from ablate.config.composing import from_dict
from ablate.config.errors import ConfigError
from ablate.config.identity import cohort_key, run_id, run_identity
from ablate.config.registry import SCHEDULES
from ablate.config.schema import Config, ScheduleConfig, to_dict, with_seed
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.native import NativeCohort, unavailable
from ablate.engines.cohort.stacked import StackedCohort
from ablate.optimizers.schedule import Schedule, schedule
from ablate.searching.space import build
from ablate.testing import check_schedule
from ablate.training.behaviour import disagreement, keys
from tests.engines.sample_networks import batches, network, weights
from tests.optimizers.conftest import Bring

Configs = Callable[..., Config]

TOTAL, V, R = 40, 7, 3
"""Updates of a run."""


def of_torch(name: str, options: dict[str, float], optimizer: torch.optim.Optimizer) -> Any:
    """The one of torch that says the same."""
    rise = round(options.get("warmup", 0.0) * TOTAL)
    warming = lr_scheduler.LinearLR(optimizer, 1 / (rise + 1), 1.0, max(1, rise))
    final = options.get("final", 0.0)
    match name:
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, 1.0)
        case "warmup":
            return warming
        case "step":
            return lr_scheduler.StepLR(optimizer, round(options["every"] * TOTAL), options["gamma"])
        case "linear":
            falling: Any = lr_scheduler.LinearLR(optimizer, 1.0, final, TOTAL - rise)
        case "cosine":
            falling = lr_scheduler.CosineAnnealingLR(optimizer, TOTAL - rise, final * LR)
    return lr_scheduler.SequentialLR(optimizer, [warming, falling], [rise]) if rise else falling


LR = 0.3


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("constant", {}),
        ("warmup", {"warmup": 0.2}),
        ("step", {"every": 0.2, "gamma": 0.5}),
        ("linear", {"warmup": 0.0, "final": 0.1}),
        ("cosine", {"warmup": 0.0, "final": 0.0}),
        ("cosine", {"warmup": 0.0, "final": 0.2}),
    ],
)
def test_rates_are_those_of_torch(name: str, options: dict[str, float]) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], LR)
    theirs = of_torch(name, options, optimizer)
    for step in range(TOTAL):
        ours = LR * SCHEDULES[name].factor(step, TOTAL, **options)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-15), step
        optimizer.step()
        theirs.step()


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning", "ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_rates_with_a_warm_up_are_those_of_torch(name: str) -> None:
    options = {"warmup": 0.25, "final": 0.1}
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], LR)
    theirs = of_torch(name, options, optimizer)
    for step in range(TOTAL):
        ours = LR * SCHEDULES[name].factor(step, TOTAL, **options)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12), step
        optimizer.step()
        theirs.step()


def test_an_exponential_decay_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], LR)
    hold, final = 10, 0.02
    theirs = lr_scheduler.ExponentialLR(optimizer, final ** (1 / (TOTAL - hold)))
    for step in range(TOTAL):
        ours = LR * SCHEDULES["exponential"].factor(step, TOTAL, warmup=0.0, hold=hold / TOTAL, final=final)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        if step >= hold:
            theirs.step()


@pytest.mark.parametrize("wait", [1, 3])
def test_the_drops_of_a_plateau_are_those_of_torch(wait: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], LR)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=wait - 1, threshold=0, min_lr=0.1 * LR)
    held_out: list[float] = []
    for perplexity in [9, 8, 8, 7, 7.5, 7.2, 7.1, 7.0, 6, 6.5, 6.4, 6.3, 6.2, 6.1, 6.0, 6.0, 5, 5, 5, 5, 5, 5]:
        theirs.step(perplexity)
        held_out.append(perplexity)
        ours = LR * SCHEDULES["plateau"].factor(0, TOTAL, held_out, wait=wait, gamma=0.5, floor=0.1)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12), held_out


@pytest.mark.parametrize("name", [one.name for one in SCHEDULES])
def test_what_is_shipped_passes_the_check_for_what_is_brought(name: str) -> None:
    check_schedule(name)


# --- in the engines ---------------------------------------------------------------------------------------


def program(engine: str, configs: list[Config], dtype: torch.dtype = torch.float64) -> Any:
    exact = [weights(config, V, config.seed) for config in configs]
    parameters = [{name: value.to(dtype) for name, value in own.items()} for own in exact]
    if engine in ("eager", "torch_nn"):
        return AutogradProgram(engine, configs[0], V, parameters[0], updates=TOTAL)
    kind = {"cohort": Cohort, "stacked": StackedCohort, "native": NativeCohort}[engine]
    return kind(configs, V, parameters, updates=TOTAL)


def scheduled(name: str, **own: float) -> Config:
    config = network("model=gru", "reset=after", "bias_vectors=2", batch_size=32, lr=0.5)
    return config.but(schedule=ScheduleConfig.of({"name": name, **own}, given=True))


ENGINES = ["eager", "torch_nn", "cohort", "stacked", "native"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_trains_by_the_schedule(compose: Configs, engine: str, optimizer: str) -> None:
    """As if somebody had set the rate before each minibatch."""
    if engine == "native" and unavailable():
        pytest.skip(unavailable())
    dtype = torch.float32 if engine == "native" else torch.float64
    config = scheduled("cosine", final=0.1, warmup=0.2).but(optimizer=compose(f"optimizer={optimizer}").optimizer)
    config = config.but(lr=config.optimizer.lr / 2)
    ours = program(engine, [config], dtype)
    by_hand = program("eager", [config.but(schedule=ScheduleConfig())])
    for step, (x, y) in enumerate(batches(config, V, 1, 12)):
        rate = config.lr * SCHEDULES["cosine"].factor(step, TOTAL, warmup=0.2, final=0.1)
        by_hand.update.lr.fill_(rate)
        loss, expected = (float(one.step(x, y, carry=step > 0)) for one in (ours, by_hand))
        assert loss == pytest.approx(expected, rel=1e-4 if engine == "native" else 1e-9)
        assert ours.update.rates == [pytest.approx(rate)]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_follows_what_it_is_told_of_held_out_data(engine: str) -> None:
    """Each replica its own; also in a program that lays out the rates of minibatches ahead."""
    if engine == "native" and unavailable():
        pytest.skip(unavailable())
    base = scheduled("plateau", wait=1, gamma=0.1)
    alone = engine in ("eager", "torch_nn")
    ours = program(engine, [with_seed(base, k) for k in range(1 if alone else 2)], torch.float32)
    minibatches = batches(base, V, 1 if alone else 2, 2)
    ours.step(*minibatches[0], carry=False)
    assert ours.update.rates == pytest.approx([base.lr] * len(ours.update.rates))
    ours.tell(0, [5.0, 6.0])
    ours.step(*minibatches[1], carry=False)
    assert ours.update.rates == pytest.approx([base.lr / 10] + [base.lr] * (0 if alone else 1))
    assert ours.update.coming(3)[0].squeeze(2).tolist() == [pytest.approx(ours.update.rates)] * 3


@pytest.mark.parametrize("engine", ["cohort", "native"])
def test_replicas_of_other_schedules_train_as_one_program(engine: str) -> None:
    """Bit for bit as each alone; and one that diverges stops nobody's schedule."""
    if engine == "native" and unavailable():
        pytest.skip(unavailable())
    paces = [
        ScheduleConfig.of({"name": "cosine"}, given=True),
        ScheduleConfig(),
        ScheduleConfig.of({"name": "step", "every": 0.1}, given=True),
    ]
    base = scheduled("constant").but(clip=None)
    configs = [with_seed(base, k).but(schedule=one, lr=base.lr * (1 + k)) for k, one in enumerate(paces)]
    configs[1] = configs[1].but(lr=math.inf)
    assert len({cohort_key(config.but(lr=1.0), "") for config in configs}) == 1
    minibatches = batches(base, V, R, 12)
    together = program(engine, configs, torch.float32)
    losses = torch.stack([together.step(x, y, carry=True) for x, y in minibatches])
    assert together.alive.tolist() == [True, False, True]
    for k in (0, 2):
        alone = program(engine, [configs[k]], torch.float32)
        own = torch.cat([alone.step(x[k : k + 1], y[k : k + 1], carry=True) for x, y in minibatches])
        assert torch.equal(losses[:, k], own)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_goes_on_in_the_middle_of_its_schedule(engine: str) -> None:
    if engine == "native" and unavailable():
        pytest.skip(unavailable())
    configs = [with_seed(scheduled("linear", final=0.1), k) for k in range(1 if engine in ("eager", "torch_nn") else R)]
    minibatches = batches(configs[0], V, len(configs), 12)
    whole, first, second = (program(engine, configs, torch.float32) for _ in range(3))
    expected = torch.stack([whole.step(x, y, carry=False) for x, y in minibatches])
    for x, y in minibatches[:6]:
        first.step(x, y, carry=False)
    second.load_replica_states(first.replica_states())
    resumed = torch.stack([second.step(x, y, carry=False) for x, y in minibatches[6:]])
    assert torch.equal(resumed, expected[6:])


def test_the_rate_stays_in_its_place() -> None:
    """What a captured CUDA graph reads is the same memory at every update."""
    cohort = program("cohort", [scheduled("cosine")])
    place, seen = cohort.update.lr.data_ptr(), []
    for x, y in batches(cohort.config, V, 1, 3):
        cohort.step(x, y, carry=False)
        seen.append(float(cohort.update.lr))
    assert cohort.update.lr.data_ptr() == place
    assert len(set(seen)) == 3


def test_a_schedule_has_to_know_the_length_of_a_run() -> None:
    config = scheduled("cosine")
    with pytest.raises(ValueError, match="schedule=cosine needs the number of updates"):
        Cohort([config], V, [weights(config, V, 0)])


# --- in configurations and plans --------------------------------------------------------------------------


def test_a_constant_rate_is_no_part_of_the_identity_and_another_schedule_is(compose: Configs) -> None:
    assert "schedule" not in run_identity(compose(), "")
    assert run_identity(compose("schedule=cosine"), "")["schedule"] == {"name": "cosine", "warmup": 0.0, "final": 0.0}
    own = compose().but(schedule=ScheduleConfig.of({"name": "cosine", "final": 0.1}, given=True))
    assert len({run_id(config, "") for config in (compose(), compose("schedule=cosine"), own)}) == 3
    stored = from_dict(json.loads(json.dumps(to_dict(own))))
    assert run_id(stored, "") == run_id(own, "")


def test_a_search_may_choose_among_schedules() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides(["schedule=constant,cosine", "lr=0.1,1"])
    space, fixed = build(overrides)
    assert [dimension.name for dimension in space.dimensions] == ["schedule", "lr"]
    assert fixed == []


@pytest.mark.full
@pytest.mark.parametrize("engine", ["cohort", "torch_nn"])
def test_what_a_run_is_checked_by_has_its_schedule(compose: Configs, engine: str) -> None:
    usual, other = compose("model=rnn"), compose("model=rnn", "schedule=cosine")
    assert keys(usual)["update"] != keys(other)["update"]
    assert {part: key for part, key in keys(usual).items() if part != "update"}.items() <= keys(other).items()
    assert disagreement(engine, other) == ""


# --- of one's own -----------------------------------------------------------------------------------------


def test_the_example_of_the_documents(bring: Bring) -> None:
    bring("schedule.py")
    check_schedule("inverse_root")
    factor = SCHEDULES["inverse_root"].factor
    assert [factor(step, 100, warmup=0.1) for step in (0, 4, 9, 39)] == pytest.approx([0.1, 0.5, 1.0, 0.5])
    cohort, alone = (program(engine, [scheduled("inverse_root", warmup=0.2)]) for engine in ("cohort", "eager"))
    for x, y in batches(cohort.config, V, 1, 8):
        assert float(cohort.step(x, y, carry=False)) == pytest.approx(float(alone.step(x, y, carry=False)), rel=1e-9)
    assert cohort.update.rates == [pytest.approx(0.5)]


BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "no number": (lambda step, total: None, "gives None at step 0 of 1"),
    "negative": (lambda step, total: 1 - step, r"gives -1 at step 2 of 7"),
    "not finite": (lambda step, total: float("nan"), "gives nan"),
    "nothing": (lambda step, total: 0.0, "is 0 throughout"),
    "an error": (lambda step, total: 1 / (total - 1), r"fails at step 0 of 1: .*test_schedules.py:\d+.*ZeroDivision"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_schedule_is_refused(fault: str) -> None:
    function, says = BROKEN[fault]
    schedule(name="mine")(function)
    SCHEDULES.origin["mine"] = "0" * 64
    with pytest.raises((AssertionError, ConfigError), match=says):
        check_schedule("mine")


def test_a_schedule_that_remembers_is_refused() -> None:
    calls: list[int] = []

    def mine(step: int, total: int) -> float:
        calls.append(step)
        return float(len(calls))

    schedule()(mine)
    with pytest.raises(AssertionError, match="only depend on step"):
        check_schedule(mine)
    with pytest.raises(ConfigError, match=r"takes \('step',\)"):
        schedule()(lambda step: 1.0)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5)])
def test_a_factor_may_be_a_number_of_any_kind(number: Any) -> None:
    """Regression: of torch's, and of numpy's in float32, it was said that a factor is finite."""
    found = Schedule("half", lambda step, total: number).factor(0, 10)
    assert (type(found), found) == (float, 0.5)


def test_a_rate_beyond_all_numbers_is_one_line() -> None:
    with pytest.raises(ConfigError, match="schedule=step gives inf at step 9999 of 10000; a factor is finite"):
        SCHEDULES["step"].factor(9999, 10_000, every=0.0001, gamma=2.0)
