"""A replica in a crowd, in smaller company, alone, and beside one that diverges: the same numbers, bit for bit.

Every shipped model, networks of every form, and a user's cell, computed by the native kernels and by torch. CPU; the
native ones need a C++ compiler. Two minutes, most of it to compile, here with -O1.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from ablate.cells.cell import cell
from ablate.cells.functions import relu
from ablate.config.choice_files import choices
from ablate.config.composing import compose
from ablate.config.registry import CELLS
from ablate.config.schema import Config, with_seed
from ablate.engines.cohort.native import build, unavailable
from ablate.networks.parameters import Features, Sizes, Vocabulary, initial
from ablate.training.choice import any_minibatch
from ablate.training.choice import build as program_of

MODELS = {name: [f"model={name}"] for name in (*CELLS.names, *choices("model"))}
NETWORKS = {
    "two layers": ["model=gru", "layers=2"],
    "dropout": ["model=lstm", "layers=2", "dropout=0.3"],
    "bidirectional": ["model=gru", "model.bidirectional=true", "layers=2", "sampling=random"],
    "residual": ["model=lstm", "model.connection=residual", "layers=3", "dropout=0.3"],
    "dense": ["model=rnn", "model.connection=dense", "model.transition=4", "layers=3"],
    "encoder-decoder": ["task=translation", "data=number_pairs", "layers=2", "dropout=0.2"],
    "attention": ["task=translation", "data=number_pairs", "task.attention=true"],
    "word level": [
        *("model=lstm", "layers=2", "model.tied=true", "model.embedding=6"),
        *("dropout=0.2", "dropout_in=0.2", "dropout_out=0.2", "dropout_mask=variational"),
    ],
    "a translation that drops everywhere": [
        *(
            "task=translation",
            "data=number_pairs",
            "layers=2",
            "dropout_in=0.2",
            "dropout_out=0.2",
        ),
        "dropout_mask=variational",
    ],
    "a large vocabulary": ["model=gru", "layers=2"],
    "real numbers": ["model=lstm", "layers=2", "dropout=0.3"],
}
IN_TORCH = ("attention",)
"""Of which torch takes some steps in the native form, too."""
USERS = "users_gru"
R, UPDATES, BROKEN = 5, 3, 1
PORTIONS = ([0, 1], [2, 3], [4])
"""Chunks of replicas that do not divide the crowd."""


@pytest.fixture(autouse=True)
def users_cell() -> Any:
    @cell(name=USERS)
    def users_gru(x: Any, h: Any, *, W: Any, P: Any, gate: Any, candidate: Any) -> Any:
        Z = gate.update(x.update + h @ W.update + h * P.update)
        return Z * h + (1 - Z) * candidate(x.candidate + relu(h) @ W.candidate)

    yield
    del CELLS.found[USERS]


@pytest.fixture(params=["torch", "native"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setenv("ABLATE_NATIVE", "0")
    elif unavailable():
        pytest.skip(f"no native kernel: {unavailable()}")
    monkeypatch.setattr(build, "FLAGS", ("-O1", *build.FLAGS[1:]))
    return str(request.param)


def sizes_of(name: str, config: Config) -> Vocabulary | Sizes:
    others = {"a large vocabulary": 300, "real numbers": Features(3, 5)}
    return Sizes(9, 11) if config.task.name == "translation" else others.get(name, 11)


class Crowd:
    """Replicas that differ in everything they may differ in, and what they are trained on."""

    def __init__(self, name: str, overrides: Sequence[str], B: int) -> None:
        small = ["num_hiddens=19", "num_steps=6", f"batch_size={B}", "val_tokens=0", "lr=0.5", "clip=1"]
        config = compose([*overrides, *small])
        self.sizes = sizes_of(name, config)
        self.configs = [replace(with_seed(config, k), lr=0.1 * (k + 1)) for k in range(R)]
        self.parameters = [initial(c, self.sizes, Generator().manual_seed(c.seed)) for c in self.configs]
        drawn = Generator().manual_seed(7)
        self.minibatches = [any_minibatch(self.sizes, (R, 6, B), drawn) for _ in range(UPDATES)]
        self.carries = config.sampling != "random" and config.task.name != "translation"

    def trained(self, who: Sequence[int], broken: bool = False) -> list[Tensor]:
        """All numbers of each of these replicas after some updates: losses, then parameters, then held-out losses."""
        parameters = [dict(self.parameters[k]) for k in who]
        if broken:
            parameters[BROKEN]["output.b"] = torch.full_like(parameters[BROKEN]["output.b"], math.nan)
        generators = [Generator().manual_seed(k) for k in who]
        program = program_of(
            "cohort", [self.configs[k] for k in who], self.sizes, parameters, generators, torch.device("cpu"), UPDATES
        )
        numbers: list[list[Tensor]] = [[] for _ in who]
        for i, (X, Y) in enumerate(self.minibatches):
            for own, loss in zip(numbers, program.step(X[who], Y[who], carry=self.carries and i > 0), strict=True):
                own.append(loss.view(1))
        held_out = program.evaluate(*(part[0] for part in self.minibatches[0]))
        for place, own in enumerate(numbers):
            own += [tensor.flatten() for tensor in program.named_tensors(place).values()]
            own.append(held_out[place].view(1).float())
        return [torch.cat(own) for own in numbers]


@pytest.mark.parametrize("factors", [(19, 192, 11), (57, 192, 19), (32, 19, 57)])
def test_a_product_in_a_batch_is_what_it_is_alone(factors: tuple[int, int, int]) -> None:
    """As MKL promises in the mode that the package asks it for; on some processors of AMD's it is not so without."""
    m, k, n = factors
    drawn = Generator().manual_seed(0)
    X, W = torch.randn(6, m, k, generator=drawn), torch.randn(6, k, n, generator=drawn)
    for together in (1, 2, 3):
        parts = [torch.bmm(X[at : at + together], W[at : at + together]) for at in range(0, 6, together)]
        assert torch.equal(torch.cat(parts), torch.bmm(X, W))


@pytest.mark.full
@pytest.mark.parametrize("name", [*MODELS, *NETWORKS, USERS])
def test_a_replica_is_the_same_in_any_company(name: str, form: str) -> None:
    """The batch of torch's form fills its vectors: where they end its scalar functions round otherwise."""
    overrides = (MODELS | NETWORKS | {USERS: [f"model={USERS}"]})[name]
    crowd = Crowd(name, overrides, B=32 if form == "torch" or name in IN_TORCH else 7)
    together = crowd.trained(range(R))
    assert all(own.isfinite().all() for own in together)
    apart = [own for portion in PORTIONS for own in crowd.trained(portion)]
    alone = [crowd.trained([k])[0] for k in range(R)]
    beside = crowd.trained(range(R), broken=True)
    assert not beside[BROKEN].isfinite().all()
    for k in range(R):
        assert torch.equal(together[k], apart[k]), (k, "in smaller company")
        assert torch.equal(together[k], alone[k]), (k, "alone")
        assert k == BROKEN or torch.equal(together[k], beside[k]), (k, "beside one that diverges")
