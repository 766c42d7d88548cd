"""A program that is too large for the memory is trained as two, and what comes out is the same, bit for bit.

The error is made by the test, in the engine. CPU, 5 s.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.config.errors import is_out_of_memory
from ablate.config.schema import Config
from ablate.engines.cohort import Cohort
from ablate.sweeping import programs
from ablate.sweeping.plan import make_plan
from ablate.sweeping.planning import estimate

Configs = Callable[..., Config]
KNOBS = ("engine=cohort", "batch_size=32", "max_tokens=1000", "epochs=2", "threads=1")


def records(folder: Path) -> dict[tuple[float, int], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")]
    return {(record["config"]["lr"], record["seed"]): record for record in found}


@pytest.fixture
def at_most(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """A device that has room for so many replicas in one program."""
    monkeypatch.setenv("ABLATE_NATIVE", "0")

    def limit(most: int, error: BaseException) -> None:
        step = Cohort.step
        steps = [0]

        def limited(self: Cohort, *arguments: Any, **options: Any) -> Any:
            steps[0] += 1
            if len(self) > most and steps[0] > 2:  # in the middle of an epoch
                raise error
            return step(self, *arguments, **options)

        monkeypatch.setattr(Cohort, "step", limited)

    return limit


@pytest.mark.full
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["cuda", "cpu"])
def test_halves_come_out_as_the_whole(
    small: Configs, sweep: Callable[..., Any], at_most: Callable[[int, BaseException], None], error: BaseException
) -> None:
    configs = [small(*KNOBS, f"lr={lr}", "seeds=3") for lr in (0.5, 2)]
    undisturbed = records(sweep(configs).folder)
    assert {record["timing"]["trained_together"] for record in undisturbed.values()} == {6}
    at_most(2, error)
    summary = sweep([config.but(fresh=True, name="again") for config in configs])
    assert (summary.trained, summary.failures, summary.exit_status) == (6, [], 0)
    found = records(summary.folder)
    assert found.keys() == undisturbed.keys()
    for key, record in found.items():
        assert record["metrics"] == undisturbed[key]["metrics"]
        assert record["text"] == undisturbed[key]["text"]
        assert record["timing"]["trained_together"] <= 2
        assert record["timing"]["out_of_memory_with"] == [6, 3]


@pytest.mark.full
def test_one_run_that_is_too_large_by_itself_has_failed_and_the_others_go_on(
    small: Configs, sweep: Callable[..., Any], at_most: Callable[[int, BaseException], None]
) -> None:
    at_most(0, torch.OutOfMemoryError("CUDA out of memory\nof 139 GiB"))
    eager = [knob for knob in KNOBS if not knob.startswith("engine")]
    summary = sweep([small(*KNOBS, "seeds=2"), small(*eager, "engine=eager", "lr=0.5")])
    assert summary.trained == 1
    [(_, why)] = summary.failures
    assert "CUDA out of memory" in why


@pytest.mark.full
def test_what_had_no_room_beside_others_is_trained_after_them(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, busy = programs.train_together, []

    def crowded(configs: Any, *arguments: Any, **options: Any) -> Any:
        busy.append(configs[0].lr)
        if configs[0].lr == 2 and busy.count(2.0) == 1:
            while 0.5 not in busy:  # the other program has begun, and goes on for a while
                pass
            raise MemoryError("no room")
        if configs[0].lr == 0.5:
            while 2.0 not in busy:
                pass
            time.sleep(1)
        return train(configs, *arguments, **options)

    monkeypatch.setattr(programs, "train_together", crowded)
    knobs = ("engine=eager", "threads=2", "epochs=1")
    summary = sweep([small(*knobs, "lr=2"), small(*knobs, "lr=0.5")])
    assert (summary.trained, summary.failures) == (2, [])
    assert busy.count(2.0) == 2


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_taken_for_too_little_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


@pytest.mark.usefixtures("errors_are_ours")
def test_too_little_memory_to_try_it_out_is_said_when_it_is_trained(
    small: Configs, sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that may be long is tried out for a moment, to say what it will take: that fails as training does."""

    def no_room(*_: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(estimate, "build", no_room)
    monkeypatch.setattr(estimate, "LONG_S", 0.0)
    summary = sweep([small("engine=eager"), small("engine=eager", "lr=0.5")])
    assert (summary.trained, summary.failures) == (2, [])
    planned = make_plan([small("engine=eager", "lr=0.25")], summary.folder, small().data)
    assert ["allocate memory" in one.problem for one in estimate.estimate(planned, 1)] == [True]
