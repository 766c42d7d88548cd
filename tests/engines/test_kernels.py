"""One layer by kernels in Triton against the steps of its graph under autograd in float64; random cells among them.

CPU; needs triton (`pip install triton`), whose interpreter computes the kernels here. A minute.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest
import torch
from hypothesis import Phase, assume, given, reject, settings

from ablate.cells.derivative import Derived, derived
from ablate.engines.cohort.cuda import build, choice
from ablate.engines.cohort.cuda.steps import FORMS, KernelSteps
from ablate.networks import recurrence
from ablate.networks.steps import MAKERS
from tests.cells.random_cells import FOUND, RandomCell, random_cells
from tests.engines.sample_networks import network
from tests.engines.test_gradients import compare as gradients_of_network
from tests.engines.test_native_recurrence import by_graph, computed, drawn, error, structure_of

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed"),
    # of lanes where there is no unit, which nobody reads
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
CELLS = ("rnn", "gru", "lstm", "mgu", "mingru", "minlstm")
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""The interpreter is too slow to look for the shortest equations that fail."""
EXACT = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In numbers that are of float64 where nothing else says what they are of."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form that computes layers on the CPU meanwhile."""
    return use(request.param, monkeypatch)


def use(form: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(recurrence, "SPARE", 0)  # buffers of another form would serve, too
    monkeypatch.setitem(MAKERS, "cpu", lambda d, shape, training: KernelSteps(d, shape, training, form))
    return form


def compare(d: Derived, H: int, B: int, T: int, dtype: torch.dtype) -> None:
    numbers = drawn(d, H, B, T)
    exact = computed(by_graph, d, numbers, torch.float64)
    assert error(computed(recurrence.recurrence, d, numbers, dtype), exact) < EXACT[dtype]


@pytest.mark.parametrize(("readout", "write_back"), [("state", True), ("candidate", True), ("candidate", False)])
@pytest.mark.parametrize("cell", CELLS)
def test_shipped_cells(cell: str, readout: str, write_back: bool, form: str) -> None:
    d = derived(structure_of(f"model={cell}"), readout, write_back, 2)
    compare(d, 5, 3, 3, torch.float64)


@pytest.mark.parametrize(
    "options",
    [
        "model=gru,reset=before",
        "model=rnn,model.activation=relu",
        "model=lstm,model.peepholes=true",
        "model=lstm,model.gate_recurrence=true",
        "model=lstm,model.coupled=true",
        "model=lstm,model.output_activation=identity",
        "model=gru,model.gates.update=0.3",
        "model=lstm,model.gates.forget=1",
    ],
)
def test_variants(options: str, form: str) -> None:
    compare(derived(structure_of(*options.split(",")), "state", True, 1), 5, 3, 3, torch.float64)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_several_tiles(cell: str, form: str) -> None:
    """More sequences than a tile has, and more units than are multiplied at a time, neither in whole numbers."""
    compare(derived(structure_of(f"model={cell}"), "state", True, 2), 19, 17, 2, torch.float32)


@pytest.mark.parametrize("what", FOUND)
def test_cells_that_were_wrong(what: str, form: str) -> None:
    compare(FOUND[what].derived(), 5, 3, 3, torch.float64)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_whole_networks(cell: str, form: str) -> None:
    """Losses and gradients of a cohort over two layers and two minibatches: the states move on."""
    gradients_of_network(network(f"model={cell}", layers=2, dropout=0.3, num_steps=3), 7, carry=True)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The CPU as if it were a GPU that has room for more programs."""
    choice._chosen.cache_clear()
    monkeypatch.setattr(choice, "unavailable", lambda device: "")
    monkeypatch.setattr(choice, "_sequences", lambda *of: 8)
    return torch.device("cpu")


def choose(device: torch.device, H: int) -> choice.Chosen:
    return choice.choose(derived(structure_of("model=gru"), "state", True, 2), 2, 3, H, torch.float32, device)


def chosen(device: torch.device, H: int) -> str:
    return choose(device, H).name


def test_kernels_that_agree_with_torch_are_taken(on_device: torch.device) -> None:
    found = choose(on_device, 5)
    assert found.name == "triton-persistent"
    assert found.tile
    assert found.tile.BB == 8


def test_wide_layers_are_taken_step_by_step(on_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "UNITS_LIMIT", 4)
    assert chosen(on_device, 5) == "triton"


def test_torch_computes_what_kernels_get_wrong(
    on_device: torch.device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = KernelSteps.forward

    def wrong(self: KernelSteps) -> None:
        right(self)
        self.output.mul_(1.01)

    monkeypatch.setattr(KernelSteps, "forward", wrong)
    assert chosen(on_device, 5).startswith("torch (no Triton kernel: the stages kernels differ")
    assert chosen(on_device, 5).startswith("torch")
    assert capsys.readouterr().err.count("torch computes layers of 5 units") == 1


def test_torch_computes_what_does_not_compile(on_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*of: object, **more: object) -> None:
        raise RuntimeError("no ptxas")

    monkeypatch.setattr(KernelSteps, "bind", fail)
    assert "no ptxas" in chosen(on_device, 5)


def test_the_kernels_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_TRITON", "0")
    assert build.unavailable(torch.device("cuda")) == "ABLATE_TRITON=0"


def test_a_step_is_one_launch_for_each_stage() -> None:
    d = derived(structure_of("model=gru", "reset=after"), "state", True, 2)
    whole, stages = (kernels_of(d, form) for form in ("streamed", "stages"))
    assert [len(kernels) for kernels in whole] == [1, 1]
    assert [len(kernels) for kernels in stages] == [1, 1]


def kernels_of(d: Derived, form: str) -> tuple[tuple[object, ...], tuple[object, ...]]:
    made = build.kernels(d, form, True)
    return made.forward, made.backward


def compare_random(cell: RandomCell, use: Callable[[str], object]) -> None:
    """Numbers of which float64 says little are left out: those at kinks."""
    d = cell.derived()
    assume(d.inputs)  # else torch computes it
    for seed in range(4):
        numbers = drawn(d, 5, 3, 3, seed)
        exact = computed(by_graph, d, numbers, torch.float64)
        if error(computed(by_graph, d, numbers, torch.float32), exact) < 2e-6:
            break
    else:
        reject()
    for form in FORMS:
        use(form)
        assert error(computed(recurrence.recurrence, d, numbers, torch.float64), exact) < 1e-10


@settings(max_examples=10, deadline=None, derandomize=True, phases=UNSHRUNK)
@given(random_cells())
def test_random_cells(cell: RandomCell) -> None:
    with pytest.MonkeyPatch.context() as patch:
        compare_random(cell, lambda form: use(form, patch))


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True, phases=UNSHRUNK)
@given(random_cells())
def test_two_hundred_random_cells(cell: RandomCell) -> None:
    with pytest.MonkeyPatch.context() as patch:
        compare_random(cell, lambda form: use(form, patch))
