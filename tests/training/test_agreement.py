"""The self-test of a device against the CPU, and device=mps: with the CPU, and devices made up, in its place. 1 s."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ablate.config.errors import ConfigError
from ablate.config.resolved import Resolved
from ablate.training import agreement, loop

CPU = torch.device("cpu")
MPS = torch.device("mps")


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    agreement.disagreement.cache_clear()
    yield
    agreement.disagreement.cache_clear()


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A Mac whose GPU computes what the CPU does, times the last number in this list; how often it was asked."""
    factors, numbers = [1.0], agreement.numbers

    def computed(config: Resolved, device: torch.device) -> dict[str, Tensor]:
        if device == CPU:
            return numbers(config, CPU)
        asked.append(str(config.model.name))
        if factors[-1] == 0:
            raise NotImplementedError("The operator 'aten::some' is not implemented for MPS\nsee there")
        return {name: value * factors[-1] for name, value in numbers(config, CPU).items()}

    asked: list[str] = []
    monkeypatch.setattr(agreement, "numbers", computed)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(agreement, "asked", asked, raising=False)
    return factors


@pytest.mark.full
def test_the_cpu_agrees_with_itself() -> None:
    assert agreement.disagreement(CPU) == ""


@pytest.mark.full
def test_it_sees_what_a_device_computes() -> None:
    """Meta tensors have no numbers: whatever the device gets wrong, it is said, and nothing is raised."""
    assert "gru" in agreement.disagreement(torch.device("meta"))


def test_mps_is_taken_where_it_agrees_and_asked_once(mps: list[float]) -> None:
    assert {loop.resolve_device("mps") for _ in range(3)} == {MPS}
    assert agreement.asked == list(agreement.MODELS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("factor", "word"), [(1.01, "the gradient of gru"), (0, "'aten::some' is not implemented")])
def test_mps_is_refused_in_one_line_where_it_does_not(mps: list[float], factor: float, word: str) -> None:
    mps.append(factor)
    with pytest.raises(ConfigError, match=word) as error:
        loop.resolve_device("mps")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without Apple's GPU")
def test_without_a_mac_mps_is_refused() -> None:
    with pytest.raises(ConfigError, match="device=cpu"):
        loop.resolve_device("mps")
