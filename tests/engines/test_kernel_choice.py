"""Which kernels of a GPU are tried for a layer, and in which order: decided without one, and without triton."""

import pytest

from ablate.cells.derivative import derived
from ablate.engines.cohort.cuda.choice import candidates
from tests.engines.test_native_recurrence import structure_of


def tried(model: str, H: int, precision: str) -> list[str]:
    d = derived(structure_of(f"model={model}"), "state", True, 2)
    return list(dict.fromkeys(form for form, _ in candidates(d, 8, 32, H, precision)))


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
@pytest.mark.parametrize("H", [32, 128, 1024])
def test_a_cell_without_products_takes_all_steps_at_once_whatever_its_size(H: int, precision: str) -> None:
    assert tried("mingru", H, precision) == tried("minlstm", H, precision) == ["held", "stages"]


@pytest.mark.parametrize(
    ("H", "precision", "forms"),
    [
        (64, "ieee", ["held", "streamed", "stages"]),
        (128, "ieee", ["streamed", "stages"]),
        (128, "tf32", ["held", "streamed", "stages"]),
        (256, "tf32", ["streamed", "stages"]),
        (257, "tf32", ["stages"]),
    ],
)
def test_weights_stay_on_the_chip_where_they_fit(H: int, precision: str, forms: list[str]) -> None:
    assert tried("gru", H, precision) == forms
