"""What a sweep has to do: its cells and runs, what is finished, what another sweep holds, what cannot be run."""

import fcntl
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ablate import results
from ablate.behaviour import changes
from ablate.config import (
    TASK_OPTIONS,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    resolve,
    to_dict,
    with_seed,
)
from ablate.data.corpora import Corpus, load, resolve_auto
from ablate.errors import CombinationError, DataError, UserError, reason
from ablate.explain import question
from ablate.identity import cell_id, run_id, short_hash
from ablate.sweeping.matching import matched, unequal
from ablate.tasks import task_of
from ablate.validation import check_combination, validate


@dataclass
class Run:
    """One seed of a cell."""

    run_id: str
    config: Config
    reused_from: Path | None = None


@dataclass
class Cell:
    """The runs that differ by seed only; `error` if no run of it is possible."""

    config: Config
    cell_id: str
    corpus: Corpus
    runs: list[Run] = field(default_factory=list)
    missing: list[Run] = field(default_factory=list)
    tokens_per_epoch: int = 0  # of one run
    error: Exception | None = None
    changed: list[str] = field(default_factory=list)  # of the code, since runs of this cell were recorded


@dataclass
class Plan:
    """All cells of a sweep, before anything is spent."""

    folder: Path
    cells: list[Cell]
    warnings: list[str]
    auto_corpus: str | None = None  # what data=auto means in this sweep
    asked: list[Cell] = field(default_factory=list)  # the cell of each config, in the order given

    @property
    def missing(self) -> int:
        return sum(len(cell.missing) for cell in self.cells)


def label(config: Config, swept: Sequence[str]) -> str:
    """`gru num_hiddens=32`: the model and what the sweep varies."""
    values = knobs_of(config)
    return " ".join([config.model.name, *(f"{key}={_short(values[key])}" for key in swept)])


def _short(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def knobs_of(config: Config) -> dict[str, Any]:
    """Every knob by the name that is typed, but for the lists that make up a group's choice."""
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if not isinstance(value, ModelConfig | DataConfig | OptimizerConfig | TaskConfig):
            out[f.name] = value
            continue
        out[f.name] = value.name
        out |= {f"{f.name}.{part.name}": getattr(value, part.name) for part in fields(value) if part.name != "name"}
    return out


def varying(configs: Sequence[Config]) -> list[str]:
    """The knobs, other than the model, in which the configs differ; what follows from the others is left out."""
    frames = [knobs_of(config) for config in configs]
    told: list[str] = []
    for key in sorted(frames[0], key=lambda key: "." in key):  # a group before what it brings
        groups: dict[str, set[str]] = {}
        for values in frames:
            groups.setdefault(str([values[name] for name in ["model", *told]]), set()).add(str(values[key]))
        if key != "model" and any(len(group) > 1 for group in groups.values()):
            told.append(key)
    return told


Texts = dict[str, tuple[DataConfig, Corpus]]


def make_plan(configs: Sequence[Config], folder: Path, fallback: DataConfig, texts: Texts | None = None) -> Plan:
    """Check everything and look up what is done; writes nothing. `texts` keeps what was read, for the next plan.

    Raises ConfigError or DataError for input that no cell could run with; an impossible combination in some
    of the cells is noted in those cells.
    """
    for config in configs:
        validate(config)
    auto = stored_auto(folder)
    texts = {} if texts is None else texts
    warnings: list[str] = []
    cells: dict[str, Cell] = {}
    asked: list[Cell] = []
    for config in configs:
        key = results.to_json(vars(config.data))
        if key not in texts:
            data, warning = resolve_auto(config.data, fallback, auto)
            kept = config.data.name == "auto" and auto is not None
            warnings += [warning] if warning else []
            try:
                texts[key] = data, load(data)
            except DataError as error:
                if not kept:
                    raise
                raise DataError(
                    f"{folder} was begun on {auto} and stays with it, or give another name=; {error}"
                ) from error
        data, corpus = texts[key]
        if config.data.name == "auto":
            auto = data.name
        one = resolve(replace(config, data=data))
        cell = make_cell(one, corpus, configs[0])
        if not cell.error:
            warnings += unequal(one, cell.config, configs[0], corpus)
        known = cells.setdefault(cell.cell_id, cell)
        have = {run.run_id for run in known.runs}
        known.runs += [run for run in cell.runs if run.run_id not in have]
        asked.append(known)
    plan = Plan(folder, list(cells.values()), warnings, auto, asked)
    combinations = len({short_hash(to_dict(replace(c, seed=0, seeds=1))) for c in configs})
    if len(cells) < combinations:
        warnings.append(
            f"{combinations} combinations make {len(cells)} different cells: a knob does not matter to some of them"
        )
    warnings += without_effect(configs)
    errors = [cell.error for cell in plan.cells if cell.error]
    if len(errors) == len(plan.cells):
        raise errors[0]
    for cell in plan.cells:
        if not cell.error:
            find_finished(cell, folder)
    for change in dict.fromkeys(change for cell in plan.cells for change in cell.changed):
        again = sum(len(cell.missing) for cell in plan.cells if change in cell.changed)
        runs = "run is" if again == 1 else "runs are"
        warnings.append(f"{change} has changed since: {again} {runs} trained again (the old records are replaced)")
    return plan


UNREAD = {
    "dropout": "it acts between layers, and layers is 1",
    "sampling": "it is for texts",
    "max_tokens": "it is for texts",
    "val_tokens": "it is for texts; task=translation holds out task.val_pairs",
}
"""Knobs that some configs do not read, and why."""


def without_effect(configs: Sequence[Config]) -> list[str]:
    """One line for each knob that is given, and that none of the configs reads."""
    out = []
    for name, lacking in (("forget_bias", "a forget gate whose bias it sets"), ("reset", "a reset gate")):
        given = [getattr(config, name) for config in configs if getattr(config, name) is not None]
        if given and all(getattr(resolve(config), name) is None for config in configs):
            out.append(f"{name}={given[0]} changes nothing: no model here has {lacking}")
    if all(config.layers == 1 for config in configs):
        given = ["connection=residual"] * any(config.model.connection == "residual" for config in configs)
        given += [f"transition={config.model.transition}" for config in configs if config.model.transition][:1]
        out += [f"model.{one} changes nothing: with layers=1 there is no other layer to connect" for one in given]
    for name, why in UNREAD.items():
        given = [getattr(config, name) for config in configs]
        if all(value != getattr(resolve(config), name) for value, config in zip(given, configs, strict=True)):
            out.append(f"{name}={given[0]} changes nothing: {why}")
    if all(config.task.name == "memory" for config in configs) and any(config.prefixes for config in configs):
        out.append("prefixes changes nothing here: task=memory has sequences of its own making and continues no text")
    for task, names in TASK_OPTIONS.items():
        for name in names if all(config.task.name != task for config in configs) else ():
            usual, given = getattr(TaskConfig(), name), [getattr(config.task, name) for config in configs]
            if any(value != usual for value in given):
                out.append(f"task.{name} changes nothing here: it is for task={task}")
    return out


def make_cell(config: Config, corpus: Corpus, first: Config | None = None) -> Cell:
    """A cell with its runs, or with the reason why there can be none; `first` is the sweep's first config."""
    try:
        check_combination(config)
        tokens = task_of(config, corpus).tokens_per_epoch
    except CombinationError as error:
        return Cell(config, cell_id(config, corpus.sha256), corpus, error=error)
    config = in_epochs(matched(config, first or config, corpus), corpus)
    cell = Cell(config, cell_id(config, corpus.sha256), corpus, tokens_per_epoch=tokens)
    for replica in range(config.seeds):
        own = with_seed(config, replica)
        cell.runs.append(Run(run_id(own, corpus.sha256), own))
    return cell


def in_epochs(config: Config, corpus: Corpus) -> Config:
    """The config with `updates` turned into the number of epochs that comes nearest to it."""
    if config.updates is None:
        return config
    return replace(config, epochs=max(1, round(config.updates / updates_per_epoch(config, corpus))))


def updates_per_epoch(config: Config, corpus: Corpus) -> float:
    """Minibatches in an epoch; where their number depends on the epoch's random offset, the mean."""
    return task_of(config, corpus).updates_per_epoch()


def find_finished(cell: Cell, folder: Path) -> None:
    """Sort a cell's runs into finished, held by another sweep, and missing."""
    known: dict[str, list[str]] = {}  # the runs of a cell were as a rule computed by the same code

    def changed(code: Mapping[str, Sequence[float]]) -> list[str]:
        if str(code) not in known:
            known[str(code)] = changes(code, cell.config)
        return known[str(code)]

    def current(code: Mapping[str, Sequence[float]]) -> bool:
        return not changed(code)

    def noted(code: Mapping[str, Sequence[float]]) -> bool:
        cell.changed += [change for change in changed(code) if change not in cell.changed]
        return current(code)

    for run in cell.runs:
        if run.config.fresh:
            cell.missing.append(run)
        elif not results.finished(folder, run.run_id, run.config.prefixes, noted):
            run.reused_from = results.find_elsewhere(folder, run.run_id, run.config.prefixes, current)
            if run.reused_from is None:
                cell.missing.append(run)


def stored_auto(folder: Path) -> str | None:
    """What `data=auto` meant when this sweep began: it never changes its corpus in the middle."""
    try:
        name: str | None = results.load_manifest(folder)["auto_corpus"]
    except results.RecordError:
        return None
    return name


def write_manifest(plan: Plan, command: str, preset: str | None = None) -> None:
    """Keep the commands given so far, the question behind them, and what `data=auto` was taken to mean."""
    try:
        manifest = results.load_manifest(plan.folder)
    except results.RecordError:
        manifest = {"commands": []}
    if command not in manifest["commands"]:
        manifest["commands"].append(command)
    if preset:
        manifest |= {"preset": preset, "question": question(preset)}
    if title := plan.cells[0].config.title:
        manifest["title"] = title
    results.write_json(
        results.manifest_path(plan.folder), results.NO_QUESTION | manifest | {"auto_corpus": plan.auto_corpus}
    )


def write_failure(folder: Path, cell: Cell, error: BaseException) -> None:
    """Keep the traceback of a cell that could not be run."""
    results.write_json(
        results.failure_path(folder, cell.cell_id),
        {
            "cell_id": cell.cell_id,
            "error": reason(error),
            "traceback": "".join(traceback.format_exception(error)),
            "config": to_dict(cell.config),
        },
    )


@contextmanager
def exclusive(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a sweep's folder: two programs never train the same runs. Raises UserError.

    The processes of one search share it: their study tells who trains what.

    The lock goes with the process, however it ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; give another folder with results_dir=FOLDER"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{folder} is in use by another ablate; wait for it, or give another name=NAME") from error
        yield
