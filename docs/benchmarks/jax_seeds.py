"""The same training in JAX, beside the cohort engine: what someone has who writes vmap over seeds, scan and jit.

    pip install jax
    python docs/benchmarks/jax_seeds.py --hiddens 32,128 --seconds 20

A gated recurrent unit (reset after the product), a softmax over V words, cross-entropy, clipping of the gradient's norm
to 1, SGD; R seeds with their own parameters and tokens. Both sides are held to one core and one thread, and take turns
in one process; reported is the median of the ratios of their times within a round. Of JAX's forms the fastest counts:
the input as rows of the matrix or as one-hot vectors, seeds under vmap or one after the other (lax.map), the loop over
time unrolled by 1 or 5. The first thing checked is that both sides compute the same loss.
"""

import argparse
import itertools
import os
import statistics
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX counts the cores

import jax
import jax.numpy as jnp
import torch
from jax import lax

from ablate.config.composing import compose
from ablate.engines.cohort import chunks
from ablate.networks.parameters import initial
from ablate.training.choice import build

V, B, T, R, CLIP, LR = 28, 32, 35, 20, 1.0, 0.5
GATES = ("reset", "update", "candidate")


def step(one_hot, unroll):
    """(parameters, state, tokens (T, B), targets) → (parameters, state, loss) of one seed."""

    def loss_of(p, state, tokens, targets):
        W_x = jnp.concatenate([p[f"0.{gate}.W_x"] for gate in GATES], 1)
        W_h = jnp.concatenate([p[f"0.{gate}.W_h"] for gate in GATES], 1)
        b_x = jnp.concatenate([p[f"0.{gate}.b_x"] for gate in GATES])
        b_h = jnp.concatenate([p[f"0.{gate}.b_h"] for gate in GATES])
        X = (jax.nn.one_hot(tokens, V) @ W_x if one_hot else W_x[tokens]) + b_x

        def forward(h, x):
            a_r, a_z, a_c = jnp.split(x, 3, -1)
            u_r, u_z, u_c = jnp.split(h @ W_h + b_h, 3, -1)
            reset, update = jax.nn.sigmoid(a_r + u_r), jax.nn.sigmoid(a_z + u_z)
            h = update * h + (1 - update) * jnp.tanh(a_c + reset * u_c)
            return h, h

        state, Y = lax.scan(forward, state, X, unroll=unroll)
        logits = jax.nn.log_softmax(Y @ p["output.W"] + p["output.b"])
        return -jnp.take_along_axis(logits, targets[..., None], -1).mean(), state

    def train(p, state, tokens, targets):
        (loss, state), grads = jax.value_and_grad(loss_of, has_aux=True)(p, state, tokens, targets)
        norm = jnp.sqrt(sum((g**2).sum() for g in grads.values()))
        rate = LR * jnp.minimum(1, CLIP / norm)
        return {name: value - rate * grads[name] for name, value in p.items()}, state, loss

    return train


def compare(H, seconds, minibatches=9):
    """Print a line: microseconds per minibatch and seed of both, and their ratio."""
    knobs = [f"num_hiddens={H}", f"batch_size={B}", f"num_steps={T}", "optimizer=sgd", f"lr={LR}", f"clip={CLIP}"]
    config = compose(["model=gru", "formulation=torch", *knobs])
    generator = torch.Generator().manual_seed(0)
    drawn = [initial(config, V, generator) for _ in range(R)]
    tokens = torch.randint(V, (minibatches, 2, R, T, B), generator=generator)

    of_chunks = []
    for chunk in chunks(range(R), config):
        parameters = [drawn[k] for k in chunk]
        seeds = [torch.Generator()] * len(chunk)
        own = build("cohort", [config] * len(chunk), V, parameters, seeds, torch.device("cpu"), minibatches)
        of_chunks.append((own, tokens[:, :, list(chunk)].contiguous()))

    def ours():
        losses = [[p.step(x, y, carry=n > 0) for n, (x, y) in enumerate(own)] for p, own in of_chunks]
        return torch.cat([of_chunk[0] for of_chunk in losses])

    # By name, not in the order of the matrix: JAX's and ours need not agree on it.
    start = {name: jnp.stack([jnp.asarray(p[name].numpy()) for p in drawn]) for name in drawn[0]}
    on_jax = jnp.asarray(tokens.numpy())
    forms = {}
    for one_hot, one_by_one, unroll in itertools.product((False, True), (False, True), (1, 5)):
        single = step(one_hot, unroll)
        many = (lambda *of, f=single: lax.map(lambda a: f(*a), of)) if one_by_one else jax.vmap(single)
        name = f"{'one-hot' if one_hot else 'gather'}, {'map' if one_by_one else 'vmap'}, unroll {unroll}"
        forms[name] = jax.jit(many)

    def theirs(form):
        p, state, losses = start, jnp.zeros((R, B, H)), None
        for x, y in on_jax:
            p, state, loss = form(p, state, x, y)
            losses = loss if losses is None else losses
        return jax.block_until_ready((p, losses))[1]

    first = ours()
    for form in forms.values():
        difference = float(abs(jnp.asarray(first.numpy()) - theirs(form)).max())
        assert difference < 1e-5, f"the losses differ by {difference}"
    times = {name: [] for name in ("ours", *forms)}
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(times["ours"]) < 3:
        for name, run in [("ours", ours), *((name, lambda f=form: theirs(f)) for name, form in forms.items())]:
            at = time.perf_counter()
            run()
            times[name].append(1e6 * (time.perf_counter() - at) / minibatches / R)
    best = min(forms, key=lambda name: statistics.median(times[name]))
    ratio = statistics.median(jax_us / own_us for jax_us, own_us in zip(times[best], times["ours"], strict=True))
    own_us, jax_us = statistics.median(times["ours"]), statistics.median(times[best])
    print(f"H {H}: ablate {own_us:.0f} µs, JAX {jax.__version__} {jax_us:.0f} µs ({best}): {ratio:.2f}×", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hiddens", default="32,128", help="default: 32,128")
    options.add_argument("--seconds", type=float, default=20.0, help="for each number of hidden units (default: 20)")
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for hidden in given.hiddens.split(","):
        compare(int(hidden), given.seconds)
