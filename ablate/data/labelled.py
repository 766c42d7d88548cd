"""Labelled sequences of numbers, each of one class: MNIST-1D, made by its authors' package, and files of one's own.

MNIST-1D (Greydanus and Kobak 2024, Scaling Down Deep Learning with MNIST-1D): ten shapes, one for each digit, padded,
stretched, moved, sheared and made noisy, then sampled at 40 places; 4,000 to train on and 1,000 to test. The package
`mnist1d` makes it from a fixed seed, and so always the same.

Arrays: `x` (n, T) or (n, T, F) and `x_test` of T steps of F numbers, `y` (n,) and `y_test` the classes, from 0.
"""

import random
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.config.errors import DataError, counted, reason
from ablate.config.schema import DataConfig
from ablate.data.corpora import Corpus
from ablate.data.reading import BROKEN_ARCHIVE, expanded

Numbers = NDArray[Any]

ARRAYS = ("x", "y", "x_test", "y_test")
"""What a file holds, by the names that MNIST-1D has."""


def load_mnist1d(data: DataConfig, tokens: int | None = None) -> Corpus:
    """MNIST-1D by its default settings. Raises DataError where its package is not installed."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise DataError(
            f"data=mnist1d is made by the package mnist1d, which cannot be imported ({error}): "
            "pip install mnist1d, or give its arrays in a file: data=labelled_file data.path=FILE.npz"
        ) from error
    before = random.getstate(), np.random.get_state()  # which making it seeds
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    return labelled("mnist1d", made)


def load_file(data: DataConfig, tokens: int | None = None) -> Corpus:
    """The arrays of an .npz file, as `numpy.savez(FILE, x=…, y=…, x_test=…, y_test=…)` writes it. Raises DataError."""
    path = expanded(str(data.path))
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            found = {name: file[name] for name in ARRAYS if name in file}
    except (*BROKEN_ARCHIVE, ValueError, IndexError, OverflowError) as error:
        is_archive = isinstance(error, OSError) or zipfile.is_zipfile(path)  # of others numpy speaks as of pickles
        why = reason(error) if is_archive else "it is no .npz file"
        raise DataError(
            f"data.path={data.path} cannot be read ({why}); give a file that "
            "numpy.savez(FILE, x=…, y=…, x_test=…, y_test=…) writes"
        ) from error
    return labelled(path.name, found)


def labelled(name: str, arrays: Mapping[str, Any]) -> Corpus:
    """The corpus of these arrays, once they are what the task can read. Raises DataError."""
    missing = [one for one in ARRAYS if one not in arrays]
    if missing:
        raise DataError(f"{name} has no {', '.join(missing)}; give it the arrays {', '.join(ARRAYS)}")
    found: dict[str, Numbers] = {}
    for inputs, classes in (("x", "y"), ("x_test", "y_test")):
        found[inputs] = x = numbers(name, inputs, arrays[inputs])
        found[classes] = y = whole(name, classes, arrays[classes])
        if len(x) != len(y):
            raise DataError(f"{name}: {inputs} has {len(x):,} sequences and {classes} {len(y):,} classes")
    if found["x"].shape[1:] != found["x_test"].shape[1:]:
        shapes = (" × ".join(map(str, found[one].shape[1:])) for one in ("x", "x_test"))
        raise DataError(f"{name}: the sequences of x are {next(shapes)}, those of x_test {next(shapes)}")
    unseen = np.setdiff1d(found["y_test"], found["y"])
    if len(unseen):
        raise DataError(f"{name}: no sequence to train on has class {unseen[0]}, which y_test has")
    corpus = Corpus.of_arrays(name, **found)
    occurring, outputs = len(np.unique(found["y"])), int(found["y"].max()) + 1
    if occurring == outputs:
        return corpus
    warning = (
        f"{name} has sequences of {counted(occurring, 'class')}, numbered up to {outputs - 1}: networks have "
        f"{outputs} outputs, {outputs - occurring} of which stand for no sequence; "
        "np.unique(labels, return_inverse=True)[1] numbers the classes from 0 without gaps"
    )
    return replace(corpus, warnings=(warning,))


def numbers(name: str, key: str, given: Any) -> Numbers:
    """Sequences (n, T, F), as float32. Raises DataError."""
    x = np.asarray(given)
    if x.dtype.kind not in "biuf" or x.ndim not in (2, 3) or 0 in x.shape:
        raise DataError(
            f"{name}: {key} is {x.dtype} of {' × '.join(map(str, x.shape)) or 'no axis'}; it needs numbers, "
            "sequences × steps or sequences × steps × numbers of a step"
        )
    with np.errstate(over="ignore"):
        read = np.ascontiguousarray(x.reshape(*x.shape[:2], -1), dtype=np.float32)
    if not np.isfinite(read).all():
        raise DataError(f"{name}: {key} holds what is no finite number, or none in float32")
    return read


def whole(name: str, key: str, given: Any) -> Numbers:
    """Classes (n,), from 0. Raises DataError."""
    y = np.asarray(given)
    if y.ndim != 1 or y.dtype.kind not in "biu" or (len(y) and y.min() < 0):
        raise DataError(
            f"{name}: {key} needs one whole number from 0 for each sequence; number the classes of y and y_test "
            "together: np.unique(np.concatenate([y, y_test]), return_inverse=True)[1], the first len(y) of them for y"
        )
    return y.astype(np.int64)
