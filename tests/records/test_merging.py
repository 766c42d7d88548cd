"""Folders of several machines as one: runs by their content, conflicts by name. Made-up records; CPU, 2 s."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.analysis.frames import runs_frame
from ablate.analysis.throughput import speed_frame
from ablate.cli.exclude import main as exclude
from ablate.cli.merge import main
from ablate.records import results, weights
from ablate.records.compaction import compact
from ablate.records.design import Designs, as_manifest, of_manifest
from ablate.records.failures import failures
from ablate.records.files import write_json
from ablate.records.manifest import load_manifest
from ablate.records.places import failure_path, failures_dir, manifest_path
from tests.report.made import config, record_of, write_manifest, write_run, write_timing


def machine(folder: Path, seeds: range, shift: float = 0.0, command: str = "a") -> Path:
    for seed in seeds:
        write_run(folder, config(num_hiddens=8), seed, 2.0 + seed + shift, curve=[9.0, 2.0 + seed + shift])
    planned = {"a": f"{seeds[0]}-{seeds[-1]}"}
    more = {"knobs": {"seeds": [len(seeds)]}, "planned": planned, "asked_as": {"a": "0" * 12, command: "1" * 12}}
    write_manifest(folder, commands=[command], **more)
    return folder


@pytest.mark.parametrize("packed", [(), (0,), (0, 1)])
def test_each_run_is_there_once_and_the_sources_stay(tmp_path: Path, packed: tuple[int, ...]) -> None:
    folders = [machine(tmp_path / "a", range(4)), machine(tmp_path / "b", range(2, 6), command="b")]
    write_timing(folders[1], config(num_hiddens=8), 100.0)
    assert exclude([str(folders[0]), "seed=0", "--because", "wrong"]) == 0
    for number in packed:
        compact(folders[number])
    before = [sorted(path.name for path in folder.rglob("*")) for folder in folders]
    assert main([*map(str, folders), "--into", str(tmp_path / "c")]) == 0
    frame, problems = runs_frame(tmp_path / "c")
    assert frame["seed"].tolist() == [1, 2, 3, 4, 5]
    assert len(problems) == 1, "what a machine's runs were excluded for stays"
    assert frame["perplexity"].tolist() == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert len(speed_frame(tmp_path / "c")) == 1
    (tmp_path / "c" / "runs").mkdir(exist_ok=True)
    (tmp_path / "c" / "runs" / ".47077aa9d91311f6.tmp").write_text("of a merge that was killed")
    manifest = load_manifest(tmp_path / "c")
    assert (manifest["commands"], manifest["knobs"]) == (["a", "b"], {"seeds": [4]})
    assert manifest["planned"] == {"a": "0-5"}
    assert manifest["asked_as"].keys() == {"a", "b"}
    assert [sorted(path.name for path in folder.rglob("*")) for folder in folders] == before
    assert main([*map(str, folders), "--into", str(tmp_path / "c")]) == 0
    assert len(runs_frame(tmp_path / "c")[0]) == 5
    assert not (tmp_path / "c" / "runs").exists()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_was_declared_is_known_in_the_order_of_time(tmp_path: Path, order: tuple[int, int]) -> None:
    folders = [machine(tmp_path / "a", range(6)), machine(tmp_path / "b", range(20))]
    for folder, declared in zip(folders, (((6, "2026-01-01"),), ((20, "2026-01-02"),)), strict=True):
        manifest = load_manifest(folder)
        write_json(manifest_path(folder), manifest | {"design": as_manifest({"s": declared})})
    assert main([*(str(folders[place]) for place in order), "--into", str(tmp_path / "c")]) == 0
    assert of_manifest(load_manifest(tmp_path / "c"))["s"] == ((6, "2026-01-01"), (20, "2026-01-02"))


@pytest.mark.parametrize("left", ["search.json", "sweep.json"])
def test_what_one_machine_was_asked_for_is_said_of_its_own_settings_alone(
    tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not of those of a search, which come with it, nor of those of a folder without a manifest."""
    folders = [machine(tmp_path / "a", range(2), command="ablate seeds=2"), tmp_path / "b"]
    runs = [write_run(folder, config(num_hiddens=n), 0, 2.0) for folder, n in zip(folders, (8, 16), strict=True)]
    own, other = (results.read(folder, run)["setting_id"] for folder, run in zip(folders, runs, strict=True))
    if left == "search.json":
        write_manifest(folders[1], commands=["ablate search seeds=2"])
        (folders[1] / left).write_text("{}")
    for order in (folders, folders[::-1]):
        into = tmp_path / order[0].name / "c"
        assert main([*map(str, order), "--into", str(into)]) == 0
        known = Designs.read(into, {own, other})
        assert (known.numbers(own), known.numbers(other)) == ((2,), ())
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
        assert [f"{folders[1]}: search.json" in line for line in said] == [True] * (left == "search.json")


def test_the_same_run_with_other_numbers_is_named_and_the_first_one_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [machine(tmp_path / "a", range(2)), machine(tmp_path / "b", range(1, 3), shift=0.5)]
    assert main([*map(str, folders), "--into", str(tmp_path / "c")]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("conflict")]
    frame = runs_frame(tmp_path / "c")[0]
    assert frame["perplexity"].tolist() == [2.0, 3.0, 4.5]
    assert str(frame["run_id"].iloc[1]) in line
    assert "rnn seed 1 (" in line
    assert "other metrics (perplexity 3.5, not 3.0)" in line


def test_a_conflict_names_what_the_sweep_varies_and_both_outcomes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one folder a run has diverged; in both there is another width."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder, perplexity in zip(folders, (2.0, None), strict=True):
        write_run(folder, config(num_hiddens=8), 1, perplexity, curve=[9.0, 2.0])
        write_run(folder, config(num_hiddens=16), 1, 3.0, curve=[9.0, 3.0])
        write_timing(folder, config(num_hiddens=16), 100.0 if perplexity else 200.0)
    assert main([*map(str, folders), "--into", str(tmp_path / "c")]) == 1
    run, timing = [line for line in capsys.readouterr().err.splitlines() if line.startswith("conflict")]
    assert run.startswith("conflict: rnn, num_hiddens=8 seed 1 (")
    assert "other status (diverged, not ok)" in run
    assert timing.startswith("conflict: rnn, num_hiddens=16 timing on machine ")


def test_a_folder_of_sweeps_does_not_become_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    machine(results / "a", range(2))
    assert main([str(results / "a"), "--into", str(results)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{results} holds sweeps, such as a; give a folder of its own: --into {results / 'both'}" in line
    assert not (results / "runs").exists()
    assert not (results / "runs.parquet").exists()


@pytest.mark.parametrize("wrong", ["itself", "nothing", "another preset"])
def test_what_cannot_be_merged_is_one_line(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine(tmp_path / "a", range(2))
    other = tmp_path / "b"
    match wrong:
        case "itself":
            other = tmp_path / "c"
            machine(other, range(1))
        case "nothing":
            other.mkdir()
        case "another preset":
            machine(other, range(1))
            write_manifest(other, preset="smoke")
    assert main([str(tmp_path / "a"), str(other), "--into", str(tmp_path / "c")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert len(runs_frame(tmp_path / "a")[0]) == 2
    assert (tmp_path / "c").exists() == (wrong == "itself"), "what is refused leaves nothing"


def test_a_damaged_manifest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine(tmp_path / "a", range(2))
    manifest_path(tmp_path / "a").write_text("{")
    assert main([str(tmp_path / "a"), "--into", str(tmp_path / "c")]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert str(manifest_path(tmp_path / "a")) in line


def test_weights_come_along_and_other_ones_are_a_conflict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [machine(tmp_path / name, range(2)) for name in ("a", "b", "other")]
    first, second = runs_frame(folders[0])[0]["run_id"]
    for folder, run_id, value in ((folders[0], first, 1.0), (folders[1], second, 2.0), (folders[2], first, 3.0)):
        weights.keep(folder, run_id, {"output.W": np.full((2, 2), value, np.float32)})
    into = tmp_path / "c"
    assert main([*map(str, folders[:2]), "--into", str(into)]) == 0
    assert [float(weights.load(into, run_id)["output.W"][0, 0]) for run_id in (first, second)] == [1.0, 2.0]
    assert main([str(folders[2]), "--into", str(into)]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("conflict")]
    assert "weights" in line
    assert first in line


def test_the_files_of_a_persons_own_of_all_machines_are_known(tmp_path: Path) -> None:
    folders = [machine(tmp_path / name, range(1)) for name in ("a", "b")]
    for folder, files in zip(folders, ({"a.py": "1"}, {"b.py": "2"}), strict=True):
        write_json(manifest_path(folder), load_manifest(folder) | {"plugins": files})
    assert main([*map(str, folders), "--into", str(tmp_path / "c")]) == 0
    assert load_manifest(tmp_path / "c")["plugins"] == {"a.py": "1", "b.py": "2"}


def setting_id(run: dict[str, Any]) -> str:
    return str(record_of(run, 0, 1.0)["setting_id"])


def fail(folder: Path, run: dict[str, Any]) -> None:
    """A setting that could not be run there."""
    stored = {"setting_id": setting_id(run), "error": "out of memory", "config": run | {"seed": 0, "seeds": 2}}
    write_json(failure_path(folder, setting_id(run)), stored)


def test_failures_come_along_until_another_machine_has_the_runs(tmp_path: Path) -> None:
    """Of three settings that failed on one machine: another has trained one, one seed of the second is there, and the
    third is nowhere; a fourth failed on a machine that has nothing else."""
    a, b, c, into = (tmp_path / name for name in "abcd")
    machine(a, range(2))
    trained, half, nowhere, elsewhere = (config(num_hiddens=H) for H in (16, 24, 32, 40))
    for one in (trained, half, nowhere):
        fail(a, one)
    fail(c, elsewhere)
    machine(b, range(2))
    for seed in range(2):
        write_run(b, config(num_hiddens=16), seed, 2.0, curve=[9.0, 2.0])
    write_run(b, config(num_hiddens=24), 0, 2.0, curve=[9.0, 2.0])
    left = {setting_id(one) for one in (half, nowhere, elsewhere)}
    for _ in range(2):
        assert main([str(a), str(b), str(c), "--into", str(into)]) == 0
        assert {one.setting_id for one in failures(into)} == left
        assert {path.stem for path in failures_dir(into).iterdir()} == left
    assert len(failures(a)) == 3, "the sources stay"
