"""The protocol of the speed lane.

Each setting is timed in fresh processes of its own, one sample at a time on the whole machine. Samples are taken in
rounds that go through all settings in turn, so that drift meets all alike; they go on until the 95 % interval of the
speed is narrow enough or the time is up. A sample taken while something else was running is kept, marked, and counts
for nothing; where the system does not tell what else was running, a sample is not checked, and is never called clean.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

import numpy as np

from ablate.config.errors import UserError, counted
from ablate.config.identity import former_setting_ids
from ablate.config.resolved import Resolved
from ablate.config.schema import to_dict
from ablate.data.corpora import load
from ablate.records.environment import cores
from ablate.records.files import entries, write_json
from ablate.records.places import holds_timings, timing_path
from ablate.records.reading import RecordError
from ablate.records.timings import read_timing
from ablate.timing.machine import Load, clock_mhz, fingerprint, gemm_gflops, speed_lane
from ablate.training.loop import resolve_device

SUBJECTS = ("train", "cohort_1", "cohort_R", "inference")
TOGETHER = 12
"""Settings whose rounds are interleaved; more would only hold memory."""
LEAST_SAMPLES = 3
"""Clean samples that each process must give."""
START_S = 5.0
"""About what a process takes to start and to warm up."""
PATIENCE = 3
"""How many times its time limit a subject may take while it still lacks clean samples."""
BUSY = 0.05
"""Share of one core that other programs may use during a clean sample."""
OFF_CPU = 0.05
"""Share of a sample for which a single-threaded worker may be off its processor."""
ENDING_S = 10.0
"""Time for a process to end when it is told to."""


class WorkerFailed(Exception):
    """A setting cannot be timed; the message says why."""


@dataclass(frozen=True)
class Protocol:
    """How precisely and how long to measure; recorded with every timing."""

    precision: float = 0.02
    limit_s: float = 30.0
    sample_s: float = 0.25
    level: float = 0.95
    launches: int = 5
    """Fresh processes per setting: where one lands in memory moves its speed by more than its samples differ."""
    answer_s: float = 300.0
    """How long a process may take for one answer; then it hangs, and is killed."""


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
    def clean(self) -> bool:
        """Whether the setting's own tokens per second can be believed."""
        return bool(self.summary) and self.summary["train"]["tokens_per_s"] is not None


def stored(sweep: Path, setting_id: str, threads: int, machine: str, former: Sequence[str] = ()) -> Timing | None:
    """A clean timing of this setting on a machine, by its fingerprint; `former`: ids that the setting had before."""
    try:
        timing = Timing(**read_timing(sweep, setting_id, threads, machine, former))
    except (RecordError, TypeError):
        return None
    return timing if timing.clean else None


def store(sweep: Path, timing: Timing) -> None:
    write_json(timing_path(sweep, timing.setting_id, timing.threads, timing.machine), asdict(timing))


def time_missing(
    sweep: Path,
    settings: Mapping[str, Resolved],
    threads: Sequence[int],
    protocol: Protocol,
    say: Callable[[str], None],
    again: bool = False,
) -> bool:
    """Time every setting that has no clean timing on this machine (`again`: every setting) and keep the timings.

    A clean timing that another sweep in the same results folder has of a setting is copied. Takes the whole machine.
    What cannot be timed is said once for each reason; False where that is all there was to time. Raises UserError
    where another ablate trains or measures on it.
    """
    timed = 0
    failed: dict[str, list[Timing]] = {}
    with speed_lane():
        for n in threads:
            missing = {
                setting: config
                for setting, config in settings.items()
                if again or not at_hand(sweep, setting, config, n)
            }
            if not missing:
                continue
            minutes = math.ceil(len(missing) * (protocol.limit_s + START_S * protocol.launches) / 60)
            say(f"timing {counted(len(missing), 'setting')} with {counted(n, 'thread')}, about {minutes} min")
            for timing in measure(missing, [n], protocol, say):
                if timing.failure:
                    failed.setdefault(timing.failure, []).append(timing)
                else:
                    store(sweep, timing)
                    timed += 1
    for why, timings in failed.items():
        first = f"{timings[0].config['model']['name']} ({timings[0].setting_id})"
        settings_of_it = len({timing.setting_id for timing in timings})
        which = first if settings_of_it == 1 else f"{settings_of_it} settings, the first {first}"
        say(f"cannot time {which}: {why}")
    return bool(timed or not failed)


def at_hand(sweep: Path, setting_id: str, config: Resolved, threads: int) -> bool:
    """Whether this sweep has a clean timing of a setting on this machine, if need be taken over from another sweep."""
    timing = found(sweep, setting_id, config, threads)
    if timing and not stored(sweep, setting_id, threads, timing.machine):
        store(sweep, timing)
    return timing is not None


def found(sweep: Path, setting_id: str, config: Resolved, threads: int) -> Timing | None:
    """A clean timing of this setting on this machine, in this sweep or in another one in the same results folder."""
    machine = machine_of(config)["id"]
    folders = [sweep, *(folder for folder in entries(sweep.parent) if folder != sweep and holds_timings(folder))]
    for former in (lambda: (), partial(former_ids, config)):
        for folder in folders:
            timing = stored(folder, setting_id, threads, machine, former())
            if timing:
                return timing
    return None


def former_ids(config: Resolved) -> tuple[str, ...]:
    """The ids that a setting could have had in older versions; none where its text cannot be had."""
    try:
        return former_setting_ids(config, load(config.data).sha256)
    except UserError:
        return ()


def machine_of(config: Resolved) -> dict[str, Any]:
    """The fingerprint of what this config is computed on. Raises ConfigError for a GPU where there is none."""
    return fingerprint(str(resolve_device(config.device)))


def measure(
    settings: Mapping[str, Resolved],
    threads: Sequence[int],
    protocol: Protocol,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Timing]:
    """Time each setting (setting_id → config) with each number of threads; yields timings as they are finished or fail.

    The caller holds the machine (`ablate.timing.machine.speed_lane`).
    """
    limits = {n: gemm_gflops(n) for n in threads}
    jobs = [(setting_id, config, n) for n in threads for setting_id, config in settings.items()]
    for start in range(0, len(jobs), TOGETHER):
        timings = [
            Timing(
                setting_id, machine_of(config)["id"], n, to_dict(config), machine_of(config), protocol=asdict(protocol)
            )
            for setting_id, config, n in jobs[start : start + TOGETHER]
        ]
        for launch in range(protocol.launches):
            say(
                f"settings {start + 1}–{start + len(timings)} of {len(jobs)}, process {launch + 1} of "
                f"{protocol.launches}"
            )
            run_rounds(timings, launch, protocol)
        for timing in timings:
            if not timing.failure:
                conclude(timing, protocol, limits[timing.threads])
            yield timing


def run_rounds(timings: Sequence[Timing], launch: int, protocol: Protocol) -> None:
    """One fresh process per setting, and rounds of one sample per subject until all are precise or out of time."""
    with ExitStack() as stack:
        open_ended = []
        for timing in timings:
            if timing.failure:
                continue
            try:
                ask, facts = stack.enter_context(worker(timing, protocol.answer_s))
            except WorkerFailed as error:
                timing.failure = str(error)
                continue
            readings = timing.facts.get("last_epoch_readings", [])
            timing.facts |= facts | {"last_epoch_readings": [*readings, facts["last_epoch_tokens_per_s"]]}
            open_ended += [(timing, ask, name) for name in SUBJECTS]
        while open_ended:
            for timing, ask, name in open_ended:
                began = time.monotonic()
                try:
                    timing.samples[name].append(sample(timing, ask, name, launch, protocol))
                except WorkerFailed as error:
                    timing.failure = str(error)
                timing.spent_s += time.monotonic() - began
            open_ended = [
                (timing, ask, name)
                for timing, ask, name in open_ended
                if not timing.failure and not _enough(timing, name, launch, protocol)
            ]


def _enough(timing: Timing, name: str, launch: int, protocol: Protocol) -> bool:
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


def sample(
    timing: Timing, ask: Callable[[Any], dict[str, Any]], name: str, launch: int, protocol: Protocol
) -> dict[str, Any]:
    """One sample with what else the machine was doing, and why it is not clean if it is not."""
    before = Load.now()
    got = ask({"subject": name, "seconds": protocol.sample_s})
    after = Load.now()
    elapsed = after.at - before.at
    # The worker also warms up inside this window, so its own time is read off the machine's, not off the sample's.
    own = got["cpu_since_last_s"]
    got |= {
        "launch": launch,
        "others": share(before.busy_s, after.busy_s, elapsed, own),
        "stolen": share(before.stolen_s, after.stolen_s, elapsed),
        "off_cpu": round(max(0.0, 1 - got["cpu_s"] / got["seconds"]), 3) if timing.threads == 1 else None,
        "clock_mhz": clock_mhz(),
    }
    return got | {"unclean": why_unclean(got)}


def share(before: float | None, after: float | None, elapsed: float, own: float = 0.0) -> float | None:
    """What grew beyond our own part, as a share of the time; None where it was not told."""
    if before is None or after is None:
        return None
    return round(max(0.0, after - before - own) / elapsed, 3)


def checked(taken: Mapping[str, Any]) -> bool:
    """Whether the system told what else was running during a sample. Without that, none is called clean."""
    return taken.get("others") is not None and taken.get("stolen") is not None


def why_unclean(taken: Mapping[str, Any]) -> str:
    """What spoiled a sample; empty if nothing is known to have."""
    if taken["others"] is not None and taken["others"] > BUSY:
        return f"other programs used {taken['others']:.0%} of a core"
    if taken["stolen"] is not None and taken["stolen"] > BUSY:
        return f"the host took {taken['stolen']:.0%} of a core away"
    if taken["off_cpu"] is not None and taken["off_cpu"] > OFF_CPU:
        return f"the program was off its core for {taken['off_cpu']:.0%} of the time"
    return ""


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


def spread(values: np.ndarray, level: float, draws: int = 2000) -> float:
    """Half the bootstrap interval of the median of one process's samples, seeded: when to stop taking more."""
    medians = np.median(np.random.default_rng(0).choice(values, (draws, len(values))), axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(high - low) / 2


@contextmanager
def worker(timing: Timing, answer_s: float) -> Iterator[tuple[Callable[[Any], dict[str, Any]], dict[str, Any]]]:
    """A fresh process for one setting: how to ask it, and what it says of the setting. It ends with the context.

    Raises WorkerFailed where it ends by itself, or gives no answer within `answer_s` seconds, which ends it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate.timing.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    send, receive = process.stdin, process.stdout
    lines: Queue[str] = Queue()
    reader = Thread(target=_read, args=(receive, lines), daemon=True)
    reader.start()

    def ask(request: Any) -> dict[str, Any]:
        with suppress(OSError):  # it has ended: what it last said tells why
            send.write(json.dumps(request) + "\n")
            send.flush()
        try:
            line = lines.get(timeout=answer_s)
        except Empty:
            process.kill()
            raise WorkerFailed(f"the process that times this setting gave no answer for {answer_s:g} s") from None
        if not line:
            raise WorkerFailed(f"the process that times this setting ended with status {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(answer["error"])
        return answer

    try:
        yield ask, ask({"config": timing.config, "setting_id": timing.setting_id, "threads": timing.threads})
    finally:
        with suppress(OSError):
            send.close()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        receive.close()


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    """In a thread: lines as they come, and an empty one at the end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def default_threads() -> list[int]:
    """One thread, and all cores."""
    return sorted({1, cores()})
