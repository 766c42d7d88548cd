"""How the sweep was done, and what of it is not as published or as by default."""

from functools import cache
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from ablate.analysis.frames import KNOBS
from ablate.analysis.published import published, same
from ablate.analysis.published_translation import published_translations
from ablate.config.schema import CONFIG_ROOT, TASK_OPTIONS
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import counted
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
    *("clip", "epochs", "seeds", "max_tokens", "val_tokens", "corpus", "unit"),
)
"""The knobs of the protocol table, in the order of conf/config.yaml; others join in where they are swept."""

MOST_VALUES = 8


@cache
def defaults(task: str = "language_model") -> dict[str, Any]:
    """The default of each knob in a task, as conf/ has it."""
    values = _loaded("config")
    own = _loaded(f"task/{task}") if task != "language_model" else {}
    chosen = {key: value for entry in values["defaults"] if isinstance(entry, dict) for key, value in entry.items()}
    chosen |= {
        key.removeprefix("override /"): value for entry in own.get("defaults", []) for key, value in entry.items()
    }
    out = {str(key): value for key, value in (values | own).items() if key in (*KNOBS, "seeds")}
    out |= {group: chosen[group] for group in ("model", "optimizer", "schedule")} | {"corpus": chosen["data"]}
    data = _loaded(f"data/{chosen['data']}") if own else {}
    out |= {knob: data[name] for knob, name in (("unit", "tokens"), ("cleaning", "cleaning")) if name in data}
    lr = own.get("lr", _loaded(f"optimizer/{chosen['optimizer']}")["lr"])
    options = {key: value for key, value in own.get("task", {}).items() if key != "name"}
    return {"unit": "char", "cleaning": "letters", "activation": "tanh"} | out | {"lr": lr, "task": task} | options


def _loaded(name: str) -> dict[Any, Any]:
    values = OmegaConf.to_container(OmegaConf.load(CONFIG_ROOT / "conf" / f"{name}.yaml"), resolve=False)
    assert isinstance(values, dict)
    return values


def protocol_sheet(m: Material) -> Sheet:
    """Knob by knob: the values here, the published ones, the default, and a remark where they differ."""
    task = task_of(m.settings)
    theirs = published_translations() if task == "translation" else published()
    theirs = theirs[theirs["source"].isin(m.published["source"])]
    usual = defaults(task or "language_model")
    shown = [*["task"] * (task != "language_model"), *SHOWN, *TASK_OPTIONS.get(task, ())]
    rows = []
    for knob in (*shown, *(name for name in m.swept if name not in (*shown, "corpus_sha256"))):
        ours, known = _ours(m, knob), _theirs(theirs, knob)
        if ours:
            default = [usual[knob]] if knob in usual else []
            remark = "varied" if len(ours) > 1 else _remark(ours, known, default if knob != "corpus" else [])
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
    of_text = bool(m.settings["task"].isin(("language_model", "fill_in")).any())
    if knob in ("max_tokens", "val_tokens", "sampling") and not of_text:
        return []
    applies = knob in ("clip", "max_tokens", "pairs")  # where null is a value
    applies = applies and not (knob == "pairs" and task_of(m.settings) != "translation")
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
    if m.published.empty:
        return [_why_unpublished(m)]
    said = [
        f"{counted(len(m.published), 'setting')} of {len(m.settings)} laid beside published values ({_sources(m)})."
    ]
    differences = [part for text in m.published["differs"] for part in text.split("; ") if part]
    for part in dict.fromkeys(differences):
        n = differences.count(part)
        where = "" if n == len(m.published) else f" (in {counted(n, 'setting')})"
        said.append(f"{part[0].upper()}{part[1:]}{where}.")
    if not differences:
        said.append("Nothing that decides the outcome differs from the published protocol.")
    if task_of(m.settings) == "translation":
        said.append(
            "The published loss and BLEU are those of a typical run. In prediction the published decoder read its own "
            "state where in training it read the encoder's (context=as-published)."
        )
    else:
        said.append("Published perplexities are means without a spread, of as many repeats as the table says.")
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
    task = task_of(m.settings)
    if task == "translation":
        return "No setting of this sweep has the settings of the published translation: nothing to lay it beside."
    if task in ("fill_in", "memory"):
        return "There are no published numbers for this task: nothing to lay ours beside."
    text = published()["corpus_sha256"].iloc[0]
    if not (m.settings["corpus_sha256"] == text).any():
        corpora = ", ".join(dict.fromkeys(m.settings["corpus"].astype(str)))
        return f"The published numbers are of The Time Machine; this sweep is on {corpora}: nothing to lay them beside."
    if not all(same(value, "char") for value in m.settings["unit"]):
        return "The published numbers are of characters; this sweep is on words: nothing to lay them beside."
    return "No setting of this sweep has a setting for which there is a published number."
