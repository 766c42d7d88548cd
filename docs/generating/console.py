"""How the site colours a console block: a line with `$ ` is a command, and everything else is output.

Pygments also takes `%` and `#` for prompts, and words with a colon before them: lines that a command prints.
"""

import re

from pygments.lexers.shell import BashSessionLexer

PROMPT = re.compile(r"^(\$ )(.*\n?)")


def dollar_alone() -> None:
    """From here on Pygments knows no prompt in a console block but `$ `."""
    BashSessionLexer._ps1rgx = PROMPT
