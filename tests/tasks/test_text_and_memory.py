"""What tasks give to training: minibatches, what of them counts, held-out data, accuracy; and runs. CPU, 20 s."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.composing import compose as composed
from ablate.config.errors import CombinationError, ConfigError
from ablate.config.identity import run_id
from ablate.config.metrics import UNSCORED, evaluation
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config, to_dict, with_seed
from ablate.config.validation import check_combination
from ablate.data.corpora import Corpus, load
from ablate.networks.layer import State
from ablate.networks.parameters import count, initial
from ablate.sweeping.matching import matched, unequal
from ablate.sweeping.plan import make_setting
from ablate.tasks import task_of
from ablate.tasks.task import accuracy, readable
from ablate.tasks.text import fill_in
from ablate.training.choice import Choice
from ablate.training.loop import train, train_together

FILL_IN = ["task=fill_in", "data=python_docs", "num_hiddens=12", "num_steps=8", "max_tokens=600", "val_tokens=300"]
MEMORY = ["task=memory", "num_hiddens=8", "num_steps=6", "task.sequences=64", "epochs=3"]


def compose(overrides: Sequence[str]) -> Resolved:
    return resolve(composed(overrides))


@pytest.fixture(scope="module")
def docs() -> Corpus:
    return load(compose(["data=python_docs"]).data)


# --- fill_in ----------------------------------------------------------------------------------------------


@pytest.mark.full
def test_only_masked_tokens_are_scored_and_the_mask_is_not_in_the_text(docs: Corpus) -> None:
    task = task_of(compose([*FILL_IN, "task.masked=0.3"]), docs)
    plain = task_of(compose(["data=python_docs", *FILL_IN[2:], "sampling=random"]), docs)
    (X, Y), (tokens, _) = (next(t.minibatches(Generator().manual_seed(1))) for t in (task, plain))
    hidden = len(docs.vocabulary) == X
    assert 0.2 < hidden.double().mean() < 0.4
    assert torch.equal(X[~hidden], tokens[~hidden])
    assert torch.equal(Y[hidden], tokens[hidden])
    assert (Y[~hidden] == UNSCORED).all()
    assert task.sizes == len(docs.vocabulary) + 1


def test_every_minibatch_has_something_to_fill_in(docs: Corpus) -> None:
    task = task_of(compose([*FILL_IN, "task.masked=1e-9"]), docs)
    for _, Y in task.minibatches(Generator().manual_seed(0)):
        assert (Y != UNSCORED).sum() == 1


def test_the_held_out_gaps_are_those_of_every_run(docs: Corpus) -> None:
    one, other = (task_of(with_seed(compose(FILL_IN), seed), docs).held_out for seed in (0, 7))
    assert one is not None
    assert other is not None
    assert torch.equal(one[0], other[0])
    assert one[0].shape == (35, 300 // 35)
    read = torch.where(one[1] == UNSCORED, one[0], one[1]).T.flatten()
    assert read.tolist() == docs.ids[600 : 600 + 35 * 8].tolist()


@pytest.mark.parametrize("bidirectional", ["false", "true"])
def test_accuracy_is_the_share_of_gaps_filled_right(docs: Corpus, bidirectional: str) -> None:
    config = compose([*FILL_IN, "model=gru", f"model.bidirectional={bidirectional}"])
    task = task_of(config, docs)
    parameters = initial(config, task.sizes, Generator().manual_seed(0))
    model = readable(config, len(docs.vocabulary) + 1, parameters)
    assert task.held_out is not None
    right = asked = 0
    for x, y in zip(task.held_out[0].T, task.held_out[1].T, strict=True):  # one window at a time
        guesses = model(x.unsqueeze(1), model.initial_state(1))[0].argmax(-1).flatten()
        right += int((guesses == y).sum())
        asked += int((y != UNSCORED).sum())
    assert task.scores(parameters) == {"accuracy": pytest.approx(right / asked)}


def test_accuracy_is_found_piece_by_piece(docs: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits of a whole held-out text of words would be gigabytes."""
    config = compose([*FILL_IN, "model=gru"])
    task = task_of(config, docs)
    model = readable(config, task.sizes, initial(config, task.sizes, Generator().manual_seed(0)))
    whole = accuracy(model, task.held_out)
    sizes: list[int] = []
    model.register_forward_hook(lambda *of: sizes.append(of[2][0].numel()))
    monkeypatch.setattr("ablate.tasks.task.LOGITS_AT_ONCE", most := 3 * 35 * task.sizes)
    assert accuracy(model, task.held_out) == whole
    assert len(sizes) > 1
    assert max(sizes) <= most


def test_what_is_filled_in_is_the_likeliest_token_of_the_text(docs: Corpus) -> None:
    """The mask is none, though a network can rank it first: then it is the second one."""
    mask = len(docs.vocabulary)

    class Ranks:
        def initial_state(self, B: int) -> list[State]:
            return []

        def __call__(self, tokens: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
            logits = torch.zeros(tokens.numel(), mask + 1)
            logits[:, mask], logits[:, docs.encode("e")[0]] = 2, 1
            return logits, states

    assert fill_in(Ranks(), docs, "abcdef", mask) == "ab[e]def"  # type: ignore[arg-type]


@pytest.mark.full
def test_a_run_records_accuracy_perplexity_and_what_it_filled_in(docs: Corpus) -> None:
    record = train(compose([*FILL_IN, "epochs=3", "model=gru", "model.bidirectional=true"]), docs)
    assert record.metrics["accuracy"] == record.curve["accuracy"][-1]
    assert len(record.curve["accuracy"]) == len(record.curve["perplexity"]) == 3
    assert record.metrics["val_perplexity"]
    for prefix, text in record.text.items():
        assert len(text) == len(prefix) + 2 * text.count("[")
        assert text.count("[") == len(range(2, len(prefix), 4))
    assert record.counts["tokens_per_epoch"] == record.counts["updates_per_epoch"] * 32 * 8


@pytest.mark.full
@pytest.mark.parametrize(
    "overrides", [[*FILL_IN, "model=gru"], [*MEMORY, "model=gru"], [*MEMORY, "model=rnn", "data=reset"]]
)
def test_every_engine_learns_the_same(docs: Corpus, overrides: list[str]) -> None:
    config = compose([*overrides, "epochs=4"])
    corpus = docs if config.task.name == "fill_in" else load(config.data)
    curves = [
        train_together([config], corpus, Choice(engine, {}))[0].metrics["val_perplexity"]
        for engine in ("cohort", "torch_nn", "eager")
    ]
    assert curves == pytest.approx([curves[0]] * 3, rel=1e-3)


@pytest.mark.full
def test_runs_of_a_program_are_those_of_each_alone(docs: Corpus) -> None:
    config = compose([*FILL_IN, "epochs=3", "model=gru", "model.bidirectional=true", "engine=cohort"])
    runs = [with_seed(config, k) for k in range(3)]
    together = train_together(runs, docs, Choice("cohort", {}))
    for own, record in zip(runs, together, strict=True):
        alone = train(own, docs)
        assert record.metrics["perplexity"] == pytest.approx(alone.metrics["perplexity"], rel=1e-4)


# --- held-out numbers do not depend on how training is batched ----------------------------------------------

BIDIRECTIONAL = ["model.bidirectional=true", "sampling=random"]
ONE_NETWORK = ["data=python_docs", "model=gru", "num_hiddens=6", "max_tokens=600", "val_tokens=300", "lr=1e-30"]
ONE_NETWORK += ["num_steps=10", "batch_size=8"]
KINDS = {
    "plain": ["sampling=random"],
    "fill_in": ["task=fill_in"],
    "bidirectional": BIDIRECTIONAL,
    "bidirectional fill_in": ["task=fill_in", *BIDIRECTIONAL],
}


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "training",
    [["num_steps=1"], ["num_steps=20"], ["num_steps=200", "batch_size=2"], ["batch_size=7"], ["seed=4"]],
)
def test_held_out_text_is_read_the_same_way_whatever_the_training(docs: Corpus, kind: str, training: list[str]) -> None:
    usual, other = (task_of(compose([*ONE_NETWORK, *KINDS[kind], *own]), docs).held_out for own in ([], training))
    assert usual is not None
    assert other is not None
    assert all(torch.equal(a, b) for a, b in zip(usual, other, strict=True))


def test_what_is_masked_in_training_does_not_change_the_held_out_gaps(docs: Corpus) -> None:
    usual, other = (
        task_of(compose([*ONE_NETWORK, "task=fill_in", *own]), docs).held_out for own in ([], ["task.masked=0.5"])
    )
    assert usual is not None
    assert other is not None
    assert torch.equal(usual[0], other[0])
    assert 0.1 < (usual[1] != UNSCORED).double().mean() < 0.2


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_one_network_has_one_held_out_perplexity(docs: Corpus, kind: str) -> None:
    measured = []
    for num_steps in (1, 5, 20):
        config = compose([*ONE_NETWORK, *KINDS[kind], f"num_steps={num_steps}", "epochs=1"])
        metrics = train(config, docs).metrics
        measured.append((metrics["val_perplexity"], metrics.get("accuracy", 0)))
    assert measured == [pytest.approx(measured[0], rel=1e-5)] * 3


@pytest.mark.parametrize("val_tokens", [0, 1, 2, 10, 34, 35, 36, 70])
def test_a_short_held_out_text_is_one_window(docs: Corpus, val_tokens: int) -> None:
    config = compose([*ONE_NETWORK, "task=fill_in", f"val_tokens={val_tokens}"])
    held_out = task_of(config, docs).held_out
    said = evaluation(to_dict(config))
    if val_tokens < 2:
        assert held_out is None
        assert said is None
    else:
        assert held_out is not None
        T = min(35, val_tokens)
        assert held_out[0].shape == (T, val_tokens // T)
        assert said is not None
        assert f"windows of {T} tokens" in said


@pytest.mark.full
def test_a_network_trained_on_single_tokens_may_still_see_the_future(docs: Corpus) -> None:
    record = train(compose([*ONE_NETWORK, *BIDIRECTIONAL, "num_steps=1", "epochs=1"]), docs)
    assert record.sees_future is True


HELD_OUT_OF_THE_BOOK = {
    "task=fill_in": "ed72d291fcc5f32f58ee9523145de9ad301e3ab185130f88baa8347a4334e2e0",
    "model.bidirectional=true": "3b2c7902c28cd6b67798610b305f6843d8eac4078c65a20ed2ff31993e0135b3",
}


@pytest.mark.full
@pytest.mark.parametrize("kind", HELD_OUT_OF_THE_BOOK)
def test_stored_numbers_of_runs_with_35_steps_stay_what_they_were(
    time_machine: Callable[..., Config], book: Corpus, kind: str
) -> None:
    """Windows used to be of num_steps tokens: those of the committed runs are the ones of today."""
    held_out = task_of(time_machine(kind, "sampling=random"), book).held_out
    assert held_out is not None
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in held_out))
    assert digest.hexdigest() == HELD_OUT_OF_THE_BOOK[kind]


# --- bidirectional language models --------------------------------------------------------------------------


def test_a_bidirectional_model_reads_held_out_text_window_by_window(docs: Corpus) -> None:
    config = compose(["data=python_docs", *FILL_IN[2:], "sampling=random", "model.bidirectional=true"])
    held_out = task_of(config, docs).held_out
    assert held_out is not None
    X, Y = held_out
    assert X.shape == (34, 300 // 35)
    assert torch.equal(X[1:], Y[:-1])
    assert X[0].tolist() == docs.ids[600 : 600 + 35 * 8 : 35].tolist()


@pytest.mark.full
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_record_says_whether_its_model_sees_the_future(docs: Corpus, bidirectional: bool) -> None:
    knobs = ["data=python_docs", *FILL_IN[2:], "sampling=random", "epochs=1", "model=gru"]
    record = train(compose([*knobs, f"model.bidirectional={str(bidirectional).lower()}"]), docs)
    assert record.sees_future is bidirectional


@pytest.mark.full
def test_what_a_network_could_see_does_not_depend_on_what_it_has_learnt(docs: Corpus) -> None:
    """Nothing gets through five layers of small weights; and a diverged network is probed, too."""
    knobs = [*FILL_IN[2:], "data=python_docs", "sampling=random", "epochs=1", "model=lstm", "model.bidirectional=true"]
    assert train(compose([*knobs, "layers=5", "formulation=textbook"]), docs).sees_future
    diverged = train(compose([*knobs, "lr=1e30", "clip=null"]), docs)
    assert diverged.status == "diverged"
    assert diverged.sees_future


def test_filling_in_is_no_prediction(docs: Corpus) -> None:
    assert train(compose([*FILL_IN, "epochs=1", "model.bidirectional=true"]), docs).sees_future is None


@pytest.mark.parametrize("task", ["language_model", "fill_in"])
def test_what_reads_from_both_ends_carries_no_state(task: str, docs: Corpus) -> None:
    config = compose([f"task={task}", "data=python_docs", "model.bidirectional=true", "sampling=sequential"])
    with pytest.raises(CombinationError, match="choose sampling=random or sampling=sequential-reset"):
        check_combination(config)
    assert isinstance(make_setting(config, docs).error, CombinationError)


@pytest.mark.parametrize("task", ["language_model", "fill_in"])
def test_a_prefix_is_read_in_the_lower_case_of_its_text_and_shown_as_typed(task: str, docs: Corpus) -> None:
    knobs = [f"task={task}", *FILL_IN[1:], "prefixes=[The State,the state]"]
    told = train(compose([*knobs, "epochs=1"]), docs).text
    assert list(told) == ["The State", "the state"]
    upper, lower = told.values()
    if task == "language_model":
        assert upper.startswith("The State")
        assert upper.removeprefix("The State") == lower.removeprefix("the state")
        assert len(upper) == len("The State") + 50
    else:
        assert upper == lower
        assert re.fullmatch(r"th\[.+\] st\[.+\]te", upper)


def test_the_usual_prefixes_need_not_stand_in_the_text(tmp_path: Path) -> None:
    """A text of one's own may lack their letters; what somebody typed must be there."""
    (tmp_path / "short.txt").write_text("abc " * 300, encoding="utf-8")
    knobs = ["data=text_file", f"data.path={tmp_path / 'short.txt'}", "max_tokens=600", "val_tokens=0"]
    usual = compose([*knobs, "batch_size=4"])
    assert usual.prefixes == ["time traveller", "traveller"]
    assert task_of(usual, load(usual.data)).train_tokens == 600
    typed = compose([*knobs, "batch_size=4", "prefixes=[traveller]"])
    said = "^prefixes has 'traveller', but short.txt has no 't'; give prefixes of ' abc', or prefixes=\\[\\]$"
    with pytest.raises(CombinationError, match=said):
        task_of(typed, load(typed.data))


# --- memory tasks -------------------------------------------------------------------------------------------


def made(config: Config) -> Corpus:
    return load(config.data)


def test_every_epoch_brings_new_sequences_and_held_out_ones_stay() -> None:
    config = compose(MEMORY)
    task, order = task_of(config, made(config)), Generator().manual_seed(0)
    first, second = (torch.cat([X for X, _ in task.minibatches(order)], 1) for _ in range(2))
    assert first.shape == second.shape == (12, 64)
    assert not torch.equal(first, second)
    held, again = (task_of(with_seed(config, seed), made(config)).held_out for seed in (0, 3))
    assert held is not None
    assert again is not None
    assert torch.equal(held[0], again[0])
    assert held[0].shape == (12, 512)


def test_a_short_copy_is_learned_and_shown() -> None:
    config = compose([*MEMORY, "model=gru", "num_hiddens=24", "num_steps=2", "task.symbols=3", "epochs=80"])
    record = train(config, made(config))
    assert record.metrics["accuracy"] > 0.99
    for read, answered in record.text.items():
        symbols = read.split(" ? ")[0]
        assert answered.removeprefix(" → ") == symbols


@pytest.mark.full
def test_memory_runs_differ_by_rule_and_symbols_but_not_by_what_a_text_would_need() -> None:
    ids = [
        run_id(c, made(c).sha256)
        for c in (
            compose(MEMORY),
            compose([*MEMORY, "data=reset"]),
            compose([*MEMORY, "task.symbols=5"]),
            compose([*MEMORY, "max_tokens=77", "sampling=sequential", "task.masked=0.5"]),
        )
    ]
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data=adding", "num_steps=1"], "num_steps=2 or more"),
        (["task.sequences=10"], "fewer than one minibatch of batch_size=32"),
    ],
)
def test_too_little_is_refused_in_one_line(overrides: list[str], says: str) -> None:
    config = compose([*MEMORY, *overrides])
    with pytest.raises(CombinationError, match=says) as raised:
        task_of(config, made(config))
    assert "\n" not in str(raised.value)


@pytest.mark.full
@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["task=memory", "data=time_machine"], "data is time_machine, but task is memory; choose data=copy"),
        (["data=copy"], "or task=memory"),
        (["model=gru", "model.peepholes=true"], "it is for model.cell=lstm"),
        (["model.transition=4"], "add model.connection=dense"),
        (["model=minlstm", "+model.gates.input=0", "+model.gates.forget=0"], "let one be above 0"),
        (["model=lstm", "model.coupled=true", "+model.gates.input=1"], "fix neither"),
    ],
)
def test_knobs_that_do_not_fit_are_refused_in_one_line(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        compose(overrides)
    assert "\n" not in str(raised.value)


# --- match=params -------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("model", ["rnn", "gru", "mgu", "lstm-coupled"])
def test_models_get_as_many_parameters_as_the_first(
    docs: Corpus, model: str, parameters: Callable[[Config], int]
) -> None:
    sizes = len(docs.vocabulary)
    first = compose(["data=python_docs", "model=lstm", "num_hiddens=40", "match=params"])
    own = matched(compose(["data=python_docs", f"model={model}", "num_hiddens=40", "match=params"]), first, sizes)
    step = parameters(own.but(num_hiddens=own.num_hiddens + 1)) - parameters(own)
    assert abs(parameters(own) - parameters(first)) <= step / 2 + 1
    assert matched(first, first, sizes).num_hiddens == 40


@pytest.mark.full
def test_sizes_that_cannot_be_matched_are_told(docs: Corpus) -> None:
    def told(num_hiddens: int, *match: str) -> list[str]:
        first, own = (
            compose(["data=python_docs", f"model={model}", f"num_hiddens={num_hiddens}", *match])
            for model in ("rnn", "lstm")
        )
        sizes = len(docs.vocabulary)
        return unequal(own, matched(own, first, sizes), first, sizes)

    (line,) = told(1, "match=params")
    assert re.search(r"^match=params: lstm .*num_hiddens=1 .*\b180 parameters, .*\b87 of rnn;", line)
    assert not told(100, "match=params")
    assert not told(1)


@pytest.fixture
def parameters(docs: Corpus) -> Callable[[Config], int]:
    return lambda config: count(config, task_of(config, docs).sizes)
