"""Words for people: the help text, made from the comments in `conf/`, and one line for each error of theirs."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.config.choice_files import summaries
from ablate.config.choices import BASE_MODEL
from ablate.config.composition_errors import composition_line
from ablate.config.errors import UserError, is_out_of_memory, listing, memory_reason, os_reason, own_line, reason
from ablate.config.knobs import GROUPS
from ablate.config.metrics import METRICS
from ablate.config.registry import OF_GROUP, Knob, knobs_of
from ablate.config.schema import CONFIG_ROOT
from ablate.config.yaml_nodes import yaml_line
from ablate.experiments.declaring import Experiment

USAGE = "usage: ablate [run] [knob=value | knob=value,value,… | knob:knob=value:value,… | group=option] …"

EXAMPLES = """\
  ablate model=gru,lstm num_hiddens=16,32 epochs=100   every pair, 6 seeds each
  ablate model=gru lr=0.5 epochs=100                   one setting
  ablate sweeps=table12_rnn_num_hiddens seeds=6        a preset from sweeps/, with fewer seeds
  ablate sweeps=init,forget_bias                       two presets, one after the other, each with its report
  ablate -m model=gru,lstm num_hiddens=32,256,1024     this takes hours: ask ablate plan first
  ablate num_hiddens:lr=32:1,256:0.5                   two knobs that change together: 32 with 1, 256 with 0.5
  ablate model=gru,gru-no-reset,gru-no-update seeds=20
  ablate data=text_file data.path=book.txt data.tokens=word
  ablate experiment=train.py:train lr=0.1,0.01 seeds=5 any function of your own; --help lists its knobs"""


def help_text(config_dir: Path | None = None) -> str:
    """What `--help` prints; a person's own presets, models and the like are in it."""
    parts = [
        USAGE,
        "",
        "Trains recurrent networks with every combination of the given values, several seeds each, and",
        "reports which values matter, and by how much. If the same command is given again, only missing",
        "runs are trained.",
        "",
        "examples",
        EXAMPLES,
    ]
    for group in GROUPS:
        parts += ["", group]
        found = summaries(group, config_dir)
        width = max(map(len, found))
        # A preset's comment ends with its command, which its name tells here.
        parts += [f"  {name:<{width}}  {comment.split('   ')[0]}" for name, comment in found.items()]
    for title, lines in (*knobs(), *group_knobs()):
        parts += ["", title, *lines]
    parts += ["", "flags", "  -m                 sweep (not needed: knobs with several values sweep without it)"]
    parts += ["  --cfg job          show the composed configuration"]
    parts += ["  --info [WHAT]      show how it is composed: config, defaults, defaults-tree, plugins, searchpath"]
    parts += ["  --detach           with hydra/launcher=slurm: submit and return; the same command later collects"]
    parts += ["  --config-dir DIR   find presets (DIR/sweeps), models (DIR/model) … of your own there, too"]
    parts += ["", "ablate --help lists the other commands: plan, report, search …"]
    return "\n".join(parts)


def help_on(experiment: Experiment, reference: str) -> str:
    """What `experiment=FILE:FUNCTION --help` prints: what the function does, its knobs, what it measures."""
    shown = [
        (f"{knob.name}={'VALUE' if knob.name in experiment.required else typed(knob.default)}", knob_help(knob))
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
            lines = [
                f"  {f'{group}.{knob.name}={typed(knob.default)}':<26} {knob_help(knob)}" for knob in knobs_of(thing)
            ]
            if lines:
                yield f"{group}={thing.name}", lines


def knob_help(knob: Knob) -> str:
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
    if own_line(error):  # of a person's own code, whatever it raises
        return reason(error)
    if "hydra" in sys.modules:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        # first: some of Hydra's errors are errors of the system, too
        if isinstance(error, HydraException | OmegaConfBaseException):
            return composition_line(error)
    if isinstance(error, OSError):
        return os_reason(error)
    if is_out_of_memory(error):
        return memory_reason(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of Path.home and expanduser
        return f"{str(error).rstrip('.')}; set HOME, or write the whole path"
    if "yaml" in sys.modules:
        from yaml import YAMLError

        if isinstance(error, YAMLError):
            return yaml_line(error)
    return None
