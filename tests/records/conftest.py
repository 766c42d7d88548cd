"""What the tests of records share: a record of a run that was really trained."""

from collections.abc import Callable

import pytest

from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records.record import Record
from ablate.training.loop import train


@pytest.fixture(scope="module")
def trained(small: Callable[..., Config], corpus: Corpus) -> Record:
    """A real record, to be left as it is."""
    return train(small("model=gru", "epochs=25", "engine=torch_nn"), corpus)
