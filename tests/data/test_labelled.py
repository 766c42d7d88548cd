"""Labelled sequences: what a file has to hold, and MNIST-1D where its package is installed. CPU, 3 s."""

import io
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.config.errors import DataError
from ablate.config.schema import DataConfig
from ablate.data.corpora import load

SMALL: dict[str, Any] = {
    "x": np.arange(30.0).reshape(10, 3),
    "y": np.arange(10) % 2,
    "x_test": np.ones((4, 3)),
    "y_test": np.array([0, 1, 0, 1]),
}


def written(path: Path, **changed: Any) -> DataConfig:
    arrays = {name: one for name, one in (SMALL | changed).items() if one is not None}
    np.savez(path / "mine.npz", **arrays)
    return DataConfig.of(
        {"name": "labelled_file", "path": str(path / "mine.npz"), "tokens": "word", "cleaning": "keep"}
    )


def test_a_file_is_sequences_of_steps_of_numbers(tmp_path: Path) -> None:
    corpus = load(written(tmp_path))
    assert corpus.name == "mine.npz"
    assert corpus.arrays["x"].shape == (10, 3, 1)
    assert corpus.arrays["x"].dtype == np.float32
    assert corpus.arrays["y"].tolist() == [0, 1] * 5
    wide = load(written(tmp_path, x=np.zeros((10, 3, 2)), x_test=np.zeros((4, 3, 2))))
    assert wide.arrays["x_test"].shape == (4, 3, 2)
    assert wide.sha256 != corpus.sha256


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"y": None}, "no y;"),
        ({"x": np.zeros(10)}, "x is float64 of 10"),
        ({"x": np.zeros((10, 0))}, "10 × 0"),
        ({"x_test": np.full((4, 3), np.nan)}, "x_test holds what is no finite number"),
        ({"x": np.full((10, 3), 1e300)}, "x holds what is no finite number, or none in float32"),
        ({"x_test": np.zeros((4, 5))}, r"of x are 3 × 1, those of x_test 5 × 1"),
        ({"y": np.arange(9)}, "10 sequences and y 9"),
        ({"y": np.linspace(0, 1, 10)}, "y needs one whole number"),
        ({"y_test": np.array([0, 1, 2, -1])}, "y_test needs"),
        ({"y_test": np.array([0, 1, 7, 1])}, "class 7"),
        ({"x": np.array([["a"] * 3] * 10)}, "x is <U1"),
    ],
)
def test_what_cannot_be_read_is_a_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(written(tmp_path, **changed))


def test_numbers_of_classes_that_no_sequence_has_are_told(tmp_path: Path) -> None:
    assert load(written(tmp_path)).warnings == ()
    few = load(written(tmp_path, y=np.array([3, 10] * 5), y_test=np.array([3, 10, 3, 3])))
    [said] = few.warnings
    assert "sequences of 2 classes, numbered up to 10: networks have 11 outputs, 9 of which stand for no" in said
    assert "return_inverse=True" in said


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_of_arrays_is_a_line(tmp_path: Path, content: bytes) -> None:
    data = written(tmp_path)
    Path(str(data.path)).write_bytes(content)
    with pytest.raises(DataError, match=r"numpy\.savez") as raised:
        load(data)
    assert "pickle" not in str(raised.value)


def test_an_archive_that_is_damaged_or_encrypted_is_a_line(tmp_path: Path) -> None:
    data = written(tmp_path)
    path = Path(str(data.path))
    np.savez_compressed(path, **{name: np.arange(600.0).reshape(100, 6) for name in ("x", "y", "x_test", "y_test")})
    whole = path.read_bytes()
    middle = zipfile.ZipFile(path).infolist()[1].header_offset // 2
    path.write_bytes(whole[:middle] + bytes(byte ^ 0x5A for byte in whole[middle : middle + 50]) + whole[middle + 50 :])
    with pytest.raises(DataError, match=r"numpy\.savez"):
        load(data)
    locked = bytearray(whole)
    for start in (whole.find(b"PK\x03\x04") + 6, whole.find(b"PK\x01\x02") + 8):  # the flags, in both places
        locked[start] |= 1
    path.write_bytes(locked)
    with pytest.raises(DataError, match=r"encrypted.*numpy\.savez"):
        load(data)


def test_classes_that_are_named_have_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="return_inverse=True") as raised:
        load(written(tmp_path, y=np.array(["up"] * 10)))
    assert "number the classes of y and y_test together" in str(raised.value)  # each by itself, codes would differ


def test_one_array_alone_is_a_line(tmp_path: Path) -> None:
    data = written(tmp_path)
    with Path(str(data.path)).open("wb") as file:
        np.save(file, np.zeros((2, 2)))
    with pytest.raises(DataError, match="has no x, y, x_test, y_test"):
        load(data)


def test_an_array_of_no_possible_size_is_a_line(tmp_path: Path) -> None:
    data = written(tmp_path)
    with zipfile.ZipFile(str(data.path), "w") as archive:
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (9, 10**20)})
        archive.writestr("x.npy", content.getvalue())
    with pytest.raises(DataError, match=r"numpy\.savez"):
        load(data)


def test_pickled_objects_are_not_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"numpy\.savez"):
        load(written(tmp_path, y=np.array([print] * 10, dtype=object)))


def test_without_its_package_mnist1d_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(DataError, match="pip install mnist1d"):
        load(DataConfig.of({"name": "mnist1d", "tokens": "word", "cleaning": "keep"}))


@pytest.mark.full
def test_mnist1d_is_always_the_same_and_leaves_random_numbers_alone() -> None:
    pytest.importorskip("mnist1d")
    random.seed(1)
    np.random.seed(1)
    following = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    corpus = load(DataConfig.of({"name": "mnist1d", "tokens": "word", "cleaning": "keep"}))
    assert following == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]
    assert corpus.arrays["x"].shape == (4000, 40, 1)
    assert corpus.arrays["x_test"].shape == (1000, 40, 1)
    assert np.bincount(np.concatenate([corpus.arrays["y"], corpus.arrays["y_test"]])).tolist() == [500] * 10
    assert corpus.arrays["y"][:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    everything = np.concatenate([corpus.arrays["x"], corpus.arrays["x_test"]])
    assert everything.mean() == pytest.approx(0, abs=1e-5)
    assert everything.std() == pytest.approx(1, abs=1e-5)
