"""Portions of minibatches without a question to the device, as on a GPU, against the same minibatches one by one.

On the CPU calls stand in the place of a CUDA graph's replays; what a graph records is then the same code. CPU, 10 s.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import with_seed
from ablate.data.corpora import Corpus
from ablate.engines.cohort import Cohort, graphs, replicas
from ablate.engines.cohort.graphs import AT_ONCE, WARM_UPS, Replay
from ablate.engines.cohort.portions import Stacked, Windows
from ablate.engines.cohort.stacked import StackedCohort
from ablate.engines.divergence import finite_rows, norms, silence
from ablate.tasks import task_of
from ablate.training.trajectory import stream
from tests.engines.sample_networks import batches, network, weights

V, R, J = 7, 4, 11
OPTIMIZERS = ["sgd", "momentum", "adam", "adamw", "rmsprop"]
CASES = {
    "sgd": ("model=gru",),
    "momentum": ("model=rnn", "optimizer=momentum"),
    "adam": ("model=lstm", "optimizer=adam", "schedule=cosine"),
    "adamw": ("model=gru", "optimizer=adamw", "schedule=warmup"),
    "rmsprop": ("model=mgu", "optimizer=rmsprop", "schedule=linear"),
    "steps": ("model=mingru", "schedule=step"),
}


def differing(config: Resolved) -> list[Resolved]:
    """Replicas that differ in all that they may differ in."""
    each = zip((1.0, 0.1, 0.5, 2.0), (1.0, None, 0.01, 0.3), (0.0, 0.1, 0.0, 0.02), (0.3, 0.0, 0.5, 0.3), strict=True)
    out = []
    for k, (lr, clip, decay, dropout) in enumerate(each):
        own = with_seed(config, k).but(lr=config.lr * lr, clip=clip, optimizer=config.optimizer.but(weight_decay=decay))
        out.append(own.but(dropout=dropout) if config.layers > 1 else own)
    return out


def both(
    kind: type[Cohort], configs: Sequence[Resolved], parameters: Sequence[dict[str, Tensor]], updates: int = 3 * J
) -> list[Cohort]:
    """The same cohort twice: one that asks, and one that does not."""
    return [
        kind(
            configs,
            V,
            parameters,
            generators=[Generator().manual_seed(config.seed) for config in configs],
            updates=updates,
            cuda_graphs=silent,
        )
        for silent in (False, True)
    ]


def stacked(minibatches: Sequence[tuple[Tensor, Tensor]]) -> Stacked:
    X, Y = (torch.stack(parts) for parts in zip(*minibatches, strict=True))
    return Stacked(X, Y)


def assert_same(asking: Cohort, silent: Cohort) -> None:
    for k, (ours, theirs) in enumerate(zip(asking.replica_states(), silent.replica_states(), strict=True)):
        assert torch.equal(ours["parameters"], theirs["parameters"]), k
        assert all(map(torch.equal, ours["moments"].values(), theirs["moments"].values())), k
        assert [ours[name] for name in ("updates", "cause", "alive")] == [
            theirs[name] for name in ("updates", "cause", "alive")
        ]
        for own, other in zip(ours["states"], theirs["states"], strict=True):
            assert all(map(torch.equal, own, other))
        if ours["generator"] is not None:
            assert torch.equal(ours["generator"], theirs["generator"])


@pytest.mark.full
@pytest.mark.parametrize("carries", [True, False], ids=["carried", "zero"])
@pytest.mark.parametrize("kind", [Cohort, StackedCohort])
@pytest.mark.parametrize("case", CASES)
def test_a_portion_is_its_minibatches_one_by_one(case: str, kind: type[Cohort], carries: bool) -> None:
    config = network(*CASES[case], layers=2, dropout=0.3, bias_vectors=2)
    configs = differing(config)
    asking, silent = both(kind, configs, [weights(config, V, seed, torch.float32) for seed in range(R)])
    minibatches = batches(config, V, R, 3 * J)
    minibatches[2][1][:, 1] = UNSCORED
    for number, (start, end) in enumerate(((0, J), (J, J + 1), (J + 1, 3 * J))):
        part = minibatches[start:end]
        carry = carries and number > 0
        expected = [asking.step(x, y, carry=carry or (carries and k > 0)) for k, (x, y) in enumerate(part)]
        assert torch.equal(silent.train(stacked(part), carry=carry, carries=carries), torch.stack(expected))
    assert_same(asking, silent)


@pytest.mark.full
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_replica_that_diverges_in_the_middle_freezes_and_disturbs_nobody(optimizer: str) -> None:
    config = network("model=rnn", f"optimizer={optimizer}", "model.activation=relu")
    configs = [own.but(lr=1e19 if k == 2 else 0.1, clip=None) for k, own in enumerate(differing(config))]
    asking, silent = both(Cohort, configs, [weights(config, V, seed, torch.float32) for seed in range(R)])
    minibatches = batches(config, V, R, J)
    expected = torch.stack([asking.step(x, y, carry=k > 0) for k, (x, y) in enumerate(minibatches)])
    torch.testing.assert_close(
        silent.train(stacked(minibatches), carry=False), expected, rtol=0, atol=0, equal_nan=True
    )
    assert asking.divergences() == silent.divergences()
    assert [bool(cause) for cause in silent.divergences()] == [False, False, True, False]
    for k in (0, 1, 3):
        assert torch.equal(asking.parameters[k], silent.parameters[k])


def test_single_steps_and_portions_may_alternate_and_a_checkpoint_goes_over() -> None:
    config = network("model=lstm", "optimizer=adam", "schedule=cosine", layers=2, dropout=0.5)
    configs = differing(config)
    parameters = [weights(config, V, seed, torch.float32) for seed in range(R)]
    asking, silent = both(Cohort, configs, parameters)
    minibatches = batches(config, V, R, 3 * J)
    expected = torch.stack([asking.step(x, y, carry=k > 0) for k, (x, y) in enumerate(minibatches)])
    first = silent.train(stacked(minibatches[:J]), carry=False)
    middle = silent.step(*minibatches[J], carry=True)
    other = both(Cohort, configs, parameters)[1]
    other.load_replica_states(silent.replica_states())
    last = other.train(stacked(minibatches[J + 1 :]), carry=True)
    assert torch.equal(torch.cat([first, middle.unsqueeze(0), last]), expected)


def test_what_does_not_fit_on_the_device_at_once_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    config = network("model=gru", layers=2, dropout=0.5)
    monkeypatch.setattr("ablate.engines.cohort.replicas.AT_ONCE_BYTES", 3000)
    asking, silent = both(Cohort, [config] * R, [weights(config, V, seed) for seed in range(R)])
    minibatches = batches(config, V, R, J)
    expected = torch.stack([asking.step(x, y, carry=k > 0) for k, (x, y) in enumerate(minibatches)])
    assert torch.equal(silent.train(stacked(minibatches), carry=False), expected)
    assert {loop.capacity for loop in silent._loops.values()} == {2}


@pytest.mark.parametrize("reset", ["before", "after"])
def test_rows_of_the_embedding_summed_by_a_product_are_the_same(reset: str) -> None:
    config = network("model=gru", reset=reset, bias_vectors=2)
    x, y = batches(config, V, R, 1)[0]
    cohorts = both(Cohort, [config] * R, [weights(config, V, seed) for seed in range(R)])
    cohorts[1]._program(*x.shape[1:], training=True).first.use_one_hot()
    added, multiplied = (cohort.gradients(x, y, carry=False) for cohort in cohorts)
    for own, other in zip(added, multiplied, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-13, atol=1e-15)


def test_windows_are_read_where_they_begin() -> None:
    text = torch.randint(V, (50,), generator=Generator().manual_seed(0), dtype=torch.uint8)
    starts = torch.randint(40, (J, R, 3), generator=Generator().manual_seed(1))
    read = Windows(text, starts, 4).read()
    for row in starts:
        X, Y = read([row])
        for k, b in itertools.product(range(R), range(3)):
            at = int(row[k, b])
            assert torch.equal(X[k, :, b], text[at : at + 4].long())
            assert torch.equal(Y[k, :, b], text[at + 1 : at + 5].long())


def test_norms_and_what_is_finite_are_the_same_without_a_question() -> None:
    rows = torch.randn(5, 64, generator=Generator().manual_seed(0))
    rows[1] *= 1e25
    rows[2] *= 1e-22
    rows[3, 7] = math.inf
    rows[4, 3] = math.nan
    with silence():
        silent = norms(rows), finite_rows(rows)
    torch.testing.assert_close(silent[0], norms(rows), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(silent[1], finite_rows(rows))


ASKED = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select")


class Questions(TorchDispatchMode):
    """Counts what would wait for a GPU: numbers that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.asked += func.overloadpacket.__name__ in ASKED
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("gru", "adam"),
        *(pytest.param("rnn", optimizer, marks=pytest.mark.full) for optimizer in OPTIMIZERS),
        *(
            pytest.param(model, "sgd", marks=pytest.mark.full)
            for model in ("gru", "lstm", "lstm-peepholes", "mgu", "mingru", "minlstm")
        ),
    ],
)
def test_no_question_is_asked_in_a_portion(model: str, optimizer: str) -> None:
    config = network(f"model={model}", f"optimizer={optimizer}", "schedule=cosine", layers=2, dropout=0.2)
    configs = differing(config)
    asking, silent = both(Cohort, configs, [weights(config, V, seed, torch.float32) for seed in range(R)])
    minibatches = batches(config, V, R, 3)
    part = stacked(minibatches)
    silent.train(part, carry=False)
    with Questions() as questions:
        silent.train(part, carry=True)
        assert questions.asked == 0
        asking.step(*minibatches[0], carry=False)
        assert questions.asked > 0  # so that the count would see one


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """In the place of CUDA: notes what is recorded and replayed; replays run what was recorded."""
    events: list[str] = []

    class Graph:
        runs, on, of = 0, None, None

        def replay(self) -> None:
            events.append(f"replay {self.runs}")

        def pool(self) -> Any:
            if self.of is None:
                raise RuntimeError("Called CUDAGraph::pool() without a preceding successful capture.")
            return self.of

        def reset(self) -> None:
            self.of = None

    stream: list[Any] = [1]

    @contextmanager
    def record(graph: Graph, pool: Any, on: Any, mode: str) -> Iterator[None]:
        before, (stream[0], began_on) = len(events), (on, stream[0])
        try:
            yield
        except RuntimeError as error:  # as torch does, which then leaves the stream as it is
            raise RuntimeError("operation failed due to a previous error during capture") from error
        graph.runs, graph.of = len(events) - before, pool
        del events[before:]
        graph.on, stream[0] = on, began_on

    @contextmanager
    def here(*_: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(graphs.torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(graphs.torch.cuda, "graph", record)
    monkeypatch.setattr(graphs.torch.cuda, "graph_pool_handle", itertools.count(1).__next__)
    monkeypatch.setattr(graphs.torch.cuda, "device", here)
    monkeypatch.setattr(graphs.torch.cuda, "current_stream", lambda *_: stream[0])
    monkeypatch.setattr(graphs.torch.cuda, "default_stream", lambda *_: 0)
    monkeypatch.setattr(graphs.torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(graphs.torch.cuda, "set_stream", lambda to: stream.__setitem__(0, to))
    monkeypatch.setattr(graphs.torch.cuda, "Stream", lambda device: f"aside of {device}")
    monkeypatch.setattr(graphs, "_left", [])
    graphs.aside.cache_clear()
    yield events
    graphs.aside.cache_clear()


def test_a_replay_warms_up_with_runs_that_count_and_then_replays(recorder: list[str]) -> None:
    replay = Replay(lambda: recorder.append("run"), torch.device("cuda"), graphs=True)
    replay(2)
    replay(WARM_UPS - 2 + 2 * AT_ONCE + 3)
    assert recorder == ["run"] * WARM_UPS + [f"replay {AT_ONCE}"] * 2 + ["replay 1"] * 3
    assert replay.runs == WARM_UPS + 2 * AT_ONCE + 3


def test_what_cannot_be_recorded_is_called_and_why_is_kept(recorder: list[str]) -> None:
    calls = itertools.count()

    def function() -> None:
        if next(calls) == WARM_UPS:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        recorder.append("run")

    replay = Replay(function, torch.device("cuda"), graphs=True)
    replay(WARM_UPS + 4)
    assert recorder == ["run"] * (WARM_UPS + 4)
    assert "operation not permitted when stream is capturing" in replay.failure
    assert "\n" not in replay.failure
    assert graphs.torch.cuda.current_stream() == 1, "what comes next goes where the first runs went"


def test_each_device_is_recorded_on_a_stream_of_its_own(recorder: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has one stream for recordings, of the first device that recorded: on another one that records nothing."""
    for own, expected in ((0, "aside of cuda:1"), (7, 7)):
        monkeypatch.setattr(graphs.torch.cuda, "current_stream", lambda *_, own=own: own)
        replay = Replay(lambda: recorder.append("run"), torch.device("cuda", 1), graphs=True)
        replay(WARM_UPS + 1)
        assert replay.one is not None
        assert replay.several is not None
        assert {replay.one.on, replay.several.on} == {expected}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory\nand more")]
)
def test_out_of_memory_while_recording_is_not_taken_for_a_failed_recording(
    error: RuntimeError, recorder: list[str]
) -> None:
    """Also where it is said by a library, or while the graph is made."""
    calls = itertools.count()

    def function() -> None:
        if next(calls) == WARM_UPS:
            raise error

    with pytest.raises(type(error), match="out of memory"):
        Replay(function, torch.device("cuda"), graphs=True)(WARM_UPS + 1)


@pytest.mark.parametrize("ended", [False, True])
def test_torchs_memory_is_led_out_of_a_recording_that_broke_off(
    ended: bool, recorder: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its allocator asks the graph at later recordings; what it has ended itself it must not release twice."""
    told: list[Any] = []

    def end(gpu: int, pool: int) -> None:
        if ended:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        told.append(("end", gpu, pool))

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda gpu, pool: told.append(("release", gpu, pool)))
    calls = itertools.count()

    def function() -> None:
        if next(calls) > WARM_UPS:  # in the second recording
            raise RuntimeError("operation not permitted when stream is capturing")

    replay = Replay(function, torch.device("cuda"), graphs=True)
    with pytest.raises(RuntimeError):  # called in the place of recorded, it fails as well
        replay(WARM_UPS + 1)
    assert replay.failure
    assert told == ([] if ended else [("end", 1, 1), ("release", 1, 1)])
    assert len(graphs._left) == 1  # the first gave back what it had


def test_graphs_of_a_program_share_their_memory(recorder: list[str]) -> None:
    replays = [Replay(lambda: recorder.append("run"), torch.device("cuda"), graphs=True) for _ in range(2)]
    for replay in replays:
        replay(WARM_UPS + 1)
    assert [(one.one.pool(), one.several.pool()) for one in replays] == [(1, 1), (2, 2)]  # type: ignore[union-attr]


@pytest.mark.parametrize("graphs_wanted", [True, False])
def test_the_record_says_whether_graphs_were_on(graphs_wanted: bool) -> None:
    config = network("model=rnn", cuda_graphs=graphs_wanted)
    cohort = Cohort([config], V, [weights(config, V, 0)])
    assert not cohort.silent
    assert cohort.cuda_graphs is False
    assert both(Cohort, [config], [weights(config, V, 0)])[1].graphs == "on"


def test_what_was_recorded_goes_with_the_buffers_that_it_writes_to() -> None:
    """Of three sizes of minibatches the first one's buffers are given back, and its graph would still write to them."""
    config = network("model=gru")
    _, silent = both(Cohort, [config], [weights(config, V, 0)])
    for T in (3, 4, 5, 3):
        silent.train(Stacked(*torch.randint(V, (2, 1, 1, T, 2))), carry=False)
        assert {size for size, *_ in silent._loops} == {key[:2] for key in silent._programs}
    assert {size for size, *_ in silent._loops} == {(5, 2), (3, 2)}


@pytest.mark.parametrize("own", [None, lambda logits, targets: logits.sum(1) * 0 + targets])
def test_a_loss_of_the_tasks_own_is_not_recorded(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks what is scored, which no graph can hold; to find that out by a recording costs torch its memory."""
    wanted = []

    class Noted(replicas.Loop):
        def __init__(self, *given: Any) -> None:
            wanted.append(given[-1])
            super().__init__(*given)

    monkeypatch.setattr(replicas, "Loop", Noted)
    monkeypatch.setattr(replicas, "loss_of", lambda config: own)
    config = network("model=rnn")
    _, silent = both(Cohort, [config], [weights(config, V, 0)])
    silent.train(Stacked(*torch.randint(V, (2, 1, 1, 3, 2))), carry=False)
    assert wanted == [own is None]
    assert silent.graphs == ("on" if own is None else "off: the task has a loss of its own")


def test_starts_are_the_minibatches(corpus: Corpus, compose: Callable[..., Resolved]) -> None:
    for sampling in ("sequential", "random", "sequential-reset"):
        config = resolve(
            compose(f"sampling={sampling}", "num_steps=7", "batch_size=4", "max_tokens=400", "val_tokens=0")
        )
        task = task_of(config, corpus)
        for seed in range(3):
            orders = [stream(seed, "data") for _ in range(2)]
            starts = task.starts(orders[0])
            assert starts is not None
            expected = list(task.minibatches(orders[1]))
            assert len(starts) == len(expected)
            for row, (X, Y) in zip(starts, expected, strict=True):
                own_X, own_Y = Windows(task.text, row, 7).read()([row.unsqueeze(0)])
                assert torch.equal(own_X[0], X)
                assert torch.equal(own_Y[0], Y)
            assert torch.equal(*(order.get_state() for order in orders))
