"""What a sweep has to do: its cells and runs, what is finished, what another sweep holds, what cannot be run."""

import fcntl
import shlex
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ablate import results
from ablate.compose import from_dict
from ablate.config import (
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
from ablate.identity import cell_id, run_id, run_identity, short_hash, without_effect
from ablate.overrides import Override, knobs
from ablate.presets import question
from ablate.sweeping.matching import matched, unequal
from ablate.sweeping.naming import decides
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


def make_plan(
    configs: Sequence[Config],
    folder: Path,
    fallback: DataConfig,
    texts: Texts | None = None,
    given: Iterable[str] = (),
) -> Plan:
    """Check everything and look up what is done; writes nothing. `texts` keeps what was read, for the next plan.

    Of the knobs `given`, those that nothing reads are among the warnings.

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
    warnings += without_effect(configs, given).values()
    errors = [cell.error for cell in plan.cells if cell.error]
    if len(errors) == len(plan.cells):
        raise errors[0]
    for cell in plan.cells:
        if not cell.error:
            find_finished(cell, folder)
    return plan


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
    for run in cell.runs:
        if run.config.fresh:
            cell.missing.append(run)
        elif not results.finished(folder, run.run_id, run.config.prefixes):
            run.reused_from = results.find_elsewhere(folder, run.run_id, run.config.prefixes)
            if run.reused_from is None:
                cell.missing.append(run)


def stored_auto(folder: Path) -> str | None:
    """What `data=auto` meant when this sweep began: it never changes its corpus in the middle."""
    try:
        name: str | None = results.load_manifest(folder)["auto_corpus"]
    except results.RecordError:
        return None
    return name


Values = dict[str, list[Any]]
"""Knob → its values over the settings of a sweep."""


def values_of(configs: Iterable[Config]) -> Values:
    """Every knob that decides an outcome, with its values over these configs; not where nothing reads it."""
    found: dict[str, list[Any]] = {}
    for config in configs:
        read = set(_keys(run_identity(config, "")))
        for key, value in knobs_of(config).items():
            knob = knobs()[key]
            through = "through" in knob.metadata or key.startswith("data.")
            if decides(key) and (knob.is_group or through or key in read):
                found.setdefault(key, []).append(value)
    return {key: _distinct(values) for key, values in found.items()}


def _keys(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({results.to_json(value): value for value in values}.values())


def check_same_question(plan: Plan, command: str, preset: str | None, given: Collection[str]) -> list[str]:
    """A line on what a folder gets beside what it holds; none for the same command, or more values of a swept knob.

    A folder belongs to one question. One knob more may be varied in it; two that change together could not be told
    apart afterwards, and another preset, task or text is another question: those raise UserError.
    """
    try:
        manifest = results.load_manifest(plan.folder)
    except results.RecordError:
        return []
    if command in manifest["commands"]:
        return []
    before = manifest.get("knobs") or _values_on_disk(plan.folder)
    now = values_of(cell.config for cell in plan.cells)
    typed = {Override.read(word).key for one in manifest["commands"] for word in shlex.split(one) if "=" in word}
    if preset and preset != manifest["preset"]:
        raise _another(plan.folder, f"sweeps={manifest['preset'] or 'null'}, not sweeps={preset}")
    changed = [key for key in now if key in before and not _shared(before[key], now[key]) and key in typed | {*given}]
    for setter in ("match", "updates"):
        if now.get(setter, [None]) != [None] and setter in changed + list(typed):
            changed = [key for key in changed if key != knobs()[setter].metadata["through"]]
    said = [f"{key}={_list(before[key])}, not {key}={_list(now[key])}" for key in changed]
    others = [key for key in changed if key.partition(".")[0] in ("task", "data")]
    if others:
        raise _another(plan.folder, "; ".join(line for key, line in zip(changed, said, strict=True) if key in others))
    if len(changed) > 1:
        raise _another(plan.folder, "; ".join(said))
    if changed and len(before[changed[0]]) == len(now[changed[0]]) == 1:
        return [f"{plan.folder} holds {said[0]}; it is the same question now, with {changed[0]} varied"]
    return []


def _another(folder: Path, difference: str) -> UserError:
    return UserError(
        f"{folder} belongs to another sweep: {difference}; give another name=NAME, or all values in one command"
    )


def _values_on_disk(folder: Path) -> Values:
    """The same of a folder whose manifest does not say it, from a record of each setting."""
    records = [record for record in results.records(folder) if not isinstance(record, results.RecordError)]
    return values_of(from_dict(record["config"]) for record in {r["cell_id"]: r for r in records}.values())


def _shared(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return bool({results.to_json(value) for value in one} & {results.to_json(value) for value in other})


def _list(values: Sequence[Any]) -> str:
    texts = [_short(value).lower() if isinstance(value, bool) else _short(value) for value in values]
    return ",".join(texts[:6]) + (",…" if len(texts) > 6 else "")


def write_manifest(plan: Plan, command: str, preset: str | None = None) -> None:
    """Keep the commands given so far, the question behind them, the values of the knobs, and what `data=auto` was."""
    try:
        manifest = results.load_manifest(plan.folder)
    except results.RecordError:
        manifest = {"commands": []}
    before = manifest.get("knobs") or (_values_on_disk(plan.folder) if manifest["commands"] else {})
    if command not in manifest["commands"]:
        manifest["commands"].append(command)
    if preset:
        manifest |= {"preset": preset, "question": question(preset)}
    if title := plan.cells[0].config.title:
        manifest["title"] = title
    now = values_of(cell.config for cell in plan.cells)
    manifest["knobs"] = before | {key: _distinct([*before.get(key, ()), *values]) for key, values in now.items()}
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
