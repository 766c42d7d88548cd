"""Words for people: the help text, made from the comments in `conf/`, and one line for each error of theirs."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ablate.config.composition_errors import composition_line
from ablate.config.errors import UserError
from ablate.config.presets import choices, opening_comment, yaml_line
from ablate.config.schema import CONFIG_ROOT

USAGE = "usage: python -m ablate [knob=value | knob=value,value,… | group=option] …"

SHORT_HELP = f"""\
{USAGE}

  python -m ablate model=gru,lstm num_hiddens=16,32 epochs=100   every pair, 6 seeds each: minutes
  python -m ablate sweeps=smoke                                  a preset: does everything work here?
  python -m ablate.plan sweeps=table12_rnn_num_hiddens           what a preset would take, and what it could tell

python -m ablate --help explains every knob, model, data set and preset."""
"""What the command prints where nothing is asked of it."""

EXAMPLES = """\
  python -m ablate model=gru,lstm num_hiddens=16,32 epochs=100   every pair, 6 seeds each
  python -m ablate model=gru lr=0.5 epochs=100                   one setting
  python -m ablate sweeps=table12_rnn_num_hiddens seeds=6        a preset from sweeps/, with fewer seeds
  python -m ablate -m model=gru,lstm num_hiddens=32,256,1024     hours: see first what ablate.plan says of it
  python -m ablate model=gru,gru-no-reset,gru-no-update seeds=20
  python -m ablate.plan sweeps=table12_rnn_num_hiddens           what that would take, and what it could tell
  python -m ablate.path model=rnn,gru num_hiddens=32,256         from one to the other, the best change first
  python -m ablate sweeps=search_gru                             a search for the best configuration
  python -m ablate hydra/sweeper=optuna 'num_hiddens=choice(32,64)' 'lr=tag(log, interval(0.1, 4))'
  python -m ablate data=text_file data.path=book.txt data.tokens=word
  python -m ablate.report results/NAME                           tables, figures and page again, from the records
  python -m ablate.claims results/NAME                           which published conclusions they confirm or refute"""


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
    for group in ("model", "data", "optimizer", "task", "sweeps"):
        parts += ["", group]
        found = options(group, config_dir)
        width = max(map(len, found))
        # A preset's comment ends with its command, which its name tells here.
        parts += [f"  {name:<{width}}  {comment.split('   ')[0]}" for name, comment in found.items()]
    for title, lines in (*knobs(), *group_knobs()):
        parts += ["", title, *lines]
    parts += ["", "flags", "  -m                 sweep (knobs with several values sweep without it, too)"]
    parts += ["  --cfg job          show the composed configuration", "  --version          show the version"]
    parts += ["  --config-dir DIR   find presets (DIR/sweeps), models (DIR/model) … of one's own there, too"]
    return "\n".join(parts)


def options(group: str, config_dir: Path | None = None) -> dict[str, str]:
    """The files of a config group, each with its opening comment: ours, then a person's own."""
    return {name: opening_comment(path) for name, path in choices(group, config_dir).items()}


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
    """The knobs that models have in common, and those of each task: title and one line per knob."""
    for title, file, prefix, indent in (
        ("every model", CONFIG_ROOT / "conf" / "model" / "rnn.yaml", "model", ""),
        *((f"task={name}", path, "task", "  ") for name, path in choices("task").items()),
    ):
        text = file.read_text(encoding="utf-8")
        entries = re.findall(rf"^{indent}(\w+):\s*(.*?)\s*# (.*)$", text, re.MULTILINE)
        if entries:
            yield title, [f"  {f'{prefix}.{name}={value}':<26} {comment}" for name, value, comment in entries]


def explain(error: Exception) -> str | None:
    """One line for what a person, or the system, can put right; None for an error of this program."""
    if isinstance(error, UserError):
        return str(error)
    if "hydra" in sys.modules:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        # first: some of Hydra's errors are errors of the system, too
        if isinstance(error, HydraException | OmegaConfBaseException):
            return composition_line(error)
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
