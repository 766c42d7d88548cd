"""A config composed from what its groups choose, with the knobs set in a copy, against the whole that Hydra composes.

Both take the same words, so that every config, and every message of what is wrong, has to be the same.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from ablate.config.choice_files import SEARCHED
from ablate.config.composing import BASE, Composer, compose, hydra_as_before, register_schema, to_config
from ablate.config.knobs import knobs
from ablate.config.registry import CELLS, DATASETS, OPTIMIZERS, SCHEDULES, TASKS
from ablate.config.schema import CONFIG_ROOT, Config

MODELS = sorted({path.stem for path in (CONFIG_ROOT / "conf/model").glob("*.yaml")} | set(CELLS.names))
CHOICES = {
    "model": MODELS,
    "optimizer": OPTIMIZERS.names,
    "schedule": SCHEDULES.names,
    "data": DATASETS.names,
    "task": TASKS.names,
}
VALUES = (
    "0", "1", "2", "0.5", "1e-3", "-1", "1e400", "nan", "null", "true", "no", "abc", "'1'", '"true"', "''", "???",
    "[]", "[1,2]", "[0.9,0.95]", "[a,b]", "{}", "{a:1}", "{reset:0.5}", "a b", "1_000", "${lr}", "${optimizer.lr}",
    "${num_hiddens}", "${nothing}", "${oc.env:HOME,x}", "\\${lr}", "1,2", "range(1,3)", "char", "word", "params", "é",
)  # fmt: skip
"""What a knob may be given, of the right kind or the wrong one."""
KEYS = ("model.gates.reset", "model.gates.none", "model", "data", "hydra.job.num", "optimizer.nothing", "nothing")


@pytest.fixture(scope="module")
def whole() -> Any:
    """Overrides as Hydra composes them, each time anew."""
    with hydra_as_before(), initialize_config_dir(str(CONFIG_ROOT / "conf"), **BASE):
        register_schema()
        loader = GlobalHydra.instance().config_loader()
        yield lambda words: loader.load_configuration("config", list(words), RunMode.RUN)


def outcome(make: Callable[[], Config]) -> Any:
    """The config, or the kind and the message of the error in its place and of what caused it."""
    try:
        return make()
    except Exception as error:
        return type(error), str(error), repr(error.__cause__)


def alike(composer: Composer, words: Sequence[str]) -> Any:
    """What both make of these words."""
    expected = outcome(lambda: to_config(composer.load(words)))
    for _ in range(2):  # with a base that is composed now, and with one that is there
        assert repr(outcome(lambda: composer.config(words))) == repr(expected), words
    return expected


@pytest.mark.full
@pytest.mark.parametrize(
    "words",
    [
        ["lr=0.25", "num_hiddens=8", "clip=null", "title='a, b'", "prefixes=[]", "plugins=['a.py']"],
        ["model=lstm-peepholes", "++model.gates.forget=0.5", "optimizer=adam", "optimizer.betas=[0.8,0.9]"],
        ["lr=${num_hiddens}", "num_hiddens=3"],
        ["lr=1", "lr=2", "lr=1", "optimizer.lr=3"],
        ["lr=abc"],
        *(
            pytest.param(words, marks=pytest.mark.full)
            for words in (
                [],
                ["optimizer.lr=0.5", "lr=0.25", "lr=0.125"],
                ["model=gru-no-reset", "model.gates={update:1}"],
                ["data=text_file", "data.path='/no/such, file'", "data.urls=[a,b]"],
                ["task=memory", "data=copy", "task.nothing=1"],
                ["num_hiddens=1.5"],
                ["num_hiddens=null"],
                ["optimizer=nothing", "lr=1"],
                ["lr=???"],
                ["lr=[1]"],
                ["lr=1,2"],
                ["model.gates.reset=0.5"],
                ["+lr=1"],
                ["~lr"],
                ["layers=(", "lr=1"],
                ["prefixes.0=a"],
                ["lr.x=1"],
            )
        ),
    ],
)
def test_it_is_what_hydra_composes(whole: Any, words: list[str]) -> None:
    alike(Composer(whole), words)


@pytest.mark.slow  # half a minute; the words above are always tried
def test_it_is_what_hydra_composes_of_any_words(whole: Any) -> None:
    """Of 60 random lists of words, some with mistakes, which one composer is asked for."""
    source, composer = random.Random(5), Composer(whole)
    names = [name for name in knobs() if name not in CHOICES and name != "sweeps"]
    fine = 0
    for _ in range(60):
        groups = [f"{group}={source.choice(names)}" for group, names in CHOICES.items() if source.random() < 0.15]
        keys = source.choices((*names, *KEYS) if source.random() < 0.3 else names, k=source.choice((0, 1, 1, 2, 3)))
        words = [f"{source.choice(('', '', '', '', '+', '++', '~'))}{key}={source.choice(VALUES)}" for key in keys]
        mixed = groups + words
        source.shuffle(mixed)
        fine += isinstance(alike(composer, mixed), Config)
    assert fine > 5


def test_what_groups_choose_is_composed_once(whole: Any) -> None:
    asked: list[list[str]] = []

    def load(words: Sequence[str]) -> Any:
        asked.append(list(words))
        return whole(words)

    composer = Composer(load)
    made = [composer.config([f"lr={lr}", "model=gru", f"seed={seed}"]) for lr in (0.5, 1.0) for seed in range(3)]
    assert [(config.lr, config.seed, config.model.cell) for config in made] == [
        (lr, seed, "gru") for lr in (0.5, 1.0) for seed in range(3)
    ]
    assert asked == [["model=gru"]]


def test_configs_share_nothing(whole: Any) -> None:
    composer = Composer(whole)
    one, other = composer.config(["lr=1"]), composer.config(["lr=1"])
    one.prefixes.append("more")
    one.model.gates["reset"] = 1.0
    one.data.urls.append("more")
    assert other.prefixes == composer.config(["lr=1"]).prefixes
    assert (other.model.gates, other.data.urls) == ({}, composer.config([]).data.urls)


def test_a_file_that_is_changed_is_read_again(tmp_path: Path) -> None:
    """Where a person's folders are searched."""
    (tmp_path / "model").mkdir()
    searched = SEARCHED.set((tmp_path,))
    try:
        for readout in ("state", "candidate"):
            (tmp_path / "model" / "mine.yaml").write_text(f"defaults: [rnn, _self_]\nname: mine\nreadout: {readout}\n")
            assert compose(["model=mine"]).model.readout == readout
    finally:
        SEARCHED.reset(searched)


def test_words_are_those_that_are_typed() -> None:
    """`compose` takes what is typed: texts without quotes, gates without a sign."""
    config = compose(["title=a, b", "model=gru", "model.gates.reset=1"])
    assert (config.title, config.model.gates) == ("a, b", {"reset": 1.0})


@pytest.mark.full
def test_what_is_composed_already_is_not_composed_again(whole: Any) -> None:
    """Values that were among the words it was composed of stand in every config, and change none of the others."""
    begun = ["model=gru", "lr=0.25", "optimizer=adam"]
    choices = ["model=gru", "optimizer=adam"]

    def load(words: Sequence[str]) -> Any:
        assert list(words) != choices
        return whole(words)

    composer = Composer(load)
    composer.begin(begun, whole(begun))
    for more in ([], ["optimizer.lr=0.5"], ["lr=0.5"], ["seed=3", "model.gates.reset=0.5"]):
        alike(composer, ["model=gru", "lr=0.25", *more, "optimizer=adam"])
    alike(composer, ["model=rnn", "lr=0.25"])
