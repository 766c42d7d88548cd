"""A layer over all its steps, forward and back, beside FlashRNN: its heads do not know of each other, as our replicas.

    pip install flashrnn
    python docs/benchmarks/flashrnn_heads.py --models lstm,gru --hiddens 32,64,128,256 --replicas 20,120

Both get the share of the input of every step and the recurrent weights, and give back states and the gradients of all
that they were given. FlashRNN (Pöppel et al. 2024) computes in bfloat16 or float32; what computes float32 on tensor
cores rounds its factors, as our `tf32` does, which the column of differences shows. Both take turns in one process;
reported are medians, microseconds for a minibatch of one replica. The least time is that of the products alone, of the
programs that our kernels would be (tiles of 32 sequences), at the arithmetic that a multiprocessor has.

With `--check` the vanilla form of FlashRNN is compared with ours on any device, and nothing is timed.
"""

import argparse
import importlib.util
import math
import statistics
import sys

import torch

from ablate.cells.cell import variant_of
from ablate.cells.derivative import derived
from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.engines.cohort.cuda import choose
from ablate.networks.recurrence import recurrence

GATES = {
    "lstm": ("input", "forget", "candidate", "output"),
    "gru": ("candidate", "reset", "update"),
    "rnn": ("candidate",),
}
"""Of each model in the order of FlashRNN's recurrent matrices."""
NAMES = {"lstm": "lstm", "gru": "gru", "rnn": "elman"}
PER_CLOCK = {"ieee": 128, "tf32": 1024}
"""Multiplications with an addition, of a multiprocessor of compute capability 9.0."""


def derivative(model):
    options = {"gru": ["reset=after"]}.get(model, [])
    config = resolve(compose([f"model={model}", "formulation=torch", *options]))
    return derived(variant_of(config).structure, "state", True, 2)


def drawn(d, R, T, B, H, device):
    """What `recurrence` is given: shares of the input, states, matrices, vectors; zero states."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape, scale=1.0):
        return (scale * torch.randn(*shape, generator=generator)).to(device).requires_grad_()

    shares = normal(R, T, B, len(d.inputs) * H)
    states = [torch.zeros(R, B, H, device=device) for _ in d.states]
    matrices = [normal(R, len(g.operand) * H, len(g.products) * H, scale=H**-0.5) for g in d.groups]
    return shares, states, matrices, [normal(R, 1, H) for _ in d.vectors]


def as_heads(model, d, shares, states, matrices, vectors):
    """The same as FlashRNN takes it: inputs (B, T, G, R, H), matrices (G, R, H, H), biases (G, R, H), states."""
    H = states[0].shape[-1]
    (group,), (W,) = d.groups, matrices
    columns = {name: n for n, (name, _) in enumerate(group.weights)}
    inputs = {name: n for n, name in enumerate(d.inputs)}
    own = GATES[model]
    matrices = torch.stack([W[..., columns[g] * H : (columns[g] + 1) * H].transpose(1, 2) for g in own])
    order = own if model != "gru" else ("reset", "update", "candidate")
    x = torch.stack([shares[..., inputs[g] * H : (inputs[g] + 1) * H] for g in order])  # (G, R, T, B, H)
    if model == "gru":  # with a fourth one, of the share of the input alone; what is added to the product comes first
        (b,) = vectors
        zero = torch.zeros_like(b[:, 0])
        biases = torch.stack([b[:, 0], zero, zero, zero])
        x = torch.cat([x, torch.zeros_like(x[:1])])
    else:
        biases = torch.zeros(len(own), len(W), H, device=W.device)
    initial = torch.stack(states).permute(0, 2, 1, 3).unsqueeze(2)  # (S, B, 1, R, H)
    given = (x.permute(3, 2, 0, 1, 4), matrices, biases)
    return [tensor.detach().contiguous().requires_grad_() for tensor in given], initial.contiguous()


def theirs(model, heads, initial, backend, dtype):
    from flashrnn import flashrnn

    kind = getattr(torch, dtype)
    given = [tensor.detach().to(kind).requires_grad_() for tensor in heads]

    def run():
        states, _ = flashrnn(*given, states=initial.to(kind), function=NAMES[model], backend=backend, dtype=dtype)
        return states[0], torch.autograd.grad(states[0].sum(), given)

    return run


def ours(d, given):
    shares, states, matrices, vectors = given

    def run():
        outputs, _ = recurrence(d, shares, states, matrices, vectors)
        return outputs, torch.autograd.grad(outputs.sum(), [shares, *matrices, *vectors])

    return run


def difference(outputs, states):
    """Between our outputs (R, T, B, H) and their states (B, T, R, H)."""
    return float((outputs - states.permute(2, 1, 0, 3)).detach().abs().max())


def least_us(d, R, T, B, H, precision, processors, clock):
    """The least time of the products of both ways, and of the gradients of the weights."""
    work = B * H * H * sum(len(g.operand) * len(g.products) for g in d.groups)
    rounds = math.ceil(R * math.ceil(B / 32) / processors)
    steps = 2 * T * rounds * (work / math.ceil(B / 32)) / PER_CLOCK[precision]
    weights = R * T * work / processors / PER_CLOCK[precision]
    return (steps + weights) / clock / R * 1e6


def multiply(precision):
    """From now on, for both."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def timed(run):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return 1000 * start.elapsed_time(end)


def compare(model, R, T, B, H, backends, rounds, clock):
    device = torch.device("cuda")
    d = derivative(model)
    given = drawn(d, R, T, B, H, device)
    heads, initial = as_heads(model, d, *given)
    runs = {}
    for precision in PER_CLOCK:
        multiply(precision)
        name = choose(d, R, B, H, torch.float32, device).name
        runs[f"ablate {name} {precision}"] = precision, ours(d, given)
    for backend in backends:
        for dtype in ("float32", "bfloat16"):
            runs[f"flashrnn {backend} {dtype}"] = "ieee", theirs(model, heads, initial, backend, dtype)
    multiply("ieee")
    exact, _ = next(iter(runs.values()))[1]()
    found, errors = {}, {}
    for name, (precision, run) in runs.items():
        multiply(precision)
        try:
            made = run()[0]
        except Exception as error:  # a size that it has no kernel for
            print(f"{model} H {H} R {R}: {name} fails: {(str(error).splitlines() or [type(error).__name__])[0]}")
            continue
        errors[name] = (
            difference(exact, made.float()) if name.startswith("flash") else float((made - exact).detach().abs().max())
        )
        found[name] = []
    for _ in range(rounds):
        for name, times in found.items():
            precision, run = runs[name]
            multiply(precision)
            times.append(timed(run) / R)
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    for name, times in found.items():
        precision = "ieee" if name.endswith("ieee") else "tf32"
        least = least_us(d, R, T, B, H, precision, processors, clock)
        median = statistics.median(times)
        print(
            f"{model} H {H} R {R}: {name}: {median:.1f} µs (least {least:.1f}), differs by {errors[name]:.1e}",
            flush=True,
        )
    if found:
        best = min(found, key=lambda name: statistics.median(found[name]))
        print(f"{model} H {H} R {R}: {best} is the fastest", flush=True)


def check(model, R=3, T=4, B=2, H=8):
    """Raises AssertionError where FlashRNN's equations are not ours."""
    d = derivative(model)
    given = drawn(d, R, T, B, H, torch.device("cpu"))
    heads, initial = as_heads(model, d, *given)
    outputs, (d_shares, d_W, *_) = ours(d, given)()
    states, (d_x, d_R, *_) = theirs(model, heads, initial, "vanilla", "float32")()
    found = difference(outputs, states)
    assert found < 1e-5, f"{model}: states differ by {found}"
    assert abs(float(d_shares.square().sum() - d_x.square().sum())) < 1e-3, f"{model}: gradients at the input"
    assert abs(float(d_W.square().sum() - d_R.square().sum())) < 1e-3, f"{model}: gradients at the weights"
    print(f"{model}: the same to {found:.1e}")


def missing(check_only):
    """What the comparison needs and this machine has not."""
    reasons = [] if importlib.util.find_spec("flashrnn") else ["flashrnn (pip install flashrnn)"]
    return reasons + ([] if check_only or torch.cuda.is_available() else ["a CUDA device"])


def main(arguments=None):
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", default="lstm,gru", help=f"of {', '.join(NAMES)} (default: lstm,gru)")
    options.add_argument("--hiddens", default="32,64,128,256")
    options.add_argument("--replicas", default="20,120")
    options.add_argument("--backends", default="cuda_fused,cuda", help="of FlashRNN (default: cuda_fused,cuda)")
    options.add_argument("--steps", type=int, default=35)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--clock", type=float, default=1.98, help="GHz, for the least time (default: 1.98)")
    options.add_argument("--check", action="store_true", help="compare the equations, on any device")
    given = options.parse_args(arguments)
    if lacking := missing(given.check):
        print(f"this comparison needs {' and '.join(lacking)}", file=sys.stderr)
        return 1
    for model in given.models.split(","):
        if given.check:
            check(model)
            continue
        for H in map(int, given.hiddens.split(",")):
            for R in map(int, given.replicas.split(",")):
                compare(
                    model, R, given.steps, given.batch, H, given.backends.split(","), given.rounds, given.clock * 1e9
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
