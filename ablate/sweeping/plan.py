"""What a sweep has to do: its settings and runs, what is finished, what another sweep holds, what cannot be run."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from ablate.config.errors import CombinationError, OwnCodeError, counted, reason
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
from ablate.config.schema import Config, DataConfig, to_dict, with_seed
from ablate.config.validation import check_combination, validate
from ablate.data.corpora import Corpus, as_used
from ablate.networks.parameters import Sizes, Vocabulary
from ablate.records import results, weights
from ablate.records.exclusion import exclusions
from ablate.records.files import write_json
from ablate.records.neighbours import Neighbours
from ablate.records.places import failure_path
from ablate.records.reading import RecordError
from ablate.sweeping.matching import matched, unequal
from ablate.sweeping.texts import Texts, read_texts, told_of_texts
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
    settings: list[Setting] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    auto_corpus: str | None = None  # what data=auto means in this sweep
    asked: list[Setting] = field(default_factory=list)  # the setting of each config, in the order given
    notes: list[str] = field(default_factory=list)  # the text that was really used, where the command does not say it
    looked_at: results.State | None = None  # the runs of the folder when it was looked up what is finished
    found: list[str] = field(default_factory=list)  # those of the warnings that are about what was found then

    @property
    def missing(self) -> int:
        return sum(len(setting.missing) for setting in self.settings)


def make_plan(
    configs: Sequence[Config],
    folder: Path,
    fallback: DataConfig,
    texts: Texts | None = None,
    given: Iterable[str] = (),
    first: Config | None = None,
) -> Plan:
    """Check everything and look up what is done; writes nothing. `texts` keeps what was read, for the next plan.

    Of the knobs `given`, those that nothing reads are among the warnings. `match` matches to the model of `first`, by
    default the first of `configs`.

    Raises ConfigError or DataError for input that no setting could run with; an impossible combination in some
    of the settings is noted in those settings.
    """
    for config in configs:
        validate(config)
    first = first or configs[0]
    texts = {} if texts is None else texts
    plan = Plan(folder)
    plan.auto_corpus, warnings = read_texts(configs, folder, fallback, texts)
    plan.warnings += warnings
    meant = [(config, *texts[repr(config.data)]) for config in configs]
    read = [(resolve(config.but(data=data)), corpus) for config, data, corpus in meant]
    settings: dict[str, Setting] = {}
    for one, corpus in read:
        setting = make_setting(one, corpus, first)
        if not setting.error:
            plan.warnings += unequal(one, setting.config, first, setting.extent.sizes)
        known = settings.setdefault(setting.setting_id, setting)
        have = {run.run_id for run in known.runs}
        known.runs += [run for run in setting.runs if run.run_id not in have]
        plan.asked.append(known)
    plan.settings = list(settings.values())
    notes, warnings = told_of_texts(configs, read)
    plan.notes += notes
    plan.warnings += warnings
    plan.warnings += fewer_settings(configs, len(settings))
    plan.warnings += without_effect(configs, given).values()
    plan.warnings += not_promised([config for config, _ in read])
    errors = [setting.error for setting in plan.settings if setting.error]
    if len(errors) == len(plan.settings):
        raise errors[0]
    look_up(plan)
    return plan


def fewer_settings(configs: Sequence[Config], settings: int) -> list[str]:
    """A line where different configs make the same setting."""
    combinations = len(configs)  # at most
    if settings < combinations:
        combinations = len({short_hash(asdict(c.but(seed=0, seeds=1))) for c in configs})
    if settings == combinations:
        return []
    return [
        f"{counted(combinations, 'combination')} make {counted(settings, 'different setting')}: a knob does not matter "
        "to some of them"
    ]


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


def in_epochs(config: Resolved, updates_per_epoch: float) -> Resolved:
    """The config with `updates` turned into the number of epochs that comes nearest to it."""
    return config if config.updates is None else config.but(epochs=max(1, round(config.updates / updates_per_epoch)))


def look_up(plan: Plan) -> None:
    """Sort all runs into finished, held by another sweep, and missing, and warn of those that are trained again.

    Raises NewerRecord where a later version of ablate has written one that would be trained again.
    """
    plan.looked_at = results.state(plan.folder)
    neighbours = Neighbours(plan.folder)
    for setting in plan.settings:
        if not setting.error:
            find_finished(setting, plan.folder, neighbours)
    plan.found = [*neighbours.warning(), *warnings_of(plan)]
    plan.warnings += plan.found


def look_again(plan: Plan) -> None:
    """The same once the folder is held, where runs have come or gone since: another command may have trained what was
    missing, and ended just then."""
    if results.state(plan.folder) == plan.looked_at:
        return
    for setting in plan.settings:
        setting.missing, setting.changed, setting.unkept = [], [], 0
        for run in setting.runs:
            run.reused_from = None
    plan.warnings = [line for line in plan.warnings if line not in plan.found]
    look_up(plan)


def warnings_of(plan: Plan) -> list[str]:
    """A line each on what is excluded, and on finished runs that are trained again."""
    warnings: list[str] = []
    with suppress(RecordError):
        warnings += [f"{plan.folder}: {one}" for one in exclusions(plan.folder)]
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
    return warnings


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
