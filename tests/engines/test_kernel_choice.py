"""Which kernels of a GPU are tried for a layer, and in which order: decided without one, and without triton."""

import pytest

from ablate.cells.derivative import derived
from ablate.engines.cohort.cuda.choice import FEW_SPILLS, SPILLS_LIMIT, candidates, most_spills
from tests.engines.test_native_recurrence import structure_of


def tried(model: str, H: int, precision: str, *options: str) -> list[str]:
    d = derived(structure_of(f"model={model}", *options), "state", True, 2)
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


def test_weights_that_would_fill_the_registers_of_a_thread_do_not_stay() -> None:
    """Of the lstm with full gate recurrence, 53,248 of 64 units, which tensor cores do not keep there."""
    full = "model.gate_recurrence=true"
    assert tried("lstm", 64, "ieee") == tried("lstm", 64, "tf32", full) == ["held", "streamed", "stages"]
    assert tried("lstm", 64, "ieee", full) == ["streamed", "stages"]
    assert tried("lstm", 32, "ieee", full)[0] == "held"


@pytest.mark.parametrize(("precision", "limits"), [("ieee", [FEW_SPILLS, SPILLS_LIMIT]), ("tf32", [SPILLS_LIMIT] * 2)])
def test_registers_may_lack_where_no_smaller_tile_does_as_well(precision: str, limits: list[int]) -> None:
    """Without tensor cores half the sequences take half the time."""
    d = derived(structure_of("model=lstm"), "state", True, 2)
    held = [one for one in candidates(d, 32, 32, 64, precision) if one[0] == "held"]
    assert [tile.BB for _, tile in held] == [32, 16]
    assert [most_spills(*one, held, precision) for one in held] == limits
