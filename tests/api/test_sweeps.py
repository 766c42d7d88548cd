"""The Python interface against the command line: the same words, the same folder, the same runs, the same numbers.

Trains networks of four hidden units for milliseconds. CPU, 10 s.
"""

import _thread
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ablate
from ablate.api.words import words_of
from ablate.config.errors import ConfigError
from ablate.records import results, weights
from ablate.records.manifest import load_manifest
from ablate.records.record import Record
from ablate.sweeping import launch

Train = Callable[..., "ablate.Sweep"]


@pytest.fixture
def train(tmp_path: Path, text_path: Path) -> Train:
    """`ablate.sweep` of a small network on the made-up text, silent, in tmp_path/results."""
    small = {"num_hiddens": 4, "num_steps": 5, "batch_size": 4, "max_tokens": 400, "val_tokens": 100, "epochs": 3}
    data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
    place = {"results_dir": tmp_path / "results", "progress": False}

    def sweep(**knobs: Any) -> "ablate.Sweep":
        together = {name for key in knobs if ":" in key for name in key.split(":")}
        usual = {name: value for name, value in small.items() if name not in together}
        return ablate.sweep(**{"seeds": 1, "data": data, **usual, **place, **knobs})

    return sweep


# --- words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": ["gru", "lstm"], "num_hiddens": [32, 256]}, ["model=gru,lstm", "num_hiddens=32,256"]),
        ({"lr": 0.5, "clip": None, "fresh": True}, ["lr=0.5", "clip=null", "fresh=true"]),
        ({"num_hiddens": range(2, 5)}, ["num_hiddens=2,3,4"]),
        ({"lr": np.array([0.5, 1.0]), "seeds": np.int64(3)}, ["lr=0.5,1.0", "seeds=3"]),
        ({"num_hiddens": pd.Series([1, 2])}, ["num_hiddens=1,2"]),
        ({"model.gates.reset": 1}, ["model.gates.reset=1"]),
        ({"model": {"name": ["gru", "lstm"], "connection": "dense"}}, ["model=gru,lstm", "model.connection=dense"]),
        ({"model": {"name": "gru", "gates": {"reset": 1}}}, ["model=gru", "model.gates.reset=1"]),
        ({"data.path": Path("a/b.txt")}, ["data.path=a/b.txt"]),
        ({"data.path": Path("a, b.txt")}, ['data.path="a, b.txt"']),
        ({"title": "GRU, and (more)"}, ['title="GRU, and (more)"']),
        ({"num_hiddens:lr": ["32:1", "64:0.5"]}, ["num_hiddens:lr=32:1,64:0.5"]),
        ({"num_hiddens:lr": [(32, 1), (64, 0.5)]}, ["num_hiddens:lr=32:1,64:0.5"]),
        ({"model:clip": [("gru", None)]}, ["model:clip=gru:null"]),
        ({"prefixes": []}, ["prefixes=[]"]),
        ({"prefixes": ["time", "a, b"]}, ['prefixes=["time","a, b"]']),
        ({"optimizer.betas": [0.9, 0.99]}, ["optimizer.betas=[0.9,0.99]"]),
        ({"optimizer.betas": [[0.9, 0.99], (0.8, 0.9)]}, ["optimizer.betas=[0.9,0.99],[0.8,0.9]"]),
    ],
)
def test_values_become_the_words_that_one_would_type(given: dict[str, Any], words: list[str]) -> None:
    assert words_of(given) == words


@pytest.mark.parametrize(
    ("given", "knob"),
    [
        ({"lr": []}, "lr"),
        ({"lr": object()}, "lr"),
        ({"lr": [[1, 2]]}, "lr"),
        ({"num_hiddens:lr": []}, "num_hiddens:lr"),
        ({"num_hiddens:lr": [(1, 2, 3)]}, "num_hiddens:lr"),
    ],
)
def test_what_no_word_can_say_is_one_line(given: dict[str, Any], knob: str) -> None:
    with pytest.raises(ConfigError) as error:
        words_of(given)
    assert str(error.value).startswith(knob)
    assert "\n" not in str(error.value)


# --- training -------------------------------------------------------------------------------------------


@pytest.mark.full
def test_the_command_line_finds_what_python_trained(
    train: Train, main: Callable[..., Any], tmp_path: Path, text_path: Path
) -> None:
    """Same folder, same run ids, nothing to train again; and the other way round."""
    sweep = train(model=["gru", "rnn"], seeds=2)
    words = ["data=text_file", f"data.path={text_path}", "data.cleaning=letters", "num_hiddens=4", "num_steps=5"]
    words += ["batch_size=4", "max_tokens=400", "val_tokens=100", "epochs=3", f"results_dir={tmp_path / 'results'}"]
    done = main(*words, "model=gru,rnn", "seeds=2", f"name={sweep.folders[0].name}")
    assert "0 runs trained, 4 already complete" in done.err
    done = main(*words, "model=lstm", "seeds=2", "name=typed")
    assert "2 runs trained" in done.err
    before = (tmp_path / "results" / "typed" / "runs.parquet").read_bytes()
    again = train(model="lstm", seeds=2, name="typed")
    assert (tmp_path / "results" / "typed" / "runs.parquet").read_bytes() == before
    assert len(again) == 2


@pytest.mark.full
def test_the_recorded_command_is_the_one_that_is_typed(
    main: Callable[..., Any], tmp_path: Path, text_path: Path
) -> None:
    small = {"num_hiddens": 2, "num_steps": 5, "batch_size": 4, "max_tokens": 400, "val_tokens": 100, "epochs": 1}
    words = ["seeds=1", "model=gru,rnn", "data=text_file", f"data.path={text_path}", "data.cleaning=letters"]
    words += [*(f"{knob}={value}" for knob, value in small.items()), "name=once", f"results_dir={tmp_path / 'there'}"]
    assert main(*words).status == 0
    data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
    place = {"name": "once", "results_dir": tmp_path / "there", "progress": False}
    sweep = ablate.sweep(seeds=1, model=["gru", "rnn"], data=data, **small, **place)
    assert load_manifest(sweep.folders[0])["commands"] == [f"python -m ablate {' '.join(words)}"]


@pytest.mark.parametrize("rows", [[(2, 1), (3, 0.5)], pytest.param(["2:1", "3:0.5"], marks=pytest.mark.full)])
def test_knobs_that_change_together(train: Train, rows: list[Any]) -> None:
    frame = train(model="rnn", **{"batch_size:lr": rows}).frame()
    assert sorted(zip(frame["batch_size"], frame["lr"], strict=True)) == [(2, 1.0), (3, 0.5)]


@pytest.mark.full
def test_only_what_is_missing_is_trained(train: Train) -> None:
    one = train(name="a", seeds=1)
    run_id = one.frame()["run_id"][0]
    before = results.read(one.folders[0], run_id)
    two = train(name="a", seeds=2)
    assert (len(one), len(two)) == (1, 2)
    assert results.read(one.folders[0], run_id) == before


@pytest.mark.full
def test_a_preset_gives_the_values_and_python_replaces_them(train: Train) -> None:
    sweep = train(sweeps="table15_rnn_lr", lr=[0.5, 1], speed=False, name="preset")
    assert sorted(sweep.frame()["lr"]) == [0.5, 1.0]
    assert load_manifest(sweep.folders[0])["preset"] == "table15_rnn_lr"


@pytest.mark.full
@pytest.mark.parametrize(
    ("knobs", "value", "remedy"),
    [
        ({"modle": "gru"}, "modle", "model"),
        ({"model": "gruu"}, "gruu", "gru"),
        ({"num_hiddens": "many"}, "many", "whole number"),
        ({"num_hiddens": 0}, "0", "1 or more"),
        ({"sweeps": "table1"}, "table1", "table15_rnn_lr"),
        ({"sweeps": "search_gru"}, "search_gru", "command"),
        ({"hydra/sweeper": "optuna"}, "hydra/sweeper", "command"),
        ({"data.path": Path("missing.txt")}, "missing.txt", ""),
        ({"keep": "everything"}, "everything", "weights"),
    ],
)
def test_a_mistake_is_a_plain_error_in_one_line(train: Train, knobs: dict[str, Any], value: str, remedy: str) -> None:
    with pytest.raises(ablate.UserError) as error:
        train(**knobs)
    said = str(error.value)
    assert value in said
    assert remedy in said
    assert "\n" not in said


@pytest.mark.full
def test_a_setting_that_fails_is_warned_about_and_the_others_are_trained(train: Train) -> None:
    with pytest.warns(UserWarning, match="Sweep.failures"):
        sweep = train(**{"model.bidirectional": [False, True]}, model="gru", sampling="sequential")
    assert len(sweep) == 1
    assert len(sweep.failures) == 1


@pytest.mark.full
def test_an_interruption_keeps_what_is_finished_and_the_same_call_resumes(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = results.save

    def save_and_interrupt(folder: Path, record: Record) -> None:
        save(folder, record)
        _thread.interrupt_main()  # as Jupyter's stop button: while the main thread waits for this one

    monkeypatch.setattr(launch.results, "save", save_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(name="a", model=["gru", "rnn"])
    monkeypatch.undo()
    folder = tmp_path / "results" / "a"
    kept = {record["run_id"]: record for record in results.records(folder) if isinstance(record, dict)}
    assert kept
    assert len(train(name="a", model=["gru", "rnn"])) == 2
    assert all(results.read(folder, run_id) == record for run_id, record in kept.items())


# --- what it returns ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, text_path: Path) -> "ablate.Sweep":
    """Two models by two widths, three seeds each."""
    return ablate.sweep(
        model=["gru", "rnn"],
        num_hiddens=[2, 4],
        seeds=3,
        data={"name": "text_file", "path": text_path, "cleaning": "letters"},
        num_steps=5,
        batch_size=4,
        max_tokens=400,
        val_tokens=100,
        epochs=3,
        results_dir=tmp_path_factory.mktemp("api") / "results",
        name="grid",
        progress=False,
    )


def test_frames(sweep: "ablate.Sweep") -> None:
    runs, settings, curves = sweep.frame(), sweep.settings(), sweep.curves()
    assert list(runs.columns[:2]) == ["sweep", "run_id"]
    assert len(runs) == len(sweep) == 12
    assert len(settings) == 4
    assert set(settings["n"]) == {3}
    assert len(curves) == 12 * 3
    own = runs[(runs["model"] == "gru") & (runs["num_hiddens"] == 2)]["val_perplexity"]
    row = settings[(settings["model"] == "gru") & (settings["num_hiddens"] == 2)].iloc[0]
    assert row["val_perplexity"] == pytest.approx(math.exp(np.log(own).mean()))
    runs["model"] = "changed"
    assert set(sweep.frame()["model"]) == {"gru", "rnn"}


def test_comparisons_of_one_knob(sweep: "ablate.Sweep") -> None:
    table = sweep.compare("val_perplexity", by="model")
    assert set(table["knob"]) == {"model"}
    assert len(table) == 2
    assert len(sweep.compare()) == 4
    settings = sweep.settings().set_index("setting_id")["val_perplexity"]
    first = table.iloc[0]
    assert first["ratio"] == pytest.approx(settings[first["setting_id"]] / settings[first["reference_id"]])


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda s: s.compare("val_perplexty"), ["val_perplexty", "val_perplexity"]),
        (lambda s: s.compare(by="lr"), ["lr", "model or num_hiddens"]),
        (lambda s: s.plot(x="lr"), ["lr", "model or num_hiddens"]),
        (lambda s: s.plot(y="bleu"), ["bleu", "val_perplexity"]),
        (lambda s: s.claim("gru < lstm"), ["lstm", "gru"]),
        (lambda s: s.claim("gru"), ["gru", "A < B"]),
        (lambda s: s.claim("gru < 4"), ["gru and 4", "one knob"]),
        (lambda s: s.claim("gru < rnn > gru"), ["gru < rnn > gru"]),
        (lambda s: s.claim("gru < gru"), ["gru", "twice"]),
        (lambda s: s.claim("lr=1 < lr=2"), ["lr", "model or num_hiddens"]),
        (lambda s: s.claim("gru < rnn", where={"modell": "gru"}), ["modell"]),
        (lambda s: s.claim("gru < rnn", margin=0.1), ["margin"]),
    ],
)
def test_a_wrong_name_is_one_line_with_the_choices(
    sweep: "ablate.Sweep", call: Callable[["ablate.Sweep"], Any], names: list[str]
) -> None:
    with pytest.raises(ablate.UserError) as error:
        call(sweep)
    said = str(error.value)
    assert all(name in said for name in names), said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("sentence", "same"),
    [
        ("gru < rnn", "rnn > gru"),
        ("model=gru < model=rnn", "gru < rnn"),
        ("2 < 4", "4.0 > 2.0"),
        ("num_hiddens=2 < 4", "2 < 4"),
    ],
)
def test_a_claim_can_be_said_in_several_ways(sweep: "ablate.Sweep", sentence: str, same: str) -> None:
    one, two = sweep.claim(sentence), sweep.claim(same)
    assert (one.verdict, one.ratio, one.low, one.high, one.p) == (two.verdict, two.ratio, two.low, two.high, two.p)


def test_the_verdict_on_a_claim_is_that_of_the_test_of_the_two(sweep: "ablate.Sweep") -> None:
    verdict = sweep.claim("gru < rnn", "val_perplexity", where={"num_hiddens": 4})
    pair = sweep.compare("val_perplexity", by="model")
    pair = pair[pair["at"] == "num_hiddens=4"].iloc[0]  # gru over rnn
    assert verdict.ratio == pytest.approx(pair["ratio"])
    assert verdict.p == pytest.approx(pair["p"])
    assert (verdict.verdict == "confirmed") == (pair["ratio"] < 1 and pair["p"] <= 0.05)
    assert "perplexity" in verdict.metric
    opposite = sweep.claim("rnn < gru", "val_perplexity", where={"num_hiddens": 4})
    assert {verdict.verdict, opposite.verdict} in ({"confirmed", "refuted"}, {"undecided"})


def test_equivalence_is_within_a_margin(sweep: "ablate.Sweep") -> None:
    assert sweep.claim("gru ~ rnn", margin=100).verdict == "confirmed"


@pytest.mark.full
def test_a_number_of_two_knobs_needs_its_name(train: Train) -> None:
    sweep = train(model="rnn", num_hiddens=[2, 4], batch_size=[2, 4], seeds=2)
    with pytest.raises(ablate.UserError, match="by='num_hiddens'"):
        sweep.claim("2 < 4")
    by_name = sweep.claim("2 < 4", by="batch_size", where={"num_hiddens": 2})
    in_full = sweep.claim("batch_size=2 < batch_size=4", where={"num_hiddens": 2})
    assert (by_name.verdict, by_name.ratio, by_name.p) == (in_full.verdict, in_full.ratio, in_full.p)


def test_the_table_of_a_notebook(sweep: "ablate.Sweep") -> None:
    html = sweep._repr_html_()
    assert html.count("<tr>") == 5
    row = sweep.settings().iloc[0]
    assert f"{row['val_perplexity']:.4g} [{row['val_perplexity_low']:.4g}, {row['val_perplexity_high']:.4g}]" in html
    assert "<th>diverged</th>" in html
    assert str(sweep.folders[0]) in html


@pytest.mark.full
@pytest.mark.parametrize(("x", "y"), [(None, None), ("num_hiddens", "val_perplexity"), ("model", "best_perplexity")])
def test_a_figure_shows_what_was_asked_for(sweep: "ablate.Sweep", x: str | None, y: str | None) -> None:
    figure = sweep.plot(x=x, y=y, title="made up")
    assert figure._repr_png_().startswith(b"\x89PNG")
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
    if y == "val_perplexity":
        assert "num_hiddens (hidden units)" in labels
        assert any(label.startswith("held-out perplexity") for label in labels)
        assert len(figure.axes) == 1
    if y == "best_perplexity":
        assert "best perplexity" in labels


@pytest.mark.full
def test_several_sweeps_in_one(train: Train, tmp_path: Path) -> None:
    gru, rnn = train(model="gru", seeds=3, name="a"), train(model="rnn", seeds=3, name="b")
    shared = train(model=["gru", "rnn"], seeds=3, name="c")  # holds the same runs once more
    both = ablate.load(tmp_path / "results" / "a", tmp_path / "results" / "b")
    assert len(both) == 6
    assert both.frame()["sweep"].nunique() == 2
    assert len(both.compare(by="model")) == 1
    assert both.claim("gru < rnn").p == shared.claim("gru < rnn").p
    three = ablate.load(*both.folders, *shared.folders)
    assert len(three.frame()) == 12
    assert len(three) == 6
    assert three.settings()["n"].tolist() == [3, 3]
    assert (len(gru), len(rnn)) == (3, 3)


@pytest.mark.parametrize("folder", ["", "results/none", "."])
def test_a_folder_without_runs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ablate.UserError):
        ablate.load(*([folder] if folder else [])).frame()


@pytest.mark.full
def test_the_report_is_written_and_its_page_returned(
    sweep: "ablate.Sweep", train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    page = sweep.report()
    assert page.is_file()
    assert capsys.readouterr() == ("", "")
    both = ablate.load(*sweep.folders, *train(model="lstm", name="other").folders)
    assert both.report().is_file()
    assert train(model="lstm", name="other", report=True).folders[0].joinpath("report.html").is_file()


@pytest.mark.full
def test_from_a_thread(train: Train) -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(train(model="gru", seeds=2))))
    thread.start()
    thread.join()
    assert found == [2]


# --- weights that are asked for afterwards --------------------------------------------------------------


@pytest.mark.full
def test_runs_without_weights_are_trained_again_where_weights_are_asked_for(train: Train) -> None:
    before = train(name="a", seeds=2).frame()
    sweep = train(name="a", seeds=2, keep="weights")
    assert any("keep=weights" in note and "2 finished runs" in note for note in sweep.notes)
    after = sweep.frame()
    assert all(weights.are_stored(sweep.folders[0], run_id) for run_id in after["run_id"])
    assert after["val_perplexity"].tolist() == before["val_perplexity"].tolist()
    written = results.read(sweep.folders[0], after["run_id"][0])
    assert not any("keep=weights" in note for note in train(name="a", seeds=2, keep="weights").notes)
    assert train(name="a", seeds=2).frame()["run_id"].tolist() == after["run_id"].tolist()
    assert results.read(sweep.folders[0], after["run_id"][0]) == written


@pytest.mark.full
def test_a_run_taken_over_from_another_sweep_brings_its_weights(train: Train) -> None:
    first = train(name="a", keep="weights")
    second = train(name="b", keep="weights")
    run_id = second.frame()["run_id"][0]
    assert second.frame()["reused_from"][0] == "a"
    one, two = (weights.load(sweep.folders[0], run_id) for sweep in (first, second))
    assert all((one[name] == two[name]).all() for name in one)
    bare = train(name="c")
    again = train(name="d", seed=5)
    kept = train(name="e", seed=5, keep="weights")  # d has no weights to take over
    assert kept.frame()["reused_from"][0] is None
    assert len(bare) == len(again) == 1


@pytest.mark.full
def test_several_presets_are_several_sweeps_returned_together(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    for name, model in (("one", "rnn"), ("two", "gru")):
        (tmp_path / "sweeps" / f"{name}.yaml").write_text(f"defaults: [{{override /model: {model}}}]\n")
    both = train(sweeps=["one", "two"])
    assert [folder.name[:4] for folder in both.folders] == ["one_", "two_"]
    assert both.frame()["model"].tolist() == ["rnn", "gru"]
    assert train(sweeps="one,two").folders == both.folders
    assert train(sweeps=["two"]).folders == both.folders[1:]
    with pytest.raises(ablate.UserError, match="leave out name"):
        train(sweeps=["one", "two"], name="both")
    with pytest.raises(ablate.UserError, match="did you mean two"):
        train(sweeps=["one", "twoo"], epochs=2)
    assert len(list((tmp_path / "results").iterdir())) == 2, "nothing is trained where one cannot be"


@pytest.mark.full
def test_what_is_nearly_right_is_taken_or_one_line(train: Train, tmp_path: Path) -> None:
    train(model=["gru", "rnn"], name="a")
    sweep = ablate.load([str(tmp_path / "results" / "a")])
    assert len(sweep) == 2
    with pytest.raises(ablate.UserError, match="dict"):
        sweep.claim({"less": ["gru", "rnn"]})  # type: ignore[arg-type]
    for several in (sweep.frame(), sweep):
        with pytest.raises(ablate.UserError, match=f"{type(several).__name__}.*row"):
            ablate.module(several)  # type: ignore[arg-type]
