"""The cell of docs/examples/cell.py, that very file, in everything that a shipped cell can do. CPU, 10 s."""

import runpy
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from ablate.cells.cell import Cell
from ablate.config.registry import CELLS
from ablate.config.schema import Config, with_seed
from ablate.data.corpora import Corpus, load
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort.stacked import StackedCohort
from ablate.networks.parameters import count, initial, shapes
from ablate.sweeping.matching import matched
from ablate.tasks import task_of
from ablate.testing import check_cell
from ablate.timing.worker import Subjects
from ablate.training.choice import Choice, agreeing
from ablate.training.loop import train, train_together

Configs = Callable[..., Config]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cell.py"
R = 3


@pytest.fixture(autouse=True)
def light_gru() -> Iterator[Cell]:
    """The example, registered for the length of a test."""
    assert CELLS.names
    found = runpy.run_path(str(EXAMPLE))["light_gru"]
    yield found
    del CELLS.found["light_gru"]


@pytest.fixture
def own(small: Configs) -> Configs:
    """A small config of the example's cell, knobs of the model as fields."""

    def make(*overrides: str, **knobs: Any) -> Config:
        config = small(*overrides)
        return config.but(model=of_light_gru(config.model, **knobs))

    return make


def of_light_gru(model: Any, **knobs: Any) -> Any:
    return type(model).of({**model.values(), "name": "light_gru", "cell": "light_gru", **knobs}, given=True)


def test_it_has_at_most_20_lines_of_code() -> None:
    with EXAMPLE.open("rb") as file:
        kinds = [(token.type, token.start[0]) for token in tokenize.tokenize(file.readline)]
    blank = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENCODING, tokenize.ENDMARKER)
    assert len({line for kind, line in kinds if kind not in blank}) <= 20


def test_the_documents_show_that_very_file() -> None:
    code = EXAMPLE.read_text(encoding="utf-8").partition("import ablate")[2].strip()
    assert code in (EXAMPLE.parents[2] / "README.md").read_text(encoding="utf-8")
    assert '--8<-- "docs/examples/cell.py"' in (EXAMPLE.parents[1] / "cells.md").read_text(encoding="utf-8")


@pytest.mark.full
def test_it_passes_the_check(light_gru: Cell) -> None:
    check_cell(light_gru)


def test_what_is_known_of_it(light_gru: Cell) -> None:
    assert light_gru.gates == ("update", "input")
    assert light_gru.preactivations == ("update", "candidate")
    assert [(knob.name, knob.default) for knob in light_gru.knobs] == [("activation", "relu"), ("untied", False)]


VARIED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "plain": ((), {}),
    "layers and dropout": (("layers=3", "dropout=0.3"), {}),
    "both directions": (("layers=2", "sampling=random"), {"bidirectional": True}),
    "residual": (("layers=2",), {"connection": "residual"}),
    "dense": (("layers=3",), {"connection": "dense", "transition": 5}),
    "a gate fixed": ((), {"gates": {"update": 0.5}}),
    "candidate read out": ((), {"readout": "candidate"}),
    "never written back": ((), {"readout": "candidate", "write_back": False}),
    "identity": (("formulation=torch",), {"activation": "identity"}),
    "orthogonal": (("init=orthogonal", "optimizer=adam"), {}),
}


@pytest.mark.full
@pytest.mark.parametrize(
    "what",
    [
        what
        if what in ("layers and dropout", "both directions", "dense")
        else pytest.param(what, marks=pytest.mark.full)
        for what in VARIED
    ],
)
def test_a_cohort_trains_what_each_run_trains_alone(own: Configs, what: str) -> None:
    """In float64, three minibatches and a held-out text, dropout drawn alike."""
    overrides, knobs = VARIED[what]
    configs = [with_seed(own(*overrides, "lr=0.3", **knobs), k) for k in range(R)]
    weights = [initial(c, 11, Generator().manual_seed(c.seed), torch.float64) for c in configs]
    together = StackedCohort(configs, 11, weights, generators=[Generator().manual_seed(k) for k in range(R)])
    alone = [
        AutogradProgram("eager", c, 11, p, Generator().manual_seed(k))
        for k, (c, p) in enumerate(zip(configs, weights, strict=True))
    ]
    for number in range(3):
        X, Y = torch.randint(11, (2, R, 5, 4), generator=Generator().manual_seed(number))
        losses = together.step(X, Y, carry=False)
        expected = torch.cat([program.step(X[k : k + 1], Y[k : k + 1], carry=False) for k, program in enumerate(alone)])
        torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)
    held_out = torch.cat([program.evaluate(X[0], Y[0]) for program in alone])
    torch.testing.assert_close(together.evaluate(X[0], Y[0]), held_out, rtol=1e-10, atol=0)


@pytest.mark.full
def test_a_sweep_over_seeds_trains_it_together_and_resumes(own: Configs, sweep: Callable[..., Any]) -> None:
    configs = [own("seeds=3", "engine=auto"), own("seeds=3", "engine=auto", gates={"update": 1.0})]
    summary = sweep(configs)
    assert (summary.trained, summary.exit_status) == (6, 0)
    assert sweep(configs).trained == 0


@pytest.mark.full
def test_it_learns_and_writes(own: Configs, corpus: Corpus) -> None:
    config = own("epochs=30", "lr=0.5", "num_hiddens=16", "prefixes=[the cell]")
    first, *_ = train_together([with_seed(config, k) for k in range(R)], corpus, Choice("cohort", {}))
    assert first.metrics["perplexity"] < 0.7 * len(corpus.vocabulary)
    assert first.text["the cell"].startswith("the cell")
    assert first.sees_future is False


@pytest.mark.full
def test_a_bidirectional_one_is_found_to_be_non_causal(own: Configs, corpus: Corpus) -> None:
    assert train(own("epochs=1", "sampling=random", bidirectional=True), corpus).sees_future is True


@pytest.mark.full
@pytest.mark.parametrize("attention", ["false", "true"])
def test_it_translates(compose: Configs, attention: str) -> None:
    options = ("data=number_pairs", "num_hiddens=6", "epochs=1", "task.pairs=40", "layers=2", "batch_size=16")
    config = compose("task=translation", *options, f"task.attention={attention}")
    config = config.but(model=of_light_gru(config.model), engine="cohort")
    record = train(config, load(config.data))
    assert record.text
    assert 0 < record.metrics["perplexity"] < float("inf")


def test_masked_tokens(own: Configs, corpus: Corpus) -> None:
    record = train(own("task=fill_in", "epochs=1", bidirectional=True), corpus)
    assert 0 <= record.metrics["accuracy"] <= 1


def test_as_many_parameters_as_another_model(own: Configs, small: Configs, corpus: Corpus) -> None:
    first = small("model=lstm", "num_hiddens=30")
    config = matched(own("match=params", "num_hiddens=30"), first, len(corpus.vocabulary))
    wanted = count(first, len(corpus.vocabulary))
    assert config.num_hiddens > 30
    assert count(config, len(corpus.vocabulary)) == pytest.approx(wanted, rel=0.05)


def test_engines_agree_and_torch_nn_is_none_of_them(own: Configs) -> None:
    assert agreeing(own("engine=auto")) == ("cohort",)


@pytest.mark.full
def test_the_speed_lane_measures_it(own: Configs, corpus: Corpus) -> None:
    setting = Subjects(own(), corpus)
    assert setting.program("eager", 1)
    for subject in ("train", "cohort_1", "cohort_R", "inference"):
        assert setting.subject(subject).run(2) > 0


def test_initial_weights_by_every_rule(own: Configs) -> None:
    for init in ("torch", "normal", "xavier", "orthogonal"):
        config = own(f"init={init}", "layers=2", "bias_vectors=2")
        weights = initial(config, 9, Generator().manual_seed(0))
        assert {name: tuple(value.shape) for name, value in weights.items()} == shapes(config, 9)
        assert all(bool(value.any()) == (init == "torch" or ".b" not in name) for name, value in weights.items())


def test_a_task_reads_its_causality_and_its_texts(own: Configs, corpus: Corpus) -> None:
    config = own()
    task = task_of(config, corpus)
    weights = initial(config, len(corpus.vocabulary), Generator().manual_seed(0))
    assert task.sees_future(weights) is False
