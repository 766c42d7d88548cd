"""Parquet files as ablate writes them: whole or not at all, a checksum on each page, columns of known types."""

import io
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.config.errors import UserError, os_reason, reason
from ablate.records.files import compact_json, write_atomically

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq


class TableError(UserError):
    """A file that is not one of these, or a damaged one."""


def version_of(path: Path) -> tuple[int, int, int] | None:
    """What tells whether a file is still the one that was read; None where there is none. Raises TableError."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TableError(os_reason(error).partition(";")[0]) from error
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def read(path: Path, columns: list[str]) -> "pa.Table":
    """Raises TableError for what is no such file, or a damaged one: each page has a checksum."""
    with opened(path, columns=columns) as file:
        require(path, file, columns)
        return file.read(columns=columns)


def require(path: Path, file: "pq.ParquetFile", texts: Sequence[str], numbers: Sequence[str] = ()) -> None:
    """Raise TableError unless a file has these columns of texts and of numbers, each once."""
    import pyarrow as pa

    def holds_texts(kind: pa.DataType) -> bool:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))

    def holds_numbers(kind: pa.DataType) -> bool:
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))

    schema = file.schema_arrow
    for names, holds, what in ((texts, holds_texts, "texts"), (numbers, holds_numbers, "numbers")):
        if missing := sorted(set(names) - set(schema.names)):
            raise TableError(f"{path}: not a file of ablate, it lacks the column {missing[0]}")
        for name in names:
            if schema.names.count(name) > 1 or not holds(schema.field(name).type):
                raise TableError(f"{path}: not a file of ablate, its column {name} holds no {what}")


def require_memory(path: Path, file: "pq.ParquetFile", columns: Collection[str] | None, in_parts: bool) -> None:
    """Raise TableError where these columns of a file (None: all), or with `in_parts` those of a group of its rows,
    take more than this machine has.

    A few kilobytes can stand for terabytes. That is told from the file's own footer; a text that a dictionary
    repeats counts once.
    """
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    sizes = []
    for group in groups:
        parts = [group.column(place) for place in range(group.num_columns)]
        wanted = [one for one in parts if columns is None or one.path_in_schema in columns]
        sizes.append(sum(max(one.total_uncompressed_size, 8 * group.num_rows) for one in wanted))
    takes, there = (max if in_parts else sum)([0, *sizes]), memory_bytes()
    if takes > there:
        raise TableError(
            f"{path}: takes {takes / 2**30:,.1f} GiB of memory, of which this machine has {there / 2**30:,.1f}"
        )


def memory_bytes() -> float:
    """The memory of this machine; infinite where the system does not tell."""
    try:
        pages, bytes_of_page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf
    return float(pages * bytes_of_page) if pages > 0 < bytes_of_page else math.inf


@contextmanager
def opened(
    path: Path,
    metadata: Any = None,
    coded: Sequence[str] = (),
    columns: Collection[str] | None = None,
    in_parts: bool = False,
) -> Iterator["pq.ParquetFile"]:
    """`coded`: columns of texts that are read as dictionaries. `columns`: those that are read, by default all.
    `in_parts`: a group of rows is read at once, not more.

    Raises TableError for what is no Parquet file, for one that says that it unpacks to more than the memory of this
    machine, and for a damaged one where that is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with (
            open(path, "rb") as content,
            pq.ParquetFile(
                content, metadata=metadata, read_dictionary=list(coded), page_checksum_verification=True
            ) as file,
        ):
            require_memory(path, file, columns, in_parts)
            yield file
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError) as error:
        why = os_reason(error).partition(";")[0] if isinstance(error, OSError) and error.errno else None
        raise TableError(why or f"{path}: damaged, or not a Parquet file ({reason(error)})") from error


def coded(column: "pa.ChunkedArray") -> tuple["np.ndarray", list[Any]]:
    """A column of texts as numbers, −1 where there is none, and what they stand for."""
    import pyarrow as pa

    one = column.combine_chunks()
    if not pa.types.is_dictionary(one.type):
        one = one.dictionary_encode()
    if isinstance(one, pa.ChunkedArray):
        one = one.combine_chunks() if one.num_chunks != 1 else one.chunk(0)
    return one.indices.fill_null(-1).to_numpy(zero_copy_only=False), one.dictionary.to_pylist()


def table_of(rows: Sequence[Mapping[str, Any]]) -> "pa.Table":
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: Iterable[Any]) -> "pa.Array":
    """Values of one kind as they are, lists and mappings as JSON; where kinds are mixed, all as JSON."""
    import pyarrow as pa

    plain = [compact_json(value) if isinstance(value, list | dict) else value for value in values]
    try:
        return pa.array(plain, from_pandas=False)
    except (pa.ArrowException, OverflowError):
        return pa.array(
            [None if value is None else value if isinstance(value, str) else compact_json(value) for value in plain]
        )


def write(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd", compression_level=19, write_page_checksum=True)
    write_atomically(path, content.getvalue())
