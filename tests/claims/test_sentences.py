"""Claims in one sentence, where a sweep cannot decide them. CPU, below a second."""

import pandas as pd
import pytest

from ablate.claims.sentences import claim_of
from ablate.config.errors import UserError


def test_a_sweep_of_one_setting_says_that_a_knob_has_to_vary() -> None:
    settings = pd.DataFrame({"model": ["gru"]})
    with pytest.raises(UserError, match="model=gru,lstm"):
        claim_of("gru < rnn", settings, [], "tail_perplexity")
