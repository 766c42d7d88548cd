"""What a person's own code raises, through the command line: one line with file, line and class, and no traceback.

Compared: the line that is said with the line of the file that raises; the exit status, 2 where nothing could be
trained and 1 where other settings were; the settings that were trained all the same; the traceback that is kept. CPU,
15 s.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli import main
from ablate.records import results

TASK = '''\
import sys
import torch
import ablate

@ablate.task(metrics=["accuracy"], main="accuracy", real_inputs=True, knobs=[ablate.Knob("at", str, "nowhere")])
class Mine(ablate.Task):
    """Mine."""

    sizes = ablate.Features(1, 2)

    def __init__(self, config, corpus, device):
        super().__init__(config, corpus, device)
        self.fail("init")

    def fail(self, at):
        if self.config.task.at == at: raise ValueError("no good")
        if self.config.task.at == f"exit {at}": sys.exit("no good")

    def made(self, generator=None):
        X = torch.randn(self.config.num_steps, 4, 1, generator=generator)
        return X, torch.zeros(X.shape[:2], dtype=torch.long)

    @property
    def held_out(self):
        self.fail("held out")
        return self.made()

    def minibatches(self, order):
        self.fail("minibatches")
        yield self.made(order)

    def updates_per_epoch(self):
        self.fail("updates")
        return 1

    def scores(self, parameters):
        self.fail("scores")
        return {"accuracy": 0.5}

    def sees_future(self, parameters):
        self.fail("future")
'''
RAISES = 1 + TASK.splitlines().index(next(line for line in TASK.splitlines() if "raise ValueError" in line))

CELL = '''\
import ablate, torch

@ablate.cell
def mine(x, h, *, W, gate, candidate, sharp: int = 1):
    """Mine."""
    Z = gate.update(x.update + h @ W.update)
    if sharp > 1: raise KeyError("no good")
    if sharp < 0 and type(h) is torch.Tensor: raise KeyError("no good")
    return Z * h + (1 - Z) * candidate(x.candidate + h @ W.candidate)
'''
RULES = '''\
import ablate

@ablate.optimizer(lr=0.1)
def mine(parameters, gradients, *, lr, sharp=1):
    """Mine."""
    if sharp > 1: raise RuntimeError("no good")
    parameters.sub_(lr * gradients)

@ablate.schedule
def late(step, total, *, sharp=1):
    """Mine."""
    if sharp > 1 and step: raise RuntimeError("no good")
    return 1.0
'''
VIEWS = """\
import ablate

@ablate.metric("mine", better="lower", shown=True)
def mine(record):
    raise LookupError("no good")

@ablate.figure("Mine.")
def drawn(settings):
    raise LookupError("no good")
"""
EXPERIMENT = """\
def train(lr=0.1, seed=0):
    if lr > 1: raise ArithmeticError("no good")
    return {"loss": lr}
"""

Said = tuple[int, str, Path]
SMALL = ("num_hiddens=4", "num_steps=5", "batch_size=4", "epochs=2", "seeds=1")


pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.fixture
def ablated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None, text_path: Path
) -> Callable[..., Said]:
    """A command with a file of this text: its exit status, what it said, the folder of its sweep."""

    def run(text: str, *words: str, command: str = "run", report: bool = False) -> Said:
        file = tmp_path / "mine.py"
        file.write_text(text, encoding="utf-8")
        small: tuple[str, ...] = (f"plugins=[{file}]", *SMALL)
        if text is EXPERIMENT:
            small = (f"experiment={file}:train", "seeds=1")
        elif text is not TASK:
            small += ("data=text_file", f"data.path={text_path}", "max_tokens=200", "val_tokens=50")
        shown = [] if report else ["report=false"]
        status = main([command, *small, *words, f"results_dir={tmp_path}", "name=sweep", *shown])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return status, said.out + said.err, tmp_path / "sweep"

    return run


@pytest.mark.full
@pytest.mark.parametrize("at", ["init", "exit init", "updates"])
def test_where_nothing_can_be_trained_it_is_one_line(at: str, ablated: Callable[..., Said]) -> None:
    status, said, folder = ablated(TASK, "task=mine", f"task.at={at}")
    line = RAISES + at.startswith("exit")
    assert (status, len(said.splitlines())) == (2, 1)
    assert f"mine.py:{line}: {'SystemExit' if at.startswith('exit') else 'ValueError'}: no good" in said
    assert not folder.exists()


@pytest.mark.full
@pytest.mark.parametrize("at", ["init", "exit init", "updates", "held out", "minibatches", "scores", "future"])
def test_a_setting_of_ones_own_task_that_fails_is_left_out(at: str, ablated: Callable[..., Said]) -> None:
    status, said, folder = ablated(TASK, "task=mine", f"task.at=nowhere,{at}")
    place = f"mine.py:{RAISES + at.startswith('exit')}: "
    assert status == 1
    assert place in said
    assert [one["config"]["task"]["at"] for one in results.records(folder) if isinstance(one, dict)] == ["nowhere"]
    [failure] = [json.loads(path.read_text()) for path in (folder / "failures").iterdir()]
    assert failure["error"].startswith(place)
    assert f'mine.py", line {RAISES}' in failure["traceback"] or at.startswith("exit")


@pytest.mark.full
def test_a_plan_says_which_settings_cannot_be_run(ablated: Callable[..., Said]) -> None:
    status, said, _ = ablated(TASK, "task=mine", "task.at=nowhere,init,held out", command="plan")
    assert status == 0
    assert said.count(f"mine.py:{RAISES}: ValueError: no good") == 2
    assert "task.at=init" in said


@pytest.mark.full
@pytest.mark.parametrize(
    ("text", "words", "place", "status", "trained"),
    [
        (CELL, ["model=mine", "model.sharp=2"], "mine.py:7", 2, 0),  # evaluated before anything is trained
        (CELL, ["model=mine", "model.sharp=1,2"], "mine.py:7", 2, 0),
        (CELL, ["model=mine", "model.sharp=1,-1"], "mine.py:8", 1, 1),  # as an engine is chosen
        (RULES, ["optimizer=mine", "optimizer.sharp=1,2"], "mine.py:6", 1, 1),
        (RULES, ["schedule=late", "schedule.sharp=2"], "mine.py:12", 1, 0),
        (RULES, ["schedule=late", "schedule.sharp=1,2"], "mine.py:12", 1, 1),
        (EXPERIMENT, ["lr=2"], "mine.py:2", 1, 0),
        (EXPERIMENT, ["lr=0.5,2"], "mine.py:2", 1, 1),
    ],
)
def test_so_it_is_with_whatever_else_is_ones_own(
    text: str, words: list[str], place: str, status: int, trained: int, ablated: Callable[..., Said]
) -> None:
    found, said, folder = ablated(text, *words)
    assert found == status
    assert place in said
    assert "no good" in said
    assert (len([*results.records(folder)]) if folder.exists() else 0) == trained


@pytest.mark.full
def test_a_metric_or_a_figure_costs_no_run(ablated: Callable[..., Said]) -> None:
    status, said, folder = ablated(VIEWS, report=True)
    assert status == 0
    assert "mine.py:5" in said
    assert len([*results.records(folder)]) == 1


@pytest.mark.full
def test_a_trial_of_a_search_fails_with_the_line(ablated: Callable[..., Said]) -> None:
    status, said, folder = ablated(EXPERIMENT, "lr=choice(2.0,3.0)", "n_trials=2", command="search")
    assert status == 1
    assert "mine.py:2: ArithmeticError: no good" in said
    assert list((folder / "failures").iterdir())
