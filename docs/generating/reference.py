"""The reference: every command, knob, model, task, data set, optimizer, preset and launcher, as the package has it."""

import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import yaml

from ablate.cli.commands import commands, overview
from ablate.cli.help import group_knobs, knob_help, typed
from ablate.config.choice_files import choices, opening_comment, question, summaries
from ablate.config.knobs import NamedKnob, knobs, type_in_words
from ablate.config.launchers import LOCAL, launchers
from ablate.config.metrics import METRICS, Metric
from ablate.config.registry import CELLS, DATASETS, OPTIMIZERS, SCHEDULES, TASKS, knobs_of
from ablate.config.schema import CONFIG_ROOT
from generating.sweeps import folders, preset_of
from generating.tables import code, table, words

CONF = CONFIG_ROOT / "conf"
WIDTH = "100"
"""Columns of the commands' help."""


def commands_page() -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH  # which argparse reads
    try:
        helps = {name: command.help([]).rstrip() for name, command in commands().items()}
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    parts = ["# Commands\n", "What `ablate --help` and `ablate COMMAND --help` print.\n", fenced(overview())]
    for name, command in commands().items():
        parts.append(f"\n## ablate {name}\n\n{sentence(command.summary)}\n")
        if name == "run":
            parts.append("Its help lists every knob, model, data set and preset: see [Knobs](knobs.md).\n")
            helps[name] = helps[name].partition("\n\nmodel\n")[0]
        parts.append(fenced(helps[name]))
    return "\n".join(parts)


def knobs_page() -> str:
    parts = [
        "# Knobs\n",
        "These are the knobs of every setting. A knob is given as `num_hiddens=32`, several values as "
        "`num_hiddens=32,64`. The column *other run* says whether another value makes another run. A knob for which it "
        "says no, such as the number of threads, is not part of a run's [identity](../explanation/identity.md) and "
        "cannot be swept. *One program* means that runs with different values can train together as one program. "
        "The knobs of single [models](cells.md), [tasks](tasks.md), [data sets](data.md), "
        "[optimizers and schedules](optimizers.md) are listed with these.\n",
    ]
    every = knobs()
    for title, entries in sections():
        rows = [(code(f"{name}={default}"), words(said), *facts(every[name])) for name, default, said in entries]
        parts += [f"\n## {title[:1].upper()}{title[1:]}\n", table(("knob", "what it is", "values", "other run"), rows)]
    parts += [
        "\n## Groups\n",
        "`model=`, `task=`, `data=`, `optimizer=` and `schedule=` choose a thing by its name; `sweeps=` a "
        "[preset](presets.md), `hydra/launcher=` a [launcher](launchers.md), `hydra/sweeper=optuna` a search.\n",
    ]
    return "\n".join(parts)


def sections() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The sections of conf/config.yaml: title, and of each knob name, default as it is typed, and comment."""
    defaults = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    title, entries = "", list[tuple[str, str, str]]()
    for line in (CONF / "config.yaml").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"# --- (.*) ---", line):
            if entries:
                yield title, entries
            title, entries = found[1], []
        elif title and (found := re.match(r"(\w+):\s*(.*?)\s*# (.*)", line)):
            entries.append((found[1], found[2] or typed(defaults[found[1]]), found[3]))
    yield title, entries


def facts(knob: NamedKnob) -> tuple[str, str]:
    """The values that a knob may have, and whether it decides."""
    facts = knob.metadata
    bounds = [
        f"{side} {facts[name]:g}"
        for name, side in (("minimum", "from"), ("above", "above"), ("below", "below"))
        if name in facts
    ]
    values = ", ".join(map(code, facts["choices"])) if "choices" in facts else type_in_words(knob.kind)
    if type(None) in get_args(knob.kind) and (bounds or "choices" in facts):  # which limit the numbers, and not null
        values = " ".join([values.removesuffix(" or null"), *bounds]) + ", or null"
    else:
        values = " ".join([values, *bounds])
    decides = "no" if not knob.decides else "yes; one program" if facts.get("per_replica") else "yes"
    if "through" in facts:
        decides += f" (through {facts['through']})"
    return values, decides


def cells_page() -> str:
    parts = [
        "# Models and cells\n",
        "`model=NAME` chooses a model: a cell, possibly with a change such as a gate that is held at a constant. The "
        "equations below are the code from which every engine is derived ([how](../engines.md)). `x.update` is "
        "X W<sub>x</sub> + b of the gate *update*, `h` the state, and `W.update` the recurrent matrix of the gate. "
        "`gate` is the sigmoid σ, or a constant if a model holds the gate; `candidate` is the activation. "
        "[The whole notation](../cells.md).\n",
        "## Models\n",
        table(("`model=`", "what it is", "file"), model_rows()),
        "\n## Knobs of every model\n",
        table(("knob", "what it is"), [(code(name), words(said)) for name, said in base_model()]),
    ]
    for cell in CELLS:
        parts += [f"\n## {cell.name}\n", f"{cell.summary}. *{cell.source}.*\n", fenced(equations(cell), "python")]
        gates = ", ".join(f"`model.gates.{gate}`" for gate in cell.gates) or "none"
        parts.append(
            f"States: {', '.join(map(code, cell.plain.structure.state_names))}. Gates that can be held: {gates}.\n"
        )
        parts.append(f"torch.nn has it as `{cell.torch_nn}`.\n" if cell.torch_nn else "torch.nn does not have it.\n")
        parts += own_knobs("model", cell)
    return "\n".join(parts)


def model_rows() -> Iterator[tuple[str, str, str]]:
    files = choices("model")
    for name, said in summaries("model").items():
        yield code(name), said, code(f"conf/model/{name}.yaml") if name in files else "the cell as it is"


def base_model() -> list[tuple[str, str]]:
    title, lines = next(iter(group_knobs()))
    assert title == "every model"
    return [tuple(re.split(r"\s{2,}|(?<=\})\s", line.strip(), maxsplit=1)) for line in lines]  # type: ignore[misc]


def equations(cell: object) -> str:
    """The function of a cell, without its decorator."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(cell.equations)))  # type: ignore[attr-defined]
    return source[source.index("def ") :].rstrip()


def own_knobs(group: str, thing: object) -> list[str]:
    rows = [(code(f"{group}.{knob.name}={typed(knob.default)}"), words(knob_help(knob))) for knob in knobs_of(thing)]
    return [table(("knob", "what it is"), rows)] if rows else []


def tasks_page() -> str:
    parts = [
        "# Tasks and metrics\n",
        "`task=NAME` says what the network is trained to do. A task has defaults of its own for some knobs, as "
        "published or usual; values that you give replace them. [How to write one](../tasks-and-metrics.md).\n",
    ]
    for task in TASKS:
        data = ", ".join(code(one.name) for one in DATASETS if task.name in one.tasks)
        parts += [f"\n## {task.name}\n", f"{words(sentence(task.summary))} Data: {data}.\n"]
        main = METRICS[task.main].title if task.main else METRICS["tail_perplexity"].title
        parts.append(f"Settings are compared by {main}.\n")
        parts += own_knobs("task", task)
        preset = yaml.safe_load((CONF / "task" / f"{task.name}.yaml").read_text(encoding="utf-8"))
        chosen = [entry for entry in preset.get("defaults", []) if isinstance(entry, dict)]
        brings = {key.removeprefix("override /"): value for entry in chosen for key, value in entry.items()}
        brings |= {key: value for key, value in preset.items() if key not in ("task", "defaults", "name")}
        if brings:
            given = ", ".join(code(f"{key}={typed(value)}") for key, value in brings.items())
            parts.append(f"Its defaults for other knobs: {given}.\n")
    rows = [(code(m.name), m.title, m.better, averaged(m), uses(m), meaning(m)) for m in METRICS]
    columns = ("metric", "title", "better", "averaged and compared", "for", "what it is")
    parts += ["\n## Metrics\n", table(columns, rows), TAIL]
    return "\n".join(parts)


TAIL = """
The *tail* perplexity is the geometric mean over the last 5 % of the epochs, at least one: at a large learning rate a
single epoch can spike by a third and recover at once. It is what language models are compared by unless another metric
is named.
"""


def meaning(metric: Metric) -> str:
    """What it is; of a note of a table, which begins with the heading of a column, the rest."""
    return words(metric.meaning or metric.explained.partition(": ")[2].rstrip("."))


def averaged(metric: Metric) -> str:
    return "geometric mean, ratios" if metric.in_logs else "arithmetic mean, differences"


def uses(metric: Metric) -> str:
    """What a metric may be used for."""
    may = ["claims"] * metric.claimable + ["searches"] * (metric.searchable and metric.better != "neither")
    return ", ".join(may) or "reading"


def data_page() -> str:
    rows = []
    for data in DATASETS:
        known = CONF / "data" / f"{data.name}.yaml"
        options_ = yaml.safe_load(known.read_text(encoding="utf-8")) if known.is_file() else {}
        sha = options_.get("sha256")
        origin = (data.size or "–", data.origin or "–", data.licence or "–", code(sha) if sha else "–")
        rows.append((code(data.name), words(data.summary), ", ".join(map(code, data.tasks)), *origin))
    columns = ("`data=`", "what it is", "tasks", "size", "source", "licence", "SHA-256 of the file")
    parts = [
        "# Data sets\n",
        "A data set is downloaded when it is first used, verified by its SHA-256, and kept in the folder that "
        "`ABLATE_DATA_DIR` names, by default `~/.cache/ablate`. Data that are generated need no file. "
        "`data=text_file data.path=FILE` reads any UTF-8 text, `data=pair_file data.path=FILE` any sentence pairs.\n",
        table(columns, rows),
        "\n## Knobs of a text\n",
        "With the defaults of `data=text_file`; those of other texts are in `conf/data`.\n",
        table(("knob", "what it is"), explained(CONF / "data" / "text_file.yaml", "data.")),
    ]
    for data in DATASETS:
        if own := own_knobs("data", data):
            parts += [f"\n## Knobs of data={data.name}\n", *own]
    return "\n".join(parts)


def explained(path: Path, prefix: str = "") -> list[tuple[str, str]]:
    """What a file of the configuration says of its knobs."""
    found = re.findall(r"^(\w+):\s*(.*?)\s*# (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [(code(f"{prefix}{name}={default}"), words(said)) for name, default, said in found]


def optimizers_page() -> str:
    parts = [
        "# Optimizers and schedules\n",
        "`optimizer=NAME` chooses the update rule, `schedule=NAME` the factor by which its learning rate is multiplied "
        "in the course of a run. [How to write one](../optimizers-and-schedules.md).\n",
    ]
    for group, registry in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        for thing in registry:
            source = f" *{thing.source}.*" if thing.source else ""
            rate = f" Default `lr={thing.lr:g}`." if group == "optimizer" else ""
            parts += [f"\n## {group}={thing.name}\n", f"{sentence(thing.summary)}{source}{rate}\n"]
            parts += own_knobs(group, thing)
    return "\n".join(parts)


def presets_page() -> str:
    found = [name for name in choices("sweeps") if (CONFIG_ROOT / "sweeps" / f"{name}.yaml").is_file()]
    claims = {path.stem for path in (CONFIG_ROOT / "sweeps" / "claims").glob("*.yaml")}
    parts = [
        "# Presets\n",
        "`ablate sweeps=NAME` runs a whole sweep or search; knobs that you give beside it replace the preset's values. "
        "A file of your own, `./sweeps/mine.yaml`, is a preset, too, and `./sweeps/claims/mine.yaml` its claims. "
        "`ablate plan sweeps=NAME` says what it will cost.\n",
        table(
            ("`sweeps=`", "question", "claims", "results"),
            [
                (f"[{code(name)}](#{name})", question(name) or "", "yes" if name in claims else "–", results(name))
                for name in found
            ],
        ),
    ]
    for name in found:
        text = (CONFIG_ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8")
        inside = f"`sweeps/{name}.yaml`{{ #{name} }}\n\n{fenced(text, 'yaml')}"  # a link there opens it
        parts += [f'\n??? note "{name}"\n', textwrap.indent(inside, "    ")]
    return "\n".join(parts)


def results(preset: str) -> str:
    """Where the gallery shows what the runs of a preset gave."""
    shown = [folder.name for folder in folders() if preset_of(folder) == preset]
    links = (f"[{name.removeprefix(preset).strip('_') or 'gallery'}](../gallery.md#{name})" for name in shown)
    return ", ".join(links) or "–"


def launchers_page() -> str:
    parts = [
        "# Launchers\n",
        "`hydra/launcher=NAME` says where a sweep is trained; each option is given as `hydra.launcher.NAME=VALUE`. "
        "[How to use a cluster](../clusters.md).\n",
    ]
    for name in (LOCAL, *(other for other in launchers() if other != LOCAL)):
        path = CONF / "hydra" / "launcher" / f"{name}.yaml"
        rows = explained(path)
        parts += [f"\n## {name}\n", f"{opening_comment(path)}\n"]
        parts += [table(("option", "what it is"), rows)] if rows else []
    return "\n".join(parts)


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/knobs.md": knobs_page,
    "reference/cells.md": cells_page,
    "reference/tasks.md": tasks_page,
    "reference/data.md": data_page,
    "reference/optimizers.md": optimizers_page,
    "reference/presets.md": presets_page,
    "reference/launchers.md": launchers_page,
}
