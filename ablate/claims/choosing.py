"""Which claims judge a sweep: those of its preset, and those of a person's own that belong to none."""

from collections.abc import Sequence
from pathlib import Path

from ablate.claims.measured import LATE_CHANGE, ROUGHNESS, SPEED, Frames
from ablate.claims.protocol import departures, preset_path
from ablate.claims.reading import Claim, read_claims
from ablate.claims.settings import NotTestable, grouped, matching, spoken_of
from ablate.config.schema import CONFIG_ROOT
from ablate.records.files import entries
from ablate.records.manifest import load_manifest
from ablate.records.reading import RecordError


def claims_for(sweep: Path | Frames) -> list[Claim]:
    """The claims in the file named after the sweep's preset, and those that belong to no preset, if its settings can
    test them. What a claim of another preset says of the same settings is a statement on another experiment.

    Raises ClaimError for a damaged claim file, UserError for a folder without a finished run.
    """
    frames = sweep if isinstance(sweep, Frames) else Frames.read(sweep)
    preset = preset_of(frames.sweep)
    files = sorted(claim_files(), key=lambda path: path.stem != preset)
    claims = [claim for path in files for claim in read_claims(path)]
    return [
        claim for claim in claims if claim.preset == preset or (at_large(claim) and has_all_settings(frames, claim))
    ]


def at_large(claim: Claim) -> bool:
    """Whether a claim judges sweeps of any preset, or of none."""
    return preset_path(claim.preset) is None if claim.elsewhere is None else claim.elsewhere


def claim_files(roots: Sequence[Path] | None = None) -> list[Path]:
    """The claim files that come with ablate and those of ./sweeps/claims; of two with one name the latter."""
    folders = [root / "sweeps" / "claims" for root in roots or (CONFIG_ROOT, Path.cwd())]
    files = {path.stem: path for folder in folders for path in entries(folder) if path.suffix == ".yaml"}
    return [files[name] for name in sorted(files)]


def preset_of(sweep: Path | None) -> str | None:
    """The preset that a sweep was made from, if any."""
    try:
        name = load_manifest(sweep).get("preset") if sweep else None
    except RecordError:
        return None
    return name if isinstance(name, str) else None


def has_all_settings(frames: Frames, claim: Claim) -> bool:
    """Whether a sweep has all settings of a claim, under its protocol, which differ in nothing else."""
    if claim.needs:
        return False
    try:
        settings = matching(frames.settings, claim.where)
        if claim.tuned and settings[claim.tuned].nunique(dropna=False) < 2:
            return False
        metric = claim.predicate.reads or claim.metric
        if metric == SPEED:
            settings = spoken_of(settings, claim.predicate.keys, claim.predicate.relevant)
        if metric not in (ROUGHNESS, LATE_CHANGE):  # curves take long to read
            settings = settings[settings["setting_id"].isin(frames.samples(metric, settings, level=0.95).values)]
        groups, along_with = grouped(settings, claim.predicate.keys, claim.predicate.relevant)
    except NotTestable:
        return False
    whole = bool(groups) and not any(claim.predicate.missing(group.settings) for group in groups)
    return whole and not along_with and not departures(claim, settings)
