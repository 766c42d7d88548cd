"""What progress lines and plans call settings, and that a label costs the same in a large sweep. CPU, 1 s."""

from collections.abc import Callable, Sequence

import pytest

from ablate.config.schema import Config
from ablate.sweeping import launch
from ablate.sweeping.labels import label, varying

Compose = Callable[..., Config]


@pytest.mark.full
@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ([["num_hiddens=8"], ["num_hiddens=16"]], ["rnn num_hiddens=8", "rnn num_hiddens=16"]),
        ([["model=rnn"], ["model=gru"]], ["rnn", "gru"]),
        (
            [["model=gru", "model.gates.reset=1"], ["model=gru", "model.gates.reset=null"]],
            ["gru model.gates.reset=1", "gru"],
        ),
        ([["model=rnn", "lr=2"], ["model=gru", "lr=0.5"]], ["rnn lr=2", "gru lr=0.5"]),
        (
            [["num_hiddens=8", "lr=2"], ["num_hiddens=16", "lr=1"]],
            ["rnn num_hiddens=8 lr=2", "rnn num_hiddens=16 lr=1"],
        ),
        (
            [["model=rnn", "model.activation=relu"], ["model=gru"]],
            ["rnn model.activation=relu", "gru model.activation=tanh"],
        ),
        ([["optimizer=sgd"], ["optimizer=adam"]], ["rnn optimizer=sgd", "rnn optimizer=adam"]),
        ([["schedule=constant"], ["schedule=cosine"]], ["rnn schedule=constant", "rnn schedule=cosine"]),
        ([["optimizer=sgd", "lr=2"], ["optimizer=adam"]], ["rnn optimizer=sgd lr=2", "rnn optimizer=adam lr=0.005"]),
        ([["formulation=torch"], ["formulation=textbook"]], ["rnn formulation=torch", "rnn formulation=textbook"]),
    ],
)
def test_a_label_names_all_that_varies(compose: Compose, settings: list[list[str]], labels: list[str]) -> None:
    configs = [compose("data=python_docs", *overrides) for overrides in settings]
    assert [label(config, varying(configs)) for config in configs] == labels


@pytest.mark.full
def test_what_varies_is_looked_up_once_for_a_whole_sweep(
    small: Compose, sweep: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(configs: Sequence[Config]) -> list[str]:
        calls.append(len(configs))
        return varying(configs)

    monkeypatch.setattr(launch, "varying", counted)
    sweep([small(f"num_hiddens={h}", "seeds=1", "epochs=1") for h in (2, 3, 4)])
    assert calls == [3]
