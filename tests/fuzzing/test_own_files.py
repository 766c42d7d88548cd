"""Files of a person's own code that are broken: a line with the file and what is wrong. CPU.

What such a file does by itself is its author's business; what it hands over is not.
"""

import pytest
from hypothesis import strategies as st

from ablate.config.schema import CONFIG_ROOT
from tests.fuzzing.conftest import SMALL, Place
from tests.fuzzing.exploring import examples, explore
from tests.fuzzing.hostile import MARKUP, any_of, encoded, relined, torn

pytestmark = pytest.mark.filterwarnings("ignore")

ODD = st.sampled_from(
    [
        "raise SystemExit(3)",
        "raise KeyboardInterrupt if False else ValueError('a\\nb')",
        "1/0",
        "import nothing_of_this_name",
        "import ablate; ablate.cell(5)",
        "import ablate\n@ablate.cell\ndef gru(x, h): return h",
        "import ablate\n@ablate.cell\ndef mine(x, h): return None",
        "import ablate\n@ablate.cell\ndef mine(): return 1",
        "import ablate\n@ablate.cell\ndef mine(x, h, *, W): return h + 'a'",
        "import ablate\n@ablate.cell(gates=5, activation='nothing')\ndef mine(x, h): return h",
        "import ablate\n@ablate.cell\ndef mine(x, h, *, W, lr: float = 1.0): return h",
        "import ablate\n@ablate.metric('x', better='up')\ndef mine(record): return 1",
        "import ablate\n@ablate.metric('=1+1<script>', better='lower')\ndef perplexity(record): return 1",
        "import ablate\n@ablate.metric('x', better='lower')\ndef mine(record): return 'a'",
        "import ablate\n@ablate.metric('x', better='lower')\ndef mine(record): raise KeyError('x')",
        "import ablate\n@ablate.optimizer\ndef mine(parameters, gradients): return None",
        "import ablate\n@ablate.optimizer\ndef mine(w, g, state, lr): return 'a'",
        "import ablate\n@ablate.schedule\ndef mine(progress): return 'a'",
        "import ablate\n@ablate.schedule\ndef mine(): return 1",
        "import ablate\n@ablate.figure\ndef mine(nothing): return 1",
        "import ablate\n@ablate.figure('<script>alert(1)</script>')\ndef mine(settings): return 5",
        "import ablate\n@ablate.task(metrics=['nothing'])\nclass Mine(ablate.Task): pass",
        "import ablate\n@ablate.task\nclass Mine(ablate.Task): pass",
        "import ablate\n@ablate.task(knobs=5)\nclass Mine: pass",
        "import ablate\n@ablate.experiment\ndef mine(lr=0.1): return {'loss': 'a'}",
        "import ablate\n@ablate.experiment\ndef mine(lr): return lr",
        "import ablate\nablate.Knob('x', float, 'a', nothing=3)",
        "import ablate\nablate.DataSet()",
        "def f(:",
        "\0",
        "\u202e = 1",
        "# -*- coding: nothing -*-",
        "x = '''",
        "class A: __name__ = 5",
        *(f"'''{markup}'''" for markup in MARKUP),
    ]
)
NAMES = ("cell.py", "metric.py", "optimizer.py", "schedule.py", "task.py", "figure.py", "dataset.py", "experiment.py")


@examples(4, 800)
def test_own_files(place: Place, count: int) -> None:
    contents = [(CONFIG_ROOT / "docs" / "examples" / name).read_text(encoding="utf-8") for name in NAMES]

    def broken(content: str) -> st.SearchStrategy[bytes]:
        return any_of(
            ODD.map(lambda text: text.encode("utf-8", "replace")),
            torn(content.encode(), most=1),
            encoded(relined(content, ODD, most=2)),
            encoded(relined(content, ODD, most=1)),
        )

    chosen = st.sampled_from(
        [[], ["model=mine"], ["model=light_gru"], ["optimizer=mine"], ["schedule=mine"], ["task=mine"], ["task=pitch"]]
    )
    command = st.sampled_from([["plan"], ["plan"], ["plan"], ["run"]])

    def check(given: tuple[bytes, list[str], list[str]]) -> None:
        content, words, how = given
        (place.fresh() / "own.py").write_bytes(content)
        place.run(*how, "plugins=[own.py]", *SMALL, *words)

    place.own_code = True
    explore(st.tuples(st.sampled_from(contents).flatmap(broken), chosen, command), check, count)
