"""A cohort against its replicas alone and against the plain engines: trajectories, freezing, checkpoint. CPU, 10 s."""

import ctypes
import gc
import itertools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.composing import compose
from ablate.config.schema import Config, with_seed
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort, chunk_size, chunks, memory_bytes, prepare_thread
from ablate.networks.parameters import initial
from ablate.networks.products import PACKED_FROM
from tests.engines.sample_networks import Batch, batches, network, train, weights

V, R = 7, 4
CELLS = ["rnn", "gru", "lstm"]
OPTIMIZERS = ["sgd", "momentum", "adam", "adamw", "rmsprop"]


def replicas(config: Config) -> list[Config]:
    """Replicas that differ in everything they may differ in."""
    lrs, clips = (0.5, 1.0, 0.3, 0.7), (1.0, None, 0.1, 0.3)
    return [
        with_seed(config, k).but(lr=config.lr * lr, clip=clip)
        for k, (lr, clip) in enumerate(zip(lrs, clips, strict=True))
    ]


def generators(configs: Sequence[Config]) -> list[Generator]:
    return [Generator().manual_seed(config.seed) for config in configs]


def run(
    configs: Sequence[Config],
    parameters: Sequence[dict[str, Tensor]],
    minibatches: Sequence[Batch],
    carry: bool = True,
) -> tuple[Tensor, Cohort]:
    """Losses (updates, R) and the cohort afterwards."""
    cohort = Cohort(configs, V, parameters, generators=generators(configs))
    return torch.stack([cohort.step(x, y, carry=carry) for x, y in minibatches]), cohort


def of_replica(minibatches: Sequence[Batch], k: int) -> list[Batch]:
    return [(x[k], y[k]) for x, y in minibatches]


@pytest.mark.full
@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS)
def test_thirty_updates_equal_those_of_the_plain_engines(cell: str, optimizer: str, decay: float) -> None:
    config = network(f"model={cell}", f"optimizer={optimizer}", f"optimizer.weight_decay={decay}", bias_vectors=2)
    if optimizer == "rmsprop" and decay:
        config = config.but(optimizer=config.optimizer.but(momentum=0.5))
    configs = replicas(config)
    parameters = [weights(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 30)
    losses, cohort = run(configs, parameters, minibatches)
    for k, own in enumerate(configs):
        for engine in ("eager", "torch_nn"):
            expected, final = train(engine, own, V, parameters[k], of_replica(minibatches, k), carry=True)
            torch.testing.assert_close(losses[:, k].tolist(), expected, rtol=1e-8, atol=1e-8)
            for name, tensor in final.items():
                torch.testing.assert_close(cohort.named_tensors(k)[name], tensor, rtol=1e-7, atol=1e-7)


@pytest.mark.full
@pytest.mark.parametrize("carry", [False, True], ids=["zero", "carried"])
@pytest.mark.parametrize("reset", ["before", "after"])
def test_thirty_updates_with_layers_and_dropout(reset: str, carry: bool) -> None:
    config = network("model=gru", reset=reset, layers=3, dropout=0.3, bias_vectors=2)
    configs = replicas(config)
    parameters = [weights(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 30)
    losses, _ = run(configs, parameters, minibatches, carry)
    for k, own in enumerate(configs):
        expected, _ = train("eager", own, V, parameters[k], of_replica(minibatches, k), carry)
        torch.testing.assert_close(losses[:, k].tolist(), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.full
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("H", [2, 5, 32, 64])
@pytest.mark.parametrize("cell", CELLS)
def test_a_replica_in_a_cohort_is_the_replica_alone(cell: str, H: int, dtype: torch.dtype, optimizer: str) -> None:
    config = network(f"model={cell}", f"optimizer={optimizer}", num_hiddens=H, layers=2, dropout=0.2, batch_size=32)
    configs = replicas(config)
    parameters = [weights(config, V, seed, dtype) for seed in range(R)]
    minibatches = batches(config, V, R, 6)
    together, cohort = run(configs, parameters, minibatches)
    for k in range(R):
        alone, single = run([configs[k]], [parameters[k]], [(x[k : k + 1], y[k : k + 1]) for x, y in minibatches])
        assert torch.equal(together[:, k], alone[:, 0])
        for name, tensor in single.named_tensors(0).items():
            assert torch.equal(cohort.named_tensors(k)[name], tensor), name


@pytest.mark.full
@pytest.mark.parametrize("B", [1, 3, 7])
@pytest.mark.parametrize("cell", CELLS)
def test_batches_that_fill_no_vector_agree_to_rounding(cell: str, B: int) -> None:
    config = network(f"model={cell}", layers=2, dropout=0.2, batch_size=B)
    configs = replicas(config)
    parameters = [weights(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 10)
    together, _ = run(configs, parameters, minibatches)
    for k in range(R):
        alone, _ = run([configs[k]], [parameters[k]], [(x[k : k + 1], y[k : k + 1]) for x, y in minibatches])
        torch.testing.assert_close(together[:, k], alone[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_diverging_neighbour_changes_nothing(cell: str, optimizer: str) -> None:
    config = network(f"model={cell}", f"optimizer={optimizer}", "optimizer.weight_decay=0.01")
    configs = [config.but(seed=k) for k in range(R)]
    healthy = [weights(config, V, seed, torch.float32) for seed in range(R)]
    broken = [dict(p) for p in healthy]
    broken[1]["output.b"] = torch.full_like(broken[1]["output.b"], math.nan)
    minibatches = batches(config, V, R, 8)
    expected, untouched = run(configs, healthy, minibatches)
    losses, cohort = run(configs, broken, minibatches)
    others = [0, 2, 3]
    assert torch.equal(losses[:, others], expected[:, others])
    assert cohort.alive.tolist() == [True, False, True, True]
    for k in others:
        for name, tensor in untouched.named_tensors(k).items():
            assert torch.equal(cohort.named_tensors(k)[name], tensor), name
    for name, tensor in broken[1].items():
        torch.testing.assert_close(cohort.named_tensors(1)[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_a_replica_freezes_at_the_loss_it_diverged_with() -> None:
    config = network("model=rnn", "model.activation=relu", clip=None, lr=1e30)
    calm = config.but(lr=0.1)
    parameters = [weights(config, V, seed, torch.float32) for seed in range(2)]
    losses, cohort = run([config, calm], parameters, batches(config, V, 2, 12))
    assert cohort.alive.tolist() == [False, True]
    end = losses[-1, 0]
    assert not math.isfinite(end)
    first = next(i for i, loss in enumerate(losses[:, 0].tolist()) if not math.isfinite(loss))
    assert all(torch.equal(loss.nan_to_num(), end.nan_to_num()) for loss in losses[first:, 0])
    assert losses[:, 1].isfinite().all()


@pytest.mark.full
@pytest.mark.parametrize(
    ("cell", "optimizer"),
    [
        pytest.param(cell, optimizer, marks=[pytest.mark.full] if optimizer != "sgd" and cell != "lstm" else [])
        for cell in CELLS
        for optimizer in OPTIMIZERS
    ],
)
def test_a_checkpoint_goes_on_bit_for_bit(cell: str, optimizer: str) -> None:
    config = network(f"model={cell}", f"optimizer={optimizer}", layers=2, dropout=0.3, batch_size=32)
    configs = replicas(config)
    parameters = [weights(config, V, seed, torch.float32) for seed in range(R)]
    minibatches = batches(config, V, R, 10)
    whole, uninterrupted = run(configs, parameters, minibatches)
    _, first = run(configs, parameters, minibatches[:5])
    saved = first.replica_states()
    for together in (slice(0, 3), slice(3, 4)):  # grouped otherwise than before
        second = Cohort(configs[together], V, parameters[together], generators=generators(configs[together]))
        second.load_replica_states(saved[together])
        resumed = torch.stack([second.step(x[together], y[together], carry=True) for x, y in minibatches[5:]])
        assert torch.equal(resumed, whole[5:, together])
        for k in range(len(second)):
            for name, tensor in uninterrupted.named_tensors(together.start + k).items():
                assert torch.equal(second.named_tensors(k)[name], tensor), name


def test_a_checkpoint_remembers_who_is_frozen() -> None:
    config = network("model=rnn")
    parameters = [weights(config, V, seed) for seed in range(2)]
    parameters[0]["output.b"][0] = math.inf
    minibatches = batches(config, V, 2, 2)
    _, cohort = run([config] * 2, parameters, minibatches)
    other = Cohort([config] * 2, V, parameters)
    other.load_replica_states(cohort.replica_states())
    assert other.alive.tolist() == [False, True]
    with pytest.raises(ValueError, match="other replicas"):
        Cohort([config], V, parameters[:1]).load_replica_states(cohort.replica_states())


@pytest.mark.parametrize("cell", CELLS)
def test_evaluation_reads_a_long_text_in_pieces(cell: str) -> None:
    config = network(f"model={cell}", layers=2, dropout=0.5)
    parameters = [weights(config, V, seed) for seed in range(R)]
    cohort = Cohort([config] * R, V, parameters, generators=generators([config] * R))
    text = torch.randint(V, (60, 8), generator=Generator().manual_seed(0))
    losses = cohort.evaluate(text[:-1], text[1:])
    assert losses.dtype == torch.float64
    for k in range(R):
        plain = AutogradProgram("eager", config, V, parameters[k])
        assert float(losses[k]) == pytest.approx(float(plain.evaluate(text[:-1], text[1:])), rel=1e-12)


def test_evaluation_disturbs_no_training() -> None:
    config = network("model=gru", layers=2, dropout=0.5)
    configs = replicas(config)
    parameters = [weights(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 6)
    whole, _ = run(configs, parameters, minibatches)
    cohort = Cohort(configs, V, parameters, generators=generators(configs))
    losses = []
    for x, y in minibatches:
        cohort.evaluate(x[:, :-1], y[:, :-1])
        losses.append(cohort.step(x, y, carry=True))
    assert torch.equal(torch.stack(losses), whole)


@pytest.mark.full
def test_a_minibatch_may_be_shorter_than_the_one_before() -> None:
    config = network("model=lstm")
    parameters = weights(config, V, 0)
    minibatches = batches(config, V, 1, 2)
    short = [(x[:, :2], y[:, :2]) for x, y in minibatches]
    mixed = [minibatches[0], short[1], minibatches[1]]
    losses, cohort = run([config], [parameters], mixed)
    expected, _ = train("eager", config, V, parameters, of_replica(mixed, 0), carry=True)
    torch.testing.assert_close(losses[:, 0].tolist(), expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="sequences"):
        cohort.step(*(tokens[:, :, :1] for tokens in minibatches[0]), carry=True)


def test_weights_go_in_and_come_out_unchanged_and_usable_by_autograd() -> None:
    config = network("model=gru", reset="after", bias_vectors=2, layers=2)
    parameters = [weights(config, V, seed) for seed in range(R)]
    cohort = Cohort([config] * R, V, parameters)
    for k in range(R):
        out = cohort.named_tensors(k)
        assert out.keys() == parameters[k].keys()
        assert all(torch.equal(out[name], parameters[k][name]) for name in out)
        assert not any(tensor.is_inference() for tensor in out.values())


def test_what_cannot_be_one_program_is_refused() -> None:
    config = network("model=rnn")
    own = weights(config, V, 0)
    with pytest.raises(ValueError, match="layers: 1 and 2"):
        Cohort([config, config.but(layers=2)], V, [own, own])
    with pytest.raises(ValueError, match="must agree in optimizer"):
        Cohort([config, config.but(optimizer=compose(["optimizer=adam"]).optimizer)], V, [own, own])
    with pytest.raises(ValueError, match="2 configs, but parameters for 1"):
        Cohort([config] * 2, V, [own])
    with pytest.raises(ValueError, match="replica 1 are not those"):
        Cohort([config] * 2, V, [own, weights(network("model=gru"), V, 0)])
    with pytest.raises(ValueError, match="generator for each replica"):
        Cohort([config.but(layers=2, dropout=0.5)], V, [own])
    with pytest.raises(ValueError, match="needs a replica"):
        Cohort([], V, [])


def test_chunks_cover_every_replica_in_order() -> None:
    for size, count, threads in itertools.product((1, 4, 8), (1, 3, 20), (1, 2, 3, 64)):
        portions = chunks(range(count), size, threads)
        assert [k for portion in portions for k in portion] == list(range(count))
        assert max(map(len, portions)) <= size
        assert max(map(len, portions)) - min(map(len, portions)) <= 1
    assert chunks(range(20), None) == [range(20)]
    assert chunks([], 4) == []


@pytest.mark.parametrize(("size", "count", "threads"), [(4, 20, 2), (8, 20, 2), (8, 20, 3), (1, 7, 2), (8, 3, 2)])
def test_threads_that_take_one_chunk_after_the_other_end_together(size: int, count: int, threads: int) -> None:
    done = [0] * threads
    for portion in chunks(range(count), size, threads):
        done[done.index(min(done))] += len(portion)
    assert max(done) == math.ceil(count / threads)


@pytest.mark.parametrize("native", ["1", "0"])
def test_wider_networks_train_in_no_larger_company(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_NATIVE", native)
    sizes = [chunk_size(network("model=lstm", num_hiddens=H)) for H in (16, 32, 64, 65, 1024)]
    assert sizes == sorted(sizes, key=lambda size: -(size or 0))
    assert sizes[-1] == 1
    assert chunk_size(network("model=lstm"), "cuda") is None


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory from /proc")
@pytest.mark.parametrize("cell", CELLS)
def test_the_memory_estimate_is_about_what_the_process_grows_by(cell: str) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    config = network(f"model={cell}", "optimizer=adam", num_hiddens=128, num_steps=35, batch_size=64, layers=2)
    parameters = [weights(config, V, 0, torch.float32)] * 6
    x, y = batches(config, V, 6, 1)[0]
    gc.collect()
    with suppress(OSError, AttributeError):
        # What earlier tests have freed would be taken again without the process growing (only glibc has this call).
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident()
    cohort = Cohort([config] * 6, V, parameters)
    cohort.step(x, y, carry=True)
    cohort.evaluate(x, y)
    assert resident() - before == pytest.approx(memory_bytes(config, 6, V), rel=0.3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("cuda_graphs", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_gpu_computes_the_same(cell: str, cuda_graphs: bool) -> None:
    config = network(f"model={cell}", layers=2)
    configs = replicas(config)
    parameters = [weights(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 10)
    expected, _ = run(configs, parameters, minibatches)
    cohort = Cohort(configs, V, parameters, device="cuda", cuda_graphs=cuda_graphs)
    losses = torch.stack([cohort.step(x.cuda(), y.cuda(), carry=True) for x, y in minibatches])
    torch.testing.assert_close(losses.cpu(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_packed_weights_give_the_same_gradients(cell: str) -> None:
    """Above `PACKED_FROM` hidden units the loop multiplies with oneDNN."""
    config = network(f"model={cell}", num_hiddens=PACKED_FROM, batch_size=8, layers=2, init="torch")
    exact = initial(config, V, Generator().manual_seed(0), torch.float64)
    rounded = {name: value.float() for name, value in exact.items()}
    exact = {name: value.double() for name, value in rounded.items()}
    x, y = batches(config, V, 1, 1)[0]
    ours, reference = (
        Cohort([config] * 2, V, [p] * 2).gradients(x.expand(2, -1, -1), y.expand(2, -1, -1), carry=False)[1]
        for p in (rounded, exact)
    )
    for name, gradient in reference.items():
        error = torch.linalg.vector_norm(ours[name].double() - gradient) / torch.linalg.vector_norm(gradient)
        assert error < 2e-5, f"{name}: {error:.1e}"


def test_chunks_in_threads_compute_what_they_compute_one_after_the_other() -> None:
    config = network("model=gru", num_hiddens=16, batch_size=32)
    parameters = [weights(config, V, seed, torch.float32) for seed in range(R)]
    minibatches = batches(config, V, R, 20)

    def train_chunk(own: Sequence[int]) -> Tensor:
        part = slice(own[0], own[-1] + 1)
        return run([config] * len(own), parameters[part], [(x[part], y[part]) for x, y in minibatches])[0]

    portions = [[0], [1, 2], [3]]
    in_turn = [train_chunk(own) for own in portions]
    with ThreadPoolExecutor(2, initializer=prepare_thread) as pool:
        at_once = list(pool.map(train_chunk, portions))
    assert all(torch.equal(a, b) for a, b in zip(in_turn, at_once, strict=True))
