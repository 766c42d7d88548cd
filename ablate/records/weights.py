"""The trained parameters of a run, kept beside its record where `keep=weights` asks for them.

results/<sweep>/weights/<run_id>.safetensors     each parameter under its name (`ablate.networks.parameters`)

A file is written before the record of its run, so that a record of a run with `keep=weights` never lacks it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.records.files import present, write_atomically
from ablate.records.reading import RecordError, read_bytes

if TYPE_CHECKING:
    import numpy as np


def weights_path(sweep: Path, run_id: str) -> Path:
    return sweep / "weights" / f"{run_id}.safetensors"


def keep(sweep: Path, run_id: str, parameters: Mapping[str, "np.ndarray"]) -> None:
    """Write the parameters of a run. Raises StorageError."""
    from safetensors.numpy import save

    write_atomically(weights_path(sweep, run_id), save(dict(parameters)))


def are_stored(sweep: Path, run_id: str) -> bool:
    """Whether the parameters of a run can be read."""
    return present(weights_path(sweep, run_id)) == "file"


def load(sweep: Path, run_id: str) -> dict[str, "np.ndarray"]:
    """The parameters of a run by name. Raises RecordError for a file that is damaged or missing."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_bytes

    path = weights_path(sweep, run_id)
    try:
        return load_bytes(read_bytes(path))
    except (SafetensorError, TypeError, KeyError, ValueError) as error:  # also of numbers that numpy has not
        raise RecordError(f"{path}: not a file of weights ({error})") from error


def copy(source: Path, target: Path, run_id: str) -> None:
    """Take the parameters of a run over from another sweep. Raises RecordError, StorageError."""
    write_atomically(weights_path(target, run_id), read_bytes(weights_path(source, run_id)))
