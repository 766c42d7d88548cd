"""Every warning on a frame with that flaw planted, and none on one without. CPU, 2 s."""

import math
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.aggregate import aggregate
from ablate.analysis.confounders import confounders, two_groups
from ablate.config.metrics import DEFAULT_METRIC

Setting = Callable[..., pd.DataFrame]
STEADY = [2.0, 2.1, 2.05, 2.02, 1.98, 2.07]


def curves_of(runs: pd.DataFrame, falls: float = 0.0, epochs: int = 100) -> pd.DataFrame:
    """Curves that fall by this share over every 5 % of their epochs."""
    width = math.ceil(0.05 * epochs)
    steps = np.arange(1, epochs + 1)
    perplexity = 10 * (1 - falls) ** (steps / width)
    return pd.concat(
        [
            pd.DataFrame({"run_id": run, "epoch": steps, "perplexity": perplexity, "val_perplexity": math.nan})
            for run in runs["run_id"]
        ],
        ignore_index=True,
    )


def warnings(runs: pd.DataFrame, curves: pd.DataFrame | None = None) -> dict[str, str]:
    found = confounders(runs, aggregate(runs), curves_of(runs) if curves is None else curves)
    assert len({warning.kind for warning in found}) == len(found)
    assert all(warning.text.endswith(".") and "\n" not in warning.text for warning in found)
    return {warning.kind: warning.text for warning in found}


@pytest.fixture
def clean(setting: Setting, together: Setting) -> pd.DataFrame:
    return together(setting(STEADY, lr=0.5), setting(STEADY, lr=1.0))


def test_nothing_to_warn_of(clean: pd.DataFrame) -> None:
    assert warnings(clean) == {}


def test_diverged(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([*STEADY, None], clip=1.0), setting([*STEADY[:3], None, None, None, None], clip=None), setting(STEADY)
    )
    found = warnings(runs)
    assert set(found) == {"diverged"}
    assert re.search(r"\b5 of 20 .*\b2 of 3 .*clip=null \(4 of 7\)", found["diverged"])


def test_a_metric_that_some_runs_lack(setting: Setting, together: Setting) -> None:
    """One that no run of a setting has was not measured there."""
    some = setting(STEADY, lr=1.0).assign(accuracy=[0.5, 0.6, math.nan, 0.7, math.nan, 0.6])
    runs = together(setting(STEADY, lr=0.5).assign(accuracy=math.nan), some)
    found = warnings(runs)
    assert set(found) == {"missing values"}
    assert found["missing values"].startswith("Runs that finished have no accuracy (2 of 6 with lr=1):")


def test_where_every_run_diverged(setting: Setting, together: Setting) -> None:
    """Also where run ids are of the type that pandas has for texts."""
    runs = together(setting([None, None], lr=0.5), setting([None, None], lr=1.0)).astype({"run_id": "str"})
    assert "diverged" in warnings(runs)


def test_few_seeds(setting: Setting, together: Setting) -> None:
    """A diverged run counts too."""
    found = warnings(together(setting(STEADY[:3], lr=0.5), setting([*STEADY[:3], None], lr=1.0)))
    assert re.search(r"^1 of 2 settings .*fewer than 4 .*\b3\)", found["few seeds"])
    assert "All 2 settings have" in warnings(together(setting([2.0], lr=0.5), setting([2.0], lr=1.0)))["few seeds"]


def test_updates_tokens_and_parameters(setting: Setting, together: Setting) -> None:
    runs = together(
        setting(STEADY, batch_size=16, updates_per_epoch=1700, tokens_per_epoch=9520, num_hiddens=8),
        setting(STEADY, batch_size=256, updates_per_epoch=1, tokens_per_epoch=8960, num_hiddens=16, parameters=1234567),
    )
    found = warnings(runs)
    assert set(found) == {"confounded", "updates", "tokens", "parameters"}
    small, large = "num_hiddens=8 batch_size=16", "num_hiddens=16 batch_size=256"
    assert f"from 10 ({large}) to 17,000 ({small})" in found["updates"]
    assert f"from 89,600 ({large}) to 95,200 ({small})" in found["tokens"]
    assert f"from 100 ({small}) to 1,234,567 ({large})" in found["parameters"]


def test_knobs_that_vary_together_are_confounded(setting: Setting, together: Setting) -> None:
    runs = together(setting(STEADY, model="rnn", lr=2.0), setting(STEADY, model="gru", lr=0.5))
    said = warnings(runs)["confounded"]
    assert all(text in said for text in ("model", "rnn, lr=2", "gru, lr=0.5"))
    three = runs.assign(num_hiddens=runs["model"].map({"rnn": 8, "gru": 16}))
    assert warnings(three)["confounded"].startswith("model, num_hiddens and lr are confounded")
    apart = together(*(setting(STEADY, model=model, lr=lr) for model in ("rnn", "gru") for lr in (0.5, 2.0)))
    assert "confounded" not in warnings(apart)


def test_a_remainder_is_no_difference_in_tokens(setting: Setting, together: Setting) -> None:
    runs = together(setting(STEADY, lr=0.5, tokens_per_epoch=8960), setting(STEADY, lr=1.0, tokens_per_epoch=8990))
    assert warnings(runs) == {}


def test_training_text_only(clean: pd.DataFrame) -> None:
    found = warnings(clean.assign(val_perplexity=None, best_val_perplexity=None))
    assert set(found) == {"training text only"}
    assert "in all 2 settings" in found["training text only"]
    one = clean.assign(val_perplexity=clean["val_perplexity"].mask(clean["lr"] == 1.0))
    assert "in 1 of 2 settings" in warnings(one)["training text only"]


@pytest.mark.parametrize(("falls", "warned"), [(0.02, True), (0.0105, True), (0.0095, False), (-0.02, False)])
def test_not_converged(clean: pd.DataFrame, falls: float, warned: bool) -> None:
    curves = curves_of(clean, falls)
    assert set(warnings(clean, curves)) == ({"not converged"} if warned else set())


def test_which_setting_has_not_converged(clean: pd.DataFrame) -> None:
    slow = clean["lr"] == 0.5
    curves = pd.concat([curves_of(clean[slow], 0.031), curves_of(clean[~slow])])
    text = warnings(clean, curves)["not converged"]
    assert text.startswith("In 1 of 2 settings")
    assert "lr=0.5 (3.1 % lower)" in text


def test_a_fall_by_all_but_nothing_is_no_power_of_ten(clean: pd.DataFrame) -> None:
    assert "(100 % lower)" in warnings(clean, curves_of(clean, 0.9999))["not converged"]


def test_without_curves(clean: pd.DataFrame) -> None:
    assert warnings(clean, pd.DataFrame(columns=["run_id", "epoch", "perplexity", "val_perplexity"])) == {}


def test_bimodal(setting: Setting, together: Setting) -> None:
    runs = together(setting(STEADY, lr=0.5), setting([1.2, 1.21, 1.19, 1.2, 3.4, 3.3], lr=1.0))
    found = warnings(runs)
    assert set(found) == {"bimodal"}
    assert re.search(r"\b1 of 2 settings .*lr=1: 4 .*\b1\.2\b.* 2 .*\b3\.35\b", found["bimodal"])


@pytest.mark.parametrize(
    ("values", "two"),
    [
        ([1, 1, 2, 2], True),
        ([2, 1, 2, 1, 2], True),
        ([1, 1, 1.15, 1.15], False),  # less than 20 % apart
        ([1, 1, 1, 9], False),  # one run is no group
        ([1, 1.5, 2.2, 3.3, 5], False),  # even gaps
        ([1, 1, 2], False),
        ([], False),
    ],
)
def test_two_groups(values: list[float], two: bool) -> None:
    groups = two_groups(np.array(values, dtype=float))
    assert (groups is not None) == two
    if groups:
        assert sorted(values) == [*groups[0], *groups[1]]


@pytest.mark.parametrize("n", [4, 6, 10, 20])
def test_one_wide_group_is_rarely_taken_for_two(n: int) -> None:
    rng = np.random.default_rng(n)
    alarms = np.mean([two_groups(np.exp(rng.normal(0, 0.5, n))) is not None for _ in range(1000)])
    assert alarms < 0.035


def test_overfitted(clean: pd.DataFrame) -> None:
    found = warnings(clean.assign(val_perplexity=8.0, best_val_perplexity=np.where(clean["lr"] == 1.0, 7.0, 7.9)))
    assert set(found) == {"overfitted"}
    assert "In 1 of 2 settings" in found["overfitted"]
    assert re.search(r"lr=1 \(7 .*best, 8 .*end\)", found["overfitted"])


@pytest.mark.parametrize(("at_the_end", "warned"), [(1.5, True), (20.0, False)])
def test_what_came_apart_has_learnt_nothing_by_heart(clean: pd.DataFrame, at_the_end: float, warned: bool) -> None:
    """The held-out perplexity is lowest in epoch 50 and doubles; only while training's falls is that overfitting."""
    runs = clean.assign(val_perplexity=16.0, best_val_perplexity=8.0)
    steps = np.arange(1, 101)
    curve = {"epoch": steps, "val_perplexity": 8 + np.abs(steps - 50) * 0.16}
    rises = np.where(steps <= 50, 5.0, np.linspace(5, at_the_end, 100))
    curves = pd.concat([pd.DataFrame(curve | {"run_id": run, "perplexity": rises}) for run in runs["run_id"]])
    assert ("overfitted" in warnings(runs, curves.reset_index(drop=True))) == warned


def test_a_knob_that_decides_the_engine_is_named(setting: Setting, together: Setting) -> None:
    runs = together(
        setting(STEADY, model="rnn", bidirectional=True, engine="torch_nn"),
        *(setting(STEADY, model=model, bidirectional=False, engine="cohort") for model in ("rnn", "gru")),
    )
    text = warnings(runs)["mixed"]
    assert re.search(r"\(cohort: 12, torch_nn: 6; bidirectional=true .*\btorch_nn\)\.", text)
    assert "model=" not in text  # an rnn was computed by both


def test_mixed(clean: pd.DataFrame) -> None:
    second = clean["seed"] > 1
    mixed = clean.assign(
        engine=np.where(second, "cohort", "torch_nn"), git_commit=np.where(second, "a" * 40, "b" * 40), gpu=None
    )
    found = warnings(mixed)
    assert set(found) == {"mixed"}
    assert re.search(r"engines \(cohort: 8, torch_nn: 4\) .*versions .*\(aaaaaaaaa: 8", found["mixed"])


def test_memory_tasks_cannot_be_learnt_by_heart(setting: Setting, together: Setting) -> None:
    """Longer sequences are more tokens, but as many sequences; a rising held-out perplexity is chance."""
    runs = together(
        setting(STEADY, num_steps=5, task="memory", sequences=320, tokens_per_epoch=1600),
        setting(STEADY, num_steps=50, task="memory", sequences=320, tokens_per_epoch=16000),
    ).assign(corpus="copy", val_perplexity=3.0, best_val_perplexity=2.0)
    assert warnings(runs) == {}
    assert set(warnings(runs.assign(task="language_model"))) == {"tokens", "overfitted"}


def test_seeing_the_future(setting: Setting, together: Setting) -> None:
    runs = together(setting(STEADY, bidirectional=False), setting(STEADY, bidirectional=True, sees_future=True))
    assert re.search(r"\b1 of 2 settings, .*bidirectional=true", warnings(runs)["sees the future"])


@pytest.mark.full
@pytest.mark.parametrize(
    ("task", "knob", "values", "warned"),
    [
        ("language_model", "max_tokens", (9000, 20000), True),
        ("fill_in", "val_tokens", (500, 1000), True),
        ("language_model", "num_steps", (10, 20), False),
        ("language_model", "pairs", (100, 200), False),
        ("translation", "num_steps", (5, 10), True),
        ("translation", "pairs", (100, 200), True),
        ("translation", "max_tokens", (100, 200), False),
        ("memory", "num_steps", (5, 10), False),
    ],
)
def test_other_held_out_text(
    setting: Setting, together: Setting, task: str, knob: str, values: tuple[int, int], warned: bool
) -> None:
    runs = together(*(setting(STEADY, task=task, sequences=100, **{knob: value}) for value in values))
    found = warnings(runs)
    assert ("held-out text" in found) == warned
    if warned:
        assert f"{knob} differs ({knob}={values[0]}; {knob}={values[1]})" in found["held-out text"]
        assert "held-out text" not in warnings(runs.assign(val_perplexity=math.nan))


def test_translation_names_its_own_knob(clean: pd.DataFrame) -> None:
    found = warnings(clean.assign(val_perplexity=None, best_val_perplexity=None, task="translation"))
    assert re.search(r"\bpairs .*\ball 2 settings \(task\.val_pairs=0\)", found["training text only"])


def test_runs_without_a_perplexity_have_none_far_away(clean: pd.DataFrame) -> None:
    """Those of a function that reports other numbers alone."""
    runs = clean.assign(**{DEFAULT_METRIC: pd.Series([None] * len(clean), index=clean.index, dtype=object)})
    assert "outlying" not in {one.kind for one in confounders(runs, aggregate(clean), curves_of(clean))}


def test_a_run_far_from_the_others_is_told_with_the_median(setting: Setting, together: Setting) -> None:
    """One stuck run of eleven: the mean is no longer that of the others. Steady runs, and two groups, are not told."""
    stuck = [2.0 + 0.01 * k for k in range(10)] + [15.0]
    found = warnings(together(setting(stuck, lr=0.5), setting([*STEADY, *STEADY], lr=1.0)))
    assert set(found) == {"outlying"}
    assert all(text in found["outlying"] for text in ("1 of 2 settings", "lr=0.5", "15", "2.05"))
    assert "outlying" not in warnings(
        together(setting([2.0, 2.01, 2.02, 9.0, 9.1, 9.2], lr=0.5), setting(STEADY, lr=1.0))
    )
    alike = [2.0 + 0.0001 * k for k in range(10)] + [2.01]  # far in deviations, near in every other respect
    assert warnings(together(setting(alike, lr=0.5), setting(STEADY, lr=1.0))) == {}
