"""How fast the cohort engine trains, beside torch.nn: a table, a CSV and a plot.

A round trains one epoch (of the course's 10,000 tokens) with each engine: torch.nn one run, the cohort its chunks
one after the other, as training does. The order of the engines alternates from round to round. Reported are
medians over rounds of the time per minibatch and run, with their quartiles; the ratio is the median of the
ratios within a round, with a 95 % bootstrap interval.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from torch import Generator

from ablate.config.composing import compose
from ablate.config.schema import Config
from ablate.config.terminal import lines
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import chunks, training_threads
from ablate.networks.parameters import initial
from ablate.records.environment import environment
from ablate.records.files import make_folder, replacing, write_csv
from ablate.report.tables import PLAIN, print_whole
from ablate.training.choice import build, kernel

V, B, T, MINIBATCHES = 28, 32, 35, 9
"""Vocabulary, batch size, steps and minibatches per epoch of the course's protocol."""
MINIMUM_ROUNDS = 3
SMALL_EPOCH = 256
"""Above this many hidden units a round trains fewer minibatches: a minibatch takes long enough to time."""

Epoch = Callable[[], None]


@dataclass(frozen=True)
class Settings:
    """What to measure, and where the table goes. `seconds` is the time for each row."""

    models: list[str]
    hiddens: list[int]
    replicas: list[int]
    seconds: float
    out: Path


def run(settings: Settings) -> pd.DataFrame:
    """Measure, print, and write `engines.csv` and `engines.png`; the table. Raises StorageError."""
    make_folder(settings.out)
    say = lines(stderr=False)
    rows = []
    with training_threads(1) as thread:
        for config, R in rows_of(settings):
            rows.append(thread.submit(measure, config, R, settings.seconds).result())
            say(describe(rows[-1]))
    table = pd.DataFrame(rows)
    print_whole(printed(table))
    write_csv(settings.out / "engines.csv", table)
    plot(table, settings.out / "engines.png")
    say(f"wrote {settings.out}/engines.csv and engines.png")
    return table


def rows_of(settings: Settings) -> Iterator[tuple[Config, int]]:
    """The config and the number of replicas of each row."""
    for model in settings.models:
        for H in settings.hiddens:
            config = replace(compose([f"model={model}", "optimizer=sgd"]), num_hiddens=H, batch_size=B, num_steps=T)
            for R in settings.replicas:
                yield config, R


def measure(config: Config, R: int, seconds: float) -> dict[str, object]:
    """One row: both engines in turns for about `seconds`, after one round of warm-up."""
    minibatches = MINIBATCHES if config.num_hiddens <= SMALL_EPOCH else 2
    torch_nn, cohort = torch_nn_epoch(config, minibatches), cohort_epoch(config, R, minibatches)
    torch_nn()
    cohort()
    nn_times: list[float] = []
    cohort_times: list[float] = []
    began = time.perf_counter()
    while len(nn_times) < MINIMUM_ROUNDS or time.perf_counter() - began < seconds:
        turns = [(torch_nn, nn_times, 1), (cohort, cohort_times, R)]
        for epoch, times, runs in turns if len(nn_times) % 2 == 0 else turns[::-1]:
            times.append(1e6 * seconds_of(epoch) / minibatches / runs)
    ratios = [nn / own for nn, own in zip(nn_times, cohort_times, strict=True)]
    low, high = interval(ratios)
    facts = environment()
    return {
        "model": config.model.name,
        "num_hiddens": config.num_hiddens,
        "replicas": R,
        **spread("torch_nn_us", nn_times),
        **spread("cohort_us", cohort_times),
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
        "rounds": len(ratios),
        "kernel": kernel("cohort", config, V, torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": facts["torch"],
        "cpu": facts["cpu"],
        "git_commit": facts["git_commit"],
    }


def torch_nn_epoch(config: Config, minibatches: int) -> Epoch:
    """One run with torch.nn and autograd."""
    generator = Generator().manual_seed(0)
    program = AutogradProgram("torch_nn", config, V, initial(config, V, generator))
    tokens = torch.randint(V, (minibatches, 2, 1, T, B), generator=generator)

    def epoch() -> None:
        for number, (x, y) in enumerate(tokens):
            program.step(x, y, carry=number > 0)

    return epoch


def cohort_epoch(config: Config, R: int, minibatches: int) -> Epoch:
    """R runs in chunks."""
    generator = Generator().manual_seed(0)
    programs = []
    for chunk in chunks(range(R), config):
        parameters = [initial(config, V, generator) for _ in chunk]
        tokens = torch.randint(V, (minibatches, 2, len(chunk), T, B), generator=generator)
        generators = [generator] * len(chunk)
        program = build("cohort", [config] * len(chunk), V, parameters, generators, torch.device("cpu"), minibatches)
        programs.append((program, tokens))

    def epoch() -> None:
        for program, tokens in programs:
            for number, (x, y) in enumerate(tokens):
                program.step(x, y, carry=number > 0)

    return epoch


def seconds_of(epoch: Epoch) -> float:
    began = time.perf_counter()
    epoch()
    return time.perf_counter() - began


def spread(name: str, times: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = np.percentile(times, [25, 50, 75])
    return {name: float(middle), f"{name}_q25": float(low), f"{name}_q75": float(high)}


def interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (draws, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def describe(row: dict[str, object]) -> str:
    return f"{row['model']} H {row['num_hiddens']} R {row['replicas']}: {row['ratio']:.2f}×"


def printed(table: pd.DataFrame) -> Table:
    """The table for the screen."""
    threads = int(table["threads"].iloc[0])
    out = Table(title=f"µs per minibatch and run (median, quartiles), {threads} thread: smaller is better", **PLAIN)
    for name in ("model", "H", "R", "torch.nn", "cohort", "ratio", "95 % interval"):
        out.add_column(name, justify="left" if name == "model" else "right")
    for row in table.to_dict("records"):
        out.add_row(
            str(row["model"]),
            str(row["num_hiddens"]),
            str(row["replicas"]),
            *(
                f"{row[name]:,.0f} ({row[f'{name}_q25']:,.0f}–{row[f'{name}_q75']:,.0f})"
                for name in ("torch_nn_us", "cohort_us")
            ),
            f"{row['ratio']:.2f}×",
            f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}",
        )
    return out


def plot(table: pd.DataFrame, path: Path) -> None:
    """The ratio over the number of hidden units, a panel per model, a line per number of replicas."""
    import seaborn as sns
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(table["model"]))
    figure = Figure(figsize=(4.2 * len(models), 3.8))  # of no window, and of no other program's pyplot
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)
    replicas = sorted(set(table["replicas"]))
    colors = dict(zip(replicas, sns.color_palette("colorblind", len(replicas)), strict=True))
    markers = dict(zip(replicas, "osD^vPX*" * len(replicas), strict=False))
    low, high = min(1, table["ratio"].min()), max(1, table["ratio"].max())
    ticks = [tick for tick in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16) if low / 1.5 < tick < 1.5 * high]
    for axis, model in zip(axes[0], models, strict=True):
        own = table[table["model"] == model]
        for R, line in own.groupby("replicas"):
            errors = [line["ratio"] - line["ratio_low"], line["ratio_high"] - line["ratio"]]
            axis.errorbar(
                line["num_hiddens"], line["ratio"], yerr=errors, color=colors[R], marker=markers[R], label=f"R = {R}"
            )
        hiddens = sorted(set(own["num_hiddens"]))
        axis.axhline(1, color="0.4", linestyle="--", linewidth=1)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_xticks(hiddens, [str(H) for H in hiddens])
        axis.set_yticks(ticks, [f"{tick:g}×" for tick in ticks])
        axis.minorticks_off()
        axis.set_title(model)
        axis.set_xlabel("hidden units")
        sns.despine(ax=axis)
    axes[0][0].set_ylabel("training speed of cohort / torch.nn")
    axes[0][-1].legend(title="replicas", frameon=False)
    figure.tight_layout()
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format="png")
