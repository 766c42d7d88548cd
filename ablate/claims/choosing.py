"""Which claims a sweep can test: those of its preset, and all others whose cells it has."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ablate.analysis.frames import value_text
from ablate.claims.cells import NotTestable, grouped, matching
from ablate.claims.measured import LATE_CHANGE, ROUGHNESS, Frames
from ablate.claims.reading import Claim, read_claims
from ablate.config import CONFIG_ROOT
from ablate.files import entries
from ablate.results import RecordError, load_manifest

PUBLISHED = {
    "task": "language_model",
    "epochs": 500,
    "batch_size": 32,
    "num_steps": 35,
    "lr": 1.0,
    "clip": 1.0,
    "max_tokens": 10000,
    "optimizer": "sgd",
    "corpus": "time_machine",
}
"""The protocol of the published conclusions, as far as a claim does not say otherwise."""


def claims_for(sweep: Path | Frames) -> list[Claim]:
    """The claims named after the sweep's preset, and every other one that its cells can test.

    Raises ClaimError for a damaged claim file, UserError for a folder without a finished run.
    """
    frames = sweep if isinstance(sweep, Frames) else Frames.read(sweep)
    preset = preset_of(frames.sweep)
    files = sorted(claim_files(), key=lambda path: path.stem != preset)
    claims = [claim for path in files for claim in read_claims(path)]
    return [claim for claim in claims if claim.preset == preset or has_all_cells(frames, claim)]


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


def has_all_cells(frames: Frames, claim: Claim) -> bool:
    """Whether a sweep of another preset has all cells of a claim, under its protocol, which differ in nothing else."""
    if claim.needs or not claim.elsewhere:
        return False
    try:
        cells = matching(frames.cells, claim.where)
        if claim.tuned and cells[claim.tuned].nunique(dropna=False) < 2:
            return False
        metric = claim.predicate.reads or claim.metric
        if metric not in (ROUGHNESS, LATE_CHANGE):  # curves take long to read
            cells = cells[cells["cell_id"].isin(frames.samples(metric, cells, level=0.95).values)]
        groups, along_with = grouped(cells, claim.predicate.keys, claim.predicate.relevant)
    except NotTestable:
        return False
    whole = bool(groups) and not any(claim.predicate.missing(group.cells) for group in groups)
    return whole and not along_with and not differences(claim, cells)


def differences(claim: Claim, cells: pd.DataFrame) -> list[str]:
    """Where all cells depart from the published protocol although the claim does not say so."""
    if not claim.source.startswith("conclusion"):
        return []
    said = {*claim.where, *claim.predicate.keys, claim.tuned}
    out = []
    for knob, published in PUBLISHED.items():
        values = [] if knob in said else [value_text(value) for value in cells[knob].unique()]
        if len(values) == 1 and values[0] != value_text(published):
            out.append(f"{knob}={values[0]}, published with {value_text(published)}")
    return out
