"""The blocks of a document: what is typed, what it is said to print, and whether what it prints agrees.

A ```console block holds commands behind `$ ` and below each what it prints. There a line `…` stands for any lines, `…`
within a line for any text. An HTML comment before a block says `<!-- not run: WHY -->`; or `<!-- rounding: WHY -->`
where how a processor rounds decides how runs end: there numbers agree within 30 %, and intervals are not compared.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

ANY = "…"
FENCE = re.compile(r"^(`{3,})(?:\{\.)?(\w+)?(.*)$")
COMMENT = re.compile(r"<!-- (not run|rounding): (.+) -->")


@dataclass
class Command:
    """A command, where it stands (line from 0), and the lines that it is said to print (first and behind the last)."""

    text: str
    first: int
    last: int
    printed: list[str]
    loose: bool = False


@dataclass
class Block:
    language: str
    line: int
    text: str
    info: str = ""
    reason: str = ""
    """Why it is not run."""
    commands: list[Command] = field(default_factory=list)


def blocks_of(document: Path) -> list[Block]:
    """Fenced blocks in their order."""
    lines = document.read_text(encoding="utf-8").splitlines()
    found, said, at = list[Block](), dict[str, str](), 0
    while at < len(lines):
        comment, fence = COMMENT.match(lines[at].strip()), FENCE.match(lines[at])
        if comment:
            said[comment[1]] = comment[2]
        elif fence:
            end = next(k for k in range(at + 1, len(lines)) if lines[k].strip() == fence[1])
            block = Block(fence[2] or "", at, "\n".join(lines[at + 1 : end]), fence[3], said.get("not run", ""))
            if block.language == "console":
                block.commands = commands_of(lines, at + 1, end, "rounding" in said)
            found.append(block)
            said, at = {}, end
        elif lines[at].strip():
            said = {}
        at += 1
    return found


def commands_of(lines: Sequence[str], start: int, end: int, loose: bool) -> list[Command]:
    found, at = list[Command](), start
    while at < end:
        assert lines[at].startswith("$ "), f"line {at + 1} of a console block stands below no command: {lines[at]!r}"
        text = lines[at][2:]
        at += 1
        while text.endswith("\\"):
            text = f"{text[:-1].rstrip()} {lines[at].strip()}"
            at += 1
        first = at
        while at < end and not lines[at].startswith("$ "):
            at += 1
        found.append(Command(text, first, at, list(lines[first:at]), loose))
    return found


def agree(said: Sequence[str], printed: Sequence[str], loose: bool = False) -> bool:
    """Whether what is printed is what was said."""
    expected, found = plain(said), plain(printed)
    alike = partial(_alike, loose=loose)
    cuts = [-1, *(k for k, line in enumerate(expected) if line == ANY), len(expected)]
    parts = [expected[a + 1 : b] for a, b in pairwise(cuts)]
    if len(parts) == 1:
        return len(expected) == len(found) and alike(expected, found)
    head, tail = parts[0], parts[-1]
    if len(head) + len(tail) > len(found) or not alike(head, found[: len(head)]):
        return False
    at, end = len(head), len(found) - len(tail)
    for part in parts[1:-1]:
        places = (k for k in range(at, end - len(part) + 1) if alike(part, found[k : k + len(part)]))
        place = next(places, None)
        if place is None:
            return False
        at = place + len(part)
    return alike(tail, found[end:])


def plain(lines: Sequence[str]) -> list[str]:
    """Without what depends on widths: runs of spaces and of dashes, blank lines at the ends."""
    out = [re.sub(r"─+", "─", " ".join(line.split())) for line in lines]
    while out and not out[0]:
        out.pop(0)
    while out and not out[-1]:
        out.pop()
    return out


def _alike(expected: Sequence[str], found: Sequence[str], loose: bool) -> bool:
    return all(same_line(one, other, loose) for one, other in zip(expected, found, strict=True))


TIME = re.compile(r"\d[\d.]*(e-?\d+)? (ms|s|min|h)\b( \d+ min)?")
SIZE = re.compile(r"\d[\d.]* (MiB|GiB)")
INTERVAL = re.compile(r"± [\d.]+|\([−+\d.∞]+ ?(–|to|…) ?[−+\d.∞]+\)")
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?")


def same_line(expected: str, found: str, loose: bool) -> bool:
    """The same words, any time and size, and the same numbers: whole ones exactly, others to 5 %."""
    if loose:
        expected, found = (INTERVAL.sub("INTERVAL", line) for line in (expected, found))
    expected, found = (SIZE.sub("SIZE", TIME.sub("TIME", line)) for line in (expected, found))
    pattern, numbers, last = "", list[str](), 0
    for number in NUMBER.finditer(expected):
        pattern += literal(expected[last : number.start()]) + r"([\d.e-]+)"
        numbers.append(number[0])
        last = number.end()
    told = re.fullmatch(pattern + literal(expected[last:]), found)
    return told is not None and all(same_number(*pair, loose) for pair in zip(numbers, told.groups(), strict=True))


def literal(text: str) -> str:
    return ".*".join(map(re.escape, text.split(ANY)))


def same_number(one: str, other: str, loose: bool) -> bool:
    if not NUMBER.fullmatch(other):
        return False
    if "e" in one or "e" in other:
        return abs(math.log10(float(one)) - math.log10(float(other))) <= 1
    if "." in one or "." in other:
        return math.isclose(float(one), float(other), rel_tol=0.3 if loose else 0.05, abs_tol=0.05 if loose else 0.01)
    return one == other


VARIES = (
    r"\d+/\d+ runs after ",
    r"trial \d+: ",
    r"text: ",
    r"note: ",
    r"perplexity (\(tail|of the answers)",
    r"(arithmetic|geometric) mean ",
    r"what trains together",
    r"group  settings",
    r" +\d+ +\d+ +\d+ × \d+",
    r"training takes about",
    r"the speed lane takes",
)
"""How lines begin that differ from one machine, or one time, to the next, or that every such command prints."""
COUNTS = re.compile(r"\d+ (confirmed|refuted|undecided|not testable)[,.]")
"""How the notes below a table of verdicts begin."""


def shortened(printed: Sequence[str]) -> list[str]:
    """What a document should show of what was printed: such lines are left out, and blank lines beside them."""
    out, notes = list[str](), False
    for line in printed:
        notes = notes or COUNTS.match(line) is not None
        left_out = notes or any(re.match(pattern, line) for pattern in VARIES)
        if (left_out or re.fullmatch("─*", line)) and out and out[-1] == ANY:
            continue
        if left_out and out and not out[-1]:
            out.pop()
        out.append(ANY if left_out else line)
    return out
