"""A record or a timing as one row of a table: knobs by the names that are typed, then what came out."""

from collections.abc import Mapping
from typing import Any

WHAT_COMPUTED = ("engine", "device", "threads")
"""Knobs in whose place the columns have what the run was really computed with."""

MEASURED = ("metrics", "counts", "timing")
"""The parts of a record that the runs of a setting have each for itself."""


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record in one row: knobs by the names that are typed, metrics, counts, provenance."""
    out: dict[str, Any] = {name: record[name] for name in ("run_id", "setting_id", "seed", "status")}
    out |= _knobs(record["config"])
    more = [record["metrics"], record["counts"], record["timing"], record["environment"]]
    more.append({name: record.get(name) for name in ("engine", "reused_from", "sees_future", "evaluation", "protocol")})
    more.append({"corpus": record["corpus"]["name"], "corpus_sha256": record["corpus"]["sha256"]})
    more.append({"diverged_epoch": (record["divergence"] or {}).get("epoch")})
    more.append({"ended_by": (record.get("ended") or {}).get("rule")})
    for part in more:
        out |= {name: value for name, value in part.items() if name not in out or name in WHAT_COMPUTED}
    return out


def measured_columns(record: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Column → the part of MEASURED and the name in it that the column is taken from."""
    places = {part: {name: (part, name) for name in record[part]} for part in MEASURED}
    return {column: place for column, place in flat({**record, **places}).items() if isinstance(place, tuple)}


def flat_timing(timing: Mapping[str, Any]) -> dict[str, Any]:
    """A timing in one row: what was timed and what came out."""
    out: dict[str, Any] = {name: timing.get(name) for name in ("setting_id", "machine", "threads", "measured_at")}
    for subject, found in timing.get("summary", {}).items():
        out |= {f"{subject}.{name}": found.get(name) for name in ("tokens_per_s", "low", "high", "n", "of", "why")}
    out |= {f"machine.{name}": value for name, value in timing.get("machine_facts", {}).items()}
    return out | {name: value for name, value in _knobs(timing["config"]).items() if name not in out}


def _knobs(config: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and "name" in value:
            out[name] = value["name"]
            out |= {f"{name}.{part}": inner for part, inner in value.items() if part != "name"}
        else:
            out[name] = value
    return out
