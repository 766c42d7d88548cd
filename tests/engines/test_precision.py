"""precision=: torch's flags while each engine computes, their restoration, and products of rounded factors. CPU, 2 s.

The flags are read where a GPU would read them; that cuDNN and cuBLAS follow them needs a GPU (tests/gpu).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
import torch
from torch import Tensor

from ablate.config.errors import CombinationError
from ablate.config.identity import run_id
from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.engines import precision
from ablate.engines.cohort import Cohort, bptt
from ablate.engines.precision import as_asked, computing, tf32_state
from ablate.networks.products import Rounded, to_bfloat16, to_tf32
from ablate.training import choice, loop
from tests.engines.sample_networks import batches, composed, weights

V = 28


def flags() -> precision.Before:
    return precision._read()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = flags()
    yield
    assert flags() == before


def test_ieee_is_the_default_and_switches_cudnn_s_tf32_off() -> None:
    assert tf32_state() == {"matmul": False, "cudnn": True}, "torch's own defaults, which differ"
    with computing(composed("model=gru").precision):
        assert tf32_state() == {"matmul": False, "cudnn": False}
    assert tf32_state() == {"matmul": False, "cudnn": True}


def test_tf32_is_both_products_and_cudnn() -> None:
    with computing("tf32"):
        assert tf32_state() == {"matmul": True, "cudnn": True}


@pytest.mark.parametrize("asked", ["ieee", "tf32"])
def test_torch_s_older_flags_say_the_same(asked: str) -> None:
    """Where the two kinds differ torch raises as soon as one of the older ones is read, as other libraries do."""
    with computing(asked):
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == (asked == "tf32")
        assert torch.get_float32_matmul_precision() == ("high" if asked == "tf32" else "highest")


def test_flags_that_a_program_has_mixed_are_left_as_they_are() -> None:
    own = flags()
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # beside allow_tf32, which is still true
    mixed = flags()
    try:
        assert mixed[1] is None
        with computing("tf32"):
            assert tf32_state() == {"matmul": True, "cudnn": True}
        assert flags() == mixed
    finally:
        precision._write(own)


def test_what_a_program_around_us_has_set_counts_for_nothing_and_is_restored() -> None:
    own = flags()
    torch.set_float32_matmul_precision("medium")
    others = flags()
    try:
        with suppress(KeyError), computing("ieee"):
            assert set(flags()[0]) == {"ieee"}
            raise KeyError
        assert flags() == others
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
        precision._write(own)


def test_one_precision_is_shared_and_another_one_waits() -> None:
    seen: list[str] = []
    shared, enough = threading.Event(), threading.Event()

    def same() -> None:
        with computing("ieee"):
            shared.set()

    def other() -> None:
        with computing("tf32"):
            seen.append("tf32")

    with computing("ieee"):
        threads = [threading.Thread(target=run) for run in (same, other)]
        for thread in threads:
            thread.start()
        assert shared.wait(60)
        assert not enough.wait(0.05)
        assert (seen, tf32_state()["matmul"]) == ([], False)
        with computing("ieee"), pytest.raises(RuntimeError, match="tf32"), computing("tf32"):
            pass
    for thread in threads:
        thread.join(60)
    assert seen == ["tf32"]


@pytest.mark.parametrize("engine", ["cohort", "torch_nn", "eager"])
@pytest.mark.parametrize("asked", ["ieee", "tf32"])
def test_every_engine_trains_with_the_products_asked_for(
    engine: str, asked: str, small: Callable[..., Config], corpus: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of each engine sees the flags at each step; as on a GPU, for which tf32 is let through here."""
    seen: set[tuple[bool, ...]] = set()
    build = choice.build

    def watched(*args: object, **options: object) -> object:
        program = build(*args, **options)  # type: ignore[arg-type]

        def told(computed: Callable[..., Tensor], *args: object, **options: object) -> Tensor:
            seen.add(tuple(tf32_state().values()))
            return computed(*args, **options)

        for name in ("step", "train")[: 1 + getattr(program, "takes_portions", False)]:
            monkeypatch.setattr(program, name, partial(told, getattr(program, name)))
        return program

    monkeypatch.setattr(loop, "build", watched)
    monkeypatch.setattr(choice, "check_precision", lambda *_: None)
    loop.train(small("model=gru", f"engine={engine}", f"precision={asked}", "epochs=1"), corpus)  # type: ignore[arg-type]
    assert seen == {(asked == "tf32",) * 2}


def test_tf32_is_refused_on_a_cpu(compose: Callable[..., Config]) -> None:
    config = resolve(compose("model=gru", "precision=tf32"))
    for engine in ("auto", "cohort", "torch_nn"):
        with pytest.raises(CombinationError, match=r"precision=tf32.*device=cpu"):
            choice.choose(config.but(engine=engine), V, torch.device("cpu"), 3)


@pytest.mark.parametrize(("capability", "reason"), [((7, 5), "older than Ampere"), ((8, 0), ""), ((9, 0), "")])
def test_what_a_gpu_has(capability: tuple[int, int], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A Card")
    for asked in ("tf32", "bf16"):
        told = precision.unavailable(asked, torch.device("cuda:0"))
        assert (told == "") == (reason == "")
        assert reason in told
    assert precision.unavailable("ieee", torch.device("cuda:0")) == ""


def test_precision_is_part_of_an_identity_where_it_is_not_as_ever(compose: Callable[..., Config]) -> None:
    ids = [run_id(resolve(compose("model=gru", *more)), "abc") for more in ([], ["precision=ieee"], ["precision=tf32"])]
    assert ids[0] == ids[1] != ids[2]


def test_a_number_is_rounded_to_the_bits_of_tf32() -> None:
    ulp = 2.0**-10
    given = torch.tensor([1, 1 + ulp, 1 + ulp / 4, 1 + 3 * ulp / 4, -1 - 3 * ulp / 4, 1 + ulp / 2, 0.0, 1e-30])
    expected = torch.tensor([1, 1 + ulp, 1, 1 + ulp, -1 - ulp, 1 + ulp, 0.0])
    assert torch.equal(to_tf32(given)[:7], expected)
    assert to_tf32(torch.randn(1000)).view(torch.int32).bitwise_and(0x1FFF).eq(0).all()


@pytest.mark.parametrize("model", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_torch_form_rounds_the_factors_of_every_product(
    model: str, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against itself in float32: other numbers, by as much as the rounding of factors; coarser bits, larger errors."""
    shape = [f"num_hiddens={33}", "batch_size=5", "num_steps=4", f"layers={layers}"]
    found: dict[str, Tensor] = {}
    for name, asked, rounding in (("ieee", "ieee", None), ("bf16", "bf16", None), ("tf32", "ieee", to_tf32)):
        config = composed(f"model={model}", *shape, f"precision={asked}")
        if rounding is not None:
            monkeypatch.setattr(bptt, "products_of", lambda *_: Rounded(to_tf32))
        cohort = Cohort([config], V, [weights(config, V, 0, torch.float32)])
        [batch] = batches(config, V, 1, 1)
        [gradients] = cohort.gradients(*batch, carry=False)
        found[name] = torch.cat([gradient.flatten() for gradient in gradients.values()])
    size = found["ieee"].norm()
    errors = {name: float((found[name] - found["ieee"]).norm() / size) for name in ("bf16", "tf32")}
    assert 2.0**-9 / 32 < errors["bf16"] < 32 * 2.0**-9
    assert 2.0**-12 / 32 < errors["tf32"] < 32 * 2.0**-12
    assert errors["tf32"] < errors["bf16"] / 3


def test_every_product_of_a_minibatch_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """None goes past `Products`: with factors rounded to zero there is no gradient but that of the last bias."""
    config = composed("model=gru", "num_hiddens=8", "batch_size=4", "num_steps=3", "layers=2")
    monkeypatch.setattr(bptt, "products_of", lambda *_: Rounded(torch.zeros_like))
    cohort = Cohort([config], V, [weights(config, V, 0, torch.float32)])
    [batch] = batches(config, V, 1, 1)
    [gradients] = cohort.gradients(*batch, carry=False)
    assert {name for name, value in gradients.items() if value.any()} == {"output.b"}


def test_bfloat16_is_emulated_in_the_type_of_the_factors() -> None:
    exact = torch.randn(3, 4, dtype=torch.float64)
    assert to_bfloat16(exact).dtype == torch.float64
    assert torch.equal(to_bfloat16(exact), exact.bfloat16().double())


def test_configs_decide_what_is_computed_with() -> None:
    assert as_asked(lambda configs: tf32_state()["matmul"])([composed("model=gru", "precision=tf32")])
