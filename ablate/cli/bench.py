"""Measurements: what is fast, and how fast.

ablate bench engines                        the cohort engine against torch.nn
ablate bench settings model=gru,lstm …      tokens per second of any settings
ablate bench results/NAME                   … of the settings of a sweep that have no clean timing here
ablate bench gpu                            what a GPU computes and how fast, in eight minutes: a page for each card
"""

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ablate.cli.command import Parser, by_parser, duration
from ablate.cli.commands import run_command

Item = TypeVar("Item")


def bench(arguments: list[str]) -> int:
    """0; 2 where nothing could be timed, 1 where a GPU does not compute what it should, or a check gave no answer."""
    if arguments[:1] == ["cells"]:  # its name until version 0.1
        arguments = ["settings", *arguments[1:]]
    if arguments[:1] == ["engines"]:
        bench_engines(arguments[1:])
        return 0
    if arguments[:1] == ["gpu"]:
        return 0 if bench_gpu(arguments[1:]) else 1
    return 0 if bench_settings(arguments) else 2


def bench_engines(arguments: Sequence[str]) -> None:
    options = engines_parser().parse_args(arguments)
    from ablate.timing.engines import Settings, run

    run(Settings(**vars(options)))


def bench_gpu(arguments: Sequence[str]) -> bool:
    options = gpu_parser().parse_args(arguments)
    from ablate.timing.gpu.bench import Options, run

    return run(Options(**vars(options)))


def bench_settings(arguments: Sequence[str]) -> bool:
    options = settings_parser().parse_args(arguments)
    from ablate.sweeping import timings as settings

    return settings.run(options.what, options)


def engines_parser() -> Parser:
    engines = Parser(
        "bench engines",
        "Compare the time that training takes in torch.nn (for a cell that torch.nn lacks, by its equations under "
        "autograd), one run after the other in one thread, with the cohort engine. Both take turns in one process, "
        "with one layer, SGD and clipping.",
    )
    engines.add_argument(
        "--models",
        type=several(str),
        default=["rnn", "gru", "lstm"],
        help="models, as in model= (default: rnn,gru,lstm)",
    )
    engines.add_argument(
        "--hiddens",
        type=several(positive),
        default=[32, 64, 128, 256, 512, 1024],
        help="hidden units (default: 32,64,…,1024)",
    )
    engines.add_argument(
        "--replicas", type=several(positive), default=[1, 4, 20], help="runs that train together (default: 1,4,20)"
    )
    engines.add_argument("--threads", type=several(positive), default=[1], help="threads of the cohort (default: 1)")
    engines.add_argument(
        "--batch-sizes", type=several(positive), default=[32], help="sequences of a minibatch (default: 32)"
    )
    engines.add_argument("--steps", type=several(positive), default=[35], help="tokens of a sequence (default: 35)")
    engines.add_argument(
        "--vocabularies", type=several(positive), default=[28], help="sizes of the vocabulary (default: 28)"
    )
    engines.add_argument(
        "--features",
        type=positive,
        help="real numbers of a step, in the place of a token; then --vocabularies are classes, and the last step "
        "alone is scored, as in task=classification",
    )
    engines.add_argument(
        "--seconds", type=seconds, default=5.0, help="time for each row of the table, at least 6 rounds (default: 5)"
    )
    engines.add_argument(
        "--out", type=Path, default=Path("results/bench-engines"), help="folder of engines.csv and engines.png"
    )
    return engines


def gpu_parser() -> Parser:
    gpu = Parser(
        "bench gpu",
        "Check that a GPU computes what the CPU does, time each model and size as it is trained there, one run at a "
        "time by torch.nn and in cohorts, and time whole commands; one page and one JSON file with the card's name.",
    )
    gpu.add_argument(
        "--device", type=device, default="cuda", help="cuda, cuda:1 … (default: cuda); cpu: a rehearsal with tiny sizes"
    )
    gpu.add_argument(
        "--budget", type=budget, default=480.0, help="the longest time, such as 90s or 8min (default: 8min)"
    )
    gpu.add_argument("--out", type=Path, default=Path("results/bench-gpu"), help="folder of the page")
    return gpu


def settings_parser() -> Parser:
    settings = Parser("bench", __doc__)
    settings.add_argument("what", nargs="+", help="engines, gpu, a sweep's folder, or: settings and knob=value …")
    settings.add_argument(
        "--precision",
        type=share,
        default=0.02,
        help="half the width of the interval at which a timing is precise enough, as a share (default: 0.02)",
    )
    settings.add_argument(
        "--limit", type=seconds, default=30.0, help="seconds per setting and thread count (default: 30)"
    )
    settings.add_argument(
        "--threads", type=several(positive), help="thread counts, such as 1,8 (default: 1 and all cores; on a GPU 1)"
    )
    settings.add_argument(
        "--again", action="store_true", help="also time settings that already have a clean timing on this machine"
    )
    return settings


def several(one: Callable[[str], Item]) -> Callable[[str], list[Item]]:
    """A parser of comma-separated values."""
    return lambda text: list(dict.fromkeys(one(part) for part in text.split(",")))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device to measure; choose cuda, cuda:1 … or cpu")
    return text


def budget(text: str) -> float:
    """Seconds of 90, 90s or 1.5min."""
    return duration(text) if text[-1:].isalpha() else seconds(text)


def share(text: str) -> float:
    value = seconds(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1, such as 0.02")
    return value


def help_of(words: list[str]) -> str:
    parsers = {"engines": engines_parser, "gpu": gpu_parser}
    return parsers.get("".join(words[:1]), settings_parser)().format_help()


COMMAND = by_parser(
    "bench",
    "measure tokens per second of settings, or compare the engines",
    bench,
    settings_parser,
    takes=("engines", "gpu", "settings", "sweeps"),
    help=help_of,
)

main = partial(run_command, COMMAND)
"""`ablate bench` with these arguments; its exit status."""
