"""Samples of speed: which are clean, and the number with its interval that follows from made-up ones. CPU, 3 s."""

from typing import Any

import numpy as np
import pytest

from ablate.stats import process_interval
from ablate.timing.machine import Load
from ablate.timing.samples import LEAST_SAMPLES, Protocol, Timing, sample, summarise, why_unclean

QUICK = Protocol(precision=0.5, limit_s=2.0, sample_s=0.02, launches=2)
LAUNCHES = QUICK.launches


def taken(tokens_per_s: float, launch: int, unclean: str = "") -> dict[str, Any]:
    load = {"others": 0.0, "stolen": 0.0}
    return {"tokens_per_s": tokens_per_s, "launch": launch, "unclean": unclean, "seconds": 0.1} | load


def samples(*processes: list[float], unclean: str = "") -> list[dict[str, Any]]:
    return [taken(value, launch, unclean) for launch, values in enumerate(processes) for value in values]


def test_the_interval_is_that_of_the_medians_of_processes_on_logs() -> None:
    """Against the textbook: exp(mean ± t s/√n) of the logarithms."""
    medians = [100.0, 104.0, 98.0, 101.0, 103.0]
    middle, low, high = process_interval([np.array([m - 1, m, m + 50]) for m in medians], 0.95)
    logs = np.log(medians)
    assert middle == pytest.approx(np.exp(logs.mean()))
    t, error = 2.7764451, logs.std(ddof=1) / 5**0.5
    assert (low, high) == pytest.approx((np.exp(logs.mean() - t * error), np.exp(logs.mean() + t * error)))
    assert process_interval([np.full(5, 7.0)] * 5, 0.95) == pytest.approx((7.0, 7.0, 7.0))


def test_more_samples_of_one_process_make_it_no_narrower() -> None:
    few, many = ([np.repeat(m, n) for m in (90.0, 95.0, 100.0, 105.0, 110.0)] for n in (3, 300))
    assert process_interval(few, 0.95) == process_interval(many, 0.95)


@pytest.mark.parametrize("n", [1, 4])
def test_few_processes_give_no_interval(n: int) -> None:
    assert process_interval([np.full(9, 7.0)] * n, 0.95) == (pytest.approx(7.0), None, None)


@pytest.mark.full
@pytest.mark.parametrize("processes", [5, 8])
@pytest.mark.parametrize("within", [0.001, 0.05])
def test_the_interval_covers_what_it_says(processes: int, within: float) -> None:
    """Processes differ by 2 %, samples of one by `within`: the true speed is in 95 % of the intervals, ± 4 errors."""
    rng, tries, covered = np.random.default_rng(1), 2000, 0
    for _ in range(tries):
        own = rng.normal(np.log(100), 0.02, processes)
        _, low, high = process_interval([np.exp(rng.normal(middle, within, 9)) for middle in own], 0.95)
        assert low is not None
        assert high is not None
        covered += low <= 100 <= high
    assert abs(covered / tries - 0.95) < 4 * (0.95 * 0.05 / tries) ** 0.5


@pytest.mark.parametrize(
    ("load", "word"),
    [
        ({}, ""),
        ({"others": 0.5}, "other programs used 50% of a core"),
        ({"stolen": 0.2}, "the host took 20% of a core away"),
        ({"off_cpu": 0.3}, "off its core for 30% of the time"),
        ({"off_cpu": None}, ""),
        ({"others": None, "stolen": None}, ""),
        ({"others": None, "stolen": None, "off_cpu": 0.3}, "off its core for 30% of the time"),
    ],
)
def test_what_spoils_a_sample(load: dict[str, Any], word: str) -> None:
    reason = why_unclean({"others": 0.0, "stolen": 0.0, "off_cpu": 0.0} | load)
    assert (reason == "") == (word == "")
    assert word in reason


def test_unclean_samples_enter_no_median() -> None:
    clean = samples(*[[100.0] * 5] * LAUNCHES)
    spoiled = samples(*[[10.0] * 4] * LAUNCHES, unclean="a hog")
    summary = summarise(clean + spoiled, QUICK)
    assert summary["tokens_per_s"] == pytest.approx(100.0)
    assert (summary["n"], summary["of"]) == (5 * LAUNCHES, 9 * LAUNCHES)
    assert summarise(clean + spoiled + spoiled, QUICK)["tokens_per_s"] is None  # most are spoiled: what is clean?


def test_too_few_clean_samples_give_no_number_but_the_reason() -> None:
    clean = samples(*[[100.0] * 5] * (LAUNCHES - 1))  # the last process gives none
    spoiled = samples(*[[10.0] * 9] * LAUNCHES, unclean="a hog")
    summary = summarise(clean + spoiled, QUICK)
    assert summary["tokens_per_s"] is None
    told = f"only {len(clean)} of {len(clean) + len(spoiled)} samples are clean; for example a hog"
    assert told in summary["why"]


def test_an_interval_too_wide_is_said() -> None:
    rough = samples(*[[100.0 + 10 * k] * 4 for k in range(5)])
    assert "wider than ± 2%" in summarise(rough, Protocol(precision=0.02))["why"]
    assert summarise(rough, Protocol(precision=0.5))["why"] == ""


def test_without_an_interval_there_is_a_number_and_the_reason() -> None:
    summary = summarise(samples(*[[100.0] * 4] * 4), Protocol(launches=4))
    assert (summary["tokens_per_s"], summary["low"], summary["high"]) == (pytest.approx(100), None, None)
    assert "4 processes" in summary["why"]


def test_what_was_not_seen_is_not_called_clean() -> None:
    seen = samples(*[[100.0] * 4] * 5)
    unseen = [sample | {"others": None, "stolen": None} for sample in seen]
    for one, expected in ((seen, True), (unseen, False), ([*seen[:-1], unseen[-1]], False)):
        summary = summarise(one, Protocol())
        assert summary["checked"] == expected
        assert ("not checked" in summary["why"]) == (not expected)
        assert summary["tokens_per_s"] == pytest.approx(100)


def test_a_machine_that_is_busy_with_something_else_gives_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each second another program uses half of a core, and our worker a whole one; then nothing else runs."""
    loads = iter(Load(at=float(k), busy_s=1.5 * k, stolen_s=0.0) for k in range(100))
    monkeypatch.setattr(Load, "now", lambda: next(loads))
    answer = {"tokens_per_s": 100.0, "minibatches": 9, "seconds": 1.0, "cpu_s": 1.0}
    timing = Timing("a", "here", 1, {}, {})
    protocol = Protocol(launches=5)
    for own, clean in ((1.0, False), (1.5, True)):
        taken = [
            sample(timing, lambda _, own=own: answer | {"cpu_since_last_s": own}, "train", launch, protocol)  # type: ignore[misc]
            for launch in range(5)
            for _ in range(LEAST_SAMPLES)
        ]
        summary = summarise(taken, protocol)
        assert (summary["tokens_per_s"] is not None) == clean
        assert ("50% of a core" in summary["why"]) == (not clean)
