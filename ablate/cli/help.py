"""Words for people: the help text, made from the comments in `conf/`, and one line for each error of theirs."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.config.choices import BASE_MODEL
from ablate.config.errors import UserError, listing, nearest
from ablate.config.metrics import METRICS
from ablate.config.overrides import GROUPS, Override, can_be_swept, quote
from ablate.config.overrides import knobs as all_knobs
from ablate.config.presets import summaries, yaml_line
from ablate.config.registry import OF_GROUP, Knob, knobs_of
from ablate.config.schema import CONFIG_ROOT
from ablate.config.shell import shell_line
from ablate.experiments.declaring import Experiment

USAGE = "usage: ablate [run] [knob=value | knob=value,value,… | knob:knob=value:value,… | group=option] …"

EXAMPLES = """\
  ablate model=gru,lstm num_hiddens=16,32 epochs=100   every pair, 6 seeds each
  ablate model=gru lr=0.5 epochs=100                   one setting
  ablate sweeps=table12_rnn_num_hiddens seeds=6        a preset from sweeps/, with fewer seeds
  ablate sweeps=init,forget_bias                       two, one after the other, each with its own report
  ablate -m model=gru,lstm num_hiddens=32,256,1024     hours: see first what ablate plan says of it
  ablate num_hiddens:lr=32:1,256:0.5                   two knobs that change together: 32 with 1, 256 with 0.5
  ablate model=gru,gru-no-reset,gru-no-update seeds=20
  ablate data=text_file data.path=book.txt data.tokens=word
  ablate experiment=train.py:train lr=0.1,0.01 seeds=5 any function of your own; with --help its knobs"""


def help_text(config_dir: Path | None = None) -> str:
    """What `--help` prints; a person's own presets, models and the like are in it."""
    parts = [
        USAGE,
        "",
        "Trains recurrent networks over every combination of the given values, several seeds each, and",
        "tells which matters, by how much. Type the same command again: only what is missing runs.",
        "",
        "examples",
        EXAMPLES,
    ]
    for group in GROUPS:
        parts += ["", group]
        found = options(group, config_dir)
        width = max(map(len, found))
        # A preset's comment ends with its command, which its name tells here.
        parts += [f"  {name:<{width}}  {comment.split('   ')[0]}" for name, comment in found.items()]
    for title, lines in (*knobs(), *group_knobs()):
        parts += ["", title, *lines]
    parts += ["", "flags", "  -m                 sweep (knobs with several values sweep without it, too)"]
    parts += ["  --cfg job          show the composed configuration"]
    parts += ["  --info [WHAT]      show how it is composed: config, defaults, defaults-tree, plugins, searchpath"]
    parts += ["  --config-dir DIR   find presets (DIR/sweeps), models (DIR/model) … of one's own there, too"]
    parts += ["", "ablate --help lists the other commands: plan, report, search …"]
    return "\n".join(parts)


def help_on(experiment: Experiment, reference: str) -> str:
    """What `experiment=FILE:FUNCTION --help` prints: what the function does, its knobs, what it measures."""
    shown = [
        (f"{knob.name}={'VALUE' if knob.name in experiment.required else typed(knob.default)}", told(knob))
        for knob in experiment.knobs
    ]
    width = max((len(name) for name, _ in shown), default=0)
    better = [f"{name} ({METRICS[name].better} is better)" for name in experiment.own_metrics]
    return "\n".join(
        [
            f"usage: ablate [run] experiment={reference} [knob=value | knob=value,value,…] … [seeds=N] [name=NAME]",
            "",
            f"{experiment.name}: {experiment.summary}",
            "",
            *(["knobs", *(f"  {name:<{width}}  {said}".rstrip() for name, said in shown), ""] if shown else []),
            f"It measures {', '.join(better)}; settings are compared by {experiment.main}.",
            "",
            "Of the knobs of every sweep it takes seeds, seed, name, title, results_dir, fresh; see ablate run --help.",
        ]
    )


def options(group: str, config_dir: Path | None = None) -> dict[str, str]:
    """The choices of a config group, each with a line on what it is: ours, then a person's own."""
    return summaries(group, config_dir)


def knobs() -> Iterator[tuple[str, list[str]]]:
    """The sections of conf/config.yaml: title and one line per knob."""
    title, lines = "", list[str]()
    for line in (CONFIG_ROOT / "conf" / "config.yaml").read_text(encoding="utf-8").splitlines():
        section = re.match(r"# --- (.*) ---", line)
        entry = re.match(r"(\w+):\s*(.*?)\s*# (.*)", line)
        if section:
            if lines:
                yield title, lines
            title, lines = section[1], []
        elif entry and title:
            lines.append(f"  {entry[1] + '=' + entry[2]:<22} {entry[3]}")
    yield title, lines


def group_knobs() -> Iterator[tuple[str, list[str]]]:
    """The knobs that models have in common, and those of each cell, task, …: title and one line per knob."""
    text = (CONFIG_ROOT / "conf" / "model" / f"{BASE_MODEL}.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"^(\w+):\s*(.*?)\s*# (.*)$", text, re.MULTILINE)
    yield "every model", [f"  {f'model.{name}={value}':<26} {comment}" for name, value, comment in entries]
    for group, registry in OF_GROUP.items():
        for thing in registry:
            lines = [f"  {f'{group}.{knob.name}={typed(knob.default)}':<26} {told(knob)}" for knob in knobs_of(thing)]
            if lines:
                yield f"{group}={thing.name}", lines


def told(knob: Knob) -> str:
    """What a thing says of a knob of its own, with its choices."""
    choices = f"{listing(map(str, knob.choices))}" if knob.choices else ""
    return f"{knob.help}: {choices}" if knob.help and choices else knob.help or choices


def typed(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def explain(error: Exception) -> str | None:
    """One line for what a person, or the system, can put right; None for an error of this program."""
    if isinstance(error, UserError):
        return str(error)
    if "hydra" in sys.modules:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        # first: some of Hydra's errors are errors of the system, too
        if isinstance(error, HydraException | OmegaConfBaseException):
            return _of_hydra(error)
    if isinstance(error, OSError):
        return system_line(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of Path.home and expanduser
        return f"{str(error).rstrip('.')}; set HOME, or write the whole path"
    if "yaml" in sys.modules:
        from yaml import YAMLError

        if isinstance(error, YAMLError):
            return yaml_line(error)
    return None


def system_line(error: OSError) -> str:
    """What the system did not allow, and with which file: `results/x: Permission denied`."""
    said = error.strerror or str(error) or type(error).__name__
    names = [_shortened(str(name)) for name in (error.filename, error.filename2) if name is not None]
    remedy = "; give a shorter name=NAME or results_dir=FOLDER" if said == "File name too long" else ""
    return f"{' and '.join(names)}: {said}{remedy}" if names else said


def _shortened(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:150]}…{name[-40:]}"


def _of_hydra(error: Exception) -> str:
    """What Hydra or OmegaConf could not compose."""
    from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException

    cause = error.__cause__
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    if cause is not None:
        return str(cause)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, value = str(error.missing_cfg_file).rpartition("/")
        return f"{group} is {value!r}; choose {listing(error.options)}{nearest(value, error.options)}"
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; {_how_to_write(str(error.override))}"
    if isinstance(error, ConfigCompositionException):
        return _composition(error)
    return _first_lines(error)


def _first_lines(error: Exception) -> str:
    """A message in one line: with what stands behind a colon at the end of its first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    return " ".join(lines[:2]) if said.endswith(":") else said


def _how_to_write(word: str) -> str:
    """The same value as one text, for the shell and for Hydra, where the knob takes a text; else what it takes."""
    override = Override.read(word)
    knob = all_knobs().get(override.key)
    if knob is not None and knob.is_text and override.value:
        return f"write {shell_line(f'{override.key}={quote(override.value)}')}"
    return "write knob=value or knob=value,value; a list in brackets, [a,b], a text in quotes"


def _composition(error: Exception) -> str:
    """What Hydra could not compose: a group without a choice, or a value of the wrong type."""
    message = _first_lines(error)
    unchosen = re.match(r"You must specify '([^']+)'", message)
    if unchosen:
        return f"{unchosen[1]} has no value; choose {listing(options(unchosen[1]))}"
    several = re.match(r"Ambiguous value for argument '([^=]+)=(.*)'", message)
    if several:
        return f"{several[1]} has several values, {several[2]}, and one configuration is shown; give one"
    return _wrong_type(error) or message


def _wrong_type(error: Exception) -> str:
    """`lr is 'abc'; it must be a number`, from OmegaConf's message; with the file where a file says so."""
    file = re.match(r"In '([^']+)': \w+ raised while composing config:\nValue '(.*)' of type.*", str(error))
    key = re.search(r"full_key: (\S+)", str(error))
    if file and key:
        where, value, cause = f"{file[1]}.yaml: {key[1]}", file[2], file[0]
        if value.startswith("[") and key[1] in all_knobs() and can_be_swept(key[1]):
            return f'{where} is {value}; several values are swept below hydra.sweeper.params: {key[1]}: "{value[1:-1]}"'
    elif override := re.search(r"Error merging override [+~]*(\S+)=(.*)", str(error)):
        where, value, cause = override[1], override[2], str(error.__cause__ or "")
    else:
        return ""
    kinds = r"could not be converted to (\w+)|is not a valid (bool)|(Incompatible value 'None'|Optional)"
    kind = re.search(kinds, cause)
    if not kind:
        return ""
    words = {"Integer": "a whole number", "Float": "a number", "bool": "true or false", "Boolean": "true or false"}
    must = "given (null is not possible)" if kind[3] else words.get(kind[1] or kind[2], "a text")
    return f"{where} is {value!r}; it must be {must}"
