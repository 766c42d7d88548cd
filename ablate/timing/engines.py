"""How fast the cohort engine trains, beside torch.nn: a table, a CSV and a plot.

The baseline is torch.nn, and for a cell that torch.nn has not the readable network under autograd. It trains in one
thread, whatever the cohort has.

A round trains one epoch (of the course's 10,000 tokens) with each engine: the baseline one run, the cohort its chunks,
one after the other in each of its threads, as training does. The order of the engines alternates from round to round.
Reported are medians over rounds of the time per minibatch and run, with their quartiles; the ratio is the median of the
ratios within a round, with a 95 % bootstrap interval.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import cycle, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from torch import Generator

from ablate.config.composing import compose
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved, resolve
from ablate.config.terminal import lines
from ablate.config.validation import engines_for
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort, chunk_size, chunks, training_threads
from ablate.engines.cohort.portions import Stacked
from ablate.engines.precision import computing
from ablate.engines.program import Program
from ablate.networks.parameters import Features, Vocabulary, ends, initial
from ablate.records.environment import environment
from ablate.records.files import make_folder, replacing, write_csv
from ablate.report.tables import PLAIN, print_whole
from ablate.stats import bootstrap_interval
from ablate.stats.intervals import BOOTSTRAP_FROM
from ablate.training.choice import any_minibatch, build, kernel

V, B, T, MINIBATCHES = 28, 32, 35, 9
"""Vocabulary, batch size, steps and minibatches per epoch of the course's protocol."""
LONG_MINIBATCH = 300 * B * T
"""Hidden units and words, times tokens, above which a round trains fewer minibatches: they take long enough to time."""
MINIMUM_ROUNDS = BOOTSTRAP_FROM
"""Of fewer the interval of the median ratio would be too narrow: of 3 one of 95 % covers 76 %."""

TICKS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Ratios that the plot marks."""

Epoch = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """What to measure, and where the table goes. `seconds` is the time for each row."""

    models: list[str]
    hiddens: list[int]
    replicas: list[int]
    seconds: float
    out: Path
    threads: list[int] = field(default_factory=lambda: [1])
    batch_sizes: list[int] = field(default_factory=lambda: [B])
    steps: list[int] = field(default_factory=lambda: [T])
    vocabularies: list[int] = field(default_factory=lambda: [V])
    features: int | None = None


@computing("ieee")
def run(settings: Settings) -> pd.DataFrame:
    """Measure, print, and write `engines.csv` and `engines.png`; the table.

    Raises UserError, before anything is measured, for a model that there is not, and StorageError.
    """
    asked = list(rows_of(settings))
    make_folder(settings.out)
    say = lines(stderr=False)
    rows = []
    with training_threads(1) as thread:
        for config, R, sizes, threads in asked:
            with training_threads(threads) as pool:
                row = thread.submit(measure, config, R, sizes, settings.seconds, pool, threads).result()
            rows.append(row)
            say(describe(row))
    table = pd.DataFrame(rows)
    print_whole(printed(table))
    write_csv(settings.out / "engines.csv", table)
    plot(table, settings.out / "engines.png")
    say(f"wrote {settings.out}/engines.csv and engines.png")
    return table


def rows_of(settings: Settings) -> Iterator[tuple[Resolved, int, Vocabulary, int]]:
    """The config, replicas, sizes and threads of each row."""
    shapes = product(settings.hiddens, settings.batch_sizes, settings.steps)
    for model, (H, batch_size, num_steps) in product(settings.models, list(shapes)):
        config = compose([f"model={model}", "optimizer=sgd"])
        config = resolve(config.but(num_hiddens=H, batch_size=batch_size, num_steps=num_steps))
        for R, words, threads in product(settings.replicas, settings.vocabularies, settings.threads):
            yield config, R, words if settings.features is None else Features(settings.features, words), threads


def measure(
    config: Resolved, R: int, sizes: Vocabulary, seconds: float, pool: Executor, threads: int
) -> dict[str, object]:
    """One row: both engines in turns for about `seconds`, after one round of warm-up."""
    minibatches = minibatches_of(config, sizes)
    engine = "torch_nn" if "torch_nn" in engines_for(config) else "eager"
    baseline = baseline_epoch(engine, config, sizes, minibatches)
    cohort = cohort_epoch(config, R, sizes, minibatches, pool, threads)
    baseline()
    cohort()
    baseline_times: list[float] = []
    cohort_times: list[float] = []
    began = time.perf_counter()
    while len(baseline_times) < MINIMUM_ROUNDS or time.perf_counter() - began < seconds:
        turns = [(baseline, baseline_times, 1), (cohort, cohort_times, R)]
        for epoch, times, runs in turns if len(baseline_times) % 2 == 0 else turns[::-1]:
            times.append(1e6 * seconds_of(epoch) / minibatches / runs)
    ratios = [theirs / own for theirs, own in zip(baseline_times, cohort_times, strict=True)]
    low, high = bootstrap_interval(ratios, np.median)
    facts = environment()
    return {
        "model": config.model.name,
        "num_hiddens": config.num_hiddens,
        "replicas": R,
        "batch_size": config.batch_size,
        "num_steps": config.num_steps,
        "features": sizes.inputs if isinstance(sizes, Features) else None,
        "vocabulary": ends(sizes)[1],
        "threads": threads,
        "baseline": engine,
        **spread("baseline_us", baseline_times),
        **spread("cohort_us", cohort_times),
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
        "rounds": len(ratios),
        "kernel": kernel("cohort", config, torch.device("cpu")),
        "torch": facts["torch"],
        "cpu": facts["cpu"],
        "git_commit": facts["git_commit"],
    }


def minibatches_of(config: Resolved, sizes: Vocabulary) -> int:
    tokens = config.num_steps * config.batch_size
    return MINIBATCHES if tokens * (config.num_hiddens + ends(sizes)[1]) <= LONG_MINIBATCH else 2


def random_minibatches(config: Resolved, sizes: Vocabulary, minibatches: int, R: int, generator: Generator) -> Stacked:
    """Random minibatches; of those of real numbers the last step is scored."""
    T, B = config.num_steps, config.batch_size
    inputs, targets = any_minibatch(sizes, (minibatches * R, T, B), generator)
    if isinstance(sizes, Features):
        targets[:, :-1] = UNSCORED
    return Stacked(*(part.view(minibatches, R, *part.shape[1:]) for part in (inputs, targets)))


def baseline_epoch(engine: str, config: Resolved, sizes: Vocabulary, minibatches: int) -> Epoch:
    """One run under autograd."""
    generator = Generator().manual_seed(0)
    program = AutogradProgram(engine, config, sizes, initial(config, sizes, generator), generator)
    portion = random_minibatches(config, sizes, minibatches, 1, generator)
    return lambda: train(program, portion)


def cohort_epoch(config: Resolved, R: int, sizes: Vocabulary, minibatches: int, pool: Executor, threads: int) -> Epoch:
    """R runs in chunks, over the threads of the pool: cut as a sweep of this one setting is."""
    generator = Generator().manual_seed(0)
    programs: list[Program] = []
    portions: list[Stacked] = []
    for chunk in chunks(range(R), chunk_size(config), threads):
        parameters = [initial(config, sizes, generator) for _ in chunk]
        portions.append(random_minibatches(config, sizes, minibatches, len(chunk), generator))
        generators = [Generator().manual_seed(k) for k in chunk]
        device = torch.device("cpu")
        programs.append(build("cohort", [config] * len(chunk), sizes, parameters, generators, device, minibatches))
    return lambda: deque(pool.map(train, programs, portions), maxlen=0)


def train(program: Program, portion: Stacked) -> None:
    """An epoch as training has it."""
    if isinstance(program, Cohort) and program.takes_portions:
        program.train(portion, carry=False)
        return
    for number, (x, y) in enumerate(zip(portion.inputs, portion.targets, strict=True)):
        program.step(x, y, carry=number > 0)


def seconds_of(epoch: Epoch) -> float:
    began = time.perf_counter()
    epoch()
    return time.perf_counter() - began


def spread(name: str, times: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = np.percentile(times, [25, 50, 75])
    return {name: float(middle), f"{name}_q25": float(low), f"{name}_q75": float(high)}


SHAPE = {
    "num_hiddens": "H",
    "replicas": "R",
    "batch_size": "B",
    "num_steps": "T",
    "vocabulary": "V",
    "threads": "threads",
}
"""Columns of a row's shape, by their headings."""


def describe(row: dict[str, object]) -> str:
    shape = " ".join(f"{heading} {row[name]}" for name, heading in SHAPE.items())
    return f"{row['model']} {shape}: {row['ratio']:.2f}× {row['baseline']} ({row['kernel']})"


def printed(table: pd.DataFrame) -> Table:
    """The table for the screen; of the shape what the rows differ in, and H and R."""
    out = Table(title="µs per minibatch and run (median, quartiles): smaller is better", **PLAIN)
    shape = [name for name in SHAPE if name in ("num_hiddens", "replicas") or table[name].nunique() > 1]
    headings = ["model", *(SHAPE[name] for name in shape), "baseline", "", "cohort", "ratio", "95 % interval"]
    for heading in headings:
        out.add_column(heading, justify="left" if heading in ("model", "baseline") else "right")
    for row in table.to_dict("records"):
        out.add_row(
            str(row["model"]),
            *(str(row[name]) for name in shape),
            str(row["baseline"]),
            *(
                f"{row[name]:,.0f} ({row[f'{name}_q25']:,.0f}–{row[f'{name}_q75']:,.0f})"
                for name in ("baseline_us", "cohort_us")
            ),
            f"{row['ratio']:.2f}×",
            f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}",
        )
    return out


def plot(table: pd.DataFrame, path: Path) -> None:
    """The ratio over the number of hidden units, a panel per model, a line per number of replicas and other shape."""
    import seaborn as sns
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(table["model"]))
    figure = Figure(figsize=(4.2 * len(models), 3.8))  # of no window, and of no other program's pyplot
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)
    by = ["replicas", *(name for name in list(SHAPE)[2:] if table[name].nunique() > 1)]
    lines = list(dict.fromkeys(table[by].itertuples(index=False, name=None)))
    colors = dict(zip(lines, sns.color_palette("colorblind", len(lines)), strict=True))
    markers = dict(zip(lines, cycle("osD^vPX*"), strict=False))
    low, high = min(1, table["ratio"].min()), max(1, table["ratio"].max())
    ticks = [tick for tick in TICKS if low / 1.5 < tick < 1.5 * high]
    for axis, model in zip(axes[0], models, strict=True):
        own = table[table["model"] == model]
        for shape, line in own.groupby(by, sort=False):
            label = ", ".join(f"{SHAPE[name]} = {value}" for name, value in zip(by, shape, strict=True))
            errors = [line["ratio"] - line["ratio_low"], line["ratio_high"] - line["ratio"]]
            axis.errorbar(
                line["num_hiddens"], line["ratio"], yerr=errors, color=colors[shape], marker=markers[shape], label=label
            )
        hiddens = sorted(set(own["num_hiddens"]))
        axis.axhline(1, color="0.4", linestyle="--", linewidth=1)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_xticks(hiddens, [str(H) for H in hiddens])
        axis.set_yticks(ticks, [f"{tick:g}×" for tick in ticks])
        axis.minorticks_off()
        axis.set_title(f"{model} / {own['baseline'].iloc[0]}")
        axis.set_xlabel("hidden units")
        sns.despine(ax=axis)
    axes[0][0].set_ylabel("training speed of cohort / baseline")
    axes[0][-1].legend(frameon=False)
    figure.tight_layout()
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format="png")
