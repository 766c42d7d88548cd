"""The numbers of seeds that a sweep was declared with, as its manifest keeps them and as older ones imply. CPU."""

from pathlib import Path

import pytest

from ablate.records import results
from ablate.records.design import Declared, Designs, as_manifest, declare, numbers_of, of_manifest, seeds_asked_for
from ablate.records.exclusion import exclude
from tests.report.made import config, write_manifest, write_run


@pytest.mark.parametrize(
    ("before", "asked", "there", "seen", "numbers"),
    [
        ((), 6, 0, False, [6]),
        (((6, "t"),), 20, 0, False, [20]),  # nobody can have looked
        (((6, "t"),), 20, 6, True, [6, 20]),
        (((6, "t"),), 20, 3, True, [6, 20]),
        (((20, "t"),), 20, 3, True, [20]),  # stopped, and going on
        (((6, "t"), (20, "t")), 10, 20, True, [6, 20]),
        (((6, "t"),), 20, 0, True, [6, 20]),  # trained again by other code
        ((), 6, 6, True, []),  # of which nothing is known: as many may be there as were needed
        ((), 20, 6, True, [6, 20]),
    ],
)
def test_a_declaration(before: Declared, asked: int, there: int, seen: bool, numbers: list[int]) -> None:
    assert [seeds for seeds, _ in declare(before, asked, there, seen, "now")] == numbers


def test_as_the_manifest_has_it_and_back() -> None:
    designs: dict[str, Declared] = {"a": ((6, "t"),), "b": ((6, "t"), (20, "u")), "c": ((6, "t"),)}
    kept = as_manifest(designs)
    assert [entry["settings"] for entry in kept] == [["a", "c"], ["b"]]
    assert of_manifest({"design": kept}) == designs
    assert of_manifest({}) == of_manifest({"design": "damaged"}) == of_manifest({"design": [{"settings": ["a"]}]}) == {}


@pytest.mark.parametrize(
    ("commands", "numbers"),
    [
        (["ablate model=gru seeds=10"], (10,)),
        (["ablate model=gru"], (6,)),
        (["python -m ablate sweeps=table20_lstm_layers"], (20,)),
        (["python -m ablate sweeps=table20_lstm_layers seeds=3"], (3,)),
        (["ablate seeds=10 a=1", "ablate seeds=6 a=1", "ablate seeds=17 a=1"], (10, 6, 17)),
        (["ablate seeds=6 a=1", "ablate seeds=6 a=2"], (6,)),
        (["ablate search model=gru seeds=5"], ()),
        (["ablate seeds=6 a=1", "ablate settle results/x --seeds 40"], (6,)),
        (["ablate sweeps=no_such_preset"], ()),
    ],
)
def test_what_commands_asked_for(commands: list[str], numbers: tuple[int, ...]) -> None:
    assert numbers_of(commands) == numbers


def test_a_number_that_is_none_is_not_known() -> None:
    assert seeds_asked_for(["ablate", "seeds=many"]) is None


def test_an_older_manifest_says_it_by_its_commands(tmp_path: Path) -> None:
    write_manifest(tmp_path, commands=["ablate seeds=6", "ablate seeds=20"])
    assert Designs.read(tmp_path, {"a"}).numbers("a") == (6, 20)


def test_a_folder_without_a_manifest_says_nothing(tmp_path: Path) -> None:
    assert Designs.read(tmp_path, {"a"}).numbers("a") == ()


@pytest.mark.parametrize("left", ["search.json", "study.db", "study.journal", "trials.csv"])
def test_of_a_search_nothing_was_declared(tmp_path: Path, left: str) -> None:
    """However it keeps its study, and whether or not it has concluded."""
    write_manifest(tmp_path, commands=["ablate seeds=6"])
    (tmp_path / left).write_text("{}")
    assert Designs.read(tmp_path, {"a"}).numbers("a") == ()


def test_excluded_runs_are_counted(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, config(), seed, 3.0)
    setting = str(next(iter(results.records(tmp_path)))["setting_id"])
    write_manifest(tmp_path, commands=["ablate seeds=2"])
    exclude(tmp_path, ["seed=1"], "the machine was hot")
    [excluded] = Designs.read(tmp_path, {setting}).excluded[setting]
    assert results.read(tmp_path, excluded)["seed"] == 1


def test_an_excluded_run_that_is_not_there_any_more_hides_nothing(tmp_path: Path) -> None:
    setting = str(results.read(tmp_path, write_run(tmp_path, config(), 0, 3.0))["setting_id"])
    write_manifest(tmp_path, commands=["ablate seeds=1"])
    exclude(tmp_path, ["seed=0"], "the machine was hot")
    (tmp_path / "runs").rename(tmp_path / "away")
    assert Designs.read(tmp_path, {setting}).numbers(setting) == (1,)


def test_sweeps_read_as_one() -> None:
    """The commands of one say nothing of the settings that the other alone has."""
    one = Designs({"a": ((6, "t"),), "b": ((6, "t"),)}, excluded={"a": frozenset("x")})
    other = Designs({"a": ((6, "t"), (20, "u"))}, {"b": (3,), "c": (3,)}, {"a": frozenset("xy")})
    for joined in (one.joined(other), other.joined(one)):
        assert [joined.numbers(name) for name in "abcd"] == [(6, 20), (3, 6), (3,), ()]
        assert joined.excluded == {"a": frozenset("xy")}


@pytest.mark.parametrize(
    ("one", "other", "numbers"),
    [
        (((6, "t1"),), ((20, "t2"),), (6, 20)),
        (((20, "t1"),), ((6, "t2"),), (20,)),
        (((6, "t1"), (20, "t3")), ((10, "t2"),), (6, 10, 20)),
        (((20, None),), ((6, "t1"), (30, "t2")), (20, 30)),
        (((6, None),), ((20, None),), (6, 20)),
        (((20, "t1"),), ((20, "t2"),), (20,)),
    ],
)
def test_what_both_hold_was_extended_in_the_order_of_time_not_of_the_folders(
    one: Declared, other: Declared, numbers: tuple[int, ...]
) -> None:
    first, second = Designs({"a": one}), Designs({"a": other})
    assert first.joined(second).numbers("a") == second.joined(first).numbers("a") == numbers
    commands = [Designs(by_commands={"a": tuple(seeds for seeds, _ in history)}) for history in (one, other)]
    assert commands[0].joined(commands[1]).by_commands == commands[1].joined(commands[0]).by_commands
