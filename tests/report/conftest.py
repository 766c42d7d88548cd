"""A made-up sweep with its whole report, for all tests that only read it."""

import json
from pathlib import Path

import pytest

from ablate.report import write_report
from tests.report.made import config, write_sweep

TITLE = "A_title_without_a_single_space_that_is_longer_than_any_narrow_screen_could_ever_show"


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of everything: two models × two sizes × two learning rates, timed, some diverged, a failed setting."""
    settings = [
        config(model, num_hiddens=hidden, lr=lr) for model in ("rnn", "gru") for hidden in (32, 64) for lr in (0.5, 1.0)
    ]
    sweep = tmp_path_factory.mktemp("full") / "full"
    write_sweep(sweep, settings, diverging=0.05, title=TITLE, question="Which is better?", preset="lr_retuned")
    (sweep / "failures").mkdir()
    failure = {
        "setting_id": "0123456789ab",
        "error": "MemoryError: too large",
        "config": config("lstm"),
        "traceback": "",
    }
    (sweep / "failures" / "0123456789ab.json").write_text(json.dumps(failure))
    write_report(sweep)
    return sweep
