"""What a materialization did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from feast_assets.definitions.window import Window
from feast_assets.offline_stores.profile import WindowProfile

Progress = Callable[[str, int, int], None]
"""Called with a view's name, its windows that are done, and all its windows."""


@dataclass(frozen=True, slots=True)
class WindowResult:
    """One window that is now in the online store (or, for views that only keep a result, in the offline store).

    Attributes:
        rows: rows that were read of the source in the window; for a transformation whose result is not kept, of its
            inputs, lookback included.
        entities: entities whose newest row, in the windows of the same pass, lies in this window.
        written: of these rows, those that were newer than what the online store held; the others were ignored. None
            where it is not known: the store does not count, or it wrote some of the rows of several windows that were
            put together, and counts only all of them.
        newest_event: UTC; None without rows.
        fingerprint: of the source's content.
        version: UTC microseconds at which this content was first seen.
        profile: what its values look like; None unless it was asked for, or values had to be validated.
        null_keys: rows of the source in the window that lack a join key, and were left out.
        made: rows of the view in the window. None if they were not counted, which a transformation whose result is not
            kept needs a profile for.
    """

    window: Window
    rows: int
    entities: int
    written: int | None
    newest_event: datetime | None
    fingerprint: str
    version: int
    profile: WindowProfile | None = None
    null_keys: int = 0
    made: int | None = None

    @property
    def ignored(self) -> int | None:
        """Rows that were not newer than what the online store held, which keeps the newer; None where not known."""
        return None if self.written is None else self.entities - self.written


@dataclass(frozen=True, slots=True)
class PartCounts:
    """What a run found of the parts of its sources, such as files.

    Attributes:
        listed: how many there are.
        new, changed: how many of these were not known at all, or in another state.
        gone: how many were known and are not there any more.
        bytes_read: the sizes of the parts that were read for statistics; None where some rows of all parts were.
    """

    listed: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0
    bytes_read: int | None = 0

    def __add__(self, other: PartCounts) -> PartCounts:
        return PartCounts(
            self.listed + other.listed,
            self.new + other.new,
            self.changed + other.changed,
            self.gone + other.gone,
            None if self.bytes_read is None or other.bytes_read is None else self.bytes_read + other.bytes_read,
        )

    def __str__(self) -> str:
        counts = [f"{self.listed:,} listed", f"{self.new:,} new", f"{self.changed:,} changed", f"{self.gone:,} gone"]
        return ", ".join(counts) + ("" if self.bytes_read is None else f"; {self.bytes_read:,} bytes read")


@dataclass(frozen=True, slots=True)
class MaterializationResult:
    """What one call did for one view.

    Attributes:
        windows: the windows that were run, in order of time; windows found up to date, or without rows ever, are
            not among them.
        written: rows that were newer than what the online store held; None where the store does not count.
        ignored: rows that were not; None where the store does not count.
        seconds: how long it took.
        withdrawn: rows of the online store that the source does not have any more, and that were replaced by the
            entity's newest remaining row or removed.
        null_keys: rows of the source that lack a join key and were left out, in all windows that were examined, whether
            they were run or not. Such rows of a transformation's result are not counted.
        null_times: rows of the source without an event time. They belong to no window and were left out.
        parts: what was found of the parts of the view's sources, such as files; None where windows were given, or where
            nobody can tell parts of the sources apart.
    """

    view: str
    windows: tuple[WindowResult, ...]
    written: int | None
    ignored: int | None
    seconds: float
    withdrawn: int = 0
    null_keys: int = 0
    null_times: int = 0
    parts: PartCounts | None = None

    @property
    def left_out(self) -> str:
        """Says how many rows were left out and why; "" where none were."""
        counts = {"a join key": self.null_keys, "an event time": self.null_times}
        parts = [f"{_rows(count)} without {lacking}" for lacking, count in counts.items() if count]
        return f"left out {' and '.join(parts)}" if parts else ""

    @property
    def rows(self) -> int:
        return sum(w.rows for w in self.windows)

    @property
    def made(self) -> int | None:
        """Rows that the windows have; None where those of one were not counted."""
        counts = [w.made for w in self.windows]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def entities(self) -> int:
        return sum(w.entities for w in self.windows)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
