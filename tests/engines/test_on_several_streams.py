"""What belongs to a device and to a stream of it, with fakes in the place of CUDA: a device has a number, a thread one
stream, buffers go from call to call on one stream alone, and memory is given back while nobody records. CPU, 1 s.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ablate.cells.derivative import Derived, derived
from ablate.cells.functions import where
from ablate.config.errors import ConfigError
from ablate.engines.cohort import prepare_thread
from ablate.engines.cohort.cuda import choice
from ablate.engines.cohort.cuda.steps import Tile
from ablate.engines.cohort.memory import free_bytes, recording, release
from ablate.networks import recurrence
from ablate.timing import lane
from ablate.training.loop import resolve_device
from tests.engines.test_native_recurrence import computed, drawn, structure_of


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Two GPUs, of which each thread has one and a stream on it; this notes what is asked of them."""
    own = SimpleNamespace(device=0, stream=0, made=0, on=[], waits=0)

    def set_device(device: torch.device) -> None:
        assert device.index is not None, "torch refuses a device without a number"
        own.device = device.index

    def made(device: torch.device) -> int:
        own.made += 1
        return own.made

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        own.on.append(device)
        yield

    fakes = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: own.device,
        "set_device": set_device,
        "current_stream": lambda device: own.stream,
        "default_stream": lambda device: 0,
        "Stream": made,
        "set_stream": lambda stream: setattr(own, "stream", stream),
        "device": on,
        "empty_cache": lambda: setattr(own, "waits", own.waits + recording.locked()),
        "mem_get_info": lambda device: (100, 1000),
        "memory_reserved": lambda device: 70,
        "memory_allocated": lambda device: 30,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return own


def test_a_gpu_has_its_number(cuda: SimpleNamespace) -> None:
    assert str(resolve_device("cuda")) == str(resolve_device("auto")) == "cuda:0"
    assert str(resolve_device("cuda:1")) == "cuda:1"
    cuda.device = 1  # a program around us has chosen
    assert str(resolve_device("cuda")) == "cuda:1"
    with pytest.raises(ConfigError, match="'cuda:2'; this machine has 2 GPUs"):
        resolve_device("cuda:2")


def test_a_thread_keeps_its_stream(cuda: SimpleNamespace) -> None:
    def prepare() -> None:
        for _ in range(2):
            prepare_thread(resolve_device("cuda:1"))

    thread = threading.Thread(target=prepare)
    thread.start()
    thread.join()
    assert (cuda.device, cuda.stream, cuda.made) == (1, 1, 1)


@pytest.mark.usefixtures("cuda")
def test_memory_that_torch_keeps_is_free() -> None:
    assert free_bytes(torch.device("cuda", 0)) == 100 + 70 - 30


def test_memory_is_given_back_while_nobody_records(cuda: SimpleNamespace) -> None:
    release(torch.device("cuda", 1))
    assert (cuda.waits, cuda.on) == (1, [torch.device("cuda", 1)])


def test_buffers_serve_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stream was told to compute with them it may not have begun when they are given back."""
    monkeypatch.setattr(recurrence._place, "spare", spare := {})
    monkeypatch.setattr(recurrence, "_shared", spare)
    made = []

    def noted(*of: Any, **options: Any) -> Any:
        made.append(now[0])
        return steps_for(*of, **options)

    steps_for = recurrence.steps_for
    monkeypatch.setattr(recurrence, "steps_for", noted)
    d = recurrence_of()
    numbers, now = drawn(d, 3, 2, 2), [0]
    monkeypatch.setattr(recurrence, "_stream_of", lambda device: now[0])
    for now[0] in (1, 2, 1, 2):
        computed(recurrence.recurrence, d, numbers, torch.float64)
    assert made == [1, 2]
    with recurrence.buffers_in({}):  # of one program, whose first runs and recording are on two streams
        for now[0] in (1, 2):
            computed(recurrence.recurrence, d, numbers, torch.float64)
    assert made == [1, 2, 1]


def recurrence_of() -> Derived:
    return derived(structure_of("model=gru"), "state", True, 2)


def test_numbers_beside_tensors_are_made_where_these_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy from the CPU would wait for a GPU, and end the recording of a graph."""

    def copied(*_: Any, **__: Any) -> None:
        raise AssertionError("copied from the CPU")

    monkeypatch.setattr(torch, "tensor", copied)
    c = torch.linspace(-1, 1, 5)
    assert torch.equal(where(c > 0, 1.0, 0.3), (c > 0) * 0.7 + 0.3)


@pytest.mark.parametrize(
    ("error", "raised"), [(torch.OutOfMemoryError("CUDA out of memory"), True), (RuntimeError("PTX"), False)]
)
def test_a_lack_of_memory_says_nothing_of_the_kernels(
    error: Exception, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would not be tried again in this process."""

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(choice, "KernelSteps", fails)
    given = recurrence_of(), "held", Tile(16, 16, 16, 4, 1), 2, 8, torch.device("cpu"), "ieee"
    if raised:
        with pytest.raises(torch.OutOfMemoryError):
            choice._why_not(*given)
    else:
        assert "PTX" in choice._why_not(*given)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(("names", "expected"), [(["cuda:1"] * 2, 1), (["cuda:0", "cpu"], 2)])
def test_a_gpu_is_timed_with_one_thread(names: list[str], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "cores", lambda: 8)
    configs: Any = [SimpleNamespace(device=name) for name in names]
    assert len(lane.default_threads(configs)) == expected
