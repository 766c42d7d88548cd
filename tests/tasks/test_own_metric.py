"""Metrics of one's own: columns, claims, reports, and what is said of one that is wrong. CPU, 5 s."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.analysis.aggregate import aggregate
from ablate.analysis.compare import comparisons
from ablate.analysis.frames import runs_frame
from ablate.cli.claims import main as claims
from ablate.config.errors import ConfigError, UserError
from ablate.config.metrics import METRICS, FailedMetrics, metric_of, metrics_of, no_logarithm
from ablate.report.blocks import Attempts
from ablate.report.cautions import warnings as cautions
from ablate.report.material import gather
from ablate.searching.settings import objectives
from tests.report.made import config as made_config
from tests.report.made import write_manifest, write_run

pytestmark = pytest.mark.usefixtures("nothing_stays")


def test_own_metrics_are_columns_with_their_direction(sweep: Path) -> None:
    runs, problems = runs_frame(sweep)
    assert not problems
    assert runs["bits_per_token"].tolist() == pytest.approx([math.log2(p) for p in runs["tail_perplexity"]])
    settings = aggregate(runs)
    assert settings["certainty_high"].max() <= 1
    logs = [math.log(value) for value in runs.loc[runs["num_hiddens"] == 4, "bits_per_token"]]
    small = settings.loc[settings["num_hiddens"] == 4].iloc[0]
    assert small["bits_per_token"] == pytest.approx(math.exp(sum(logs) / 3))
    assert "ratio" in comparisons(runs, "bits_per_token")
    assert "difference" in comparisons(runs, "certainty")
    assert "difference" in comparisons(runs, "epochs_to_half")
    assert {o.name: o.better for o in objectives(["certainty", "bits_per_token"])} == {
        "certainty": "higher",
        "bits_per_token": "lower",
    }


def failing() -> None:
    @ablate.metric("broken", better="lower")
    def broken(record: Any) -> float:
        return float(record["metrics"]["nothing"])

    @ablate.metric("of the curve", better="lower")
    def of_curve(record: Any, curve: Any) -> float:
        return float(curve["nothing"][0])


@pytest.mark.full
def test_a_metric_that_fails_costs_the_report_its_own_values_and_is_told_in_a_line(sweep: Path) -> None:
    before, _ = runs_frame(sweep)
    failing()
    failed = FailedMetrics()
    runs, skipped = runs_frame(sweep, failed)
    problems = failed.lines(len(runs), sweep)
    assert not skipped
    assert len(problems) == 2
    for problem, name in zip(problems, ("broken", "of_curve"), strict=True):
        assert re.search(rf"{name} \(test_own_metric.py:\d+\).*KeyError.*{len(runs)} of the {len(runs)} runs", problem)
        assert runs[name].isna().all()
    assert runs["accuracy"].tolist() == before["accuracy"].tolist()


def test_one_metric_of_a_run_is_asked_of_nobody_else() -> None:
    failing()
    asked: list[str] = []
    record = {"status": "ok", "metrics": {"accuracy": 0.5}}
    assert metric_of(record, "accuracy", lambda: asked.append("curve")) == 0.5
    assert not asked
    assert metrics_of(record).items() >= {"accuracy": 0.5, "broken": None, "of_curve": None}.items()


@pytest.mark.parametrize("value", [{"precision": 0.5}, "half", [0.5, 0.6]])
def test_a_metric_gives_one_number(value: Any) -> None:
    @ablate.metric("of several names", better="lower")
    def several(record: Any) -> Any:
        return value

    failed = FailedMetrics()
    assert metric_of({"status": "ok", "metrics": {}}, "several", failed=failed) is None
    [line] = failed.said
    assert f"test_own_metric.py:{several.__code__.co_firstlineno}" in line


def test_a_metric_takes_the_record_and_the_curve() -> None:
    for function in (lambda: 1.0, lambda record, curve, more: 1.0, lambda record, *, text: 1.0):
        with pytest.raises(ConfigError, match=r"the metric mine takes \(.*\); write def mine\(record\)"):
            ablate.metric("mine", better="lower", name="mine")(function)
    assert "mine" not in METRICS
    ablate.metric("mine", better="lower", name="mine")(lambda record, curve=None: 1.0)


@pytest.mark.parametrize("metric", ["broken", "below"])
def test_a_metric_that_fails_or_has_no_logarithm_is_a_warning_and_leaves_its_claims_untested(
    tmp_path: Path, metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("rnn", "gru"):
        for seed in range(3):
            write_run(tmp_path, made_config(model, num_hiddens=8), seed, 2.0 + seed / 10)
    write_manifest(tmp_path)
    failing()

    @ablate.metric("below nothing", better="lower")
    def below(record: Any) -> float:
        return -2.0 if record["seed"] == 1 else 1.0

    assert claims([str(tmp_path), "rnn < gru", "--metric", metric, "--json"]) == 0
    told = capsys.readouterr()
    [sweep] = json.loads(told.out)["sweeps"]
    [claim] = sweep["claims"]
    assert claim["verdict"] == "not testable"
    assert sweep["problems"] == []
    assert "skipped" not in told.err
    for name in ("broken", "of_curve", "below"):
        assert sum(f"the metric {name} " in line for line in sweep["warnings"]) == 1
        assert told.err.count(f"warning: the metric {name} ") == 1
    m = gather(tmp_path, Attempts(lambda line: None))
    assert m.skipped == []
    assert sum("etric broken " in line for line in cautions(m)) == 1


def test_a_value_without_a_logarithm_is_kept_and_said() -> None:
    @ablate.metric("below nothing", better="lower")
    def below(record: Any) -> float:
        return -2.0

    failed = FailedMetrics()
    assert metric_of({"status": "ok", "metrics": {}}, "below", failed=failed) == -2
    assert not failed.lines(3, "results/mine")  # it did not fail
    line = no_logarithm(METRICS["below"], [1.0, -2.0, float("nan")])
    place = f"test_own_metric.py:{below.__code__.co_firstlineno}"
    assert line.startswith(f"the metric below ({place}) is not above 0 in 1 of 3 runs (-2 in the first)")
    assert "logs=False" in line
    assert not no_logarithm(METRICS["below"], [1.0, float("nan")])


def test_a_metric_and_an_optimizer_without_parentheses_say_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r'@ablate\.metric\("title", better="lower"\)'):
        ablate.metric(lambda record: 1.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"@ablate\.optimizer\(lr=0\.01\)"):
        ablate.optimizer(lambda parameters, gradients, *, lr: None)  # type: ignore[arg-type]


def test_a_metric_without_its_title_and_an_optimizer_without_its_rate_say_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r'@ablate\.metric\("title", better="lower"\)'):
        ablate.metric()
    for given in ({"better": "lower"}, {"title": "mine"}):
        with pytest.raises(ConfigError, match=r'@ablate\.metric\("title", better="lower"\)'):
            ablate.metric(**given)
    with pytest.raises(ConfigError, match=r"@ablate\.optimizer\(lr=0\.01\)"):
        ablate.optimizer()
    with pytest.raises(ConfigError, match=r"@ablate\.optimizer\(lr=0\.01\)"):
        ablate.optimizer(name="own")


@pytest.mark.full
def test_a_claim_speaks_of_an_own_metric(sweep: Path) -> None:
    """Which width is judged by it: by ratios, or by differences where it may be 0."""
    from ablate.claims import Frames
    from ablate.claims.reading import make_claim
    from ablate.claims.verdicts import judge

    runs, _ = runs_frame(sweep)
    frames = Frames(runs, None, sweep=sweep)
    said = {"id": "c", "statement": "Wider is better.", "order": {"along": "num_hiddens", "ascending": [16, 4]}}
    bits = judge(frames, make_claim(said | {"metric": "bits_per_token"}))
    assert "ratio of bits per token" in bits.evidence
    falling = {"order": {"along": "num_hiddens", "ascending": [4, 16]}}
    certain = judge(frames, make_claim(said | falling | {"metric": "certainty"}))
    assert "difference" in certain.evidence
    with pytest.raises(UserError, match="bits_per_token"):
        make_claim(said | {"metric": "bits_per_tokn"})
