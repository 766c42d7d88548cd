"""Made-up sweep folders: records, curves, timings and manifest as ablate writes them, with known numbers inside."""

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.analysis.published import PROTOCOL as PUBLISHED

TIME_MACHINE = PUBLISHED["corpus_sha256"]
CELLS = {"rnn": "rnn", "lstm": "lstm"}
"""Model → cell; all other models are grus."""
GATES: dict[str, dict[str, float]] = {"gru-no-update": {"update": 0.0}, "gru-no-reset": {"reset": 1.0}}
LEVELS = {"rnn": 1.0, "lstm": 0.93, "gru": 0.8, "gru-no-reset": 0.85, "gru-no-update": 1.5}
WORDS = [
    "the",
    "time",
    "traveller",
    "smiled",
    "round",
    "at",
    "us",
    "then",
    "still",
    "smiling",
    "faintly",
    "and",
    "with",
    "his",
    "hands",
    "deep",
    "in",
    "his",
    "trousers",
]


def config(model: str = "rnn", **knobs: Any) -> dict[str, Any]:
    """A stored config; a knob of the optimizer's or the data's by its dotted name."""
    plain, as_published = model.removesuffix("-as-published"), model.endswith("-as-published")
    api = knobs.get("formulation", "torch") == "torch"
    cell = CELLS.get(plain, "gru")
    gates = GATES.get(plain, {})
    has_reset = cell == "gru" and "reset" not in gates
    out: dict[str, Any] = {
        "model": {
            "name": model,
            "cell": cell,
            "activation": "tanh",
            "gates": gates,
            "readout": "candidate" if as_published else "state",
            "write_back": not (as_published and plain == "gru-no-update"),
        },
        "data": {"name": "time_machine", "tokens": "char", "cleaning": "letters"},
        "optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.0, "betas": [0.9, 0.999], "eps": 1e-8, "alpha": 0.99}
        | {"weight_decay": 0.0},
        "num_hiddens": 32,
        "layers": 1,
        "dropout": 0.0,
        "formulation": "torch",
        "init": "torch" if api else "normal",
        "reset": ("after" if api else "before") if has_reset else None,
        "bias_vectors": 2 if api else 1,
        "num_steps": 35,
        "batch_size": 32,
        "sampling": "sequential",
        "max_tokens": 10000,
        "val_tokens": 10000,
        "lr": 1.0,
        "clip": 1.0,
        "epochs": 500,
        "seeds": 5,
    }
    for name, value in knobs.items():
        group, _, key = name.rpartition(".")
        (out[group] if group else out)[key] = value
    return out


def identity(settings: Mapping[str, Any]) -> str:
    """The name of a setting."""
    said = json.dumps({**settings, "seeds": None}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def record_of(
    settings: Mapping[str, Any],
    seed: int,
    perplexity: float | None,
    held_out: float | None = None,
    epochs_done: int = 1,
    sha256: str = TIME_MACHINE,
    corpus: str = "time_machine",
    text: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A record; that of a run without a perplexity, which has diverged."""
    setting = identity({**settings, "sha256": sha256})
    run = hashlib.sha256(f"{setting}-{seed}".encode()).hexdigest()[:12]
    found = {"perplexity": perplexity, "tail_perplexity": perplexity, "best_perplexity": perplexity}
    hidden = settings["num_hiddens"] * settings["layers"]
    return {
        "run_id": run,
        "setting_id": setting,
        "seed": seed,
        "status": "diverged" if perplexity is None else "ok",
        "config": {**settings, "seed": seed},
        "identity": {},
        "corpus": {"name": corpus, "sha256": sha256, "unit": "char", "tokens": 170580, "vocabulary": 28},
        "metrics": found | {"val_perplexity": held_out, "best_val_perplexity": held_out},
        "counts": {
            "parameters": hidden**2 * {"rnn": 1, "lstm": 4}.get(settings["model"]["cell"], 3) + 28 * hidden,
            "updates_per_epoch": settings["max_tokens"] // (settings["batch_size"] * settings["num_steps"]),
            "tokens_per_epoch": 8960,
            "train_tokens": settings["max_tokens"],
            "val_tokens": 10000,
            "epochs_done": epochs_done,
        },
        "text": {"time traveller": "time traveller held in his hand"} if text is None else dict(text),
        "engine": "cohort",
        "timing": {"started": f"2026-11-21T1{seed % 10}:00:00+00:00", "wall_s": 1.5, "threads": 1, "device": "cpu"},
        "environment": {
            "python": "3.11.7",
            "torch": "2.13.0+cpu",
            "ablate": "0.1.0",
            "git_commit": "267a96fc54429233f4824687089c19f8a5fe14cb",
            "git_dirty": False,
            "platform": "Linux x86_64",
            "cpu": "A Processor",
            "cores": 2,
            "gpu": None,
        },
        "divergence": {"epoch": 3, "last_finite_loss": 3.0} if perplexity is None else None,
        "reused_from": None,
        "protocol": 1,
    }


def write_run(
    sweep: Path,
    settings: Mapping[str, Any],
    seed: int,
    perplexity: float | None,
    held_out: float | None = None,
    curve: Sequence[float] = (),
    sha256: str = TIME_MACHINE,
    corpus: str = "time_machine",
    text: Mapping[str, str] | None = None,
) -> str:
    """One record and its curve; a run without a perplexity has diverged. Returns its run_id."""
    record = record_of(settings, seed, perplexity, held_out, max(1, len(curve)), sha256, corpus, text)
    run = str(record["run_id"])
    for folder in ("runs", "curves"):
        (sweep / folder).mkdir(parents=True, exist_ok=True)
    (sweep / "runs" / f"{run}.json").write_text(json.dumps(record), encoding="utf-8")
    lines = [f"{epoch},{value:.6g},{value * 1.3:.6g}" for epoch, value in enumerate(curve or [perplexity or 20.0], 1)]
    header = "epoch,perplexity,val_perplexity"
    (sweep / "curves" / f"{run}.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return run


def write_manifest(sweep: Path, **more: Any) -> None:
    manifest = {"commands": ["python -m ablate -m sweeps=made-up"], "auto_corpus": None} | more
    sweep.mkdir(parents=True, exist_ok=True)
    (sweep / "sweep.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")


def write_timing(sweep: Path, settings: Mapping[str, Any], tokens_per_s: float, sha256: str = TIME_MACHINE) -> None:
    """A clean timing of one thread: five processes of three samples."""
    setting = identity({**settings, "sha256": sha256})
    samples = [
        {"tokens_per_s": tokens_per_s * (1 + 0.01 * (launch - 2) + 0.002 * k), "launch": launch, "unclean": ""}
        for launch in range(5)
        for k in range(3)
    ]
    measured = {
        "tokens_per_s": tokens_per_s,
        "low": 0.98 * tokens_per_s,
        "high": 1.02 * tokens_per_s,
        "n": 15,
        "why": "",
    }
    subjects = ("train", "cohort_1", "cohort_R", "inference")
    timing = {
        "setting_id": setting,
        "machine": "abc",
        "threads": 1,
        "config": settings,
        "machine_facts": {"cpu": "A Processor", "gpu": None, "cores": 2, "id": "abc"},
        "facts": {
            "engine": "torch_nn",
            "last_epoch_readings": [tokens_per_s],
            "parameters": 1000,
            "flops_per_token": 6000,
            "gemm_limit_gflops": 100.0,
            "replicas_together": 5,
            "memory_bytes": 2**25,
        },
        "samples": dict.fromkeys(subjects, samples),
        "summary": dict.fromkeys(subjects, measured),
        "measured_at": "2026-11-21T12:00:00+00:00",
    }
    (sweep / "speed").mkdir(parents=True, exist_ok=True)
    (sweep / "speed" / f"{setting}-abc-1.json").write_text(json.dumps(timing), encoding="utf-8")


def write_sweep(
    sweep: Path,
    settings: Sequence[Mapping[str, Any]],
    seeds: int = 6,
    epochs: int = 40,
    timed: bool = True,
    diverging: float = 0.0,
    **manifest: Any,
) -> Path:
    """A sweep that looks real: wider is better, gru < lstm < rnn, some noise; `diverging`: a share of the runs."""
    source = random.Random(7)
    shift = [source.gauss(0, 0.02) for _ in range(seeds)]
    for setting in settings:
        hidden, name = setting["num_hiddens"], setting["model"]["name"].removesuffix("-as-published")
        level = 1 + 6 * LEVELS[name] * (32 / hidden) ** 0.7 * (setting["layers"] ** 0.3) * (
            1 + abs(math.log(setting["lr"]))
        )
        for seed in range(seeds):
            end = 1 + (level - 1) * math.exp(shift[seed] + source.gauss(0, 0.04))
            curve = [end + (25 - end) * math.exp(-6 * (e + 1) / epochs) for e in range(epochs)]
            words = " ".join(source.choices(WORDS, k=10))
            text = {prefix: f"{prefix} {words}" for prefix in ("time traveller", "traveller")}
            gone = source.random() < diverging
            write_run(
                sweep, setting, seed, None if gone else curve[-1], None if gone else 6 + 3 / end, curve, text=text
            )
        if timed:
            cost = {"rnn": 1, "lstm": 4}.get(setting["model"]["cell"], 3) * hidden + 60
            write_timing(sweep, setting, 2e7 / cost)
    write_manifest(sweep, **manifest)
    return sweep
