"""Words for people: the help text, made from the comments in `conf/`, and one line for each composition error."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import get_type_hints

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException

from ablate.config import CONFIG_ROOT, Config
from ablate.errors import UserError, listing, nearest
from ablate.files import present

PLAIN = re.compile(r"[A-Za-z0-9_/\\+.$%*@?|:,\[\]{}()= -]*")
"""Characters that Hydra reads without quotes: a value of these cannot be read for another reason."""

HOW_TO_WRITE = "write knob=value, in quotes if the value has spaces or brackets"
HELP_HINT = "(python -m ablate --help lists them)"

EXAMPLES = """\
  python -m ablate -m model=gru,lstm num_hiddens=32,256,1024     every pair, 5 seeds each
  python -m ablate model=gru lr=0.5 epochs=100                   one cell
  python -m ablate -m model=gru,gru-no-reset,gru-no-update seeds=20
  python -m ablate sweeps=table12_rnn_num_hiddens seeds=5        a preset from sweeps/, with fewer seeds
  python -m ablate.plan sweeps=table12_rnn_num_hiddens           what that would take, and what it could tell
  python -m ablate.path model=rnn,gru num_hiddens=32,256         from one to the other, the best change first
  python -m ablate sweeps=search_gru                             a search for the best configuration
  python -m ablate hydra/sweeper=optuna 'num_hiddens=choice(32,64)' 'lr=tag(log, interval(0.1, 4))'
  python -m ablate data=text_file data.path=book.txt data.tokens=word
  python -m ablate.report results/NAME                           tables, figures and page again, from the records
  python -m ablate.claims results/NAME                           which published conclusions they confirm or refute"""


def help_text() -> str:
    """What `--help` prints."""
    parts = [
        "usage: python -m ablate [-m] [knob=value | knob=value,value,… | group=option] …",
        "",
        "Trains recurrent networks over every combination of the given values, several seeds each, and",
        "tells which matters, by how much. Type the same command again: only what is missing runs.",
        "",
        "examples",
        EXAMPLES,
    ]
    for group in ("model", "data", "optimizer", "task", "sweeps"):
        parts += ["", group]
        found = options(group)
        width = max(map(len, found))
        # A preset's comment ends with its command, which its name tells here.
        parts += [f"  {name:<{width}}  {comment.split('   ')[0]}" for name, comment in found.items()]
    for title, lines in (*knobs(), *group_knobs()):
        parts += ["", title, *lines]
    parts += ["", "flags", "  -m            sweep (knobs with several values sweep without it, too)"]
    parts += ["  --cfg job     show the composed configuration", "  --version     show the version"]
    return "\n".join(parts)


def question(preset: str) -> str | None:
    """The question that a preset's file opens with, without its command; None for a file that asks nothing."""
    for folder in (CONFIG_ROOT / "sweeps", Path.cwd() / "sweeps"):
        path = folder / f"{preset}.yaml"
        if present(path) == "file":
            return opening_comment(path).partition("python -m ablate")[0].strip() or None
    return None


def opening_comment(path: Path) -> str:
    """The first line of comment in a file of conf/ or sweeps/, or nothing."""
    comments = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return next((comment for comment in comments if not comment.startswith("@package")), "")


def options(group: str) -> dict[str, str]:
    """The files of a config group, each with its opening comment."""
    folder = CONFIG_ROOT / (group if group == "sweeps" else f"conf/{group}")
    return {path.stem: opening_comment(path) for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


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
        ("every model", "model/rnn", "model", ""),
        *((f"task={name}", f"task/{name}", "task", "  ") for name in options("task")),
    ):
        text = (CONFIG_ROOT / "conf" / f"{file}.yaml").read_text(encoding="utf-8")
        entries = re.findall(rf"^{indent}(\w+):\s*(.*?)\s*# (.*)$", text, re.MULTILINE)
        if entries:
            yield title, [f"  {f'{prefix}.{name}={value}':<26} {comment}" for name, value, comment in entries]


@cache
def known_knobs() -> tuple[str, ...]:
    """Every key that an override may name."""
    return ("sweeps", *_keys(Config, ""))


def _keys(kind: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    for f in fields(kind):
        yield prefix + f.name
        if is_dataclass(hints[f.name]):
            yield from _keys(hints[f.name], f"{prefix}{f.name}.")


def explain(error: Exception, arguments: Sequence[str]) -> str:
    """One line for whatever went wrong between the command line and the first run."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, value = str(error.missing_cfg_file).rpartition("/")
        return f"{group} is {value!r}; choose {listing(error.options)}{nearest(value, error.options)}"
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; {_how_to_write(str(error.override))}"
    if isinstance(error, ConfigCompositionException):
        return _composition(error, arguments)
    return str(error).splitlines()[0]


def _how_to_write(override: str) -> str:
    """`write prefixes='["Zürich"]'`: the same value in quotes, for the shell and for Hydra, where that is readable."""
    key, _, value = override.partition("=")
    if not value or PLAIN.fullmatch(value):
        return HOW_TO_WRITE
    several = re.fullmatch(r"\[(.*)\]", value)
    if not several and value[0] in "[{(":
        return HOW_TO_WRITE
    parts = [part.strip().strip("\"'") for part in several[1].split(",")] if several else [value.strip("\"'")]
    quoted = ",".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
    return f"write {key}={shlex.quote(f'[{quoted}]' if several else quoted)}"


def _composition(error: ConfigCompositionException, arguments: Sequence[str]) -> str:
    """What Hydra could not compose: an unknown knob, a `+` too many or too few, a value of the wrong type."""
    unknown = _unknown_knob(arguments)
    if unknown:
        return f"there is no knob {unknown!r}{nearest(unknown, known_knobs())} {HELP_HINT}"
    message = str(error).splitlines()[0]
    unchosen = re.match(r"You must specify '([^']+)'", message)
    if unchosen:
        return f"{unchosen[1]} has no value; choose {listing(options(unchosen[1]))}"
    appended = re.search(r"An item is already at '([^']+)'", message)
    if appended:
        return f"{appended[1]} is there already; write {appended[1]}=VALUE, without +"
    gate = re.search(r"'(model\.gates\.\w+)'", message)
    if gate:
        return f"this model fixes no gate of that name; write +{gate[1]}=VALUE to fix it"
    return (_wrong_type(error.__cause__, error) if error.__cause__ else "") or message


def _unknown_knob(arguments: Sequence[str]) -> str:
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if "=" in argument and not key.startswith(("hydra", "-", "model.gates.")) and key not in known_knobs():
            return key
    return ""


def _wrong_type(cause: BaseException, error: Exception) -> str:
    """`lr is 'abc'; it must be a number`, from OmegaConf's message."""
    override = re.search(r"Error merging override (\S+)=(.*)", str(error))
    kinds = r"could not be converted to (\w+)|is not a valid (bool)|(Incompatible value 'None'|Optional)"
    kind = re.search(kinds, str(cause))
    if not override or not kind:
        return ""
    words = {"Integer": "a whole number", "Float": "a number", "bool": "true or false", "Boolean": "true or false"}
    must = "given (null is not possible)" if kind[3] else words.get(kind[1] or kind[2], "a text")
    return f"{override[1]} is {override[2]!r}; it must be {must}"
