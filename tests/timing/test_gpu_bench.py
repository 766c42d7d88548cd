"""`ablate bench gpu`: its checks on a GPU where there is one, and its rehearsal, plan of time and page on a CPU.

The checks that are marked need a CUDA GPU, and run nowhere else; the rest takes 2 s, with `full` 30 s.
"""

import json
import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml

from ablate.cli.bench import budget, main
from ablate.config.registry import DATASETS
from ablate.timing.gpu import apart as apart_module
from ablate.timing.gpu import bench, checks, commands, compiling, page, table, work
from ablate.timing.gpu.apart import Apart, limit_of
from ablate.timing.gpu.budget import SHARES, Budget
from ablate.timing.gpu.commands import Command
from ablate.timing.gpu.goals import RATIOS, goals
from ablate.timing.gpu.table import Cell, cells
from ablate.timing.gpu.work import FULL, REHEARSAL, ways
from ablate.timing.process import WorkerFailed, WorkerHung

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@needs_gpu
@pytest.mark.parametrize("name", checks.CHECKS)
def test_a_gpu_is_right(name: str) -> None:
    assert checks.CHECKS[name](torch.device("cuda")) == ""


@pytest.mark.full
def test_the_cpu_is_right() -> None:
    found = {name: checks.checked(name, CPU).status for name in checks.CHECKS}
    gpus = {"tf32 and bf16 against float64", "graphs against launches"}
    assert found == {name: "not here" if name in gpus else "passed" for name in checks.CHECKS}


def test_tasks_are_checked_on_data_that_need_no_download() -> None:
    picked = dict(checks._tasks())
    assert picked["translation"] == ["data=number_pairs"]
    assert picked["memory"] == ["data=copy"]
    names = [word.removeprefix("data=") for words in picked.values() for word in words if word.startswith("data=")]
    assert all(DATASETS[name].generated or DATASETS[name].own_file for name in names)


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
    found = [checks.checked(name, CPU) for name in checks.CHECKS]
    assert [one.status for one in found] == ["failed", "failed", "passed"]
    assert "illegal memory access" in found[0].told
    assert "\n" not in found[0].told


def test_each_part_may_take_its_share_and_what_those_before_it_left() -> None:
    clock = iter([0.0, 0.0, 50.0, 50.0, 99.0, 101.0])
    budget = Budget(100.0, now=lambda: next(clock))
    before_table = SHARES["kernels"] + SHARES["checks"]
    assert budget.left_s("checks") == pytest.approx(100 * before_table)
    assert budget.left_s("table") == pytest.approx(max(0, 100 * (before_table + SHARES["table"]) - 50))
    assert budget.left_s("commands") == pytest.approx(100 * sum(SHARES.values()) - 50)
    assert (budget.left_s("commands"), budget.left_s("commands")) == (0, 0)
    assert sum(SHARES.values()) < 1, "the page needs time, too"


def test_without_time_nothing_is_begun_and_it_is_said() -> None:
    budget = Budget(0.0)
    with Apart("cpu", rehearsal=True) as apart:
        assert {one.status for one in checks.run(apart, budget, lambda _: None)} == {"not run"}
        assert table.measured(REHEARSAL, CPU, apart, budget, lambda _: None) == []
        assert apart.process is None
    assert all(one.took_s is None and one.why for one in commands.timed(REHEARSAL, "cpu", budget, lambda _: None))
    assert len(budget.left_out) == len(checks.CHECKS) + 1 + len(list(commands.commands(REHEARSAL)))


class Broken:
    """In the place of processes: each does to a request what `does` says of it."""

    does: ClassVar[dict[str, Any]] = {}
    started = 0

    def __init__(self, module: str) -> None:
        Broken.started += 1

    def ask(self, request: dict[str, Any], limit_s: float, expected: float) -> dict[str, Any]:
        made = self.does[str(next(request[kind] for kind in ("check", "cell", "kernels") if kind in request))]
        if isinstance(made, Exception):
            raise made
        return dict(made)

    def end(self) -> None:
        pass


def test_what_ends_a_process_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that hangs, one that ends its process and one that leaves the card unusable; then numbers alike."""
    monkeypatch.setattr(apart_module, "Process", Broken)
    monkeypatch.setattr(checks, "CHECKS", dict.fromkeys("abcde"))
    ok = {"check": "a", "status": "passed", "told": ""}
    lost = {"check": "d", "status": "failed", "told": "AcceleratorError: CUDA error: an illegal memory access"}
    Broken.does = {"a": ok, "b": WorkerHung("said nothing"), "c": WorkerFailed("ended with status -11"), "d": lost}
    Broken.does |= {"e": ok | {"check": "e"}}
    Broken.started = 0
    with Apart("cuda:0", rehearsal=False) as apart:
        found = checks.run(apart, Budget(1e6), lambda _: None)
        assert [one.status for one in found] == ["passed", "not done", "failed", "failed", "passed"]
        assert Broken.started == 4
        plan = [cell for cell, _ in cells(REHEARSAL, CPU)]
        Broken.does = {str(number): asdict(replace(cell, us=1.0)) for number, cell in enumerate(plan)}
        Broken.does |= {"1": WorkerFailed("ended with status -9"), "2": asdict(replace(plan[2], why="CUDA error: x"))}
        timed = table.measured(REHEARSAL, CPU, apart, Budget(1e6), lambda _: None)
    assert [cell.us for cell in timed[:4]] == [1.0, None, None, 1.0]
    assert len(timed) == len(plan)
    assert timed[1].why == "ended with status -9"
    assert Broken.started == 6


def test_kernels_are_compiled_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart_module, "Process", Broken)
    monkeypatch.setattr(compiling, "cores", lambda: 4)
    plan = list(compiling.wanted(FULL))
    Broken.does, Broken.started = {str(one): {"name": "triton"} for one in plan}, 0
    Broken.does[str(plan[1])] = WorkerFailed("ended with status -11")
    found = compiling.compiled(FULL, CPU, Budget(1e6), lambda _: None)
    assert 1 <= Broken.started <= 4
    assert sorted(found.values()) == ["ended with status -11"] + ["triton"] * (len(plan) - 1)
    assert {(cell.model, cell.num_hiddens, cell.precision) for cell, _ in cells(FULL, CPU)} <= {one[:3] for one in plan}
    budget = Budget(0.0)
    assert compiling.compiled(FULL, CPU, budget, lambda _: None) == {}
    assert str(len(plan)) in budget.left_out[0]


def test_the_variants_are_those_of_the_preset() -> None:
    sweep = yaml.safe_load((Path(__file__).parents[2] / "sweeps" / "lstm_odyssey.yaml").read_text())
    assert sweep["hydra"]["sweeper"]["params"]["model"] == ",".join(commands.VARIANTS)
    assert sweep["num_hiddens"] == commands.TUNED_H


@pytest.mark.full
@pytest.mark.skipif(os.name != "posix", reason="signals a process")
def test_a_process_answers_hangs_and_is_begun_again() -> None:
    with Apart("cpu", rehearsal=True) as apart:
        number = next(n for n, (_, way) in enumerate(cells(REHEARSAL, CPU)) if way.name == "torch.nn")
        found = Cell(**apart.ask({"cell": number, "for_s": 0.01}, 300))
        assert found.us is not None
        assert "not on a CUDA device" in apart.ask({"kernels": next(compiling.wanted(REHEARSAL))}, 300)["name"]
        with pytest.raises(WorkerFailed, match="IndexError"):
            apart.ask({"cell": 1000, "for_s": 0.01}, 300)
        apart.ask({"cell": number, "for_s": 0.01}, 300)
        first = apart.process
        assert first is not None
        os.kill(first.process.pid, signal.SIGSTOP)
        with pytest.raises(WorkerHung, match="nothing for 1 s and was ended"):
            apart.ask({"cell": number, "for_s": 0.01}, 1)
        assert first.process.poll() is not None
        assert Cell(**apart.ask({"cell": number, "for_s": 0.01}, 300)).us is not None


def test_each_thing_has_two_thirds_of_what_is_left() -> None:
    budget = Budget(100.0, now=iter([0.0, 0.0, 11.0]).__next__)
    assert limit_of(budget, "kernels") == pytest.approx(28 / 3)
    assert limit_of(budget, "kernels") == pytest.approx(2)


def test_what_was_found_before_the_end_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table ends with what nobody has thought of."""

    def breaks(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compiling, "compiled", lambda *_: {})
    monkeypatch.setattr(checks, "run", lambda *_: [checks.Outcome("one check", "passed")])
    monkeypatch.setattr(table, "measured", breaks)
    monkeypatch.setattr(bench, "speed_lane", nullcontext)
    with pytest.raises(KeyboardInterrupt):
        bench.run(bench.Options("cpu", 100.0, tmp_path))
    assert "one check | passed" in (tmp_path / "rehearsal-cpu.md").read_text(encoding="utf-8")


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
    numbers = table_of(2000.0, 60.0)
    found = {one.name: one.met for one in goals(numbers, [], FULL)}
    assert found == {
        f"ratio to torch.nn, H {H}, {precision}": least <= 2000 / 60
        for H, least in RATIOS.items()
        for precision in ("ieee", "tf32")
    }
    numbers[0].us = 20_000.0  # torch.nn of the gru at the smallest size: the others have not moved
    assert {one.name: one.met for one in goals(numbers, [], FULL)} == found
    for cell in numbers:
        cell.us = None if cell.model == "gru" else cell.us
    assert goals(numbers, [], FULL)[-1].met is None, "of one model it is not known"
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
    numbers = table_of(2175.0, 56.0)
    numbers[-1].us, numbers[-1].why = None, "needs 900 GiB"
    found = page.Found(
        checks=[checks.Outcome("engines", "passed")],
        table=numbers,
        kernels={"gru 32 R 20 ieee": "triton-persistent"},
        commands=[Command("one setting", ("model=gru",), 7.5)],
        goals=goals(numbers, [], FULL),
        left_out=["a thing"],
        states={"at the start": state | {"limits": ["power cap"], "others": 0}},
        spent_s=400.0,
    )
    json_path, page_path = page.write(tmp_path, facts, FULL, found)
    assert (json_path.name, page_path.name) == ("nvidia-h200.json", "nvidia-h200.md")
    text = page_path.read_text(encoding="utf-8")
    for word in (
        "NVIDIA H200",
        "triton-persistent: gru 32",
        "2,175",
        "needs 900 GiB",
        "7.5 s",
        "power cap",
        "a thing",
        "aaaaaaaaaaaa",
    ):
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
