"""A sweep's manifest, and the question that its folder belongs to."""

import shlex
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.config import plugins
from ablate.config.choice_files import question
from ablate.config.composing import from_dict
from ablate.config.errors import UserError
from ablate.config.identity import asked_as, run_identity
from ablate.config.knobs import knobs
from ablate.config.overrides import Override
from ablate.config.registry import OF_GROUP, TASKS
from ablate.config.resolved import Resolved
from ablate.records import design, results
from ablate.records.files import entries, remove, to_json, write_json
from ablate.records.manifest import NO_QUESTION, damaged_manifest, load_manifest
from ablate.records.places import failure_path, failures_dir, manifest_path
from ablate.records.planned import with_planned
from ablate.records.reading import RecordError
from ablate.sweeping.labels import knobs_of, short_value
from ablate.sweeping.naming import decides
from ablate.sweeping.plan import Plan

Values = dict[str, list[Any]]
"""Knob → its values over the settings of a sweep."""


def values_of(configs: Iterable[Resolved]) -> Values:
    """Every knob that decides an outcome, with its values over these configs; not where nothing reads it."""
    found: dict[str, dict[Hashable, Any]] = {}
    known = {key: knob for key, knob in knobs().items() if decides(key)}  # not of a file of the user's not loaded
    always = {
        key for key, knob in known.items() if knob.is_group or "through" in knob.metadata or key.startswith("data.")
    }
    for config in configs:
        read = {*_keys(run_identity(config, "")), *always} & known.keys()
        for key, value in knobs_of(config).items():
            if key in read:
                found.setdefault(key, {})[_mark(value)] = value
    return {key: list(values.values()) for key, values in found.items()}


def _mark(value: Any) -> Hashable:
    """What tells a value from others, also from those that Python calls equal: 1 is not true."""
    return to_json(value) if isinstance(value, dict | list) else (type(value), value)


def _keys(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({to_json(value): value for value in values}.values())


def check_same_question(plan: Plan, command: str, preset: str | None, given: Collection[str]) -> list[str]:
    """A line on what a folder gets beside what it holds; none for the same command, or more values of a swept knob.

    A folder belongs to one question. One knob more may be varied in it; two that change together could not be told
    apart afterwards, and another preset, task or text is another question: those raise UserError. Where there is no
    manifest that can be read, the records say what it holds.
    """
    said: list[str] = []
    try:
        manifest = load_manifest(plan.folder)
    except RecordError:
        manifest = {"commands": [], "preset": preset}
    if error := damaged_manifest(plan.folder):
        said.append(f"{error}; it is written anew, without what was asked for and declared before")
    if command in manifest["commands"]:
        return []
    before = manifest.get("knobs") or _values_on_disk(plan.folder)
    now = values_of(setting.config for setting in plan.settings)
    typed = {
        knob
        for one in manifest["commands"]
        for word in shlex.split(one)
        if "=" in word
        for knob in Override.read(word).knobs
    }
    if preset and preset != manifest["preset"]:
        raise _another(plan.folder, f"sweeps={manifest['preset'] or 'null'}, not sweeps={preset}")
    changed = [key for key in now if key in before and not _shared(before[key], now[key]) and key in typed | {*given}]
    for setter in ("match", "updates"):
        if now.get(setter, [None]) != [None] and setter in changed + list(typed):
            changed = [key for key in changed if key != knobs()[setter].metadata["through"]]
    differing = [f"{key}={_list(before[key])}, not {key}={_list(now[key])}" for key in changed]
    others = [key for key in changed if key.partition(".")[0] in ("task", "data")]
    if others:
        lines = [line for key, line in zip(changed, differing, strict=True) if key in others]
        raise _another(plan.folder, "; ".join(lines))
    if len(changed) > 1:
        raise _another(plan.folder, "; ".join(differing))
    if changed and len(before[changed[0]]) == len(now[changed[0]]) == 1:
        said.append(f"{plan.folder} holds {differing[0]}; it is the same question now, with {changed[0]} varied")
    return said


def _another(folder: Path, difference: str) -> UserError:
    return UserError(
        f"{folder} belongs to another sweep: {difference}; give another name=NAME, or all values in one command"
    )


def _values_on_disk(folder: Path) -> Values:
    """The same of a folder whose manifest does not say it, from a record of each setting."""
    configs = []
    for record in _settings_on_disk(folder).values():
        with suppress(UserError):  # of a file of the user's that is not loaded, or a knob that there is not
            configs.append(from_dict(record["config"]))
    return values_of(configs)


def _settings_on_disk(folder: Path) -> dict[str, Mapping[str, Any]]:
    """setting_id → a record of it."""
    return {one["setting_id"]: one for one in results.records(folder) if not isinstance(one, RecordError)}


def _shared(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return bool({to_json(value) for value in one} & {to_json(value) for value in other})


def _list(values: Sequence[Any]) -> str:
    texts = [short_value(value).lower() if isinstance(value, bool) else short_value(value) for value in values]
    return ",".join(texts[:6]) + (",…" if len(texts) > 6 else "")


def loaded(group: str, name: str) -> bool:
    """Whether there is a choice of this name; an experiment stands in the place of a model, too."""
    return any(name in registry and name not in registry.remembered for registry in (OF_GROUP[group], TASKS))


def _asked_for(plan: Plan, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The runs that the commands of a sweep ask for, with those of this plan, and what each setting was asked for as.

    Without the settings that the same words do not ask for any more, because what they are made of, the text, a file of
    a person's own or our code, was edited since.
    """
    now = {setting.setting_id: asked_as(setting.config) for setting in plan.settings}
    ours = now.keys() | {former for setting in plan.settings for former in setting.former_ids}
    before = manifest.get("asked_as", {})
    edited = {setting for setting, said in before.items() if setting not in ours and said in now.values()}
    planned = {setting: seeds for setting, seeds in manifest.get("planned", {}).items() if setting not in edited}
    asked = {one.setting_id: [run.config.seed for run in one.runs] for one in plan.settings if one.error is None}
    kept = {setting: said for setting, said in before.items() if setting not in edited}
    return {"planned": with_planned(planned, asked), "asked_as": kept | now}


def _failed(folder: Path) -> set[str]:
    """The settings that failed."""
    return {path.stem for path in entries(failures_dir(folder)) if path.suffix == ".json"}


def _designs(plan: Plan, manifest: Mapping[str, Any]) -> dict[str, design.Declared]:
    """What each setting is declared with, those of this plan by the runs that are there before it begins; by the
    commands so far where a manifest of an older version does not say it."""
    earlier = design.numbers_of(manifest["commands"])
    known, now = design.of_manifest(manifest), datetime.now(UTC).isoformat(timespec="seconds")
    settings = {setting.setting_id for setting in plan.settings}
    elsewhere: dict[Path, design.Designs] = {}
    if not manifest["commands"]:  # nothing is known of what is there, and the commands to come say nothing of it
        known |= dict.fromkeys(_settings_on_disk(plan.folder).keys() - settings, ())
    for setting in plan.settings:
        if setting.error:
            continue
        there = len(setting.runs) - len(setting.missing)
        found = [known.pop(name) for name in {setting.setting_id, *setting.former_ids} & known.keys()]
        before = design.one_history(found)
        if not found and there:
            sources = [run.reused_from for run in setting.runs if run.reused_from]
            for source in sources:
                if source not in elsewhere:
                    elsewhere[source] = design.Designs.read(source, settings)
            numbers = [elsewhere[source].numbers(setting.setting_id) for source in sources] or [earlier]
            before = design.one_history(map(design.undated, numbers))
        seen = there > 0 or bool(before and setting.changed)
        known[setting.setting_id] = design.declare(before, len(setting.runs), there, seen, now)
    return known


def write_manifest(plan: Plan, command: str, preset: str | None = None, *, whole: bool = True) -> None:
    """Keep the commands given so far, the question behind them, the values of the knobs, and what `data=auto` was.

    With `whole` also the runs that these commands ask for; a search decides by what comes out which runs there are.
    """
    try:
        manifest = load_manifest(plan.folder)
    except RecordError:
        manifest = {"commands": []}
    before = manifest.get("knobs") or _values_on_disk(plan.folder)
    designs = _designs(plan, manifest) if whole else {}
    if command not in manifest["commands"]:
        manifest["commands"].append(command)
    if preset:
        manifest |= {"preset": preset, "question": question(preset)}
    if title := plan.settings[0].config.title:
        manifest["title"] = title
    now = values_of(setting.config for setting in plan.settings)
    manifest["knobs"] = before | {key: _distinct([*before.get(key, ()), *values]) for key, values in now.items()}
    if whole:
        manifest |= _asked_for(plan, manifest)
        for failed in _failed(plan.folder) - manifest["planned"].keys() - {one.setting_id for one in plan.settings}:
            remove(failure_path(plan.folder, failed))  # nobody asks for it any more
        manifest["design"] = design.as_manifest(designs)
    if files := plugins.hashes(plan.settings[0].config.plugins):
        complete = all(
            loaded(group, name) for group in OF_GROUP for name in manifest["knobs"].get(group, ()) if name is not None
        )
        manifest["plugins"] = plugins.still_needed(manifest.get("plugins", {}), files, complete)
    write_json(manifest_path(plan.folder), NO_QUESTION | manifest | {"auto_corpus": plan.auto_corpus})
