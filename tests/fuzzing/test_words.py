"""Command lines, presets and configs that nobody should type: planned, or refused in a line. CPU."""

from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from ablate.cli.commands import MODULES
from ablate.config.composing import compose, from_dict
from ablate.config.knobs import knobs
from ablate.config.resolved import resolve
from ablate.config.schema import CONFIG_ROOT, to_dict
from tests.fuzzing.conftest import SMALL, Place
from tests.fuzzing.exploring import examples, explore, refused_or
from tests.fuzzing.hostile import TEXTS, any_of, edited, encoded, relined, texts, torn

pytestmark = pytest.mark.filterwarnings("ignore")

VALUES = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(
        [
            *("1", "0", "-1", "1e999", "nan", "inf", "1_000", "1,2", "1,,2", "[1,2]", "[]", "{a:1}", "null", "true"),
            *("range(0,3)", "range(1,2,0)", "choice(1,2)", "interval(0,1)", "tag(log,interval(1e-3,1))", "glob(*)"),
            *("${lr}", "${oc.env:HOME}", "${nothing}", "???", "'", '"a"', "1:2,3:4", "sort(3,1)", "shuffle(1,2)"),
            *("99999999999999999999", "1000000000", "0x10", "1.5.2", "-0", "+1", "٣", "½", "a=b", "[[1]]", "[a", "a]"),
        ]
    ),
    st.text(max_size=8),
)
ODD_KEYS = [
    "",
    "+lr",
    "++lr",
    "~lr",
    "lr.",
    ".lr",
    "lr:num_hiddens",
    "hydra.run.dir",
    "hydra.sweeper.params.lr",
    "x.y",
    "hydra/launcher",
    "hydra.launcher.nodes",
    "model.gates.reset",
    "zip(lr,num_hiddens)",
    "hydra.job_logging",
]
OPTIONS = [
    "--help",
    "--cfg",
    "job",
    "--info",
    "--config-dir",
    "--config-name",
    "-m",
    "--resolve",
    "--detach",
    "--version",
    "--json",
    "--seeds",
    "--level",
    "--",
    "-",
    "--cfg=hydra",
    "--package",
    "results",
    "../..",
    "/",
]
BASE = [
    "data=python_docs",
    "max_tokens=2000",
    "val_tokens=500",
    "num_hiddens=8",
    "batch_size=8",
    "num_steps=10",
    "epochs=2",
    "seeds=2",
]


def words() -> st.SearchStrategy[list[str]]:
    """Overrides, options and whatever else, some of it."""
    key = st.one_of(st.sampled_from(sorted(knobs())), st.sampled_from(ODD_KEYS), texts())
    override = st.tuples(key, st.sampled_from(["=", "=", "=", "", "=="]), VALUES).map("".join)
    return st.lists(st.one_of(override, override, override, st.sampled_from(OPTIONS), texts()), min_size=1, max_size=3)


def apart(given: list[str]) -> list[str]:
    """The base without what is given, so that it is not refused for being there twice."""
    keys = {word.partition("=")[0] for word in given}
    return [word for word in BASE if word.partition("=")[0] not in keys]


@examples(20, 3000)
def test_command_lines(place: Place, count: int) -> None:
    """What would be trained, and nothing trained."""
    place.fresh()

    def check(given: list[str]) -> None:
        place.run("plan", *apart(given), *given)

    explore(words(), check, count)


@examples(10, 1500)
def test_any_command(place: Place, count: int) -> None:
    """Subcommands on words that are none of theirs, but for those that would train or measure for long."""
    place.fresh()
    quiet = [name for name in MODULES if name not in ("run", "bench", "search", "path")]

    def check(given: tuple[str, list[str]]) -> None:
        command, said = given
        place.run(command, *said)

    explore(st.tuples(st.sampled_from(quiet), words()), check, count)


@examples(20, 4000)
def test_overrides(place: Place, count: int) -> None:
    """The same composed in Python: a config, whose other form is the same config, or a line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    place.fresh()
    key = st.sampled_from(sorted(knobs()))
    override = st.tuples(key, VALUES).map("=".join)

    def check(given: list[str]) -> None:
        config = refused_or(lambda: compose([*apart(given), *given]), also=(HydraException, OmegaConfBaseException))
        if config is not None and config.data.name != "auto":
            own = refused_or(lambda: resolve(config))
            if own is not None:
                assert to_dict(from_dict(to_dict(own))) == to_dict(own)

    explore(st.lists(override, min_size=1, max_size=3), check, count)


PRESETS = ("table12_rnn_num_hiddens", "smoke", "search_gru")
ODD_LINES = st.sampled_from(
    [
        "defaults: [_self_, {override /model: gru}]",
        "hydra: {sweeper: {params: {lr: '1,2'}}}",
        "hydra: {run: {dir: /tmp/x}}",
        "hydra: {sweeper: {_target_: os.system}}",
        "hydra: {launcher: {_target_: os.system, command: 'touch ran'}}",
        "_target_: os.system",
        "lr: !!python/object/apply:os.system ['touch ran']",
        "lr: ${oc.env:HOME}",
        "x: &x [*x]",
        "\n".join(["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 30))]),
        "lr: 2001-99-99",
        "lr: !!int abc",
        "plugins: [nothing.py]",
        "experiment: nothing.py:f",
        "experiment: [1]",
        "model: {gates: {reset: .nan}}",
        "num_hiddens: 8: 9",
        "results_dir: ../../outside",
        "name: ../../outside",
        "name: 2.10",
        "lr: [" * 500,
        "<<: {lr: 1}",
    ]
)


@examples(3, 300)
def test_presets(place: Place, count: int) -> None:
    contents = [(CONFIG_ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8") for name in PRESETS]

    def broken(content: str) -> st.SearchStrategy[bytes]:
        return any_of(
            torn(content.encode()), encoded(relined(content, ODD_LINES)), encoded(relined(content, ODD_LINES))
        )

    def check(given: bytes) -> None:
        folder = place.fresh() / "sweeps"
        folder.mkdir()
        (folder / "mine.yaml").write_bytes(given)
        place.run("plan", "sweeps=mine", "data=python_docs", "epochs=1", "seeds=1")
        assert not list(place.here.rglob("ran"))

    explore(st.sampled_from(contents).flatmap(broken), check, count)


@examples(2, 200)
def test_files_of_groups(place: Place, count: int) -> None:
    """A model of one's own, and a whole configuration as a search leaves one."""
    model = (CONFIG_ROOT / "conf" / "model" / "lstm-peepholes.yaml").read_text(encoding="utf-8")
    best = yaml.safe_dump({"defaults": ["config", {"override model": "gru"}, "_self_"], "num_hiddens": 8, "lr": 0.5})

    def check(given: tuple[str, bytes]) -> None:
        kind, content = given
        place.fresh()
        if kind == "model":
            (place.here / "model").mkdir()
            (place.here / "model" / "mine.yaml").write_bytes(content)
            place.run("plan", "model=mine", *BASE)
        else:
            (place.here / "mine.yaml").write_bytes(content)
            place.run("plan", "--config-dir", ".", "--config-name", "mine", *BASE[:3])
        assert not list(place.here.rglob("ran"))

    files = [("model", model), ("best", best)]
    inputs = st.sampled_from(files).flatmap(
        lambda one: st.tuples(st.just(one[0]), any_of(torn(one[1].encode()), encoded(relined(one[1], ODD_LINES))))
    )
    explore(inputs, check, count)


@examples(30, 3000)
def test_stored_configs(place: Place, count: int) -> None:
    """A config as records have it, edited, as `settle` and `ablate.module` read it."""
    place.fresh()
    from omegaconf.errors import OmegaConfBaseException

    from ablate.records.reading import RecordError
    from ablate.records.record import whole_record
    from tests.report.made import config, record_of

    record = record_of(config("gru"), 0, 8.0)
    stored = to_dict(resolve(compose(["model=gru", "data=python_docs"])))

    def check(given: Any) -> None:
        made = record | {"config": given, "run_id": "0123456789ab"}
        try:
            read = whole_record(made, place.here, "0123456789ab")
        except RecordError:
            return
        refused_or(lambda: from_dict(read["config"]), also=(OmegaConfBaseException,))

    explore(edited(stored, most=1), check, count)


@examples(1, 60)
def test_names_of_sweeps(place: Place, count: int) -> None:
    """Wherever a name, or a title, would lead: trained below the folder of results, or refused."""
    knob = st.sampled_from(["name", "title"])

    def check(given: tuple[str, str]) -> None:
        key, value = given
        place.fresh()
        place.run("run", *SMALL, "model=rnn", f"{key}={value}")

    explore(st.tuples(knob, texts()), check, count)
