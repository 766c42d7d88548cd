"""`ablate bench gpu`: its checks on a GPU where there is one, and its rehearsal, plan of time and page on a CPU.

The checks that are marked need a CUDA GPU, and run nowhere else; the rest takes 2 s, with `full` 30 s.
"""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from ablate.cli.bench import budget, main
from ablate.timing.gpu import checks, commands, page, work
from ablate.timing.gpu.budget import SHARES, Budget
from ablate.timing.gpu.commands import Command
from ablate.timing.gpu.goals import RATIOS, goals
from ablate.timing.gpu.table import Cell, cells
from ablate.timing.gpu.work import FULL, REHEARSAL, ways

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@needs_gpu
@pytest.mark.parametrize("name", checks.CHECKS)
def test_a_gpu_is_right(name: str) -> None:
    assert checks.CHECKS[name](torch.device("cuda")) == ""


@pytest.mark.full
def test_the_cpu_is_right() -> None:
    found = {one.check: one.status for one in checks.run(CPU, Budget(1e6), lambda _: None)}
    gpus = {"tf32 and bf16 against float64", "graphs against launches"}
    assert found == {name: "not here" if name in gpus else "passed" for name in checks.CHECKS}


@pytest.mark.full
@pytest.mark.parametrize("name", ["replicas in any company", "checkpoint and resume"])
def test_a_check_sees_what_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that depend on when they are asked for, as those of a device with a fault."""
    step, calls = checks.Cohort.step, iter(range(1000))

    def faulty(self: checks.Cohort, *given: torch.Tensor, carry: bool) -> torch.Tensor:
        return step(self, *given, carry=carry) + 1e-3 * next(calls)

    monkeypatch.setattr(checks.Cohort, "step", faulty)
    monkeypatch.setenv("ABLATE_NATIVE", "0")
    assert checks.CHECKS[name](CPU) != ""


def test_a_check_that_raises_is_a_failure_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: torch.device) -> str:
        raise RuntimeError("CUDA error: an illegal memory access\nmore of it")

    monkeypatch.setattr(checks, "CHECKS", {"broken": broken, "wrong": lambda _: "differs", "right": lambda _: ""})
    found = checks.run(CPU, Budget(1e6), lambda _: None)
    assert [one.status for one in found] == ["failed", "failed", "passed"]
    assert "illegal memory access" in found[0].told
    assert "\n" not in found[0].told


def test_each_part_may_take_its_share_and_what_those_before_it_left() -> None:
    clock = iter([0.0, 0.0, 50.0, 50.0, 99.0, 101.0])
    budget = Budget(100.0, now=lambda: next(clock))
    assert budget.left_s("checks") == pytest.approx(100 * SHARES["checks"])
    assert budget.left_s("table") == pytest.approx(max(0, 100 * (SHARES["checks"] + SHARES["table"]) - 50))
    assert budget.left_s("commands") == pytest.approx(100 * sum(SHARES.values()) - 50)
    assert (budget.left_s("commands"), budget.left_s("commands")) == (0, 0)
    assert sum(SHARES.values()) < 1, "the page needs time, too"


def test_without_time_nothing_is_begun_and_it_is_said() -> None:
    budget = Budget(0.0)
    assert {one.status for one in checks.run(CPU, budget, lambda _: None)} == {"not run"}
    assert all(one.took_s is None and one.why for one in commands.timed(REHEARSAL, "cpu", budget, lambda _: None))
    assert len(budget.left_out) == len(checks.CHECKS) + len(list(commands.commands(REHEARSAL)))


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Command("one", (), limit_s=0.3)
    popen = commands.subprocess.Popen
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = []

    def start(words: list[str], **options: object) -> object:
        started.append(popen(sleeps, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(commands.subprocess, "Popen", start)
    commands.run(command, REHEARSAL, "cpu")
    assert command.took_s is None
    assert "not done within" in command.why
    assert started[0].poll() is not None


@pytest.mark.full
def test_a_command_that_fails_says_why() -> None:
    command = Command("one", ("model=nonsense",), limit_s=100.0)
    commands.run(command, REHEARSAL, "cpu")
    assert command.took_s is None
    assert "status 2" in command.why
    assert "nonsense" in command.why


def test_the_table_has_the_columns_of_both_precisions() -> None:
    names = [way.name for way in ways(FULL, CPU)]
    assert names[:4] == ["torch.nn", "R 20", "R 20 graphs", "R 120 graphs"]
    assert names[4:] == ["torch.nn tf32", "R 20 graphs tf32", "R 120 graphs tf32"]
    assert len(list(cells(FULL, CPU))) == len(names) * len(FULL.models) * len(FULL.hiddens)


def test_where_kernels_take_the_steps_torch_stands_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(work.MAKERS, "cpu", lambda *of: None)
    names = [way.name for way in ways(FULL, CPU)]
    beside = [name.removesuffix(", by torch") for name in names if name.endswith(", by torch")]
    assert beside == [name for name in names if "graphs" in name and not name.endswith("by torch")]
    with work.by_torch():
        assert not work.MAKERS
    assert "cpu" in work.MAKERS


def table_of(alone: float, together: float) -> list[Cell]:
    return [
        Cell(model, H, way.name, way.precision, way.runs, us=alone if way.runs == 1 else together)
        for H in FULL.hiddens
        for model in FULL.models
        for way in ways(FULL, CPU)
    ]


def test_goals_are_met_or_missed_by_the_slowest_model() -> None:
    table = table_of(2000.0, 60.0)
    found = {one.name: one.met for one in goals(table, [], FULL)}
    assert found == {
        f"ratio to torch.nn, H {H}, {precision}": least <= 2000 / 60
        for H, least in RATIOS.items()
        for precision in ("ieee", "tf32")
    }
    table[0].us = 20_000.0  # torch.nn of the gru at the smallest size: the others have not moved
    assert {one.name: one.met for one in goals(table, [], FULL)} == found
    for cell in table:
        cell.us = None if cell.model == "gru" else cell.us
    assert goals(table, [], FULL)[-1].met is None, "of one model it is not known"
    assert {one.met for one in goals([], [], FULL)} == {None}


@pytest.mark.parametrize(
    ("took", "limit", "met"), [(5.0, 100.0, True), (9.0, 100.0, False), (None, 100.0, False), (None, 5.0, None)]
)
def test_commands_meet_their_goals_by_the_clock(took: float | None, limit: float, met: bool | None) -> None:
    command = Command("one setting", (), took, limit, "" if took else f"not done within {limit} s")
    assert goals([], [command], FULL)[-1].met is met


def test_the_page_has_the_cards_name_and_every_number(tmp_path: Path) -> None:
    facts = {"gpu": "NVIDIA H200", "gpu_capability": "9.0", "driver": "1.2", "cpu": "A Processor", "torch": "2"}
    facts |= {"git_commit": "a" * 40, "git_dirty": False}
    state = {"clock_mhz": 1980.0, "memory_clock_mhz": None, "temperature_c": 41.0, "power_w": 99.5}
    table = table_of(2175.0, 56.0)
    table[-1].us, table[-1].why = None, "needs 900 GiB"
    parts = {
        "checks": [checks.Outcome("engines", "passed")],
        "table": table,
        "commands": [Command("one setting", ("model=gru",), 7.5)],
        "goals": goals(table, [], FULL),
        "left_out": ["a thing"],
        "states": {"at the start": state | {"limits": ["power cap"], "others": 0}},
        "spent_s": 400.0,
    }
    json_path, page_path = page.write(tmp_path, facts, FULL, parts)
    assert (json_path.name, page_path.name) == ("nvidia-h200.json", "nvidia-h200.md")
    text = page_path.read_text(encoding="utf-8")
    for word in ("NVIDIA H200", "2,175", "needs 900 GiB", "7.5 s", "power cap", "a thing", "aaaaaaaaaaaa"):
        assert word in text
    assert "rehearsal" not in text
    kept = json.loads(json_path.read_text(encoding="utf-8"))
    assert kept["table"][0]["us"] == 2175.0
    assert kept["machine"]["driver"] == "1.2"


@pytest.mark.parametrize(("typed", "seconds"), [("90", 90), ("90s", 90), ("1.5min", 90)])
def test_a_budget_has_a_unit(typed: str, seconds: float) -> None:
    assert budget(typed) == seconds


@pytest.mark.parametrize("given", [["--budget", "8h"], ["--device", "gpu"], ["--nonsense"]])
def test_what_cannot_be_understood_is_one_line(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", *given]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_how_to_rehearse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu"]) == 2
    assert "--device cpu" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="takes a lock of the machine")
def test_the_rehearsal(tmp_path: Path) -> None:
    assert main(["gpu", "--device", "cpu", "--budget", "60min", "--out", str(tmp_path)]) == 0
    kept = json.loads((tmp_path / "rehearsal-cpu.json").read_text(encoding="utf-8"))
    assert kept["rehearsal"]
    assert {one["status"] for one in kept["checks"]} == {"passed", "not here"}
    assert [one["took_s"] > 0 for one in kept["commands"]] == [True] * 3
    assert "no number" in (tmp_path / "rehearsal-cpu.md").read_text(encoding="utf-8")
