"""What a task says of itself, without its code: what it measures, what it is called, what it adds to a report.

Loads no torch: help, validation, analysis and reports read these facts alone. The code of a task, which makes
minibatches and measures, is a class (`ablate.tasks.task.Task`) that the facts name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from ablate.config.errors import ConfigError, listing
from ablate.config.metrics import DEFAULT_METRIC, METRICS, Metric, followed, loss_metrics
from ablate.config.registry import DATASETS, NO_DATA, TASKS, Knob, resolved

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.tasks.task import Task

NO_NETWORK = "none"
"""The network of a task that is no network's: a function of a person's own (`ablate.experiments`)."""

Rule = Callable[[Mapping[str, Any], bool], str | None]
"""A stored config, and whether it is from before rules were recorded → how its held-out data are read."""


@dataclass(frozen=True)
class Words:
    """How a report words what it says about a task. `{unit}` is character, word or token."""

    scored: str = ""
    """What follows the word perplexity, such as `of the answers`; empty for that of a text."""
    answers: str = ""
    """What follows the name of a metric of the task on an axis; `scored` if empty."""
    data: str = "text"
    """What the data are called that are trained on and held out."""
    plural: bool = False
    """Whether that word is a plural: `pairs`."""
    epoch: str = "the last epoch of training"
    held_out: str = "of what is not trained on"
    """What follows "held-out perplexity"; `{where}` is `right after the training's`, or in a file of its own."""
    read: str = "tokens"
    """What is counted if settings read different amounts of data."""
    read_more: str = "some saw more text, or saw it more often"
    samples: str = "Answers"
    """The heading of the examples in a report."""
    sample: str = "an example, and what it answered."
    continues: bool = False
    """Whether what a network writes continues what it was given."""
    unpublished: str = "There are no published numbers for this task: nothing to lay ours beside."

    def were(self) -> str:
        return "were" if self.plural else "was"


@dataclass(frozen=True)
class HeldOut:
    """The knob that says how much is held out, and the least that can be measured; no knob: there is always enough."""

    knob: str = ""
    least: int = 1
    decided_by: tuple[str, ...] = ()
    """The columns of frames that decide what is held out: settings that differ in one are measured on other data."""
    test_knob: str = ""
    """The knob that, if it is not 0, keeps test data beside the held-out ones, by which nothing is chosen."""

    def amount(self, config: Any) -> int | None:
        """What the knob is in a config; None without a knob."""
        return _value(config, self.knob) if self.knob else None

    def too_little(self, config: Any) -> str:
        """The knob, held-out or test, that keeps something which is too little to be measured; empty without one."""
        kept = {knob: _value(config, knob) for knob in (self.knob, self.test_knob) if knob}
        return next((f"{knob}={amount}" for knob, amount in kept.items() if 0 < amount < self.least), "")

    def some(self, config: Any) -> bool:
        """Whether anything is held out that can be measured."""
        amount = self.amount(config)
        return amount is None or amount >= self.least

    def tested(self, config: Mapping[str, Any]) -> bool:
        """Whether runs of a stored config are measured on test data, too."""
        value: Any = config
        for name in self.test_knob.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return bool(value)


def _value(config: Any, knob: str) -> int:
    for name in knob.split("."):
        config = getattr(config, name)
    return int(config)


@dataclass(frozen=True)
class TaskFacts:
    """A task by its name; `implementation` is the class that trains it, or `module:Class`."""

    name: str
    summary: str
    implementation: str | type[Task]
    knobs: tuple[Knob, ...] = ()
    metrics: tuple[str, ...] = ()
    """What is measured of it, beside the course of its loss, whenever held-out data are."""
    final_metrics: tuple[str, ...] = ()
    """What is measured of the trained network alone."""
    main: str = DEFAULT_METRIC
    """What settings are compared by."""
    drawn: tuple[str, ...] | None = None
    """Those of its own metrics that figures show; None: all."""
    reads_text: bool = False
    """Whether it reads a text, of which max_tokens and val_tokens are taken, in the order of `sampling`."""
    has_prefixes: bool = True
    """Whether a person may give texts to try the trained network on."""
    held_out: HeldOut = HeldOut()
    evaluation: Rule | None = None
    """How held-out data are read, where another way would give other numbers."""
    made_anew: bool = False
    """Whether every epoch's data are new: nothing can be memorised, and the training shows what held-out data would."""
    many_questions: bool = False
    """Whether its data sets are different questions, of which no answer is better than another."""
    amount: str = "tokens_per_epoch"
    """The column that says how much an epoch reads."""
    real_inputs: bool = False
    """Whether inputs are real numbers (T, B, features) in the place of tokens (T, B)."""
    network: str = "sequence"
    """The family of networks (`ablate.networks.families`) that computes it."""
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    """Logits (N, outputs) and targets (N,) → the loss (N,) of each target; None: the cross-entropy in nats."""
    disjoint: bool = False
    """Whether no held-out example is among those that are trained on, which `check_task` then checks."""
    brings: Mapping[str, Any] = field(default_factory=dict)
    """Other knobs that choosing it sets, by the names that are typed: `{"optimizer": "adam", "epochs": 100}`."""
    explained: Mapping[str, str] = field(default_factory=dict)
    """Metric → a sentence on what it is here, where its own would not say it."""
    words: Words = Words()
    sections: tuple[Any, ...] = ()
    """What it adds to a report: `ablate.report.sections.Section`, or `module:NAME` of one."""

    @property
    def code(self) -> type[Task]:
        """The class, imported now."""
        kind: type[Task] = resolved(self.implementation)
        return kind

    @property
    def has_network(self) -> bool:
        """Whether there are a model, minibatches and an optimizer of ours: else what is known of them is nothing."""
        return self.network != NO_NETWORK

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the data sets that it can be trained on."""
        return tuple(one.name for one in DATASETS if self.name in one.tasks)

    @property
    def own_metrics(self) -> tuple[str, ...]:
        """The metrics that were made for it, the foremost first; none of a language model, which has its perplexity."""
        first = () if METRICS.known(self.main).of_loss else (self.main,)
        return tuple(dict.fromkeys((*first, *self.final_metrics, *self.metrics)))

    @property
    def drawn_metrics(self) -> tuple[str, ...]:
        return self.own_metrics if self.drawn is None else self.drawn

    @property
    def measured(self) -> tuple[str, ...]:
        """All that a run of it has, in the order of `METRICS`."""
        of_loss = loss_metrics() if self.has_network else ()
        return (*of_loss, *self.metrics, *self.measured_finally)

    @property
    def measured_finally(self) -> tuple[str, ...]:
        """Those of them that no epoch has."""
        follow = (metric.name for metric in followed() if not metric.tasks or self.name in metric.tasks)
        return (*self.final_metrics, *follow)

    def main_of(self, config: Any) -> str:
        """What settings like this one are compared by: the foremost of its metrics that will be measured."""
        measured = (name for name in self.own_metrics if not METRICS[name].held_out or self.held_out.some(config))
        return next(measured, DEFAULT_METRIC)

    def not_held_out(self, metric: str, config: Any) -> str:
        """Why runs of a config cannot measure this metric, which needs held-out data; empty where they can."""
        if metric not in METRICS or not METRICS[metric].held_out or self.held_out.some(config):
            return ""
        knob = self.held_out.knob
        return f"{knob}={self.held_out.amount(config)} holds out no {self.words.data}; raise {knob}"

    def evaluation_rule(self, config: Mapping[str, Any], of_old: bool = False) -> str | None:
        return self.evaluation(config, of_old) if self.evaluation else None

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its knobs."""
        return tuple(knob.name for knob in self.knobs)


def unknown(name: str) -> TaskFacts:
    """What stands for a task whose file isn't loaded: its stored runs can be read and reported, not trained."""
    return TaskFacts(name, "a task that is not loaded", "ablate.tasks.task:Task")


TASKS.unknown = unknown


TOLD = ("title", "better", "unit", "top", "logs")
"""What a record tells of a metric."""


def measures(part: Any) -> dict[str, Any] | None:
    """What a record keeps of a user's task, to be read without its file: which metrics, which of them is the main one,
    and which direction is better; None of a task of ours. `part`: a config's `task`."""
    facts = part.thing
    if part.source is None:
        return None
    names = (*facts.metrics, *facts.final_metrics)
    return {
        "main": facts.main,
        "metrics": list(facts.metrics),
        "final_metrics": list(facts.final_metrics),
        "network": facts.network,
        "of": {name: {fact: getattr(METRICS[name], fact) for fact in TOLD} for name in names},
    }


def recall(record: Mapping[str, Any]) -> None:
    """Let the task of a stored run, and its metrics, be known where its file is not loaded.

    Of a run that is older than `measures` the metrics are those that it has, of which nothing is said to be better.
    """
    stored = record["config"].get("task") or {}
    name, told = str(stored.get("name", "")), record.get("measures")
    if not name or name in TASKS:
        return
    no_network = record["corpus"].get("unit") == NO_DATA
    if told is None:
        if not no_network or not record["metrics"]:
            return
        names = list(record["metrics"])
        told = {"main": names[0], "final_metrics": names, "network": NO_NETWORK}
    of = told.get("of", {})
    for metric in (*told.get("metrics", ()), *told["final_metrics"]):
        facts = {fact: value for fact, value in of.get(metric, {}).items() if fact in TOLD}
        known = {"title": metric.replace("_", " "), "better": "neither"} | facts
        METRICS.remember(Metric(metric, **{"logs": False if no_network else None, **known}), to_choose=True)
    knobs = tuple(Knob(own, type(value), value) for own, value in stored.items() if own != "name")
    metrics, final = tuple(told.get("metrics", ())), tuple(told["final_metrics"])
    words = Words(data="data", read="epochs", unpublished="") if no_network else Words()
    made = TaskFacts(name, "a task that is not loaded", "ablate.tasks.task:Task", knobs, metrics, final, told["main"])
    TASKS.remember(replace(made, network=told["network"], words=words, has_prefixes=not no_network))


TASKS.recalls = recall


@overload
def task(kind: type[Task], /) -> type[Task]: ...


@overload
def task(
    *,
    name: str = ...,
    summary: str = ...,
    data: Sequence[Any] = ...,
    metrics: Sequence[str | Metric] = ...,
    final_metrics: Sequence[str | Metric] = ...,
    main: str = ...,
    **facts: Any,
) -> Callable[[type[Task]], type[Task]]: ...


def task(
    kind: type[Task] | None = None,
    /,
    *,
    name: str = "",
    summary: str = "",
    data: Sequence[Any] = (),
    metrics: Sequence[str | Metric] = (),
    final_metrics: Sequence[str | Metric] = (),
    main: str = DEFAULT_METRIC,
    **facts: Any,
) -> Any:
    """Register the class that follows as a task: `@ablate.task(metrics=["accuracy"], main="accuracy")`.

    By default `name` is that of the class in lower case with underscores, and `summary` the first line of its
    docstring. `data` holds names of data sets or new ones (`ablate.DataSet`); without any, the task has one data set of
    its own name, which its class generates. `metrics` holds names or new ones (`ablate.Metric`). `facts` are the other
    fields of `ablate.tasks.facts.TaskFacts`. Raises ConfigError.
    """

    def register(kind: type[Task]) -> type[Task]:
        from ablate.data.sets import DataSet, serve

        own = name or snake(kind.__name__)
        said = summary or (kind.__doc__ or "").strip().split("\n")[0]
        strange = sorted(set(facts) - set(TaskFacts.__dataclass_fields__))
        if strange:
            known = sorted(TaskFacts.__dataclass_fields__)
            raise ConfigError(f"the task {own} has no {listing(strange)}; choose {listing(known)}")
        for metric in (*metrics, *final_metrics):
            if isinstance(metric, Metric):
                METRICS.add(metric)
        by_name = [[m.name if isinstance(m, Metric) else m for m in some] for some in (metrics, final_metrics)]
        for metric_name in (*by_name[0], *by_name[1], main):
            METRICS[metric_name]  # says what there is, where it is not there
        for metric_name in (*by_name[0], *by_name[1]):
            METRICS.check_column(metric_name)
        made = TaskFacts(
            own, said, kind, metrics=tuple(by_name[0]), final_metrics=tuple(by_name[1]), main=main, **facts
        )
        TASKS.add(made)
        for one in data or [DataSet(own, (own,), summary=said)]:
            if isinstance(one, str):
                serve(one, own)
            else:
                DATASETS.add(one if own in one.tasks else one.serving(own))
        kind.facts = made
        return kind

    return register if kind is None else register(kind)


def snake(name: str) -> str:
    """`WhichFrequency` → `which_frequency`."""
    return "".join(f"_{c.lower()}" if c.isupper() and at else c.lower() for at, c in enumerate(name))
