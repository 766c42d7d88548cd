"""What a sweep has to do: its settings and runs, what is finished, what another sweep holds, what cannot be run."""

import shlex
import traceback
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ablate.config import plugins
from ablate.config.columns import column
from ablate.config.composing import from_dict
from ablate.config.dependence import gates_text, independent
from ablate.config.errors import CombinationError, DataError, UserError, reason
from ablate.config.identity import (
    former_run_ids,
    former_setting_ids,
    run_id,
    run_identity,
    setting_id,
    short_hash,
    without_effect,
)
from ablate.config.overrides import Override, knobs
from ablate.config.presets import question
from ablate.config.schema import (
    Config,
    DataConfig,
    Part,
    resolve,
    to_dict,
    with_seed,
)
from ablate.config.validation import check_combination, validate
from ablate.data.corpora import (
    LARGE_VOCABULARY,
    UNITS,
    Corpus,
    as_used,
    described,
    load,
    resolve_auto,
    tokens_asked_for,
)
from ablate.data.pairs import Pairs, described_pairs
from ablate.records import results, weights
from ablate.records.exclusion import exclusions
from ablate.records.files import make_folder, to_json, write_json
from ablate.records.locks import InUse, held
from ablate.records.neighbours import Neighbours
from ablate.sweeping.matching import matched, unequal
from ablate.sweeping.naming import decides
from ablate.tasks import task_of
from ablate.training.behaviour import changes


@dataclass
class Run:
    """One seed of a setting."""

    run_id: str
    config: Config
    former: tuple[str, ...] = ()  # ids under which older versions could have stored it
    reused_from: Path | None = None


@dataclass
class Setting:
    """The runs that differ by seed only; `error` if no run of it is possible."""

    config: Config
    setting_id: str
    corpus: Corpus
    runs: list[Run] = field(default_factory=list)
    missing: list[Run] = field(default_factory=list)
    tokens_per_epoch: int = 0  # of one run
    error: Exception | None = None
    changed: list[str] = field(default_factory=list)  # of the code, since runs of this setting were recorded
    unkept: int = 0  # finished runs that lack what `keep` asks for

    @property
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
    return " ".join([subject, *(f"{key}={_short(values[key])}" for key in swept if key in values)])


def _short(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def knobs_of(config: Config) -> dict[str, Any]:
    """Every knob by the name that is typed, where it means something, but for the lists of a group's choice."""
    deciding = {f.name for f in fields(config) if f.metadata.get("identity", True)} | {"data", "updates", "match"}
    beside = set() if config.task.thing.has_network else deciding - {"task", "seed"}
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


def varying(configs: Sequence[Config]) -> list[str]:
    """The knobs, other than the model, in which the configs differ; what follows from the others is left out.

    Knobs that merely vary together are all there.
    """
    rows = [knobs_of(config) for config in configs]
    keys = dict.fromkeys(key for values in rows for key in values if key != "optimizer.lr")
    typed = {column(key): key for key in keys}
    found = independent({name: [_plain(values.get(key)) for values in rows] for name, key in typed.items()})
    return sorted((typed[name] for name in found if name != "model"), key=lambda key: "." in key)


def _plain(value: Any) -> Hashable:
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
    needed: dict[str, int | None] = {}
    for config in configs:
        key, most = to_json(vars(config.data)), tokens_asked_for(config)
        before = needed.get(key, 0)
        needed[key] = None if most is None or before is None else max(most, before)
    for config in configs:
        key = to_json(vars(config.data))
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
        one = resolve(replace(config, data=data))
        setting = make_setting(one, corpus, configs[0])
        if not setting.error:
            warnings += unequal(one, setting.config, configs[0], corpus)
        known = settings.setdefault(setting.setting_id, setting)
        have = {run.run_id for run in known.runs}
        known.runs += [run for run in setting.runs if run.run_id not in have]
        asked.append(known)
    plan = Plan(folder, list(settings.values()), warnings, auto, asked)
    by_text: dict[str, list[Config]] = {}
    for config in configs:
        by_text.setdefault(to_json(vars(config.data)), []).append(config)
    for key, readers in by_text.items():
        corpus = texts[key][1]
        if readers[0].data.thing.needs_note:
            note = described_pairs(corpus, readers) if isinstance(corpus, Pairs) else described(corpus, readers)
            plan.notes += [note] * (note not in plan.notes)
        if len(corpus.vocabulary) > LARGE_VOCABULARY:
            plan.warnings.append(
                f"{corpus.name} has {len(corpus.vocabulary):,} different {corpus.unit}s, and a network has weights for "
                "each of them in its first and its last layer; data.tokens=char has few, data.cleaning=letters fewer"
            )
    combinations = len({short_hash(asdict(replace(c, seed=0, seeds=1))) for c in configs})  # also what nothing reads
    if len(settings) < combinations:
        warnings.append(
            f"{combinations} combinations make {len(settings)} different settings: a knob does not matter to some of "
            f"them"
        )
    warnings += without_effect(configs, given).values()
    warnings += beyond_the_text(configs, [texts[to_json(vars(config.data))][1] for config in configs])
    errors = [setting.error for setting in plan.settings if setting.error]
    if len(errors) == len(plan.settings):
        raise errors[0]
    neighbours = Neighbours(folder)
    for setting in plan.settings:
        if not setting.error:
            find_finished(setting, folder, neighbours)
    warnings += neighbours.warning()
    with suppress(results.RecordError):
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


def make_setting(config: Config, corpus: Corpus, first: Config | None = None) -> Setting:
    """A setting with its runs, or with the reason why there can be none; `first` is the sweep's first config."""
    try:
        check_combination(config)
        tokens = task_of(config, corpus).tokens_per_epoch
    except CombinationError as error:
        return Setting(config, setting_id(config, corpus.sha256), corpus, error=error)
    asked = in_epochs(matched(config, first or config, corpus), corpus)
    config = as_used(asked, corpus)
    setting = Setting(config, setting_id(config, corpus.sha256), corpus, tokens_per_epoch=tokens)
    for replica in range(config.seeds):
        own = with_seed(config, replica)
        former = former_run_ids(own, corpus.sha256)
        if config != asked:  # before max_tokens meant what was used
            typed = with_seed(asked, replica)
            former += (run_id(typed, corpus.sha256), *former_run_ids(typed, corpus.sha256))
        setting.runs.append(Run(run_id(own, corpus.sha256), own, former))
    return setting


def beyond_the_text(configs: Sequence[Config], corpora: Sequence[Corpus]) -> list[str]:
    """A line for each text that has fewer tokens than a max_tokens asks for: what was used in its place.

    Of a text that a note is about, which says that, only where it makes one setting of several.
    """
    asked: dict[tuple[str, int, int, str], set[int]] = {}
    noted = {corpus.name for config, corpus in zip(configs, corpora, strict=True) if config.data.thing.needs_note}
    for config, corpus in zip(configs, corpora, strict=True):
        used = as_used(resolve(config), corpus).max_tokens
        if used is not None and config.max_tokens is not None and used < config.max_tokens:
            key = corpus.name, corpus.tokens, config.val_tokens, corpus.unit
            asked.setdefault(key, set()).add(config.max_tokens)
    return [
        f"max_tokens={','.join(map(str, sorted(values)))}: {name} has {tokens:,} {UNITS[unit]}, of which "
        f"val_tokens={held} are held out; trained on the {tokens - held:,} that are left, and listed as "
        f"max_tokens={tokens - held}"
        for (name, tokens, held, unit), values in asked.items()
        if len(values) > 1 or name not in noted
    ]


def in_epochs(config: Config, corpus: Corpus) -> Config:
    """The config with `updates` turned into the number of epochs that comes nearest to it."""
    if config.updates is None:
        return config
    return replace(config, epochs=max(1, round(config.updates / updates_per_epoch(config, corpus))))


def updates_per_epoch(config: Config, corpus: Corpus) -> float:
    """Minibatches in an epoch; where their number depends on the epoch's random offset, the mean."""
    return task_of(config, corpus).updates_per_epoch()


def find_finished(setting: Setting, folder: Path, neighbours: Neighbours) -> None:
    """Sort a setting's runs into finished, held by another sweep, and missing.

    Raises NewerRecord where a later version of ablate has written one that would be trained again.
    """
    known: dict[str, list[str]] = {}  # the runs of a setting were as a rule computed by the same code

    def changed(code: Mapping[str, Sequence[float]]) -> list[str]:
        if str(code) not in known:
            known[str(code)] = changes(code, setting.config)
        return known[str(code)]

    def current(code: Mapping[str, Sequence[float]]) -> bool:
        return not changed(code)

    def noted(code: Mapping[str, Sequence[float]]) -> bool:
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
    return run.config.keep is None or weights.kept(folder, run.run_id)


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
            knob = knobs().get(key)
            if knob is None:  # of a file of the user's that is not loaded
                continue
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
    return list({to_json(value): value for value in values}.values())


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
    now = values_of(setting.config for setting in plan.settings)
    typed = {
        knob
        for one in manifest["commands"]
        for word in shlex.split(one)
        if "=" in word
        for knob in Override.read(word).knobs
    }
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
    return values_of(from_dict(record["config"]) for record in {r["setting_id"]: r for r in records}.values())


def _shared(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return bool({to_json(value) for value in one} & {to_json(value) for value in other})


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
    if title := plan.settings[0].config.title:
        manifest["title"] = title
    now = values_of(setting.config for setting in plan.settings)
    manifest["knobs"] = before | {key: _distinct([*before.get(key, ()), *values]) for key, values in now.items()}
    if files := plugins.hashes(plan.settings[0].config.plugins):
        manifest["plugins"] = manifest.get("plugins", {}) | files
    write_json(results.manifest_path(plan.folder), results.NO_QUESTION | manifest | {"auto_corpus": plan.auto_corpus})


def write_failure(folder: Path, setting: Setting, error: BaseException) -> None:
    """Keep the traceback of a setting that could not be run."""
    write_json(
        results.failure_path(folder, setting.setting_id),
        {
            "setting_id": setting.setting_id,
            "error": reason(error),
            "traceback": "".join(traceback.format_exception(error)),
            "config": to_dict(setting.config),
        },
    )


@contextmanager
def exclusive(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a sweep's folder: two programs never train the same runs. Raises UserError.

    The processes of one search share it: their study tells who trains what.

    The lock goes with the process, however it ends.
    """
    make_folder(folder)
    without = "start no other ablate on this folder meanwhile, it would train the same runs again (records stay whole)"
    try:
        with held(folder / ".lock", without, shared=shared):
            yield
    except InUse as error:
        raise UserError(f"{folder} is in use by another ablate; wait for it, or give another name=NAME") from error
