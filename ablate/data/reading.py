"""Files as text: UTF-8 in regular files, block by block, with any line ends; one line of refusal for all else."""

import codecs
import io
import lzma
import os
import shlex
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ablate.config.errors import DataError

BLOCK = 1 << 18
"""Bytes read at a time."""

BROKEN_ARCHIVE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, NotImplementedError),  # encrypted, or packed in a way that Python has no program for
)
"""What reading a zip archive may raise."""

MARKS = (  # those of UTF-32 first: one of them begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte-order marks, and the encoding as iconv names it where there is such a mark."""

MANY, FEW = 0.3, 0.05
"""Shares of zero bytes in the upper and in the lower halves of UTF-16 code units of mostly Latin text."""


def expanded(path: str) -> Path:
    """The path with `~` and `~user` replaced as a shell does: left as they are where there is no such user."""
    return Path(os.path.expanduser(path))  # Path.expanduser raises RuntimeError there


def read_text(path: Path) -> str:
    """All of a UTF-8 text; see `text_blocks`."""
    return "".join(text_blocks(path))


def text_blocks(path: Path, knob: str = "data.path") -> Iterator[str]:
    """The text of a UTF-8 file in pieces, any line end as `\\n`, without its byte-order mark.

    Raises DataError for what is no such file: the reason, and a command that mends it where there is one. `knob` named
    the file.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    read = 0
    try:
        _require_regular(path, knob)
        with path.open("rb") as file:
            block = file.read(BLOCK)
            _refuse_other_encodings(path, block)
            if block.startswith(codecs.BOM_UTF8):
                read = len(codecs.BOM_UTF8)
                block = block[read:]
            while block:
                if (zero := block.find(b"\0")) >= 0:
                    raise DataError(_with_nul(path, block, read + zero))
                yield _decoded(path, block, read, decoder, lines)
                read += len(block)
                block = file.read(BLOCK)
            yield _decoded(path, b"", read, decoder, lines)
    except OSError as error:
        raise DataError(f"{knob} is {str(path)!r}: {error.strerror}; give the path of a text file") from error
    except ValueError as error:  # a NUL in the name
        raise DataError(f"{knob} is {str(path)!r}: {error}; give the path of a text file") from error


def _require_regular(path: Path, knob: str) -> None:
    """Raise DataError for a pipe or a device, which can be read once, or for ever, or wait for a writer."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder gets the system's own words when it is opened
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device" if stat.S_ISCHR(mode) else "no regular file"
        raise DataError(f"{knob} is {str(path)!r}: {kind}; save the text in a file and give its path")


def _refuse_other_encodings(path: Path, start: bytes) -> None:
    """Raise DataError for UTF-16 and UTF-32, with and without a mark."""
    encoding = next((name for mark, name in MARKS if start.startswith(mark)), "") or _unmarked(start)
    if encoding:
        raise DataError(f"{str(path)!r} is {encoding}, not UTF-8; convert it: {_iconv(path, encoding)}")


def _unmarked(start: bytes) -> str:
    """`UTF-16LE`, `UTF-32BE`, …, where zero bytes stand as they do there; else an empty string."""
    if b"\0" not in start:
        return ""
    for name in ("UTF-32LE", "UTF-32BE"):
        try:
            if len(start) >= 4 and "\0" not in start[: len(start) // 4 * 4].decode(name):
                return name
        except UnicodeDecodeError:
            pass
    units = len(start) // 2
    first, second = (start[place : 2 * units : 2].count(0) for place in (0, 1))
    if second > MANY * units and first <= FEW * units:
        return "UTF-16LE"
    if first > MANY * units and second <= FEW * units:
        return "UTF-16BE"
    return ""


def _decoded(
    path: Path, block: bytes, read: int, decoder: codecs.IncrementalDecoder, lines: io.IncrementalNewlineDecoder
) -> str:
    """The text of the next block; an empty block ends it. Raises DataError with the first byte that is not UTF-8."""
    waiting = len(decoder.getstate()[0])
    try:
        return lines.decode(block, final=not block)
    except UnicodeDecodeError as error:
        at = read - waiting + error.start
        encoding = _eight_bit(block)
        raise DataError(
            f"{str(path)!r} is not UTF-8 (byte {at}); if it is {encoding} (else name its own encoding after -f), "
            f"convert it: {_iconv(path, encoding)}"
        ) from error


def _with_nul(path: Path, block: bytes, at: int) -> str:
    """What to say of a file with a NUL character: a text in which some stand, or no text at all."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(block.replace(b"\0", b""))
    except UnicodeDecodeError:
        return f"{str(path)!r} is a binary file (NUL at byte {at}); give a text in UTF-8"
    remedy = f"tr -d '\\000' < {_quoted(path)} > {_converted(path)}"
    return f"{str(path)!r} has a NUL character at byte {at}; give a text in UTF-8, or take them out: {remedy}"


def _eight_bit(block: bytes) -> str:
    """The likelier one-byte encoding of Western text: Latin-1 has no characters from 128 to 159, Windows has quotes."""
    if not any(128 <= byte < 160 for byte in block):
        return "LATIN1"
    try:
        block.decode("cp1252")
    except UnicodeDecodeError:
        return "LATIN1"
    return "WINDOWS-1252"


def _iconv(path: Path, encoding: str) -> str:
    """A shell command that writes the file in UTF-8 beside it."""
    return f"iconv -f {encoding} -t UTF-8 {_quoted(path)} > {_converted(path)}"


def _quoted(path: Path) -> str:
    name = str(path)
    return shlex.quote(f"./{name}" if name.startswith("-") else name)  # not an option


def _converted(path: Path) -> str:
    """A file beside this one that is not there yet, quoted for a shell."""
    number, out = 1, path.with_name(f"{path.stem}-utf8{path.suffix}")
    while out.exists():
        number += 1
        out = path.with_name(f"{path.stem}-utf8-{number}{path.suffix}")
    return _quoted(out)
