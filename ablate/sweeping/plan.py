"""What a sweep has to do: its settings and runs, what is finished, what another sweep holds, what cannot be run."""

import traceback
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ablate.config.columns import as_typed, column
from ablate.config.dependence import gates_text, independent
from ablate.config.errors import CombinationError, DataError, OwnCodeError, counted, reason
from ablate.config.identity import (
    former_ids,
    former_run_ids,
    former_setting_ids,
    run_id,
    run_identity,
    setting_id,
    setting_of,
    short_hash,
    without_effect,
)
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config, DataConfig, Part, to_dict, with_seed
from ablate.config.validation import check_combination, validate
from ablate.data.corpora import (
    LARGE_VOCABULARY,
    UNITS,
    Corpus,
    as_used,
    described,
    load,
    resolve_auto,
    said_held_out,
    tokens_asked_for,
    tokens_used,
)
from ablate.data.pairs import Pairs, described_pairs
from ablate.networks.parameters import Sizes, Vocabulary
from ablate.records import results, weights
from ablate.records.exclusion import exclusions
from ablate.records.files import write_json
from ablate.records.manifest import load_manifest
from ablate.records.neighbours import Neighbours
from ablate.records.places import failure_path
from ablate.records.reading import RecordError
from ablate.sweeping.matching import matched, unequal
from ablate.tasks import task_of
from ablate.tasks.task import Task
from ablate.training.behaviour import changes
from ablate.training.determinism import not_promised


@dataclass
class Run:
    """One seed of a setting."""

    run_id: str
    config: Resolved
    former: tuple[str, ...] = ()  # ids under which older versions could have stored it
    reused_from: Path | None = None


@dataclass(frozen=True)
class Extent:
    """What a setting's task tells of its data; the task itself, which may keep copies of them, is not kept for it."""

    sizes: Vocabulary | Sizes = 0
    tokens_per_epoch: int = 0  # of one run
    updates_per_epoch: float = 0  # where it depends on what is random, the mean
    same_count_every_epoch: bool = True

    @classmethod
    def of(cls, task: Task) -> "Extent":
        return cls(task.sizes, task.tokens_per_epoch, task.updates_per_epoch(), task.same_count_every_epoch)


@dataclass
class Setting:
    """The runs that differ by seed only; `error` if no run of it is possible."""

    config: Resolved
    setting_id: str
    corpus: Corpus
    extent: Extent = field(default_factory=Extent)
    runs: list[Run] = field(default_factory=list)
    missing: list[Run] = field(default_factory=list)
    error: Exception | None = None
    changed: list[str] = field(default_factory=list)  # of the code, since runs of this setting were recorded
    unkept: int = 0  # finished runs that lack what `keep` asks for

    @cached_property
    def former_ids(self) -> tuple[str, ...]:
        """The ids that it could have had in older versions."""
        return former_setting_ids(self.config, self.corpus.sha256)


@dataclass
class Plan:
    """All settings of a sweep, before anything is spent."""

    folder: Path
    settings: list[Setting]
    warnings: list[str]
    auto_corpus: str | None = None  # what data=auto means in this sweep
    asked: list[Setting] = field(default_factory=list)  # the setting of each config, in the order given
    notes: list[str] = field(default_factory=list)  # the text that was really used, where the command does not say it

    @property
    def missing(self) -> int:
        return sum(len(setting.missing) for setting in self.settings)


def label(config: Config, swept: Sequence[str]) -> str:
    """`gru num_hiddens=32`: the model and what the sweep varies."""
    values = knobs_of(config)
    subject = config.model.name if config.task.thing.has_network else config.task.name
    return " ".join([subject, *(word for key in swept if key in values for word in _words(key, values[key]))])


def _words(key: str, value: Any) -> list[str]:
    """A knob as it is typed; of a table, such as `model.gates`, a word for each of its entries."""
    if isinstance(value, dict):
        return [word for name, one in value.items() for word in _words(f"{key}.{name}", one)]
    return [f"{as_typed(key)}={short_value(value)}"]


def short_value(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def knobs_of(config: Config) -> dict[str, Any]:
    """Every knob by the name that is typed, where it means something, but for the lists of a group's choice."""
    beside = frozenset[str]() if config.task.thing.has_network else _of_networks()
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name in beside:
            continue
        if not isinstance(value, Part):
            out[f.name] = value
            continue
        out[f.name] = value.name
        if beside:
            out["model"] = value.name  # what is trained, as the frames of records have it
        out |= {f"{f.name}.{name}": one for name, one in value.values().items() if name != "name"}
    return out


@cache
def _of_networks() -> frozenset[str]:
    """The knobs and parts that mean nothing where there is no network."""
    deciding = {f.name for f in fields(Config) if f.metadata.get("identity", True)} | {"data", "updates", "match"}
    return frozenset(deciding - {"task", "seed"})


def varying(configs: Sequence[Config]) -> list[str]:
    """The knobs, other than the model, in which the configs differ; what follows from the others is left out.

    Knobs that merely vary together are all there.
    """
    rows = [knobs_of(config) for config in configs]
    keys = dict.fromkeys(key for values in rows for key in values if key != "optimizer.lr")
    typed = {column(key): key for key in keys}
    found = independent({name: [framed(values.get(key)) for values in rows] for name, key in typed.items()})
    return sorted((typed[name] for name in found if name != "model"), key=lambda key: "." in key)


def framed(value: Any) -> Hashable:
    """A knob's value as the frames of records have it."""
    if isinstance(value, dict):
        return gates_text(value)
    return str(value) if isinstance(value, list) else value


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

    Raises ConfigError or DataError for input that no setting could run with; an impossible combination in some
    of the settings is noted in those settings.
    """
    for config in configs:
        validate(config)
    auto = stored_auto(folder)
    texts = {} if texts is None else texts
    warnings: list[str] = []
    settings: dict[str, Setting] = {}
    asked: list[Setting] = []
    resolved: list[Resolved] = []
    needed: dict[str, int | None] = {}
    for config in configs:
        key, most = repr(config.data), tokens_asked_for(config)
        before = needed.get(key, 0)
        needed[key] = None if most is None or before is None else max(most, before)
    for config in configs:
        key = repr(config.data)
        if key not in texts or not texts[key][1].holds(needed[key]):
            data, warning = resolve_auto(config.data, fallback, auto)
            kept = config.data.name == "auto" and auto is not None
            warnings += [warning] if warning else []
            try:
                texts[key] = data, load(data, needed[key])
            except DataError as error:
                if not kept:
                    raise
                raise DataError(
                    f"{folder} was begun on {auto} and stays with it, or give another name=; {error}"
                ) from error
        data, corpus = texts[key]
        if config.data.name == "auto":
            auto = data.name
        one = resolve(config.but(data=data))
        resolved.append(one)
        setting = make_setting(one, corpus, configs[0])
        if not setting.error:
            warnings += unequal(one, setting.config, configs[0], setting.extent.sizes)
        known = settings.setdefault(setting.setting_id, setting)
        have = {run.run_id for run in known.runs}
        known.runs += [run for run in setting.runs if run.run_id not in have]
        asked.append(known)
    plan = Plan(folder, list(settings.values()), warnings, auto, asked)
    by_text: dict[str, list[Resolved]] = {}
    noted: dict[str, bool] = {}
    for config, one in zip(configs, resolved, strict=True):
        key = repr(config.data)
        by_text.setdefault(key, []).append(one)
        noted[key] = config.data.thing.needs_note
    for key, readers in by_text.items():
        corpus = texts[key][1]
        if noted[key]:
            note = described_pairs(corpus, readers) if isinstance(corpus, Pairs) else described(corpus, readers)
            plan.notes += [note] * (note not in plan.notes)
        plan.warnings += [warning for warning in corpus.warnings if warning not in plan.warnings]
        if len(corpus.vocabulary) > LARGE_VOCABULARY:
            plan.warnings.append(
                f"{corpus.name} has {len(corpus.vocabulary):,} different {corpus.unit}s, and a network has weights for "
                "each of them in its first and its last layer; data.tokens=char has few, data.cleaning=letters fewer"
            )
    combinations = len(configs)  # at most; where there are fewer settings: different ones, also in what nothing reads
    if len(settings) < combinations:
        combinations = len({short_hash(asdict(c.but(seed=0, seeds=1))) for c in configs})
    if len(settings) < combinations:
        warnings.append(
            f"{counted(combinations, 'combination')} make {counted(len(settings), 'different setting')}: a knob does "
            "not matter to some of them"
        )
    warnings += without_effect(configs, given).values()
    warnings += not_promised(resolved)
    named = {texts[key][1].name for key in by_text if noted[key]}
    warnings += beyond_the_text([(one, texts[key][1]) for key, readers in by_text.items() for one in readers], named)
    errors = [setting.error for setting in plan.settings if setting.error]
    if len(errors) == len(plan.settings):
        raise errors[0]
    neighbours = Neighbours(folder)
    for setting in plan.settings:
        if not setting.error:
            find_finished(setting, folder, neighbours)
    warnings += neighbours.warning()
    with suppress(RecordError):
        warnings += [f"{folder}: {one}" for one in exclusions(folder)]
    if unkept := sum(setting.unkept for setting in plan.settings):
        runs, are = ("run has", "it is") if unkept == 1 else ("runs have", "they are")
        warnings.append(
            f"{unkept} finished {runs} no weights, for which keep=weights asks: {are} trained again (the old records "
            "are replaced)"
        )
    for change in dict.fromkeys(change for setting in plan.settings for change in setting.changed):
        again = sum(len(setting.missing) for setting in plan.settings if change in setting.changed)
        runs = "run is" if again == 1 else "runs are"
        warnings.append(f"{change} has changed since: {again} {runs} trained again (the old records are replaced)")
    return plan


def make_setting(config: Resolved, corpus: Corpus, first: Config | None = None) -> Setting:
    """A setting with its runs, or with the reason why there can be none; `first` is the sweep's first config."""
    try:
        check_combination(config)
        extent = Extent.of(task_of(config, corpus))
        if config.task.thing.has_network and extent.updates_per_epoch <= 0:
            raise CombinationError(
                f"an epoch of task={config.task.name} has no minibatch of batch_size={config.batch_size} sequences of "
                f"num_steps={config.num_steps}; lower batch_size or num_steps, or give it more data"
            )
    except CombinationError as error:
        return Setting(config, setting_id(config, corpus.sha256), corpus, error=error)
    except (Exception, SystemExit) as error:
        if config.task.source is None:
            raise
        return Setting(config, setting_id(config, corpus.sha256), corpus, error=OwnCodeError.of(error))
    asked = in_epochs(matched(config, first or config, extent.sizes), extent.updates_per_epoch)
    config = as_used(asked, corpus)
    identity = run_identity(config, corpus.sha256)
    setting = Setting(config, setting_of(identity), corpus, extent)
    for replica in range(config.seeds):
        own = with_seed(config, replica)
        identity |= {"seed": own.seed}
        former = former_ids(identity)
        if config != asked:  # before max_tokens meant what was used
            typed = with_seed(asked, replica)
            former += (run_id(typed, corpus.sha256), *former_run_ids(typed, corpus.sha256))
        setting.runs.append(Run(short_hash(identity), own, former))
    return setting


def beyond_the_text(read: Iterable[tuple[Resolved, Corpus]], noted: Collection[str]) -> list[str]:
    """A line for each text that has fewer tokens than a max_tokens asks for: what was used in its place.

    Of a text that a note is about (`noted`: their names), which says that, only where it makes one setting of several.
    """
    asked: dict[tuple[str, int, tuple[int, int], str], set[int]] = {}
    for config, corpus in read:
        used = tokens_used(config, corpus)
        if used is not None and config.max_tokens is not None and used < config.max_tokens:
            held = (0, 0) if corpus.parts else (config.val_tokens, config.test_tokens)
            key = corpus.name, corpus.tokens, held, corpus.unit
            asked.setdefault(key, set()).add(config.max_tokens)
    return [
        f"max_tokens={','.join(map(str, sorted(values)))}: {name} has {tokens:,} {UNITS[unit]}, of which "
        f"{said_held_out(*held)} are held out; trained on the {tokens - sum(held):,} that are left, and listed as "
        f"max_tokens={tokens - sum(held)}"
        for (name, tokens, held, unit), values in asked.items()
        if len(values) > 1 or name not in noted
    ]


def in_epochs(config: Resolved, updates_per_epoch: float) -> Resolved:
    """The config with `updates` turned into the number of epochs that comes nearest to it."""
    return config if config.updates is None else config.but(epochs=max(1, round(config.updates / updates_per_epoch)))


def find_finished(setting: Setting, folder: Path, neighbours: Neighbours) -> None:
    """Sort a setting's runs into finished, held by another sweep, and missing.

    Raises NewerRecord where a later version of ablate has written one that would be trained again.
    """
    known: dict[str, list[str]] = {}  # the runs of a setting were as a rule computed by the same code

    def changed(code: Mapping[str, Sequence[float | None]]) -> list[str]:
        if str(code) not in known:
            known[str(code)] = changes(code, setting.config)
        return known[str(code)]

    def current(code: Mapping[str, Sequence[float | None]]) -> bool:
        return not changed(code)

    def noted(code: Mapping[str, Sequence[float | None]]) -> bool:
        setting.changed += [change for change in changed(code) if change not in setting.changed]
        return current(code)

    for run in setting.runs:
        if not run.config.fresh and results.finished(folder, run.run_id, run.config.prefixes, noted, run.former):
            if has_kept(folder, run):
                continue
            setting.unkept += 1
        results.refuse_newer(folder, run.run_id)
        if not run.config.fresh:
            run.reused_from = neighbours.find(run.run_id, run.config.prefixes, current, run.former)
            if run.reused_from and not has_kept(run.reused_from, run):
                run.reused_from = None
        if run.reused_from is None:
            setting.missing.append(run)


def has_kept(folder: Path, run: Run) -> bool:
    """Whether a sweep holds what `keep` asks for, of a finished run of it."""
    return run.config.keep is None or weights.are_stored(folder, run.run_id)


def stored_auto(folder: Path) -> str | None:
    """What `data=auto` meant when this sweep began: it never changes its corpus in the middle."""
    try:
        name: str | None = load_manifest(folder)["auto_corpus"]
    except RecordError:
        return None
    return name


def write_failure(folder: Path, setting: Setting, error: BaseException) -> None:
    """Keep the traceback of a setting that could not be run."""
    write_json(
        failure_path(folder, setting.setting_id),
        {
            "setting_id": setting.setting_id,
            "error": reason(error),
            "traceback": "".join(traceback.format_exception(error)),
            "config": to_dict(setting.config),
            "had": [run.config.seed for run in setting.runs if results.holds(folder, run.run_id, run.former)],
        },
    )
