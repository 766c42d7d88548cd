"""The native kernels against the equations under autograd in float64; as a cohort; and as a layer.

CPU; needs a C++ compiler. A minute, most of it to compile the kernels of all shipped cells, here with -O1.
"""

import itertools
import math
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ablate.config.schema import Config
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.native import NativeCohort, build, computed_by, not_covered, unavailable
from ablate.engines.cohort.native.program import Kernel, memory_bytes
from ablate.engines.cohort.native.workspace import LARGE_PAGE, workspace
from ablate.engines.cohort.weights import Layout
from ablate.networks.language_model import EagerModel
from ablate.networks.parameters import Features, Vocabulary
from ablate.training import probes
from ablate.training.choice import choose, make_kernels
from tests.engines.sample_networks import (
    CELLS,
    Batch,
    backpropagate,
    batches,
    composed,
    losses_of,
    named_gradients,
    network,
    weights,
)

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(bool(unavailable()), reason=f"no native kernel: {unavailable()}"),
]

READ_AND_WRITTEN = {"candidate": "model.readout=candidate", "not-written": "model.write_back=false"}
OPTIONS = {
    **{f"{name}-{phi}": [f"model={name}", f"model.activation={phi}"] for name in ("rnn", "gru", "lstm", "mgu")
       for phi in ("relu", "identity")},
    "lstm-linear-output": ["model=lstm", "model.output_activation=identity"],
    "lstm-coupled": ["model=lstm", "model.coupled=true"],
    "lstm-peepholes": ["model=lstm", "model.peepholes=true"],
    "lstm-gate-recurrence": ["model=lstm", "model.gate_recurrence=true"],
    "mgu": ["model=mgu"],
    "mingru": ["model=mingru"],
    "mingru-tanh": ["model=mingru", "model.activation=tanh"],
    "minlstm": ["model=minlstm"],
}  # fmt: skip
HELD = {
    f"{name}-{gate}={value}": [f"model={name}", f"+model.gates.{gate}={value}"]
    for name, gates in {"gru": ["reset", "update"], "lstm": ["input", "forget", "output"], "mgu": ["forget"],
                        "mingru": ["update"], "minlstm": ["input", "forget"]}.items()
    for gate in gates
    for value in ("0", "1", "0.3")
    if (name, gate, value) not in (("gru", "update", "1"), ("mgu", "forget", "0"), ("mingru", "update", "1"))
}  # fmt: skip
"""Without those of which nothing is left but the old state."""
READ = {
    f"{name}-{'-'.join(options)}": [f"model={name}", *(READ_AND_WRITTEN[option] for option in options)]
    for name in ("rnn", "gru", "lstm", "mgu", "mingru", "minlstm")
    for options in (("candidate",), ("not-written",), ("candidate", "not-written"))
    if name != "rnn" or options == ("not-written",)
}
SHAPES = (
    (5, 3, 4, 1, 28),
    (17, 32, 7, 2, 28),
    (33, 1, 2, 3, 5),
    (1, 3, 1, 1, 70),
    (32, 32, 5, 1, 28),
    (16, 2, 3, 1, 7),
    (20, 3, 4, 2, Features(1, 4)),
    (32, 9, 3, 1, Features(32, 3)),
    (33, 2, 3, 1, Features(21, 20)),
)
"""H, B, T, layers, V. In some there are more words than tokens; in some numbers are read, in full panels and others."""
R, V = 3, 28
TOLERANCE = 1e-5


def single(config: Config, V: Vocabulary, seed: int) -> dict[str, Tensor]:
    return weights(config, V, seed, torch.float32)


def compare(config: Config, V: Vocabulary, carry: bool) -> None:
    """Loss and gradients of the second minibatch, relative to the largest gradient."""
    parameters = [single(config, V, seed) for seed in range(2)]
    cohort = NativeCohort([config] * 2, V, parameters)
    minibatches = batches(config, V, 2, 2)
    for x, y in minibatches:
        ours = cohort.gradients(x, y, carry=carry)
    other = NativeCohort([config] * 2, V, parameters)
    first, second = (losses_of(other, x, y, carry=carry and i > 0) for i, (x, y) in enumerate(minibatches))
    assert first.isfinite().all()
    for k in range(2):
        model = EagerModel(config, V, {name: value.double() for name, value in parameters[k].items()})
        loss = backpropagate(model, [(x[k], y[k]) for x, y in minibatches], carry)
        torch.testing.assert_close(second[k].double(), loss, rtol=1e-5, atol=1e-6)
        expected = named_gradients(model)
        assert ours[k].keys() == expected.keys()
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        for name, gradient in expected.items():
            error = float((ours[k][name].double() - gradient).abs().max())
            assert error <= TOLERANCE * largest + 1e-7, f"{k} {name}: {error / max(largest, 1e-30):.1e}"


def run(configs: Sequence[Config], parameters: list[dict[str, Tensor]], minibatches: Sequence[Batch]) -> Tensor:
    """Each step's losses, and last the parameters, a column per replica."""
    cohort = NativeCohort(configs, V, parameters)
    losses = [cohort.step(x, y, carry=i > 0) for i, (x, y) in enumerate(minibatches)]
    ends = [torch.cat([p.flatten() for p in cohort.named_tensors(k).values()]) for k in range(len(cohort))]
    return torch.cat([torch.stack(losses), torch.stack(ends, 1)])


@pytest.fixture
def quickly_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FLAGS", ("-O1", *build.FLAGS[1:]))


def of_shape(overrides: Sequence[str], H: int, B: int, T: int, layers: int, V: Vocabulary, number: int) -> None:
    sizes = {"num_hiddens": H, "num_steps": T, "batch_size": B, "layers": layers}
    compare(network(*overrides, bias_vectors=1 + number % 2, **sizes), V, carry=number % 3 > 0)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("cell", OPTIONS)
def test_every_option(cell: str) -> None:
    for number, shape in enumerate(SHAPES):
        of_shape(OPTIONS[cell], *shape, number)


@pytest.mark.slow
@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("cell", HELD | READ)
def test_every_gate_held_and_every_readout(cell: str) -> None:
    for number, shape in enumerate(SHAPES):
        of_shape((HELD | READ)[cell], *shape, number)


@pytest.mark.parametrize("carry", [False, True], ids=["zero", "carried"])
@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell: str, bias_vectors: int, carry: bool) -> None:
    for layers, (H, B) in itertools.product((1, 2), ((32, 32), (33, 9))):
        knobs = {"num_hiddens": H, "num_steps": 6, "batch_size": B, "layers": layers, "bias_vectors": bias_vectors}
        compare(network(*CELLS[cell], **knobs), V, carry)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(list(CELLS)),
    H=st.integers(1, 50),
    T=st.integers(1, 5),
    B=st.integers(1, 19),
    V=st.one_of(st.integers(1, 70), st.builds(Features, st.integers(1, 40), st.integers(1, 20))),
    layers=st.integers(1, 3),
    bias_vectors=st.integers(1, 2),
    carry=st.booleans(),
)
def test_any_shape(
    cell: str, H: int, T: int, B: int, V: Vocabulary, layers: int, bias_vectors: int, carry: bool
) -> None:
    sizes = {"num_hiddens": H, "num_steps": T, "batch_size": B, "layers": layers}
    compare(network(*CELLS[cell], bias_vectors=bias_vectors, **sizes), V, carry)


def test_functions_are_those_of_float64() -> None:
    """Two units in the last place or little more, and no surprise at the ends."""
    config = network("model=rnn")
    library = Kernel(Layout(config, V), V).library
    x = torch.cat([torch.linspace(-86, 86, 1 << 16), torch.linspace(-1e-2, 1e-2, 1 << 12), torch.zeros(32)])
    outs = [torch.empty_like(x) for _ in range(3)]
    library.functions(x.data_ptr(), *(out.data_ptr() for out in outs), len(x))
    for ours, function in zip(outs, (torch.exp, torch.sigmoid, torch.tanh), strict=True):
        exact = function(x.double())
        error = ((ours.double() - exact).abs() / exact.abs().clamp(min=1e-37)).max()
        assert error < 6 * 2**-24, f"{function.__name__}: {float(error) * 2**24:.1f} · 2^-24"
    ends = torch.tensor([math.nan, math.inf, -math.inf, 200.0, -200.0] + [0.0] * 27)
    outs = [torch.empty_like(ends) for _ in range(3)]
    library.functions(ends.data_ptr(), *(out.data_ptr() for out in outs), len(ends))
    for ours, function in zip(outs[1:], (torch.sigmoid, torch.tanh), strict=True):
        torch.testing.assert_close(ours, function(ends), rtol=1e-6, atol=1e-37, equal_nan=True)
    assert outs[0].isnan().tolist() == ends.isnan().tolist()


@pytest.mark.parametrize("cell", CELLS)
def test_training_is_that_of_the_torch_engine(cell: str) -> None:
    config = network(*CELLS[cell], num_hiddens=20, num_steps=7, batch_size=5, layers=2, bias_vectors=2)
    configs = [config.but(lr=lr, clip=clip) for lr, clip in ((0.01, None), (0.5, 0.1), (0.1, 1.0))]
    parameters = [single(config, V, seed) for seed in range(R)]
    exact = [{name: value.double() for name, value in p.items()} for p in parameters]
    ours, reference = NativeCohort(configs, V, parameters), Cohort(configs, V, exact)
    for i, (x, y) in enumerate(batches(config, V, R, 4)):  # few: errors grow with every update
        expected = reference.step(x, y, carry=i > 0)
        torch.testing.assert_close(ours.step(x, y, carry=i > 0).double(), expected, rtol=1e-3, atol=0)
    text = torch.randint(V, (40, 3), generator=torch.Generator().manual_seed(0))
    losses = ours.evaluate(text[:-1], text[1:])
    assert losses.dtype == torch.float64
    torch.testing.assert_close(losses, reference.evaluate(text[:-1], text[1:]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("V", [V, Features(3, 4)], ids=["tokens", "numbers"])
def test_dropout_is_that_of_the_torch_engine(V: Vocabulary) -> None:
    config = network("model=gru", num_hiddens=20, num_steps=7, batch_size=5, layers=3, dropout=0.4)
    parameters = [single(config, V, seed) for seed in range(R)]
    x, y = batches(config, V, R, 1)[0]
    found = []
    for kind in (NativeCohort, Cohort):
        generators = [torch.Generator().manual_seed(seed) for seed in range(R)]
        found.append(kind([config] * R, V, parameters, generators=generators).gradients(x, y, carry=False))
    for ours, reference in zip(*found, strict=True):
        for name, gradient in reference.items():
            torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "rmsprop"])
def test_other_optimizers_move_by_its_gradients(optimizer: str) -> None:
    config = network("model=gru", f"optimizer={optimizer}", lr=1e-3)
    parameters = [single(config, V, seed) for seed in range(R)]
    ours, reference = NativeCohort([config] * R, V, parameters), Cohort([config] * R, V, parameters)
    for x, y in batches(config, V, R, 5):
        torch.testing.assert_close(ours.step(x, y, carry=False), reference.step(x, y, carry=False), rtol=1e-4, atol=0)


@pytest.mark.parametrize("B", [1, 7, 32])
@pytest.mark.parametrize("cell", CELLS)
def test_a_replica_is_the_same_alone(cell: str, B: int) -> None:
    config = network(*CELLS[cell], num_hiddens=19, batch_size=B, layers=2)
    configs = [config.but(lr=0.1 * (k + 1), seed=k) for k in range(R)]
    parameters = [single(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 6)
    together = run(configs, parameters, minibatches)
    for k in range(R):
        alone = run([configs[k]], [parameters[k]], [(x[k : k + 1], y[k : k + 1]) for x, y in minibatches])
        assert torch.equal(together[:, k], alone[:, 0])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_diverged_replica_freezes_and_disturbs_nobody(optimizer: str) -> None:
    config = network("model=rnn", "model.activation=relu", f"optimizer={optimizer}", num_hiddens=19)
    healthy = [single(config, V, seed) for seed in range(R)]
    broken = [dict(p) for p in healthy]
    broken[1]["output.b"] = torch.full_like(broken[1]["output.b"], math.nan)
    minibatches = batches(config, V, R, 5)
    expected, losses = run([config] * R, healthy, minibatches), run([config] * R, broken, minibatches)
    assert torch.equal(losses[:, [0, 2]], expected[:, [0, 2]])
    cohort = NativeCohort([config] * R, V, broken)
    for x, y in minibatches:
        assert cohort.step(x, y, carry=False)[1].isnan()
    assert cohort.alive.tolist() == [True, False, True]
    for name, tensor in broken[1].items():
        torch.testing.assert_close(cohort.named_tensors(1)[name], tensor, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_checkpoint_goes_on_bit_for_bit_even_with_evaluation_between(cell: str, optimizer: str) -> None:
    config = network(*CELLS[cell], f"optimizer={optimizer}", layers=2, num_hiddens=19)
    parameters = [single(config, V, seed) for seed in range(R)]
    minibatches = batches(config, V, R, 6)
    first = NativeCohort([config] * R, V, parameters)
    for x, y in minibatches[:3]:
        first.step(x, y, carry=True)
    second = NativeCohort([config] * R, V, parameters)
    second.load_replica_states(first.replica_states())
    for x, y in minibatches[3:]:
        second.evaluate(x[:, :-1], y[:, :-1])
        assert torch.equal(first.step(x, y, carry=True), second.step(x, y, carry=True))


def test_threads_do_not_meet() -> None:
    config = network("model=lstm", num_hiddens=40, num_steps=20, batch_size=16)
    minibatches = batches(config, V, 1, 10)
    expected = [run([config], [single(config, V, k)], minibatches) for k in range(2)]
    found: dict[int, Tensor] = {}

    def train(k: int) -> None:
        found[k] = run([config], [single(config, V, k)], minibatches)

    threads = [threading.Thread(target=train, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[k], expected[k]) for k in range(2))


def test_what_it_does_not_cover_it_says() -> None:
    plain = network("model=gru")
    assert not_covered(plain, torch.float32) == ""
    assert computed_by(plain, torch.float32) == "native"
    assert computed_by(plain, torch.float64) == "torch (no native kernel: not float32)"
    assert not_covered(plain, torch.float64) == "not float32"
    assert not_covered(plain, torch.float32, "cuda") == "not on the CPU"
    assert not_covered(plain.but(layers=2, dropout=0.5), torch.float32) == ""
    assert "layers" in not_covered(plain.but(layers=17), torch.float32)
    with pytest.raises(ValueError, match="cannot compute this: not float32"):
        NativeCohort([plain], V, [weights(plain, V, 0)])
    outside = torch.full((1, 4, 3), V)
    with pytest.raises(IndexError, match="vocabulary of 28"):
        NativeCohort([plain], V, [single(plain, V, 0)]).step(outside, outside, carry=False)
    assert memory_bytes(plain, 20, V) > 2 * 4 * 20 * Layout(plain, V).size


def test_the_kernels_of_several_cells_are_made_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three configs two kernels: none of the two is ready before the other one is begun. Then they are there."""
    both, made = threading.Barrier(2, timeout=60), list[str]()

    def begun(text: str, precision: str) -> Path:
        made.append(text)
        both.wait()
        raise RuntimeError("no compiler today")

    monkeypatch.setattr(build, "_made", {})
    monkeypatch.setattr(build, "cores", lambda: 2)
    monkeypatch.setattr(build, "built", begun)
    configs = [composed("model=rnn"), composed("model=gru"), composed("model=gru", "num_hiddens=7")]
    build.make(configs)
    assert len(set(made)) == len(made) == 2
    assert all("no compiler today" in not_covered(config, torch.float32) for config in configs)
    assert len(made) == 2


def test_what_a_sweep_needs_is_made_before_its_engines_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a cell, and that of the cell on which updates are compared."""
    config = composed("model=gru")
    monkeypatch.setattr(build, "_made", {})
    make_kernels([config])
    monkeypatch.setattr(build, "built", lambda *_: pytest.fail("compiled one by one"))
    probes.by_engine.cache_clear()
    assert choose(config, 5, torch.device("cpu"), 1).engine


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_NATIVE", "0")
    assert unavailable() == "ABLATE_NATIVE=0"
    assert not_covered(composed("model=rnn"), torch.float32) == "ABLATE_NATIVE=0"


def test_without_a_compiler_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = composed("model=rnn")
    monkeypatch.setattr(build, "_made", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert unavailable().startswith("no C++ compiler (g++")
    assert not_covered(config, torch.float32) == unavailable()
    failing = tmp_path / "g++"
    failing.write_text("#!/bin/sh\n[ $1 = --version ] || { echo 'no room' >&2; exit 1; }\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert not_covered(config, torch.float32) == f"{failing}: no room"


def test_what_a_compiler_says_need_not_be_utf_8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "_made", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    odd = tmp_path / "odd-compiler"
    odd.write_text("#!/bin/sh\nprintf 'F\\344hler\\n' >&2; exit 1\n")
    odd.chmod(0o755)
    monkeypatch.setenv("CXX", str(odd))
    assert not_covered(composed("model=rnn"), torch.float32) == f"{odd}: F\ufffdhler"


@pytest.mark.parametrize("said", ["Error: no such instruction", "cell.cpp:3:1: error: expected ;"])
def test_of_what_a_compiler_says_the_first_error_is_told(said: str, tmp_path: Path) -> None:
    """The line before says only whose message follows."""
    broken = tmp_path / "compiler"
    broken.write_text(f"#!/bin/sh\nprintf 'Assembler messages:\\n%s\\nmore\\n' '{said}' >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(RuntimeError) as raised:
        build._output([str(broken)])
    assert str(raised.value) == f"{broken}: {said}"


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["x86-64-v3", "x86-64"])
def test_narrower_vectors(arch: str) -> None:
    """The kernel for older CPUs computes the same function."""
    program = (
        "from ablate.engines.cohort.native import build; "
        f"build.FLAGS = ('-O3', '-march={arch}', *build.FLAGS[2:]); "
        "import pytest, sys; "
        "sys.exit(pytest.main(['-q', '-m', 'full', '-k', 'gradients or any_shape or functions', sys.argv[1]]))"
    )
    if build.platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("these are x86 instruction sets")
    subprocess.run([sys.executable, "-c", program, __file__], check=True, timeout=600)


@pytest.mark.parametrize("size", [64, LARGE_PAGE - 64, LARGE_PAGE, 3 * LARGE_PAGE + 64])
def test_a_workspace_is_aligned_and_can_be_written_to(size: int) -> None:
    space = workspace(size)
    assert space.shape == (size,)
    assert space.data_ptr() % 64 == 0
    assert int(space.fill_(3).sum()) == 3 * size
