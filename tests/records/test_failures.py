"""Failures of settings, and the runs that overtake them: by a search, a merge, the same command. CPU, 5 s."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.config.identity import setting_id
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records import results
from ablate.records.failures import DAMAGED, failures
from ablate.sweeping.plan import make_setting, write_failure
from ablate.training.loop import train

Configs = Callable[..., Config]


@pytest.fixture
def failed(tmp_path: Path, small: Configs, corpus: Corpus) -> Config:
    """A setting of two seeds that failed, in tmp_path."""
    config = small("seeds=2")
    write_failure(tmp_path, make_setting(config, corpus), ValueError("no"))
    return config


def test_a_failure_is_over_once_all_its_runs_are_there(tmp_path: Path, failed: Config, corpus: Corpus) -> None:
    [one] = failures(tmp_path)
    assert (one.setting_id, one.error, one.seeds) == (setting_id(failed, corpus.sha256), "no", {0, 1})
    first, second = (make_setting(failed, corpus).runs[seed].config for seed in (0, 1))
    results.save(tmp_path, train(first, corpus))
    assert failures(tmp_path) == [one]
    results.save(tmp_path, train(second, corpus))
    assert failures(tmp_path) == []


def test_a_failure_after_an_edit_is_not_over_by_the_runs_of_before(
    tmp_path: Path, failed: Config, corpus: Corpus
) -> None:
    setting = make_setting(failed, corpus)
    for run in setting.runs:
        results.save(tmp_path, train(run.config, corpus))
    write_failure(tmp_path, setting, ValueError("edited"))
    assert [one.error for one in failures(tmp_path)] == ["edited"]


def test_what_cannot_be_read_is_said(tmp_path: Path, failed: Config) -> None:
    for path in (tmp_path / "failures").iterdir():
        path.write_text("{")
    assert [one.error for one in failures(tmp_path)] == [DAMAGED]


@pytest.mark.full
def test_it_vanishes_from_status_and_page_when_its_runs_are_merged(
    tmp_path: Path, main: Any, small_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*small_arguments, "model=rnn,gru", "seeds=1", "report=false"]
    assert main("run", *words, "name=there").status == 0
    from ablate.sweeping import programs

    trained = programs.train_together

    def fails(configs: Any, *arguments: Any, **options: Any) -> Any:
        if configs[0].model.name == "gru":
            raise RuntimeError("no memory")
        return trained(configs, *arguments, **options)

    monkeypatch.setattr(programs, "train_together", fails)
    assert main("run", *words, "name=here", "fresh=true").status == 1
    [told] = json.loads(main("status", "results/here", "--json").out)["sweeps"]
    assert [one["name"].split()[0] for one in told["failed"]] == ["gru"]
    assert "no memory" in main("status", "results/here").out
    assert main("merge", "results/there", "--into", "results/here").status == 0
    assert "failed" not in main("status", "results/here").out
    done = main("report", "results/here")
    assert done.status == 0
    assert "no memory" not in Path("results/here/report.html").read_text()


@pytest.mark.parametrize("changes", [{"seeds": 10**12}, {"seeds": "a"}, {"seed": None}, {"seeds": 0}])
def test_a_failure_of_seeds_that_nobody_asks_for_is_damaged(tmp_path: Path, failed: Config, changes: Any) -> None:
    """It is told as such; a set of so many seeds is not made."""
    [path] = (tmp_path / "failures").iterdir()
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"config": stored["config"] | changes}))
    [one] = failures(tmp_path)
    assert (one.setting_id, one.error) == (path.stem, DAMAGED)
