"""Files of one's own: what is wrong in one is said with its file and its line; what is right works. CPU, 3 s."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.config import presets
from ablate.config.errors import UserError

CLI = Callable[..., Any]


def own(folder: Path, text: str, name: str = "sweeps/mine.yaml") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.full
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("num_hidens: 5\n", 1, "did you mean num_hiddens?"),
        ("# Mine\ntask: {maked: 0.2}\n", 2, "did you mean task.masked?"),
        ("hydra: {sweeper: {params: {num_hiddens: 32,64}}}\n", 1, '"32,64"'),
        ("hydra:\n  sweeper:\n    params:\n      layrs: 1,2\n", 4, "did you mean layers?"),
        ("hydra:\n  sweeper:\n    blocks:\n      - {lr: 1}\n      - {lrr: 2}\n", 5, "did you mean lr?"),
        ("hydra: {sweeper: {param: {}}}\n", 1, "did you mean params?"),
        ("hydra: {run: {dir: x}}\n", 1, "hydra.run"),
        ("hydra: {sweeper: {params: {seeds: '3,5'}}}\n", 1, "seeds"),
        ("defaults:\n  - override /modle: gru\n", 2, "did you mean model?"),
        ("lr: 1\nname: 2.10\n", 2, '"2.10"'),
        ("lr: 1\nlr: [1\n", 3, "','"),
        ("- lr\n", 1, "table"),
        ("epochs: 3\nlr: 0,5\n", 2, "lr: 0.5"),
        ("optimizer:\n  momentum: 0,9\n", 2, "momentum: 0.9"),
        ("optimizer: {momentum: 0,9}\n", 1, "decimal point"),
        ("hydra: {sweeper: {params: {lr: 0,5}}}\n", 1, "decimal point"),
        ("7\n", 1, "table"),
        ("defaults: 3\n", 1, "a list"),
        ("defaults:\n  - gru\n", 2, "override /GROUP"),
        ("defaults:\n  - 3\n", 2, "override /GROUP"),
        ("defaults:\n  - override /model: null\n", 2, "model is null"),
        ("defaults:\n  - override /model: [gru, lstm]\n", 2, "hydra.sweeper.params"),
        ("lr: 1\nmodel: gru\n", 2, "override /model: NAME"),
        ("task: null\n", 1, "override /task: NAME"),
        ("lr: 1\nhydra:\n", 2, "hydra is null"),
        ("hydra: [3]\n", 1, "a table"),
        ("hydra: {sweeper: 3}\n", 1, "a table"),
        ("hydra: {sweeper: {params: [a]}}\n", 1, "hydra.sweeper.params is a list"),
        ("hydra: {sweeper: {blocks: 3}}\n", 1, "hydra.sweeper.blocks is '3'"),
        ("hydra:\n  sweeper:\n    blocks:\n      - {lr: 1}\n      -\n", 5, "hydra.sweeper.blocks is null"),
        ("lr: 1\nseeds: null\n", 2, "seeds is null"),
        ("prefixes: null\n", 1, "prefixes: []"),
        ("model: {activation: }\n", 1, "model.activation is null"),
        ("lr: 1\ndefaults:\n  - /model: gru\n  - _self_\n", 3, "write override /model: gru"),
        ("defaults: [model: gru]\n", 1, "write override /model: gru"),
        ("defaults:\n  - override optimizer: adam\n", 2, "write override /optimizer: adam"),
        ("defaults:\n  - /sweeps: smoke\n", 2, "no other"),
        ("defaults:\n  - override /sweeps: smoke\n", 2, "no other"),
        ("lr: 1\nmodel: {gates: [1]}\n", 2, "model.gates is a list; it must be a table"),
        ("model: {gates: 3}\n", 1, "model.gates is '3'; it must be a table"),
        ("model:\n  gates:\n    reset: [1]\n", 3, "model.gates.reset is a list; it must be a number"),
        ("model:\n  gates:\n    reset: {a: 1}\n", 3, "model.gates.reset is a table"),
        ("lr: 1\nmodel.gates: {reset: 1}\n", 2, "model: {gates: VALUE}"),
        ("optimizer.momentum: 0.5\n", 1, "optimizer: {momentum: VALUE}"),
        ("model: {activation: [relu, tanh]}\n", 1, 'model.activation: "relu, tanh"'),
        ("prefixes: 3\n", 1, "a list"),
        ("prefixes: {a: b}\n", 1, "a list"),
        ("lr: 1\nprefixes:\n  - a\n  - [b]\n", 4, "a list of texts"),
        ("plugins: mine.py\n", 1, "a list"),
        ("optimizer: {betas: 0.9}\n", 1, "optimizer.betas is '0.9'; it must be a list"),
        ("num_hiddens: {a: 1}\n", 1, "num_hiddens is a table; it must be a whole number"),
        ("clip: {a: 1}\n", 1, "a number or null"),
    ],
)
def test_a_mistake_in_a_preset_has_its_line(main: CLI, tmp_path: Path, text: str, line: int, says: str) -> None:
    own(tmp_path, text)
    done = main("sweeps=mine")
    assert done.status == 2
    [said] = done.err.splitlines()
    assert f"sweeps/mine.yaml, line {line}:" in said
    assert says in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr: high\n", "lr is 'high'; it must be a number"),
        ("num_hiddens: 8.5x\n", "num_hiddens is '8.5x'; it must be a whole number"),
        ("num_hiddens: [8, 12]\n", 'num_hiddens: "8, 12"'),
    ],
)
def test_a_value_of_the_wrong_type_has_its_file_and_its_knob(main: CLI, tmp_path: Path, text: str, says: str) -> None:
    own(tmp_path, text)
    done = main("sweeps=mine")
    assert done.status == 2
    [said] = done.err.splitlines()
    assert "sweeps/mine.yaml" in said
    assert says in said


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("defaults: [gru, _self_]\nname: mine\ngates: [1]\n", 3, "model.gates is a list; it must be a table"),
        ("defaults: [gru, _self_]\ngates: {reset: [1]}\n", 2, "model.gates.reset is a list; it must be a number"),
        ("name: mine\nactivation: [relu]\n", 2, "model.activation is a list"),
        ("name: mine\nactivatoin: relu\n", 2, "did you mean model.activation?"),
        ("bidirectional: {a: 1}\n", 1, "true or false"),
    ],
)
def test_a_mistake_in_a_model_of_ones_own_has_its_line(
    main: CLI, tmp_path: Path, text: str, line: int, says: str
) -> None:
    own(tmp_path, text, "model/mine.yaml")
    for word in ("model=mine", "model=rnn,mine"):
        done = main(word)
        assert done.status == 2
        [said] = done.err.splitlines()
        assert f"model/mine.yaml, line {line}:" in said
        assert says in said


@pytest.mark.full
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model=gru", "model.gates=[1]"], "model.gates.NAME=VALUE"),
        (["model=gru", "model.gates={reset:0.5}"], "model.gates.NAME=VALUE"),
        (["model=gru", "model.gates.reset=[1]"], "model.gates.reset is '[1]'; it must be a number"),
        (["optimizer=adam", "optimizer.betas=0.9"], "optimizer.betas is '0.9'; it must be a list"),
        (["clip={a:1}"], "clip is '{a:1}'; it must be a number"),
        (["clip=choice(null,1)"], "VALUE,VALUE where one of them is null"),
        (["lr=interval(1)"], "lr=interval(LOW,HIGH)"),
        (["lr=range(a,b)"], "lr=range(FIRST,END)"),
        (["num_hiddens=${nothing}"], "num_hiddens: Interpolation key 'nothing' not found"),
    ],
)
def test_a_value_that_hydra_cannot_take_is_one_line_of_ours(main: CLI, words: list[str], says: str) -> None:
    done = main(*words)
    assert done.status == 2
    [said] = done.err.splitlines()
    assert says in said


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ('hydra: {sweeper: {params: {lr: "1,5"}}}\n', ["lr=1.5"]),
        (
            'hydra:\n  sweeper:\n    blocks: [{lr: "0,25", clip: "1,5"}, {lr: "1,2"}]\n',
            ["lr=0.25", "clip=1.5", "lr=1.2"],
        ),
        ('hydra: {sweeper: {params: {num_hiddens: "8,16", lr: "1,0.5", layers: 2}}}\n', []),
    ],
)
def test_a_decimal_comma_in_a_preset_is_noted(text: str, notes: list[str], tmp_path: Path, main: CLI) -> None:
    own(tmp_path, text)
    done = main("plan", "sweeps=mine", "num_hidens=3")  # which ends it before anything is planned
    said = [line for line in done.err.splitlines() if line.startswith("note: sweeps/mine.yaml: ")]
    assert len(said) == len(notes)
    assert all(note in line for note, line in zip(notes, said, strict=True))


@pytest.mark.parametrize("refused", ["folder", "file"])
def test_what_cannot_be_read_is_said_beside_the_choices(
    refused: str, main: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(tmp_path, "# Mine\n", "sweeps/mine.yaml")
    own(tmp_path, "name: x\n", "model/ours.yaml")
    listdir, access = os.listdir, os.access

    def lists(path: Any) -> list[str]:
        if refused == "folder" and Path(path).parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", lists)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).parent.parent != tmp_path and access(path, mode))
    for word, own_file in (("sweeps=min", "sweeps/mine.yaml"), ("model=our", "model/ours.yaml")):
        done = main(word)
        assert done.status == 2
        what = own_file.partition("/")[0] if refused == "folder" else own_file
        assert f"; {what} cannot be read" in done.err
    if refused == "file":
        assert re.search(r"mine .*cannot be read", main("run", "--help").out)


def test_a_model_that_is_no_yaml_has_its_line(main: CLI, tmp_path: Path) -> None:
    own(tmp_path, "name: x\ncell: [\n", "model/mine.yaml")
    done = main("model=mine")
    assert done.status == 2
    assert "model/mine.yaml, line 3" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.full
def test_a_preset_needs_no_package_line_and_no_quotes(main: CLI, tmp_path: Path, small_arguments: list[str]) -> None:
    own(tmp_path, "# Is it so?   python -m ablate sweeps=mine\nhydra: {sweeper: {params: {lr: [1, 0.5], layers: 1}}}\n")
    usual = [argument for argument in small_arguments if not argument.startswith("lr")]
    done = main("sweeps=mine", *usual, "name=x")
    assert done.status == 0, done.err
    assert "2 runs trained" in done.err


@pytest.mark.parametrize(
    "text", ["", "# Does it work?\n", "# @package _global_\n", "clip: null\n", "# c\n---\n# d\n", "~"]
)
def test_a_preset_that_sets_nothing_is_the_defaults(main: CLI, tmp_path: Path, text: str) -> None:
    own(tmp_path, text)
    shown = main("sweeps=mine", "--cfg", "job")
    assert (shown.status, shown.err) == (0, "")
    assert "num_hiddens: 256" in shown.out


def test_a_folder_named_like_a_preset_is_no_choice(main: CLI, tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "dir.yaml").mkdir(parents=True)
    own(tmp_path, "", "sweeps/file.yaml")
    said = re.findall(r"\w+", main("sweeps=x").err)
    assert "file" in said
    assert "dir" not in said


def test_folders_named_like_knobs_are_no_groups(main: CLI, tmp_path: Path) -> None:
    for name in ("layers", "speed", "lr", "name", "dropout"):
        own(tmp_path, "", f"{name}/x.yaml")
    done = main("--cfg", "job", "layers=2", "speed=true", "lr=0.25", "name=x", "dropout=0.1")
    assert done.status == 0, done.err
    assert "lr: 0.25" in done.out
    own(tmp_path / "results", "defaults: [config, _self_]\nlayers: 3\n", "best.yaml")
    own(tmp_path / "results", "", "speed/x.yaml")
    done = main("--cfg", "job", "--config-dir", "results", "--config-name", "best", "speed=true")
    assert done.status == 0, done.err
    assert "layers: 3" in done.out


@pytest.mark.full
def test_own_files_are_in_help_and_among_the_choices(main: CLI, tmp_path: Path) -> None:
    own(tmp_path, "# Is mine the best?   python -m ablate sweeps=mine_of_2026\n", "sweeps/mine_of_2026.yaml")
    own(tmp_path / "lab", "# A cell of ours\ndefaults: [gru, _self_]\nname: ours\n", "model/ours.yaml")
    shown = main("--help", "--config-dir", "lab").out
    assert "Is mine the best?" in shown
    assert "A cell of ours" in shown
    assert "did you mean mine_of_2026?" in main("sweeps=mine").err
    done = main("--cfg", "job", "model=ours", "--config-dir", "lab")
    assert "cell: gru" in done.out, done.err


@pytest.mark.full
def test_two_presets_are_two_sweeps(main: CLI, tmp_path: Path, small_arguments: list[str]) -> None:
    for name, setting in (("one", "rnn"), ("two", "gru")):
        own(tmp_path, f"defaults: [{{override /model: {setting}}}]\nnum_steps: 5\n", f"sweeps/{name}.yaml")
    done = main("sweeps=one,two", *small_arguments)
    assert done.status == 0, done.err
    assert {path.name[:4] for path in (tmp_path / "results").iterdir()} == {"one_", "two_"}
    assert all((path / "report.html").is_file() for path in (tmp_path / "results").iterdir())
    done = main("sweeps=one,two", "name=both", *small_arguments)
    assert (done.status, "name=" in done.err) == (2, True)
    assert "did you mean one?" in main("sweeps=on,two").err


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("sweeps/mine.yaml", "# @pat of mine: my preset\nlr: 1\n", "mine.yaml: Too many components"),
        ("sweeps/mine.yaml", "lr: &a [*a]\n", "aliases"),
        ("sweeps/mine.yaml", "lr: !!int abc\n", "abc"),
        ("mine.yaml", "defaults:\n", "cannot be composed"),
    ],
)
def test_what_hydra_has_no_error_of_its_own_for_is_one_line(
    main: CLI, tmp_path: Path, name: str, text: str, says: str
) -> None:
    own(tmp_path, text, name)
    words = ["sweeps=mine"] if "/" in name else ["--config-dir", ".", "--config-name", "mine"]
    done = main("plan", *words)
    assert done.status == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("content", ["4", "[1]", "a text"])
def test_a_configuration_that_is_no_table_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"mine\.yaml, line 1: a configuration is a table"):
        presets.load(path)


@pytest.mark.parametrize("content", ["", "---\n", "# c\n---\n# d\n", "null\n", "~"])
def test_a_configuration_of_nothing_sets_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    assert presets.load(path) == (content, {})
