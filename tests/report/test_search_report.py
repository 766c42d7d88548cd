"""The report of a search: its figures, tables, sentences and sections, from each of the forms in which it is stored.

Made-up trials of known content; CPU, 15 s.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from read_figures import assert_legible, said, tick_labels
from test_report import Document, page

from ablate.analysis import trials as t
from ablate.analysis.study import stored_search
from ablate.analysis.trials import search_facts, trials_frame
from ablate.config.errors import UserError
from ablate.config.registry import TASKS
from ablate.records.csv_text import csv_text
from ablate.records.files import write_text
from ablate.report import drawn as files_of_figures
from ablate.report import plots, write_report
from ablate.report.plots.search_trials import capped, lanes
from ablate.report.plots.style import save
from ablate.report.search_sheets import knob_text, range_text, search_sheets
from ablate.tasks.facts import Words
from tests.report.made import config, write_run
from tests.report.made_search import SPACE, made_up, write_search, write_study

pytestmark = pytest.mark.full

PERPLEXITY = "val_perplexity"
BOTH = (PERPLEXITY, "tokens_per_s")


def read(trials: pd.DataFrame) -> pd.DataFrame:
    """The frame of these trials, as from trials.csv."""
    return t.read_table(trials.to_csv(index=False), {}, [])[0]


@pytest.fixture
def frame() -> pd.DataFrame:
    return read(made_up())


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at something else."""
    monkeypatch.setattr(files_of_figures, "wanted", lambda m: {})


def with_speed(frame: pd.DataFrame) -> pd.DataFrame:
    """The smaller and worse, the faster."""
    return frame.assign(tokens_per_s=2e5 / frame["num_hiddens"] + 100 * frame["layers"])


def written_runs(folder: Path, trials: pd.DataFrame, seeds: int = 2) -> Path:
    """A record for each trial with a value, so that the folder is that of a sweep, too; sets their setting_id."""
    for row in trials[trials["state"].isin(t.VALUED)].itertuples():
        settings = config("gru", num_hiddens=int(row.num_hiddens), lr=float(row.lr), layers=int(row.layers))
        for seed in range(seeds):
            write_run(folder, settings, seed, 5.0 + row.number / 100, float(row.val_perplexity), [20.0, 9.0])
    return folder


# --- figures --------------------------------------------------------------------------------------------


def drawn(
    frame: pd.DataFrame, space: dict[str, Any] = SPACE, title: str = "Which network is best?"
) -> dict[str, Figure]:
    """Every figure of a search."""
    importance = t.search_importance(frame, space, PERPLEXITY) if len(space) > 2 else frame.head(0)
    diverged = frame.loc[frame["state"] == "diverged", "number"].tolist()
    winner = plots.Estimate(8.6, 8.2, 9.1)
    history = t.history(frame, PERPLEXITY)
    speedy = with_speed(frame)
    front = speedy[speedy["state"].isin(t.VALUED)].nlargest(6, "tokens_per_s")["number"].tolist()
    out = {
        "history": plots.search_history(history, PERPLEXITY, title, diverged, winner, 12.5),
        "parallel": plots.search_parallel(frame, space, PERPLEXITY, title),
        "slices": plots.search_slices(frame, space, PERPLEXITY, title),
        "timeline": plots.search_timeline(t.timeline(frame), title),
        "front": plots.search_front(speedy, front, BOTH, title),
    }
    if len(importance):
        out["importance"] = plots.search_importance(importance, title)
    return out


def shapes() -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Searches of many kinds, by name."""
    full = made_up()
    words = [f"a-rather-long-name-{k}" for k in range(12)]
    named = full.assign(kind=[words[k % 12] for k in range(len(full))])
    return {
        "usual": (full, SPACE),
        "long_names": (named, {**SPACE, "kind": {"kind": "choice", "choices": words}}),
        "one_knob": (full, {"lr": SPACE["lr"]}),
        "few": (full.head(3), SPACE),
        "blown_up": (full.assign(val_perplexity=full["val_perplexity"].where(full.index % 9 != 1, 4e6)), SPACE),
        "two_values": (full, {"num_hiddens": SPACE["num_hiddens"], "layers": {**SPACE["layers"], "high": 30}}),
    }


@pytest.mark.parametrize("name", shapes())
def test_every_figure_is_legible(name: str, tmp_path: Path) -> None:
    trials, space = shapes()[name]
    for kind, figure in drawn(read(trials), space).items():
        assert_legible(figure)
        if name == "usual":
            assert all(path.stat().st_size > 5000 for path in save(figure, tmp_path, kind))


def test_every_figure_shows_its_trials(frame: pd.DataFrame) -> None:
    made = drawn(frame)
    shown = frame[frame["state"].isin(t.VALUED)]
    (axes,) = made["history"].axes
    marks = {line.get_label(): len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "None"}
    for state in ("done", "dropped", "pruned"):
        assert marks[state] == (frame["state"] == state).sum()
    crosses = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == frame.loc[frame["state"] == "diverged", "number"].tolist()
    best = frame.loc[frame["state"] == "done", PERPLEXITY].min()
    (line,) = [line for line in axes.lines if line.get_label() == "best so far"]
    assert line.get_ydata()[-1] == pytest.approx(best)

    panels = {axes.get_xlabel().partition(" ")[0]: axes for axes in made["slices"].axes}
    assert list(panels) == list(SPACE)
    seen = sorted(float(x) for line in panels["lr"].lines if line.get_label() in t.VALUED for x in line.get_xdata())
    assert seen == pytest.approx(sorted(shown["lr"]))

    (axes,) = made["parallel"].axes
    whole = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(whole) == len(shown)
    (bold,) = [line for line in whole if line.get_linewidth() > 2]
    best_row = frame.loc[frame[PERPLEXITY] == best].iloc[0]
    assert bold.get_ydata()[1] == pytest.approx([8, 16, 32].index(best_row["num_hiddens"]) / 2)
    assert max(float(line.get_ydata()[-1]) for line in whole) == pytest.approx(1)  # the best value is on top

    (axes,) = made["timeline"].axes
    assert len(axes.patches) == len(frame)
    assert tick_labels(axes, "y") == ["process 1", "process 2"]
    assert {axes.get_title(loc="left") for axes in made["importance"].axes} >= {"PED-ANOVA"}
    for count in (len(shown), (len(shown) + 1) // 2):
        assert f"({count} trials)" in " ".join(said(made["importance"]))


def test_bars_of_one_process_do_not_overlap() -> None:
    ordered = pd.DataFrame(
        {
            "worker": [1, 1, 1, 1, 2, 2],
            "begin_s": [0.0, 1.0, 2.0, 2.5, 0.0, 9.0],
            "end_s": [2.0, 3.0, 4.0, 5.0, 9.0, 10.0],
        }
    )
    assert lanes(ordered) == [0, 1, 0, 2, 3, 3]


def test_the_front_is_joined_in_steps_that_no_trial_beats(frame: pd.DataFrame) -> None:
    shown = with_speed(frame)[frame["state"].isin(t.VALUED)]
    points = shown[[PERPLEXITY, "tokens_per_s"]].to_numpy(float)
    better = [(points[:, 0] <= p) & (points[:, 1] >= s) & (points != (p, s)).any(axis=1) for p, s in points]
    on = [not one.any() for one in better]
    numbers = shown.loc[on, "number"].tolist()
    figure = plots.search_front(with_speed(frame), numbers, BOTH)
    (axes,) = figure.axes
    (border,) = [line for line in axes.lines if line.get_linestyle() == "--" and len(line.get_xdata()) > 1]
    for (x, y), (x2, y2) in zip(border.get_xydata(), border.get_xydata()[1:], strict=False):
        assert x == x2 or y == y2
        middle = np.array([(y + y2) / 2, (x + x2) / 2])
        assert not ((points[:, 0] < middle[0] - 1e-9) & (points[:, 1] > middle[1] + 1e-9)).any()
    labels = {text for text in said(figure) if text.isdigit()} & set(map(str, numbers))
    assert len(labels) >= len(numbers) - 2


def test_what_won_on_fresh_seeds_is_marked_and_not_what_looked_best(frame: pd.DataFrame) -> None:
    """Trial 3 wins; another has the lowest mean of those with all their seeds in the search."""
    best = t.best_trial(frame, PERPLEXITY)
    assert best is not None
    assert best["number"] != 3
    values = frame.set_index("number")[PERPLEXITY]
    for winner, marked, said_of in ((3, 3, "winner on fresh seeds"), (None, best["number"], "best")):
        (axes,) = plots.search_parallel(frame, SPACE, PERPLEXITY, winner=winner).axes
        (bold,) = [line for line in axes.lines if line.get_marker() == "o" and line.get_linewidth() > 2]
        lr = frame.set_index("number").loc[marked, "lr"]
        assert bold.get_ydata()[0] == pytest.approx((np.log10(lr) + 2) / 3)  # searched from 0.01 to 10
        figure = plots.search_slices(frame, SPACE, PERPLEXITY, winner=winner)
        rings = [line for line in figure.axes[0].lines if line.get_markersize() == 8]
        assert [list(ring.get_ydata()) for ring in rings] == [[values[marked]]]
        assert any(said_of in text for text in said(figure))


def test_a_value_that_blew_up_presses_nobody_together() -> None:
    values = pd.Series([8.0, 9.0, 10.0, 12.0, 4e6, 13.0, np.nan])
    shown, note = capped(values, PERPLEXITY)
    assert shown.max() < 40
    assert shown[[0, 1, 2, 3, 5]].equals(values[[0, 1, 2, 3, 5]])
    assert "1 beyond it, up to 4,000,000." in note
    assert "up to more than 10¹³." in capped(values.replace(4e6, 10_692_048_079_129.0), PERPLEXITY)[1]
    speeds, nothing = capped(values, "tokens_per_s")
    assert speeds.equals(values)
    assert nothing == ""


# --- the page -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(PERPLEXITY,), BOTH], ids=["one", "two"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """The folder of a whole search with its report, and its objectives. Of one objective few figures are drawn."""
    folder = tmp_path_factory.mktemp("search") / "found"
    trials = made_up() if request.param == (PERPLEXITY,) else with_speed(made_up())
    write_search(folder, trials, request.param)
    written_runs(folder, trials.head(12))
    (folder / "best.yaml").write_text("# the best\n")
    with pytest.MonkeyPatch.context() as patched:
        if len(request.param) == 1:
            wanted = files_of_figures.wanted
            kept = ("search_history", "search_timeline", "curves")
            patched.setattr(files_of_figures, "wanted", lambda m: {k: v for k, v in wanted(m).items() if k in kept})
        write_report(folder)
    return folder, request.param


def test_the_sections_of_a_search(found: tuple[Path, tuple[str, ...]]) -> None:
    folder, objectives = found
    document = page(folder)
    several = len(objectives) > 1
    order = ["answer", "search", "deciding", *["configurations"] * several, "trials", "results", "curves", "texts"]
    assert [name for name in document.ids if name in order] == order
    assert not {"what-matters", "comparisons", "spread"} & set(document.ids)  # settings that were chosen are no grid
    expected = {"search_timeline", "curves"}
    if several:
        kinds = ["history", "importance", "parallel", "slices"]
        expected |= {"search_front", *(f"search_{kind}_{name}" for kind in kinds for name in objectives)}
    else:
        expected |= {"search_history"}
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == expected
    images = [str(attributes["src"]) for tag, attributes in document.tags if tag == "img"]
    assert len(images) == len(expected)
    main = "search_front" if several else "search_history"
    assert (folder / "figure.png").read_bytes() == (folder / "figures" / f"{main}.png").read_bytes()
    assert f"--config-dir {shlex.quote(str(folder))} --config-name best" in document.below["search"]


def test_what_the_page_says(found: tuple[Path, tuple[str, ...]]) -> None:
    folder, objectives = found
    answer = page(folder).below["answer"]
    if len(objectives) > 1:
        assert re.search(r"\b3 configurations [^.]*held-out perplexity [^.]*tokens per second", answer)
    else:
        seen = made_up().set_index("number").loc[4, PERPLEXITY]
        assert re.search(r"Best: lr=1, [^.]*held-out perplexity [^.]*\b7\.5 \(7 to 8\) over 6 fresh", answer)
        assert f"the search had seen {seen:.4g}" in answer
    assert re.search(r"\b0\.833 times \(0\.810 to 0\.860\) [^.]*held-out perplexity [^.]*baseline, model=rnn", answer)
    assert made_up()["state"].value_counts().to_dict() == {"dropped": 34, "done": 17, "pruned": 6, "diverged": 3}
    assert re.search(r"\b60 trials: 17 [^.]*\b34 dropped [^.]*\b6 stopped [^.]*\b3 diverged\b", answer)
    assert "lr with" in answer
    assert "by PED-ANOVA" in answer


def test_the_tables_of_a_search(found: tuple[Path, tuple[str, ...]]) -> None:
    folder, objectives = found
    rows = page(folder).rows
    baseline = next(row for row in rows if row[0] == "baseline")
    assert baseline[:4] == ["baseline", "model=rnn", "9 (8.5 to 9.5)", "–"]
    trials = pd.read_csv(folder / "tables" / "trials.csv")
    assert trials["number"].tolist() == made_up()["number"].tolist()
    start = next(k for k, row in enumerate(rows) if row[:2] == ["trial", "how it ended"])
    shown = rows[start + 1 : start + 61]
    made = made_up().sort_values(PERPLEXITY)
    ranked = [*made.loc[made["state"] == "done", "number"], *made.loc[made["state"] == "dropped", "number"]]
    valued = made[made["state"].isin(t.VALUED)]
    assert [int(row[0]) for row in shown[: len(valued)]] == ranked
    assert made.loc[made["state"] == "dropped", PERPLEXITY].min() < made.loc[made["state"] == "done", PERPLEXITY].max()
    assert {row[1] for row in shown[len(valued) :]} == {"pruned", "diverged"}
    named = "search_importance" if len(objectives) == 1 else "search_importance_tokens_per_s"
    assert {"evaluator", "region", "importance"} <= set(pd.read_csv(folder / "tables" / f"{named}.csv").columns)
    ranges = next(row for row in rows if row[0] == "lr" and "log" in row[1])
    assert ranges[1] == "0.01 to 10 (log)"
    assert ranges[2] != ranges[1]


def test_the_terminal_shows_the_best_few(tmp_path: Path, no_figures: None, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(written_runs(write_search(tmp_path / "found", made_up()), made_up().head(5)))
    out = capsys.readouterr().out
    assert "the best few on fresh seeds" in out
    assert "7.5 (7 to 8)" in out
    assert "baseline" in out


def test_the_terminal_shows_a_speed_in_full_and_no_fresh_seeds_of_it(
    tmp_path: Path, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = with_speed(made_up())
    trials["tokens_per_s"] = 58123.4
    write_report(write_search(tmp_path / "front", trials, (PERPLEXITY, "tokens_per_s")))
    out = capsys.readouterr().out
    assert "58,123" in out
    assert "tokens_per_s, fresh" not in out


def test_whole_numbers_of_a_space_have_all_their_digits() -> None:
    tokens = {"kind": "int", "low": 10_000, "high": 250_000, "log": True}
    assert knob_text(123_456.0, tokens) == "123456"
    assert range_text(tokens) == "10000 to 250000 (log)"
    assert knob_text(4.7253764, tokens | {"kind": "float"}) == "4.725"


def test_a_search_under_way_is_read_from_its_study_without_torch(tmp_path: Path) -> None:
    """As killed: no trials.csv, no search.json, no best.yaml."""
    folder = tmp_path / "found"
    write_study(folder, made_up(20))
    written_runs(folder, made_up(20))
    code = (
        "import sys; from ablate.report import drawn; drawn.wanted = lambda m: {}\n"
        "from ablate.cli.report import main; status = main(sys.argv[1:])\n"
        "assert not status and 'torch' not in sys.modules and 'optuna' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = page(folder)
    best = t.best_trial(made_up(20), PERPLEXITY)
    assert best is not None
    assert "nothing is confirmed on fresh seeds" in document.below["answer"]
    assert f"Best so far: lr={best['lr']:.4g} num_hiddens={best['num_hiddens']}" in document.below["answer"]
    assert "finalists" not in {path.stem for path in (folder / "tables").iterdir()}


def test_records_alone_are_reported_as_a_sweep(tmp_path: Path, no_figures: None) -> None:
    folder = written_runs(tmp_path / "found", made_up(12))
    write_report(folder)
    document = page(folder)
    assert {"answer", "results", "spread"} <= set(document.ids)
    assert not {"search", "trials"} & set(document.ids)


def test_a_damaged_table_of_trials_costs_only_what_rests_on_it(tmp_path: Path, no_figures: None) -> None:
    folder = written_runs(write_search(tmp_path / "found", made_up()), made_up().head(5))
    (folder / "trials.csv").write_text("nothing,of,the,kind\n1,2,3,4\n")
    write_report(folder)
    document = page(folder)
    assert "search" not in document.ids
    assert "the search could not be made: " in document.below["warnings"]


def test_a_search_for_speed_alone_has_a_page_without_any_run(tmp_path: Path, no_figures: None) -> None:
    folder = write_search(
        tmp_path / "fast", with_speed(made_up()), ("tokens_per_s",), baseline=None, against_baseline=None
    )
    write_report(folder)
    document: Document = page(folder)
    assert {"answer", "search", "trials", "commands"} <= set(document.ids)
    assert "results" not in document.ids
    assert "Best: lr=1, with" in document.below["answer"]
    assert "training tokens per second in the search" in document.below["answer"]


# --- how a search ended ---------------------------------------------------------------------------------


def halves(value: float, chosen: float) -> dict[str, Any]:
    """A finalist's numbers on the seeds that report and on those that chose."""
    reach = {"low": value - 0.5, "high": value + 0.5, "seeds": {"12": value, "13": value}}
    return {
        "fresh": {PERPLEXITY: {"value": value} | reach},
        "choosing": {PERPLEXITY: {"value": chosen, "low": None, "high": None, "seeds": {"6": chosen}}},
    }


def said_of(folder: Path) -> str:
    write_report(folder)
    return page(folder).below["answer"]


def test_the_page_says_which_seeds_chose_and_which_report(tmp_path: Path, no_figures: None) -> None:
    folder = write_search(tmp_path / "found", made_up())
    facts = json.loads((folder / "search.json").read_text())
    few = facts["finalists"]
    few[0] |= halves(7.5, 7.2)
    few[1] |= {"fresh": {}, "choosing": {PERPLEXITY: {"value": 7.4, "low": 7.3, "high": 7.6, "seeds": {"6": 7.4}}}}
    few[2] |= {"fresh": {}, "choosing": {}, "failure": "trial 1 diverged on 1 of 6 choosing seeds"}
    against = {
        "kind": "ratio",
        "value": 0.83,
        "low": 0.8,
        "high": 0.87,
        "n": 6,
        "p": 0.0004,
        "method": "Welch t",
        "diverged": 0,
        "reference_diverged": 2,
    }
    more = {
        "choosing_seeds": list(range(6, 12)),
        "reporting_seeds": list(range(12, 18)),
        "concluded": True,
        "against_baseline": against,
        "notes": ["trials 4 and 10 are equal in the search; the first of them go on"],
    }
    (folder / "search.json").write_text(json.dumps(facts | more | {"winner": few[0]}))
    answer = said_of(folder)
    assert "chosen on 6 others" in answer
    assert "0.830 times (0.800 to 0.870)" in answer
    assert re.search(r"Welch t, p < 0\.001; [^.]*baseline diverged on 2\b", answer)
    assert "Trials 4 and 10" in answer
    rows = {row[0]: row for row in page(folder).rows if len(row) == 5}
    assert rows["4"][2:4] == ["7.5 (7 to 8)", "7.2"]
    assert rows["10"][2:4] == ["–", "7.4 (7.3 to 7.6)"]
    assert "Trial 1 diverged on 1 of 6" in page(folder).below["search"]


def test_an_older_search_is_not_said_to_have_reported_on_other_seeds(tmp_path: Path, no_figures: None) -> None:
    answer = said_of(write_search(tmp_path / "found", made_up()))
    assert "nothing was chosen" not in answer
    assert "also chose it" in answer


def test_a_search_that_found_nothing_says_why(tmp_path: Path, no_figures: None) -> None:
    trials = made_up(12).assign(state="diverged", val_perplexity=np.inf, reason="2 of 2 runs diverged")
    why = "none of 12 trials has a value on all its seeds (12 diverged: 2 of 2 runs diverged)"
    ended = {"winner": None, "finalists": [], "baseline": None, "against_baseline": None, "concluded": True}
    answer = said_of(write_search(tmp_path / "gone", trials, **ended, notes=[why]))
    assert why[1:] in answer
    assert "not come to its end" not in answer
    failed = made_up(12).assign(state="failed", val_perplexity=np.nan, reason="out of memory")
    answer = said_of(write_search(tmp_path / "failed", failed, **ended, notes=[]))
    assert "12 trials: out of memory" in answer


def test_a_search_in_which_no_trial_differs_names_nothing(tmp_path: Path) -> None:
    """Eleven trials with one value: no importance, no better half, and no figure marks a best one."""
    trials = made_up(11).assign(state="done", val_perplexity=31.97)
    ended = {"winner": None, "finalists": [], "baseline": None, "against_baseline": None, "concluded": True}
    folder = write_search(tmp_path / "equal", trials, **ended, notes=["no trial differs from the others"])
    answer = said_of(folder)
    assert "cannot be told: no trial differs" in answer
    assert "What decides" not in answer
    assert not list((folder / "tables").glob("search_importance*"))
    assert not list((folder / "figures").glob("search_importance*"))
    frame = read(trials)
    (axes,) = plots.search_parallel(frame, SPACE, PERPLEXITY).axes
    assert not [line for line in axes.lines if line.get_linewidth() > 2]
    assert not any("best" in text for text in said(plots.search_slices(frame, SPACE, PERPLEXITY)))


def test_an_accuracy_is_shown_as_one(frame: pd.DataFrame, tmp_path: Path) -> None:
    """More is better, 0 is a value, and a run that diverged has none."""
    lost = frame["state"] == "diverged"
    accuracy = (1 - frame[PERPLEXITY].rank(pct=True)).mask(lost, -np.inf)
    trials = frame.assign(accuracy=accuracy.where(frame.index != 0, 0.0)).drop(columns=PERPLEXITY)
    best = t.best_trial(trials, "accuracy")
    assert best is not None
    assert best["accuracy"] == trials.loc[trials["state"] == "done", "accuracy"].max()
    for figure in (
        plots.search_history(t.history(trials, "accuracy"), "accuracy", "", [], None, 0.0),
        plots.search_parallel(trials, SPACE, "accuracy"),
        plots.search_slices(trials, SPACE, "accuracy"),
    ):
        assert_legible(figure)
    (axes,) = plots.search_parallel(trials, SPACE, "accuracy").axes
    (bold,) = [line for line in axes.lines if line.get_marker() == "o" and line.get_linewidth() > 2]
    assert bold.get_ydata()[0] == pytest.approx((np.log10(best["lr"]) + 2) / 3)


def test_what_the_held_out_text_chose_the_test_text_reports(tmp_path: Path, no_figures: None) -> None:
    folder = write_search(tmp_path / "found", made_up())
    facts = json.loads((folder / "search.json").read_text())
    winner = facts["finalists"][0]
    winner["fresh"]["test_perplexity"] = {"value": 8.25, "low": 8.0, "high": 8.5, "seeds": {"12": 8.25}}
    more = {"winner": winner, "reported": {PERPLEXITY: "test_perplexity"}, "compared_by": "test_perplexity"}
    (folder / "search.json").write_text(json.dumps(facts | more))
    answer = said_of(folder)
    assert "test perplexity of 8.25 (8 to 8.5)" in answer
    assert "the search had seen a held-out perplexity of" in answer
    assert "test perplexity of the baseline" in answer
    table = page(folder).below["search"]
    assert "fresh text" not in table
    assert "test data report" in table


def test_what_is_held_out_is_said_in_the_words_of_the_task(tmp_path: Path) -> None:
    search = stored_search(write_search(tmp_path / "found", made_up()))
    assert search is not None
    [text] = search_sheets(search, {}, Words())["finalists"]().notes
    [sequences] = search_sheets(search, {}, TASKS["classification"].words)["finalists"]().notes
    assert "Held out is the text by which the search chose, too: fresh seeds do not make it a fresh text." in text
    assert "Held out are the sequences by which the search chose, too: fresh seeds do not make them fresh" in sequences


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("space", []),
        ("space", {"lr": {"kind": "float", "low": "a", "high": 1, "step": None, "log": True}}),
        ("space", {"lr": {"kind": "choice"}}),
        ("settings", {}),
        ("settings", {"objectives": [{}]}),
        ("winner", {"number": 1}),
        ("finalists", [5]),
        ("choosing_seeds", 5),
        ("against_baseline", {"n": 6}),
        ("against_baseline", {"n": "6", "p": 0.1}),
        ("against_baseline", {"n": 6, "p": 0.1, "method": "Welch t"}),
    ],
)
def test_a_search_json_of_other_types_is_one_line(tmp_path: Path, part: str, value: object) -> None:
    folder = write_search(tmp_path / "made", made_up(12), **{part: value})
    with pytest.raises(UserError, match=rf"search\.json.*\({part}") as caught:
        search_facts(folder)
    assert "\n" not in str(caught.value)


def test_a_table_of_trials_without_its_columns_is_one_line(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "made", made_up(12))
    made_up(12).drop(columns="number").to_csv(folder / "trials.csv", index=False)
    with pytest.raises(UserError, match=r"trials\.csv.*lacks the column number"):
        trials_frame(folder, SPACE, ["val_perplexity"])


def test_a_chosen_text_that_begins_as_a_formula_comes_back(tmp_path: Path) -> None:
    """trials.csv is opened by spreadsheets, and read by us."""
    write_text(tmp_path / "trials.csv", csv_text(made_up(3).assign(clip=["=1+1", "-x", "null"])))
    assert "'=1+1" in (tmp_path / "trials.csv").read_text()
    assert trials_frame(tmp_path, SPACE, ["val_perplexity"])[0]["clip"].tolist() == ["=1+1", "-x", "null"]
