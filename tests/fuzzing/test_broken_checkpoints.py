"""Checkpoints, kept weights and caches that are broken: as if there were none, and nothing of them is run. CPU."""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save

import ablate
from ablate.config.identity import run_id
from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.records.places import record_path
from ablate.training.checkpoints import Checkpoints, Unusable, load, path_of
from ablate.training.choice import Choice
from ablate.training.loop import train_together
from ablate.training.trajectory import Stopped
from tests.fuzzing.conftest import Place
from tests.fuzzing.exploring import examples, explore, refused_or
from tests.fuzzing.hostile import edited, torn, values
from tests.fuzzing.test_stored_files import Bomb

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def stopped(
    compose: Callable[..., Config], text_path: Path, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A run that was stopped after two epochs: its config, and its checkpoint."""
    from ablate.config.resolved import resolve
    from tests.conftest import SMALL, made_up_text

    folder = tmp_path_factory.mktemp("stopped")
    config = resolve(compose(*made_up_text(text_path), *SMALL, "epochs=4", "engine=eager"))
    name = run_id(config, corpus.sha256)
    done: list[int] = []
    with pytest.raises(Stopped):
        train_together(
            [config],
            corpus,
            Choice("eager", {}),
            on_epoch=lambda epoch, _: done.append(epoch),
            checkpoints=Checkpoints(folder, [name], every_s=0.0),
            stop=lambda: len(done) == 2,
        )
    return config, path_of(folder, name)


def state_strategy(state: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """The state with other values in it, saved as torch does; and such that would run something."""

    def saved(value: Any) -> bytes:
        content = io.BytesIO()
        torch.save(value, content)
        return content.getvalue()

    tensors = st.sampled_from(
        [torch.zeros(3), torch.full((2, 2), torch.nan), torch.zeros(0), torch.ones(4, dtype=torch.int8)]
    )

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        value = draw(edited(state, most=2)) if draw(st.booleans()) else dict(state)
        if isinstance(value, dict) and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(state)))
            value[key] = draw(st.one_of(values(), tensors, st.just(Bomb())))
        try:
            return saved(value)
        except Exception:  # what torch does not save
            return pickle.dumps(Bomb())

    return changed()


@examples(3, 400)
def test_checkpoints(place: Place, stopped: Any, corpus: Corpus, count: int) -> None:
    """Read as none, or as one from which training goes on to its end."""
    config, path = stopped
    content = path.read_bytes()
    state = torch.load(path, weights_only=True)
    inputs = st.one_of(torn(content), state_strategy(state), state_strategy(state), st.just(pickle.dumps(Bomb())))

    def check(given: bytes) -> None:
        folder = place.fresh()
        own = path_of(folder, path.stem)
        own.parent.mkdir()
        own.write_bytes(given)
        said: list[str] = []
        checkpoints = Checkpoints(folder, [path.stem], say=said.append)
        with suppress(Unusable):
            load(own)
        [record] = train_together([config], corpus, Choice("eager", {}), checkpoints=checkpoints)
        assert not any("\n" in line for line in said)
        assert len(record.curve["epoch"]) == 4 or record.status == "diverged"
        assert not list(folder.rglob("unpickled"))
        assert not Path("unpickled").exists()

    explore(inputs, check, count)


@examples(3, 500)
def test_weights(place: Place, small_arguments: list[str], tmp_path: Path, count: int) -> None:
    """`ablate.module` of a run whose weights were broken."""
    place.fresh()
    place.run("run", *small_arguments, "name=made-up", "keep=weights", "engine=eager", "report=false", "model=gru")
    kept = tmp_path / "kept"
    shutil.copytree(place.sweep, kept)
    [weights] = (kept / "weights").iterdir()
    content = weights.read_bytes()
    from safetensors.torch import load_file

    tensors = load_file(weights)

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        own = dict(tensors)
        name = draw(st.sampled_from(sorted(own)))
        match draw(st.sampled_from(("drop", "rename", "shape", "type", "nan"))):
            case "drop":
                del own[name]
            case "rename":
                own[draw(st.text(max_size=5))] = own.pop(name)
            case "shape":
                own[name] = torch.zeros(draw(st.integers(0, 3)), 2)
            case "type":
                own[name] = own[name].to(draw(st.sampled_from([torch.bfloat16, torch.int8, torch.bool, torch.float64])))
            case "nan":
                own[name] = own[name] * torch.nan
        return save(own)

    def check(given: bytes) -> None:
        place.fresh()
        shutil.copytree(kept, place.sweep)
        (place.sweep / "weights" / weights.name).write_bytes(given)
        refused_or(lambda: ablate.module(weights.stem, sweep=place.sweep))
        refused_or(lambda: ablate.generate(weights.stem, "the", 3, sweep=place.sweep))

    assert record_path(kept, weights.stem).exists() or (kept / "runs.parquet").exists()
    explore(st.one_of(torn(content), changed(), changed(), st.just(pickle.dumps(Bomb()))), check, count)


@pytest.mark.slow
def test_compiled_kernels(place: Place, compose: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """A library in the cache that is none is made again."""
    from ablate.config.resolved import resolve
    from ablate.engines.cohort.native import build

    monkeypatch.delenv("ABLATE_NATIVE")
    if reason := build.unavailable():
        pytest.skip(reason)
    place.fresh()
    config = resolve(compose("model=gru", "data=python_docs"))
    text = build.source(build.derivative_of(config))
    whole = build.built(text).read_bytes()

    def check(given: bytes) -> None:
        path = build.built(text)
        aside = path.with_suffix(".new")  # the old one may be in use by this process
        aside.write_bytes(given)
        os.replace(aside, path)
        library = build._loaded(text, "ieee")
        assert library.workspace_bytes

    explore(st.one_of(st.binary(max_size=300), st.integers(0, 4000).map(lambda end: whole[:end])), check, 10)
