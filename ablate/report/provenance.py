"""What the runs of a sweep were computed with, when and from which text."""

from typing import Any

import pandas as pd

from ablate.config.errors import counted
from ablate.config.registry import NO_DATA
from ablate.report.blocks import Facts
from ablate.report.material import Material
from ablate.report.numbers import whole
from ablate.report.sections import Section


def provenance(m: Material) -> list[tuple[str, str]]:
    """Terms and what is to be said of them: how many runs, of which text, by which code, where and when."""
    runs = m.runs
    reused = runs["reused_from"].notna().sum()
    said = f"{len(runs):,} in {counted(len(m.settings), 'setting')}"
    facts = [("Runs", said + (f", {reused:,} of them reused from other sweeps" if reused else ""))]
    texts = runs[runs["unit"] != NO_DATA]
    for (name, unit, sha), group in texts.groupby(["corpus", "unit", "corpus_sha256"], sort=False):
        tokens = ", ".join(map(whole, sorted(group["train_tokens"].unique())))
        facts.append(("Corpus", f"{name} ({unit}), {tokens} training tokens, SHA-256 {sha}"))
    for term, columns in MACHINES.items():
        facts.append((term, _tally(runs, columns)))
    started = pd.to_datetime(runs["started"], utc=True, errors="coerce").dropna()
    if len(started):
        days = [f"{moment:%Y-%m-%d %H:%M}" for moment in (started.min(), started.max())]
        facts.append(("Trained", f"{' to '.join(dict.fromkeys(days))} UTC"))
    seconds = runs["wall_s"].sum()
    together = "; runs trained together share their time" if len(texts) else ""
    facts.append(("Training", f"{_duration(seconds)} in all{together}"))
    return [(term, text) for term, text in facts if text]


MACHINES = {
    "Machine": ["cpu", "gpu", "cores", "platform"],
    "GPU": ["gpu_memory_bytes", "gpu_capability", "driver", "cuda", "cudnn"],
    "Device and threads": ["device", "threads"],
    "Engine": ["engine"],
    "ablate": ["ablate"],
    "torch": ["torch"],
    "Python": ["python"],
    "Commit": ["git_commit", "git_dirty"],
}


def _tally(runs: pd.DataFrame, columns: list[str]) -> str:
    """`AMD EPYC, 2 cores (40 runs); Xeon, 8 cores (20 runs)`: each value and, where there are several, its runs."""
    present = [name for name in columns if name in runs]
    if not present:
        return ""
    counts = runs.groupby(present, dropna=False, sort=False).size()
    said = []
    for values, n in counts.items():
        known = dict(zip(present, values if isinstance(values, tuple) else (values,), strict=True))
        text = ", ".join(part for part in (_said(name, value) for name, value in known.items()) if part)
        if text:
            said.append(text if len(counts) == 1 else f"{text} ({counted(n, 'run')})")
    return "; ".join(said)


def _said(name: str, value: Any) -> str:
    if value is None or pd.isna(value):
        return "not recorded" if name == "git_commit" else ""
    match name:
        case "cores":
            return counted(int(value), "core")
        case "threads":
            return counted(int(value), "thread")
        case "gpu_memory_bytes":
            return f"{value / 2**30:.0f} GiB"
        case "gpu_capability":
            return f"compute capability {value}"
        case "driver" | "cuda":
            return f"{'CUDA' if name == 'cuda' else name} {value}"
        case "cudnn":
            return f"cuDNN {int(value)}"
        case "git_commit":
            return str(value)[:12]
        case "git_dirty":
            return "with changes that are not committed" if value else ""
        case _:
            return str(value)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


PROVENANCE = Section(
    "provenance",
    "Provenance",
    lambda m: not m.runs.empty,
    blocks=lambda m, made: [Facts(facts)] if (facts := provenance(m)) else [],
)
