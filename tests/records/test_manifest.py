"""The manifest of a sweep, read: what is none is a RecordError. CPU."""

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
