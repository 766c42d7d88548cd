"""`ablate settle`: seeds for undecided claims, on a function whose outcome is a function of its seed. CPU, 8 s."""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ablate
from ablate.claims.reading import make_claim
from ablate.claims.verdicts import Verdict
from ablate.records.design import Designs
from ablate.records.manifest import load_manifest
from ablate.records.results import records
from ablate.sweeping import launch
from ablate.sweeping.settle.settling import ending
from ablate.sweeping.settle.show import View
from ablate.sweeping.settle.standing import Prices, Standing, best
from ablate.sweeping.summary import Summary

CLI = Callable[..., Any]

RULE = """
import random

def rule(effect: float = 0.0, *, seed: int) -> dict[str, float]:
    '''Seeds differ by a unit; every effect has its own luck.'''
    return {"loss": 10 + effect + random.Random(f"{seed}-{effect}").gauss(0, 1)}
"""

pytestmark = pytest.mark.usefixtures("nothing_stays")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sweep is trained, by the first test that asks for it."""
    return tmp_path_factory.mktemp("settle") / "made"


@pytest.fixture
def made(main: CLI, tmp_path: Path, once: Path) -> Path:
    """Six seeds of four settings: 0 and 0.02 can hardly be told apart, 1 and 5 can."""
    folder = tmp_path / "results" / "made"
    (tmp_path / "made.py").write_text(RULE)
    if once.exists():
        shutil.copytree(once, folder)
        return folder
    arguments = ("experiment=made.py:rule", "effect=0,0.02,1,5", "seeds=6", "name=made", "report=false")
    assert main("run", *arguments).status == 0
    shutil.copytree(folder, once)
    return folder


def seeds(folder: Path) -> dict[float, int]:
    found: dict[float, int] = {}
    for record in records(folder):
        assert isinstance(record, dict)
        effect = record["config"]["task"]["effect"]
        found[effect] = found.get(effect, 0) + 1
    return found


@pytest.mark.full
def test_it_trains_until_a_claim_is_decided_and_touches_no_other_setting(main: CLI, made: Path) -> None:
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--seeds", "80")
    assert done.status == 0
    assert "1 decided" in done.err.splitlines()[-1]
    there = seeds(made)
    assert 7 <= there[0] == there[1] < 80
    assert there[0.02] == there[5] == 6
    judged = json.loads(main("claims", "results/made", "0 < 1", "--by", "effect", "--json").out)
    [claim] = judged["sweeps"][0]["claims"]
    assert claim["verdict"] == "confirmed"
    assert claim["always_valid"]
    assert claim["design"].startswith("always-valid, extended from 6 to ")
    assert claim["e"] >= 20


def test_excluded_runs_are_replaced_by_other_seeds(main: CLI, made: Path) -> None:
    assert main("exclude", "results/made", "seed=2", "--because", "the machine was hot").status == 0
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--seeds", "80")
    assert done.status == 0
    assert "1 decided" in done.err.splitlines()[-1]
    assert seeds(made)[0] == seeds(made)[1] > 6
    judged = json.loads(main("claims", "results/made", "0 < 1", "--by", "effect", "--json").out)
    [claim] = judged["sweeps"][0]["claims"]
    assert claim["n"] == seeds(made)[0] - 1


def test_seeds_with_a_gap_get_those_between(main: CLI, made: Path) -> None:
    arguments = ("experiment=made.py:rule", "effect=0,1", "name=made", "report=false")
    assert main("run", *arguments, "seed=8", "seeds=1").status == 0
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--seeds", "80")
    assert "1 decided" in done.err.splitlines()[-1]
    stored = [record for record in records(made) if isinstance(record, dict)]
    own = sorted(record["seed"] for record in stored if record["config"]["task"]["effect"] == 0)
    assert own[:9] == list(range(9))


def test_a_batch_that_brings_no_run_is_not_asked_for_again(
    main: CLI, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def nothing(configs: list[Any], *given: Any, **named: Any) -> Summary:
        asked.append(len(configs))
        return Summary(made)

    monkeypatch.setattr("ablate.sweeping.settle.settling.run_sweep", nothing)
    done = main("settle", "results/made", "0 < 1", "--by", "effect")
    assert len(asked) == 1
    assert "1 open (not tried)" in done.err


def test_why_a_claim_cannot_be_tested_is_said(main: CLI, made: Path) -> None:
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--where", "effect=7")
    assert done.status == 0
    assert "not testable" in done.out
    assert "0 < 1: No setting with effect=7 (there is effect=" in done.err


def test_a_table_too_wide_for_the_terminal_loses_no_column(
    main: CLI, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    for command in (["settle", "--plan"], ["claims"]):
        said = main(command[0], "results/made", "0 < 0.02", "--by", "effect", *command[1:]).out
        heading = next(line for line in said.splitlines() if line.startswith("verdict"))
        assert heading.split()[-1] == "needed"
        assert re.search(r"\d \(\d+–\d*\)", said)


def test_what_more_seeds_cannot_decide_is_said(main: CLI, made: Path) -> None:
    done = main("settle", "results/made", "0 < 0.02", "--by", "effect", "--seeds", "9")
    assert done.status == 0
    assert "1 would need more than 9 seeds" in done.err.splitlines()[-1]
    assert max(seeds(made).values()) <= 9


def test_the_plan_says_what_it_takes_and_trains_nothing(main: CLI, made: Path) -> None:
    before = (made / "sweep.json").read_bytes()
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--plan")
    assert done.status == 0
    assert "runs more if all is as it seems" in done.err
    assert "0 < 1" in done.out
    assert set(seeds(made).values()) == {6}
    assert (made / "sweep.json").read_bytes() == before


def test_claims_that_the_most_seeds_would_not_decide_are_not_said_to_be_decided_by_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr("ablate.sweeping.settle.show.print_table", lambda out, table: None)
    monkeypatch.setattr("ablate.sweeping.settle.show.evidence_table", lambda found, level: None)
    monkeypatch.setattr(View, "say", lambda view, text: said.append(text))
    for needed, wanted in ((3230, 100), (90, 90)):
        verdict: Any = SimpleNamespace(verdict="undecided", needed=needed)
        standing = Standing(None, verdict, ("x",), there=3, wanted=wanted)  # type: ignore[arg-type]
        View(0.95).begin([standing], (wanted - 3, 7.0))
    assert said == [
        "1 claim to decide: 97 runs more, about 7 s; if all is as it seems, it needs more seeds than that",
        "1 claim to decide: 87 runs more if all is as it seems, about 7 s",
    ]


@pytest.mark.full
def test_a_decided_claim_costs_nothing(main: CLI, made: Path) -> None:
    done = main("settle", "results/made", "0 < 5", "--by", "effect")
    assert "1 decided" in done.err
    assert set(seeds(made).values()) == {6}


@pytest.mark.full
def test_the_same_command_goes_on_where_it_was_stopped(main: CLI, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("settle", "results/made", "0 < 1", "--by", "effect", "--seeds", "80")

    def stopped_once(*given: Any, **named: Any) -> Summary:
        return replace(run_sweep(*given, **named), interrupted=True)

    run_sweep = launch.run_sweep
    with monkeypatch.context() as once:
        once.setattr("ablate.sweeping.settle.settling.run_sweep", stopped_once)
        stopped = main(*command)
    assert stopped.status == 130
    assert "run the same command again to resume" in stopped.err
    kept = seeds(made)
    assert kept[0] > 6
    assert re.search(rf"undecided.* {kept[0]} ", stopped.out)  # by the runs that are there
    done = main(*command)
    assert done.status == 0
    assert "1 decided" in done.err
    assert seeds(made)[0] > kept[0]
    assert len([one for one in load_manifest(made)["commands"] if "settle" in one]) == 1


def test_a_budget_that_is_spent_leaves_claims_open(main: CLI, made: Path) -> None:
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--budget", "0.000001s")
    assert done.status == 0
    assert "1 open (the budget is spent)" in done.err
    assert set(seeds(made).values()) == {6}


@pytest.mark.full
def test_several_claims_share_settings(main: CLI, made: Path) -> None:
    """What is decided by a fixed number of seeds is judged anew once its settings were extended."""
    done = main("settle", "results/made", "0 < 1", "1 < 5", "0 < 5", "--by", "effect", "--seeds", "60")
    assert "3 decided" in done.err.splitlines()[-1]
    declared = {
        len(numbers): settings
        for numbers, settings in ((entry["declared"], entry["settings"]) for entry in load_manifest(made)["design"])
    }
    assert 1 in declared  # 0.02, which no claim names
    assert max(declared) > 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/made", "--budget", "5"], "'5'"),
        (["results/made", "--budget", "-3m"], "--budget"),
        (["results/made", "--seeds", "1"], "'1'"),
        (["results/made", "--seeds", "many"], "'many'"),
        (["results/made"], "no claim belongs to made"),
        (["results/none", "0 < 1"], "results/none"),
        (["results/made", "results/none", "0 < 1"], "one folder, not 2"),
        (["0 < 1"], "one folder, not 0"),
        (["results/made", "0 < 7"], "'7'"),
        (["results/made", "--claims", "none.yaml"], "none.yaml"),
        (["results/made", "--metric", "value"], "are of a claim on the line"),
    ],
)
def test_mistakes_are_one_line(
    main: CLI, made: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        done = main("settle", *arguments)
        status, line = done.status, done.err
    except SystemExit as stop:
        status, line = int(stop.code or 0), capsys.readouterr().err
    assert status == 2
    assert said in line
    assert len(line.strip().splitlines()) == 1
    assert set(seeds(made).values()) == {6}


def test_runs_of_an_edited_function_are_not_mixed(main: CLI, made: Path, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(RULE.replace("10 + effect", "11 + effect"))
    done = main("settle", "results/made", "0 < 1", "--by", "effect")
    assert done.status == 2
    assert "another version" in done.err
    assert "ablate exclude results/made" in done.err, "the command, given again, would train others beside them"
    assert set(seeds(made).values()) == {6}


@pytest.mark.parametrize("excluded", [False, True])
def test_what_does_not_count_stands_in_the_way_of_no_settling(
    main: CLI, made: Path, tmp_path: Path, excluded: bool
) -> None:
    """Runs of a function that has been edited since, left out by the frames or by hand: those of today are settled."""
    before = [str(run["run_id"]) for run in records(made) if isinstance(run, dict)]
    (tmp_path / "made.py").write_text(RULE.replace("10 + effect", "11 + effect"))
    arguments = ("experiment=made.py:rule", "effect=0,1", "seeds=6", "name=made", "report=false")
    assert main("run", *arguments).status == 0
    others = [run for run in records(made) if isinstance(run, dict) and run["config"]["task"]["effect"] in (0.02, 5)]
    left_out = before if excluded else [str(run["run_id"]) for run in others]  # of the others there is no newer state
    assert main("exclude", "results/made", *left_out, "--because", "edited since").status == 0
    done = main("settle", "results/made", "0 < 1", "--by", "effect", "--seeds", "8")
    assert done.status == 0, done.err
    assert seeds(made)[0.02] == seeds(made)[5] == 6
    assert seeds(made)[0] >= 12


@pytest.mark.full
def test_networks_are_extended_as_their_records_say(main: CLI, small_arguments: list[str], tmp_path: Path) -> None:
    arguments = [one for one in small_arguments if not one.startswith("seeds")]
    run = main("run", *arguments, "lr=0.5,0.501", "seeds=3", "seed=5", "name=nets", "report=false")
    assert run.status == 0
    done = main("settle", "results/nets", "lr=0.501 < lr=0.5", "--seeds", "30")
    assert done.status == 0
    stored = [one for one in records(tmp_path / "results" / "nets") if isinstance(one, dict)]
    by_setting: dict[str, list[int]] = {}
    for one in stored:
        by_setting.setdefault(one["setting_id"], []).append(one["seed"])
    assert len(by_setting) == 2
    for own in by_setting.values():
        assert sorted(own) == list(range(5, 5 + len(own)))
        assert len(own) > 3


def test_a_failing_function_ends_it_with_its_settings(main: CLI, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not over and over: the claim stays open, and the exit status says so."""
    ran: list[int] = []

    def failing(*given: Any, **named: Any) -> Summary:
        ran.append(1)
        summary = Summary(made)
        summary.failures.append(("rule effect=0", "it broke"))
        return summary

    monkeypatch.setattr("ablate.sweeping.settle.settling.run_sweep", failing)
    done = main("settle", "results/made", "0 < 1", "--by", "effect")
    assert (done.status, len(ran)) == (1, 1)


# --- which claim first ------------------------------------------------------------------------------------------------


def open_(name: str, settings: Iterable[str], wanted: int) -> Standing:
    claim = make_claim({"id": name, "statement": name, "order": {"along": "model", "ascending": ["gru", "lstm"]}})
    return Standing(claim, Verdict(name, name, "", "undecided", "tail_perplexity"), tuple(settings), 6, wanted)


def test_the_claim_that_decides_most_for_a_second_is_first() -> None:
    prices = Prices({"a": 1.0, "b": 1.0, "c": 100.0}, {"a": 6, "b": 6, "c": 6})
    cheap, dear = open_("cheap", "ab", 20), open_("dear", "ac", 20)
    assert best([dear, cheap], prices) is cheap
    few, many = open_("few", "ab", 10), open_("many", "ab", 40)
    assert best([many, few], prices) is few
    shared, alone = [open_(f"shared {k}", "ab", 20) for k in range(5)], open_("alone", "ab", 10)
    assert best([alone, *shared], prices) in shared  # 28 seconds decide six claims, 8 decide one


def test_the_end_in_a_sentence() -> None:
    done, beyond, left = open_("a", "ab", 20), open_("b", "ab", 0), open_("c", "ab", 20)
    done = replace(done, verdict=replace(done.verdict, verdict="confirmed"), wanted=0)
    untestable = replace(beyond, verdict=replace(beyond.verdict, verdict="not testable"))
    assert ending([done, done, beyond], 400, False) == "2 decided, 1 would need more than 400 seeds"
    assert "1 open (the budget is spent)" in ending([done, left], 400, True)
    assert ending([untestable], 400, False) == "0 decided, 1 that no seed decides"


def test_a_sweep_that_settle_extended_stays_always_valid() -> None:
    assert Designs({"a": ((6, "t"), (9, "u"))}).numbers("a") == (6, 9)


@pytest.mark.full
def test_python_settles_as_the_command_does(made: Path) -> None:
    sweep = ablate.load(made)
    assert len(sweep) == 24
    [one] = sweep.settle("0 < 1", seeds=80, progress=False)
    assert one.verdict == "confirmed"
    assert one.always_valid
    assert len(sweep) == sum(seeds(made).values()) > 24  # which it reads anew
    assert seeds(made)[0.02] == 6
    [other] = sweep.settle("0 < 5", by="effect", where={"effect": [0.0, 5.0]}, progress=False)
    assert other == sweep.claim("0 < 5", by="effect", where={"effect": [0.0, 5.0]})
    with pytest.raises(ablate.UserError, match="no claim"):
        sweep.settle(progress=False)
    shutil.copytree(made, made.parent / "other")
    with pytest.raises(ablate.UserError, match="one sweep"):
        ablate.load(made, made.parent / "other").settle()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": 1}, "seeds is 1;"),
        ({"seeds": "20"}, "seeds is '20'"),
        ({"seeds": 2.5}, "seeds is 2.5"),
        ({"seeds": True}, "seeds"),
        ({"budget": 0}, "budget is 0"),
        ({"budget": "30m"}, "'30m'"),
        ({"budget": math.nan}, "nan"),
    ],
)
def test_what_python_cannot_settle_by_is_one_line(made: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ablate.UserError, match=said) as caught:
        ablate.load(made).settle("0 < 1", **given)
    assert "\n" not in str(caught.value)
