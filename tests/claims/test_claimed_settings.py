"""Which settings a claim speaks about, what is missing, and what a reader is told of it. CPU, 2 s."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.claims import Frames
from ablate.claims.choosing import claim_files, claims_for, has_all_settings
from ablate.claims.measured import roughness
from ablate.claims.reading import make_claim
from ablate.claims.table import footnote
from ablate.claims.verdicts import evaluate, verdicts_frame
from ablate.records.design import Designs
from tests.claims.judged import MODELS, SAMPLING, runs, verdict
from tests.claims.simulated import grid


def test_every_other_swept_knob_makes_a_group() -> None:
    frame = runs(grid(num_hiddens=[32, 64], model=["gru", "rnn"]), [2, 3, 1.5, 1.9])
    one = verdict(frame, order=MODELS)
    assert one.verdict == "confirmed"
    assert "of 2 comparisons" in one.evidence
    assert "at num_hiddens=64" in one.effect  # the weaker of the two
    assert one.ratio == pytest.approx(1.5 / 1.9, rel=0.05)


def test_an_undecided_claim_shows_the_part_that_it_hangs_on() -> None:
    """Three groups of six seeds; what is needed is that of the whole claim, on the side that it leans to."""
    settings = grid(num_hiddens=[8, 16, 32], model=["gru", "rnn"])
    leaning = verdict(runs(settings, [2, 3, 2, 2.1, 2, 2.9], seeds=6), order=MODELS)
    assert leaning.verdict == "undecided"
    assert re.search(r"^The least settled of 3 .*gru/rnn = 0\.9", leaning.evidence)
    assert "at num_hiddens=16" in leaning.effect
    assert leaning.ratio < 1
    assert re.search(rf"about {leaning.needed} \({leaning.needed_low} or more\) seeds", leaning.evidence)
    against = verdict(runs(settings, [2, 3, 2.1, 2, 2, 2], seeds=6), order=MODELS)
    assert against.verdict == "undecided"
    assert re.search(r"^The clearest contradiction of 3 .*gru/rnn = 1\.", against.evidence)
    assert "at num_hiddens=16" in against.effect
    frame = runs(settings, [2, 3, 2.1, 2, 2, 2], seeds=6).groupby(["num_hiddens", "model"])["tail_perplexity"]
    a, b = (np.log(frame.get_group((16, model))) for model in ("gru", "rnn"))
    alone = stats.ttest_ind(a, b, equal_var=False)
    assert against.p == pytest.approx(3 * alone.pvalue)  # of the contrary, corrected for the three
    assert against.p_rank == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)
    assert re.search(rf"; points against .*\babout {against.needed} .*seeds .*\brefute\b", against.evidence)
    none = verdict(runs(settings, [2] * 6, seeds=1), order=MODELS)
    assert "from a single value" in none.evidence


def test_of_a_claim_that_takes_most_groups_the_weakest_that_it_takes_is_named() -> None:
    """Of five groups three decide, whatever the others show: 1.3 contradicts, and is not what the verdict rests on."""
    settings = grid(num_hiddens=[8, 16, 32, 64, 128], model=["gru", "rnn"])
    medians = [value for ratio in (0.7, 0.75, 0.8, 1.3, 1.4) for value in (2 * ratio, 2.0)]
    for order, verdict_, told in (
        (["gru", "rnn"], "confirmed", "Of 5 comparisons the weakest that it takes: model gru/rnn = 0.8"),
        (["rnn", "gru"], "refuted", "Of 5 comparisons the weakest contradiction that it takes: model rnn/gru = 1.2"),
    ):
        one = verdict(runs(settings, medians), order={"along": "model", "ascending": order, "in": "most"})
        assert one.verdict == verdict_
        assert one.evidence.startswith(told)


def test_what_takes_one_of_two_comparisons_has_no_weakest() -> None:
    """Not converged: beyond one of two bounds, and far from the other."""
    frame = runs([{"model": "gru"}], [2])
    curves = pd.concat(
        pd.DataFrame({"run_id": run, "epoch": range(40), "perplexity": np.exp(-0.2 * np.arange(40)) * (1 + k / 100)})
        for k, run in enumerate(frame["run_id"])
    )
    one = verdict(Frames(frame, curves), not_converged={"within": 0.01})
    assert one.verdict == "confirmed"
    assert one.evidence.startswith("Of 2 comparisons the weakest that it takes: last 5 %")


def test_those_that_stand_are_counted_at_the_level_of_the_verdicts() -> None:
    """Nothing is corrected over a single claim: what is decided stands, at whatever level."""
    values = [2.0, 2.1, 2.2, 2.3, 2.15, 2.2, 2.4, 2.3]
    frames = Frames(runs(grid(model=["gru", "rnn"]), [1, 1], seeds=4).assign(tail_perplexity=values))
    claim = make_claim({"id": "c", "statement": "It is so.", "order": MODELS})
    for level, told in ((0.6, "1 of the 1 verdict stands"), (0.99, "1 undecided")):
        one = evaluate(frames, [claim], level)
        assert told in footnote(one, level), one
    assert 0.05 < one[0].p < 0.4


def test_settings_without_a_common_seed_are_said_where_the_test_goes_by_seed() -> None:
    frame = runs(grid(model=["gru", "rnn"]), [2, 3], seeds=16)
    apart = frame[(frame["model"] == "gru") == (frame["seed"] < 8)]
    assert verdict(apart, order=MODELS).verdict == "confirmed"
    one = verdict(Frames(apart, designs=Designs()), order=MODELS)
    assert (one.verdict, one.n, one.needed) == ("undecided", 0, None)
    assert "no seed is in all of the settings" in one.evidence


def test_of_equally_sure_steps_the_smallest_is_the_weakest() -> None:
    frame = runs(grid(num_hiddens=[32, 128, 256]), [8, 2.2, 2], seeds=8)
    one = verdict(frame, monotone={"along": "num_hiddens", "direction": "falls"})
    assert one.effect.startswith("num_hiddens 256/128 = 0.8")


def test_runs_that_fail_are_told_with_the_threshold() -> None:
    frame = runs([{}], [17])
    effect = verdict(frame, fails={"above": 9.5, "at_least": 0.5}).effect
    assert all(part in effect for part in ("10 of 10", "tail perplexity 9.5"))
    held_out = verdict(frame.assign(val_perplexity=8), metric="val_perplexity", fails={"above": 9.5, "at_least": 0.5})
    assert all(part in held_out.effect for part in ("0 of 10", "held-out perplexity 9.5"))


def test_a_gap_that_narrows_is_told_at_both_ends() -> None:
    frame = runs(grid(num_hiddens=[32, 256], model=["rnn", "gru"]), [6, 4, 2.5, 2], seeds=10)
    one = verdict(frame, narrows={"along": "num_hiddens", "between": {"model": ["rnn", "gru"]}})
    assert one.verdict == "confirmed"
    found = re.match(
        r"model rnn/gru \((1\.[45]\d+) at num_hiddens=32, (1\.[23]\d+) at 256\), num_hiddens 256/32 = (0\.8\d+) ",
        one.effect,
    )
    assert found
    at_32, at_256, change = map(float, found.groups())
    assert change == pytest.approx(at_256 / at_32, rel=0.03)


def test_where_narrows_the_settings_down() -> None:
    frame = runs(grid(num_hiddens=[32, 64], model=["gru", "rnn"]), [2, 3, 1.9, 1.5])
    assert verdict(frame, order=MODELS).verdict == "refuted"
    assert verdict(frame, order=MODELS, where={"num_hiddens": 32}).verdict == "confirmed"
    assert verdict(frame, order=MODELS, where={"num_hiddens": [32, 64]}).verdict == "refuted"


def test_null_is_a_value() -> None:
    frame = runs([{"clip": 1.0}, {"clip": None}], [2, 17])
    assert verdict(frame, where={"clip": None}, fails={"above": 9, "at_least": 0.5}).verdict == "confirmed"
    assert verdict(frame, where={"clip": 1}, fails={"above": 9, "at_least": 0.5}).verdict == "refuted"
    one = verdict(frame, ratio={"of": {"clip": None}, "to": {"clip": 1}, "above": 2})
    assert one.verdict == "confirmed"
    assert one.effect.startswith("clip null/1 = 8.")


def test_what_only_follows_makes_no_group() -> None:
    """gru has a reset place, rnn has none; formulation brings init: neither is a setting of its own."""
    settings = [{"model": "rnn", "reset": None}, {"model": "gru", "reset": "after"}]
    assert verdict(runs(settings, [3, 2]), order=MODELS).evidence.count("differs") == 0
    settings = [{"formulation": "torch", "init": "torch"}, {"formulation": "textbook", "init": "normal"}]
    one = verdict(runs(settings, [2, 3]), order={"along": "formulation", "ascending": ["torch", "textbook"]})
    assert (one.verdict, one.evidence.count("differs")) == ("confirmed", 0)


def test_what_differs_besides_is_told() -> None:
    settings = [{"batch_size": 32, "epochs": 500}, {"batch_size": 256, "epochs": 4000}]
    one = verdict(runs(settings, [2, 3]), ratio={"of": {"batch_size": 256}, "to": {"batch_size": 32}, "above": 1})
    assert one.verdict == "confirmed"
    assert "epochs differs too (500, 4000)" in one.evidence


def test_a_group_that_lacks_a_setting_is_left_out_and_named() -> None:
    settings = [
        *grid(formulation=["textbook"], sampling=["sequential", "random"]),
        {"formulation": "torch", "sampling": "sequential"},
    ]
    one = verdict(runs(settings, [2, 3, 1.5]), order={"along": "formulation", "ascending": ["torch", "textbook"]})
    assert one.verdict == "confirmed"
    assert re.search(r"left out sampling=random \(.*formulation=torch\)", one.evidence)


def test_one_change_at_a_time() -> None:
    """A star of settings around a baseline: only the two that differ in the knob itself are compared."""
    star = [{}, {"batch_size": 64}, {"num_steps": 64}, {"num_hiddens": 512}, {"lr": 0.5}, {"epochs": 200}]
    one = verdict(
        runs(star, [2, 9, 9, 9, 3, 9]), ratio={"of": {"lr": 0.5}, "to": {"lr": 1}, "above": 1}, where={"model": "rnn"}
    )
    assert one.verdict == "confirmed"
    assert one.ratio == pytest.approx(1.5, rel=0.05)
    assert "4 settings left out" in one.evidence


@pytest.mark.parametrize(
    ("claim", "missing"),
    [
        ({"order": SAMPLING}, ["setting", "sampling=random"]),
        ({"order": MODELS, "where": {"lr": 0.5}}, ["setting", "lr=0.5", "lr=1)"]),
        ({"order": {"along": "lr", "ascending": [0.1, 0.5]}}, ["setting", "lr=0.1 or lr=0.5"]),
        ({"monotone": {"along": "num_steps", "direction": "falls"}}, ["second value of num_steps"]),
        ({"no_trend": {"along": "num_hiddens"}}, ["third value of num_hiddens"]),
        ({"u_shape": {"along": "num_hiddens", "optimum": 32}}, ["num_hiddens below 32"]),
        ({"u_shape": {"along": "num_hiddens", "optimum": 64}}, ["num_hiddens above 64"]),
        ({"u_shape": {"along": "num_hiddens", "optimum": 128}}, ["setting", "num_hiddens=128"]),
        (
            {"narrows": {"along": "num_hiddens", "between": {"model": ["rnn", "lstm"]}}},
            ["second num_hiddens", "model=rnn and model=lstm"],
        ),
        ({"order": MODELS, "metric": "tokens_per_s"}, ["clean timing", "one thread", "the same command with"]),
        ({"order": MODELS, "metric": "accuracy"}, ["accuracy", "task=fill_in, memory"]),
        ({"order": MODELS, "metric": "val_perplexity"}, ["held-out perplexity", "(val_tokens=0)"]),
        ({"order": MODELS, "metric": "roughness"}, ["curve", "three epochs"]),
        ({"converged": {}}, ["curve", "two epochs"]),
        ({"order": MODELS, "needs": "a unicorn"}, ["needs a unicorn"]),
        ({"order": MODELS, "tuned": "lr"}, ["lr was not swept"]),
    ],
)
def test_not_testable_says_what_is_missing(claim: dict[str, Any], missing: list[str]) -> None:
    frame = runs(grid(num_hiddens=[32, 64], model=["gru", "rnn"]), [2, 3, 1.5, 1.9]).assign(val_perplexity=np.nan)
    one = verdict(frame, **claim)
    assert one.verdict == "not testable"
    assert [part for part in missing if part not in one.evidence] == []
    assert (one.effect, one.n, one.needed) == ("", 0, None)


def test_settings_that_never_meet() -> None:
    settings = [{"model": "gru", "num_hiddens": 32}, {"model": "rnn", "num_hiddens": 64}]
    one = verdict(runs(settings, [2, 3]), where={"formulation": "torch"}, order=MODELS)
    # Two settings that differ in two knobs: one group, and a word of warning.
    assert "num_hiddens differs too (32, 64)" in one.evidence
    settings.append({"model": "gru", "num_hiddens": 128})
    one = verdict(runs(settings, [2, 3, 2]), order=MODELS)
    assert one.verdict == "not testable"
    assert re.search(r"^No setting .*: left out num_hiddens=", one.evidence)


SCORED = {"task": "memory", "corpus": "copy"}


def scores(settings: list[dict[str, Any]], values: list[list[float]]) -> pd.DataFrame:
    """Runs of a memory task with these accuracies."""
    frame = runs(settings, [2.0] * len(settings), seeds=len(values[0]), **SCORED)
    return frame.assign(accuracy=np.ravel(values))


def test_accuracies_are_told_in_their_own_words() -> None:
    spread = np.linspace(0, 0.05, 6)
    frame = scores(grid(model=["gru", "rnn"]), [list(0.95 + spread), list(0.45 - spread)])
    one = verdict(frame, order={"along": "model", "ascending": ["rnn", "gru"]}, metric="accuracy")
    assert one.verdict == "confirmed"
    # by hand: both have the variance of 0 … 5 times 0.01², 0.00035, so that the error is √(0.0007/6), with 10 df
    half = stats.t.ppf(0.975, 10) * (0.0007 / 6) ** 0.5
    assert half == pytest.approx(0.024, abs=5e-4)
    assert re.search(r"^model rnn, gru: accuracy 0\.425 .*\b0\.975, .*−0\.550 \(−0\.574 to −0\.526\)$", one.effect)
    ends = one.difference, one.difference_low, one.difference_high
    assert ends == pytest.approx((-0.55, -0.55 - half, -0.55 + half))
    assert np.isnan([one.ratio, one.low, one.high, one.bound]).all()
    more = verdict(frame, difference={"of": {"model": "gru"}, "to": {"model": "rnn"}, "above": 0.56}, metric="accuracy")
    assert more.verdict == "undecided"
    assert re.search(r"\+0\.550 \(\+0\.526 to \+0\.574\), bound \+0\.560, n = 6\b", more.evidence)
    thin = verdict(frame[frame["seed"] < 1], order=MODELS, metric="accuracy")
    assert "(−1.000 to +1.000)" in thin.effect  # one run can reject nothing that an accuracy could be


def test_bleu_is_told_with_one_digit() -> None:
    frame = scores(grid(model=["gru", "rnn"]), [[31.0] * 6, [29.0] * 6]).rename(columns={"accuracy": "bleu"})
    one = verdict(frame, order={"along": "model", "ascending": ["rnn", "gru"]}, metric="bleu")
    assert re.search(r"^model rnn, gru: .*BLEU 29\.0 .*\b31\.0, .*−2\.0 \(−2\.0 to −2\.0\)$", one.effect)


def test_runs_that_solve_are_counted() -> None:
    frame = scores(grid(model=["gru", "rnn"]), [[1, 0.99, 1, 1, 1, 1], [0.2, 0.3, 0.98, 0, 0.1, 0.1]])
    halves = {"at_least": 0.99, "in_share": 0.5}
    gru = verdict(frame, solves=halves, metric="accuracy", where={"model": "gru"})
    assert gru.verdict == "confirmed"
    assert all(part in gru.effect for part in ("6 of 6", "accuracy 0.99", "(54%–100%)"))
    rnn = verdict(frame, does_not_solve=halves, metric="accuracy", where={"model": "rnn"})
    assert rnn.verdict == "confirmed"
    assert all(part in rnn.effect for part in ("6 of 6", "below", "0.99"))
    assert verdict(frame, solves=halves, metric="accuracy", where={"model": "rnn"}).verdict == "refuted"
    nearly = verdict(frame, solves=halves | {"in_share": 0.8}, metric="accuracy", where={"model": "gru"})
    assert nearly.verdict == "undecided"
    assert (nearly.needed or 0) >= 17  # as many alike are the fewest that show a share of 80 %
    broken = frame.assign(status=["diverged"] * 6 + ["ok"] * 6)
    assert verdict(broken, does_not_solve=halves, metric="accuracy", where={"model": "gru"}).verdict == "confirmed"


def test_a_diverged_run_fails_by_whatever_is_better_when_lower() -> None:
    frame = scores(grid(model=["gru"]), [[1.0] * 6]).rename(columns={"accuracy": "bits_per_character"})
    frame["status"] = "diverged"
    failed = verdict(frame, fails={"above": 2, "at_least": 0.5}, metric="bits_per_character")
    assert failed.verdict == "confirmed"
    assert "6 of 6" in failed.effect


def test_what_sees_the_future_is_marked() -> None:
    frame = runs(grid(bidirectional=[False, True]), [8, 2])
    frame["sees_future"] = frame["bidirectional"]
    lower = {"along": "bidirectional", "ascending": [True, False]}
    assert "1 of 2 settings see the tokens" in verdict(frame, order=lower).evidence
    own = verdict(frame, fails={"above": 9, "at_most": 0.5}, where={"bidirectional": True})
    assert "the setting sees the tokens" in own.evidence
    seen = verdict(frame, sees_future={}, where={"bidirectional": True})
    assert seen.verdict == "confirmed"
    assert "All 10 runs see the tokens" in seen.evidence
    assert seen.fact
    assert np.isnan(seen.p)
    assert (seen.share, seen.share_low) == (1, pytest.approx(np.nan, nan_ok=True))
    assert seen.sees_future
    assert verdict(frame, order=lower).sees_future
    assert not verdict(frame, sees_no_future={}, where={"bidirectional": False}).sees_future
    assert verdict(frame, sees_future={}, where={"bidirectional": False}).verdict == "refuted"
    assert verdict(frame, sees_no_future={}, where={"bidirectional": False}).verdict == "confirmed"
    some = frame.assign(sees_future=frame["bidirectional"] & (frame["seed"] > 0))  # no fact: a share of runs
    mixed = verdict(some, sees_future={}, where={"bidirectional": True})
    assert not mixed.fact
    assert mixed.effect.startswith("9 of 10 runs see")
    unknown = verdict(frame.assign(sees_future=None), sees_future={})
    assert "later tokens" in unknown.evidence
    assert "tokens to be predicted" not in verdict(frame.assign(sees_future=None), order=lower).evidence


def test_another_protocol_than_the_published_is_told() -> None:
    frame = runs(grid(model=["gru", "rnn"]), [2, 3], epochs=60, corpus="python_docs")
    one = verdict(frame, order=MODELS, source="conclusion 8 (table18)")
    assert "epochs=60, published with 500" in one.evidence
    assert "corpus=python_docs, published with time_machine" in one.evidence
    assert one.verdict == "not testable"
    assert "published" not in verdict(frame, order=MODELS).evidence
    both = runs(grid(epochs=[60, 100], model=["gru", "rnn"]), [2, 3, 2, 3], corpus="time_machine")
    assert "epochs=60, 100, published with 500" in verdict(both, order=MODELS, source="conclusion 8 (table18)").evidence
    one = verdict(frame, order=MODELS, source="conclusion 8 (table18)", where={"epochs": 60})
    assert "epochs" not in one.evidence
    asked = make_claim({"id": "c", "statement": "It is so.", "order": MODELS, "source": "conclusion 8 (table18)"})
    (told,) = evaluate(Frames(frame), [asked], any_protocol=True)
    assert told.verdict == "confirmed"
    assert "epochs=60, published with 500" in told.evidence


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({}, ""),
        ({"max_tokens": 2000}, "max_tokens=2000, in clipping 10000"),
        ({"corpus": "python_docs"}, "corpus=python_docs, in clipping time_machine"),
        ({"epochs": 5, "num_hiddens": 16}, "epochs=5, in clipping 500; num_hiddens=16, in clipping 512"),
        ({"lr": 0.5}, "lr=0.5, in clipping 1"),
    ],
)
def test_an_absolute_level_holds_for_the_protocol_of_its_preset(knobs: dict[str, Any], said: str) -> None:
    frame = runs([{"clip": None}], [17], seeds=20, formulation="textbook").assign(**{"num_hiddens": 512} | knobs)
    entry = {"id": "c", "statement": "It is so.", "where": {"clip": None}, "fails": {"above": 9.5, "at_least": 0.5}}
    (one,) = evaluate(Frames(frame), [make_claim(entry, "clipping")])
    assert (one.verdict == "not testable") == bool(said)
    assert said in one.evidence
    (asked,) = evaluate(Frames(frame), [make_claim(entry, "clipping")], any_protocol=True)
    assert asked.verdict == "confirmed"
    assert said in asked.evidence
    (of_no_preset,) = evaluate(Frames(frame), [make_claim(entry)])
    assert of_no_preset.verdict == "confirmed"


def test_a_gpu_is_named_without_its_number() -> None:
    frame = runs(grid(model=["gru", "rnn"]), [2, 3])
    gpu = verdict(frame.assign(device="cuda:0"), order=MODELS, where={"device": "cuda"})
    assert gpu.verdict == "confirmed"
    evidence = verdict(frame, order=MODELS, where={"device": "cuda"}).evidence
    assert "device=cuda" in evidence
    assert "device=cpu" in evidence


def test_roughness() -> None:
    """By hand: logs 3, 2, 1 are straight; 3, 1, 2 bend by |2 − 1 − (1 − 3)| = 3; 0, 1, 0, 1 by 2 and 2."""
    logs = {"straight": [3, 2, 1], "bent": [3, 1, 2], "zigzag": [0, 1, 0, 1], "short": [1, 2]}
    curves = pd.DataFrame(
        [
            {"run_id": name, "epoch": epoch, "perplexity": np.exp(value)}
            for name, values in logs.items()
            for epoch, value in enumerate(values, start=1)
        ]
    ).sample(frac=1, random_state=0)
    found = roughness(curves)
    assert found["bent"] == pytest.approx(3)
    assert found["zigzag"] == pytest.approx(2)
    assert 0 < found["straight"] < 1e-8
    assert np.isnan(found["short"])


def test_roughness_of_two_models() -> None:
    frame = runs(grid(model=["gru", "rnn"]), [2, 2])
    rng = np.random.default_rng(0)
    curves = pd.concat(
        pd.DataFrame(
            {"run_id": run, "epoch": range(30), "perplexity": np.exp(rng.normal(0, 0.1 if run[0] == "0" else 0.2, 30))}
        )
        for run in frame["run_id"]
    )
    claim = {"metric": "roughness", "ratio": {"of": {"model": "gru"}, "to": {"model": "rnn"}, "below": 1}}
    one = verdict(Frames(frame, curves), **claim)
    assert one.verdict == "confirmed"
    assert one.ratio == pytest.approx(0.5, rel=0.1)


def test_the_frame_of_verdicts() -> None:
    frame = runs(grid(model=["gru", "rnn"]), [2, 2.01], seeds=8)
    table = verdicts_frame([verdict(frame, order=MODELS), verdict(frame, order=SAMPLING)])
    assert list(table["verdict"]) == ["undecided", "not testable"]
    assert table["needed"].isna().tolist() == [False, True]
    assert verdicts_frame([]).columns.tolist() == table.columns.tolist()


def test_claims_of_other_presets_only_with_all_their_settings_under_their_protocol() -> None:
    def taken(frame: pd.DataFrame, **claim: Any) -> bool:
        return has_all_settings(Frames(frame), make_claim({"id": "c", "statement": "It is so."} | claim))

    frame = runs(grid(num_hiddens=[32, 64], model=["gru", "rnn"]), [2, 3, 1.5, 1.9])
    published: dict[str, Any] = {"order": MODELS, "source": "conclusion 8 (table18)"}
    assert taken(frame, **published)
    assert not taken(frame[frame["setting_id"] != "setting 1"], **published)
    assert not taken(frame.assign(epochs=60), **published)
    assert taken(frame.assign(epochs=60), order=MODELS)
    assert not taken(frame, order=MODELS, needs="a unicorn")
    assert not taken(frame, order=MODELS, tuned="lr")
    budget = frame.assign(epochs=frame["num_hiddens"])
    assert not taken(budget, monotone={"along": "num_hiddens", "direction": "falls"})


def test_a_file_of_ones_own_takes_the_place_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = {path.stem: path for path in claim_files()}
    folder = tmp_path / "sweeps" / "claims"
    folder.mkdir(parents=True)
    (folder / "smoke.yaml").write_text("- {id: mine, statement: It is so., converged: {}}")
    files = {path.stem: path for path in claim_files()}
    assert files == ours | {"smoke": folder / "smoke.yaml"}


def test_a_claim_that_belongs_to_no_preset_judges_whatever_has_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's own file, or a claim that says so; those of presets that nobody ran judge nobody."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sweeps" / "claims"
    folder.mkdir(parents=True)
    order = "order: {along: model, ascending: [gru, rnn]}"
    (folder / "mine.yaml").write_text(f"- {{id: mine, statement: It is so., {order}}}")
    (folder / "smoke.yaml").write_text(
        f"- {{id: of-smoke, statement: It is so., {order}}}\n"
        f"- {{id: all, statement: It is so., elsewhere: true, {order}}}"
    )
    frames = Frames(runs(grid(model=["gru", "rnn"]), [2, 3], sampling="random"))
    assert [claim.id for claim in claims_for(frames)] == ["mine", "all"]
    alone = Frames(runs([{"activation": "relu"}], [17]))
    assert claims_for(alone) == []


@pytest.mark.parametrize("models", [["gru"], ["gru", "rnn"]])
def test_a_knob_confounded_with_that_of_a_claim_is_named(models: list[str]) -> None:
    """A learning rate typed anew for each size, and one for each pair of size and model; not one for each model."""
    settings = grid(model=models, num_hiddens=[32, 64])
    own = [knobs | {"lr": 0.5 + k} for k, knobs in enumerate(settings)]
    medians = [3.0, 2.0] * len(models)
    claim = {"along": "num_hiddens", "ascending": [64, 32]}
    assert "lr differs too (0.5, 1.5" in verdict(runs(own, medians), order=claim).evidence
    by_model = [knobs | {"lr": {"gru": 1.0, "rnn": 0.5}[knobs["model"]]} for knobs in settings]
    assert "lr differs" not in verdict(runs(by_model, medians), order=claim).evidence


def test_what_an_optimizer_brings_is_not_confounded_but_what_was_typed_is() -> None:
    claim = {"along": "optimizer", "ascending": ["adam", "sgd"]}
    brought = [{"optimizer": "sgd", "lr": 1.0, "momentum": 0.0}, {"optimizer": "adam", "lr": 0.005, "momentum": None}]
    assert "differs" not in verdict(runs(brought, [3.0, 2.0]), order=claim).evidence
    typed = [brought[0], brought[1] | {"lr": 0.05}]
    one = verdict(runs(typed, [3.0, 2.0]), order=claim)
    assert "lr differs" in one.evidence
