"""The trained network of a run that was kept with `keep=weights`: as a torch.nn.Module, and what it writes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.api.sweeps import StrPath, Sweep
from ablate.config.composing import from_dict
from ablate.config.errors import DataError, UserError
from ablate.config.plugins import load_again
from ablate.config.registry import TASKS
from ablate.config.resolved import Resolved
from ablate.config.shell import shell_line
from ablate.config.validation import api_cannot
from ablate.data.corpora import Corpus, load, tokens_asked_for
from ablate.networks.families import trainable
from ablate.networks.language_model import LanguageModel
from ablate.networks.parameters import Features, Sizes, initial
from ablate.records import results, weights
from ablate.records.manifest import load_manifest, plugins_of
from ablate.records.reading import RecordError
from ablate.tasks import task_of
from ablate.tasks.task import readable
from ablate.tasks.text import LanguageModelling, check_prefix, continued

RunLike = str | Mapping[str, Any]
"""A run: its id, or its row of `Sweep.frame()`."""


def module(run: RunLike, sweep: "Sweep | StrPath | None" = None) -> LanguageModel:
    """The trained network of a run, as a torch.nn.Module in evaluation mode on the CPU. It maps tokens (T, B) and
    states to logits (T·B, V) and states; `initial_state(B)` gives the zeros to begin with.

    `run` is a row of `Sweep.frame()`, or a run_id with its `sweep` (or the folder). If torch has the layer, the
    network consists of `torch.nn.RNN`, `GRU` or `LSTM` (one module for each layer, in `.layers`); otherwise it is the
    readable network, with its parameters by name. The run must have been trained with keep="weights". Raises UserError
    if it was not, or has diverged.
    """
    found = _find(run, sweep)
    engine = "eager" if api_cannot(found.config) else "torch_nn"
    return trainable(engine, found.config, found.sizes, found.parameters()).eval()


def generate(
    run: RunLike,
    prefix: str,
    length: int = 50,
    temperature: float = 0.0,
    seed: int = 0,
    sweep: "Sweep | StrPath | None" = None,
) -> str:
    """What the trained network of a run writes after, or makes of, a text.

    A language model continues `prefix` by `length` tokens. With temperature 0 these are the likeliest ones; above 0
    they are drawn by a random stream of `seed`, with the logits divided by the temperature. A translation model
    translates the sentence, and a model that fills in masked tokens shows what it puts into every fourth place; both
    take the likeliest words only.

    `run` and `sweep` as for `module`. Raises UserError for a prefix that the vocabulary cannot spell, and for a task
    without texts.
    """
    found = _find(run, sweep)
    if length < 0 or temperature < 0:
        raise UserError(f"length is {length} and temperature is {temperature:g}; neither may be below 0")
    parameters, corpus = found.parameters(), found.corpus()
    task = task_of(found.config, corpus)
    if isinstance(task, LanguageModelling):
        read = task.read(prefix)
        if prefix not in found.record["text"]:  # which may be the usual ones, whatever the text can spell
            check_prefix(prefix, read, corpus)
        model = readable(found.config, len(corpus.vocabulary), parameters)
        draws = Generator().manual_seed(seed) if temperature else None
        [text] = continued(model, corpus, [read], length, temperature, draws)
        return prefix + text[len(read) :]
    if temperature:
        raise UserError(f"temperature is {temperature:g}, but task={found.config.task.name} takes the likeliest words")
    texts = task.texts(parameters, [prefix])
    if prefix not in texts:
        raise UserError(f"task={found.config.task.name} has no texts to generate")
    return texts[prefix]


@dataclass(frozen=True)
class Found:
    """A finished run and its folder."""

    folder: Path
    record: dict[str, Any]

    @property
    def config(self) -> Resolved:
        return from_dict(self.record["config"])

    @property
    def sizes(self) -> int | Sizes | Features:
        known = self.record["corpus"]["vocabulary"]
        if not isinstance(known, list):
            return int(known)
        return Features(*known) if TASKS[self.config.task.name].real_inputs else Sizes(*known)

    def parameters(self) -> dict[str, Tensor]:
        """The trained parameters by name. Raises UserError where none were kept, or they mean nothing."""
        run_id = self.record["run_id"]
        if self.record["status"] == "diverged":
            epoch = self.record["divergence"]["epoch"]
            raise UserError(f"{run_id} diverged in epoch {epoch}: it has no trained network")
        if not weights.are_stored(self.folder, run_id):
            again = _with_weights(self.folder)
            raise UserError(f"no weights of {run_id} were kept; train it again with them: {again}")
        again = f"train it again: {_with_weights(self.folder)}"
        try:
            found = {name: torch.from_numpy(value) for name, value in weights.load(self.folder, run_id).items()}
        except (RecordError, TypeError) as error:  # TypeError: numbers that torch has not
            raise UserError(f"{error}; {again}") from error
        fitting = initial(self.config, self.sizes, Generator().manual_seed(0))
        if _kinds(found) != _kinds(fitting):
            raise UserError(f"{weights.weights_path(self.folder, run_id)} is of another network; {again}")
        return found

    def corpus(self) -> Corpus:
        """The text that it was trained on. Raises DataError where that is gone, or another one by now."""
        data = self.config.data
        corpus = load(data, tokens_asked_for(self.config))
        if corpus.sha256 != self.record["corpus"]["sha256"]:
            raise DataError(
                f"{data.train or data.path or data.name} is not the text that {self.record['run_id']} was trained on: "
                "it has changed since"
            )
        return corpus


def _kinds(parameters: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """The name of each parameter with its shape and the type of its numbers."""
    return {name: (one.shape, one.dtype) for name, one in parameters.items()}


def _with_weights(folder: Path) -> str:
    """The sweep's last command, with keep=weights; as it would be typed, or in Python as a further argument."""
    try:
        commands = load_manifest(folder)["commands"]
    except RecordError:
        commands = []
    word = shell_line("keep=weights")
    return f"{commands[-1]} {word}" if commands else f"the sweep's command and {word}"


def _find(run: RunLike, sweep: "Sweep | StrPath | None") -> Found:
    """The record of a run. Raises UserError."""
    if isinstance(run, str):
        run_id, row_sweep = run, None
    else:
        try:
            run_id, row_sweep = str(run["run_id"]), run.get("sweep")
            if not isinstance(run["run_id"], str):
                raise TypeError("several runs")
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            remedy = "give a row of Sweep.frame(), such as frame.iloc[0], or a run_id with sweep="
            raise UserError(f"run is {type(run).__name__}; {remedy}") from error
    if isinstance(sweep, Sweep):
        folders = sweep.folders
    elif sweep is not None:
        folders = [Path(os.fspath(sweep)).expanduser()]
    elif row_sweep:
        folders = [Path(str(row_sweep))]
    else:
        raise UserError(f"{run_id} stands alone; say in which sweep it is: sweep=FOLDER, or a row of Sweep.frame()")
    for folder in folders:
        load_again(plugins_of(folder))
        try:
            return Found(folder, results.read(folder, run_id))
        except RecordError:
            continue
    raise UserError(f"{' and '.join(map(str, folders))}: no run {run_id!r}")
