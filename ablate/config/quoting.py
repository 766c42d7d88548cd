"""Quotes and brackets of Hydra's grammar: what stands within them is one text."""

import re

OPENING = {"(": ")", "[": "]", "{": "}"}


def quote(text: str) -> str:
    """A text as a string of Hydra's grammar, which gives spaces, commas, brackets and numbers a meaning."""
    text = re.sub(r'(\\*)"', lambda found: found[1] * 2 + '\\"', text)
    return '"' + re.sub(r"\\+$", lambda found: found[0] * 2, text) + '"'


def unquote(text: str) -> str:
    """The text that stands in quotes; one without them is returned as it is."""
    if not is_quoted(text):
        return text
    inner = re.sub(r"\\+$", lambda found: found[0][: len(found[0]) // 2], text[1:-1])
    return re.sub(rf"(\\+){text[0]}", lambda found: "\\" * (len(found[1]) // 2) + text[0], inner)


def is_quoted(text: str) -> bool:
    """Whether the whole of a text is one string in quotes."""
    if len(text) < 2 or text[0] not in "\"'":
        return False
    return re.fullmatch(rf"{text[0]}(?:(?!{text[0]}|\\).|\\.)*{text[0]}", text, re.DOTALL) is not None


def split(text: str, at: str = ",") -> list[str]:
    """The parts between commas that stand outside of quotes and brackets: `a,(b,c)` gives `a` and `(b,c)`.

    `at` is another character in the place of the comma.

    A bracket or quote that is never closed is a character like any other.
    """
    closed = _closed(text)
    commas = [place for place, one in enumerate(text) if one == at and not any(a < place < b for a, b in closed)]
    return [text[a + 1 : b] for a, b in zip([-1, *commas], [*commas, len(text)], strict=True)]


def _closed(text: str) -> list[tuple[int, int]]:
    """Where quotes and brackets open and close."""
    found: list[tuple[int, int]] = []
    open_brackets: list[int] = []
    at = 0
    while at < len(text):
        one = text[at]
        quoted = re.compile(rf"{one}(?:(?!{one}|\\).|\\.)*{one}", re.DOTALL).match(text, at) if one in "\"'" else None
        if quoted and not (at and text[at - 1].isalnum()):  # not the apostrophe of "it's"
            found.append((at, quoted.end() - 1))
            at = quoted.end()
            continue
        if one in OPENING:
            open_brackets.append(at)
        elif open_brackets and one == OPENING[text[open_brackets[-1]]]:
            found.append((open_brackets.pop(), at))
        at += 1
    return found
