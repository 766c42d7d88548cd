"""When a package is built: the commit that it is built from goes into it, since an installed package has no history."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = "ablate/commit.txt"


class CommitHook(BuildHookInterface):
    """Puts `ablate/commit.txt` into wheels and sdists; from an sdist or a `git archive`, the one that these hold."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        text = (root / CARRIED).read_text(encoding="utf-8") if (root / CARRIED).is_file() else ""
        if (root / ".git").exists():
            text = f"{git(root, 'rev-parse', 'HEAD')}\n"
            text += "changed\n" if git(root, "status", "--porcelain", "--", "ablate", "conf") else ""
        if re.match(r"[0-9a-f]{40}\n", text):
            self.aside = tempfile.TemporaryDirectory()
            path = Path(self.aside.name) / "commit.txt"
            path.write_text(text, encoding="utf-8")
            build_data["force_include"][str(path)] = CARRIED

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "aside"):
            self.aside.cleanup()


def git(root: Path, *arguments: str) -> str:
    """What git says; empty where there is none, or it refuses."""
    try:
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
