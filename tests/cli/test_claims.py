"""`python -m ablate.claims` on real records: verdicts, mistakes, exit status. CPU, 5 s."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.claims.sentences import is_sentence
from ablate.cli.claims import main
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records import results
from ablate.training.loop import train

CLAIMS = """
- id: good
  statement: A gru ends lower than an rnn.
  order: {along: model, ascending: [gru, rnn]}
- id: bad
  statement: An rnn ends lower than a gru.
  order: {along: model, ascending: [rnn, gru]}
- id: lacking
  statement: A gru ends lower than an lstm.
  order: {along: model, ascending: [gru, lstm]}
- id: late
  statement: After three epochs a gru has not converged.
  where: {model: gru}
  not_converged: {within: 0.5}
- id: open
  statement: A gru ends at 0.68 of an rnn or below.
  ratio: {of: {model: gru}, to: {model: rnn}, below: 0.68}
"""


@pytest.fixture
def stored(tmp_path: Path, small: Callable[..., Config], corpus: Corpus) -> Path:
    """Two settings of eight seeds: real records, their perplexities replaced by a gru's 2 and an rnn's 3."""
    folder = tmp_path / "made-up"
    for model, perplexity in (("gru", 2.0), ("rnn", 3.0)):
        record = train(small(f"model={model}", "engine=torch_nn"), corpus)
        for seed in range(8):
            own = record.metrics | {"tail_perplexity": perplexity + seed * seed / 100}
            results.save(folder, replace(record, run_id=f"{model}{seed}", seed=seed, metrics=own))
    return folder


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(CLAIMS)
    return path


@pytest.mark.full
def test_verdicts(
    stored: Path, claims: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main([str(stored), "--claims", str(claims)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    table, below = out.split("good: ")
    for verdict in ("confirmed", "refuted", "not testable", "undecided"):
        assert verdict in table
    assert "made-up" in table
    assert "bad: " in below
    assert "lacking: No setting with model=lstm." in below
    # of geometric means, by hand: ⁸√(2.00 · 2.01 · 2.04 · 2.09 · 2.16 · 2.25 · 2.36 · 2.49) over the same of 3.00 …
    assert "model gru/rnn = 0.68" in " ".join(below.split())


@pytest.mark.full
def test_narrow_terminals_lose_nothing(
    stored: Path, claims: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main([str(stored), "--claims", str(claims)])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


def test_claims_are_chosen_by_the_settings(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No preset, another corpus: no published claim speaks of these settings, two of the others could."""
    assert main([str(stored)]) == 0
    out = capsys.readouterr().out
    assert "no claim belongs to this sweep" in out
    assert "conclusion" not in out


def test_damaged_records_are_named(stored: Path, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stored / "runs" / "broken.json").write_text("{")
    assert main([str(stored), "--claims", str(claims)]) == 0
    assert "skipped: " in capsys.readouterr().err


def test_mistakes_end_with_status_2(stored: Path, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(stored / "nowhere"), "--claims", str(claims)]) == 2
    assert "holds no sweep" in capsys.readouterr().err
    claims.write_text(CLAIMS.replace("ascending: [gru, lstm]", "rising: [gru, lstm]"))
    assert main([str(stored), "--claims", str(claims)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ablate: ")
    assert re.search(rf"{re.escape(str(claims))}: .*\blacking: .*\border .*\bascending\b", err)
    assert err.count("\n") == 1
    assert main([str(stored), "--level", "2"]) == 2


@pytest.mark.full
def test_the_command(stored: Path, claims: Path, cli: Callable[..., object]) -> None:
    done = cli(str(stored), "--claims", str(claims), module="ablate.claims")
    assert done.status == 0  # type: ignore[attr-defined]
    assert "confirmed" in done.out  # type: ignore[attr-defined]


@pytest.mark.full
def test_a_claim_on_the_line(stored: Path, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def judged(*words: str) -> dict[str, str]:
        assert main([str(stored), *words, "--json"]) == 0
        [sweep] = json.loads(capsys.readouterr().out)["sweeps"]
        return {one["statement"]: one["verdict"] for one in sweep["claims"]}

    assert judged("gru < rnn") == {"gru < rnn": "confirmed"}
    assert judged("rnn<gru") == {"rnn<gru": "refuted"}
    assert judged("gru > rnn", "model=gru < model=rnn") == {
        "gru > rnn": "refuted",
        "model=gru < model=rnn": "confirmed",
    }
    assert judged("gru ~ rnn", "--margin", "9") == {"gru ~ rnn": "confirmed"}
    assert judged("gru < rnn", "--metric", "perplexity", "--where", "num_hiddens=4") != {}
    assert len(judged("gru < rnn", "--claims", str(claims))) == 6


@pytest.mark.full
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gru < lstmm"], "no setting has 'lstmm'; there is model"),
        (["gru < rnn ~ gru"], "cannot read the claim"),
        (["gru < rnn", "--by", "lr"], "lr is not varied here; choose model"),
        (["gru < rnn", "--metric", "val_perplexty"], "did you mean val_perplexity"),
        (["gru < rnn", "--where", "num_hiddens"], "--where num_hiddens=32"),
        (["gru < rnn", "--margin", "0.1"], "is for A ~ B"),
        (["gru ~ rnn", "--margin", "5%"], "'5%' is not a number; five percent are 0.05"),
        (["--by", "model"], "of a claim on the line"),
    ],
)
def test_a_claim_on_the_line_that_cannot_be_read_is_one_line(
    stored: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main([str(stored), *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1


def test_a_folder_of_several_lines_is_said_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no\nfolder"]) == 2
    assert capsys.readouterr().err.startswith("ablate: no\\nfolder holds no sweep")


def test_a_claim_without_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gru < rnn"]) == 2
    assert "python -m ablate claims results/NAME 'gru < rnn'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "is_one"),
    [
        ("gru < lstm", True),
        ("32>64>128", True),
        ("lr=0.5 ~ lr=1", True),
        ("~/results/a", False),
        ("results/a", False),
        ("results/a~", False),
        ("< lstm", True),  # which cannot be read, and is no path that anybody means
        ("gru <", True),
        ("gru ~", True),
    ],
)
def test_what_is_a_claim_and_what_a_folder(word: str, is_one: bool) -> None:
    assert is_sentence(word) == is_one
