"""Presets that name an experiment, from the command line and from Python, and the one of the documents. CPU, 6 s."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.analysis.frames import runs_frame
from tests.experiments.examples import EXAMPLES, TWO

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.mark.full
def test_a_preset_of_an_experiment(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(TWO)
    (tmp_path / "sweeps").mkdir()
    preset = tmp_path / "sweeps" / "mine.yaml"
    preset.write_text(
        "# Mine\nplugins: ['train.py:train']\nseeds: 2\ndefaults: [{override /task: train}]\n"
        "hydra: {sweeper: {params: {task.lr: '0.1,0.3'}}}\n"
    )
    status, said = ablated("sweeps=mine")
    assert status == 0, said
    assert runs_frame(tmp_path / "sweep")[0]["lr"].tolist() == [0.1, 0.1, 0.3, 0.3]
    status, said = ablated("sweeps=mine", "experiment=train.py:train", "width=4")
    assert status == 0, said


PRESET = """# Mine
experiment: train.py:train
seeds: 2
{more}hydra: {{sweeper: {{params: {{lr: "0.1,0.3"}}}}}}
"""


@pytest.fixture
def preset(tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write sweeps/mine.yaml, of the function train.py:train."""
    monkeypatch.chdir(tmp_path)
    written(TWO)
    (tmp_path / "sweeps").mkdir()

    def write(text: str = PRESET, more: str = "") -> None:
        (tmp_path / "sweeps" / "mine.yaml").write_text(text.format(more=more))

    return write


@pytest.mark.full
def test_a_preset_names_an_experiment_as_a_command_does(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], preset: Callable[..., None]
) -> None:
    preset(more="width: 4\n")
    status, said = ablated("sweeps=mine")
    assert status == 0, said
    runs, _ = runs_frame(tmp_path / "sweep")
    assert runs["lr"].tolist() == [0.1, 0.1, 0.3, 0.3]
    assert set(runs["width"]) == {4}
    status, said = ablated("experiment=train.py:train", "lr=0.1,0.3", "width=4", "seeds=2")
    assert "4 already complete" in said, said  # the same sweep, typed
    status, said = ablated("sweeps=mine", "lr=0.1", "width=4")
    assert (status, "2 already complete" in said) == (0, True), said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# M\nexperiment: train.py:trian\n", r"mine\.yaml, line 2: .*no function 'trian'; did you mean train"),
        ("# M\nexperiment: gone.py:train\n", r"mine\.yaml, line 2: .*gone\.py"),
        ("# M\nexperiment: [a, b]\n", r"mine\.yaml, line 2: .*FILE\.py:FUNCTION"),
        ("# M\nexperiment: train.py:train\nwitdh: 4\n", r"mine\.yaml, line 3: .*'witdh'; did you mean width"),
        ("# M\nexperiment: train.py:train\nnum_hiddens: 4\n", r"mine\.yaml, line 3: .*no knob 'num_hiddens'"),
        (
            "# M\nexperiment: train.py:train\nhydra: {{sweeper: {{params: {{'lr:widht': '1:2'}}}}}}\n",
            r"mine\.yaml, line 3: .*'widht'; did you mean width",
        ),
        (
            "# M\ndefaults: [{{override /task: memory}}]\nexperiment: train.py:train\n",
            r"mine\.yaml, line 2: .*leave out override /task: memory",
        ),
    ],
)
def test_a_mistake_in_a_preset_of_an_experiment_has_its_line(
    text: str, says: str, ablated: Callable[..., tuple[int, str]], preset: Callable[..., None]
) -> None:
    preset(text)
    status, said = ablated("sweeps=mine")
    assert (status, len(said.splitlines())) == (2, 1)
    assert re.search(says, said)


@pytest.mark.full
def test_a_preset_searches_an_experiment(ablated: Callable[..., tuple[int, str]], preset: Callable[..., None]) -> None:
    space = "{{n_trials: 2, params: {{lr: 'interval(0.1,0.5)'}}}}"
    preset(f"experiment: train.py:train\nseeds: 2\nhydra: {{{{sweeper: {space}}}}}\n")
    status, said = ablated("sweeps=mine", command="search")
    assert (status, "2 of 2 trials" in said) == (0, True), said


def test_its_preset_is_swept_from_python(tmp_path: Path, preset: Callable[..., None]) -> None:
    preset()
    sweep = ablate.sweep(sweeps="mine", width=2, results_dir=tmp_path / "results", progress=False)
    assert sweep.frame()["lr"].tolist() == [0.1] * 2 + [0.3] * 2
    assert set(sweep.frame()["width"]) == {2}


@pytest.mark.full
def test_the_preset_of_the_documents(
    tmp_path: Path, ablated: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = EXAMPLES.parent
    text = (documents / "experiments.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    monkeypatch.chdir(documents.parent)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(text.replace("seeds: 6", "seeds: 2"))
    status, said = ablated("sweeps=mine", f"--config-dir={tmp_path}")
    assert (status, "8 runs trained" in said) == (0, True), said
