"""The speed lane: the machine to itself, real workers on a tiny setting, and what it keeps. CPU, 20 s.

The hog test needs Linux's /proc/stat, which tells what else the machine is doing.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from ablate.config.errors import UserError
from ablate.config.identity import setting_id
from ablate.config.schema import Config, to_dict
from ablate.data.corpora import Corpus
from ablate.engines.cohort.native import unavailable
from ablate.records.environment import cores
from ablate.records.places import timing_path
from ablate.records.reading import read_json
from ablate.timing import lane, process
from ablate.timing.kept import load_timing, store, stored
from ablate.timing.machine import Load, fingerprint, gemm_gflops, quality_jobs, shares_its_node, speed_lane
from ablate.timing.process import SLACK, START_S
from ablate.timing.samples import SUBJECTS, Protocol, Timing, checked, sample, share

Configs = Callable[..., Config]
QUICK = Protocol(precision=0.5, limit_s=2.0, sample_s=0.02, launches=2)
LAUNCHES = QUICK.launches


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
    assert share(None, 1.0, 1.0) is None
    assert share(1.0, 1.5, 1.0, 0.25) == 0.25


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
    assert path == timing_path(tmp_path, timing.setting_id, 1, fingerprint()["id"])
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
told = ['{"ready": true}', '{"last_epoch_tokens_per_s": 1.0}'][: int(sys.argv[1])]
print(*told, sep="\\n", end="\\n" * bool(told))
sys.stdout.flush()
time.sleep(600)
"""


ANSWERS = {"while it loads": 0, "at its setting": 1, "at a sample": 2}
"""How many answers the process gives that hangs."""
FULL, SLOW = pytest.mark.full, pytest.mark.slow


@pytest.mark.parametrize(
    "when", [pytest.param(when, marks=FULL if when == "at a sample" else SLOW) for when in ANSWERS]
)
def test_a_process_that_hangs_is_ended_and_the_lane_goes_on(
    setting: dict[str, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Of two settings the first one hangs: it alone is given up, once, and of all processes none is left."""
    started: list[subprocess.Popen[str]] = []
    queues: list[Any] = []
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> "subprocess.Popen[str]":
        if command[-1] != "ablate.timing.worker":  # what else is asked of the machine meanwhile
            return popen(command, **options)
        hangs = [sys.executable, "-c", HANGS, str(ANSWERS[when])]
        started.append(popen(command if started else hangs, **options))
        return started[-1]

    class Answers(Queue[str]):
        """Those of one process: what never comes is not waited for, what comes late on a busy machine is."""

        def __init__(self) -> None:
            super().__init__()
            self.coming = ANSWERS[when] if len(started) == 1 else 1_000_000
            self.limits: list[float | None] = []
            queues.append(self)

        def get(self, block: bool = True, timeout: float | None = None) -> str:
            self.limits.append(timeout)
            self.coming -= 1
            return super().get(timeout=600 if self.coming >= 0 else 0.01)

    monkeypatch.setattr("ablate.timing.process.subprocess.Popen", start)
    monkeypatch.setattr("ablate.timing.process.Queue", Answers)
    [(own, config)] = setting.items()
    [first, second] = lane.measure({"hangs": config, own: config}, [1], replace(QUICK, answer_s=20.0))
    load, others = START_S * 2 * LAUNCHES, START_S
    limits = [20.0 + SLACK * load, 20.0 + SLACK * others, 20.0 + SLACK * others]
    assert queues[0].limits == limits[: ANSWERS[when] + 1], "what is expected of a step, several times over"
    assert f"nothing for {limits[ANSWERS[when]]:.0f} s" in first.failure
    assert (first.summary, first.facts.get("parameters")) == ({}, None)
    assert (second.failure, second.summary["train"]["of"] > 0) == ("", True)
    assert len(started) == 2 * LAUNCHES  # together, before anything was measured
    assert all(process.poll() is not None for process in started)


def test_a_limit_follows_from_what_a_step_is_expected_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step that is announced has a time of its own; the one before it no longer counts."""
    limits: list[float | None] = []

    class Answers(Queue[str]):
        def get(self, block: bool = True, timeout: float | None = None) -> str:
            limits.append(timeout)
            return super().get(block=False)

    silent = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    popen = subprocess.Popen
    monkeypatch.setattr("ablate.timing.process.subprocess.Popen", lambda _, **options: popen(silent, **options))
    monkeypatch.setattr("ablate.timing.process.Queue", Answers)
    worker = process.Process()
    try:
        for line in ({"expects": 100.0}, {"expects": 0.5}, {"told": 1}):
            worker.lines.put(json.dumps(line))
        assert worker.ask({}, 20.0) == {"told": 1}
        assert limits == [20.0 + SLACK * START_S, 20.0 + SLACK * 100, 20.0 + SLACK * 0.5]
        worker.lines.put(json.dumps({"expects": 3.0}))
        with pytest.raises(process.WorkerHung, match=r"nothing for 32 s, where 3 s were expected"):
            worker.ask({}, 20.0)
    finally:
        worker.end()
    assert worker.process.poll() is not None


def test_what_has_hung_is_not_tried_with_other_numbers_of_threads(
    setting: dict[str, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What merely failed is; a line of each says so."""
    [config] = setting.values()
    asked: list[tuple[str, int]] = []

    def measure(missing: dict[str, Config], threads: list[int], *_: Any) -> Iterator[Timing]:
        for name in missing:
            asked.append((name, *threads))
            facts = {"hung": True} if name == "hangs" else {}
            yield Timing(name, "here", *threads, {"model": {"name": "gru"}}, {}, facts=facts, failure=f"it {name}")

    monkeypatch.setattr(lane, "measure", measure)
    said: list[str] = []
    assert not lane.time_missing(
        tmp_path, {"hangs": config, "fails": config}, [1, 2, 4], QUICK, said.append, again=True
    )
    assert asked == [("hangs", 1), ("fails", 1), ("fails", 2), ("fails", 4)]
    last = [line for line in said if line.startswith("cannot time")]
    assert ["not tried with 2 or 4 threads" in line for line in last] == [True, False]


def test_processes_are_started_together_and_no_more_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        def __init__(self) -> None:
            self.failure, self.waited, self.ended = None, 0, False
            made.append(self)

        def wait(self, answer_s: float, together: int) -> None:
            self.waited += 1

        def end(self) -> None:
            self.ended = True

        def ask(self, request: Any, answer_s: float) -> dict[str, Any]:
            return {"told": request}

    made: list[Made] = []
    monkeypatch.setattr(process, "Process", Made)
    with process.Processes(1.0) as processes:
        processes.prepare(2, 8)
        assert len(made) == 10
        for _ in range(8):
            with processes.take({"n": 1}) as (ask, facts):
                assert (facts, ask(2)) == ({"told": {"n": 1}}, {"told": 2})
        processes.prepare(2, 0)
        assert len(made) == 10, "two are left"
        processes.prepare(3, 100)
        assert len(made) == 8 + process.AHEAD
        processes.prepare(process.AHEAD + 5, 0)
        assert len(processes.waiting) == process.AHEAD + 5, "as many as are needed at once"
    assert all(one.waited == 1 and one.ended for one in made)


def test_on_a_gpu_a_sample_is_checked_by_what_the_card_was_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, Any] | None] = [{"limits": [], "others": 0, "clock_mhz": 1980.0}]
    monkeypatch.setattr("ablate.timing.samples.cards.state", lambda uuid: states[-1] if uuid == "GPU-1" else None)
    got = {"tokens_per_s": 1.0, "seconds": 1.0, "cpu_s": 0.1, "cpu_since_last_s": 1e9}

    def taken(**facts: Any) -> dict[str, Any]:
        timing = Timing("a", "b", 1, {}, {"gpu": None, **facts})
        return sample(timing, lambda _: dict(got), "train", 0, QUICK)

    one = taken(gpu="A Card", gpu_uuid="GPU-1")
    assert [state["clock_mhz"] for state in one["gpu"]] == [1980.0, 1980.0]
    assert (one["unclean"], one["off_cpu"]) == ("", None)
    assert checked(one) == (one["others"] is not None)
    states.append({"limits": ["hardware thermal slowdown"], "others": 0})
    assert "thermal" in taken(gpu="A Card", gpu_uuid="GPU-1")["unclean"]
    states.append(None)
    assert not checked(taken(gpu="A Card", gpu_uuid="GPU-1")), "nothing told"
    assert "gpu" not in taken()
    assert taken()["off_cpu"] == 0.9


def test_a_clean_timing_is_not_measured_again(setting: dict[str, Config], tmp_path: Path) -> None:
    clean = {"tokens_per_s": 1.0, "low": 1.0, "high": 1.0, "n": 9, "of": 9, "why": ""}
    [own] = setting
    here = fingerprint()["id"]
    timing = Timing(own, here, 1, {}, fingerprint(), summary={"train": clean})
    store(tmp_path, timing)
    said: list[str] = []
    lane.time_missing(tmp_path, setting, [1], QUICK, said.append)
    assert said == []
    assert stored(tmp_path, own, 1, here) is not None
    timing.summary["train"]["tokens_per_s"] = None
    store(tmp_path, timing)
    assert stored(tmp_path, own, 1, here) is None
    assert stored(tmp_path, own, 1, "elsewhere") is None


def test_a_clean_timing_is_not_replaced_by_one_that_was_disturbed(
    setting: dict[str, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = {"tokens_per_s": 1.0, "low": 1.0, "high": 1.0, "n": 9, "of": 9, "why": ""}
    [own] = setting
    here = fingerprint()["id"]
    config = {"model": {"name": "gru"}}
    store(tmp_path, Timing(own, here, 1, config, fingerprint(), summary={"train": clean}))

    def measured(summary: dict[str, Any]) -> Callable[..., list[Timing]]:
        return lambda *_: [Timing(own, here, 1, config, fingerprint(), summary={"train": summary})]

    said: list[str] = []
    disturbed = clean | {"tokens_per_s": None, "why": "only 2 of 9 samples are clean"}
    monkeypatch.setattr(lane, "measure", measured(disturbed))
    assert lane.time_missing(tmp_path, setting, [1], QUICK, said.append, again=True)
    assert said[-1] == f"kept the earlier timing of gru ({own}): of the new one only 2 of 9 samples are clean"
    assert stored(tmp_path, own, 1, here) is not None
    monkeypatch.setattr(lane, "measure", measured(clean | {"tokens_per_s": 2.0}))
    assert lane.time_missing(tmp_path, setting, [1], QUICK, said.append, again=True)
    found = stored(tmp_path, own, 1, here)
    assert found is not None
    assert found.summary["train"]["tokens_per_s"] == 2.0


def test_a_clean_timing_of_another_sweep_is_taken_over(setting: dict[str, Config], tmp_path: Path) -> None:
    clean = {"tokens_per_s": 1.0, "low": 1.0, "high": 1.0, "n": 9, "of": 9, "why": ""}
    [own] = setting
    here = fingerprint()["id"]
    store(tmp_path / "first", Timing(own, "elsewhere", 1, {}, fingerprint(), summary={"train": clean}))
    store(tmp_path / "second", Timing(own, here, 1, {}, fingerprint(), summary={"train": clean}))
    said: list[str] = []
    lane.time_missing(tmp_path / "third", setting, [1], QUICK, said.append)
    assert said == []
    taken_over = stored(tmp_path / "third", own, 1, here)
    assert taken_over == stored(tmp_path / "second", own, 1, here)
    assert stored(tmp_path / "third", own, 1, "elsewhere") is None


def test_a_text_is_read_once_for_the_ids_of_older_versions(
    setting: dict[str, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sweeps there are beside this one, none of which has a timing of the setting."""
    read: list[Config] = []
    monkeypatch.setattr("ablate.timing.kept.former_ids", lambda config: read.append(config) or ())
    monkeypatch.setattr("ablate.timing.kept.holds_timings", lambda folder: True)
    for name in ("sweep", "second", "third"):
        (tmp_path / name).mkdir()
    [(own, config)] = setting.items()
    assert load_timing(tmp_path / "sweep", own, config, 1) is None
    assert read == [config]


@pytest.mark.full
def test_flops_are_counted(small: Configs) -> None:
    """The count of a training step against the matrix products written out by hand."""
    from ablate.data.corpora import load
    from ablate.timing.worker import Subjects

    config = small("model=rnn")
    corpus = load(config.data)
    V, H, T = len(corpus.vocabulary), config.num_hiddens, config.num_steps
    forward = 2 * (V * H + H * H + H * V)
    # Back: two products of the same size for each, but the tokens, and at t = 1 the state, need no gradient.
    back = 2 * (V * H) + 2 * (2 * H * H) + 2 * (2 * H * V) - 2 * H * H / T
    assert Subjects(config, corpus).flops_per_token() == pytest.approx(forward + back, rel=0.01)


@pytest.mark.slow
def test_what_a_plugin_prints_is_no_answer(setting: dict[str, Config], tmp_path: Path) -> None:
    plugin = tmp_path / "loud.py"
    plugin.write_text("print('loaded')\n")
    [(own, config)] = setting.items()
    task = {"config": to_dict(config.but(plugins=[str(plugin)])), "setting_id": own, "threads": 1, "count": False}
    with process.Processes(60.0) as processes, processes.take(task) as (_, facts):
        assert facts["parameters"] > 0


@pytest.mark.skipif(bool(unavailable("bf16")), reason=unavailable("bf16"))
def test_every_subject_is_timed_in_bfloat16(small: Configs) -> None:
    """Which the cohort engine alone has: forward, too."""
    from ablate.data.corpora import load
    from ablate.timing.worker import Subjects

    config = small("precision=bf16")
    subjects = Subjects(config, load(config.data))
    assert all(subjects.sample(name, 0.01)["tokens_per_s"] > 0 for name in SUBJECTS)


@pytest.mark.slow
def test_a_text_that_has_changed_is_not_timed(setting: dict[str, Config], tmp_path: Path) -> None:
    said: list[str] = []
    config = next(iter(setting.values()))
    foreign = {"of-another-text": config, "of-a-third": config}
    assert not lane.time_missing(tmp_path, foreign, [1], QUICK, said.append)
    [told] = [line for line in said if "cannot time" in line]
    assert re.search(r"\b2 settings, .*\bgru \(of-another-text\): made-up\.txt is not\b", told)
    assert not (tmp_path / "speed").exists()


@pytest.fixture
def hogs() -> Iterator[None]:
    """A busy process on every core."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores())]
    before = Load.now()
    while (Load.now().busy_s or 0) - (before.busy_s or 0) < 0.5 * cores():
        pass
    yield
    for hog in processes:
        hog.kill()
        hog.wait()


@pytest.mark.slow  # not for its time: it needs a machine whose cores the hogs get
@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="needs /proc/stat, which only Linux has")
@pytest.mark.usefixtures("hogs")
def test_beside_a_hog_the_lane_says_that_it_is_not_clean(setting: dict[str, Config], tmp_path: Path) -> None:
    lane.time_missing(tmp_path, setting, [1], Protocol(limit_s=1.0, sample_s=0.1, launches=1), lambda _: None)
    timing = Timing(**read_json(timing_path(tmp_path, *setting, 1, fingerprint()["id"])))
    assert not timing.clean
    assert timing.summary["train"]["tokens_per_s"] is None
    assert "other programs used" in timing.summary["train"]["why"]


def test_the_load_of_the_machine_grows() -> None:
    before = Load.now()
    sum(range(3_000_000))
    after = Load.now()
    assert after.at > before.at
    assert (after.busy_s or 0) >= (before.busy_s or 0)


@pytest.mark.parametrize(("said", "shares"), [("OverSubscribe=OK", True), ("OverSubscribe=NO", False), ("", False)])
def test_only_a_job_that_has_its_node_to_itself_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, shares: bool
) -> None:
    """`scontrol show job` of SLURM 22.05, as it says so."""
    assert not shares_its_node()  # no job at all
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\necho 'JobId=7 JobName=ablate {said} Contiguous=0'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert shares_its_node() == shares
    if shares:
        with pytest.raises(UserError, match="--exclusive"), speed_lane():
            pass
