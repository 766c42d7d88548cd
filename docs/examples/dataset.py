"""Data of your own, from a file: does a signal rise or fall on the whole? A row of the CSV holds answer and signal.

python -m ablate plugins=[docs/examples/dataset.py] task=trend data.path=docs/examples/trend.csv num_steps=8 epochs=50
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Generator, Tensor

import ablate


def read(data, tokens) -> ablate.Corpus:
    """The loader: `data.path` is the file that was given; `tokens` matters only for texts."""
    rows = np.loadtxt(data.path, delimiter=",", skiprows=1, dtype=np.float32)
    return ablate.Corpus.of_arrays(data.path, signals=rows[:, 1:], answers=rows[:, 0].astype(np.int64))


@ablate.task(
    data=[ablate.DataSet("trend_file", ("trend",), "signals and what each does", loader=read, own_file=True)],
    metrics=["accuracy"],
    main="accuracy",
    real_inputs=True,
    disjoint=True,
    has_prefixes=False,
    brings={"optimizer": "adam", "batch_size": 8},
    words=ablate.Words(scored="of the answers", data="signals", plural=True),
)
class Trend(ablate.Task):
    """Whether a signal rises or falls, read number by number."""

    sizes = ablate.Features(inputs=1, outputs=2)

    def __init__(self, config, corpus, device) -> None:
        super().__init__(config, corpus, device)
        T, signals = config.num_steps, torch.tensor(corpus.arrays["signals"])
        if signals.shape[1] < T:
            raise ablate.UserError(f"num_steps is {T}, but {corpus.name} has {signals.shape[1]} numbers a row")
        inputs = signals[:, :T].T.unsqueeze(-1).to(device)
        targets = torch.full(inputs.shape[:2], -1, device=device)
        targets[-1] = torch.tensor(corpus.arrays["answers"])
        kept = inputs.shape[1] * 4 // 5  # the last fifth is held out
        self.training, self._held_out = (inputs[:, :kept], targets[:, :kept]), (inputs[:, kept:], targets[:, kept:])

    @property
    def held_out(self) -> tuple[Tensor, Tensor]:
        return self._held_out

    def minibatches(self, order: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = self.training
        mixed = torch.randperm(inputs.shape[1], generator=order)
        for k in range(self.updates_per_epoch()):
            some = mixed[k * self.config.batch_size : (k + 1) * self.config.batch_size]
            yield inputs[:, some], targets[:, some]

    def updates_per_epoch(self) -> int:
        return self.training[0].shape[1] // self.config.batch_size

    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        inputs, targets = self.held_out
        right = self.logits(parameters, inputs)[-1].argmax(-1) == targets[-1].cpu()
        return {"accuracy": right.double().mean().item()}
