"""Kept weights: the network that comes back computes what the trained one did, and writes what its record says.

Trains tiny networks, one for each kind. CPU, 6 s.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import ablate
from ablate.config.composing import from_dict
from ablate.data.corpora import load, tokens_asked_for
from ablate.records import results, weights
from ablate.tasks import task_of

Train = Callable[..., "ablate.Sweep"]


@pytest.fixture
def train(tmp_path: Path, text_path: Path) -> Train:
    """A sweep of one run on the made-up text that keeps its weights."""
    small = {"num_hiddens": 4, "num_steps": 5, "batch_size": 4, "max_tokens": 400, "val_tokens": 100, "epochs": 3}
    data = {"name": "text_file", "path": text_path, "cleaning": "letters"}
    place = {"results_dir": tmp_path / "results", "progress": False}
    return lambda **knobs: ablate.sweep(**{"seeds": 1, "keep": "weights", "data": data, **small, **place, **knobs})


def row_of(sweep: "ablate.Sweep") -> Any:
    return sweep.frame().iloc[0]


def record_of(sweep: "ablate.Sweep") -> dict[str, Any]:
    return results.read(sweep.folders[0], row_of(sweep)["run_id"])


@pytest.mark.full
@pytest.mark.parametrize(
    ("knobs", "layer"),
    [
        ({"model": "gru"}, "GRU"),
        ({"model": "lstm", "layers": 2}, "LSTM"),
        ({"model": "gru", "formulation": "textbook"}, None),  # reset before the product: not torch's
        *(
            pytest.param(knobs, layer, marks=pytest.mark.full)
            for knobs, layer in (
                ({"model": "rnn", "model.bidirectional": True, "sampling": "random"}, "RNN"),
                ({"model": "gru-no-reset"}, None),
                ({"model": "mingru"}, None),
                ({"model": "lstm", "engine": "torch_nn"}, "LSTM"),
                ({"task": "fill_in", "model": "gru"}, "GRU"),
                ({"task": "memory", "data": "copy", "model": "lstm", "task.sequences": 8}, "LSTM"),
            )
        ),
    ],
)
def test_the_network_comes_back(train: Train, knobs: dict[str, Any], layer: str | None) -> None:
    """It has the held-out loss of the record, on torch's own layers where they are these."""
    sweep = train(**knobs)
    record = record_of(sweep)
    module = ablate.module(row_of(sweep))
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    kinds = {type(part).__name__ for part in module.modules()} & {"GRU", "LSTM", "RNN"}
    assert kinds == ({layer} if layer else set())
    config = from_dict(record["config"])
    task = task_of(config, load(config.data, tokens_asked_for(config)))
    assert task.held_out is not None
    X, Y = task.held_out
    with torch.inference_mode():
        logits, _ = module(X, module.initial_state(X.shape[1]))
    loss = torch.nn.functional.cross_entropy(logits.double(), Y.flatten(), ignore_index=-1)
    assert loss.exp().item() == pytest.approx(record["metrics"]["val_perplexity"], rel=1e-5)


def test_weights_are_stored_by_their_names(train: Train) -> None:
    sweep = train(model="gru")
    stored = weights.load(sweep.folders[0], row_of(sweep)["run_id"])
    named = ablate.module(row_of(sweep)).named_tensors()
    assert set(stored) == set(named)
    assert {"0.reset.W_h", "0.candidate.b_x", "output.W"} <= set(stored)
    assert all((named[name].numpy() == stored[name]).all() for name in stored)


@pytest.mark.parametrize(
    "knobs",
    [
        {"model": "gru"},
        pytest.param({"model": "gru-no-reset"}, marks=pytest.mark.full),
        pytest.param({"task": "fill_in", "model": "rnn"}, marks=pytest.mark.full),
    ],
)
def test_greedy_texts_are_those_of_the_record(train: Train, knobs: dict[str, Any]) -> None:
    sweep = train(prefixes=["the cell", "a state"], **knobs)
    record = record_of(sweep)
    assert set(record["text"]) == {"the cell", "a state"}
    for prefix, text in record["text"].items():
        assert ablate.generate(row_of(sweep), prefix) == text


@pytest.mark.full
def test_length_temperature_and_seed(train: Train) -> None:
    sweep = train(model="gru")
    run = row_of(sweep)

    def text(**options: Any) -> str:
        return ablate.generate(run, "the ", **options)

    assert text(length=0) == "the "
    assert text(length=7) == text(length=50)[: 4 + 7]
    assert text(length=1000, temperature=1e-6) == text(length=1000)
    assert text(temperature=1, seed=1) == text(temperature=1, seed=1)
    assert len({text(temperature=1, seed=seed) for seed in range(5)}) > 1
    state = torch.get_rng_state()
    text(temperature=1, seed=2)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.full
def test_a_run_by_its_id(train: Train) -> None:
    sweep = train(model="gru")
    run_id = row_of(sweep)["run_id"]
    texts = {ablate.generate(run_id, "the ", sweep=where) for where in (sweep, sweep.folders[0], str(sweep.folders[0]))}
    assert texts == {ablate.generate(row_of(sweep), "the ")}
    assert ablate.generate({"run_id": run_id, "sweep": str(sweep.folders[0])}, "the ") in texts


@pytest.mark.full
def test_what_cannot_be_given_back_is_one_line(train: Train, tmp_path: Path, text_path: Path) -> None:
    bare, kept = train(model="gru", keep=None, name="bare"), train(model="rnn", name="kept")
    memory = train(task="memory", data="copy", name="memory", **{"task.sequences": 8})
    diverged = train(model="rnn", lr=1e30, clip=None, name="diverged")
    assert row_of(diverged)["status"] == "diverged"
    run = row_of(kept)
    cases: list[tuple[Callable[[], Any], list[str]]] = [
        (lambda: ablate.module(row_of(bare)), [row_of(bare)["run_id"], "name=bare", "keep=weights"]),
        (lambda: ablate.module(row_of(diverged)), ["diverged in epoch"]),
        (lambda: ablate.module("abc", kept), ["abc", str(kept.folders[0])]),
        (lambda: ablate.module("abc"), ["abc", "sweep="]),
        (lambda: ablate.module(3), ["int", "Sweep.frame()"]),  # type: ignore[arg-type]
        (lambda: ablate.generate(run, "THE §"), ["§"]),
        (lambda: ablate.generate(run, "the", length=-1), ["-1"]),
        (lambda: ablate.generate(run, "the", temperature=-1.0), ["-1"]),
        (lambda: ablate.generate(row_of(memory), "the"), ["memory"]),
    ]
    for call, parts in cases:
        with pytest.raises(ablate.UserError) as error:
            call()
        said = str(error.value)
        assert all(part in said for part in parts), said
        assert "\n" not in said
    path = weights.weights_path(kept.folders[0], run["run_id"])
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ablate.UserError, match="keep=weights"):
        ablate.module(run)


@pytest.mark.full
def test_a_text_that_has_changed_is_not_the_one_that_was_trained_on(train: Train, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("abcab" * 200)
    sweep = train(model="rnn", data={"name": "text_file", "path": text})
    assert isinstance(ablate.generate(row_of(sweep), "abc"), str)
    text.write_text("abcba" * 200)
    with pytest.raises(ablate.UserError, match="changed"):
        ablate.generate(row_of(sweep), "abc")
    assert ablate.module(row_of(sweep)) is not None  # which needs no text


@pytest.mark.full
def test_a_translation(tmp_path: Path) -> None:
    sweep = ablate.sweep(
        task="translation",
        data="number_pairs",
        model="gru",
        num_hiddens=8,
        num_steps=8,
        epochs=2,
        seeds=1,
        keep="weights",
        results_dir=tmp_path / "results",
        progress=False,
        **{"task.pairs": 64, "task.val_pairs": 0, "prefixes": []},
    )
    record = record_of(sweep)
    assert record["text"]
    for sentence, translation in record["text"].items():
        assert ablate.generate(row_of(sweep), sentence) == translation
    with pytest.raises(ablate.UserError, match="temperature"):
        ablate.generate(row_of(sweep), next(iter(record["text"])), temperature=1)
    assert {type(part).__name__ for part in ablate.module(row_of(sweep)).modules()} >= {"GRU"}


@pytest.mark.full
def test_a_search_keeps_weights_too(tmp_path: Path, main: Callable[..., Any], small_arguments: list[str]) -> None:
    words = [
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "num_hiddens=choice(2,3)",
        "keep=weights",
        "name=found",
    ]
    done = main(*small_arguments, "results_dir=results", *words)
    assert done.status == 0, done.err
    runs = ablate.load(tmp_path / "results" / "found").frame()
    assert all(weights.are_stored(Path(row["sweep"]), row["run_id"]) for row in runs.to_dict("records"))


@pytest.mark.full
def test_weights_of_another_network_are_not_taken(train: Train) -> None:
    sweep = train(model="gru", engine="eager")
    path = weights.weights_path(sweep.folders[0], row_of(sweep)["run_id"])
    tensors = load_file(path)
    name = next(iter(tensors))
    for others in (
        {"another": tensors[name].clone()},
        {name: torch.zeros(3, 7)},
        {name: tensors[name].to(torch.bfloat16)},
        {name: tensors[name].to(torch.float64)},
    ):
        save_file(tensors | others, path)
        with pytest.raises(ablate.UserError, match=r"another network|not a file of weights") as caught:
            ablate.module(row_of(sweep))
        assert "train it again" in str(caught.value)
