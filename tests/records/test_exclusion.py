"""Excluding runs with a reason, taking it back, and where it is said. Made-up records; CPU, 3 s."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablate.analysis.frames import runs_frame
from ablate.claims import Frames
from ablate.cli.exclude import main
from ablate.records import results
from ablate.records.compaction import compact
from ablate.records.exclusion import exclude, exclusions, include
from ablate.report.blocks import Attempts
from ablate.report.material import gather
from tests.report.made import config, write_manifest, write_run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for lr in (1.0, 4.0):
        for seed in range(3):
            write_run(tmp_path, config(num_hiddens=8, lr=lr), seed, 2.0 + lr + seed / 10)
    write_manifest(tmp_path)
    return tmp_path


def kept(folder: Path) -> list[tuple[float, int]]:
    frame = runs_frame(folder)[0]
    return sorted(zip(frame["lr"].tolist(), frame["seed"].tolist(), strict=True))


@pytest.mark.parametrize("packed", [False, True])
def test_excluded_runs_are_in_no_frame_and_the_reason_is_said_everywhere(sweep: Path, packed: bool) -> None:
    if packed:
        compact(sweep)
    assert main([str(sweep), "lr=4", "seed=1", "--because", "the disk was full"]) == 0
    assert kept(sweep) == [(1.0, 0), (1.0, 1), (1.0, 2), (4.0, 0), (4.0, 2)]
    [line] = runs_frame(sweep)[1]
    assert "1 run" in line
    assert "the disk was full" in line
    assert Frames.read(sweep).problems == [line]
    told: list[str] = []
    assert gather(sweep, Attempts(told.append)).skipped == [line]
    [run] = exclusions(sweep)[0].runs
    assert results.finished(sweep, run), "it is stored, and not trained again"
    assert main([str(sweep), "--undo"]) == 0
    assert len(kept(sweep)) == 6
    assert not (sweep / "excluded.json").exists()


def test_by_run_id_and_taken_back_one_by_one(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, *_ = (str(run) for run in runs_frame(sweep)[0]["run_id"])
    assert main([str(sweep), one, other, "--because", "a cosmic ray"]) == 0
    assert len(kept(sweep)) == 4
    assert main([str(sweep), "lr=4", "--because", "too high"]) == 0
    assert [one.because for one in exclusions(sweep)] == ["a cosmic ray", "too high"]
    assert main([str(sweep), other, "--undo"]) == 0
    assert "1 run counts again" in capsys.readouterr().out
    assert other in set(runs_frame(sweep)[0]["run_id"])
    assert one not in set(runs_frame(sweep)[0]["run_id"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=4"], "--because"),
        (["lr=2", "--because", "x"], "4"),
        (["hiddens=2", "--because", "x"], "lr"),
        (["lrr=2", "--because", "x"], "did you mean lr?"),
        (["000000000000", "--because", "x"], "000000000000"),
        (["--because", "x"], "--help"),
        (["lr=4", "--undo"], "none"),
    ],
)
def test_what_is_wrong_is_one_line(
    sweep: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(sweep), *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert len(kept(sweep)) == 6


def test_knobs_are_named_as_typed_or_as_tables_do_and_choices_stand_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (11, 3, 2):
        write_run(tmp_path, config("gru", **{"model.gates": {"update": 0.5}}), seed, 2.0)
        write_run(tmp_path, config("gru", **{"model.a": 0.2}), seed, 2.0)
    write_manifest(tmp_path)

    def excluded(*words: str) -> int:
        assert main([str(tmp_path), *words, "--because", "x"]) == 0
        found = len(exclusions(tmp_path)[0].runs)
        assert main([str(tmp_path), "--undo"]) == 0
        return found

    assert excluded("model.gates.update=0.5") == excluded("gates.update=0.50") == 3
    assert excluded("model.gates.update=null", "seed=3") == 1
    assert excluded("model.a=0.2") == excluded("a=0.2") == 3
    capsys.readouterr()
    for words, says in (("seed=7", "there is 2, 3 or 11"), ("gates.update=1", "there is 0.5 or null")):
        assert main([str(tmp_path), words, "--because", "x"]) == 2
        assert says in capsys.readouterr().err


def test_a_damaged_list_excludes_nobody_and_is_named(sweep: Path) -> None:
    (sweep / "excluded.json").write_text('{"excluded": [{"runs": 3}]}')
    assert len(kept(sweep)) == 6
    [line] = runs_frame(sweep)[1]
    assert "excluded.json" in line
    assert main([str(sweep), "lr=4", "--because", "x"]) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_excluded_in_a_sweep_is_not_reused_by_another(tmp_path: Path, packed: bool) -> None:
    from ablate.records.neighbours import Neighbours

    sweep = tmp_path / "first"
    for seed in range(2):
        write_run(sweep, config(num_hiddens=8), seed, 2.0)
    write_manifest(sweep)
    one, other = (str(run) for run in runs_frame(sweep)[0]["run_id"])
    if packed:
        compact(sweep)
    assert main([str(sweep), one, "--because", "a cosmic ray"]) == 0
    beside = Neighbours(tmp_path / "second")
    assert (beside.find(one), beside.find(other), beside.warning()) == (None, sweep, [])
    assert beside.find("000000000000", former=[one]) is None, "nor under an id of before"
    (sweep / "excluded.json").write_text("[")
    beside = Neighbours(tmp_path / "second")
    assert beside.find(other) is None, "what is excluded is not known"
    [line] = beside.warning()
    assert line.startswith(f"cannot read {sweep} (excluded.json: ")


def test_two_commands_at_once_lose_nothing(sweep: Path) -> None:
    """Each of them has read what is excluded before the other one writes, unless one waits for the other."""
    words = [f"lr={lr} seed={seed}".split() for lr in (1, 4) for seed in range(3)]
    with ThreadPoolExecutor(len(words)) as pool:
        list(pool.map(lambda given: exclude(sweep, given, "the disk was full"), words))
    assert kept(sweep) == []
    assert sorted(one.given for one in exclusions(sweep)) == sorted(map(tuple, words))
    with ThreadPoolExecutor(len(words)) as pool:
        list(pool.map(lambda given: include(sweep, given), words))
    assert len(kept(sweep)) == 6


def test_what_is_refused_leaves_no_lock(sweep: Path) -> None:
    before = sorted(sweep.iterdir())
    assert main([str(sweep), "--undo"]) == 2
    assert sorted(sweep.iterdir()) == before
    assert main([str(sweep), "lr=4", "--because", "x"]) == 0
    (sweep / ".excluded.lock").unlink()
    before = sorted(sweep.iterdir())
    assert main([str(sweep), "lr=4", "--because", "x"]) == 2
    assert sorted(sweep.iterdir()) == before


def test_a_run_that_two_machines_have_excluded_is_excluded_once(sweep: Path, tmp_path: Path) -> None:
    """For the reason of the first one; and what was included again in a merged folder does not double the others."""
    from ablate.cli.merge import main as merge

    other = tmp_path.with_name(f"{tmp_path.name}-other")
    shutil.copytree(sweep, other)
    assert main([str(sweep), "lr=4", "--because", "first"]) == 0
    assert main([str(other), "seed=1", "--because", "second"]) == 0
    into = other / "both"
    assert merge([str(sweep), str(other), "--into", str(into)]) == 0
    assert [(len(one.runs), one.because) for one in exclusions(into)] == [(3, "first"), (1, "second")]
    assert main([str(into), "lr=4", "seed=0", "--undo"]) == 0
    assert merge([str(sweep), str(other), "--into", str(into)]) == 0
    named = [run for one in exclusions(into) for run in one.runs]
    assert len(named) == len({*named}) == 4


def test_options_stand_where_they_are_typed(sweep: Path) -> None:
    assert main([str(sweep), "--because", "the disk was full", "lr=4", "seed=1"]) == 0
    assert (4.0, 1) not in kept(sweep)
    assert main([str(sweep), "--undo", "lr=4"]) == 0
    assert len(kept(sweep)) == 6


def test_a_knob_that_no_run_has_is_told_those_that_vary(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sweep), "sed=1", "--because", "x"]) == 2
    assert "has sed; give a run id, or KNOB=VALUE of seed or lr; did you mean seed?" in capsys.readouterr().err


def test_a_gate_that_no_cell_has_is_a_mistake(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is held at none in every run, which would all be excluded."""
    assert main([str(sweep), "model.gates.updat=null", "--because", "a typo"]) == 2
    assert "did you mean model.gates.update?" in capsys.readouterr().err
    assert len(kept(sweep)) == 6


def test_what_is_excluded_is_asked_for_where_nothing_is_given(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "required: sweep;" in capsys.readouterr().err
    assert main([str(sweep)]) == 2
    assert "run ids, or KNOB=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("absolute", [False, True])
def test_an_id_that_leads_elsewhere_is_none(sweep: Path, tmp_path: Path, absolute: bool) -> None:
    """What an excluded.json of somebody else's names is not looked for outside of the sweep."""
    [run, *_] = runs_frame(sweep)[0]["run_id"]
    outside = tmp_path.with_name("outside.json")
    outside.write_text((sweep / "runs" / f"{run}.json").read_text())
    named = str(outside.with_suffix("")) if absolute else f"../../{outside.stem}"
    one = {"runs": [named], "given": ["x"], "because": "y", "at": "z"}
    (sweep / "excluded.json").write_text(json.dumps({"excluded": [one]}))
    assert len(kept(sweep)) == 6
    assert exclusions(sweep)[0].runs == (named,)
