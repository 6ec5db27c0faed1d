"""What a materialization did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from feast_assets.definitions.partitions import Window

Progress = Callable[[str, int, int], None]
"""Called with a view's name, its windows that are done, and all its windows."""


@dataclass(frozen=True, slots=True)
class WindowResult:
    """One window that is now in the online store (or, for views that only keep a result, in the offline store).

    Attributes:
        rows: rows of the source in the window; for a transformation whose result is not kept, of its inputs,
            lookback included.
        entities: entities whose newest row, in the windows of the same pass, lies in this window.
        newest_event: UTC; None without rows.
        fingerprint: of the source's content.
        version: UTC microseconds at which this content was first seen.
    """

    window: Window
    rows: int
    entities: int
    newest_event: datetime | None
    fingerprint: str
    version: int


@dataclass(frozen=True, slots=True)
class MaterializationResult:
    """What one call did for one view.

    Attributes:
        windows: the windows that were run, in order of time; windows found up to date, or without rows ever, are
            not among them.
        written: rows that were newer than what the online store held.
        ignored: rows that were not.
        seconds: how long it took.
    """

    view: str
    windows: tuple[WindowResult, ...]
    written: int
    ignored: int
    seconds: float

    @property
    def rows(self) -> int:
        return sum(w.rows for w in self.windows)

    @property
    def entities(self) -> int:
        return sum(w.entities for w in self.windows)
