"""What a sweep's folder says of its question, and `updates` in the place of `epochs`. CPU, 3 s."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from ablate.config.errors import UserError
from ablate.config.identity import asked_as
from ablate.config.registry import CELLS
from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.data import batches
from ablate.data.corpora import Corpus, split
from ablate.records import results
from ablate.records.design import Designs
from ablate.records.files import write_json
from ablate.records.manifest import load_manifest
from ablate.records.places import failure_path, failures_dir, manifest_path
from ablate.records.planned import missing
from ablate.sweeping.manifest import check_same_question, write_manifest
from ablate.sweeping.plan import Plan, make_plan, make_setting
from ablate.timing.samples import protocol_within

Configs = Callable[..., Config]


# --- the manifest ---------------------------------------------------------------------------------------


@pytest.fixture
def plan(small: Configs, compose: Configs, tmp_path: Path) -> Callable[..., Plan]:
    def planned(*overrides: str) -> Plan:
        return make_plan([small(*overrides)], tmp_path / "results" / "made-up", compose("data=python_docs").data)

    return planned


def test_a_manifest_has_preset_question_and_title(plan: Callable[..., Plan]) -> None:
    made = plan("title='时间机器 [1895]'")
    write_manifest(made, "python -m ablate sweeps=gates", "gates")
    kept = load_manifest(made.folder)
    assert kept.pop("knobs")["model"] == ["rnn"]
    assert kept.pop("planned") == {setting.setting_id: "0" for setting in made.settings}
    assert kept.pop("asked_as").keys() == {setting.setting_id for setting in made.settings}
    [design] = kept.pop("design")
    assert ([seeds for seeds, _ in design["declared"]], design["settings"]) == ([1], [made.settings[0].setting_id])
    assert kept == {
        "commands": ["python -m ablate sweeps=gates"],
        "preset": "gates",
        "question": "What does each gate of a gru do, truly removed and removed as published?",
        "title": "时间机器 [1895]",
        "auto_corpus": None,
    }


@pytest.mark.parametrize("edited", ["text", "cell"])
def test_what_an_edit_replaces_is_not_asked_for_any_more(
    plan: Callable[..., Plan], tmp_path: Path, text_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    """The same words, of how many seeds ever, ask for other runs then: the old ones are not missing, nor a failure."""
    text = tmp_path / "mine.txt"
    text.write_text(text_path.read_text())
    monkeypatch.setitem(CELLS.origin, "rnn", "0" * 64)
    words = (f"data.path={text}", "seeds=3")
    write_manifest(before := plan(*words), "one")
    write_manifest(other := plan(*words, "num_hiddens=7"), "two")
    for made in (before, other):
        write_json(failure_path(made.folder, made.settings[0].setting_id), {"error": "OSError: a reason"})
    if edited == "text":
        text.write_text(text.read_text().replace("e", "a"))
    else:
        monkeypatch.setitem(CELLS.origin, "rnn", "1" * 64)
    write_manifest(after := plan(*words[:1], "seeds=2", "threads=1"), "three")
    assert after.settings[0].setting_id != before.settings[0].setting_id
    kept = [after.settings[0].setting_id, other.settings[0].setting_id]
    manifest = load_manifest(after.folder)
    assert manifest["planned"] == dict(zip(kept, ("0-1", "0-2"), strict=True))
    assert manifest["asked_as"].keys() == {*kept}
    assert missing(after.folder, []) == 5
    assert {path.stem for path in failures_dir(after.folder).iterdir()} == {kept[1]}


def test_a_gate_may_have_any_name_in_what_is_asked_for(small: Configs) -> None:
    """Also that of the hash of a file, which is left out of the parts of a config and nowhere else."""
    config = resolve(small("model=gru"))
    held = [config.but(model=replace(config.model, gates=gates)) for gates in ({}, {"source": 0.0}, {"source": 1.0})]
    assert len({asked_as(resolve(one)) for one in held}) == 3
    assert asked_as(config) == asked_as(resolve(small("model=gru", "seed=5", "threads=1")))


def test_a_later_command_without_preset_keeps_the_question(plan: Callable[..., Plan]) -> None:
    write_manifest(plan("title=First"), "one", "gates")
    write_manifest(plan(), "two")
    kept = load_manifest(plan().folder)
    assert kept["commands"] == ["one", "two"]
    assert (kept["preset"], kept["title"]) == ("gates", "First")


def test_a_preset_of_ones_own_may_ask_nothing(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("# @package _global_\n# Is it so?   python -m ablate sweeps=mine\n")
    (tmp_path / "sweeps" / "mute.yaml").write_text("num_hiddens: 5\n")
    for preset, asked in (("mine", "Is it so?"), ("mute", None)):
        write_manifest(plan(), "a command", preset)
        assert load_manifest(plan().folder)["question"] == asked


def test_a_manifest_older_than_questions_is_read(tmp_path: Path) -> None:
    manifest_path(tmp_path).write_text(json.dumps({"commands": ["old"], "auto_corpus": "time_machine"}))
    assert load_manifest(tmp_path) == {
        "commands": ["old"],
        "auto_corpus": "time_machine",
        "preset": None,
        "question": None,
        "title": None,
    }


# --- one folder, one question ---------------------------------------------------------------------------


@pytest.fixture
def asked(small: Configs, compose: Configs, tmp_path: Path) -> Callable[..., list[str]]:
    """What is said where these settings are added to the folder, and its manifest afterwards; `x=1,2` sweeps."""

    def ask(*words: str, preset: str | None = None, keep: bool = True) -> list[str]:
        configs = [small()]
        for word in words:
            key, _, values = word.partition("=")
            configs = [with_value(config, key, value) for config in configs for value in values.split(",")]
        made = make_plan(configs, tmp_path / "results" / "made-up", compose("data=python_docs").data)
        command = " ".join(["python -m ablate", *words])
        said = check_same_question(made, command, preset, [word.partition("=")[0] for word in words])
        if keep:
            write_manifest(made, command, preset)
        return said

    def with_value(config: Config, key: str, value: str) -> Config:
        return config.but(**{key: type(getattr(config, key))(value)})

    return ask


def test_more_values_of_a_swept_knob_are_the_same_question(asked: Callable[..., list[str]]) -> None:
    assert asked("num_hiddens=4,8") == []
    assert asked("num_hiddens=16") == []
    assert asked("num_hiddens=4", "lr=0.5,1.0") == []  # the lr so far is among them
    assert asked("num_hiddens=4", "seeds=3") == []


def test_one_knob_more_is_said(asked: Callable[..., list[str]]) -> None:
    asked("num_hiddens=4")
    [line] = asked("num_hiddens=8")
    assert "num_hiddens=4" in line
    assert "num_hiddens=8" in line
    assert asked("num_hiddens=8") == []  # the same command again


def test_two_that_change_together_are_another_question(asked: Callable[..., list[str]]) -> None:
    asked("num_hiddens=4,8")
    with pytest.raises(UserError) as caught:
        asked("num_hiddens=16", "epochs=4")
    assert "num_hiddens=4,8" in str(caught.value)
    assert "epochs=3, not epochs=4" in str(caught.value)
    assert "name=NAME" in str(caught.value)


def test_another_preset_is_another_question(asked: Callable[..., list[str]]) -> None:
    asked("num_hiddens=4", preset="gates")
    with pytest.raises(UserError, match="sweeps=gates, not sweeps=init"):
        asked("num_hiddens=8", preset="init")
    assert asked("num_hiddens=4", "seeds=2") == []


def test_a_folder_older_than_this_says_it_by_its_records(
    asked: Callable[..., list[str]], small: Configs, sweep: Callable[..., Any]
) -> None:
    folder = sweep([small("num_hiddens=4", "epochs=1")]).folder
    path = manifest_path(folder)
    manifest = json.loads(path.read_text())
    del manifest["knobs"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="num_hiddens=4, not num_hiddens=8"):
        asked("num_hiddens=8", "epochs=4")
    assert asked("num_hiddens=4", "epochs=1,4") == []


@pytest.mark.parametrize("content", [None, '{"commands": ["a", '])
def test_a_folder_whose_manifest_is_gone_says_it_by_its_records(
    asked: Callable[..., list[str]], small: Configs, sweep: Callable[..., Any], content: str | None
) -> None:
    """A damaged one is named; that there is none is no fault. What was declared is not known any more, of any setting:
    nor is it of those that the next command does not ask for what that command asks for."""
    folder = sweep([small(f"num_hiddens={width}", "epochs=1") for width in (4, 8)]).folder
    manifest_path(folder).unlink()
    if content is not None:
        manifest_path(folder).write_text(content)
    with pytest.raises(UserError, match="num_hiddens=4,8, not num_hiddens=16"):
        asked("num_hiddens=16", "epochs=4")
    lines = [line for line in asked("num_hiddens=4", "epochs=1") if "declared" in line]
    assert [str(manifest_path(folder)) in line for line in lines] == [True] * (content is not None)
    settings = {str(one["setting_id"]) for one in results.records(folder)}
    known = Designs.read(folder, settings)
    assert [known.numbers(setting) for setting in settings] == [(), ()]
    assert load_manifest(folder)["knobs"]["num_hiddens"] == [4, 8]


# --- updates --------------------------------------------------------------------------------------------


def counted(config: Config, corpus: Corpus, epochs: int) -> float:
    """Updates in so many epochs, by drawing them."""
    tokens = torch.tensor(split(config, corpus)[0])
    generator = Generator().manual_seed(1)
    return sum(len(list(batches.epoch(config, tokens, generator))) for _ in range(epochs))


@pytest.mark.full
@pytest.mark.parametrize("sampling", ["sequential", "random"])
def test_updates_become_epochs_of_about_as_many(small: Configs, corpus: Corpus, sampling: str) -> None:
    """Also where epochs are of different length: 101 tokens in batches of 4 by 5 make 5 minibatches or 4."""
    for batch_size, tokens in ((2, 400), (4, 400), (16, 400), (4, 101)):
        config = small("updates=200", f"batch_size={batch_size}", f"max_tokens={tokens}", f"sampling={sampling}")
        setting = make_setting(resolve(config), corpus)
        one_epoch = setting.extent.updates_per_epoch
        assert counted(setting.config, corpus, setting.config.epochs) == pytest.approx(200, abs=max(one_epoch / 2, 10))
        assert counted(setting.config, corpus, 400) / 400 == pytest.approx(one_epoch, rel=0.02)


def test_a_setting_with_updates_is_the_setting_with_those_epochs(small: Configs, sweep: Callable[..., Any]) -> None:
    """It trains as many, its records say so, and its runs are the same runs; epochs given beside it do not count."""
    done = sweep([small("updates=76", "epochs=99", "seeds=2")], "by updates")  # 19 minibatches an epoch
    assert done.trained == 2
    for path in (done.folder / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        assert record["config"]["epochs"] == record["identity"]["epochs"] == record["counts"]["epochs_done"] == 4
        assert record["counts"]["updates_per_epoch"] * 4 == 76
    assert sweep([small("epochs=4", "seeds=2")], "by epochs").reused == 2


def test_a_budget_below_one_epoch_is_one_epoch(small: Configs, corpus: Corpus) -> None:
    assert make_setting(resolve(small("updates=1")), corpus).config.epochs == 1


def test_no_updates_leave_the_epochs(small: Configs, corpus: Corpus) -> None:
    config = resolve(small("epochs=7"))
    assert make_setting(config, corpus).config == config


# --- the speed lane of a sweep --------------------------------------------------------------------------


def test_a_short_time_for_a_setting_takes_fewer_processes_and_shorter_samples() -> None:
    """A process gives 3 samples of 4 subjects at least, which takes 3 s at the usual quarter of a second."""
    assert [protocol_within(s).launches for s in (0.5, 1, 5.9, 6, 14.9, 15, 30, 300)] == [1, 1, 1, 2, 4, 5, 5, 5]
    assert [protocol_within(s).sample_s for s in (0.6, 2.4, 3, 15, 30)] == pytest.approx([0.05, 0.2, 0.25, 0.25, 0.25])
    assert protocol_within(2.5).limit_s == 2.5


# --- the number of seeds that was declared ---------------------------------------------------------------------------


def declared(folder: Path) -> list[list[int]]:
    """The numbers of seeds of each history of a folder's settings."""
    return [[seeds for seeds, _ in entry["declared"]] for entry in load_manifest(folder)["design"]]


def test_seeds_are_declared_before_the_first_run_and_extensions_after_it(
    sweep: Callable[..., object], small: Configs, tmp_path: Path
) -> None:
    folder = tmp_path / "results" / "made-up"
    sweep([small("seeds=2")])
    assert declared(folder) == [[2]]
    sweep([small("seeds=2")])
    assert declared(folder) == [[2]]
    sweep([small("seeds=3")])
    sweep([small("seeds=1")])
    assert declared(folder) == [[2, 3]]
    sweep([small("seeds=2", "lr=0.7")])
    assert sorted(declared(folder)) == [[2], [2, 3]]


def test_what_was_never_trained_may_be_declared_anew(plan: Callable[..., Plan]) -> None:
    made = plan("seeds=2")
    write_manifest(made, "python -m ablate seeds=2")
    write_manifest(plan("seeds=5"), "python -m ablate seeds=5")
    assert declared(made.folder) == [[5]]


def test_runs_of_a_search_were_never_declared(sweep: Callable[..., Any], small: Configs, tmp_path: Path) -> None:
    """How many there are followed from what came out; that as many are asked for afterwards declares nothing."""
    (sweep([small("seeds=2")], "search").folder / "trials.csv").write_text("of a search")
    assert sweep([small("seeds=2")], "same").reused == 2
    assert declared(tmp_path / "results" / "same") == [[]]
    sweep([small("seeds=2")], "same")
    assert declared(tmp_path / "results" / "same") == [[]]
    sweep([small("seeds=3")], "same")
    assert declared(tmp_path / "results" / "same") == [[2, 3]]


def test_runs_of_another_sweep_were_seen_there(sweep: Callable[..., object], small: Configs, tmp_path: Path) -> None:
    sweep([small("seeds=2")], "first")
    sweep([small("seeds=3")], "first")
    sweep([small("seeds=3")], "same")
    sweep([small("seeds=4")], "more")
    assert declared(tmp_path / "results" / "same") == [[2, 3]]
    assert declared(tmp_path / "results" / "more") == [[2, 3, 4]]


def test_a_sweep_of_an_older_version_is_extended_from_what_its_commands_asked_for(
    sweep: Callable[..., object], small: Configs, tmp_path: Path
) -> None:
    sweep([small("seeds=2")])
    path = manifest_path(tmp_path / "results" / "made-up")
    old = json.loads(path.read_text())
    del old["design"]
    path.write_text(json.dumps(old | {"commands": ["python -m ablate seeds=2"]}))
    sweep([small("seeds=3")])
    assert declared(path.parent) == [[2, 3]]
