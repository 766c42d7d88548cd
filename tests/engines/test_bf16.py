"""precision=bf16: the tiled products against those of float32, in whole minibatches; where they cannot be had.

Needs a C++ compiler; most tests a CPU that multiplies bfloat16, too.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ablate.cells.derivative import derivative_of
from ablate.config.errors import CombinationError
from ablate.config.schema import Config
from ablate.engines.cohort.native import NativeCohort, build, computed_by, unavailable
from ablate.engines.cohort.native.generate import source
from ablate.networks.parameters import Features, Vocabulary
from ablate.training import choice
from tests.engines.sample_networks import batches, composed, losses_of, weights

ROUNDING = 2.0**-9
"""Of a factor, relatively: bfloat16 has 8 bits of a number, the last of them rounded."""
SHAPES = ((64, 32, 35, 1, 28), (33, 5, 4, 2, 7), (1, 1, 2, 1, 70), (17, 40, 3, 3, 28),
          (32, 5, 4, 1, Features(1, 10)), (20, 5, 4, 2, Features(40, 3)))  # fmt: skip
"""H, B, T, layers, V."""

needs_bfloat16 = pytest.mark.skipif(bool(unavailable("bf16")), reason=unavailable("bf16"))


def has_both() -> bool:
    return {*build._cpu().split()} >= build.BFLOAT16


@pytest.fixture(params=["as the CPU has it", "without AMX"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both implementations, where a CPU has both."""
    if request.param == "without AMX":
        if not has_both():
            pytest.skip("this CPU has one of the two")
        monkeypatch.setattr(build, "_made", {})
        monkeypatch.setitem(build.PRECISION_FLAGS, "bf16", ("-DBF16", "-mno-amx-bf16", "-mno-amx-tile"))


@pytest.mark.full
@needs_bfloat16
@pytest.mark.parametrize("model", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize(("H", "B", "T", "layers", "V"), SHAPES)
def test_gradients_are_those_of_float32_but_for_the_rounding_of_factors(
    model: str, H: int, B: int, T: int, layers: int, V: Vocabulary, products: None
) -> None:
    shape = [f"num_hiddens={H}", f"batch_size={B}", f"num_steps={T}", f"layers={layers}"]
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for precision in ("ieee", "bf16"):
        config = composed(f"model={model}", *shape, f"precision={precision}")
        cohort = NativeCohort([config], V, [weights(config, V, 0, torch.float32)])
        [batch] = batches(config, V, 1, 1)
        found[precision] = losses_of(cohort, *batch, carry=False), cohort.grads.clone()
    (loss, exact), (rounded_loss, rounded) = found["ieee"], found["bf16"]
    assert not torch.equal(exact, rounded)
    assert torch.allclose(loss, rounded_loss, rtol=2 * ROUNDING)  # a mean over few, where one step is scored
    # Roundings are independent: over a product they shrink, over layers and steps they add up.
    assert (exact - rounded).norm() < 32 * ROUNDING * exact.norm()


@pytest.mark.full
@pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}")
@pytest.mark.parametrize("model", ["gru", "lstm"])
def test_tiles_compile_also_where_no_cpu_has_them(model: str, tmp_path: Path) -> None:
    """Intrinsics of AMX are macros of the compiler, which take less than the language allows."""
    try:
        build.compiled("", tmp_path / "empty.so", "-march=sapphirerapids")
    except RuntimeError as error:
        pytest.skip(f"a compiler that knows no AMX: {error}")
    text = source(derivative_of(composed(f"model={model}")))
    build.compiled(text, tmp_path / "cell.so", "-DBF16", "-march=sapphirerapids")
    assert (tmp_path / "cell.so").is_file()


@pytest.mark.full
@needs_bfloat16
def test_the_record_says_which_products() -> None:
    config = composed("model=gru", "num_hiddens=8", "precision=bf16")
    assert computed_by(config, torch.float32) == "native, bf16 products"


@pytest.mark.full
@pytest.mark.parametrize("flags", ["fpu avx512f", ""])
def test_a_cpu_without_bfloat16_is_told_and_never_computes_others_in_silence(
    flags: str, monkeypatch: pytest.MonkeyPatch, compose: Callable[..., Config]
) -> None:
    monkeypatch.setattr(build, "_cpu", lambda: flags)
    config = compose("model=gru", "num_hiddens=8", "precision=bf16")
    with pytest.raises(CombinationError, match="precision=bf16"):
        choice.choose(config, 28, torch.device("cpu"), 3)
    with pytest.raises(CombinationError, match="precision=bf16"):
        choice.build("cohort", [config], 28, [], [], torch.device("cpu"), 1)
    assert choice.choose(compose("model=gru", "num_hiddens=8", "engine=cohort"), 28, torch.device("cpu"), 3)


def test_other_networks_have_no_products_in_bfloat16(compose: Callable[..., Config]) -> None:
    config = compose("model=gru", "precision=bf16", "model.bidirectional=true", "sampling=random")
    with pytest.raises(CombinationError, match="plainly stacked"):
        choice.choose(config, 28, torch.device("cpu"), 3)


@pytest.mark.full
@needs_bfloat16
def test_replicas_compute_the_same_alone_and_in_a_crowd() -> None:
    config = composed("model=gru", "num_hiddens=20", "batch_size=6", "num_steps=5", "precision=bf16")
    crowd = NativeCohort([config] * 3, 28, [weights(config, 28, seed, torch.float32) for seed in range(3)])
    alone = NativeCohort([config], 28, [weights(config, 28, 1, torch.float32)])
    for X, Y in batches(config, 28, 3, 2):
        losses, own = crowd.step(X, Y, carry=True), alone.step(X[1:2], Y[1:2], carry=True)
        assert math.isfinite(float(own))
        assert torch.equal(losses[1:2], own)
    assert torch.equal(crowd.parameters[1], alone.parameters[0])
