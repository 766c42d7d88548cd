"""A hook of mkdocs: pages that are made of the package and of the committed records, formulas as MathML, prompts.

No page is written into docs/; `make docs` builds them anew.
"""

import re
import sys
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mkdocs.structure.files import File, Files

from generating import console, documents, gallery, papers, reference

PAGES = reference.PAGES | gallery.PAGES | documents.PAGES
"""Path below docs/ → what makes its Markdown."""

CODE = re.compile(r"^(```|~~~).*?^\1[ \t]*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
DISPLAYED = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<![\\$\w])\$([^$\n]+?)\$(?![\w$])")

formulas: list[str] = []

console.dollar_alone()


def on_files(files: Files, config: Any) -> Files:
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    for path, picture in gallery.figures().items():
        files.append(File.generated(config, path, content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Numbers of papers are filled in; a formula, `$…$` or lines between `$$`, becomes a word that Markdown leaves."""
    markdown = papers.filled(markdown)
    out, last = [], 0
    for code in [*CODE.finditer(markdown), None]:
        text = markdown[last : code.start() if code else None]
        text = DISPLAYED.sub(lambda found: _kept(found[1], "block"), text)
        out.append(INLINE.sub(lambda found: _kept(found[1], "inline"), text))
        if code:
            out.append(code[0])
            last = code.end()
    return "".join(out)


def on_page_content(html: str, **_: Any) -> str:
    html = re.sub(r"<p>(FORMULA\d+X)</p>", r"\1", html)
    return re.sub(r"FORMULA(\d+)X", lambda found: formulas[int(found[1])], html)


def _kept(latex: str, display: str) -> str:
    formulas.append(_mathml(" ".join(latex.split()), display))
    return f"FORMULA{len(formulas) - 1}X"


@cache
def _mathml(latex: str, display: str) -> str:
    from latex2mathml.converter import convert

    return convert(latex, display=display).replace("<math ", f'<math aria-label="{escape(latex)}" ', 1)
