"""The presets in sweeps/: each composes to the settings that it means, and the published rows are among them.

Compares the files with the table below and with results/published; no run is trained, no book needed. CPU, 15 s.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.cli.composition import with_configs
from ablate.config.choice_files import opening_comment, question
from ablate.config.composing import Composer, fallback_data, to_config
from ablate.config.registry import TASKS
from ablate.config.schema import CONFIG_ROOT, Config, DataConfig
from ablate.data.corpora import Corpus, load
from ablate.data.labelled import labelled
from ablate.sweeping import hydra_jobs
from ablate.sweeping import texts as sweep_texts
from ablate.sweeping.naming import Asked
from ablate.sweeping.plan import Plan, make_plan

CELLS = {
    "activation": 2,
    "bidirectional": 2,
    "budget_batch_size": 5,
    "budget_num_steps": 6,
    "chrono": 10,
    "clipping": 6,
    "clipping_64_units": 6,
    "fig27_28_128_units": 2,
    "fig27_28_256_units": 2,
    "fig27_28_perplexity_over_epochs": 2,
    "fill_in": 6,
    "forget_bias": 12,
    "gates": 7,
    "grid": 6,
    "init": 12,
    "lr_retuned": 20,
    "lstm_odyssey": 9,
    "max_tokens": 8,
    "memory_tasks": 57,
    "minimal_gates": 6,
    "mnist1d": 4,
    "seq2seq": 11,
    "smoke": 4,
    "state_tracking": 20,
    "table09_sampling": 3,
    "table10_implementation": 3,
    "table12_rnn_num_hiddens": 6,
    "table13_rnn_num_steps": 6,
    "table14_rnn_batch_size": 5,
    "table15_rnn_lr": 5,
    "table16_lstm_num_hiddens": 6,
    "table17_gru_num_hiddens": 6,
    "table18_19_model_by_num_hiddens": 18,
    "table20_follow_up": 29,
    "table20_lstm_layers": 5,
    "translation": 2,
    "vocabulary": 4,
}
"""Preset → how many settings it has, with what is typed beside it."""

TYPED = {"lr_retuned": ["model=rnn"]}
"""A third of its 60 settings: Hydra takes a tenth of a second for each."""

PUBLISHED = sorted((CONFIG_ROOT / "results" / "published").glob("table*.csv"))

Planned = Callable[..., Plan]


@pytest.fixture(scope="session")
def texts() -> dict[tuple[str, str], Corpus]:
    """Python's own documentation in every kind of token, read once."""
    return {
        (tokens, cleaning): load(replace(fallback_data(), tokens=tokens, cleaning=cleaning))
        for tokens in ("char", "word")
        for cleaning in ("letters", "keep")
    }


@pytest.fixture(scope="session")
def plans() -> dict[tuple[str, ...], Plan]:
    """Those made so far: Hydra takes its time."""
    return {}


@pytest.fixture
def planned(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    texts: dict[tuple[str, str], Corpus],
    plans: dict[tuple[str, ...], Plan],
    hydra_restore_singletons: None,
) -> Iterator[Planned]:
    """The plan of a command line, on Python's own documentation."""

    def on_docs(data: DataConfig, fallback: DataConfig, stored: str | None = None) -> tuple[DataConfig, str]:
        if any(data.name in TASKS[task].data for task in ("memory", "state_tracking", "classification")):
            return data, ""
        name = "number_pairs" if data.name in TASKS["translation"].data else fallback.name
        return replace(fallback, name=name, tokens=data.tokens, cleaning=data.cleaning), ""

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ablate"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sweep_texts, "resolve_auto", on_docs)
    arrays = {"x": np.zeros((100, 40, 1)), "y": np.arange(100) % 10}
    curves = labelled("made-up", {key + part: value for key, value in arrays.items() for part in ("", "_test")})
    read = lru_cache(
        lambda name: (
            curves
            if name in TASKS["classification"].data
            else load(replace(fallback_data(), name=name, tokens="word", cleaning="keep"))
        )
    )
    is_text = {fallback_data().name}
    monkeypatch.setattr(
        sweep_texts,
        "load",
        lambda data, tokens: texts[data.tokens, data.cleaning] if data.name in is_text else read(data.name),
    )

    def plan(*arguments: str) -> Plan:
        configs: list[Config] = []

        def collect(batch: Sequence[Config], asked: Asked) -> None:
            configs.extend(batch)

        if arguments not in plans:
            with_configs(arguments, collect)
            plans[arguments] = make_plan(configs, tmp_path / "results" / "made-up", fallback_data())
        return plans[arguments]

    return plan


def test_the_table_of_this_test_is_complete() -> None:
    presets = {path.stem for path in (CONFIG_ROOT / "sweeps").glob("*.yaml")}
    assert {preset for preset in presets if not preset.startswith("search_")} == CELLS.keys()


@pytest.mark.parametrize("preset", CELLS)
def test_a_preset_opens_with_its_question_and_its_command(preset: str) -> None:
    path = CONFIG_ROOT / "sweeps" / f"{preset}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1] == f"# {opening_comment(path)}"
    asked, command = lines[1].removeprefix("# ").split("   ")
    assert asked.endswith("?")
    assert question(preset) == asked
    assert command == f"python -m ablate sweeps={preset}"


EVERY_PRESET = pytest.mark.parametrize(
    "preset",
    [name if name == "smoke" else pytest.param(name, marks=pytest.mark.full) for name in CELLS],
)


@pytest.mark.full
@EVERY_PRESET
def test_its_configs_are_those_that_hydra_composes_by_itself(
    preset: str, monkeypatch: pytest.MonkeyPatch, hydra_restore_singletons: None
) -> None:
    """The first and the last: most of their knobs are set in a copy of what Hydra composes of the choices of groups."""
    made: list[tuple[Composer, list[str]]] = []

    class Kept(Composer):
        def config(self, words: Sequence[str]) -> Config:
            made.append((self, list(words)))
            return super().config(words)

    compared = []

    def compare(configs: Sequence[Config], asked: Asked) -> None:
        for at in (0, -1):
            composer, words = made[at]
            compared.append(configs[at])
            assert repr(configs[at]) == repr(to_config(composer.load(words)))

    monkeypatch.setattr(hydra_jobs, "Composer", Kept)
    with_configs([f"sweeps={preset}", "lr=0.125", *TYPED.get(preset, [])], compare)
    assert len(compared) == 2


@pytest.mark.full
@EVERY_PRESET
def test_a_preset_has_the_settings_that_it_means(preset: str, planned: Planned) -> None:
    plan = planned(f"sweeps={preset}", *TYPED.get(preset, []))
    assert len(plan.settings) == CELLS[preset]
    assert [setting.error for setting in plan.settings] == [None] * len(plan.settings)
    assert plan.warnings == []
    protocol = {
        (setting.config.data.name, setting.config.optimizer.name, setting.config.val_tokens)
        for setting in plan.settings
    }
    task = plan.settings[0].config.task.name
    usual = {
        "translation": {("number_pairs", "adam", 0)},
        "classification": {("mnist1d", "adam", 0)},
        **{task: {(name, "adam", 0) for name in TASKS[task].data} for task in ("memory", "state_tracking")},
    }
    expected = usual.get(task, {("python_docs", "sgd", 10_000)})
    assert protocol <= expected if task == "memory" else protocol == expected  # a preset may ask one of its questions


@pytest.mark.full
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_published_rows_are_among_the_settings(path: Path, planned: Planned) -> None:
    """All of the published protocol, and as many repeats; the text is the default one, The Time Machine."""
    settings = [setting.config for setting in planned(f"sweeps={path.stem}").settings]
    published = rows(path)
    assert published
    for row in published:
        [setting] = [setting for setting in settings if agrees(setting, row)]
        assert setting.seeds == int(row["repeats"])
        assert setting.speed
        assert (setting.max_tokens, setting.clip, setting.model.activation, setting.data.tokens) == (
            10_000,
            1.0,
            "tanh",
            "char",
        )


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def agrees(setting: Config, row: dict[str, str]) -> bool:
    numbers = ("num_hiddens", "layers", "num_steps", "batch_size", "lr", "epochs")
    return (setting.model.name, setting.formulation, setting.sampling) == (
        row["model"],
        row["formulation"],
        row["sampling"],
    ) and all(getattr(setting, name) == float(row[name]) for name in numbers)


@pytest.mark.full
@pytest.mark.parametrize(
    ("source", "preset"), [("gate study", "gates"), ("figure28", "fig27_28_perplexity_over_epochs")]
)
def test_the_published_single_runs_are_among_the_settings(source: str, preset: str, planned: Planned) -> None:
    path = CONFIG_ROOT / "results" / "published" / "single_runs.csv"
    published = [row for row in rows(path) if row["source"] == source]
    assert published
    settings = [setting.config for setting in planned(f"sweeps={preset}").settings]
    for row in published:
        assert [setting for setting in settings if agrees(setting, row)], row


def values(plan: Plan, *names: str) -> set[tuple[Any, ...]]:
    return {tuple(getattr(setting.config, name) for name in names) for setting in plan.settings}


@pytest.mark.full
def test_the_command_line_replaces_fixed_and_swept_values(planned: Planned) -> None:
    plan = planned("sweeps=table12_rnn_num_hiddens", "num_hiddens=32,64", "seeds=5", "epochs=100")
    assert values(plan, "num_hiddens", "seeds", "epochs", "speed") == {(32, 5, 100, True), (64, 5, 100, True)}
    plan = planned("-m", "sweeps=table20_lstm_layers", "num_hiddens=16,48", "layers=2")
    assert values(plan, "num_hiddens", "layers") == {(16, 2), (48, 2)}


@pytest.mark.full
def test_the_command_line_replaces_a_knob_in_every_block(planned: Planned) -> None:
    plan = planned("sweeps=gates", "model=gru")
    assert [(setting.config.model.name, setting.config.formulation) for setting in plan.settings] == [
        ("gru", "textbook"),
        ("gru", "torch"),
    ]
    plan = planned("sweeps=grid", "batch_size=16")
    assert values(plan, "batch_size", "num_steps", "num_hiddens", "lr", "epochs") == {
        (16, 35, 256, 1.0, 500),
        (16, 64, 256, 1.0, 500),
        (16, 35, 512, 1.0, 500),
        (16, 35, 256, 0.5, 500),
        (16, 35, 256, 1.0, 200),
    }
    assert len(planned("sweeps=fig27_28_perplexity_over_epochs", "epochs=3").settings) == 2


@pytest.mark.full
@pytest.mark.parametrize("preset", ["budget_batch_size", "budget_num_steps", "max_tokens"])
def test_a_budget_gives_every_setting_as_many_updates(preset: str, planned: Planned) -> None:
    for setting in planned(f"sweeps={preset}").settings:
        updates = setting.config.epochs * setting.extent.updates_per_epoch
        assert updates == pytest.approx(4000, rel=0.03)
