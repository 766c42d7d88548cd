"""Programs that hang: ended, begun again once, recorded as failed; the other settings go on. CPU, 10 s."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.analysis.study import read_study
from ablate.cli import main
from ablate.config.schema import Config
from ablate.engines.cohort.threads import TrainingThreads
from ablate.records import results
from ablate.searching import trainer
from ablate.sweeping import hung, programs
from ablate.sweeping.hung import Signs, limit_min

Configs = Callable[..., Config]
SHORT = ("engine=cohort", "threads=1")
AT_ONCE = "stalled_min=0.1"
"""Of what is to hang, and is then begun again: on a busy machine a program may well be silent for two seconds."""


def of_network(**knobs: Any) -> Any:
    config = SimpleNamespace(stalled_min=None, task=SimpleNamespace(thing=SimpleNamespace(has_network=True)))
    vars(config).update(knobs)
    return SimpleNamespace(config=config, hung=0)


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let the training of a model hang so often by `wait`; the list of those that were begun."""

    def let(model: str, times: int, wait: Callable[[], None]) -> list[str]:
        train, begun = programs.train_together, list[str]()

        def train_or_hang(configs: Any, *of: Any, **how: Any) -> Any:
            begun.append(configs[0].model.name)
            if begun[-1] == model and begun.count(model) <= times:
                wait()
            return train(configs, *of, **how)

        monkeypatch.setattr(programs, "train_together", train_or_hang)
        return begun

    return let


def in_python() -> None:
    while True:
        time.sleep(0.01)


@pytest.mark.full
@pytest.mark.parametrize(("times", "trained", "failures"), [(1, 4, []), (2, 2, ["gru"])])
def test_it_is_begun_again_once(
    small: Configs, sweep: Any, hangs: Any, times: int, trained: int, failures: list[str]
) -> None:
    begun = hangs("gru", times, in_python)
    summary = sweep([small("model=gru", AT_ONCE, "seeds=2", *SHORT), small("model=rnn", "seeds=2", *SHORT)])
    assert sorted(begun) == ["gru", "gru", "rnn"]
    assert (summary.trained, [name.split()[0] for name, _ in summary.failures]) == (trained, failures)
    assert len(list(results.records(summary.folder))) == trained
    assert len(list((summary.folder / "failures").glob("*.json"))) == len(failures)
    assert all("stalled_min" in why for _, why in summary.failures)


@pytest.mark.full
def test_a_thread_that_cannot_be_ended_is_left_behind(
    small: Configs, sweep: Any, hangs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits in a call that Python does not hear the end of; what it does when it comes back changes nothing."""
    free = threading.Event()
    monkeypatch.setattr(hung, "END_S", 0.5)
    monkeypatch.setattr(TrainingThreads, "hanging", 0)
    begun = hangs("gru", 1, free.wait)
    try:
        summary = sweep([small("model=gru", AT_ONCE, "seeds=2", *SHORT), small("model=rnn", "seeds=2", *SHORT)])
        assert TrainingThreads.hanging == 1
    finally:
        free.set()
    assert sorted(begun) == ["gru", "gru", "rnn"]
    assert (summary.trained, summary.failures) == (4, [])


@pytest.mark.full
def test_a_program_that_used_python_ends_where_a_thread_does_not(tmp_path: Path) -> None:
    """A ThreadPoolExecutor's threads would be waited for, for ever."""
    code = """
from threading import Event
from ablate.engines.cohort.threads import TrainingThreads
pool = TrainingThreads(2)
begun = Event()
hanging = pool.submit(lambda: (begun.set(), Event().wait()))
begun.wait()
pool.leave([hanging])
pool.shutdown()
print("all said")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "all said\n")


def test_a_command_ends_with_its_status_whatever_a_thread_of_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(hung.os, "_exit", ended.append)
    for hanging in (0, 1):
        monkeypatch.setattr(TrainingThreads, "hanging", hanging)
        hung.end_process(3)
    assert ended == [3]


@pytest.mark.slow
def test_a_trial_that_hangs_fails_and_the_others_do_not(
    small_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: the first time by itself, the second in a call that Python does not hear the end of."""
    train, begun, free = trainer.train_together, list[int](), threading.Event()

    def train_or_hang(configs: Any, *of: Any, **how: Any) -> Any:
        begun.append(configs[0].num_hiddens)
        if begun[-1] == 5:
            in_python() if begun.count(5) == 1 else free.wait()
        return train(configs, *of, **how)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainer, "train_together", train_or_hang)
    monkeypatch.setattr(hung, "END_S", 0.5)
    monkeypatch.setattr(TrainingThreads, "hanging", 0)
    words = [
        *small_arguments,
        *SHORT,
        AT_ONCE,
        "num_hiddens=choice(4,5)",
        "seeds=1",
        "n_trials=2",
        "sampler=grid",
        "name=a",
    ]
    words += ["report=false", "epochs=1", "hydra.sweeper.race.fresh=2", "parallel=1"]
    try:
        assert main(["search", *{word.partition("=")[0]: word for word in words}.values()]) == 0
    finally:
        free.set()
    trials, _ = read_study(Path("results/a"))
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE", "FAIL"]
    assert begun.count(5) == 2
    assert ["stalled_min" in trial.user_attrs["reason"] for trial in trials if trial.state.name == "FAIL"] == [True]


def test_what_counts_is_the_time_in_which_it_could_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour in which the whole process was stopped is no hour without a sign."""
    now = 0.0
    monkeypatch.setattr(hung.time, "monotonic", lambda: now)
    signs, task = Signs(), of_network(stalled_min=1.0)
    with signs.of(task, here=False) as given_up:
        now = 3600.0
        assert signs.look([task]) == []
        for _ in range(59):
            now += 1.0
            assert signs.look([task]) == []
        assert not given_up()
        signs.sign(task)
        for _ in range(60):
            now += 1.0
            assert signs.look([task]) == []
        now += 1.0
        assert signs.look([task]) == [task]
        assert given_up()
        assert signs.look([task]) == []  # once


def test_a_function_of_ones_own_may_take_as_long_as_it_likes() -> None:
    function = SimpleNamespace(thing=SimpleNamespace(has_network=False))
    assert limit_min(of_network().config) == hung.STALLED_MIN
    assert limit_min(of_network(task=function).config) is None
    assert limit_min(of_network(task=function, stalled_min=5.0).config) == 5.0


def test_a_stop_waits_for_no_training_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does for a function of one's own, which hears nothing of it."""
    monkeypatch.setattr(TrainingThreads, "hanging", 0)
    monkeypatch.setattr(hung, "STOP_S", 0.1)
    monkeypatch.setattr(hung, "END_S", 0.0)
    free, begun, pool = threading.Event(), threading.Barrier(3), TrainingThreads(2)

    def hang() -> None:
        begun.wait(30)
        free.wait()

    def work() -> None:
        begun.wait(30)
        time.sleep(0.5)

    function = SimpleNamespace(thing=SimpleNamespace(has_network=False))
    hangs, works, later = pool.submit(hang), pool.submit(work), pool.submit(int)
    begun.wait(30)
    try:
        hung.end_stopped(pool, {hangs: of_network(), works: of_network(task=function), later: of_network()})
        pool.shutdown()
        assert (hangs.done(), works.done(), later.cancelled(), TrainingThreads.hanging) == (False, True, True, 1)
    finally:
        free.set()
