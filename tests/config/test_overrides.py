"""What is typed against what Hydra reads: texts as typed, keys and several values checked. CPU, 2 s."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.ambiguous import comma_in_path, decimal_comma
from ablate.config.errors import UserError
from ablate.config.knobs import knobs
from ablate.config.launchers import launchers
from ablate.config.overrides import for_hydra
from ablate.config.quoting import is_quoted, quote, split, unquote
from ablate.config.schema import CONFIG_ROOT
from ablate.sweeping.naming import folder_name

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)


def read(word: str) -> object:
    """The value that Hydra makes of a word."""
    [override] = OverridesParser.create().parse_overrides(for_hydra([word]))
    return override.value()


@given(texts)
def test_a_quoted_text_is_read_back_by_hydra_and_by_us(text: str) -> None:
    if "${" not in text:
        [override] = OverridesParser.create().parse_overrides([f"title={quote(text)}"])
        assert override.value() == text
    assert is_quoted(quote(text))
    assert unquote(quote(text)) == text


@given(texts)
def test_a_title_is_what_is_typed(text: str) -> None:
    stripped = text.strip()
    if "${" in text or stripped.lower() == "null" or is_quoted(stripped):
        return
    assert read(f"title={text}") == text


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("name=2.10", "2.10"),
        ("name=1e3", "1e3"),
        ("name=true", "true"),
        ("name=007", "007"),
        ("name=null", None),
        ("name=it's", "it's"),
        ('name="a,b"', "a,b"),
        ("title=A, b", "A, b"),
        ("title=(a)", "(a)"),
        ("title=[x", "[x"),
        ("title=नमस्ते", "नमस्ते"),
        ("title='नमस्ते'", "नमस्ते"),
        ("data.path=a=b.txt", "a=b.txt"),
        ("data.path=a[1].txt", "a[1].txt"),
        ("data.path=C:\\new\\x", "C:\\new\\x"),
        ("results_dir=~/a {b}", "~/a {b}"),
        ("prefixes=[Zürich, it;s]", ["Zürich", "it;s"]),
        ("prefixes=[1,null]", ["1", "null"]),
        ('prefixes=["a,b",c]', ["a,b", "c"]),
        ("prefixes=[]", []),
    ],
)
def test_texts_are_read_as_typed(word: str, value: object) -> None:
    assert read(word) == value
    assert for_hydra(for_hydra([word])) == for_hydra([word])


def test_several_texts_of_a_knob_that_can_be_swept() -> None:
    [override] = OverridesParser.create().parse_overrides(for_hydra(["data.path=a b.txt,c(1).txt"]))
    assert [unquote(value) for value in override.sweep_string_iterator()] == ["a b.txt", "c(1).txt"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("+num_hidens=64", "num_hiddens"),
        ("+scheduler=cosine", "'scheduler'"),
        ("++anything=1", "'anything'"),
        ("model.gates.forgot=1", "'model.gates.forgot'"),
        ("model@x=gru", "'model@x'"),
        ("+lr=1", "write lr=1"),
        ("~clip", "clip=null"),
        ("~num_hiddens", "num_hiddens=VALUE"),
        ("num_hiddens", "num_hiddens=VALUE"),
        ("results/x", "knob=value"),
        ("model=null", "null"),
        ("lr=glob(*)", "lr=VALUE,VALUE"),
        ("num_hiddens=[8,12]", "num_hiddens=8,12"),
        ("model=[rnn,gru]", "model=rnn,gru"),
        ("prefixes=x", "'prefixes=[\"x\"]'"),
        ("prefixes=a b,c", '\'prefixes=["a b","c"]\''),
        ('prefixes=["a', "prefixes"),
        ("prefixes=null", "prefixes=[]"),
        ("prefixes=", "prefixes=[]"),
        ("name=a,b", "'name=\"a,b\"'"),
        ("results_dir=a,b", "results_dir has several values"),
        ("seeds=3,5", "seeds has several values"),
        ("speed=true,false", "speed has several values"),
        ("threads=choice(1,2)", "threads has several values"),
        ("hydra/launcher=slrum", "did you mean slurm?"),
        ("hydra.launcher.cpu=2", "hydra/launcher=local has no option cpu; options are those of hydra/launcher=ray or "),
        ("hydra.launcher.cpu=2", "did you mean cpus?"),
        ("hydra.launcher.cpus=2", "hydra/launcher=local has no option cpus; give hydra/launcher=ray or slurm"),
        ("hydra/sweeper=optun", "did you mean optuna?"),
        ("hydra/job_logging=default", "has no effect here"),
        ("hydra.sweep.dir=x", "results_dir=FOLDER"),
        ("hydra.run.dir=x", "results_dir=FOLDER"),
        ("hydra.searchpath=[x]", "--config-dir"),
        ("hydra.verbose=true", "has no effect here"),
        ("+hydra.sweeper.params.layrs=1", "did you mean layers?"),
        ("title=\udcff", "not UTF-8"),
        ("title=\0", "NUL"),
    ],
)
def test_what_cannot_be_meant_is_refused(word: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        for_hydra([word])
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("more", [[], ["sweeps=smoke"]])
@pytest.mark.parametrize(
    ("launcher", "option", "says"),
    [
        ("slurm", "cpu=2", "hydra/launcher=slurm has no option cpu; choose hydra.launcher.{account,at_once,cpus,"),
        ("slurm", "cpu=2", "did you mean cpus?"),
        ("ray", "memory_gb=2", "hydra/launcher=ray has no option memory_gb; choose hydra.launcher.{address,cpus,"),
        ("ray", "memory_gb=2", "did you mean mem_gb?"),
        ("ray", "time_min=2", "hydra/launcher=ray has no option time_min; give hydra/launcher=slurm"),
        ("slurm", "address=a", "hydra/launcher=slurm has no option address; give hydra/launcher=ray"),
        ("local", "cpus=2", "hydra/launcher=local has no option cpus; give hydra/launcher=ray or slurm"),
        ("ablate", "foo.x=2", "hydra/launcher=ablate has no option foo; options are those of hydra/launcher=ray or "),
    ],
)
def test_an_option_of_another_launcher_is_refused(launcher: str, option: str, says: str, more: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        for_hydra([f"hydra/launcher={launcher}", f"hydra.launcher.{option}", *more])
    assert str(caught.value).startswith(says) or str(caught.value).endswith(says)
    unknown_to_it = {"time_min", "address", "account"} - set(launchers().get(launcher, ()))
    assert not {name for name in unknown_to_it if name in str(caught.value)} - {option.partition("=")[0]}


TABLES = [
    (name, option)
    for name, options in launchers().items()
    for option, default in options.items()
    if isinstance(default, dict)
]


@pytest.mark.parametrize(("launcher", "option"), TABLES)
@pytest.mark.parametrize("written", ["{option}.x.y=1", "{option}={{x: {{y: 1}}}}"])
def test_an_entry_of_a_launchers_table_need_not_be_there(launcher: str, option: str, written: str) -> None:
    """Both as its entry and as the whole table, which is how documents write `runtime_env`."""
    words = [f"hydra/launcher={launcher}", f"hydra.launcher.{written.format(option=option)}"]
    with initialize_config_dir(str(CONFIG_ROOT / "conf"), version_base="1.3"):
        composed = compose(overrides=for_hydra(words), return_hydra_config=True)
    assert composed.hydra.launcher[option] == {"x": {"y": 1}}


def test_an_entry_of_what_is_no_table_is_left_to_the_launcher_to_refuse() -> None:
    """Which says what the option takes; Hydra would say only that it cannot be set."""
    word = "hydra.launcher.gpus.x=1"
    assert for_hydra(["hydra/launcher=slurm", word]) == ["hydra/launcher=slurm", f"++{word}"]


def test_launchers_have_tables() -> None:
    assert {option for _, option in TABLES} == {"sbatch", "resources", "runtime_env"}


def test_no_preset_is_left_to_the_defaults() -> None:
    assert for_hydra(["sweeps=null", "lr=2"]) == ["lr=2"]


@pytest.mark.parametrize("name", [name for name, knob in knobs().items() if not knob.decides])
def test_no_knob_without_an_outcome_takes_several_values(name: str) -> None:
    if not knobs()[name].metadata.get("prose"):
        with pytest.raises(UserError, match=name):
            for_hydra([f"{name}=1,2"])


def test_brackets_and_quotes_that_are_never_closed_are_characters() -> None:
    assert split("a,(b,c),[d") == ["a", "(b,c)", "[d"]
    assert split('"a,b",c') == ['"a,b"', "c"]
    assert split("it's,that's") == ["it's", "that's"]
    assert split("(" * 5000) == ["(" * 5000]


# --- the default name -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["model=rnn,gru"], ["model=rnn,gru", "match=params"]),
        (["data.path=a b.txt"], ["data.path=a:b.txt"]),
        (["data.path=a-b"], ["data.path=a,b"]),
        (["data.path=a_lr-2"], ["data.path=a", "lr=2"]),
        (["data.path=文/一.txt"], ["data.path=文-一.txt"]),
        (["data.path=a"], ["data.path=a."]),
        (["model=gru", "+model.gates.reset=1"], ["model=gru", "~model.gates.reset"]),
    ],
)
def test_two_sweeps_never_have_one_name(one: list[str], other: list[str]) -> None:
    assert folder_name(for_hydra(one)) != folder_name(for_hydra(other))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["model=gru,lstm", "num_hiddens=32,256", "epochs=200", "data=time_machine"], None),
        (["data.path=my_book.txt"], "data.path-my_book.txt"),
        (["forget_bias=-1"], "forget_bias--1"),
        (["model=gru", "+model.gates.reset=1"], "model-gru_model.gates.reset-1"),
        (["lr=tag(log, interval(0.1, 4))"], "lr-tag-log-interval-0.1-4"),
    ],
)
def test_a_name_that_says_all_has_no_hash(words: list[str], name: str | None) -> None:
    readme = "model-gru-lstm_num_hiddens-32-256_epochs-200_data-time_machine"
    assert folder_name(for_hydra(words)) == (name or readme)


@pytest.mark.parametrize(
    ("word", "number"),
    [("lr=1,5", "lr=1.5"), ("lr=0,05", "lr=0.05"), ("optimizer.momentum=0,9", "optimizer.momentum=0.9")],
)
def test_a_decimal_comma_is_noted(word: str, number: str) -> None:
    assert number in (decimal_comma(word) or "")


def test_a_comma_in_the_name_of_a_text_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    word = "data.path=a,b.txt"
    remedy = "'data.path=\"a,b.txt\"'"
    assert remedy in (comma_in_path(word) or "")
    (tmp_path / "b.txt").touch()
    assert comma_in_path(word) is None  # both are there: two settings
    (tmp_path / "a,b.txt").touch()
    assert remedy in (comma_in_path(word) or "")
    for other in ('data.path="a,b.txt"', "data.path=a", "title=a,b.txt", "data.path=choice(a,b)", "data.path"):
        assert comma_in_path(other) is None


@pytest.mark.parametrize("word", ["lr=1,5,9", "lr=0.5,1", "num_hiddens=8,12", "lr=1.5", "title=1,5", "model=gru,lstm"])
def test_other_values_are_no_decimal_comma(word: str) -> None:
    assert decimal_comma(word) is None


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("model=größe", 'model="größe"'),
        ("model=gru,größe", 'model=gru,"größe"'),
        ('model="größe",gru', 'model="größe",gru'),
        ("model=gru", "model=gru"),
    ],
)
def test_a_name_with_other_letters_than_hydra_knows_is_quoted(typed: str, written: str) -> None:
    assert for_hydra([typed]) == [written]
    OverridesParser.create().parse_overrides([written])
