"""The kernels in Triton on a GPU, against torch's form there. Needs a CUDA device and triton; minutes, to compile."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

from ablate.cells.derivative import Derived, derived
from ablate.engines.cohort.cuda import choice
from ablate.engines.cohort.cuda.steps import LEAST, KernelSteps
from ablate.networks.steps import Shape
from tests.engines.test_native_recurrence import structure_of

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not torch.cuda.is_available() or find_spec("triton") is None, reason="no GPU, or no triton"),
]
DEVICE = torch.device("cuda")
B = 37


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def derivative(cell: str) -> Derived:
    return derived(structure_of(f"model={cell}"), "state", True, 2)


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
@pytest.mark.parametrize("H", [5, 64, 100, 128, 256, 300])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mgu", "mingru", "minlstm"])
def test_every_form(cell: str, H: int, precision: str) -> None:
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    d = derivative(cell)
    for sequences in choice.SEQUENCES[precision]:
        for form, tile in choice.candidates(d, sequences, B, H, precision):
            reason = choice._why_not(d, form, tile, B, H, DEVICE, precision)
            # Registers may lack where there is another form: what every device has room for are the smaller tiles.
            lacks = reason.endswith("lack registers") and (form == "held" or tile.BB > LEAST)
            assert not reason or lacks, f"{form} {tile}: {reason}"


@pytest.mark.parametrize("form", ["held", "streamed", "stages"])
def test_a_cuda_graph_holds_them(form: str) -> None:
    d, generator = derivative("gru"), torch.Generator(DEVICE).manual_seed(0)
    steps = KernelSteps(d, Shape(3, 4, B, 32, torch.float32, DEVICE), True, form)
    matrices = [torch.randn(W.shape[0], W.shape[2], W.shape[1], device=DEVICE) / 6 for W in steps.transposed]
    vectors = [torch.randn(3, 1, 32, device=DEVICE) for _ in d.vectors]

    def both_ways() -> None:
        steps.bind(matrices, vectors)
        steps.forward()
        steps.backward(initial=True)

    def draw() -> None:
        for buffer in (steps.A, steps.states[:, :, 0], steps.d_output):
            buffer.normal_(generator=generator)

    draw()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        both_ways()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        both_ways()
    draw()
    graph.replay()
    found = [steps.output, steps.D, *steps.initial_gradients()]
    replayed = [tensor.clone() for tensor in found]
    both_ways()
    for ours, theirs in zip(replayed, found, strict=True):
        assert torch.equal(ours, theirs)
