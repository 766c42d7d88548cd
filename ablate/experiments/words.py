"""`experiment=train.py:train lr=0.1,0.01 seeds=5`: the words of a command about a function of a person's own.

The file is loaded as one of `plugins`, the function chosen as the task, and a bare name is the function's own knob,
also where a knob of ours is called the same. Any other knob of ours has no meaning without a network of ours.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ablate.config import plugins, presets
from ablate.config.choice_files import typed_as
from ablate.config.errors import UserError
from ablate.config.knobs import condition_names, no_knob_of
from ablate.config.overrides import Override, plugin_files
from ablate.config.preset_experiments import sets_objective
from ablate.config.quoting import quote, unquote
from ablate.config.registry import TASKS
from ablate.experiments.declaring import OF_RUN, Experiment, declare

KEY = "experiment"
SWEEPER, OBJECTIVE = "hydra/sweeper", "hydra.sweeper.objective"
"""Where a search is asked for, and what is searched for: here the experiment's main metric, if nothing else."""
OF_SWEEP = ("seeds", "seed", "name", "title", "results_dir", "fresh", "plugins", "sweeps", "report")
"""Knobs of ours that mean something for any function."""
CONDITIONS = "hydra.sweeper.conditions."
BELOW = ("hydra.sweeper.params.", CONDITIONS, "hydra.sweeper.baseline.")
"""Options of a search that name a knob."""


def translated(words: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """The same words without `experiment=`; as they are where there is none. What it names is loaded.

    Where the preset names the experiment, in `config_dir` or elsewhere, a bare name is a knob of its function, too.
    Raises UserError, one line, for a file or function that is not there and for what the function has no knob for.
    """
    read = [Override.read(word) for word in words]
    given = [word for word in read if word.key == KEY]
    if not given:
        preset = presets.of_words(words, config_dir)
        reference = None if preset is None else presets.experiment_of(preset)
        if preset is None or reference is None:
            return list(words)
        facts = chosen(reference)
        return list(map(str, _completed(read, facts, searched_for=sets_objective(preset))))
    if len(given) > 1 or given[0].sign or not given[0].value:
        raise UserError(f"{KEY} is given {len(given)} times or without a value; write {KEY}=FILE.py:FUNCTION")
    if typed := next((word for word in read if word.key == "task"), None):
        raise UserError(f"{KEY}={given[0].value} is the task of this sweep; leave out {typed}")
    reference = unquote(given[0].value.strip())
    facts = chosen(reference)
    files = [*(file for file in plugin_files(read) if file != reference), reference]
    out = _completed([word for word in read if word.key not in (KEY, "plugins")], facts)
    return [f"plugins=[{','.join(map(quote, files))}]", f"task={facts.name}", *map(str, out)]


def _completed(words: Sequence[Override], facts: Experiment, searched_for: bool = False) -> list[Override]:
    """The words with each knob by its full name; a search that is not `searched_for` anything has the main metric."""
    own = [knob.name for knob in facts.knobs]
    out = [_of(word, own, facts.name) for word in words]
    keys = {word.key for word in out}
    if SWEEPER in keys and OBJECTIVE not in keys and not searched_for:
        out.append(Override("", OBJECTIVE, facts.main))
    return out


def about(function: Callable[..., Any], words: Sequence[str]) -> list[str]:
    """The words of a sweep over a function that Python has at hand, an experiment by itself if it is none yet.

    Raises UserError as `translated`.
    """
    known = next((one for one in TASKS if getattr(one, "function", None) is function), None)
    facts = declare(function) if known is None else known
    own = [knob.name for knob in facts.knobs]
    return [f"task={facts.name}", *(str(_of(Override.read(word), own, facts.name)) for word in words)]


def named_in(words: Sequence[str]) -> str | None:
    """What `experiment=` names among these words."""
    given = [word.value for word in map(Override.read, words) if word.key == KEY]
    return unquote(given[0].strip()) if given and given[0] else None


def chosen(reference: str) -> Experiment:
    """The experiment that `train.py:train` names, loaded now."""
    file, function = plugins.apart(reference)
    if function is None:
        raise UserError(f"{KEY} is {reference!r}; write {KEY}=FILE.py:FUNCTION{typed_as(reference)}")
    plugins.load([reference])
    facts = plugins.named(file, function)
    assert isinstance(facts, Experiment)
    return facts


def _of(word: Override, own: Sequence[str], experiment: str) -> Override:
    """A word with each knob by its full name."""
    if word.is_zipped:
        keys = ":".join(full_name(name, own, experiment) for name in word.knobs)
        return Override(word.sign, keys, word.value)
    return Override(word.sign, full_name(word.key, own, experiment), word.value)


def full_name(key: str, own: Sequence[str], experiment: str) -> str:
    """A knob by the name that Hydra knows, `task.lr` of `lr`. Raises UserError for what the experiment has not."""
    below = next((start for start in BELOW if key.startswith(start)), "")
    name = key.removeprefix(below)
    if name in own:
        return f"{below}task.{name}"
    if below == CONDITIONS and (pair := condition_names(name, lambda one: one.removeprefix("task.") in own)):
        return below + ".".join(f"task.{one.removeprefix('task.')}" for one in pair)
    if name.removeprefix("task.") in own or name in OF_SWEEP or (not below and name.startswith("hydra")):
        return key
    raise UserError(no_knob_of(experiment, name, own))


def functions(file: Path) -> dict[str, list[str]]:
    """The functions of a file with the names of their parameters, as far as they can be knobs; nothing of it runs."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {
        one.name: [argument.arg for argument in (*one.args.args, *one.args.kwonlyargs) if argument.arg not in OF_RUN]
        for one in tree.body
        if isinstance(one, ast.FunctionDef)
    }
