"""`python -m ablate.plan`: what it lists against what the sweep then does; that it writes nothing. CPU, 10 s."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.config.metrics import METRICS, Metric
from ablate.config.schema import Config, to_dict
from ablate.records import results
from ablate.records.exclusion import exclude, include
from ablate.records.record import Record
from ablate.sweeping.plan import Plan, make_plan
from ablate.sweeping.planning import estimate as estimating
from ablate.sweeping.planning.estimate import Estimate, estimate, wall_s
from ablate.sweeping.planning.show import settings_table
from ablate.sweeping.planning.spread import LEAST_RUNS, Spread, detectable, main_metric, metrics_of, spread_over_seeds
from ablate.training.choice import Choice

Configs = Callable[..., Config]
CLI = Callable[..., Any]
PLAN = "ablate.cli.plan"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "PROBE_S", 0.02)
    monkeypatch.setattr("ablate.report.write_report", lambda *_: None)


@pytest.mark.full
def test_it_lists_what_is_done_reused_and_missing(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    """Beside a sweep that has two of the runs, in a folder that has one: what is left is what the sweep then trains."""
    assert main(*small_arguments, "lr=0.5", "seeds=2", "name=other").status == 0
    assert main(*small_arguments, "model=gru", "seeds=1", "name=mine").status == 0
    before = sorted(tmp_path.rglob("*"))
    wanted = [*small_arguments, "model=rnn,gru", "lr=0.5,1", "seeds=3", "name=mine"]
    done = main(*wanted, module=PLAN)
    assert done.status == 0, done.err
    assert sorted(tmp_path.rglob("*")) == before
    # model, lr, updates, runs, done, reused, to train, group; an epoch has 19 minibatches
    assert re.findall(r"^(rnn|gru) +([\d.]+) +(\d+) +(\d+) +([\d–]+) +([\d–]+) +(\d+) +(\d)", done.out, re.M) == [
        ("rnn", "0.5", "57", "3", "–", "2", "1", "1"),
        ("rnn", "1", "57", "3", "–", "–", "3", "1"),
        ("gru", "0.5", "57", "3", "–", "–", "3", "2"),
        ("gru", "1", "57", "3", "1", "–", "2", "2"),
    ]
    assert re.search(r"\b4 settings, 12 runs: 1 done, 2 reused .*, 9 to train", done.out)
    assert "training takes about" in done.out
    assert re.search(r"\b9 .*trained, 1 already .*, 2 reused", main(*wanted).err)
    again = main(*wanted, module=PLAN)
    assert re.search(r": 12 done, 0 reused .*, 0 to train", again.out)
    assert "training takes" not in again.out


@pytest.mark.slow
def test_a_preset_is_planned_by_its_name_in_a_program_of_its_own(cli: CLI, tmp_path: Path) -> None:
    typed = ("data=python_docs", "num_hiddens=4", "epochs=2", "max_tokens=1200")
    done = cli("sweeps=smoke", *typed, module="ablate.plan")
    assert done.status == 0, done.err
    assert done.out.startswith("Does everything work here?\n")
    assert "results/smoke_data-python_docs" in done.out
    assert re.search(r"the speed lane takes .*\b\d+ timings", done.out)
    assert "3 seeds are too few" in done.out
    assert not (tmp_path / "results").exists()


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("model=gruu", "did you mean gru?"),
        ("num_hidden=3", "did you mean num_hiddens?"),
        ("epochs=0", "epochs is 0; it must be 1 or more"),
        ("--seeds", "there is no option --seeds"),
        ("--info --cfg=hydra", "--cfg and --info show different things; give one of them"),
        ("batch_size=5000", "batch_size=5000 sequences"),
        ("name=a,b", "name has several values"),
        ("lr=range(1,2000) clip=range(1,2000)", "3,996,001 settings; give values of 1,000,000 at most"),
    ],
)
def test_a_mistake_is_one_line(
    main: CLI, small_arguments: list[str], tmp_path: Path, arguments: str, says: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = main(*small_arguments, *arguments.split(), module=PLAN)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_help_and_show(main: CLI) -> None:
    done = main("--help", module=PLAN)
    assert done.status == 0
    assert "ablate plan sweeps=" in done.out
    assert "num_hiddens: 7" in main("--cfg", "job", "num_hiddens=7", module=PLAN).out


# --- programs and their time ----------------------------------------------------------------------------


@pytest.mark.full
def test_a_decimal_comma_is_noted_by_every_command(main: CLI, small_arguments: list[str]) -> None:
    for module in (PLAN, "ablate.cli.path", "ablate.cli"):
        err = main(*small_arguments, "lr=1,5", "epochs=1", module=module).err
        said = [line for line in err.splitlines() if "note:" in line]
        assert len(said) == 1, module
        assert "lr=1.5" in said[0]


@pytest.fixture
def plan(compose: Configs, tmp_path: Path) -> Callable[..., Plan]:
    return lambda *configs: make_plan(configs, tmp_path / "results" / "planned", compose("data=python_docs").data)


@pytest.mark.full
def test_the_estimate_is_of_the_programs_that_would_run(
    small: Configs, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a made-up millisecond per update: settings that differ in lr are one group, and time goes by updates."""
    monkeypatch.setattr(estimating, "probe", lambda task, probe_s: 0.001)
    settings = [small("engine=cohort", "seeds=2", f"lr={lr}", "val_tokens=0") for lr in (0.5, 1)]
    other = small("engine=torch_nn", "seeds=3", "model=gru", "epochs=6", "val_tokens=0")
    fused, single = estimate(plan(*settings, other), 2)
    assert [len(task.runs) for task in fused.programs] == [4]
    assert len(fused.group.settings) == 2
    assert (fused.engine, single.engine) == ("cohort", "torch_nn")
    assert fused.seconds == pytest.approx([0.001 * 19 * 3])
    assert single.seconds == pytest.approx([0.001 * 19 * 6] * 3)
    assert fused.memory_bytes > single.memory_bytes > 0


@pytest.mark.full
def test_held_out_readings_take_time(
    small: Configs, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 held-out tokens are 5 minibatches, read after each of 3 epochs at a third of an update's cost."""
    monkeypatch.setattr(estimating, "probe", lambda task, probe_s: 0.001)
    [guess] = estimate(plan(small("engine=torch_nn", "val_tokens=100")), 1)
    assert guess.seconds == pytest.approx([0.001 * (19 * 3 + 3 * 5 / 3)])


@pytest.mark.full
def test_equal_shapes_are_probed_once(
    small: Configs, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[Any] = []
    monkeypatch.setattr(estimating, "probe", lambda task, probe_s: probed.append(task) or 0.001)
    engine = "engine=torch_nn"
    estimate(plan(small(engine), small(engine, "epochs=9"), small(engine, "sampling=random"), small("model=gru")), 1)
    assert [task.config.model.name for task in probed] == ["rnn", "gru"]


def test_many_kinds_share_the_time_of_the_probes(
    small: Configs, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 5 configs 4 kinds; one alone has all that a probe may have."""
    monkeypatch.setattr(estimating, "PROBES_S", 0.04)
    told: list[float] = []
    monkeypatch.setattr(estimating, "probe", lambda task, probe_s: told.append(probe_s) or 0.001)
    sizes = [small("engine=torch_nn", f"num_hiddens={H}") for H in (3, 4, 5, 6)]
    estimate(plan(*sizes, small("engine=torch_nn", "num_hiddens=3", "epochs=9")), 1)
    assert told == [pytest.approx(0.01)] * 4
    told.clear()
    estimate(plan(sizes[0]), 1)
    assert told == [estimating.PROBE_S]


@pytest.mark.full
def test_the_probe_measures_training(
    small: Configs, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by 2 ms with each update of a real program, of the first by a second: the warm-up."""
    clock, updates = [0.0], [0]
    train = estimating.train_epoch

    def timed(*given: Any, **options: Any) -> Any:
        losses, weights = train(*given, **options)
        clock[0] += 0.002 * len(losses) if updates[0] else 1.0
        updates[0] += len(losses)
        return losses, weights

    monkeypatch.setattr(estimating, "train_epoch", timed)
    monkeypatch.setattr(estimating, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    [guess] = estimate(plan(small("engine=torch_nn")), 1)
    assert guess.update_s == pytest.approx(0.002)
    assert updates[0] == 1 + estimating.PROBE_S / 0.002


@pytest.mark.full
def test_what_is_missing_is_listed(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    done = main(*small_arguments, "lr=0.5,1", "seeds=2", "engine=torch_nn", module=PLAN)
    assert done.status == 0, done.err
    assert re.findall(r"^rnn +([\d.]+) +57 +2 +– +– +2 ", done.out, re.M) == ["0.5", "1"]
    assert re.search(r"\b2 settings, 4 runs: 0 done, 0 reused .*, 4 to train", done.out)
    assert not (tmp_path / "results").exists()


def test_what_does_not_fit_is_told(small: Configs, plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.sweeping.schedule.free_memory", lambda _: 1000)
    [guess] = estimate(plan(small()), 1)
    assert "lower num_hiddens" in guess.problem
    assert guess.programs == []


def test_programs_side_by_side() -> None:
    """5 and 1 | 2, 2 and 2: each starts where a place is free first."""
    assert wall_s([5, 2, 2, 1, 2], 2) == 7
    assert wall_s([5, 2, 2, 1, 2], 1) == 12
    assert wall_s([1, 1], 4) == 1
    assert wall_s([], 2) == 0


def test_an_engine_is_named_after_the_choice() -> None:
    task: Any = SimpleNamespace(choice=Choice("cohort", {}))
    assert Estimate(task, [task]).engine == "cohort"
    assert Estimate(task).engine == ""


# --- what the seeds can tell ----------------------------------------------------------------------------


def store(folder: Path, setting: str, config: Config, values: list[float], metric: str = "tail_perplexity") -> None:
    for seed, value in enumerate(values):
        stored = to_dict(config)
        if config.task.name == "language_model":  # as records were before there were tasks
            del stored["task"]
        made = Record(
            run_id=f"{setting}{seed}",
            setting_id=setting,
            seed=seed,
            status="ok",
            config=stored,
            identity={},
            corpus={"name": config.data.name, "sha256": "0"},
            metrics={metric: value},
            counts={},
            text={},
            engine="torch_nn",
            timing={"wall_s": 1.0, "threads": 1, "device": "cpu"},
            environment=dict.fromkeys(("cpu", "gpu", "torch", "git_commit")),
        )
        results.save(folder, made)


@pytest.mark.full
def test_the_spread_is_read_from_the_nearest_runs(small: Configs, plan: Callable[..., Plan], tmp_path: Path) -> None:
    """The median over settings, of logarithms: of these settings, else of the same size, else of the same model."""
    made = plan(small("model=gru"))
    beside = tmp_path / "results"
    assert spread_over_seeds(made) is None
    store(beside / "lstm", "a", small("model=lstm"), [1, 2, 3])
    (beside / "lstm" / "runs" / "damaged.json").write_text("{")
    assert spread_over_seeds(made) is None
    store(beside / "wide", "b", small("model=gru", "num_hiddens=64"), [math.exp(x) for x in (0, 0.1, 0.2)])
    found = spread_over_seeds(made)
    assert found
    assert found.sd == pytest.approx(0.1)
    assert re.search(r"\bsame model in wide$", found.source)
    [wide] = [path.stem for path in (beside / "wide" / "runs").iterdir()][:1]
    exclude(beside / "wide", [wide], "a cosmic ray")
    assert spread_over_seeds(made) is None
    include(beside / "wide", [])
    store(beside / "same", "c", small("model=gru"), [math.exp(x) for x in (0, 0.2, 0.4)])
    store(beside / "same", "d", small("model=gru"), [math.exp(x) for x in (0, 0.4, 0.8)])
    store(beside / "same", "e", small("model=gru"), [1.0] * (LEAST_RUNS - 1))
    found = spread_over_seeds(made)
    assert found
    assert found.sd == pytest.approx(0.3)
    assert found.settings == 2
    assert re.search(r"\bmodel, units and layers in same$", found.source)
    store(beside / "own", made.settings[0].setting_id, small("model=gru"), [math.exp(x) for x in (0, 0.5, 1)])
    found = spread_over_seeds(made)
    assert found
    assert found.sd == pytest.approx(0.5)
    assert found.source == "these settings in own"


MEMORY = ("task=memory", "data=copy", "model=gru")


@pytest.mark.full
def test_another_task_or_other_data_are_not_alike(compose: Configs, plan: Callable[..., Plan], tmp_path: Path) -> None:
    """Of what may be 0 the spread is that of the values themselves: 0, 0.2 and 0.4 have 0.2."""
    made = plan(compose(*MEMORY))
    beside = tmp_path / "results"
    assert metrics_of(made) == ["accuracy"]
    store(beside / "text", "a", compose("model=gru", "data=python_docs"), [0.1, 0.5, 0.9], "accuracy")
    store(beside / "adding", "b", compose("task=memory", "data=adding", "model=gru"), [0.1, 0.5, 0.9], "accuracy")
    store(beside / "perplexities", "c", compose(*MEMORY), [2, 3, 4])
    assert spread_over_seeds(made, "accuracy") is None
    store(beside / "copy", "d", compose(*MEMORY), [0.0, 0.2, 0.4], "accuracy")
    found = spread_over_seeds(made, "accuracy")
    assert found
    assert found.sd == pytest.approx(0.2)
    assert found.settings == 1
    assert re.search(r"\bmodel, units and layers in copy$", found.source)


@pytest.mark.parametrize(
    ("arguments", "metric"),
    [
        ((), "tail_perplexity"),
        (("task=fill_in",), "accuracy"),
        (("task=translation", "data=number_pairs"), "course_bleu"),
        (("task=translation", "data=number_pairs", "task.val_pairs=100"), "bleu"),
    ],
)
def test_a_task_is_planned_by_its_own_measure(compose: Configs, arguments: tuple[str, ...], metric: str) -> None:
    assert main_metric(compose(*arguments)) == metric


@pytest.mark.full
def test_what_a_number_of_seeds_detects_is_said() -> None:
    """A difference so large is found in 80 of 100 made-up sweeps, half of it is not."""
    assert "3 seeds are too few" in detectable(Spread(0.1, 1, "x"), 3)
    assert detectable(None, 1).startswith("1 seed is too few")
    percent = float(re.findall(r"differ by ([\d.]+) %", detectable(Spread(0.1, 1, "these settings in x"), 20))[0])
    assert found_share(math.log(1 + percent / 100), 0.1, 20) == pytest.approx(0.8, abs=0.07)
    times = float(re.findall(r"of ([\d.]+) × the spread", detectable(None, 20))[0])
    assert times == pytest.approx(math.log(1 + percent / 100) / 0.1, rel=0.05)


def test_a_metric_of_ones_own_is_called_by_its_title(monkeypatch: pytest.MonkeyPatch) -> None:
    """However that ends: what it is, its title does not say."""
    monkeypatch.setitem(METRICS.found, "mine", Metric("mine", "log perplexity", "lower"))
    assert " values of log perplexity that differ by " in detectable(Spread(0.1, 1, "x"), 20, "mine")
    assert " perplexities that differ by " in detectable(Spread(0.1, 1, "x"), 20, "val_perplexity")


def test_gates_are_shown_as_in_the_tables_of_a_sweep(small: Configs, plan: Callable[..., Plan]) -> None:
    made = plan(small("model=gru"), small("model=gru", "model.gates.reset=1", "model.gates.update=0.5"))
    table = settings_table(made, ["model.gates"], [])
    assert list(table.columns[1].cells) == ["null", "reset=1 update=0.5"]


def test_accuracies_are_forecast_as_differences() -> None:
    """√2 · 0.05 · (t[0.975] + t[0.8]) · √(1/20), each with 38 degrees of freedom: 0.0455."""
    said = detectable(Spread(0.05, 3, "these settings in x"), 20, "accuracy")
    assert re.search(r"^20 seeds .*\baccuracy .*\b0\.045 .*\b0\.05 \(.*\b3 settings: these settings in x\)$", said)
    assert re.search(r"\bany difference of accuracy\b", detectable(Spread(0, 3, "x"), 20, "accuracy"))


def found_share(effect: float, sd: float, seeds: int, sweeps: int = 400) -> float:
    """In how many of made-up sweeps Welch's t test tells two settings apart whose logs lie `effect` apart."""
    import numpy as np
    from scipy import stats

    rng = np.random.default_rng(3)
    a, b = rng.normal(0, sd, (sweeps, seeds)), rng.normal(effect, sd, (sweeps, seeds))
    return float(np.mean([stats.ttest_ind(x, y, equal_var=False).pvalue < 0.05 for x, y in zip(a, b, strict=True)]))


# --- at the start of a sweep ----------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("engine", ["engine=auto", "engine=torch_nn"])
def test_a_long_sweep_says_what_it_will_take_before_it_begins(
    main: CLI, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """At a made-up second per update, measured or by the choice of engines: 2 runs of 57 updates, and the readings."""
    monkeypatch.setattr(estimating, "probe", lambda task, probe_s: 1.0)
    choice = Choice("torch_nn", {"torch_nn": 1000.0} if engine == "engine=auto" else {})
    monkeypatch.setattr("ablate.sweeping.schedule.choose", lambda *_: choice)
    monkeypatch.setattr(estimating, "SLOWEST", 1.0)
    wanted = [*small_arguments, engine, "seeds=2", "threads=1", "name=long", "val_tokens=0"]
    done = main(*wanted)
    assert done.status == 0, done.err
    [ahead] = [line for line in done.err.splitlines() if line.startswith("training takes about")]
    assert "2 min" in ahead  # 114 s
    assert "1 of 2 programs side by side" in ahead
    assert done.err.index(ahead) < done.err.index("runs after")
    assert "training takes" not in main(*wanted).err  # nothing is missing


@pytest.mark.full
def test_a_short_sweep_is_not_tried_out_first(
    main: CLI, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "probe", lambda task, probe_s: pytest.fail("trained for a moment"))
    done = main(*small_arguments, "engine=torch_nn", "name=short")
    assert done.status == 0, done.err
    assert "training takes" not in done.err
