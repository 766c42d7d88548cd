"""How the sweep was done, and what of it is not as published or as by default."""

from functools import cache
from types import NoneType
from typing import Any, get_args

import pandas as pd

from ablate.analysis.published import publication_of
from ablate.analysis.tasks import facts_of, of_networks, says
from ablate.config import dependence
from ablate.config.columns import added_later, columns, columns_in, common_added_later, own_columns
from ablate.config.errors import counted
from ablate.config.registry import FIRST_TASK, knobs_of
from ablate.report.blocks import Block, Column, Sheet, bullets
from ablate.report.material import Material
from ablate.report.sections import Made, Section, contributed, notes_of
from ablate.report.tables import value_text
from ablate.report.wording import task_of

SHOWN = (
    *(
        "model",
        "formulation",
        "num_hiddens",
        "layers",
        "dropout",
        "sampling",
        "num_steps",
        "batch_size",
        "optimizer",
        "lr",
    ),
    *("clip", "epochs", "seeds", "max_tokens", "val_tokens", "test_tokens", "corpus", "unit"),
)
"""The knobs of the protocol table, in the order of conf/config.yaml; others join in where they are swept or on."""

MOST_VALUES = 8


@cache
def defaults(task: str = FIRST_TASK) -> dict[str, Any]:
    """The default of each knob in a task, by its column."""
    usual, own = dependence.defaults(), dependence.chosen("task", task) or {}
    choice = {group: str(own.get(f"/{group}", usual.get(f"/{group}"))) for group in ("model", "optimizer", "data")}
    of_task = {column: own[name] for name, column in own_columns("task").items() if name in own}
    out = {name: value for name, value in (usual | own | of_task).items() if name in (*columns(), "seeds")}
    data = dependence.chosen("data", choice["data"]) or {} if task != FIRST_TASK else {}
    lr = own.get("lr", (dependence.chosen("optimizer", choice["optimizer"]) or {}).get("lr"))
    return {
        "unit": "char",
        "cleaning": "letters",
        "activation": "tanh",
        **out,
        "model": choice["model"],
        "optimizer": choice["optimizer"],
        "corpus": choice["data"],
        **{column: data[name] for column, name in (("unit", "tokens"), ("cleaning", "cleaning")) if name in data},
        "lr": lr,
        "task": task,
    }


def protocol_sheet(m: Material) -> Sheet:
    """Knob by knob: the values here, the published ones, the default, and a remark where they differ."""
    task = task_of(m.settings)
    theirs = _published_rows(m, task)
    usual = defaults(task or FIRST_TASK)
    facts = facts_of(m.settings)
    own = [own_columns("task").get(knob.name, knob.name) for knob in knobs_of(facts)]
    common = SHOWN if of_networks(m.settings) else ("seeds",)
    shown = [*["task"] * (task != FIRST_TASK), *common, *(name for name in own if name in m.settings)]
    shown += [name for name in _switched_on(m) if name not in shown]
    rows = []
    for knob in (*shown, *(name for name in m.swept if name not in (*shown, "corpus_sha256"))):
        ours, known = _ours(m, knob), _theirs(theirs, knob)
        if ours:
            default = [usual[knob]] if knob in usual else []
            remark = (
                ("varied" if knob != "seeds" else "not in all settings alike")
                if len(ours) > 1
                else _remark(ours, known, default if knob != "corpus" else [])
            )
            rows.append([knob, _values(ours), _values(known), _values(default), remark])
    names = ["knob", "here", "published", "default", ""]
    kept = [place for place, name in enumerate(names) if name != "published" or len(theirs)]
    rows = [[row[place] for place in kept] for row in rows]
    names = [names[place] for place in kept]
    data = pd.DataFrame(rows, columns=[*names[:-1], "remark"])
    return Sheet(
        "protocol",
        "The protocol, knob by knob",
        [Column(name, long=name in ("here", "published")) for name in names],
        rows,
        data,
    )


def _switched_on(m: Material) -> list[str]:
    """The knobs, off where nobody names them, that are on in some setting."""
    off = common_added_later() | added_later("model")
    return [name for name in columns_in(m.settings) if name in off and _ours(m, name) not in ([], [off[name]])]


def _published_rows(m: Material, task: str) -> pd.DataFrame:
    """The rows that settings are laid beside, a column for each knob of which they speak."""
    course = publication_of(task)
    found = [course.rows()] if course is not None else []
    found += [m.own_published] if m.own_published is not None else []
    found = [rows[rows["source"].isin(m.published["source"])] for rows in found]
    return pd.concat([rows for rows in found if len(rows)] or [pd.DataFrame()], ignore_index=True)


def _remark(ours: list[Any], theirs: list[Any], default: list[Any]) -> str:
    """What a value is not."""
    said = [
        what for what, known in (("as published", theirs), ("the default", default)) if known and ours[0] not in known
    ]
    return f"not {' nor '.join(said)}" if said else ""


def _ours(m: Material, knob: str) -> list[Any]:
    """The values of a knob in this sweep; none where it applies to no setting."""
    if knob == "seeds":
        return sorted(set((m.settings["n"] + m.settings["diverged"]).tolist()))
    values = m.settings[knob].drop_duplicates().tolist()
    if knob in ("max_tokens", "val_tokens", "test_tokens", "sampling") and not says(m.settings, "reads_text").any():
        return []
    if knob == "test_tokens" and values == [0]:
        return []
    optional = (own.name for own in facts_of(m.settings).knobs if NoneType in get_args(own.kind))
    applies = knob in ("clip", "max_tokens", *optional)  # where null is a value
    return [value for value in values if applies or not pd.isna(value)]


def _theirs(rows: pd.DataFrame, knob: str) -> list[Any]:
    if knob == "corpus" and "corpus" not in rows:
        return ["time_machine"] if len(rows) else []
    name = "repeats" if knob == "seeds" else knob
    return rows[name].dropna().drop_duplicates().tolist() if name in rows else []


def _values(values: list[Any]) -> str:
    if not values:
        return "–"
    numbers = [value for value in values if isinstance(value, int | float) and not pd.isna(value)]
    if len(values) > 1 and len(numbers) == len(values):
        values = sorted(values)
    texts = list(dict.fromkeys(value_text(value) for value in values))
    if len(texts) > MOST_VALUES:
        return f"{', '.join(texts[:3])} … {texts[-1]} ({len(texts)} values)"
    return ", ".join(texts)


def deviations(m: Material) -> list[str]:
    """What is not as published, in sentences; where nothing was published, why."""
    noted = [line for section in contributed(m) for line in notes_of(section, m)]
    if m.published.empty:
        why = _why_unpublished(m)
        return [*([why] if why else []), *noted]
    said = [
        f"{counted(len(m.published), 'setting')} of {len(m.settings)} laid beside published values ({_sources(m)})."
    ]
    differences = [part for text in m.published["differs"] for part in text.split("; ") if part]
    for part in dict.fromkeys(differences):
        n = differences.count(part)
        where = "" if n == len(m.published) else f" (in {counted(n, 'setting')})"
        said.append(f"{part[0].upper()}{part[1:]}{where}.")
    if not differences:
        said.append("No knob differs from the published protocol, as far as it is stated.")
    course = publication_of(task_of(m.settings))
    if course is not None and course.note and m.published["of_course"].any():
        said.append(course.note)
    said += noted
    if m.timed and m.published["published_tokens_per_s"].notna().any():
        gpu = ", those of the gate study on a GPU" if "gate study" in set(m.published["source"]) else ""
        said.append(
            f"Published tokens/s are single readings of the last epoch on a machine that is not named{gpu}; ours come "
            "from the speed lane, one run alone on the machine, repeated in fresh processes. Their ratio "
            "compares machines as much as programs."
        )
    return said


def _sources(m: Material) -> str:
    return ", ".join(dict.fromkeys(m.published["source"]))


def _why_unpublished(m: Material) -> str:
    if m.own_published is not None:
        return "No setting of this sweep has the values of a row of published.csv: nothing to lay it beside."
    course = publication_of(task_of(m.settings))
    if course is None:
        return str(facts_of(m.settings).words.unpublished)
    return course.lacking(m.settings)


def _blocks(m: Material, made: Made) -> list[Block]:
    said = bullets(m.attempt("the protocol", lambda: deviations(m)))
    sheet = m.attempt("the table of the protocol", lambda: protocol_sheet(m))
    return [*said, *([] if sheet is None else [sheet])]


PROTOCOL = Section("protocol", "Protocol", lambda m: not m.runs.empty, blocks=_blocks)
