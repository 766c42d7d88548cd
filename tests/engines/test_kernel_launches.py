"""Kernels through Triton's own launch, compiled for compute capability 9.0; a driver that is made up takes them.

What Triton's interpreter leaves out: how arguments are told apart, options, what is compiled anew, and what is asked of
what was compiled. CPU; needs triton (`pip install triton`). A minute.
"""

import gc
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ablate.cells.derivative import Derived, derived
from ablate.engines.cohort.cuda import build, choice
from ablate.engines.cohort.cuda.steps import FORMS, KernelSteps, Tile, tile_of
from ablate.networks.steps import Shape
from tests.engines.test_native_recurrence import structure_of

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
]
CPU = torch.device("cpu")
R, T, B, H = 2, 3, 5, 12


class Driver:
    """In the place of CUDA's: notes launches, and says of each kernel how many numbers it spills."""

    def __init__(self) -> None:
        self.launches: list[tuple[str, tuple[int, ...], tuple[Any, ...]]] = []
        self.loaded: list[str] = []
        self.spills = 0
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": choice.SHARED_BYTES},
            load_binary=self.load,
        )

    def load(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[Any, ...]:
        assert kernel.startswith(b"\x7fELF")
        self.loaded.append(name)
        return object(), object(), 64, self.spills, 1024

    def launcher_cls(self, src: Any, metadata: Any) -> Any:
        signature = list(src.signature.values())

        def launch(x: int, y: int, z: int, stream: int, function: Any, packed: Any, more: Any, *rest: Any) -> None:
            arguments = rest[2:]  # after the two hooks
            assert len(arguments) == len(signature)
            self.launches.append((metadata.name, (x, y, z), arguments))

        return launch

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 7

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Driver]:
    from triton.compiler import CompiledKernel
    from triton.runtime import driver as active

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delattr(CompiledKernel, "__del__", raising=False)  # which asks the driver of that moment
    own, before = Driver(), active._active
    build._kernels.cache_clear()  # they keep what another driver loaded
    choice._chosen.cache_clear()
    active.set_active(own)
    yield own
    build._kernels.cache_clear()
    choice._chosen.cache_clear()
    gc.collect()
    active._active = before


def made(d: Derived, form: str, tile: Tile | None = None) -> KernelSteps:
    steps = KernelSteps(d, Shape(R, T, B, H, torch.float32, CPU), True, form, tile)
    steps.bind([torch.rand(W.shape[0], W.shape[2], W.shape[1]) for W in steps.transposed], [])
    return steps


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["gru", "lstm-full-gate-recurrence", "minlstm"])
def test_a_layer_is_launched_both_ways(model: str, form: str, driver: Driver) -> None:
    d = derived(structure_of(f"model={model}"), "state", True, 2)
    if form == "streamed" and not d.groups:
        pytest.skip("a cell without products has no weights to go through")
    steps = made(d, form)
    for _ in range(2):
        steps.forward()
        steps.backward(initial=True)
    each = len(driver.launches) // 2
    assert driver.launches[:each] != []
    assert [name for name, *_ in driver.launches[:each]] == [name for name, *_ in driver.launches[each:]]
    assert len(driver.loaded) == len(set(driver.loaded)), "the second time compiles nothing"
    tile = steps.tile
    assert {grid for _, grid, _ in driver.launches} == {(R, -(-B // tile.BB), -(-H // tile.HP))}
    if form != "stages":
        assert each == 2
    assert all(kernel.n_spills == 0 for kernel in steps.launched.values())


def test_another_number_of_steps_or_sequences_compiles_nothing(driver: Driver) -> None:
    d = derived(structure_of("model=gru"), "state", True, 2)
    tile = replace(tile_of("held", True, B, H), BB=16)
    for steps_of, sequences in ((3, 5), (4, 16), (1, 1)):
        steps = KernelSteps(d, Shape(R, steps_of, sequences, H, torch.float32, CPU), True, "held", tile)
        steps.bind([torch.rand(W.shape[0], W.shape[2], W.shape[1]) for W in steps.transposed], [])
        steps.forward()
    assert len(driver.loaded) == 1


@pytest.mark.parametrize(("spills", "taken"), [(0, "held"), (choice.SPILLS_LIMIT + 1, "stages")])
def test_what_spills_is_not_taken(spills: int, taken: str, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver says of what it loaded. What is computed is left out: nothing is."""
    monkeypatch.setattr(choice, "unavailable", lambda device: "")
    monkeypatch.setattr(choice, "_sequences", lambda *of: 16)
    monkeypatch.setattr(choice, "_largest", lambda *of: 0.0)
    driver.spills = spills
    d = derived(structure_of("model=gru"), "state", True, 2)
    assert choice.choose(d, R, B, H, torch.float32, CPU).form == taken
