"""What commands print with --json: numbers that are none, or infinite, are null; names are stable."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.claims.verdicts import Verdict
    from ablate.report.material import Material


def print_json(content: Any) -> None:
    """One JSON value on standard output."""
    print(json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "item"):  # of numpy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None if value != value else str(value)  # what pandas has for a missing one


def verdicts_json(verdicts: Sequence["Verdict"]) -> list[dict[str, Any]]:
    return [asdict(verdict) for verdict in verdicts]


@dataclass
class Reports:
    """What was reported."""

    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, material: "Material") -> None:
        from ablate.report import PAGE

        self.found.append(
            {
                "folder": str(material.folder),
                "title": material.title,
                "page": str(material.folder / PAGE),
                "settings": material.settings.to_dict(orient="records"),
                "claims": verdicts_json(material.verdicts),
            }
        )

    def as_json(self, several: Path | None) -> dict[str, Any]:
        from ablate.report import PAGE

        return {"reports": self.found, "page": str(several / PAGE) if several else None}
