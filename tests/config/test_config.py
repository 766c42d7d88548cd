"""Configuration: what is legal, what is explained, and what follows from what is given. CPU, 3 s."""

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from ablate.cli.help import help_text
from ablate.config.choice_files import summaries
from ablate.config.composing import compose as compose_overrides
from ablate.config.composing import fallback_data, from_dict
from ablate.config.errors import CombinationError, ConfigError, UserError
from ablate.config.identity import run_id
from ablate.config.knobs import GROUPS
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import CONFIG_ROOT, PARTS, Config, to_dict
from ablate.config.validation import check_combination, engines_for

Configs = Callable[..., Config]

CORPUS = "0" * 64
"""The hash of some text."""

TOP_LEVEL = [f.name for f in fields(Config) if f.name not in PARTS]


# --- every knob stands once, explained ------------------------------------------------------------------


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_every_knob_has_a_comment_in_the_configuration_and_in_help(name: str) -> None:
    text = (CONFIG_ROOT / "conf" / "config.yaml").read_text(encoding="utf-8")
    lines = re.findall(rf"^{name}:.*$", text, re.MULTILINE)
    assert len(lines) == 1, f"{name} must stand once in conf/config.yaml"
    comment = lines[0].partition("# ")[2].strip()
    assert len(comment) > 5, f"{name} has no comment in conf/config.yaml"
    assert re.search(rf"^ +{name}=.*{re.escape(comment)}", help_text(), re.MULTILINE), f"--help does not explain {name}"


def test_the_configuration_has_no_other_knobs() -> None:
    composed = OmegaConf.load(CONFIG_ROOT / "conf" / "config.yaml")
    assert set(composed) - {"defaults", "hydra"} == set(TOP_LEVEL)


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_a_group_is_explained_in_help(group: str) -> None:
    chosen = summaries(group)
    assert chosen
    for name, comment in chosen.items():
        assert len(comment) > 10, f"{group}={name} does not say what it is"
        told = comment.split("   ")[0]  # a preset's comment ends with its command
        assert re.search(rf"^ +{re.escape(name)} +{re.escape(told)}$", help_text(), re.MULTILINE), name


def test_help_shows_the_main_job() -> None:
    assert "ablate -m model=gru,lstm num_hiddens=32,256,1024" in help_text()


def test_the_baseline(compose: Configs) -> None:
    config = compose()
    assert (config.model.name, config.data.name, config.optimizer.name) == ("rnn", "auto", "sgd")
    assert (config.num_hiddens, config.layers, config.num_steps, config.batch_size) == (256, 1, 35, 32)
    assert (config.lr, config.clip, config.epochs, config.max_tokens) == (1.0, 1.0, 500, 10_000)
    assert (config.model.activation, config.sampling, config.formulation, config.engine) == (
        "tanh",
        "sequential",
        "torch",
        "auto",
    )


@pytest.mark.parametrize(
    ("optimizer", "lr"), [("sgd", 1.0), ("momentum", 0.1), ("adam", 0.005), ("adamw", 0.005), ("rmsprop", 0.002)]
)
def test_an_optimizer_brings_its_lr_and_lr_overrides_it(compose: Configs, optimizer: str, lr: float) -> None:
    assert compose(f"optimizer={optimizer}").lr == lr
    assert compose(f"optimizer={optimizer}", "lr=0.25").lr == 0.25
    assert compose("lr=0.25", f"optimizer={optimizer}").lr == 0.25


def test_python_docs_from_the_command_line_is_the_fallback(compose: Configs) -> None:
    assert fallback_data() == compose("data=python_docs").data


# --- what is legal --------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("sampling=seq", "sampling is 'seq'; choose sequential, random or sequential-reset"),
        ("sampling=radnom", "did you mean random?"),
        ("formulation=pytorch", "formulation is 'pytorch'; choose torch or textbook"),
        ("engine=eagr", "engine is 'eagr'; choose auto, cohort, torch_nn or eager; did you mean eager?"),
        ("init=zeros", "init is 'zeros'; choose torch, normal, xavier, orthogonal or identity"),
        ("reset=never", "reset is 'never'; choose before or after"),
        ("bias_vectors=3", "bias_vectors is 3; choose 1 or 2"),
        ("num_hiddens=0", "num_hiddens is 0; it must be 1 or more"),
        ("layers=-1", "layers is -1; it must be 1 or more"),
        ("num_steps=0", "num_steps is 0; it must be 1 or more"),
        ("batch_size=-4", "batch_size is -4; it must be 1 or more"),
        ("epochs=0", "epochs is 0; it must be 1 or more"),
        ("seeds=0", "seeds is 0; it must be 1 or more"),
        ("seed=-1", "seed is -1; it must be 0 or more"),
        ("threads=0", "threads is 0; it must be 1 or more"),
        ("max_tokens=1", "max_tokens is 1; it must be 2 or more"),
        ("val_tokens=-1", "val_tokens is -1; it must be 0 or more"),
        ("lr=0", "lr is 0.0; it must be above 0"),
        ("lr=1e-320", "lr is 1e-320, too near 0 to be computed with"),
        ("dropout=1e-310", "dropout is 1e-310, too near 0"),
        ("budget=1e-310s", "no time; write a number and its unit"),
        ("lr=nan", "lr is nan; it must be a finite number"),
        ("lr=inf", "lr is inf; it must be a finite number"),
        (f"lr=1{'0' * 400}", "lr has a number of 401 digits; it must be a finite number"),
        (f"num_hiddens=-1{'0' * 400}", "num_hiddens has a number of 401 digits"),
        ("lr=range(0,1e9)", "lr=range(0,1e9) is 1e+09 values; give a range of 1,000,000 at most"),
        ("seed=range(stop=1e9,start=0)", "is 1e+09 values; give a range"),
        ("lr=range(0,inf)", "lr=range(0,inf) is no finite number of values; give a range"),
        ("lr=range(nan)", "lr=range(nan) is no finite number of values; give a range"),
        ("num_hiddens=sort(range(start=1,stop=1000000000,step=2))", "is 5e+08 values"),
        ("clip=0", "clip is 0.0; it must be above 0 (clip=null switches clipping off)"),
        ("dropout=1", "dropout is 1.0; it must be below 1"),
        ("dropout=-0.1", "dropout is -0.1; it must be 0 or more"),
        ("model.activation=gelu", "model.activation is 'gelu'; choose tanh, relu or identity"),
        ("model.readout=all", "model.readout is 'all'; choose state or candidate"),
        ("+model.gates.reset=1", "model.gates names 'reset', but a rnn has no such gate; it has none"),
        ("data.tokens=byte", "data.tokens is 'byte'; choose char or word"),
        ("data.cleaning=none", "data.cleaning is 'none'; choose letters or keep"),
        ("data=text_file", "give data.path=FILE"),
        ("optimizer.momentum=1", "optimizer.momentum is 1.0; it must be below 1"),
        ("optimizer.betas=[0.9]", "optimizer.betas is [0.9]; give 2 values"),
        ("optimizer.alpha=-1", "optimizer.alpha is -1.0; it must be 0 or more"),
        ("optimizer.betas=[0.9,1.0]", "optimizer.betas is 1.0; it must be below 1"),
        ("device=gpu", "device is 'gpu'; choose cpu, cuda, cuda:0"),
        ("name=a/b", "name is 'a/b'; it names a folder"),
        ("name=..", "name is '..'; it names a folder"),
    ],
)
def test_what_no_run_could_have_is_refused_in_one_line(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_overrides([override])
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("optimizer=momentum optimizer.momentum=1", "optimizer.momentum is 1.0; it must be below 1"),
        ("optimizer=adam optimizer.betas=[0.9]", "optimizer.betas is [0.9]; give 2 values"),
        ("optimizer=adamw optimizer.betas=[0.9,1.0]", "optimizer.betas is 1.0; it must be below 1"),
        ("optimizer=adam optimizer.betas=[-0.1,0.9]", "optimizer.betas is -0.1; it must be 0 or more"),
        ("optimizer=adam optimizer.betas=[1e-310,0.9]", "1e-310, too near 0"),
        ("optimizer=rmsprop optimizer.eps=0", "optimizer.eps is 0.0; it must be above 0"),
        ("schedule=plateau schedule.floor=2", "schedule.floor is 2.0; it must be below 1"),
    ],
)
def test_the_optimizer_that_reads_a_knob_has_its_bounds(overrides: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_overrides(overrides.split())
    assert says in str(caught.value)


def test_a_gate_of_another_cell_and_a_gate_beyond_1_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'forget', but a gru .*\breset or update\b"):
        compose_overrides(["model=gru", "+model.gates.forget=1"])
    with pytest.raises(ConfigError, match=r"model\.gates\.reset is 1\.5; .*\b0 and 1\b"):
        compose_overrides(["model=gru", "+model.gates.reset=1.5"])


@pytest.mark.parametrize("override", ["num_hiddens=abc", "num_hiddens=2.5", "lr=fast", "fresh=maybe", "hiddens=3"])
def test_wrong_types_and_unknown_knobs_do_not_compose(override: str) -> None:
    with pytest.raises((HydraException, UserError)):
        compose_overrides([override])


@pytest.mark.parametrize(
    ("overrides", "engines"),
    [
        ("model=rnn", "cohort torch_nn"),
        ("model=lstm formulation=textbook", "cohort torch_nn"),
        ("model=gru", "cohort torch_nn"),
        ("model=gru formulation=textbook", "cohort"),
        ("model=gru formulation=textbook reset=after", "cohort torch_nn"),
        ("model=gru reset=before", "cohort"),
        ("model=gru-no-reset", "cohort"),
        ("model=gru-no-update-as-published", "cohort"),
        ("model=rnn engine=eager", "eager"),
        ("model=gru-no-reset engine=eager", "eager"),
        ("model=lstm engine=torch_nn", "torch_nn"),
        ("model=lstm engine=cohort", "cohort"),
    ],
)
def test_the_engines_that_can(resolved: Configs, overrides: str, engines: str) -> None:
    assert engines_for(resolved(*overrides.split())) == tuple(engines.split())


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ("model=gru-no-reset", "torch.nn.GRU has no option to fix its reset gate"),
        ("model=gru-no-update-as-published", "torch.nn.GRU has no option to fix its update gate"),
        ("model=gru reset=before", "applies the reset gate after the recurrent product (reset=after)"),
        ("model=gru formulation=textbook", "applies the reset gate after the recurrent product (reset=after)"),
        ("model=lstm model.readout=candidate", "torch.nn.LSTM always carries and reads out its state"),
    ],
)
def test_an_engine_that_cannot_names_the_others(resolved: Configs, overrides: str, says: str) -> None:
    config = resolved(*overrides.split(), "engine=torch_nn")
    with pytest.raises(CombinationError) as caught:
        engines_for(config)
    assert says in str(caught.value)
    assert "engine=eager or engine=auto" in str(caught.value)
    assert config.model.name in str(caught.value)


@pytest.mark.parametrize("knob", ["val_tokens", "test_tokens"])
def test_a_text_of_one_token_measures_nothing(resolved: Configs, knob: str) -> None:
    with pytest.raises(CombinationError, match=rf"^{knob}=1 is too little to be measured; give 0, or 2 or more$"):
        check_combination(resolved("model=gru", f"{knob}=1"))
    for enough in (0, 2):
        check_combination(resolved("model=gru", f"{knob}={enough}"))


# --- what formulation means ------------------------------------------------------------------------------------


def meaning(config: Resolved) -> tuple[str, str | None, int]:
    return config.init, config.reset, config.bias_vectors


@pytest.mark.full
def test_impl_is_a_name_for_three_choices(resolved: Configs) -> None:
    assert meaning(resolved("model=gru", "formulation=torch")) == ("torch", "after", 2)
    assert meaning(resolved("model=gru", "formulation=textbook")) == ("normal", "before", 1)
    assert meaning(resolved("model=gru", "formulation=textbook", "reset=after")) == ("normal", "after", 1)
    spelled_out = ["init=torch", "reset=after", "bias_vectors=2"]
    for formulation in ("torch", "textbook"):
        assert meaning(resolved("model=gru", f"formulation={formulation}", *spelled_out)) == ("torch", "after", 2)
    same = (resolved("model=gru"), resolved("model=gru", *spelled_out))
    assert len({run_id(config, CORPUS) for config in same}) == 1


def test_resolving_twice_changes_nothing(compose: Configs) -> None:
    for overrides in (["model=gru"], ["model=lstm", "formulation=textbook", "layers=2", "dropout=0.5"]):
        once = resolve(compose(*overrides))
        assert resolve(once) is once
        again = Resolved(from_dict(to_dict(once)))
        assert again == once
        assert run_id(again, CORPUS) == run_id(once, CORPUS)


def test_what_is_resolved_changes_with_all_that_follows(compose: Configs) -> None:
    """What was given by itself stays; the knobs that nobody gave follow the new value, and can follow it back."""
    config = resolve(compose("model=gru", "layers=2", "dropout=0.5", "init=xavier"))
    textbook = config.but(formulation="textbook")
    assert meaning(textbook) == ("xavier", "before", 1)
    assert textbook.but(formulation="torch") == config
    shallow = config.but(layers=1)
    assert (shallow.dropout, shallow.but(layers=3).dropout) == (0.0, 0.5)
    assert config.but(seed=config.seed) is config


def test_what_is_resolved_changes_in_no_other_way(resolved: Configs) -> None:
    config = resolved("layers=2", "dropout=0.5")
    with pytest.raises(FrozenInstanceError):
        config.layers = 1
    with pytest.raises(FrozenInstanceError):
        config.model.connection = "dense"
    with pytest.raises(TypeError):
        replace(config, layers=1)
