"""The rules of the memory tasks against their answers found again, sequence by sequence, in plain Python. CPU, 1 s."""

import pytest
import torch
from torch import Generator

from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.data.memory import BREAKS, RULES, SKIPPED_SYMBOLS

LENGTHS = (5, 6, 20, 61)
K = 8


def sequences(name: str, L: int, symbols: int = K, seed: int = 0) -> list[tuple[list[str], list[str | None]]]:
    """64 sequences in words: what is read, and what is wanted at each step (None: nothing)."""
    rule = RULES[name]
    X, Y = rule.make(L, 64, symbols, Generator().manual_seed(seed))
    words = rule.words(symbols)
    assert X.shape == Y.shape
    assert X.dtype == Y.dtype == torch.int64
    assert 0 <= int(X.min()) <= int(X.max()) < len(words)
    assert UNSCORED <= int(Y.min()) <= int(Y.max()) < len(words)
    return [
        ([words[x] for x in xs], [None if y == UNSCORED else words[y] for y in ys])
        for xs, ys in zip(X.T.tolist(), Y.T.tolist(), strict=True)
    ]


@pytest.mark.parametrize("L", LENGTHS)
def test_copy_wants_what_was_read_before_the_sign(L: int) -> None:
    for read, wanted in sequences("copy", L):
        assert read[L:] == ["?"] + ["_"] * (L - 1)
        assert wanted == [None] * L + read[:L]


@pytest.mark.parametrize("L", LENGTHS)
def test_adding_wants_the_sum_of_the_marked_numbers(L: int) -> None:
    for read, wanted in sequences("adding", L):
        marked = [step for step, word in enumerate(read) if word.endswith("*")]
        assert len(marked) == 2
        assert marked[0] < L // 2 <= marked[1]
        total = sum(int(read[step][:-1]) for step in marked)
        assert wanted == [None] * (L - 1) + [f"={total}"]


@pytest.mark.parametrize("L", LENGTHS)
def test_first_token_is_wanted_when_all_others_have_gone_by(L: int) -> None:
    for read, wanted in sequences("first-token", L):
        assert read[L:] == ["?"]
        assert wanted == [None] * L + [read[0]]


@pytest.mark.parametrize("L", LENGTHS[1:])
def test_skip_wants_the_symbols_without_the_blanks(L: int) -> None:
    n = SKIPPED_SYMBOLS
    for read, wanted in sequences("skip", L):
        assert read[L:] == ["?"] + ["_"] * (n - 1)
        symbols = [word for word in read[:L] if word != "_"]
        assert len(symbols) == n
        assert wanted == [None] * L + symbols


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("symbols", [2, 8])
def test_reset_counts_the_ones_since_the_last_break(L: int, symbols: int) -> None:
    for read, wanted in sequences("reset", L, symbols):
        assert read.count("|") == BREAKS
        ones, answers = 0, []
        for word in read:
            ones = 0 if word == "|" else ones + int(word)
            answers.append(f"={ones % symbols}")
        assert wanted == answers


@pytest.mark.parametrize("name", RULES)
def test_sequences_are_those_of_the_generator_and_no_two_are_alike(name: str) -> None:
    assert sequences(name, 20) == sequences(name, 20)
    assert sequences(name, 20) != sequences(name, 20, seed=1)
    assert len({tuple(read) for read, _ in sequences(name, 20)}) == 64


def test_no_answer_can_be_guessed_much_better_than_by_chance() -> None:
    for name, chance in {"copy": 1 / K, "adding": 1 / K, "first-token": 1 / K, "skip": 1 / K}.items():
        _, Y = RULES[name].make(12, 20_000, K, Generator().manual_seed(0))
        answers = Y[Y != UNSCORED]
        assert torch.bincount(answers).max().item() / len(answers) == pytest.approx(chance, rel=0.05)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.shortest > 1])
def test_too_short_a_sequence_is_refused_in_one_line(name: str) -> None:
    shortest = RULES[name].shortest
    RULES[name].check(name, shortest)
    message = f"data={name} needs sequences of num_steps={shortest} or more, not {shortest - 1}"
    with pytest.raises(CombinationError, match=message):
        RULES[name].check(name, shortest - 1)


def test_at_the_shortest_length_something_is_to_be_remembered() -> None:
    """Blanks among the symbols of skip, and ones after a break to be counted in reset."""
    assert all("_" in read[: RULES["skip"].shortest] for read, _ in sequences("skip", RULES["skip"].shortest))
    counted = [wanted for _, wanted in sequences("reset", RULES["reset"].shortest)]
    assert len({tuple(wanted) for wanted in counted}) > 2


def test_symbols_have_names_beyond_the_alphabet() -> None:
    for name, rule in RULES.items():
        words = rule.words(40)
        assert len(set(words)) == len(words), name
