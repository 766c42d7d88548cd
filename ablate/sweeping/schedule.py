"""From missing runs to programs: what trains together, with which engine, and how many programs side by side."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ablate.config.errors import counted
from ablate.config.identity import cohort_key
from ablate.config.resolved import Resolved
from ablate.config.schema import Config
from ablate.config.validation import FUNCTION, engines_for
from ablate.data.corpora import Corpus
from ablate.engines.cohort import chunk_size, chunks, memory_bytes, stacked
from ablate.engines.cohort.memory import free_bytes
from ablate.networks.parameters import Sizes, Vocabulary
from ablate.records.environment import cores
from ablate.sweeping.plan import Extent, Plan, Run, Setting
from ablate.training.checkpoints import reached
from ablate.training.choice import Choice, agreeing, choose
from ablate.training.determinism import trains_alone
from ablate.training.loop import resolve_device


@dataclass
class RunGroup:
    """Runs that train together, the widest first: of one setting or, where settings differ only in what replicas may
    differ in, of several. One program trains them, once `programs` has cut the group to what cache and memory allow."""

    settings: list[Setting]
    runs: list[Run]
    corpus: Corpus
    choice: Choice | None = None
    begun_with: str | None = None  # the engine that brought these runs to their checkpoint
    epoch: int = 0  # the one after which that was
    too_many: tuple[int, ...] = ()  # so many runs together, of which these are some, were too much for the memory
    waited: bool = False  # until nothing else was training, because of the memory
    hung: int = 0  # so often it gave no sign any more, and was ended
    lost: int = 0  # so often a process ended that trained it

    @property
    def config(self) -> Resolved:
        return self.runs[0].config

    @property
    def extent(self) -> Extent:
        return self.settings[0].extent

    def title(self, names: Mapping[str, str]) -> str:
        """What it is called on the screen; `names`: setting_id → the name of the setting."""
        return " + ".join(names[setting.setting_id] for setting in self.settings)


def halves(program: RunGroup) -> list[RunGroup]:
    """A program that needs too much memory as two."""
    middle = (len(program.runs) + 1) // 2
    out = []
    for runs in (program.runs[:middle], program.runs[middle:]):
        ids = {run.run_id for run in runs}
        settings = [one for one in program.settings if any(run.run_id in ids for run in one.runs)]
        out.append(replace(program, settings=settings, runs=runs, too_many=(*program.too_many, len(program.runs))))
    return out


def groups(plan: Plan, say: Callable[[str], None] = lambda _: None) -> list[RunGroup]:
    """The missing runs that could train together, in the order of their settings.

    Runs in the middle of their training are only grouped with those that stopped at the same epoch. `say` hears, in a
    line, of checkpoints from which no run can go on.
    """
    unusable: list[str] = []
    found: dict[tuple[str, int, str | None], RunGroup] = {}
    for setting in plan.settings:
        if setting.error or not setting.missing:
            continue
        shape = cohort_key(setting.missing[0].config, setting.corpus.sha256)  # seeds train together
        for run in setting.missing:
            epoch, engine = (0, None) if run.config.fresh else reached(plan.folder, run.run_id, unusable.append)
            key = shape, epoch, engine
            group = found.setdefault(key, RunGroup([], [], setting.corpus, None, engine, epoch))
            group.runs.append(run)
            if not group.settings or group.settings[-1] is not setting:
                group.settings.append(setting)
    if unusable:
        say(unusable[0] + (f"; the same of {counted(len(unusable) - 1, 'other')}" if len(unusable) > 1 else ""))
    return list(found.values())


def share_of(side_by_side: int, groups: int) -> int:
    """How many of the programs side by side are each group's, at least: all for a group alone in its sweep."""
    return math.ceil(side_by_side / max(1, groups))


def cut_for(configs: Sequence[Config], side_by_side: int, devices: int) -> int:
    """For how many places a sweep's programs are cut: not for those of one GPU, where a program as wide as can be takes
    little more time than a narrow one."""
    on_gpu = resolve_device(configs[0].device).type != "cpu"
    return devices if on_gpu else devices * side_by_side


def programs(
    group: RunGroup, side_by_side: int, threads: int, engines: MutableMapping[str, str] | None = None
) -> list[RunGroup]:
    """A group cut into programs: with engine=cohort as many runs each as cache and memory allow, else one.

    `threads`, its share of those that train side by side, have as many programs each. `engines`: shape of runs → what
    engine=auto has come to before; it gets what it comes to now. Raises MemoryError where not even one run fits beside
    the other programs.
    """
    config, corpus = group.config, group.corpus
    owner = {run.run_id: setting for setting in group.settings for run in setting.runs}
    if not config.task.thing.has_network:
        return [RunGroup([owner[run.run_id]], [run], corpus, Choice(FUNCTION, {})) for run in group.runs]
    device, extent = resolve_device(config.device), group.extent
    fit = runs_that_fit(config, extent.sizes, device, side_by_side)  # before any is built to be timed
    if group.begun_with in engines_for(config):
        choice = Choice(str(group.begun_with), {})  # timing anew could choose another, and lose what is done
    else:
        choice = _chosen(group, device, min(len(group.runs), fit), {} if engines is None else engines)
    size = 1
    if choice.engine == "cohort" and extent.same_count_every_epoch:
        size = 1 if trains_alone(config, device) else chunk_size(config, device) or len(group.runs)
    programs = []
    for runs in chunks(group.runs, min(size, fit), threads):
        settings = list({owner[run.run_id].setting_id: owner[run.run_id] for run in runs}.values())
        programs.append(RunGroup(settings, list(runs), corpus, choice))
    return programs


def _chosen(group: RunGroup, device: torch.device, replicas: int, engines: MutableMapping[str, str]) -> Choice:
    """The engine of a group: of engine=auto what it has come to before, unless all is trained afresh."""
    config = group.config
    shape = f"{device.type} {cohort_key(config, group.corpus.sha256)}"
    if config.engine == "auto" and not config.fresh and shape in engines and engines[shape] in agreeing(config):
        return Choice(engines[shape], {})
    choice = choose(config, group.extent.sizes, device, replicas)
    if choice.milliseconds:
        engines[shape] = choice.engine
    return choice


PLENTY = 16
"""How many times as much as autograd is expected to keep is plenty for a cohort with any engine.

Counting exactly builds a program without its storage: that is done only where memory could be short.
"""


def runs_that_fit(
    config: Resolved, vocabulary_size: Vocabulary | Sizes, device: torch.device, side_by_side: int
) -> int:
    """How many runs of this shape one program may hold. Raises MemoryError where that is none."""
    free = free_memory(device)
    if free is None:
        return 1_000_000
    most = chunk_size(config, device)
    plenty = PLENTY * stacked.memory_bytes(config, 1, vocabulary_size)
    if most is not None and (fit := free // (side_by_side * plenty)) >= most:
        return int(fit)
    one = memory_bytes(config, 1, vocabulary_size, device=device)
    fit = free // (side_by_side * one)
    if fit < 1:
        raise MemoryError(
            f"one run needs about {one / 2**30:.1f} GiB, of which {side_by_side} train side by side, and "
            f"{free / 2**30:.1f} GiB are free; lower num_hiddens, num_steps or batch_size, or set threads=1"
        )
    return int(fit)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on the device; None where the system does not tell."""
    if device.type == "cuda":
        return free_bytes(device)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = defaultdict(int, {line.split(":")[0]: int(line.split()[1]) for line in lines})
    return values["MemAvailable"] * 1024 or None


STREAMS = 4
"""Programs side by side on a GPU: where a small network leaves most of it idle, another one has room. No more than a
guess as yet; `threads` says otherwise."""


def workers(configs: Sequence[Config]) -> int:
    """Programs side by side: `threads`, or one per core, or on a GPU `STREAMS`.

    And one of functions of a person's own: what they share, as generators of random numbers, they share within a
    process.
    """
    if not all(config.task.thing.has_network for config in configs):
        return 1
    on_gpu = resolve_device(configs[0].device).type == "cuda"
    return configs[0].threads or (STREAMS if on_gpu else cores())
