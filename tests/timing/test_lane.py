"""The speed lane: its interval, what it calls clean, what it keeps; real workers on a tiny setting. CPU, 20 s.

The hog test needs Linux's /proc/stat, which tells what else the machine is doing.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest

from ablate.config.errors import UserError
from ablate.config.identity import setting_id
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records.environment import cores
from ablate.records.reading import read_json
from ablate.stats import process_interval
from ablate.timing import lane
from ablate.timing.lane import SUBJECTS, Protocol, Timing, summarise, why_unclean
from ablate.timing.machine import Load, fingerprint, gemm_gflops, quality_jobs, speed_lane

Configs = Callable[..., Config]
QUICK = Protocol(precision=0.5, limit_s=2.0, sample_s=0.02, launches=2)
LAUNCHES = QUICK.launches


def taken(tokens_per_s: float, launch: int, unclean: str = "") -> dict[str, Any]:
    load = {"others": 0.0, "stolen": 0.0}
    return {"tokens_per_s": tokens_per_s, "launch": launch, "unclean": unclean, "seconds": 0.1} | load


def samples(*processes: list[float], unclean: str = "") -> list[dict[str, Any]]:
    return [taken(value, launch, unclean) for launch, values in enumerate(processes) for value in values]


# --- the interval ---------------------------------------------------------------------------------------


def test_the_interval_is_that_of_the_medians_of_processes_on_logs() -> None:
    """Against the textbook: exp(mean ± t s/√n) of the logarithms."""
    medians = [100.0, 104.0, 98.0, 101.0, 103.0]
    middle, low, high = process_interval([np.array([m - 1, m, m + 50]) for m in medians], 0.95)
    logs = np.log(medians)
    assert middle == pytest.approx(np.exp(logs.mean()))
    t, error = 2.7764451, logs.std(ddof=1) / 5**0.5
    assert (low, high) == pytest.approx((np.exp(logs.mean() - t * error), np.exp(logs.mean() + t * error)))
    assert process_interval([np.full(5, 7.0)] * 5, 0.95) == pytest.approx((7.0, 7.0, 7.0))


def test_more_samples_of_one_process_make_it_no_narrower() -> None:
    few, many = ([np.repeat(m, n) for m in (90.0, 95.0, 100.0, 105.0, 110.0)] for n in (3, 300))
    assert process_interval(few, 0.95) == process_interval(many, 0.95)


@pytest.mark.parametrize("n", [1, 4])
def test_few_processes_give_no_interval(n: int) -> None:
    assert process_interval([np.full(9, 7.0)] * n, 0.95) == (pytest.approx(7.0), None, None)


@pytest.mark.full
@pytest.mark.parametrize("processes", [5, 8])
@pytest.mark.parametrize("within", [0.001, 0.05])
def test_the_interval_covers_what_it_says(processes: int, within: float) -> None:
    """Processes differ by 2 %, samples of one by `within`: the true speed is in 95 % of the intervals, ± 4 errors."""
    rng, tries, covered = np.random.default_rng(1), 2000, 0
    for _ in range(tries):
        own = rng.normal(np.log(100), 0.02, processes)
        _, low, high = process_interval([np.exp(rng.normal(middle, within, 9)) for middle in own], 0.95)
        assert low is not None
        assert high is not None
        covered += low <= 100 <= high
    assert abs(covered / tries - 0.95) < 4 * (0.95 * 0.05 / tries) ** 0.5


# --- clean, and what is said otherwise -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "word"),
    [
        ({}, ""),
        ({"others": 0.5}, "other programs used 50% of a core"),
        ({"stolen": 0.2}, "the host took 20% of a core away"),
        ({"off_cpu": 0.3}, "off its core for 30% of the time"),
        ({"off_cpu": None}, ""),
        ({"others": None, "stolen": None}, ""),
        ({"others": None, "stolen": None, "off_cpu": 0.3}, "off its core for 30% of the time"),
    ],
)
def test_what_spoils_a_sample(load: dict[str, Any], word: str) -> None:
    reason = why_unclean({"others": 0.0, "stolen": 0.0, "off_cpu": 0.0} | load)
    assert (reason == "") == (word == "")
    assert word in reason


def test_unclean_samples_enter_no_median() -> None:
    clean = samples(*[[100.0] * 5] * LAUNCHES)
    spoiled = samples(*[[10.0] * 4] * LAUNCHES, unclean="a hog")
    summary = summarise(clean + spoiled, QUICK)
    assert summary["tokens_per_s"] == pytest.approx(100.0)
    assert (summary["n"], summary["of"]) == (5 * LAUNCHES, 9 * LAUNCHES)
    assert summarise(clean + spoiled + spoiled, QUICK)["tokens_per_s"] is None  # most are spoiled: what is clean?


def test_too_few_clean_samples_give_no_number_but_the_reason() -> None:
    clean = samples(*[[100.0] * 5] * (LAUNCHES - 1))  # the last process gives none
    spoiled = samples(*[[10.0] * 9] * LAUNCHES, unclean="a hog")
    summary = summarise(clean + spoiled, QUICK)
    assert summary["tokens_per_s"] is None
    told = f"only {len(clean)} of {len(clean) + len(spoiled)} samples are clean; for example a hog"
    assert told in summary["why"]


def test_an_interval_too_wide_is_said() -> None:
    rough = samples(*[[100.0 + 10 * k] * 4 for k in range(5)])
    assert "wider than ± 2%" in summarise(rough, Protocol(precision=0.02))["why"]
    assert summarise(rough, Protocol(precision=0.5))["why"] == ""


def test_without_an_interval_there_is_a_number_and_the_reason() -> None:
    summary = summarise(samples(*[[100.0] * 4] * 4), Protocol(launches=4))
    assert (summary["tokens_per_s"], summary["low"], summary["high"]) == (pytest.approx(100), None, None)
    assert "4 processes" in summary["why"]


def test_what_was_not_seen_is_not_called_clean() -> None:
    seen = samples(*[[100.0] * 4] * 5)
    unseen = [sample | {"others": None, "stolen": None} for sample in seen]
    for one, expected in ((seen, True), (unseen, False), ([*seen[:-1], unseen[-1]], False)):
        summary = summarise(one, Protocol())
        assert summary["checked"] == expected
        assert ("not checked" in summary["why"]) == (not expected)
        assert summary["tokens_per_s"] == pytest.approx(100)


def test_a_system_that_does_not_tell_its_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As macOS and Windows: no /proc/stat; a container may show an empty one; os.sysconf may be missing, too."""
    monkeypatch.setattr("ablate.timing.machine.STAT", tmp_path / "nothing")
    assert (Load.now().busy_s, Load.now().stolen_s) == (None, None)
    (tmp_path / "stat").write_text("")
    monkeypatch.setattr("ablate.timing.machine.STAT", tmp_path / "stat")
    assert Load.now().busy_s is None
    (tmp_path / "stat").write_text("cpu  100 0 100 9 0 0 0 50 0 0\n")
    if hasattr(os, "sysconf"):
        assert (Load.now().busy_s or 0) > 0
        monkeypatch.delattr("os.sysconf")
    assert Load.now().busy_s is None
    assert lane.share(None, 1.0, 1.0) is None
    assert lane.share(1.0, 1.5, 1.0, 0.25) == 0.25


# --- the machine ----------------------------------------------------------------------------------------


def test_the_lane_has_the_machine_to_itself() -> None:
    with speed_lane():
        with pytest.raises(UserError, match="speed lane is measuring"), quality_jobs():
            pass
        with pytest.raises(UserError, match="another ablate"), speed_lane():
            pass
    with quality_jobs(), quality_jobs(), pytest.raises(UserError, match="another ablate"), speed_lane():
        pass
    with speed_lane():
        pass


def test_the_fingerprint_tells_machines_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    here = fingerprint()
    assert here["cores"] == cores()
    fingerprint.cache_clear()
    monkeypatch.setattr("ablate.timing.machine.environment", lambda: {"cpu": "another", "gpu": None, "torch": "0"})
    assert fingerprint()["id"] != here["id"]
    fingerprint.cache_clear()


def test_the_limit_of_the_machine_is_a_plausible_rate() -> None:
    assert 0.5 < gemm_gflops(1, size=256) < 10_000


# --- for real -------------------------------------------------------------------------------------------


@pytest.fixture
def setting(small: Configs, corpus: Corpus) -> dict[str, Config]:
    config = small("model=gru")
    return {setting_id(config, corpus.sha256): config}


@pytest.mark.full
def test_a_setting_is_timed_in_fresh_processes_and_kept(setting: dict[str, Config], tmp_path: Path) -> None:
    said: list[str] = []
    lane.time_missing(tmp_path, setting, [1], QUICK, said.append)
    [path] = (tmp_path / "speed").glob("*.json")
    timing = Timing(**read_json(path))
    assert path == lane.timing_path(tmp_path, timing.setting_id, 1, fingerprint()["id"])
    for name in SUBJECTS:
        own = timing.samples[name]
        assert {sample["launch"] for sample in own} == set(range(LAUNCHES))
        assert all(sample["tokens_per_s"] > 0 and sample["minibatches"] >= 2 for sample in own)
    assert timing.facts["engine"] == "torch_nn"
    assert timing.facts["parameters"] == setting_parameters(*setting.values())
    assert len(timing.facts["last_epoch_readings"]) == LAUNCHES
    assert timing.facts["gemm_limit_gflops"] > 0
    assert "timing 1 setting with 1 thread" in said[0]


def setting_parameters(config: Config) -> int:
    from ablate.data.corpora import load
    from ablate.networks.parameters import count

    return count(config, len(load(config.data).vocabulary))


HANGS = """
import sys, time
print('{"last_epoch_tokens_per_s": 1.0}' if sys.argv[1] == "later" else "", end=sys.argv[1] == "later" and "\\n" or "")
sys.stdout.flush()
time.sleep(600)
"""
ANSWERS = {"at once": 0, "later": 1}
"""How many answers the process gives that hangs."""


@pytest.mark.full
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_process_that_hangs_is_ended_and_the_lane_goes_on(
    setting: dict[str, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Of two settings the first one hangs, before its first answer or at a sample: it alone is given up, once."""
    hung: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> "subprocess.Popen[str]":
        if not started:
            hung.append(popen([sys.executable, "-c", HANGS, when], **options))
        started.append(command)
        return hung[0] if len(started) == 1 else popen(command, **options)

    class Answers(Queue[str]):
        """Those of one process: what never comes is not waited for, what comes late on a busy machine is."""

        def __init__(self) -> None:
            super().__init__()
            self.coming = ANSWERS[when] if len(started) == 1 else 1_000_000

        def get(self, block: bool = True, timeout: float | None = None) -> str:
            assert timeout == 20.0
            self.coming -= 1
            return super().get(timeout=600 if self.coming >= 0 else 0.01)

    started: list[list[str]] = []
    monkeypatch.setattr(lane.subprocess, "Popen", start)
    monkeypatch.setattr(lane, "Queue", Answers)
    [(own, config)] = setting.items()
    [first, second] = lane.measure({"hangs": config, own: config}, [1], replace(QUICK, answer_s=20.0))
    assert "no answer for 20 s" in first.failure
    assert hung[0].poll() is not None
    assert (second.failure, second.summary["train"]["of"] > 0) == ("", True)
    assert len(started) == 1 + LAUNCHES  # the one that hung was not started again


def test_a_clean_timing_is_not_measured_again(setting: dict[str, Config], tmp_path: Path) -> None:
    clean = {"tokens_per_s": 1.0, "low": 1.0, "high": 1.0, "n": 9, "of": 9, "why": ""}
    [own] = setting
    here = fingerprint()["id"]
    timing = Timing(own, here, 1, {}, fingerprint(), summary={"train": clean})
    lane.store(tmp_path, timing)
    said: list[str] = []
    lane.time_missing(tmp_path, setting, [1], QUICK, said.append)
    assert said == []
    assert lane.stored(tmp_path, own, 1, here) is not None
    timing.summary["train"]["tokens_per_s"] = None
    lane.store(tmp_path, timing)
    assert lane.stored(tmp_path, own, 1, here) is None
    assert lane.stored(tmp_path, own, 1, "elsewhere") is None


def test_a_clean_timing_of_another_sweep_is_taken_over(setting: dict[str, Config], tmp_path: Path) -> None:
    clean = {"tokens_per_s": 1.0, "low": 1.0, "high": 1.0, "n": 9, "of": 9, "why": ""}
    [own] = setting
    here = fingerprint()["id"]
    lane.store(tmp_path / "first", Timing(own, "elsewhere", 1, {}, fingerprint(), summary={"train": clean}))
    lane.store(tmp_path / "second", Timing(own, here, 1, {}, fingerprint(), summary={"train": clean}))
    said: list[str] = []
    lane.time_missing(tmp_path / "third", setting, [1], QUICK, said.append)
    assert said == []
    taken_over = lane.stored(tmp_path / "third", own, 1, here)
    assert taken_over == lane.stored(tmp_path / "second", own, 1, here)
    assert lane.stored(tmp_path / "third", own, 1, "elsewhere") is None


def test_flops_are_counted(small: Configs) -> None:
    """The count of a training step against the matrix products written out by hand."""
    from ablate.data.corpora import load
    from ablate.timing.worker import Setting

    config = small("model=rnn")
    corpus = load(config.data)
    V, H, T = len(corpus.vocabulary), config.num_hiddens, config.num_steps
    forward = 2 * (V * H + H * H + H * V)
    # Back: two products of the same size for each, but the tokens, and at t = 1 the state, need no gradient.
    back = 2 * (V * H) + 2 * (2 * H * H) + 2 * (2 * H * V) - 2 * H * H / T
    assert Setting(config, corpus).flops_per_token() == pytest.approx(forward + back, rel=0.01)


@pytest.mark.slow
def test_a_text_that_has_changed_is_not_timed(setting: dict[str, Config], tmp_path: Path) -> None:
    said: list[str] = []
    config = next(iter(setting.values()))
    foreign = {"of-another-text": config, "of-a-third": config}
    assert not lane.time_missing(tmp_path, foreign, [1], QUICK, said.append)
    [told] = [line for line in said if "cannot time" in line]
    assert re.search(r"\b2 settings, .*\bgru \(of-another-text\): made-up\.txt is not\b", told)
    assert not (tmp_path / "speed").exists()


def test_a_machine_that_is_busy_with_something_else_gives_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each second another program uses half of a core, and our worker a whole one; then nothing else runs."""
    loads = iter(Load(at=float(k), busy_s=1.5 * k, stolen_s=0.0) for k in range(100))
    monkeypatch.setattr(lane.Load, "now", lambda: next(loads))
    answer = {"tokens_per_s": 100.0, "minibatches": 9, "seconds": 1.0, "cpu_s": 1.0}
    timing = Timing("a", "here", 1, {}, {})
    protocol = Protocol(launches=5)
    for own, clean in ((1.0, False), (1.5, True)):
        taken = [
            lane.sample(timing, lambda _, own=own: answer | {"cpu_since_last_s": own}, "train", launch, protocol)  # type: ignore[misc]
            for launch in range(5)
            for _ in range(lane.LEAST_SAMPLES)
        ]
        summary = summarise(taken, protocol)
        assert (summary["tokens_per_s"] is not None) == clean
        assert ("50% of a core" in summary["why"]) == (not clean)


@pytest.fixture
def hogs() -> Iterator[None]:
    """A busy process on every core."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores())]
    before = Load.now()
    while (Load.now().busy_s or 0) - (before.busy_s or 0) < 0.5 * cores():
        pass
    yield
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow  # not for its time: it needs a machine whose cores the hogs get
@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="needs /proc/stat, which only Linux has")
@pytest.mark.usefixtures("hogs")
def test_beside_a_hog_the_lane_says_that_it_is_not_clean(setting: dict[str, Config], tmp_path: Path) -> None:
    lane.time_missing(tmp_path, setting, [1], Protocol(limit_s=1.0, sample_s=0.1, launches=1), lambda _: None)
    timing = Timing(**read_json(lane.timing_path(tmp_path, *setting, 1, fingerprint()["id"])))
    assert not timing.clean
    assert timing.summary["train"]["tokens_per_s"] is None
    assert "other programs used" in timing.summary["train"]["why"]


def test_the_load_of_the_machine_grows() -> None:
    before = Load.now()
    sum(range(3_000_000))
    after = Load.now()
    assert after.at > before.at
    assert (after.busy_s or 0) >= (before.busy_s or 0)
