"""What has come of a sweep, for the last lines on the screen and the exit status."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Summary:
    """What a sweep did, for the last lines on the screen and the exit status."""

    folder: Path
    trained: int = 0
    reused: int = 0
    already: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    storage: str | None = None  # why records could not be kept any more: the sweep ended there
    lost: int = 0  # runs that were trained, and whose records are gone
    away: int = 0  # jobs of a cluster that go on
    report: bool = True  # whether one is wanted
    notes: list[str] = field(default_factory=list)  # what was said before the training began

    def __add__(self, later: "Summary") -> "Summary":
        """Both batches of a sweep that Hydra was told to launch in portions."""
        return Summary(
            self.folder,
            self.trained + later.trained,
            self.reused + later.reused,
            self.already + later.already,
            self.failures + later.failures,
            self.interrupted or later.interrupted,
            self.storage or later.storage,
            self.lost + later.lost,
            self.away + later.away,
            self.report and later.report,
            self.notes + later.notes,
        )

    @property
    def exit_status(self) -> int:
        return 130 if self.interrupted else 1 if self.failures or self.storage or self.lost else 0
