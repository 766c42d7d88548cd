"""Claims on settings at their best value of a knob: what is chosen, who judges, what is said. CPU, 1 s."""

import math
import re

import numpy as np
import pytest

from tests.claims.judged import MODELS, runs, verdict
from tests.claims.simulated import grid


def test_tuned_takes_the_best_on_one_half_of_the_seeds_and_judges_on_the_other() -> None:
    settings = grid(model=["gru", "rnn"], lr=[0.5, 1.0])
    frame = runs(settings, [4, 2, 3, 5], seeds=16)
    # lr=0.5 is lucky on those of gru's seeds that judge: choosing there would be the winner's curse.
    frame.loc[(frame["setting_id"] == "setting 0") & (frame["seed"] % 2 == 0), "tail_perplexity"] = 0.1
    one = verdict(frame, order=MODELS, tuned="lr")
    assert one.verdict == "confirmed"
    assert one.n == 8
    assert one.ratio == pytest.approx(2 / 3, rel=0.05)
    assert re.search(r"\blr chosen .*\bhalf\b", one.evidence)


def test_where_every_run_that_should_choose_diverged_the_first_value_is_judged_and_said() -> None:
    frame = runs(grid(model=["gru", "rnn"], lr=[0.5, 1.0]), [4, 2, 3, 5], seeds=16)
    rnn = frame["setting_id"].isin(["setting 2", "setting 3"])
    frame.loc[rnn, ["tail_perplexity", "status"]] = [math.inf, "diverged"]
    one = verdict(frame, order=MODELS, tuned="lr")
    assert (one.verdict, one.n) == ("confirmed", 8)
    assert "no lr is the best where every run that should choose diverged (model=rnn): the first lr" in one.evidence
    assert "no lr is the best" not in verdict(frame[~rnn | (frame["seed"] < 0)], order=MODELS, tuned="lr").evidence


def test_settings_with_fewer_seeds_than_others_are_tuned_by_their_own() -> None:
    settings = grid(num_hiddens=[32, 64, 128], model=["gru", "rnn"], lr=[0.5, 1.0])
    frame = runs(settings, [4, 2, 3, 5, 2, 1, 1.5, 2.5, 1, 2, 3, 4], seeds=16)
    some = frame[(frame["num_hiddens"] != 64) | (frame["seed"] < 8)]
    one = verdict(some, order=MODELS, tuned="lr")
    assert one.verdict == "confirmed"
    assert "of 3 comparisons" in one.evidence
    assert "left out" not in one.evidence
    assert "lr chosen on half of the seeds that all settings have, judged on the others" in one.evidence
    assert "lr chosen on half of the seeds, judged" in verdict(frame, order=MODELS, tuned="lr").evidence
    single = verdict(frame[(frame["num_hiddens"] != 64) | (frame["seed"] < 1)], order=MODELS, tuned="lr")
    assert "of 2 comparisons" in single.evidence
    left = "left out model=gru num_hiddens=64, model=rnn num_hiddens=64, with too few seeds to choose lr by some"
    assert left in single.evidence


def test_what_is_tuned_by_held_out_text_is_judged_by_the_test_text() -> None:
    settings = grid(model=["gru", "rnn"], lr=[0.5, 1.0])
    frame = runs(settings, [4, 2, 3, 5], seeds=16)
    frame["best_val_perplexity"] = frame["tail_perplexity"]
    # where the lr were chosen by the test text, 0.5 would be the rnn's and the gru's
    worth = frame["setting_id"].map({"setting 0": 1.0, "setting 1": 9.0, "setting 2": 6.0, "setting 3": 1.0})
    frame["test_perplexity_at_best"] = worth * frame["tail_perplexity"] / frame["tail_perplexity"].mean()
    one = verdict(frame, order=MODELS, tuned="lr", metric="best_val_perplexity")
    assert one.metric == "test_perplexity_at_best"
    assert "test data" in one.evidence
    chosen = frame[(frame["seed"] % 2 == 0) & frame["setting_id"].isin(["setting 1", "setting 2"])]
    logs = np.log(chosen["test_perplexity_at_best"]).groupby(chosen["setting_id"]).mean()
    assert one.ratio == pytest.approx(np.exp(logs["setting 1"] - logs["setting 2"]))
