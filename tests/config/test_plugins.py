"""Files of a user's own, from the command line to the identity of a run: chosen as what we ship is. CPU, 5 s."""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException

from ablate.cli.help import explain
from ablate.config import plugins
from ablate.config.columns import columns, columns_in, own_values
from ablate.config.composing import compose, compose_all, from_dict
from ablate.config.dependence import independent
from ablate.config.errors import ConfigError, UserError
from ablate.config.identity import cohort_key, run_id, run_identity, without_effect
from ablate.config.knobs import knobs
from ablate.config.registry import CELLS, OPTIMIZERS, TASKS, snapshot
from ablate.config.resolved import resolve
from ablate.config.schema import to_dict
from ablate.config.validation import validate

CORPUS = "0" * 64

MINE = '''\
"""A cell, an optimizer, a task with its data."""
from ablate.cells.cell import cell
from ablate.config.registry import DATASETS, OPTIMIZERS, TASKS, Knob
from ablate.data.sets import DataSet
from ablate.optimizers.optimizer import Optimizer
from ablate.tasks.facts import TaskFacts


def rule(parameters, gradients, *, lr, beta, weight_decay):
    parameters.sub_(lr * gradients.sign())


@cell(
    source="ours",
    knobs=(
        Knob("alpha", float, 0.5, "share of the old state that is kept", minimum=0, below=1),
        Knob("shape", str, "round", "of the unit", choices=("round", "square")),
        Knob("coupled", int, 2, "of the same name as a knob of the lstm's, of another type"),
    ),
)
def leaky(x, h, *, W, gate, alpha=0.5, shape="round", coupled=2):
    """A leaky network."""
    leak = gate.leak(x.leak + h @ W.leak) if shape == "round" else 1 / coupled
    return alpha * h + leak * x.new


OPTIMIZERS.add(
    Optimizer(
        "signed",
        rule,
        0.003,
        knobs=(
            Knob("beta", float, 0.9, "share of the mean that is kept", minimum=0, below=1),
            Knob("weight_decay", float, 0.0, "as everywhere", minimum=0, per_replica=True),
        ),
        summary="The sign of the gradient",
    )
)
TASKS.add(TaskFacts("parity", "Whether a sequence has an odd number of ones", "nowhere:Parity", knobs=(
    Knob("ones", float, 0.5, "share of ones", above=0, below=1),
)))
DATASETS.add(DataSet("bits", ("parity",), "zeros and ones"))
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file in the working directory; afterwards nothing of it is left."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    restore, loaded = snapshot(), dict(plugins.LOADED)
    yield path
    restore()
    plugins.LOADED.clear()
    plugins.LOADED.update(loaded)


def overrides(*words: str) -> list[str]:
    return ["plugins=[mine.py]", *words]


def test_what_a_file_brings_is_chosen_by_its_name(mine: Path) -> None:
    config = compose(overrides("model=leaky", "model.alpha=0.3", "optimizer=signed", "task=parity"))
    assert (config.model.name, config.model.cell, config.model.alpha, config.model.shape) == (
        *("leaky", "leaky", 0.3, "round"),
    )
    assert (config.optimizer.beta, config.lr) == (0.9, 0.003)
    assert (config.task.ones, config.data.name, config.data.tokens) == (0.5, "bits", "word")
    assert config.plugins == ["mine.py"]


def test_its_knobs_are_swept(mine: Path) -> None:
    found = compose_all(overrides("model=leaky", "model.alpha=0.1,0.3", "+model.gates.leak=1"))
    assert [one.model.alpha for one in found] == [0.1, 0.3]
    assert len({run_id(resolve(one), CORPUS) for one in found}) == 2


@pytest.mark.full
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model=leaky", "model.alpha=1.5"], "model.alpha is 1.5; it must be below 1"),
        (["model=leaky", "model.alpha=wide"], "model.alpha"),
        (["model=leaky", "model.shape=sqare"], "did you mean square?"),
        (["model=leaky", "model.coupled=true"], "model.coupled"),
        (["model=lstm", "model.coupled=maybe"], "model.coupled is 'maybe'; it must be true or false"),
        (["model=gru", "model.alpha=0.1"], "a gru has no such thing; it is for model.cell=leaky"),
        (["model=leaky", "+model.gates.forget=1"], "its gates are leak"),
        (["model=leaki"], "did you mean leaky"),
        (["model=leaky", "model.alpa=1"], "did you mean model.alpha?"),
        (["optimizer=signd"], "did you mean signed"),
        (["optimizer=signed", "optimizer.beta=1"], "optimizer.beta is 1.0; it must be below 1"),
        (["task=parity", "data=copy"], "choose data=bits, or task=memory"),
        (["task=parity", "task.ones=0"], "task.ones is 0.0; it must be above 0"),
    ],
)
def test_its_knobs_are_checked_as_ours_are(mine: Path, words: list[str], says: str) -> None:
    with pytest.raises((UserError, HydraException)) as caught:
        compose(overrides(*words))
    line = explain(caught.value)
    assert line is not None
    assert says in line
    assert len(line.splitlines()) == 1


def test_help_tells_of_it(main: Any, mine: Path) -> None:
    told = main("run", "--help", "plugins=[mine.py]").out
    for line in ("leaky", "A leaky network (ours)", "model.alpha=0.5", "optimizer.beta=0.9", "task.ones=0.5", "bits"):
        assert line in told, line


@pytest.mark.full
def test_its_source_is_part_of_the_identity_of_what_uses_it_alone(mine: Path) -> None:
    plain, words = run_id(resolve(compose(["model=gru"])), CORPUS), ["model=leaky", "optimizer=signed"]
    before = run_identity(resolve(compose(overrides(*words))), CORPUS)
    assert before["model"]["source"] == before["optimizer"]["source"] == plugins.source_hash("cell", "leaky")
    assert run_id(resolve(compose(overrides("model=gru"))), CORPUS) == plain
    mine.write_text(MINE.replace("0.003", "0.004"))
    after = resolve(compose(overrides(*words)))
    assert after.lr == 0.004, "a file that has changed is loaded again"
    assert run_identity(after, CORPUS)["model"]["source"] != before["model"]["source"]
    assert run_id(resolve(compose(overrides("model=gru"))), CORPUS) == plain


def test_a_run_of_its_own_knobs_survives_storing(mine: Path) -> None:
    config = resolve(compose(overrides("model=leaky", "model.alpha=0.3", "optimizer=signed", "task=parity")))
    stored = json.loads(json.dumps(to_dict(config)))
    assert stored["model"]["alpha"] == 0.3
    assert "own" not in stored["model"]
    assert run_id(from_dict(stored), CORPUS) == run_id(config, CORPUS)
    del stored["model"]["shape"]
    assert from_dict(stored).model.shape == "round"


def test_runs_that_differ_in_a_knob_of_each_replica_train_together(mine: Path) -> None:
    found = compose_all(overrides("optimizer=signed", "optimizer.weight_decay=0,0.1,0.2"))
    one, other, third = map(resolve, found)
    assert cohort_key(one, CORPUS) == cohort_key(other, CORPUS) == cohort_key(third, CORPUS)
    assert run_id(one, CORPUS) != run_id(other, CORPUS)


def test_its_columns_keep_the_name_that_is_typed(mine: Path) -> None:
    config = to_dict(compose(overrides("model=leaky", "optimizer=signed")))
    assert {"model.alpha", "model.shape", "optimizer.beta", "task.ones"} <= set(columns())
    assert own_values("model", config["model"])["model.alpha"] == 0.5
    assert own_values("optimizer", config["optimizer"])["weight_decay"] == 0.0
    plugins.forget(mine)
    unknown = own_values("model", config["model"])
    assert "model.alpha" not in columns()
    assert unknown["model.alpha"] == 0.5, "what is stored can be shown without the file"
    assert columns_in(["lr", "model.alpha", "engine"]) == ["lr", "model.alpha"]


def test_its_knobs_follow_from_the_choice_of_it(mine: Path) -> None:
    plugins.load(["mine.py"])
    rows = {"model": ["gru", "leaky"], "model.alpha": [None, 0.5], "lr": [1.0, 0.5]}
    assert independent(rows) == ["model", "lr"]


def test_a_knob_that_another_would_read_is_told(mine: Path) -> None:
    config = compose(overrides("optimizer=sgd", "optimizer.beta=0.5"))
    assert "only signed would read it" in without_effect([config], ["optimizer.beta"])["optimizer.beta"]


def test_loading_again_changes_nothing(mine: Path) -> None:
    plugins.load(["mine.py"])
    first = CELLS["leaky"]
    plugins.load(["mine.py", str(mine), "./mine.py"])
    assert CELLS["leaky"] is first


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\ny = undefined\n", "bad.py, line 2: NameError: name 'undefined' is not defined"),
        ("x = 1\n\ndef (\n", "bad.py, line 3: SyntaxError"),
        ("import no_such_module_at_all\n", "bad.py, line 1: ModuleNotFoundError"),
        ("import sys\n\n\nsys.exit(3)\n", "bad.py, line 4: SystemExit: 3"),
        (
            "import ablate\n\n@ablate.optimizer(lr=-1)\ndef rule(parameters, gradients, *, lr): ...\n",
            "bad.py, line 3: rule has lr=-1",  # the place once
        ),
        (
            "from ablate.cells.cell import cell\n\n@cell(name='gru')\ndef f(x, h, *, W):\n    return x.a + h @ W.a\n",
            "bad.py, line 3: there is a cell 'gru' already; give yours another name",
        ),
        (
            "from ablate.cells.cell import cell\n@cell\ndef good(x, h, *, W):\n    return x.a + h @ W.a\n"
            "@cell\ndef worse(x, h, *, W, gates=1):\n    return x.a + gates * h @ W.a\n",
            "bad.py, line 5: cell worse: its knob cannot be called 'gates'",
        ),
        (
            "from ablate.cells.cell import cell\n\n@cell(name='a=b')\ndef f(x, h, *, W):\n    return x.a + h @ W.a\n",
            "bad.py, line 3: 'a=b' is no name for a cell",
        ),
    ],
)
def test_a_file_that_fails_is_one_line_and_leaves_nothing(main: Any, mine: Path, source: str, says: str) -> None:
    mine.with_name("bad.py").write_text(source)
    before = CELLS.names
    done = main("plugins=[bad.py]", "model=gru")
    assert done.status == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert CELLS.names == before


def test_a_file_that_is_not_there(main: Any, mine: Path) -> None:
    done = main("plugins=[mien.py]", "model=gru")
    assert done.status == 2
    assert "plugins names mien.py: there is no such file or folder" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_folder_is_answered_with_what_to_give(main: Any, mine: Path) -> None:
    (mine.parent / "cells.py").mkdir()
    (mine.parent / "cells.py" / "own.py").write_text("")
    for word in ("plugins=[cells.py]", "experiment=cells.py:train"):
        done = main(word)
        assert done.status == 2
        assert "but cells.py is a folder; give a file of it, such as cells.py/own.py" in done.err
        assert len(done.err.splitlines()) == 1


def test_nothing_is_loaded_that_nobody_names(main: Any, mine: Path) -> None:
    (mine.parent / "ablate_plugins").mkdir()
    mine.rename(mine.parent / "ablate_plugins" / "mine.py")
    done = main("model=leaky")
    assert done.status == 2
    assert "leaky" not in CELLS


@pytest.mark.full
def test_a_preset_may_name_its_files(main: Any, mine: Path) -> None:
    (mine.parent / "sweeps").mkdir()
    (mine.parent / "sweeps" / "own.yaml").write_text(
        "# Does the leak matter?\nplugins: [mine.py]\nhydra: {sweeper: {params: {model.alpha: '0.1,0.3'}}}\n"
    )
    done = main("sweeps=own", "model=leaky", "model.shape=oval")
    assert done.status == 2
    assert "model.shape is 'oval'; choose round or square" in done.err


def test_an_installed_package_brings_its_things(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(mine.parent))
    entry = EntryPoint("mine", "mine", plugins.ENTRY_POINTS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == plugins.ENTRY_POINTS else [])
    try:
        plugins.load_installed()
    finally:
        sys.modules.pop("mine", None)
    assert compose(["model=leaky"]).model.source == plugins.source_hash("cell", "leaky") is not None


def test_an_installed_package_that_fails_is_named(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("broken", "no_such_module_at_all", plugins.ENTRY_POINTS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    with pytest.raises(UserError, match=r"the plugin broken fails: ModuleNotFoundError.*uninstall"):
        plugins.load_installed()


def test_a_stored_sweep_is_read_with_its_files_or_without(mine: Path) -> None:
    plugins.load(["mine.py"])
    stored = plugins.hashes(["mine.py"])
    assert plugins.load_again(stored) == []
    mine.write_text(MINE + "\n")
    [changed] = plugins.load_again(stored)
    assert changed.startswith("mine.py has changed")
    mine.unlink()
    [missing] = plugins.load_again(stored)
    assert "mine.py" in missing


def test_a_name_is_free_again_once_a_file_has_changed(mine: Path) -> None:
    plugins.load(["mine.py"])
    mine.write_text(MINE.replace("def leaky(", "def leakier("))
    plugins.load(["mine.py"])
    assert "leaky" not in CELLS
    assert "leakier" in CELLS


def test_two_files_cannot_have_one_name(mine: Path) -> None:
    mine.with_name("other.py").write_text(MINE)
    with pytest.raises(ConfigError, match=r"there is a cell 'leaky' already") as caught:
        CELLS.add(type("Thing", (), {"name": "leaky"})()) if not plugins.load(["mine.py"]) else None
    assert "another name" in str(caught.value)
    with pytest.raises(UserError, match=r"other.py, line \d+: there is a cell 'leaky' already"):
        plugins.load(["other.py"])


def test_the_words_of_ours_are_checked_without_files(mine: Path) -> None:
    assert "model.alpha" not in knobs()
    plugins.load(["mine.py"])
    assert knobs()["model.alpha"].owners == ("leaky",)
    assert "signed" in OPTIMIZERS
    assert TASKS["parity"].data == ("bits",)
    validate(compose(["model=leaky"]))


@pytest.mark.full
def test_a_sweep_keeps_its_files_and_is_reported_without_them(
    main: Any, mine: Path, small_arguments: list[str]
) -> None:
    done = main(*overrides("model=gru", "seeds=1", "name=kept", *small_arguments))
    assert done.status == 0, done.err
    stored = json.loads((mine.parent / "results" / "kept" / "sweep.json").read_text())
    assert stored["plugins"] == {"mine.py": plugins.LOADED[mine]}
    mine.unlink()
    done = main("report", "results/kept")
    assert done.status == 0, done.err
    assert "mine.py" in done.err


def test_the_file_given_last_has_its_names_and_a_copy_is_as_good(mine: Path) -> None:
    copy, later = mine.with_name("copy.py"), mine.with_name("later.py")
    copy.write_bytes(mine.read_bytes())
    later.write_bytes(mine.read_bytes() + b"X = 1\n")
    stored = {str(file): plugins.present(str(file)) for file in (mine, copy)}
    assert plugins.load_again(stored) == []
    plugins.forget(copy)
    plugins.load([str(later)])
    now = plugins.hashes([str(later)])
    assert plugins.still_needed(stored, now, complete=False) == now
    assert plugins.LOADED.keys() == {later}


def test_a_name_that_no_file_can_have_is_one_that_is_gone() -> None:
    [line] = plugins.load_again({"a" * 5000 + ".py": "1", "b\0.py": "2"})
    assert "b\0.py" in line


def test_files_that_are_gone_are_told_in_one_line_until_others_bring_all(mine: Path) -> None:
    stored = {"gone.py": "1", "lost.py": "2"}
    [line] = plugins.load_again(stored)
    assert "gone.py, lost.py" in line
    plugins.load([str(mine)])
    now = plugins.hashes([str(mine)])
    assert plugins.still_needed(stored, now, complete=False) == stored | now
    assert plugins.still_needed(stored, now, complete=True) == now


@pytest.mark.full
def test_a_knob_of_one_cell_beside_another_is_answered_by_what_to_write(mine: Path) -> None:
    plugins.load([str(mine)])
    with pytest.raises(ConfigError, match=r"model:model\.alpha=leaky:0\.3,gru:0\.5$"):
        validate(compose(["model=gru", "model.alpha=0.3"]))
    for pair in (["model=leaky", "model.alpha=0.3"], ["model=gru", "model.alpha=0.5"]):
        validate(compose(pair))


@pytest.mark.parametrize("where", ["mine.py", "code/mine.py"])
def test_nothing_in_the_folder_of_a_sweep_is_run(tmp_path: Path, nothing_stays: None, where: str) -> None:
    """A manifest names the files of a person's own; a folder of somebody else's results can hold such a file."""
    path = tmp_path / "results" / "theirs" / where
    path.parent.mkdir(parents=True)
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "results" / "theirs" / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"theirs.*the folder of a sweep"):
        plugins.load([str(path)])
    [line] = plugins.load_again({str(path): "0" * 64})
    assert "the folder of a sweep" in line
    assert not (tmp_path / "ran").exists()
