"""The tables of a small made-up sweep against stored ones: text exactly, CSV to 1e-9. CPU, 2 s.

Where a change is meant: ABLATE_ACCEPT_GOLDEN=1 python -m pytest tests/report/test_golden.py, then read the diff.
"""

import io
import os
from pathlib import Path

import pandas as pd
import pytest

from ablate.report.blocks import Attempts, Sheet
from ablate.report.contents import sheets
from ablate.report.latex import latex
from ablate.report.markdown import markdown
from ablate.report.material import gather
from tests.report.made import config, write_sweep

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("settings", "spread", "comparisons", "comparisons_val_perplexity", "effects", "variance")
REMEDY = "if this is meant: ABLATE_ACCEPT_GOLDEN=1 python -m pytest tests/report/test_golden.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sheet]:
    """Two models of two sizes, all four with published values and timings, one of them diverging now and then."""
    settings = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in (32, 64)]
    sweep = write_sweep(tmp_path_factory.mktemp("golden") / "golden", settings, diverging=0.08)
    attempt = Attempts(lambda line: pytest.fail(line))
    return {name: make() for name, make in sheets(gather(sweep, attempt)).items() if name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_as_stored(name: str, made: dict[str, Sheet]) -> None:
    sheet = made[name]
    written = {
        GOLDEN / f"{name}.csv": sheet.data.to_csv(index=False),
        GOLDEN / f"{name}.md": markdown(sheet),
        GOLDEN / f"{name}.tex": latex(sheet, "golden"),
    }
    for path, text in written.items():
        if os.environ.get("ABLATE_ACCEPT_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path.name} is not stored; {REMEDY}"
        if path.suffix != ".csv":
            assert text == path.read_text(encoding="utf-8"), f"{path.name} has changed; {REMEDY}"
    stored = GOLDEN / f"{name}.csv"
    try:
        now = pd.read_csv(io.StringIO(written[stored]))
        pd.testing.assert_frame_equal(now, pd.read_csv(stored), rtol=1e-9)
    except AssertionError as error:
        raise AssertionError(f"{stored.name} has changed; {REMEDY}") from error
