"""Timings of settings from the command line to the tables: `python -m ablate.bench settings`, of a sweep, speed=true.

Only that what was measured is stored and shown is tested here, not how fast anything is. CPU, 15 s.
"""

import functools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.samples import speed_samples
from ablate.analysis.throughput import speed_frame, with_speed
from ablate.cli.bench import main
from ablate.records import results
from ablate.records.files import write_json
from ablate.records.places import timing_path
from ablate.records.reading import read_json
from ablate.report.throughput import write_speed
from ablate.timing.kept import store
from ablate.timing.machine import fingerprint
from ablate.timing.samples import Protocol, Timing
from tests.report.made import config, write_sweep

CLEAN = {"tokens_per_s": 50_000.0, "low": 49_000.0, "high": 51_000.0, "n": 12, "of": 12, "why": ""}
SPOILED = {"tokens_per_s": None, "low": None, "high": None, "n": 0, "of": 9, "why": "only 0 of 9 samples are clean"}


def samples_of(summary: Any) -> list[dict[str, Any]]:
    """Three samples of each of five processes, whose geometric mean is that number, and the t interval ± 2 % of it."""
    if summary["tokens_per_s"] is None:
        return []
    off = 0.02038 * np.array([-1, -0.5, 0, 0.5, 1])  # 2.776 sd/√5 = 0.02
    return [
        {"launch": launch, "tokens_per_s": summary["tokens_per_s"] * math.exp(value) * factor, "unclean": ""}
        for launch, value in enumerate(off)
        for factor in (0.9, 1.0, 1.2)
    ]


def timing(config: Any, setting: str, machine: str = "here", threads: int = 1, summary: Any = CLEAN) -> Timing:
    from ablate.config.schema import to_dict

    facts = {
        "engine": "torch_nn",
        "parameters": 100,
        "flops_per_token": 600,
        "memory_bytes": 2**28,
        "last_epoch_readings": [42_000.0, 1.0, 2.0],
        "gemm_limit_gflops": 100.0,
        "replicas_together": 4,
        "gflops": 0.03,
        "share_of_limit": 0.0003,
    }
    subjects = ("train", "cohort_1", "cohort_R", "inference")
    return Timing(
        setting,
        machine,
        threads,
        to_dict(config),
        {"cpu": f"the cpu {machine}", "gpu": None},
        facts,
        samples=dict.fromkeys(subjects, samples_of(summary)),
        summary=dict.fromkeys(subjects, summary),
        measured_at="2026-01-01T00:00:00+00:00",
    )


def keep(folder: Path, own: Timing) -> None:
    write_json(folder / "speed" / f"{own.setting_id}-{own.machine}-{own.threads}.json", vars(own))


def test_a_frame_of_timings(compose: Callable[..., Any], tmp_path: Path) -> None:
    keep(tmp_path, timing(compose("model=gru"), "a"))
    keep(tmp_path, timing(compose("model=rnn"), "b", summary=SPOILED))
    (tmp_path / "speed" / "damaged.json").write_text("{")
    frame = speed_frame(tmp_path)
    assert list(frame["model"]) == ["rnn", "gru"]
    assert frame["tokens_per_s"].isna().tolist() == [True, False]
    gru = frame.iloc[1]
    number = gru["tokens_per_s"], gru["tokens_per_s_low"], gru["tokens_per_s_high"]
    assert number == pytest.approx((50_000, 50_000 * math.exp(-0.02), 50_000 * math.exp(0.02)), rel=1e-4)
    assert gru["last_epoch_tokens_per_s"] == 42_000
    assert gru["memory_mib"] == 256


def test_the_interval_is_that_of_the_claims_whatever_was_stored(compose: Callable[..., Any], tmp_path: Path) -> None:
    """An older summary has another interval; of four processes there is none, and the table says so."""
    own = timing(compose(), "a", summary=CLEAN | {"low": 1.0, "high": 2.0, "tokens_per_s": 50_000.0})
    keep(tmp_path, own)
    row = speed_frame(tmp_path).iloc[0]
    own.samples["train"] = [sample for sample in own.samples["train"] if sample["launch"] < 4]
    medians = speed_samples(tmp_path)["tokens_per_s"]
    assert row["tokens_per_s"] == pytest.approx(np.exp(np.log(medians).mean()))
    assert row["tokens_per_s_low"] < row["tokens_per_s"] < row["tokens_per_s_high"] < 52_000
    keep(tmp_path, own)
    few = speed_frame(tmp_path).iloc[0]
    assert pd.isna(few["tokens_per_s_low"])
    assert "4 processes" in few["why"]


def test_machines_are_never_pooled(compose: Callable[..., Any], tmp_path: Path) -> None:
    """Two settings timed here, one of them elsewhere too: the table shows the machine that has both."""
    config = compose()
    elsewhere = CLEAN | {"tokens_per_s": 9.0}
    for own in (timing(config, "a"), timing(config, "b"), timing(config, "a", "there", summary=elsewhere)):
        keep(tmp_path, own)
    keep(tmp_path, timing(config, "a", threads=2, summary=elsewhere))
    settings = with_speed(pd.DataFrame({"setting_id": ["a", "b", "c"]}), speed_frame(tmp_path))
    assert list(settings["tokens_per_s"].fillna(0)) == pytest.approx([50_000, 50_000, 0])
    assert set(settings["machine"].dropna()) == {"here"}


def test_a_setting_that_two_sweeps_have_timed_is_one(compose: Callable[..., Any], tmp_path: Path) -> None:
    config = compose()
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    keep(earlier, timing(config, "a"))
    again = timing(config, "a", summary=CLEAN | {"tokens_per_s": 9.0})
    keep(later, replace(again, measured_at="2026-01-02T00:00:00+00:00"))
    both = pd.concat([speed_frame(later), speed_frame(earlier)], ignore_index=True)
    settings = with_speed(pd.DataFrame({"setting_id": ["a"]}), both)
    assert settings["tokens_per_s"].tolist() == pytest.approx([9.0])


@pytest.mark.full
def test_the_table_says_why_a_setting_has_no_number(
    compose: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, timing(compose("num_hiddens=32"), "a"))
    keep(tmp_path, timing(compose("num_hiddens=64"), "b"))
    keep(tmp_path, timing(compose("num_hiddens=128"), "c", summary=SPOILED))
    write_speed(tmp_path, speed_frame(tmp_path))
    shown = capsys.readouterr().out
    assert "50.0k ± 1.0" in shown
    assert re.search(r"num_hiddens=128, 1 thread: .*\b0 of 9\b", shown)
    assert len(pd.read_csv(tmp_path / "speed.csv")) == 3
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "speed.csv").write_text("mine")
    write_speed(tmp_path, speed_frame(tmp_path))
    assert (tmp_path / "speed.csv").read_text() == "mine", "what somebody has changed stays, and is named"
    assert "speed.csv is not as ablate wrote it" in capsys.readouterr().err


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process per setting and one thread: enough to see that what is measured is kept and shown."""
    quick = functools.partial(Protocol, launches=1, sample_s=0.02)
    for module in ("ablate.sweeping.timings", "ablate.timing.samples"):
        monkeypatch.setattr(f"{module}.Protocol", quick)
    monkeypatch.setattr("ablate.sweeping.timings.default_threads", lambda configs: [1])


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_settings_from_overrides(
    small_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["settings", *small_arguments, "model=rnn,gru", "name=timed", "--limit", "1"]) == 0
    frame = pd.read_csv(tmp_path / "results" / "timed" / "speed.csv")
    assert list(frame["model"]) == ["rnn", "gru"]
    assert list(frame["threads"]) == [1, 1]
    assert "training tokens per second on" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.usefixtures("hasty")
def test_a_sweep_with_speed(small: Callable[..., Any], sweep: Callable[..., Any]) -> None:
    """speed=true times after training; ablate.bench then finds only what has no clean timing yet."""
    folder = sweep([small("seeds=1", "speed=true", "speed_s=1")]).folder
    [record] = [r for r in results.records(folder) if isinstance(r, dict)]
    path = timing_path(folder, record["setting_id"], 1, fingerprint()["id"])
    measured = Timing(**read_json(path))
    assert all(measured.samples.values())
    measured.summary = dict.fromkeys(measured.summary, CLEAN)
    for sample in measured.samples["train"]:
        sample |= {"unclean": "", "tokens_per_s": 50_000.0}
    store(folder, measured)
    before = path.stat().st_mtime_ns
    assert main([str(folder)]) == 0
    assert path.stat().st_mtime_ns == before
    assert pd.read_csv(folder / "settings.csv")["tokens_per_s"].tolist() == pytest.approx([50_000])


@pytest.mark.full
@pytest.mark.usefixtures("hasty")
def test_where_nothing_can_be_timed_it_is_said_once(
    small: Callable[..., Any],
    sweep: Callable[..., Any],
    text_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The text is gone: one reason for both settings, no class of an exception, no report, status 2."""
    folder = sweep([small("seeds=1"), small("seeds=1", "num_hiddens=9")]).folder
    for path in (folder / "runs").glob("*.json"):
        path.write_text(path.read_text().replace(str(text_path), "/nowhere/made-up.txt"))
    capsys.readouterr()
    assert main([str(folder), "--limit", "1"]) == 2
    shown = capsys.readouterr()
    [line] = [line for line in shown.err.splitlines() if "cannot" in line]
    assert re.search(r"cannot time 2 settings, .* rnn \(", line)
    assert re.search(r"data\.path is '/nowhere/made-up\.txt': No such file.*; give the path", line)
    assert "Error" not in line
    assert shown.out == ""
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(("knob", "value"), [("engine", "abacus"), ("batch_size", -3)])
def test_a_stored_value_that_no_run_could_have_is_one_line(
    knob: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "edited", [config("gru", **{"engine": "eager", knob: value})], seeds=1)
    assert main([str(tmp_path / "edited")]) == 2
    why = rf"ablate: {tmp_path}/edited has settings that no run can have: {knob} is '?{value}'?; .*\n"
    assert re.fullmatch(why, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere holds no finished run"),
        (["settings", "model=gruu"], "did you mean gru?"),
        (["settings", "num_hidens=3"], "did you mean num_hiddens?"),
        (["settings", "engine=torch_nn", "model=gru-no-reset"], "engine=torch_nn cannot compute"),
        (["settings", "batch_size=99999", "data=python_docs"], "lower one of the others"),
        (["settings", "precision=tf32", "device=cpu", "data=python_docs"], "only GPUs of NVIDIA multiply in TF32"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
