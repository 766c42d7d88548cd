"""A task and a figure from outside of the package: the very files of docs/examples. CPU, 5 s.

Compared: the engines with each other, frames and reports with what was measured, and `check_task` with tasks of which
one thing is wrong.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ablate
from ablate.analysis.frames import runs_frame
from ablate.config.errors import ConfigError, UserError
from ablate.config.metrics import METRICS
from ablate.config.registry import DATASETS, FIGURES, TASKS
from ablate.config.schema import Config, DataConfig
from ablate.data.corpora import load
from ablate.report.blocks import Attempts
from ablate.report.material import gather
from ablate.tasks import task_of
from ablate.tasks.task import Task
from ablate.testing import check_task
from ablate.testing.tasks import small_config
from tests.tasks.own_pitch import EXAMPLES, example, pitch, trained

pytestmark = pytest.mark.usefixtures("nothing_stays")


def test_the_example_keeps_what_is_relied_on() -> None:
    module = example("task")
    check_task(module.Pitch)
    assert TASKS["pitch"].data == ("pitch",)
    assert DATASETS["pitch"].by_rule
    assert TASKS["pitch"].own_metrics == ("accuracy", "certainty")


@pytest.mark.parametrize("name", ["fill_in", "memory", "translation", "language_model"])
def test_so_do_the_tasks_that_are_shipped(name: str) -> None:
    """By the same check; on data that need no download."""
    data = {"memory": "copy", "translation": "number_pairs"}.get(name, "python_docs")
    check_task(name, data)


def of_file(name: str, path: Path) -> DataConfig:
    return DataConfig.of({"name": name, "path": str(path), **DATASETS[name].fixed}, given=True)


def test_the_example_of_a_file_keeps_what_is_relied_on(tmp_path: Path) -> None:
    module = example("dataset")
    check_task(module.Trend, path=str(EXAMPLES / "trend.csv"), num_steps=8)
    corpus = load(of_file("trend_file", EXAMPLES / "trend.csv"))
    assert (corpus.name, corpus.unit) == ("trend.csv", "number")
    assert {name: one.shape for name, one in corpus.arrays.items()} == {"answers": (80,), "signals": (80, 8)}
    assert not DATASETS["trend_file"].by_rule
    edited = tmp_path / "trend.csv"
    edited.write_text((EXAMPLES / "trend.csv").read_text().rstrip("\n") + "0\n")
    assert load(of_file("trend_file", edited)).sha256 == corpus.sha256  # 0.5 and 0.50 are one number
    edited.write_text(edited.read_text() + "1,0,1,2,3,4,5,6,7\n")
    assert load(of_file("trend_file", edited)).sha256 != corpus.sha256


LOADERS: dict[str, tuple[Callable[..., Any], str]] = {
    "tuple": (lambda data, tokens: ([1.0], [0]), "tuple; a Corpus is needed"),
    "nothing": (lambda data, tokens: None, "a NoneType; a Corpus is needed"),
    "raises": (lambda data, tokens: float("nine"), "could not convert"),
    "ragged": (lambda data, tokens: ablate.Corpus.of_arrays(data.path, rows=[[1, 2], [3]]), "rows is no array"),
    "words": (lambda data, tokens: ablate.Corpus.of_arrays(data.path, rows=["a"]), "give one of numbers"),
    "no file": (lambda data, tokens: Path(data.path).read_text(), "bits.csv"),
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_that_fails_is_one_line(name: str) -> None:
    loader, said = LOADERS[name]
    DATASETS.add(ablate.DataSet("bits", ("memory",), loader=loader, own_file=True))
    with pytest.raises(UserError) as caught:
        load(of_file("bits", Path("/nowhere/bits.csv")))
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    if name in ("tuple", "raises", "no file"):
        assert "bits" in line
        assert "test_own_task.py:" in line


@pytest.mark.parametrize("thing", [int, len, Task])
def test_what_is_no_task_is_said(thing: Any) -> None:
    with pytest.raises(AssertionError, match=r"is no task; give a class with the decorator @ablate\.task"):
        check_task(thing)


def test_a_check_of_a_task_on_a_file_needs_the_file() -> None:
    with pytest.raises(AssertionError, match="data=trend_file needs a file: give path=FILE"):
        check_task(example("dataset").Trend)


def test_a_warning_before_a_loader_fails_is_part_of_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.csv").write_text("")
    example("dataset")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(UserError, match=r"its loader fails: .*\(before that: .*input contained no data"):
            load(of_file("trend_file", tmp_path / "empty.csv"))
    assert capsys.readouterr().err == ""


def test_the_warning_of_a_loader_that_works_is_heard() -> None:
    def loader(data: Any, tokens: Any) -> ablate.Corpus:
        warnings.warn("an odd row", stacklevel=1)
        return ablate.Corpus.of_arrays(data.path, rows=[1.0])

    DATASETS.add(ablate.DataSet("bits", ("memory",), loader=loader, own_file=True))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        load(of_file("bits", Path("bits.csv")))
    assert [str(one.message) for one in heard] == ["an odd row"]


@pytest.mark.full
def test_a_file_for_data_that_read_none_is_told_how_they_would(compose: Callable[..., Config]) -> None:
    DATASETS.add(ablate.DataSet("bits", ("memory",), loader=lambda data, tokens: None))
    with pytest.raises(ConfigError, match="own_file=True") as caught:
        compose("task=memory", "data=bits", "data.path=bits.csv")
    assert "text_file" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"leave data\.path out"):
        compose("task=memory", "data=copy", "data.path=bits.csv")
    with pytest.raises(ConfigError, match="data=text_file"):
        compose("data=python_docs", "data.path=mine.txt")


@pytest.mark.full
def test_every_engine_trains_it() -> None:
    example("task")
    one = pitch()
    by_engine = {engine: trained(one, engine) for engine in ("cohort", "torch_nn", "eager")}
    reference = [record.metrics for record in by_engine["eager"]]
    assert {record.status for records in by_engine.values() for record in records} == {"ok"}
    for records in by_engine.values():
        for record, expected in zip(records, reference, strict=True):
            assert record.metrics == pytest.approx(expected, rel=1e-3)
    assert reference[0]["accuracy"] != reference[1]["accuracy"]  # seeds
    assert min(metrics["accuracy"] or 0 for metrics in reference) > 0.8  # 0.5 is a guess
    assert all(0.5 < (metrics["certainty"] or 0) < 1 for metrics in reference)
    assert by_engine["cohort"][0].corpus["vocabulary"] == [1, 2]


@pytest.mark.full
def test_the_report_speaks_of_it(sweep: Path) -> None:
    from ablate.report import write_report

    page = write_report(sweep)
    assert (sweep / "figures" / "time_and_perplexity.svg").is_file()
    text = (sweep / "report.html").read_text()
    for word in ("accuracy", "certainty", "bits per token", "Training time against perplexity", "signals"):
        assert word in text
    settings = next(
        block for part in page.sections for block in part.blocks if getattr(block, "name", "") == "settings"
    )
    headings = [column.heading for column in settings.columns]  # type: ignore[union-attr]
    assert headings[2:7] == ["n", "accuracy", "certainty", "bits per token", "perplexity"]
    assert not [one for one in page.sections if one.name == "warnings" and "Traceback" in str(one.blocks)]


@pytest.mark.full
def test_a_task_that_is_not_loaded_can_still_be_read(sweep: Path) -> None:
    for registry, names in ((TASKS, ["pitch"]), (DATASETS, ["pitch"]), (METRICS, ["certainty", "bits_per_token"])):
        for name in names:
            del registry.found[name]
    runs, problems = runs_frame(sweep)
    assert len(runs) == 6
    assert not problems
    assert "accuracy" in runs


class Wrong(ablate.Task):
    """A task of which each subclass gets one thing wrong."""

    sizes = ablate.Features(1, 2)
    held_out = None

    def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.randn(6, 4, 1, generator=order), torch.zeros(6, 4, dtype=torch.long)

    def updates_per_epoch(self) -> int:
        return 1


class OfTheWrongShape(Wrong):
    def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.randn(6, 4, 2, generator=order), torch.zeros(6, 4, dtype=torch.long)


class OfNoSeed(Wrong):
    def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.zeros(6, 4, 1), torch.zeros(6, 4, dtype=torch.long)


class OfAnotherTarget(Wrong):
    def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.randn(6, 4, 1, generator=order), torch.full((6, 4), 2)


class OfAnotherRange(Wrong):
    def scores(self, parameters: Any) -> dict[str, float]:
        return {"accuracy": 1.5}


class OfNoName(Wrong):
    def scores(self, parameters: Any) -> dict[str, float]:
        return {"precision": 0.5}


class OfTheOtherTime(Wrong):
    """It measures of the trained network alone what is declared for every epoch."""

    def final_scores(self, parameters: Any, perplexity: float) -> dict[str, float]:
        return {"accuracy": 0.5}


class OfAText(Wrong):
    def scores(self, parameters: Any) -> dict[str, float]:
        return {"accuracy": "half"}  # type: ignore[dict-item]


class OfOneNumber(Wrong):
    def scores(self, parameters: Any) -> dict[str, float]:
        return 0.5  # type: ignore[return-value]


class OfTrainedExamples(Wrong):
    X = torch.randn(6, 4, 1, generator=torch.Generator().manual_seed(0))
    held_out = X, torch.zeros(6, 4, dtype=torch.long)  # type: ignore[assignment]

    def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.X[:, torch.randperm(4, generator=order)], torch.zeros(6, 4, dtype=torch.long)


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (OfTheWrongShape, r"\(6, 4, 2\)"),
        (OfNoSeed, "order"),
        (OfAnotherTarget, "2 outputs"),
        (OfAnotherRange, "1.5"),
        (OfNoName, "precision"),
        (OfTheOtherTime, "final_metrics"),
        (OfAText, "half"),
        (OfOneNumber, "dictionary"),
        (OfTrainedExamples, "4 held-out"),
    ],
)
def test_what_is_wrong_is_said(kind: type[Wrong], said: str) -> None:
    ablate.task(metrics=["accuracy"], real_inputs=True, disjoint=True)(kind)
    with pytest.raises(AssertionError, match=said):
        check_task(kind)


@pytest.mark.parametrize("kind", [OfNoName, OfTheOtherTime, OfAText, OfOneNumber])
def test_so_it_is_where_it_is_trained(kind: type[Wrong]) -> None:
    """Regression: a number that nobody declared was kept in the record without a word, and shown nowhere."""
    ablate.task(metrics=["accuracy"], real_inputs=True)(kind)
    method = "final_scores" if "final_scores" in vars(kind) else "scores"
    line = vars(kind)[method].__code__.co_firstlineno
    with pytest.raises(ConfigError, match=r"accuracy|dictionary") as caught:
        trained(small_config(kind.facts, kind.facts.name, 6), "cohort", seeds=1)
    assert f"test_own_task.py:{line}" in str(caught.value)


@pytest.mark.full
def test_a_loss_of_ones_own_trains_in_every_engine() -> None:
    """Regression: the squared difference of real numbers, where a target may be NaN and is then not scored."""

    @ablate.task(real_inputs=True, loss=lambda logits, targets: (logits[:, 0] - targets).square())
    class Doubled(Wrong):
        sizes = ablate.Features(1, 1)
        scores_some = True

        def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
            for _ in range(20):
                X = torch.randn(self.config.num_steps, self.config.batch_size, 1, generator=order)
                Y = 2 * X[..., 0]
                Y[0] = math.nan
                yield X, Y

    check_task(Doubled)
    config = small_config(Doubled.facts, "doubled", batch_size=8).but(epochs=3, lr=0.1)
    found = {engine: trained(config, engine)[0] for engine in ("cohort", "torch_nn", "eager")}
    losses = {engine: [math.log(value or 0) for value in one.curve["perplexity"]] for engine, one in found.items()}
    assert losses["cohort"] == pytest.approx(losses["eager"], rel=1e-3)
    assert losses["torch_nn"] == pytest.approx(losses["eager"], rel=1e-3)
    assert losses["eager"][-1] < 0.5 * losses["eager"][0] < 3


def test_a_loss_of_ones_own_sees_the_targets_of_one_run() -> None:
    """One that compares the targets of a minibatch with each other is the same for a seed beside others as alone."""

    def spread(logits: Tensor, targets: Tensor) -> Tensor:
        error = logits[:, 0] - targets
        return error.square() + (error - error.mean()).square()

    @ablate.task(real_inputs=True, loss=spread)
    class Spread(Wrong):
        sizes = ablate.Features(1, 1)

        def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
            for _ in range(3):
                X = torch.randn(self.config.num_steps, self.config.batch_size, 1, generator=order)
                yield X, X[..., 0]

    config = small_config(Spread.facts, "spread")
    together = [one.curve["perplexity"] for one in trained(config, "cohort")]
    alone = [one.curve["perplexity"] for one in trained(config, "eager")]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("engine", ["cohort", "eager"])
def test_a_loss_that_is_one_number_for_all_targets_is_refused(engine: str) -> None:
    """Regression: in a cohort such a mean was one over all seeds, which then had each other's loss and gradients."""

    @ablate.task(real_inputs=True, loss=lambda logits, targets: (logits[:, 0] - targets).square().mean())
    class Averaged(Wrong):
        sizes = ablate.Features(1, 1)

        def minibatches(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
            X = torch.randn(self.config.num_steps, self.config.batch_size, 1, generator=order)
            yield X, X[..., 0]

    said = r"test_own_task.py:\d+\) gives \(\) for \d+ targets; .*reduction='none'"
    with pytest.raises(UserError, match=said):
        trained(small_config(Averaged.facts, "averaged"), engine)
    with pytest.raises(AssertionError, match=said):
        check_task(Averaged)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"main": "acuracy"}, "accuracy"),
        ({"data": ["time_machin"]}, "time_machine"),
        ({"reals": True}, "real_inputs"),
        ({"name": "memory"}, "memory"),
    ],
)
def test_a_mistake_in_the_facts_is_a_line(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        ablate.task(**facts)(type("Mine", (Wrong,), {}))
    assert "\n" not in str(error.value)


def test_a_task_without_parentheses() -> None:
    @ablate.task
    class Guess(ablate.Task):
        """A task of its defaults."""

    assert TASKS["guess"].summary == "A task of its defaults."
    assert Guess.facts is TASKS["guess"]


def test_a_figure_asks_for_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"setings.*settings"):

        @ablate.figure("Anything.")
        def mine(setings: Any) -> None: ...

    assert "mine" not in FIGURES


def test_a_bound_task_measures_on_the_same_held_out_data() -> None:
    example("task")
    one, other = (task_of(pitch(), load(pitch().data)) for _ in range(2))
    assert one.held_out is not None
    assert other.held_out is not None
    assert torch.equal(one.held_out[0], other.held_out[0])
    assert one.val_tokens == 512


@pytest.mark.full
def test_a_task_adds_a_section_of_its_own(sweep: Path) -> None:
    """With a table, a sentence in short and a place on the page."""
    from ablate.report.answer import answer
    from ablate.report.blocks import Column, Sheet
    from ablate.report.contents import sheets
    from ablate.report.page import build
    from ablate.report.sections import Section

    sheet = Sheet("noise", "Noise", [Column("noise", True)], [["0.2"]], runs_frame(sweep)[0][["setting_id"]])
    section = Section(
        "noise",
        "How much noise there was",
        applies=lambda m: len(m.settings) == 2,
        tables=lambda m: {"noise": lambda: sheet},
        sentences=lambda m: ["The signals were noisy."],
    )
    TASKS.found["pitch"] = replace(TASKS["pitch"], sections=(section,))
    attempt = Attempts(lambda line: pytest.fail(line))
    m = gather(sweep, attempt)
    made = {name: make() for name, make in sheets(m).items()}
    assert made["noise"].rows == [["0.2"]]
    assert "The signals were noisy." in answer(m)
    parts = {part.name: part for part in build(m, made, {}).sections}
    assert parts["noise"].title == "How much noise there was"
    assert list(parts).index("noise") == list(parts).index("results") + 1
    TASKS.found["pitch"] = replace(TASKS["pitch"], sections=(replace(section, applies=lambda m: False),))
    assert "noise" not in sheets(m)


@pytest.mark.full
def test_a_figure_that_fails_costs_the_others_nothing(sweep: Path) -> None:
    @ablate.figure("Nothing.")
    def broken(settings: Any) -> int:
        return len(settings)

    from ablate.report.drawn import drawing

    attempt = Attempts(lambda line: None)
    m = gather(sweep, attempt)
    with drawing(m, sweep) as drawn:
        figures = drawn()
    assert "time_and_perplexity" in figures
    assert "broken" not in figures
    assert any("broken" in line and "int" in line for line in attempt.failed)
