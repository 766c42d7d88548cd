"""A training function becomes a task: its parameters are knobs, what it returns and reports are metrics. No torch."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import marshal
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from ablate.config.errors import ConfigError, check_function, listing
from ablate.config.metrics import METRICS, Metric
from ablate.config.registry import DATASETS, ORIGIN, TASKS, Knob
from ablate.data.sets import DataSet
from ablate.tasks.facts import NO_NETWORK, HeldOut, TaskFacts, Words

Function = TypeVar("Function", bound=Callable[..., Any])

OF_RUN = ("seed", "report")
"""Parameters that are no knobs: the run's seed, and what is called after each epoch."""
RESERVED = ("seeds", "results_dir", "fresh", "title", "plugins", "sweeps", "experiment")
"""Knobs of every sweep that are typed by the same bare names, and that no function can do without."""
HIGHER = {
    *("accuracy", "acc", "score", "auc", "auroc", "reward", "return", "returns", "f1", "r2", "precision", "recall"),
    *("bleu", "map", "iou", "dice", "psnr", "ssim", "throughput"),
}
"""Words in a metric's name by which more is better, where nobody says so."""
VALUE = "value"
"""The metric of a function that returns one number."""
SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Experiment(TaskFacts):
    """The facts of a task that is a function of a person's own."""

    function: Callable[..., Any] | None = None
    required: tuple[str, ...] = ()
    """Parameters without a default."""

    def check(self, part: Any) -> None:
        """Raise ConfigError where a knob without a default is not given."""
        missing = [name for name in self.required if part.own.get(name) is None]
        if missing:
            give = " ".join(f"{name}=VALUE" for name in missing)
            raise ConfigError(f"{self.name} has no default for {', '.join(missing)}; give {give}")


@overload
def experiment(function: Function) -> Function: ...
@overload
def experiment(
    *,
    name: str = "",
    metrics: Mapping[str, str] | Sequence[str | Metric] = (),
    main: str = "",
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> Callable[[Function], Function]: ...


def experiment(
    function: Any = None,
    *,
    name: str = "",
    metrics: Mapping[str, str] | Sequence[str | Metric] = (),
    main: str = "",
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> Any:
    """Declare a training function that can be swept: `@ablate.experiment(metrics={"accuracy": "higher"})`.

    Its parameters are knobs, with their annotated types and defaults; `Literal["a", "b"]` gives choices, and so does
    `choices`. A parameter of another type keeps its default and is not a knob. `seed` is the run's seed; `report` is
    a function to call after an epoch, `report(epoch, loss=0.3)`. The function returns a dictionary, metric → number
    (or one number); a metric that it does not return has the value that was last reported.

    `metrics` says which metrics there are, and whether lower or higher is better. Without it they are read from the
    source, as the keys of the dictionaries that the function returns and the names that it reports; lower is then
    better, except for names such as accuracy, score, auc or reward. Settings are compared by `main`, by default the
    first metric. If the main metric is not finite at the end, the run has diverged.

    The function itself is not changed. Raises ConfigError, in one line, for what cannot be a knob or a metric.
    """

    def register(one: Function) -> Function:
        declare(one, name, metrics, main, choices or {})
        return one

    return register if function is None else register(function)


def declare(
    function: Callable[..., Any],
    name: str = "",
    metrics: Mapping[str, str] | Sequence[str | Metric] = (),
    main: str = "",
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> Experiment:
    """The task that a function is from now on. Raises ConfigError."""
    check_function(function, "experiment")
    own = name or function.__name__
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{own} is declared by async def; let a plain function call asyncio.run({own}(…))")
    if inspect.isgeneratorfunction(function):
        raise ConfigError(f"{own} yields its values; let it call report(epoch, …) in the place of yield")
    knobs, required = knobs_of_signature(function, own, choices or {})
    source = source_of(function)
    returned, reported = numbers_of(source)
    measured = _metrics(own, metrics or dict.fromkeys((*returned, *reported), ""))
    if not measured:
        raise ConfigError(
            f'cannot tell what {own} measures; let it return {{"loss": …}}, or declare metrics={{"loss": "lower"}}'
        )
    if main and main not in measured:
        raise ConfigError(f"the main metric of {own} is {main!r}; choose {listing(measured)}")
    _replace(own)
    for metric in measured.values():
        if metric.name not in METRICS or metric.name in METRICS.remembered:
            METRICS.add(metric)
    summary = inspect.cleandoc(function.__doc__ or "").split("\n")[0] or "a training function"
    made = Experiment(
        own,
        summary,
        "ablate.experiments.calling:Call",
        knobs=knobs,
        metrics=tuple(one for one in measured if one in reported),
        final_metrics=tuple(one for one in measured if one not in reported),
        main=main or next(iter(measured)),
        has_prefixes=False,
        held_out=HeldOut(),
        network=NO_NETWORK,
        words=Words(data="data", read="epochs", unpublished=""),
        function=function,
        required=required,
    )
    TASKS.add(made)
    DATASETS.add(DataSet(own, (own,), summary=summary, loader="ablate.experiments.calling:nothing"))
    if ORIGIN.get() is None:  # in a notebook, of which there is no file
        content = source.encode() or marshal.dumps(function.__code__)  # of what was typed into an interpreter
        TASKS.origin[own] = hashlib.sha256(content).hexdigest()
    return made


def _replace(name: str) -> None:
    """Take away an experiment of this name where it is made anew in a notebook."""
    if ORIGIN.get() is None and isinstance(TASKS.get(name), Experiment):
        TASKS.remove(name)
        DATASETS.remove(name)


def knobs_of_signature(
    function: Callable[..., Any], own: str, choices: Mapping[str, Sequence[Any]]
) -> tuple[tuple[Knob, ...], tuple[str, ...]]:
    """A knob for each parameter that can be one, and the names of those without a default. Raises ConfigError."""
    try:
        hints = get_type_hints(function)
    except Exception:  # a name that only a type checker knows
        hints = {}
    knobs, required = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in OF_RUN or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        needed = parameter.default is parameter.empty
        hint = hints.get(name, parameter.empty)
        kind, literal = _kind(hint, parameter.default)
        if kind is None:
            if needed:
                said = "no type" if hint is parameter.empty else f"the type {hint}"
                raise ConfigError(
                    f"{own}: its parameter {name} has {said}; a knob is a float, int, bool, str, Literal, or a list of "
                    "one of these; or give it a default, which it keeps"
                )
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY or name in RESERVED:
            why = "every sweep has a knob of that name" if name in RESERVED else "it can be given by place alone"
            raise ConfigError(f"{own}: its parameter {name} cannot be a knob, {why}; give it another form or name")
        if needed:
            required.append(name)
            knobs.append(Knob(name, kind | None, None, choices=tuple(choices.get(name, literal)), any_length=True))
        else:
            default = float(parameter.default) if kind is float else parameter.default
            knobs.append(Knob(name, kind, default, choices=tuple(choices.get(name, literal)), any_length=True))
    strange = sorted(set(choices) - {knob.name for knob in knobs})
    if strange:
        raise ConfigError(f"{own} has no knob {listing(strange)}; choose {listing([knob.name for knob in knobs])}")
    return tuple(knobs), tuple(required)


def _kind(hint: Any, default: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type of a knob for a parameter, and its choices; None for what cannot be one."""
    if hint is inspect.Parameter.empty:
        if type(default) is int:  # `lr=1`: nobody said that it is a whole number
            return int | float, ()
        return (type(default), ()) if type(default) in SCALARS else (None, ())
    if get_origin(hint) is Literal:
        kinds = {type(one) for one in get_args(hint)}
        return (kinds.pop(), get_args(hint)) if len(kinds) == 1 and kinds <= set(SCALARS) else (None, ())
    if get_origin(hint) in (Union, UnionType):
        members = get_args(hint)
        if all(one in (*SCALARS, NoneType) for one in members):
            kind = members[0]
            for one in members[1:]:
                kind = kind | one
            return kind, ()
        return None, ()
    if get_origin(hint) is list and get_args(hint) and get_args(hint)[0] in SCALARS:
        return hint, ()
    return (hint, ()) if hint in SCALARS else (None, ())


def source_of(function: Callable[..., Any]) -> str:
    """The text of a function; empty where there is none."""
    try:
        linecache.checkcache(inspect.getsourcefile(function))
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


def numbers_of(source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of what the text of a function returns, and of what it reports; those that can be read from it."""
    try:
        [definition] = ast.parse(source).body
    except (SyntaxError, ValueError):
        return (), ()
    returned: dict[str, None] = {}
    reported: dict[str, None] = {}
    for node in _own_nodes(ast.iter_child_nodes(definition)):
        if isinstance(node, ast.Return) and node.value is not None:
            returned |= dict.fromkeys(_names(node.value))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "report":
            reported |= dict.fromkeys(
                keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "epoch"
            )
    return tuple(returned), tuple(reported)


def _own_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What a function consists of, without the functions within it."""
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield node
            yield from _own_nodes(ast.iter_child_nodes(node))


def _names(value: ast.expr) -> list[str]:
    if isinstance(value, ast.IfExp):
        return [*_names(value.body), *_names(value.orelse)]
    if isinstance(value, ast.Dict):
        return [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        if value.func.id == "dict":
            return [keyword.arg for keyword in value.keywords if keyword.arg]
        return [VALUE] if value.func.id in ("float", "int") else []
    return [VALUE] if isinstance(value, ast.BinOp) else []


def _metrics(own: str, declared: Mapping[str, str] | Sequence[str | Metric]) -> dict[str, Metric]:
    """Name → metric. Raises ConfigError where one of that name is measured the other way round elsewhere."""
    given = declared if isinstance(declared, Mapping) else dict.fromkeys(declared, "")
    out: dict[str, Metric] = {}
    for one, direction in given.items():
        if isinstance(one, Metric):
            out[one.name] = one
            continue
        METRICS.check_column(one)
        better = direction or ("higher" if HIGHER & set(one.lower().split("_")) else "lower")
        if better not in ("lower", "higher", "neither"):
            raise ConfigError(f"{own}: {one} is better {better!r}; choose lower, higher or neither")
        known = None if one in METRICS.remembered else METRICS.get(one)
        if known is not None and direction and known.better != better:
            raise ConfigError(f"{own}: there is a metric {one}, of which {known.better} is better; take another name")
        out[one] = known or Metric(one, one.replace("_", " "), better, logs=False)
    return out
