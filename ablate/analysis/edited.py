"""Runs of a cell, a task or any other code of a person's own that was edited in the middle of a sweep.

Its source is no knob: nobody could tell the settings of its two states apart, nor make a claim about either. Those of
the state that the sweep's last command had are the sweep's; the others stay stored.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.config.errors import counted, listing
from ablate.records.manifest import plugins_of


def without_former_sources(
    frame: pd.DataFrame, identities: Mapping[str, Mapping[str, Any]], sweep: Path
) -> tuple[pd.DataFrame, list[str]]:
    """The runs but for those of settings that are another one's but for the source of what a person brought; and a line
    for each of these. `identities`: setting_id → the identity of one of its runs.
    """
    alike: dict[str, list[str]] = {}
    for setting, identity in identities.items():
        if _sources(identity):
            alike.setdefault(_but_for_sources(identity), []).append(setting)
    groups = [settings for settings in alike.values() if len(settings) > 1]
    if not groups:
        return frame, []
    files = {own: given for given, own in plugins_of(sweep).items()}
    started = frame["started"].where(frame["started"].notna(), "").groupby(frame["setting_id"]).max()
    lines: list[str] = []
    left_out: list[str] = []
    for settings in groups:
        own = [setting for setting in settings if _sources(identities[setting]) <= files.keys()]
        kept = max(own or settings, key=lambda setting: started.get(setting, ""))
        names = sorted(files[source] for source in _sources(identities[kept]) & files.keys())
        what = listing(names) if names else "code"
        for setting in settings:
            runs = frame[frame["setting_id"] == setting]
            if setting != kept and len(runs):
                left_out.append(setting)
                lines.append(
                    f"{counted(len(runs), 'run')} of {runs['model'].iloc[0]} ({setting}) had another {what} than the "
                    "sweep's last command: left out"
                )
    return frame[~frame["setting_id"].isin(left_out)].reset_index(drop=True), lines


def _sources(identity: Mapping[str, Any]) -> set[str]:
    """The hashes of the sources of what a person brought."""
    parts = (part.get("source") for part in identity.values() if isinstance(part, Mapping))
    return {source for source in parts if isinstance(source, str)}


def _but_for_sources(identity: Mapping[str, Any]) -> str:
    """What two states of the code have in common, whatever the seed."""
    rest = {
        name: {key: value for key, value in part.items() if key != "source"} if isinstance(part, Mapping) else part
        for name, part in identity.items()
        if name != "seed"
    }
    return json.dumps(rest, sort_keys=True)
