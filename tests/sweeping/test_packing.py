"""Which groups of runs become one program on a GPU, and that records of several widths are those of each by itself.

No GPU is needed: programs are planned for one, and trained on the CPU. CPU, 10 s.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ablate.config.resolved import resolve
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.sweeping import packing, schedule
from ablate.sweeping.devices import Device
from ablate.sweeping.packing import packed
from ablate.sweeping.plan import Plan, make_plan
from ablate.sweeping.planning import estimate
from ablate.sweeping.schedule import RunGroup
from ablate.training.choice import Choice
from ablate.training.loop import train_together

Configs = Callable[..., Config]
LARGE = ("num_steps=35", "batch_size=32", "max_tokens=3000")


@pytest.fixture
def groups(
    compose: Configs, small: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[RunGroup]]:
    """The groups of settings, given by their overrides, on a GPU."""
    monkeypatch.setattr(packing, "resolve_device", lambda name: torch.device("cuda" if name == "auto" else name))

    def of(*settings: str) -> list[RunGroup]:
        configs = [small("device=auto", "seeds=4", *LARGE, *one.split()) for one in settings]
        plan: Plan = make_plan(configs, tmp_path / "sweep", compose("data=python_docs").data)
        return schedule.groups(plan)

    return of


def widths(groups: list[RunGroup]) -> list[list[int]]:
    return [[run.config.num_hiddens for run in group.runs] for group in groups]


def test_narrow_networks_join_a_wider_one_where_that_costs_less(groups: Callable[..., list[RunGroup]]) -> None:
    found = groups(*(f"num_hiddens={H}" for H in (32, 1024, 40, 48)))
    assert widths(found) == [[H] * 4 for H in (32, 1024, 40, 48)]
    together = packed(found, side_by_side=1)
    assert widths(together) == [[48] * 4 + [40] * 4 + [32] * 4, [1024] * 4]
    assert [len(group.settings) for group in together] == [3, 1]
    assert together[0].config.num_hiddens == 48
    assert widths(packed(found, side_by_side=1000)) == widths(found)  # beside each other they cost nothing either
    assert widths(found) == [[H] * 4 for H in (32, 1024, 40, 48)]  # as it was


@pytest.mark.parametrize(
    "apart",
    [
        ("model=gru num_hiddens=8", "model=lstm num_hiddens=9"),
        ("num_hiddens=8", "num_hiddens=9 epochs=4"),
        ("num_hiddens=8 layers=2", "num_hiddens=9"),
        ("num_hiddens=8 engine=eager", "num_hiddens=9 engine=eager"),
        ("num_hiddens=8 device=cpu", "num_hiddens=9 device=cpu"),
        ("model=lstm-full-gate-recurrence num_hiddens=8", "model=lstm-full-gate-recurrence num_hiddens=9"),
        ("layers=2 model.connection=residual num_hiddens=8", "layers=2 model.connection=residual num_hiddens=9"),
    ],
)
def test_what_cannot_be_one_program_stays_apart(groups: Callable[..., list[RunGroup]], apart: tuple[str, ...]) -> None:
    assert len(packed(groups(*apart), side_by_side=1)) == 2


def test_weight_decay_clip_rate_schedule_and_dropout_are_one_group(groups: Callable[..., list[RunGroup]]) -> None:
    differing = ("", "optimizer.weight_decay=0.1", "clip=null", "lr=0.3", "schedule=cosine", "dropout=0.5")
    common = "layers=2 optimizer=momentum"
    [group] = groups(*(f"{common} dropout=0.2 {one}" for one in differing[:-1]), f"{common} {differing[-1]}")
    assert len(group.runs) == 24
    assert len(groups("layers=2 dropout=0.2", "layers=2")) == 2  # masks cost those who need none
    assert len(groups("optimizer=sgd", "optimizer=sgd optimizer.weight_decay=0.1")) == 2  # plain descent rounds once


@pytest.mark.full
def test_records_of_several_widths_are_those_of_each_by_itself(
    small: Configs, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_NATIVE", "0")
    made = [small("model=gru", "device=cpu", "max_tokens=1000", f"num_hiddens={H}") for H in (9, 4, 6)]
    configs = [resolve(one.but(seed=k)) for k, one in enumerate(made)]
    together = train_together(configs, corpus, Choice("cohort", {}))
    for config, record in zip(configs, together, strict=True):
        [alone] = train_together([config], corpus, Choice("cohort", {}))
        assert (record.run_id, record.counts, record.text.keys()) == (alone.run_id, alone.counts, alone.text.keys())
        assert record.metrics == pytest.approx(alone.metrics, rel=1e-4)
        assert record.timing.get("padded_to") == (9 if config.num_hiddens < 9 else None)


def test_the_plan_says_how_programs_train_on_a_gpu(
    groups: Callable[..., list[RunGroup]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(schedule, "resolve_device", lambda name: torch.device("cuda"))
    together = packed(groups("num_hiddens=32", "num_hiddens=40", "model=gru num_hiddens=1024"), side_by_side=1)
    configs = [group.config for group in together]
    for count, where in ((1, "on cuda"), (3, "3 GPUs")):
        monkeypatch.setattr(estimate, "devices", lambda _, count=count: [Device("cuda")] * count)
        first, filled = estimate.on_gpus(configs, [[group] for group in together])
        assert where in first
        assert "CUDA graph" in first
        assert "num_hiddens=32 filled up to 40" in filled
    monkeypatch.setattr(estimate, "resolve_device", lambda name: torch.device("cpu"))
    assert estimate.on_gpus(configs, []) == []


def test_a_group_alone_is_cut_for_gpus_and_not_for_what_each_has_side_by_side(
    compose: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schedule.cut_for([compose("device=cpu")], side_by_side=4, devices=1) == 4
    monkeypatch.setattr(schedule, "resolve_device", lambda name: torch.device("cuda"))
    assert schedule.cut_for([compose("device=auto")], side_by_side=4, devices=2) == 2
    assert schedule.workers([compose("device=auto")]) == schedule.STREAMS
    assert schedule.workers([compose("device=auto", "threads=2")]) == 2
