"""Things of a user's own from Python: files that `plugins=` names, and what a notebook defines, whose code counts.

Trains networks of two hidden units for milliseconds. CPU, 5 s.
"""

import functools
import linecache
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ablate
from ablate.config import registry
from ablate.config.code_hash import code_hash
from ablate.config.composing import compose
from ablate.config.errors import ConfigError
from ablate.config.metrics import METRICS
from ablate.config.plugins import LOADED, forget, source_hash
from ablate.config.registry import CELLS, OPTIMIZERS, SCHEDULES, TASKS
from ablate.config.schema import CONFIG_ROOT
from ablate.training.behaviour import behaviour

EXAMPLE = CONFIG_ROOT / "docs" / "examples" / "cell.py"

Train = Callable[..., "ablate.Sweep"]


@pytest.fixture(autouse=True)
def own_things() -> Iterator[None]:
    """What a test registers is taken away again."""
    before = set(LOADED)
    with registry.scoped():
        yield
        for path in set(LOADED) - before:
            forget(path)


@pytest.fixture
def train(tmp_path: Path, text_path: Path) -> Train:
    small = {"num_hiddens": 2, "num_steps": 5, "batch_size": 4, "max_tokens": 400, "val_tokens": 100, "epochs": 2}
    data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
    place = {"results_dir": tmp_path / "results", "progress": False}
    return lambda **knobs: ablate.sweep(**{"seeds": 1, "data": data, **small, **place, **knobs})


def in_a_notebook(code: str, **around: Any) -> dict[str, Any]:
    """Run code as a notebook runs a cell: in a module without a file, its lines kept for `inspect`."""
    in_a_notebook.cells += 1  # type: ignore[attr-defined]
    name = f"<cell {in_a_notebook.cells}>"  # type: ignore[attr-defined]
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": "notebook", "ablate": ablate, **around}
    exec(compile(code, name, "exec"), space)
    return space


in_a_notebook.cells = 0  # type: ignore[attr-defined]


@pytest.mark.full
@pytest.mark.parametrize(
    "given",
    [[EXAMPLE], *(pytest.param(other, marks=pytest.mark.full) for other in (EXAMPLE, [str(EXAMPLE)]))],
)
def test_a_file_of_ones_own(train: Train, given: Any) -> None:
    sweep = train(plugins=given, model=["light_gru", "gru"], keep="weights", name="own")
    assert sorted(sweep.frame()["model"]) == ["gru", "light_gru"]
    assert len(sweep.compare(by="model")) == 1
    assert source_hash("cell", "light_gru") == LOADED[EXAMPLE]
    rows = sweep.frame().set_index("model")
    rows["model"] = rows.index
    assert ablate.module(rows.loc["light_gru"]) is not None


@pytest.mark.full
def test_its_knobs_are_knobs(train: Train) -> None:
    sweep = train(plugins=[EXAMPLE], model="light_gru", **{"model.untied": [False, True]})
    assert sorted(sweep.frame()["model.untied"]) == [False, True]
    assert train(plugins=[EXAMPLE], model={"name": "light_gru", "untied": True}).frame()["model.untied"].tolist() == [
        True
    ]


@pytest.mark.full
def test_a_task_with_real_inputs_comes_back(train: Train) -> None:
    place = CONFIG_ROOT / "docs" / "examples" / "task.py"
    knobs = {"data": "pitch", "num_steps": 8, "batch_size": 32, "task.examples": 32, "max_tokens": None}
    sweep = train(plugins=place, task="pitch", model="gru", keep="weights", **knobs)
    network = ablate.module(sweep.frame().iloc[0])
    logits, _ = network(torch.zeros(8, 3, 1), network.initial_state(3))
    assert logits.shape == (24, 2)


@pytest.mark.full
def test_without_its_file_it_is_read_and_with_it_it_comes_back(train: Train) -> None:
    folder = train(plugins=[EXAMPLE], model="light_gru", keep="weights").folders[0]
    forget(EXAMPLE)
    found = ablate.load(folder)
    assert found.frame()["model"].tolist() == ["light_gru"]
    assert ablate.module(found.frame().iloc[0]) is not None


@pytest.mark.parametrize("given", ["nowhere.py", ["nowhere.py"]])
def test_a_file_that_is_not_there_is_one_line(train: Train, given: Any) -> None:
    with pytest.raises(ablate.UserError, match=r"nowhere\.py") as error:
        train(plugins=given, model="gru")
    assert "\n" not in str(error.value)


CELL = """
{before}
@ablate.cell
def mine(x, h, *, W, gate, candidate):
    \"\"\"A cell of a notebook.\"\"\"
    Z = gate.update(x.update + h @ W.update)
    return Z * h + {factor} * (1 - Z) * candidate(x.candidate + h @ W.candidate)
"""


@pytest.mark.full
def test_the_code_of_a_notebook_is_part_of_the_identity(train: Train) -> None:
    """Defined again it takes the place of the first; the same code is the same run, other code is trained anew."""
    in_a_notebook(CELL.format(before="", factor="1.0"))
    first = train(model=["mine", "gru"], name="a").frame().set_index("model")["run_id"]
    in_a_notebook(CELL.format(before="", factor="1.0"))
    same = train(model=["mine", "gru"], name="b").frame().set_index("model")["run_id"]
    in_a_notebook(CELL.format(before="", factor="0.5"))
    other = train(model=["mine", "gru"], name="c").frame().set_index("model")["run_id"]
    assert first.to_dict() == same.to_dict()
    assert other["gru"] == first["gru"]
    assert other["mine"] != first["mine"]


@pytest.mark.full
def test_what_is_recorded_of_the_code_is_that_of_the_last_definition() -> None:
    def network(factor: str) -> list[float]:
        in_a_notebook(CELL.format(before="", factor=factor))
        return behaviour(compose(["model=mine"]))["network"]

    assert network("1.0") == network("1.0") != network("0.5")


def hash_of(code: str, **around: Any) -> str | None:
    with registry.scoped():
        in_a_notebook(code, **around)
        return source_hash("cell", "mine")


def test_what_it_uses_counts_too() -> None:
    def with_helper(body: str, value: str = "1.0") -> str | None:
        before = f"LEAK = {value}\ndef twice(a):\n    return {body}\n"
        return hash_of(CELL.format(before=before, factor="LEAK * twice(1)"))

    assert with_helper("2 * a") == with_helper("2 * a")
    assert len({with_helper("2 * a"), with_helper("3 * a"), with_helper("2 * a", "0.5"), with_helper("4 * a")}) == 4


def test_where_the_source_is_not_known_the_byte_code_counts() -> None:
    def at_a_prompt(factor: str) -> str | None:
        with registry.scoped():
            code = CELL.format(before="", factor=factor)
            exec(compile(code, "<nowhere>", "exec"), {"__name__": "prompt", "ablate": ablate})
            return source_hash("cell", "mine")

    assert at_a_prompt("1.0") == at_a_prompt("1.0") != at_a_prompt("0.5")
    assert at_a_prompt("1.0") is not None


def test_rules_schedules_and_tasks_of_a_notebook() -> None:
    code = """
@ablate.optimizer(lr=1.0)
def mine(parameters, gradients, *, lr):
    parameters.sub_({factor} * lr * gradients)

@ablate.schedule
def falling(step, total):
    return {factor} * (1 - step / total)

@ablate.task(main="accuracy", metrics=["accuracy"])
class Guess(ablate.Task):
    \"\"\"A task of a notebook.\"\"\"
    size = {factor}
    def scores(self, parameters):
        return {{"accuracy": {factor}}}
"""

    def hashes(factor: str) -> list[str]:
        in_a_notebook(code.format(factor=factor))
        return [OPTIMIZERS.origin["mine"], SCHEDULES.origin["falling"], TASKS.origin["guess"]]

    first, again, other = hashes("0.5"), hashes("0.5"), hashes("0.25")
    assert first == again
    assert not set(first) & set(other)


def test_nothing_of_ours_has_such_a_hash_and_none_of_its_names_can_be_taken() -> None:
    for one in registry.Registry.every:
        assert {thing.name: code_hash(thing) for thing in one if code_hash(thing)} == {}
    with pytest.raises(ConfigError, match="gru"):
        in_a_notebook(CELL.format(before="", factor="1.0").replace("mine", "gru"))
    assert CELLS["gru"].equations.__module__.startswith("ablate.cells.")


@pytest.mark.parametrize(
    "decorator",
    [
        ablate.cell,
        ablate.optimizer(lr=0.1),
        ablate.schedule,
        ablate.metric("own", better="lower"),
        ablate.experiment,
        ablate.figure,
    ],
    ids=["cell", "optimizer", "schedule", "metric", "experiment", "figure"],
)
def test_what_is_only_called_like_a_function_is_refused(
    decorator: Callable[[Any], Any], request: pytest.FixtureRequest
) -> None:
    """It has no source of its own, whose change would train its runs again."""
    name = request.node.callspec.id
    for given in (functools.partial(max, 1), 3):
        with pytest.raises(ConfigError, match=rf"@ablate\.{name} is for functions, and .* is none; write one with def"):
            decorator(given)


def test_a_function_that_others_wrap_is_one() -> None:
    @ablate.metric("own", better="lower")
    @functools.cache
    def own(record: Any) -> float:
        return 1.0

    assert "own" in METRICS
