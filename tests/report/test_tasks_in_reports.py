"""Reports of tasks beside language modelling, of what sees the future, and of matched sizes. CPU, 8 s.

Made-up sweeps with known numbers: what the tables, sentences and figures say of them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from ablate.analysis.published_translation import PAIRS_SHA256
from ablate.claims import Frames, evaluate, read_claims, verdicts_frame
from ablate.config.schema import CONFIG_ROOT
from ablate.report import plots, write_report
from ablate.report.answer import answer
from ablate.report.blocks import Attempts
from ablate.report.claim_cards import cards
from ablate.report.contents import sheets, wanted
from ablate.report.figures import few_settings
from ablate.report.findings import questions
from ablate.report.material import Material, gather
from ablate.report.plots.curves import of_tasks
from ablate.report.plots.grid import grid
from ablate.report.protocol import deviations, protocol_sheet
from ablate.report.samples import samples
from ablate.report.wording import DAGGER, FUTURE_NOTE
from tests.report.made import config, write_manifest, write_run

TASK = {"masked": 0.15, "symbols": 8, "sequences": 320, "pairs": 601, "val_pairs": 0, "embed": 32}
TASK |= {"context": "constant", "attention": False}
SEEDS = 6


def add(sweep: Path, settings: Mapping[str, Any], seed: int, perplexity: float, sha256: str = "", **more: Any) -> None:
    """A made-up run; `more`: what its record has beside, metrics by their names."""
    sha = {"sha256": sha256} if sha256 else {}
    run = write_run(sweep, settings, seed, perplexity, perplexity * 1.1, corpus=settings["data"]["name"], **sha)
    path = sweep / "runs" / f"{run}.json"
    record = json.loads(path.read_text())
    metrics = ("accuracy", "bleu", "course_bleu", "course_loss")
    record["metrics"] |= {name: more.pop(name) for name in metrics if name in more}
    path.write_text(json.dumps(record | more))


def gathered(sweep: Path) -> Material:
    write_manifest(sweep)
    return gather(sweep, Attempts(lambda line: pytest.fail(line)))


def of_task(name: str, model: str = "gru", **knobs: Any) -> dict[str, Any]:
    return config(model, **knobs) | {"task": {"name": name, **TASK}}


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Copy and adding at 5 and 20 steps: the gru solves copy at both, the rnn at 5; of adding, nobody anything."""
    folder = tmp_path_factory.mktemp("memory")
    for data in ("copy", "adding"):
        for model in ("rnn", "gru"):
            for steps in (5, 20):
                setting = of_task("memory", model, num_steps=steps, max_tokens=None, **{"data.name": data})
                setting["max_tokens"] = 10_000  # made-up counts are taken from it
                solved = data == "copy" and (model == "gru" or steps == 5)
                for seed in range(SEEDS):
                    accuracy = 0.2 + 0.01 * seed if not solved else 0.97 if model == "rnn" and seed == 0 else 1.0
                    add(folder, setting, seed, 1.1 if solved else 8.0, f"{data:0<64}", accuracy=accuracy)
    return gathered(folder)


def test_memory_tasks_are_shown_by_length(memory: Material) -> None:
    made = {name: make() for name, make in sheets(memory).items()}
    rows = [row for row in made["lengths"].rows if row[:2] == ["copy", "rnn"]]
    assert [column.heading for column in made["lengths"].columns] == ["corpus", "model", "5 steps", "20 steps"]
    assert rows == [["copy", "rnn", "0.995 (0.982–1.000), 5 of 6", "0.225 (0.205–0.245), 0 of 6"]]
    headings = [column.heading for column in made["settings"].columns]
    assert headings[:6] == ["corpus", "model", "num_steps", "n", "accuracy", "perplexity"]
    assert not {"effects", "variance", "importance", "comparisons_tail_perplexity"} & set(made)
    assert "corpus" not in set(memory.comparisons["val_perplexity"]["knob"])


def test_memory_tasks_are_compared_by_accuracy(memory: Material) -> None:
    """By hand: of copy at 20 steps every gru is right and the rnn in 0.2 to 0.25; eight pairs of settings in all."""
    assert list(memory.comparisons) == ["accuracy", "val_perplexity"]
    sheet = sheets(memory)["comparisons"]()
    assert sheet.title == "Comparisons: accuracy"
    headings = [column.heading for column in sheet.columns]
    rows = [dict(zip(headings, row, strict=True)) for row in sheet.rows]
    assert len(rows) == 8
    [row] = [row for row in rows if row["at"] == "corpus=copy num_steps=20"]
    assert (row["from"], row["to"], row["difference"]) == ("rnn", "gru", "+0.775")
    # Welch: the gru has no spread, so 5 degrees of freedom; 0.775 ± 2.571 · 0.0187/√6 (sd of 0.20, 0.21 … 0.25)
    assert row["95 %"] == "+0.755 … +0.795"
    assert (row["p"], row["p (Holm)"], row["p (ranks)"]) == ("< 0.001", "< 0.001", "0.002")
    assert (row["P(better)"], row["seeds needed"]) == ("1.00", "–")
    [adding] = [row for row in rows if row["at"] == "corpus=adding num_steps=20"]
    assert (adding["difference"], adding["p"], adding["P(better)"]) == ("0.000", "1.00", "0.50")
    assert re.search(r"\baccuracy: second value minus first\b", sheet.notes[0])
    assert any("no spread" in note for note in sheet.notes)  # where both always solve it, ranks decide
    assert {"difference", "low", "high"} < set(sheet.data)
    assert "ratio" in sheets(memory)["comparisons_val_perplexity"]().data


@pytest.fixture
def filled(tmp_path: Path) -> Material:
    """A full grid of one side or both by two widths; accuracy and perplexity disagree on the width."""
    accuracy = {(False, 8): 0.2, (False, 16): 0.3, (True, 8): 0.6, (True, 16): 0.7}
    for (both, hidden), value in accuracy.items():
        setting = of_task("fill_in", num_hiddens=hidden, **{"model.bidirectional": both})
        for seed in range(SEEDS):
            add(tmp_path, setting, seed, 4.0 + hidden / 8 - both, accuracy=value + 0.002 * (seed - 2.5))
    return gathered(tmp_path)


def test_what_matters_is_told_of_the_tasks_own_measure(filled: Material) -> None:
    """By hand: both sides give 0.4, the width 0.1: 16 and 1 of 17 parts of the variance, and a little for the seeds."""
    made = {name: make() for name, make in sheets(filled).items()}
    effects = made["effects"]
    assert [column.heading for column in effects.columns][3] == "accuracy"
    assert [row[:4] for row in effects.rows] == [
        ["bidirectional", "false", "12", "0.2500"],
        ["bidirectional", "true", "12", "0.6500"],
        ["num_hiddens", "8", "12", "0.4000"],
        ["num_hiddens", "16", "12", "0.5000"],
    ]
    assert "accuracy" in " ".join(effects.notes)
    assert made["variance"].rows[0] == ["bidirectional", "94.1 %"]
    assert "variance of accuracy" in " ".join(made["variance"].notes)
    assert made["importance"].rows[0][:2] == made["variance"].rows[0]
    [said] = [line for line in answer(filled) if "of the variance" in line]
    assert re.search(r"^94 % .*\baccuracy .*\bbidirectional; ", said)
    assert {"comparisons", "comparisons_tail_perplexity", "comparisons_val_perplexity"} < set(made)
    assert made["comparisons_tail_perplexity"].title == "Comparisons: tail perplexity"


@pytest.mark.full
def test_figures_of_what_matters_show_the_tasks_own_measure(filled: Material) -> None:
    figures = wanted(filled)
    caption, draw = figures["effects"]
    assert caption.startswith("Accuracy")
    effects = draw()
    assert effects.axes[0].get_ylabel() == "accuracy"
    assert effects.axes[0].get_yscale() == "linear"
    assert "Mean over all other settings" in texts(effects)
    assert "variance of accuracy" in figures["variance"][0]
    assert figures["variance"][1]().axes[0].get_xlabel() == "share of the variance of accuracy"
    assert figures["importance"][1]().axes[0].get_xlabel() == "share of the variance of accuracy"


@pytest.mark.full
def test_a_heatmap_is_of_the_tasks_own_measure(tmp_path: Path) -> None:
    for layers in (1, 2):
        for hidden in (8, 16, 32):
            add(tmp_path, of_task("fill_in", num_hiddens=hidden, layers=layers), 0, 5.0, accuracy=hidden / 40)
    caption, draw = wanted(gathered(tmp_path))["heatmap"]
    figure = draw()
    assert caption == "Accuracy over num_hiddens and layers."
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.20", "0.40", "0.80"] * 2
    assert figure.axes[1].get_ylabel() == "accuracy\nof the masked characters"
    colours = figure.axes[0].images[0]
    assert sum(colours.cmap(colours.norm(0.8))[:3]) > sum(colours.cmap(colours.norm(0.2))[:3])  # light is good


def test_a_tuned_learning_rate_is_the_best_of_the_tasks_own_measure(tmp_path: Path) -> None:
    for hidden in (8, 16):
        for lr, accuracy, perplexity in ((0.5, 0.4, 3.0), (1.0, 0.6, 5.0)):
            for seed in range(4):
                add(tmp_path, of_task("fill_in", num_hiddens=hidden, lr=lr), seed, perplexity, accuracy=accuracy)
    sheet = sheets(gathered(tmp_path))["tuned"]()
    assert [row[1:] for row in sheet.rows] == [["1", "2", "0", "0.600 (0.600–0.600)"]] * 2


def test_a_setting_all_of_whose_runs_diverged_has_a_row_and_no_best_learning_rate(tmp_path: Path) -> None:
    for hidden, fails in ((8, False), (16, True)):
        for lr in (0.5, 1.0):
            for seed in range(4):
                setting = of_task("language_model", num_hiddens=hidden, lr=lr)
                write_run(tmp_path, setting, seed, None if fails else 3.0 + lr, None if fails else 3.0 + lr)
    sheet = sheets(gathered(tmp_path))["tuned"]()
    assert [row[:2] for row in sheet.rows] == [["8", "0.5"], ["16", "–"]]
    assert any(note.startswith("–:") for note in sheet.notes)


def test_a_metric_that_only_some_settings_have_compares_nobody(tmp_path: Path) -> None:
    """Held-out BLEU where pairs were held out, the BLEU of the sample sentences everywhere."""
    for held in (0, 100):
        for seed in range(2):
            setting = of_task("translation", **{"data.name": "number_pairs"})
            setting["task"]["val_pairs"] = held
            add(tmp_path, setting, seed, 1.2, "0" * 64, accuracy=0.5, **({"bleu": 40.0} if held else {}))
    m = gathered(tmp_path)
    assert m.main == "accuracy"
    assert list(m.comparisons) == ["accuracy", "tail_perplexity", "val_perplexity"]


def texts(figure: Figure) -> str:
    """All that is written in a figure."""
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def test_memory_tasks_in_words(memory: Material) -> None:
    said = " ".join(answer(memory))
    # The rnn's mean at 5 steps, 0.995, would pass for a solution; one run of six has none.
    assert re.search(r"\brnn: 5 of 6 \(36–100 %\) at num_steps=5, none at 20\b", said)
    assert re.search(r"\bgru: all up to num_steps=20\b", said)
    assert re.search(r"\brnn and gru: none .*\(at most 46 %", said)
    assert questions(memory) == [
        "adding: the sum of the two marked numbers of a sequence.",
        "copy: repeat the symbols of a sequence once it has ended.",
    ]
    assert not {"overfitted", "tokens"} & {warning.kind for warning in memory.warnings}
    [line] = deviations(memory)
    assert "no published numbers" in line
    knobs = {row[0] for row in protocol_sheet(memory).rows}
    assert {"task", "symbols", "sequences"} <= knobs
    assert not {"max_tokens", "val_tokens", "sampling", "pairs", "masked"} & knobs


def test_memory_tasks_have_a_panel_each(memory: Material) -> None:
    caption, draw = wanted(memory)["by_value"]
    figure = draw()
    assert caption.startswith("Accuracy against the length")
    assert [panel.get_title() for panel in figure.axes] == ["adding", "copy"]
    for panel in figure.axes:
        assert panel.get_xscale() == "log"
        assert panel.get_ylim() == pytest.approx((-0.03, 1.03))
        assert [line.get_ydata()[0] for line in panel.lines if line.get_zorder() == 1] == [1 / 8]  # the best guess


def test_curves_of_memory_tasks_are_those_of_the_longest_sequences(memory: Material) -> None:
    """A panel for each task, a line for each model; the shorter sequences are left out, and the caption says so."""
    runs, said = few_settings(memory)
    assert set(runs["num_steps"]) == {20}
    assert len(runs) == 2 * 2 * SEEDS
    assert all(part in said for part in ("adding 20", "copy 20"))
    points = [(run, epoch) for run in runs["run_id"] for epoch in (1, 2, 3)]
    curves = pd.DataFrame(points, columns=["run_id", "epoch"]).assign(perplexity=2.0, accuracy=0.5)
    figure = plots.curves(curves, runs, memory.swept)
    assert [axes.get_title() for axes in figure.axes] == ["adding", "copy"]
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["rnn", "gru"]
        assert axes.get_xlabel() == "epoch"
    apart = runs.assign(num_steps=[5 if k % 2 else 20 for k in range(len(runs))])
    assert of_tasks(apart, memory.swept) == ("corpus", [name for name in memory.swept if name != "corpus"])


@pytest.mark.full
def test_a_task_whose_best_guess_is_not_known_is_named(memory: Material) -> None:
    """Three panels in a row of two or three: each that has none below it has the label of the x axis."""
    settings, runs = (
        pd.concat([frame, frame[frame["corpus"] == "copy"].assign(corpus="reset")], ignore_index=True)
        for frame in (memory.settings, memory.runs)
    )
    settings.loc[settings["corpus"] == "reset", "setting_id"] += "-reset"
    figure = plots.by_value(runs, settings, memory.swept)
    assert {axes.get_title() for axes in figure.axes} == {"adding", "copy", "reset"}
    said = " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))
    assert "line for reset" in said
    assert "each value of num_steps" in said


@pytest.mark.parametrize(("count", "below"), [(3, 3), (4, 2), (5, 3), (7, 3)])
def test_the_x_axis_is_named_below_the_last_panel_of_each_column(count: int, below: int) -> None:
    settings = pd.DataFrame({"lr": [float(k) for k in range(count)]})
    _, spots, _ = grid(settings, ["one"], "lr")
    assert sum(spot.bottom for spot in spots) == below
    assert all(spot.bottom for spot in spots[-below:])


@pytest.fixture
def future(tmp_path: Path) -> Material:
    """A language model that reads both ways has the lowest perplexity by far."""
    for both in (False, True):
        setting = config("lstm", **{"model.bidirectional": both, "sampling": "random"})
        for seed in range(SEEDS):
            add(tmp_path, setting, seed, 1.1 + 0.01 * seed if both else 6.0 + 0.1 * seed, sees_future=both or None)
    return gathered(tmp_path)


def test_what_sees_the_future_is_never_the_best(future: Material) -> None:
    said = answer(future)
    assert any(line.startswith("Lowest tail perplexity: lstm, bidirectional=false") for line in said)
    assert not any("bidirectional=true" in line for line in said if line.startswith("Lowest"))
    assert any(re.search(rf"^1 setting .*\({DAGGER}\) .*not ranked", line) for line in said)
    [warning] = [warning.text for warning in future.warnings if warning.kind == "sees the future"]
    assert re.search(r"\b1 of 2 settings, .*bidirectional=true", warning)


@pytest.mark.full
def test_what_sees_the_future_has_a_dagger_everywhere(future: Material) -> None:
    for name in ("settings", "spread", "comparisons", "effects"):
        sheet = sheets(future)[name]()
        marked = [row for row in sheet.rows if any(DAGGER in setting for setting in row)]
        assert marked, name
        assert all(f"true {DAGGER}" in row for row in marked), name
        assert FUTURE_NOTE in sheet.notes, name
    assert sheets(future)["settings"]().data["sees_future"].tolist() == [False, True]
    for name in ("by_value", "curves"):
        texts = " ".join(text.get_text() for text in wanted(future)[name][1]().findobj(Text))
        assert f"bidirectional=true {DAGGER}" in " ".join(texts.split())
        assert "sees the future" in " ".join(texts.split())
    assert {DAGGER in sample.who for sample in samples(future)} == {False, True}


def test_what_is_claimed_of_it_has_a_dagger_too(future: Material) -> None:
    assert future.verdicts == []  # of a sweep without a preset: no shipped claim judges it
    claims = {claim.id: claim for claim in read_claims(CONFIG_ROOT / "sweeps" / "claims" / "bidirectional.yaml")}
    (seen,) = evaluate(Frames(future.runs), [claims["bidirectional-useless"]])
    assert seen.fact
    future.verdicts.append(seen)
    future.verdicts.append(replace(seen, statement="Another claim.", sees_future=False))
    sheet = sheets(future)["verdicts"]()
    assert [row[0] for row in sheet.rows if DAGGER in row[0]] == [f"{seen.statement} {DAGGER}"]
    assert FUTURE_NOTE in sheet.notes
    noted = [card.statement for card in cards(future) if FUTURE_NOTE in card.details]
    assert noted == [f"{seen.statement} {DAGGER}"]
    figure = plots.verdicts(verdicts_frame(future.verdicts))
    drawn = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
    assert f"{seen.statement} {DAGGER}" in drawn
    assert f"Another claim. {DAGGER}" not in drawn
    assert FUTURE_NOTE in drawn


def test_what_it_does_to_an_average_is_noted(future: Material) -> None:
    [said] = [line for line in answer(future) if "of the variance" in line]
    assert f"goes back to bidirectional {DAGGER}; " in said
    assert said.endswith(FUTURE_NOTE)
    variance = sheets(future)["variance"]()
    assert [row[0] for row in variance.rows] == [f"bidirectional {DAGGER}", "seed", "residual"]
    assert FUTURE_NOTE in variance.notes
    drawn = texts(wanted(future)["variance"][1]())
    assert f"bidirectional {DAGGER}" in drawn
    assert FUTURE_NOTE in drawn
    [row] = sheets(future)["comparisons"]().rows
    headings = [column.heading for column in sheets(future)["comparisons"]().columns]
    assert row[headings.index("P(better)")] == "–"


def test_a_front_leaves_out_what_sees_the_future(future: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.report import material

    seen = []
    monkeypatch.setattr(material, "pareto", lambda settings, metric: seen.append(settings["bidirectional"].tolist()))
    monkeypatch.setattr(Material, "timed", property(lambda m: True))
    material._analyse(future, Attempts(lambda line: pytest.fail(line)))
    assert seen == [[False]]


def test_a_width_that_only_follows_is_not_swept_but_shown(tmp_path: Path) -> None:
    for model, layers, hidden in (("rnn", 1, 32), ("rnn", 2, 33), ("gru", 1, 17), ("gru", 2, 18)):
        setting = config(model, layers=layers, num_hiddens=hidden) | {"match": "params"}
        for seed in range(2):
            add(tmp_path, setting, seed, 5.0 + seed)
    m = gathered(tmp_path)
    assert m.swept == ["model", "layers"]
    headings = [column.heading for column in sheets(m)["settings"]().columns]
    assert headings[:4] == ["model", "layers", "num_hiddens", "parameters"]


@pytest.fixture
def translation(tmp_path: Path) -> Material:
    """The published experiment with other seeds."""
    setting = of_task("translation", num_hiddens=32, layers=2, dropout=0.1, init="xavier", num_steps=10, batch_size=64)
    setting |= {"lr": 0.005, "clip": 0.037, "epochs": 300}
    setting["task"] |= {"context": "as-published"}
    setting["data"] |= {"name": "fra_eng", "tokens": "word", "cleaning": "keep"}
    setting["optimizer"] |= {"name": "adam", "lr": 0.005}
    told = {"text": {"go .": "va !", "i lost .": "je <unk> ."}}
    told |= {"references": {"go .": "va !", "i lost .": "j'ai perdu ."}}
    for seed in range(3):
        scores = {"accuracy": 0.99, "course_bleu": 0.8 + 0.1 * seed, "course_loss": 0.018 + 0.001 * seed}
        add(tmp_path, setting, seed, 1.2, PAIRS_SHA256, **scores, **told)
    return gathered(tmp_path)


def test_the_published_translation_stands_beside_ours(translation: Material) -> None:
    sheet = sheets(translation)["settings"]()
    rows = [dict(zip([column.heading for column in sheet.columns], row, strict=True)) for row in sheet.rows]
    assert [row["whose"] for row in rows] == ["published", "here"]
    assert (rows[0]["course loss"], rows[0]["course BLEU"]) == ("0.02", "3 of 4 at 1")
    assert rows[1]["course BLEU"] == "0.900 (0.652–1.000)"  # ± 4.303 · 0.1 / √3, and no more than 1
    assert rows[1]["ratio"] == "0.949"  # (0.018 · 0.019 · 0.020)^⅓ / 0.02
    said = " ".join(deviations(translation))
    assert "3 seeds instead of 1." in said
    [loss] = [line for line in answer(translation) if "0.02, ours" in line]
    # t[2 df] = 4.303, of logarithms with a standard deviation of 0.0527: 0.0190 · exp(± 4.303 · 0.0527 / √3)
    assert re.search(r"\b0\.02, ours 0\.0190 \(0\.0167–0\.0216\);", loss)


@pytest.mark.full
def test_what_ties_or_overlaps_is_named(tmp_path: Path) -> None:
    """Two contexts of the very same networks, and a wider one whose interval reaches theirs."""
    scores = {("as-published", 8): 0.0, ("constant", 8): 0.0, ("constant", 16): 0.04, ("constant", 32): 0.9}
    for (context, hidden), more in scores.items():
        setting = of_task("translation", num_hiddens=hidden, **{"data.name": "number_pairs"})
        setting["task"]["context"] = context
        for seed in range(4):
            add(tmp_path, setting, seed, 1.2 + 0.1 * seed + more, "0" * 64, course_bleu=0.5)
    [said] = [line for line in answer(gathered(tmp_path)) if line.startswith("Lowest tail perplexity")]
    best, tied, overlapping = said.split(";")
    assert re.search(r"gru, num_hiddens=8, context=as-published .*\b1\.35 \(.*\bn = 4\b", best)
    assert re.search(r"^ tied .*gru, num_hiddens=8, context=constant$", tied)
    assert re.search(r"overlaps .*gru, num_hiddens=16, context=constant \(1\.39 \(1\.19–1\.61\)\)\.$", overlapping)


@pytest.mark.parametrize(
    "other",
    [
        {"task": {"context": "constant"}},
        *(pytest.param(other, marks=pytest.mark.full) for other in ({"epochs": 200}, {"clip": 1.0})),
    ],
    ids=str,
)
def test_a_translation_of_another_protocol_has_no_published_value(translation: Material, other: dict[str, Any]) -> None:
    [record] = [json.loads(path.read_text()) for path in sorted((translation.folder / "runs").glob("*.json"))[:1]]
    setting = {name: value for name, value in record["config"].items() if name != "seed"}
    setting |= other | {"task": setting["task"] | other.get("task", {})}
    add(translation.folder, setting, 0, 1.2, PAIRS_SHA256, course_bleu=0.5, course_loss=0.03)
    both = gathered(translation.folder)
    assert len(both.settings) == 2
    assert len(both.published) == 1


def test_other_translations_have_no_published_counterpart(tmp_path: Path) -> None:
    setting = of_task("translation", num_hiddens=64, **{"data.name": "number_pairs"})
    for seed in range(2):
        add(tmp_path, setting, seed, 1.2, "0" * 64, course_bleu=0.5)
    said = deviations(gathered(tmp_path))
    assert len(said) == 1
    assert "published translation" in said[0]


def test_translations_stand_beside_their_references(translation: Material) -> None:
    [sample] = samples(translation)
    assert sample.who == "gru (seed 1, course BLEU 0.9)"  # of three that end alike, the middle one
    assert sample.texts == [
        ("go .", " → va ! (as the reference)"),
        ("i lost .", " → je <unk> . (reference: j'ai perdu .)"),
    ]


@pytest.mark.full
def test_one_change_at_a_time_is_shown_in_rows(tmp_path: Path) -> None:
    """Against num_hiddens two of three settings would be a single point."""
    for changed in ({"num_hiddens": 16}, {"num_hiddens": 32}, {"dropout": 0.3}, {"layers": 2}):
        setting = of_task("translation", **{"data.name": "number_pairs", "num_hiddens": 32} | changed)
        for seed in range(3):
            add(tmp_path, setting, seed, 1.2 + 0.1 * seed, "0" * 64, course_bleu=0.5)
    m = gathered(tmp_path)
    figure = plots.by_value(m.runs, m.settings, m.swept)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["num_hiddens=16", "num_hiddens=32"]
    assert not any(panel.get_xlabel().startswith("num_hiddens") for panel in figure.axes)


@pytest.mark.full
def test_figures_wrap_where_measures_are_many(tmp_path: Path) -> None:
    for hidden in (16, 32, 64):
        setting = of_task("translation", num_hiddens=hidden, **{"data.name": "number_pairs"})
        for seed in range(3):
            add(tmp_path, setting, seed, 1.2 + hidden / 100, "0" * 64, course_bleu=0.5, bleu=40.0 + seed)
    m = gathered(tmp_path)
    figure = plots.by_value(m.runs, m.settings.assign(repeats_course=True), m.swept)
    labels = [" ".join(panel.get_ylabel().split()) for panel in figure.axes]
    assert labels == [
        "BLEU of held-out pairs",
        "course BLEU, sentences shown",
        "training perplexity (last epoch) of target words",
        "held-out perplexity of target words",
    ]
    assert figure.axes[0].get_ylim() == pytest.approx((-1.5, 51.5))  # from 0 to 50: BLEUs are up to 42
    rows = {round(panel.get_subplotspec().rowspan.start) for panel in figure.axes}
    assert rows == {0, 1}


@pytest.mark.full
@pytest.mark.parametrize("made", ["memory", "future", "translation"])
def test_whole_reports(made: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing fails on the way, and the page says what was measured."""
    m: Material = request.getfixturevalue(made)
    page = write_report(m.folder)
    assert "could not be made" not in capsys.readouterr().err
    text = (m.folder / "report.html").read_text(encoding="utf-8")
    expected = {
        "memory": "on 512 held-out sequences",
        "future": FUTURE_NOTE,
        "translation": "per target word divided by num_steps",
    }
    assert expected[made] in text
    assert page.settings == len(m.settings)


@pytest.mark.full
def test_what_the_course_measures_is_shown_only_beside_what_it_published(
    translation: Material, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The course's BLEU and loss are columns of a sweep that repeats the course, and of no other."""
    other = tmp_path_factory.mktemp("other")
    setting = of_task("translation", num_hiddens=64, **{"data.name": "number_pairs"})
    for seed in range(2):
        add(other, setting, seed, 1.2, "0" * 64, accuracy=0.9, course_bleu=0.5, course_loss=0.1)
    for material, shown in ((translation, True), (gathered(other), False)):
        headings = {column.heading for column in sheets(material)["settings"]().columns}
        assert ({"course BLEU", "course loss"} <= headings) == shown
        assert "accuracy" in headings
