"""Completion of the command: what is offered for what is typed, and the scripts by which shells ask for it.

The tests in shells need bash, fish or zsh. CPU, 5 s.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.cli.completion import SCRIPTS, complete
from ablate.config.choice_files import summaries
from tests.cli.test_commands import LISTED

CLI = Callable[..., Any]


def test_it_completes_commands_knobs_choices_presets_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert complete([""]) == list(LISTED)
    assert complete(["pla"]) == ["plan"]
    assert complete(["num_h"]) == complete(["plan", "num_h"]) == ["num_hiddens="]
    assert complete(["plan", "num_hiddens:l"]) == ["num_hiddens:layers=", "num_hiddens:lr="]
    assert complete(["model=gr"]) == [f"model={name}" for name in summaries("model") if name.startswith("gr")]
    assert "model=gru,lstm" in complete(["run", "model=gru,ls"])
    assert complete(["sweeps=smo"]) == ["sweeps=smoke"]
    assert complete(["engine="]) == [f"engine={name}" for name in ("auto", "cohort", "torch_nn", "eager")]
    assert complete(["fresh=t"]) == ["fresh=true"]
    assert complete(["hydra/sweeper=o"]) == ["hydra/sweeper=optuna"]
    assert "n_trials=" in complete(["search", "n_t"])
    assert complete(["plan", "--j"]) == ["--json"]
    assert complete(["report", "--le"]) == ["--level"]
    assert complete(["--v"]) == ["--version"]
    assert complete(["completion", ""]) == list(SCRIPTS)
    assert complete(["bench", "eng"]) == ["engines"]
    assert complete(["report", "--out", ""]) == complete(["data.path=b"]) == []


def test_it_completes_folders_of_results_and_presets_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("results/a/runs", "results/b", "elsewhere/c/runs", "sweeps"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sweeps" / "mine.yaml").write_text("# Mine\n")
    assert complete(["report", ""]) == ["results/a"]
    assert complete(["claims", "results/a", "elsewhere/"]) == ["elsewhere/c"]
    assert "sweeps=mine" in complete(["plan", "sweeps=mi"])


TRAIN = """\
raise SystemExit("it was run")
def train(lr: float = 0.1, width: int = 4, *, seed: int, report): ...
def other(*, seed): ...
"""


def test_it_completes_the_values_of_options() -> None:
    assert complete(["export", "results/a", "--to", "pa"]) == ["parquet"]
    assert complete(["export", "--to=x"]) == ["--to=xlsx"]
    assert complete(["report", "results/a", "--title", ""]) == []


def test_it_completes_experiments_and_their_knobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    for name in ("train.py", "code/train.py"):
        (tmp_path / name).write_text(TRAIN)
    assert complete(["expe"]) == ["experiment="]
    assert complete(["experiment="]) == ["experiment=code/", "experiment=train.py:"]
    assert complete(["plan", "experiment=code/t"]) == ["experiment=code/train.py:"]
    assert complete(["experiment=code/train.py:"]) == [f"experiment=code/train.py:{one}" for one in ("train", "other")]
    assert complete(["experiment=train.py:train", "w"]) == ["width="]
    assert complete(["experiment=train.py:train", "seeds"]) == ["seeds="]
    assert complete(["experiment=train.py:other", "w"]) == complete(["experiment=no.py:"]) == []


def bash(script: str, tmp_path: Path, program_environment: dict[str, str]) -> list[str]:
    """What bash has in COMPREPLY after the script, with an `ablate` on its path."""
    return in_shell(
        ["bash", "-c", f"source <(ablate completion bash)\n{script}"], tmp_path, program_environment
    ).split()


def in_shell(command: list[str], tmp_path: Path, program_environment: dict[str, str]) -> str:
    """What a program prints, with an `ablate` on its path."""
    program = tmp_path / "bin" / "ablate"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ablate "$@"\n')
    program.chmod(0o755)
    environment = program_environment | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "broken", "replies"),
    [
        ("ablate pl", ["ablate", "pl"], ["plan", "plugins="]),
        ("ablate pla", ["ablate", "pla"], ["plan"]),
        ("ablate plan num_h", ["ablate", "plan", "num_h"], ["num_hiddens="]),
        # bash breaks words at = and :, and replaces the last part only
        ("ablate sweeps=smo", ["ablate", "sweeps", "=", "smo"], ["smoke"]),
        ("ablate engine=", ["ablate", "engine", "="], ["auto", "cohort", "torch_nn", "eager"]),
        ("ablate num_hiddens:lay", ["ablate", "num_hiddens", ":", "lay"], ["layers="]),
        ("ablate completion ", ["ablate", "completion", ""], ["bash", "zsh", "fish"]),
        ("ablate export a --to ts", ["ablate", "export", "a", "--to", "ts"], []),
        ("ablate export a --to pa", ["ablate", "export", "a", "--to", "pa"], ["parquet"]),
        ("ablate experiment=tr", ["ablate", "experiment", "=", "tr"], ["train.py:"]),
        ("ablate experiment=train.py:o", ["ablate", "experiment", "=", "train.py", ":", "o"], ["other"]),
    ],
)
def test_in_bash(
    line: str, broken: list[str], replies: list[str], tmp_path: Path, program_environment: dict[str, str]
) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    words = " ".join(f"'{word}'" for word in broken)
    script = f"""
COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDS=({words}) COMP_CWORD={len(broken) - 1}
_ablate 2> /dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    assert bash(script, tmp_path, program_environment) == replies


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_are_whole(main: CLI, shell: str) -> None:
    script = main("completion", shell).out
    assert "completion words --" in script
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


IN_ALL = [
    ("ablate pla", ["plan"]),
    ("ablate num_hiddens:lay", ["num_hiddens:layers="]),
    ("ablate export a --to par", ["parquet"]),
    ("ablate experiment=tr", ["experiment=train.py:"]),
    ("ablate experiment=train.py:train wi", ["width="]),
    ("ablate report --out tra", ["train.py"]),
]
"""What is typed, and what its last word may become."""


@pytest.mark.full
@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_in_fish(tmp_path: Path, program_environment: dict[str, str]) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    lines = " ".join(f"'{line}'" for line, _ in IN_ALL)
    script = f"source (ablate completion fish | psub)\nfor l in {lines}; echo =; complete -C $l; end"
    said = in_shell(["fish", "--no-config", "-c", script], tmp_path, program_environment)
    found = [[line.split("\t")[0] for line in part.split("\n")] for part in said.split("=\n", 1)[1].split("\n=\n")]
    assert [[word for word in words if word] for words in found] == [replies for _, replies in IN_ALL]


ZSH_SESSION = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'autoload -U compinit; compinit -u -D; source <(ablate completion zsh); bindkey "^I" complete-word'
zpty -w z 'show() { print -r -- "<$BUFFER>"; BUFFER=; zle accept-line }; zle -N show; bindkey "^T" show; print REA""DY'
while zpty -r z out; do [[ $out == *READY* ]] && break; done
for line in "$@"; do
    zpty -w -n z "$line"$'\t'$'\x14'
    while zpty -r z out; do [[ $out == *"<ablate"* ]] && break; done
    print -r -- "${${out#*<}%%>*}"
done
zpty -d z
"""
"""Types each line and Tab into a shell with a terminal, and prints what then stands there."""


@pytest.mark.full
@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_in_zsh(tmp_path: Path, program_environment: dict[str, str]) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    lines = [line for line, _ in IN_ALL]
    said = in_shell(["timeout", "60", "zsh", "-f", "-c", ZSH_SESSION, "zsh", *lines], tmp_path, program_environment)
    expected = [f"{line.rpartition(' ')[0]} {reply}" for line, [reply] in IN_ALL]
    assert [line.rstrip() for line in said.splitlines()] == expected
