"""What a command that trains, or plans, finds in the folder of its sweep, in that beside it, and in the environment:
broken files, and other things in their place. It goes on, or says in a line why not. CPU.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzzing.conftest import SMALL, Place
from tests.fuzzing.exploring import examples, explore
from tests.fuzzing.hostile import TEXTS, any_of, put_in_place, texts, torn
from tests.fuzzing.test_stored_files import broken_parquet, changed_json, runs

pytestmark = pytest.mark.filterwarnings("ignore")

RUN = ["run", *SMALL, "model=rnn,gru", "keep=weights"]
COMMANDS = (
    ["plan", *RUN[1:], "name=made-up"],
    [*RUN, "name=made-up"],
    [*RUN, "name=made-up", "seeds=2"],
    [*RUN, "name=other"],
    ["settle", "results/made-up", "gru < rnn", "--plan"],
    ["status", "results/made-up"],
    ["compact", "results/made-up"],
    ["merge", "results/made-up", "--into", "results/other"],
)
KINDS = ("folder", "full folder", "link out", "link to a file", "dangling", "circle", "pipe", "empty", "no rights")
PLACES = (
    *("runs", "curves", "speed", "failures", "weights", "checkpoints", "jobs", "jobs/0001/batch.json", "figures"),
    *("sweep.json", "engines.json", "excluded.json", "baselines.json", "quality.json", "path.json", ".report.json"),
    *("runs.parquet", "curves.parquet", "speed.parquet", "published.csv", "study.db", "search.json", "trials.csv"),
    *(
        ".lock",
        ".engines.lock",
        ".excluded.lock",
        ".report.lock",
        "report.html",
        "runs.csv",
        "tables",
        "best.yaml",
        ".",
    ),
)


@pytest.fixture
def trained(place: Place, tmp_path: Path) -> tuple[Path, Path]:
    """A tiny sweep as it ends, and as files of single runs."""
    place.fresh()
    place.run(*RUN, "name=made-up")
    packed, loose = tmp_path / "packed", tmp_path / "loose"
    shutil.copytree(place.sweep, packed)
    place.run("compact", "results/made-up", "--undo")
    shutil.copytree(place.sweep, loose)
    return packed, loose


@examples(4, 600)
def test_other_things_in_the_place_of_files(place: Place, trained: tuple[Path, Path], count: int) -> None:
    names = st.one_of(st.sampled_from(PLACES), st.just("RECORD"), st.just("CURVE"), st.just("WEIGHTS"))

    def check(given: tuple[Path, str, str, list[str]]) -> None:
        whole, name, kind, command = given
        outside = place.fresh() / "outside"
        outside.mkdir()
        (outside / "kept.txt").write_text("kept")
        shutil.copytree(whole, place.sweep)
        place_of = {"RECORD": "runs/*.json", "CURVE": "curves/*.csv", "WEIGHTS": "weights/*"}
        found = sorted(place.sweep.glob(place_of[name])) if name in place_of else []
        put_in_place(found[0] if found else place.sweep / name, kind, outside)
        place.run(*command)

    explore(st.tuples(st.sampled_from(trained), names, st.sampled_from(KINDS), st.sampled_from(COMMANDS)), check, count)


BATCH = b'{"launcher": "slurm", "jobs": 2, "ids": ["7_0", "7_1"], "silent_s": 600.0, "submitter": null}'
STATE = (
    b'{"id": "7_0", "host": "node", "begins": 1, "beat": 3, "at": 1e9, "programs": [{"runs": ["0123456789ab"],'
    b' "epoch": 2, "perplexity": 9.5}], "trained": 1, "failures": [["lr=1", "why"]], "warnings": ["w"],'
    b' "leaving": false, "stopped": null, "worker": null, "ended": null}'
)
STEP = b'{"number": 1, "change": "model=gru", "setting_id": "b", "reference_id": "a", "tried": [{"change": "x"}]}'
MORE = {
    "jobs/0001/batch.json": BATCH,
    "jobs/0001/0.state.json": STATE,
    "jobs/0001/0.order.json": b'{"settings": [], "runs": {"0123456789ab": [0]}, "version": "x", "device": "cpu"}',
    "quality.json": b'{"until": ["perplexity<9", "usual"]}',
    "path.json": b'{"metric": "perplexity", "baseline": {"setting_id": "a"}, "choosing_seeds": [0], "steps": [%s]}'
    % STEP,
}
"""Files of JSON that a sweep can have beside those that it always has."""


@examples(3, 600)
def test_broken_files(place: Place, trained: tuple[Path, Path], count: int) -> None:
    """Every file of a sweep: of its JSON other values, of the others other bytes."""
    packed, loose = trained
    files = {
        (whole, str(path.relative_to(whole))): path.read_bytes()
        for whole in trained
        for path in sorted(whole.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    } | {(loose, name): content for name, content in MORE.items()}

    def broken(key: tuple[Path, str]) -> st.SearchStrategy[tuple[Path, str, bytes]]:
        whole, name = key
        if name.endswith(".parquet"):
            return broken_parquet(packed, (name,)).map(lambda one: (whole, *one))
        made = changed_json(files[key]) if name.endswith(".json") else any_of(torn(files[key]))
        return made.map(lambda content: (whole, name, content))

    def check(given: tuple[tuple[Path, str, bytes], list[str]]) -> None:
        (whole, name, content), command = given
        place.fresh()
        shutil.copytree(whole, place.sweep)
        for more, text in MORE.items() if name in MORE else ():
            (place.sweep / more).parent.mkdir(parents=True, exist_ok=True)
            (place.sweep / more).write_bytes(text)
        (place.sweep / name).write_bytes(content)
        before = runs(place.sweep)
        place.run(*command)
        assert before <= runs(place.sweep), f"lost by {command}"
        assert not list(place.here.rglob("unpickled"))

    commands = st.sampled_from([*COMMANDS, ["report", "results/made-up"], ["status", "results/made-up", "--json"]])
    explore(st.tuples(st.sampled_from(sorted(files)).flatmap(broken), commands), check, count)


VARIABLES = (
    *("ABLATE_DATA_DIR", "ABLATE_NATIVE", "ABLATE_TRITON", "ABLATE_CHECKPOINT_S", "MKL_CBWR", "CXX", "PATH", "HOME"),
    *("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "NO_COLOR", "COLUMNS", "LINES", "TERM", "RAY_ADDRESS"),
    *("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "OMP_NUM_THREADS", "HYDRA_FULL_ERROR", "TZ"),
    *("LANG", "TRITON_INTERPRET", "MPLCONFIGDIR"),
)
ODD_VALUES = st.one_of(
    st.sampled_from(["", "0", "-1", "nan", "inf", "1e999", "9" * 400, "1,2", "x=y", ".", "/", "/dev/null", "~nobody"]),
    st.sampled_from(["FILE", "FOLDER", "PIPE", "PROGRAM", "\udcff", *TEXTS]),
    texts(),
).filter(lambda value: not re.search("[\ud800-\udc7f\udd00-\udfff]", value))


@examples(3, 400)
def test_environment(place: Place, trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Variables that have any value: nothing is written but where they say."""
    commands: list[list[str]] = [
        [word.replace("engine=eager", "engine=cohort") for word in RUN],
        [*RUN, "name=made-up", "seeds=2"],
        ["plan", *RUN[1:], "data=time_machine"],
        ["status"],
        ["status", "--json"],
        ["claims", "results/made-up", "gru < rnn"],
        ["run", "--help"],
        ["export", "results/made-up", "--to", "csv"],
    ]
    things: dict[str, Callable[[Path], object]] = {
        "FILE": lambda path: path.write_text("kept"),
        "FOLDER": lambda path: path.mkdir(mode=0o500),
        "PIPE": os.mkfifo,
        "PROGRAM": lambda path: path.write_bytes(b"#!/bin/sh\nprintf '\\377\\033[31m' >&2; exit 3\n"),
    }

    def check(given: tuple[dict[str, str], list[str]]) -> None:
        variables, command = given
        place.fresh()
        shutil.copytree(trained[0], place.sweep)
        for name, make in things.items():
            make(place.here / "results" / name)
        (place.here / "results" / "PROGRAM").chmod(0o700)
        with monkeypatch.context() as patch:
            if "CXX" in variables:  # of the compilers that there are only this one is found
                patch.delenv("ABLATE_NATIVE")
                patch.setenv("PATH", str(place.here / "results"))
            for name, value in variables.items():
                within = value in things or name in ("HOME", "MPLCONFIGDIR")  # which may be written to, also "."
                patch.setenv(name, str(place.here / "results" / value) if within else value)
            place.run(*command)

    values = ODD_VALUES.filter(lambda value: "outside" not in value).map(
        lambda value: os.fsdecode(value.replace("\0", "").encode("utf-8", "surrogateescape"))
    )
    variables = st.dictionaries(st.sampled_from(VARIABLES), values, min_size=1, max_size=2)
    explore(st.tuples(variables, st.sampled_from(commands)), check, count)
