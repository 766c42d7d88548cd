"""Which fonts write a text, how wide it becomes, where it breaks."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import LoadFlags

LATIN = "DejaVu Sans"
"""Comes with matplotlib."""

CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "Microsoft YaHei",
    "SimHei",
    "SimSun",
    "Droid Sans Fallback",
    "Noto Sans CJK JP",
    "AR PL UMing CN",
    "Arial Unicode MS",
)
"""Fonts with Chinese characters of Linux, macOS and Windows, those made for screens first."""

BOX = 1.0
"""The width of what stands for a character without a glyph, in ems."""
EAST_ASIA = 0x2E80
"""The first code point of the Chinese, Japanese and Korean blocks."""


def families(*texts: str) -> list[str]:
    """The fonts for these texts: further ones join in only where a character asks for them."""
    first = [LATIN, *_cjk_fonts()] if any(map(is_wide, texts)) else [LATIN]
    return [*first, *_fonts_for(_lacking(texts, first))]


def missing_glyphs(*texts: str) -> str:
    """One line that names the characters which no font of this machine has, and the remedy; else nothing."""
    missing = list(dict.fromkeys(_lacking(texts, families(*texts))))
    if not missing:
        return ""
    few = " ".join(missing[:8]) + (" …" if len(missing) > 8 else "")
    return f"no installed font has {few}: figures show boxes there; install a font that has them, such as a Noto font"


def _lacking(texts: Sequence[str], fonts: Sequence[str]) -> str:
    """The printable characters that none of the fonts has."""
    known = frozenset().union(*map(_characters, fonts))
    return "".join(one for text in texts for one in text if _is_drawn(one) and ord(one) not in known)


def _is_drawn(character: str) -> bool:
    """Whether a character is to be seen: no control, no format, no separator of lines."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp")


def _fonts_for(characters: str) -> list[str]:
    """Installed fonts that have some of these characters, the fewest that can be found in their order."""
    found, left = [], set(map(ord, characters))
    for name in _installed() if left else ():
        if has := left & _characters(name):
            found.append(name)
            left -= has
        if not left:
            break
    return found


@cache
def _installed() -> tuple[str, ...]:
    """All fonts that matplotlib knows, but for the one that has a box for every character."""
    names = sorted({entry.name for entry in font_manager.fontManager.ttflist})
    return tuple(name for name in names if "Last Resort" not in name)


def is_wide(text: str) -> bool:
    """Whether the text has a character of East Asia, which is as wide as high."""
    return any(ord(character) >= EAST_ASIA for character in text)


def text_width(text: str, size: float) -> float:
    """How wide a line at `size` points is, in inches, without kerning."""
    return sum(map(_advance, text)) * size / 72


def wrapped(text: str, width: float, size: float) -> str:
    """The text in lines of at most `width` inches: broken at spaces and hyphens, inside a word only if it is longer."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for piece in _short_pieces(paragraph, width, size):
            if line and text_width((line + piece).rstrip(), size) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return "\n".join(lines)


def _short_pieces(text: str, width: float, size: float) -> Iterator[str]:
    """What a line may hold as a whole; longer words in parts that end in _, / or =, or else anywhere."""
    for word in _pieces(text, " -"):
        for piece in [word] if text_width(word.rstrip(), size) <= width else _pieces(word, "_/="):
            while text_width(piece.rstrip(), size) > width and len(piece) > 1:
                fits = max(1, int(len(piece) * width / text_width(piece, size)))
                yield piece[:fits]
                piece = piece[fits:]
            yield piece


def _pieces(text: str, ends: str) -> list[str]:
    """The text cut after each of the characters `ends`, and around characters of East Asia."""
    pieces = [""]
    for character in text:
        if is_wide(character) and pieces[-1]:
            pieces.append("")
        pieces[-1] += character
        if character in ends or is_wide(character):
            pieces.append("")
    return [piece for piece in pieces if piece]


@cache
def _advance(character: str) -> float:
    """The width of a character in ems; that of a box where no font has it, nothing of what is not printed."""
    if is_wide(character):
        return 1.0
    if ord(character) not in _characters(LATIN):
        return BOX if _is_drawn(character) else 0.0
    font = font_manager.get_font(font_manager.findfont(LATIN))
    font.set_size(100, 72)
    return float(font.load_char(ord(character), LoadFlags.NO_HINTING).linearHoriAdvance / 65536 / 100)


@cache
def _cjk_fonts() -> tuple[str, ...]:
    return _known_cjk_fonts() or _known_cjk_fonts(look=True)


def _known_cjk_fonts(look: bool = False) -> tuple[str, ...]:
    """Those that matplotlib knows; its list is from its first use, so that `look` adds what was installed since."""
    if look:
        known = {entry.fname for entry in font_manager.fontManager.ttflist}
        for path in set(font_manager.findSystemFonts()) - known:
            with suppress(OSError, RuntimeError):  # a font that matplotlib cannot read
                font_manager.fontManager.addfont(path)
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return tuple(name for name in CJK_FONTS if name in installed)[:2]


@cache
def _characters(font: str) -> frozenset[int]:
    """The code points that a font has; `font`: its family."""
    entries = [entry for entry in font_manager.fontManager.ttflist if entry.name == font]
    upright = [entry for entry in entries if entry.style == "normal"] or entries
    try:
        # by its file: looking for a family by name complains of one that has no regular weight
        return frozenset(font_manager.get_font(upright[0].fname).get_charmap())
    except (IndexError, OSError, RuntimeError, ValueError):  # a font that matplotlib cannot read
        return frozenset()
