"""One setting's speed: the samples of it, which of them are clean, and the tokens per second that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ablate.timing import cards
from ablate.timing.cards import spoiled
from ablate.timing.machine import Load, clock_mhz
from ablate.timing.process import Ask

SUBJECTS = ("train", "cohort_1", "cohort_R", "inference")
"""What is timed of a setting; `ablate.timing.worker.Subjects.subject` says what each is."""
LEAST_SAMPLES = 3
"""Clean samples that each process must give."""
PATIENCE = 3
"""How many times its time limit a subject may take while it still lacks clean samples."""
BUSY = 0.05
"""Share of one core that other programs may use during a clean sample."""
OFF_CPU = 0.05
"""Share of a sample for which a single-threaded worker may be off its processor."""


@dataclass(frozen=True)
class Protocol:
    """How precisely and how long to measure; recorded with every timing."""

    precision: float = 0.02
    limit_s: float = 30.0
    sample_s: float = 0.25
    level: float = 0.95
    launches: int = 5
    """Fresh processes per setting: where one lands in memory moves its speed by more than its samples differ."""
    answer_s: float = 30.0
    """How long a process may say nothing, beyond several times what it expects of its next step; then it hangs, and is
    ended (`ablate.timing.process`)."""


def protocol_within(limit_s: float) -> Protocol:
    """The speed lane's protocol; with fewer processes, then shorter samples, where the time is too short for all."""
    protocol = Protocol(limit_s=limit_s)
    samples = LEAST_SAMPLES * len(SUBJECTS)  # of each process
    launches = max(1, min(protocol.launches, int(limit_s // (samples * protocol.sample_s))))
    return replace(protocol, launches=launches, sample_s=min(protocol.sample_s, limit_s / launches / samples))


@dataclass
class Timing:
    """Tokens per second of one setting on this machine with a number of threads, and every sample behind it."""

    setting_id: str
    machine: str
    threads: int
    config: dict[str, Any]
    machine_facts: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in SUBJECTS})
    summary: dict[str, dict[str, Any]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    measured_at: str = ""
    spent_s: float = 0.0
    failure: str = ""

    @property
    def on_gpu(self) -> bool:
        return self.machine_facts.get("gpu") is not None

    @property
    def clean(self) -> bool:
        """Whether the setting's own tokens per second can be believed."""
        return bool(self.summary) and self.summary["train"]["tokens_per_s"] is not None


def sample(timing: Timing, ask: Ask, name: str, launch: int, protocol: Protocol) -> dict[str, Any]:
    """One sample with what else the machine was doing, and why it is not clean if it is not."""
    uuid = timing.machine_facts.get("gpu_uuid")
    card = [cards.state(uuid)]
    before = Load.now()
    got = ask({"subject": name, "seconds": protocol.sample_s})
    after = Load.now()
    elapsed = after.at - before.at
    # The worker also warms up inside this window, so its own time is read off the machine's, not off the sample's.
    own = got["cpu_since_last_s"]
    off_cpu = round(max(0.0, 1 - got["cpu_s"] / got["seconds"]), 3)
    got |= {
        "launch": launch,
        "others": share(before.busy_s, after.busy_s, elapsed, own),
        "stolen": share(before.stolen_s, after.stolen_s, elapsed),
        "off_cpu": off_cpu if timing.threads == 1 and not timing.on_gpu else None,
        "clock_mhz": clock_mhz(),
    }
    if timing.on_gpu:
        got["gpu"] = [*card, cards.state(uuid)]
    return got | {"unclean": why_unclean(got)}


def share(before: float | None, after: float | None, elapsed: float, own: float = 0.0) -> float | None:
    """What grew beyond our own part, as a share of the time; None where it was not told."""
    if before is None or after is None:
        return None
    return round(max(0.0, after - before - own) / elapsed, 3)


def checked(taken: Mapping[str, Any]) -> bool:
    """Whether the system told what else was running during a sample, on the GPU, too, if one computed.

    Without that, none is called clean.
    """
    told = taken.get("others") is not None and taken.get("stolen") is not None
    return told and all(state is not None and state["others"] is not None for state in taken.get("gpu", ()))


def why_unclean(taken: Mapping[str, Any]) -> str:
    """What spoiled a sample; empty if nothing is known to have."""
    if taken["others"] is not None and taken["others"] > BUSY:
        return f"other programs used {taken['others']:.0%} of a core"
    if taken["stolen"] is not None and taken["stolen"] > BUSY:
        return f"the host took {taken['stolen']:.0%} of a core away"
    if taken["off_cpu"] is not None and taken["off_cpu"] > OFF_CPU:
        return f"the program was off its core for {taken['off_cpu']:.0%} of the time"
    return spoiled(*taken["gpu"]) if "gpu" in taken else ""


def enough(timing: Timing, name: str, launch: int, protocol: Protocol) -> bool:
    """Whether a subject needs no more samples from this process."""
    own = [s for s in timing.samples[name] if s["launch"] == launch]
    spent = sum(s["seconds"] for s in own)
    limit_s = protocol.limit_s / protocol.launches / len(SUBJECTS)
    values = np.array([s["tokens_per_s"] for s in own if not s["unclean"]])
    if len(values) < LEAST_SAMPLES:
        return len(own) >= LEAST_SAMPLES and spent >= PATIENCE * limit_s
    if spent >= limit_s:
        return True
    return spread(values, protocol.level) <= protocol.precision * float(np.median(values))


def spread(values: np.ndarray, level: float, draws: int = 2000) -> float:
    """Half the bootstrap interval of the median of one process's samples, seeded: when to stop taking more."""
    medians = np.median(np.random.default_rng(0).choice(values, (draws, len(values))), axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(high - low) / 2


def conclude(timing: Timing, protocol: Protocol, limit_gflops: float) -> None:
    """Medians, intervals and what follows from them."""
    timing.measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    timing.facts["gemm_limit_gflops"] = round(limit_gflops, 1)
    for name in SUBJECTS:
        timing.summary[name] = summarise(timing.samples[name], protocol)
    own = timing.summary["train"]["tokens_per_s"]
    if own is not None:
        achieved = own * timing.facts["flops_per_token"] / 1e9
        timing.facts |= {"gflops": round(achieved, 2), "share_of_limit": round(achieved / limit_gflops, 4)}


def summarise(samples: Sequence[Mapping[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """Tokens per second with their interval, see `process_interval`; no number, but the reason, of too few samples.

    `checked` says whether the load of the machine was seen during all samples that count.
    """
    from ablate.stats import process_interval, too_few_processes  # loads pandas, which no training needs

    clean = [s for s in samples if not s["unclean"]]
    per_launch = [np.array([s["tokens_per_s"] for s in clean if s["launch"] == k]) for k in range(protocol.launches)]
    out: dict[str, Any] = {"tokens_per_s": None, "low": None, "high": None, "n": len(clean), "of": len(samples)}
    out["checked"] = all(checked(s) for s in clean)
    if min(len(values) for values in per_launch) < LEAST_SAMPLES or len(clean) < len(samples) / 2:
        spoiled = [s["unclean"] for s in samples if s["unclean"]]
        reason = max(set(spoiled), key=spoiled.count) if spoiled else "too few samples in the time given"
        return out | {"why": f"only {len(clean)} of {len(samples)} samples are clean; for example {reason}"}
    middle, low, high = process_interval(per_launch, protocol.level)
    why = [] if out["checked"] else ["not checked: this system does not tell what else it was doing"]
    if low is None or high is None:
        why.append(too_few_processes(len(per_launch)))
    elif (high - low) / 2 > protocol.precision * middle:
        why.append(f"the interval is wider than ± {protocol.precision:.0%}")
    return out | {"tokens_per_s": middle, "low": low, "high": high, "why": "; ".join(why)}
