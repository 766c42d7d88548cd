"""What TF32 products cost in quality, emulated on a CPU: paired over seeds, the same weights and minibatches.

    python docs/benchmarks/tf32_emulated.py --seeds 20 --epochs 200

The torch form of the cohort engine trains each seed twice, in float32 and with the factors of every product rounded to
the 11 bits of TF32; sums are float32's in both. A GPU sums in another order, and cuDNN's kernels are not emulated.
On a card: ablate run model=gru num_hiddens=64 precision=ieee,tf32 seeds=20 device=cuda
"""

import argparse
import math
import os
import statistics

os.environ["ABLATE_NATIVE"] = "0"

from scipy import stats

from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.data.corpora import as_used, load
from ablate.engines.cohort import bptt, chunks, prepare_thread
from ablate.networks.products import EXACT, Rounded, to_tf32
from ablate.training.choice import Choice
from ablate.training.loop import train_together

MEASURES = ("tail_perplexity", "val_perplexity")


def trained(config, seeds, corpus, products):
    """Measure → the logarithm of it, of each seed."""
    bptt.products_of = lambda precision, device: products
    records = []
    for chunk in chunks(range(seeds), 5):
        records += train_together([config.but(seed=k) for k in chunk], corpus, Choice("cohort", {}))
    return {name: [math.log(record.metrics[name]) for record in records] for name in MEASURES}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gru")
    parser.add_argument("--num-hiddens", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=200)
    given = parser.parse_args()
    prepare_thread()
    words = [f"model={given.model}", f"num_hiddens={given.num_hiddens}", f"epochs={given.epochs}", "data=time_machine"]
    config = resolve(compose([*words, "device=cpu", "engine=cohort"]))
    corpus = load(config.data)
    config = as_used(config, corpus)
    exact, rounded = (trained(config, given.seeds, corpus, products) for products in (EXACT, Rounded(to_tf32)))
    print(f"{' '.join(words)}: {given.seeds} seeds, log-perplexity, emulated TF32 − float32, mean and 95 % t interval")
    for name in MEASURES:
        differences = [b - a for a, b in zip(exact[name], rounded[name], strict=True)]
        half = stats.t.ppf(0.975, given.seeds - 1) * statistics.stdev(differences) / given.seeds**0.5
        mean, middle = statistics.fmean(differences), math.exp(statistics.fmean(exact[name]))
        print(f"{name} {middle:.3f}: {mean:+.5f} ({mean - half:+.5f} to {mean + half:+.5f})")


if __name__ == "__main__":
    main()
