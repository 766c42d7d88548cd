"""The manifest of a sweep, read: what is none is a RecordError. CPU."""

import json
from pathlib import Path

import pytest

from ablate.records.manifest import load_manifest
from ablate.records.places import manifest_path
from ablate.records.reading import RecordError


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"commands": []}'])
def test_a_manifest_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        manifest_path(tmp_path).write_text(content)
    with pytest.raises(RecordError) as caught:
        load_manifest(tmp_path)
    assert str(manifest_path(tmp_path)) in str(caught.value)


STRANGE = {
    "commands": ["ablate", [5], ["ablate 'a"]],
    "auto_corpus": [5],
    "title": [5, ["a"]],
    "knobs": [[], {"lr": 1}],
    "planned": [[], {"a": 5}, {"a": "0-999999999999"}, {"a": "x"}, {"a": "1-"}],
    "asked_as": [["a"], {"a": 5}],
    "plugins": [["a.py"], {"a.py": 5}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in STRANGE.items() for value in values])
def test_a_manifest_of_other_types_is_none(tmp_path: Path, name: str, value: object) -> None:
    """A range of a billion seeds is no list of them, and is not written out to see that."""
    whole = {"commands": ["ablate run lr=1"], "auto_corpus": None, "planned": {"a": "0-2,7", "b": ""}}
    manifest_path(tmp_path).write_text(json.dumps(whole))
    assert load_manifest(tmp_path)["planned"] == whole["planned"]
    manifest_path(tmp_path).write_text(json.dumps(whole | {name: value}))
    with pytest.raises(RecordError) as caught:
        load_manifest(tmp_path)
    assert str(manifest_path(tmp_path)) in str(caught.value)
