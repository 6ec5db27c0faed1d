"""The grid of event-time windows that a view is materialized in.

The library keeps its ledger on this grid; the Dagster layer turns the same grid into a partitions definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from feast_assets.definitions.spec import Spec, as_utc
from feast_assets.definitions.window import Window as Window
from feast_assets.errors import DefinitionError, shown

Grain = Literal["hourly", "daily", "weekly", "monthly"]
GRAINS: tuple[Grain, ...] = get_args(Grain)


class Partitions(Spec):
    """How a view's event time is cut into windows, all in UTC; weeks begin on Sunday, as Dagster's do.

    Args:
        grain: "hourly", "daily", "weekly" or "monthly".
        start: the beginning of the first window, which must lie on the grid. Left out, the first apply fixes it from
            the source's earliest event, and the registry keeps it, so that partition keys never change.
        end: the end of the last window, on the grid as well, for sources that get no more rows. Left out, there is
            none.
    """

    _spec = {"grain": "daily", "start": None, "end": None}

    grain: Grain
    start: datetime | None
    end: datetime | None

    def __init__(self, grain: Grain = "daily", start: datetime | None = None, end: datetime | None = None):
        if grain not in GRAINS:
            raise DefinitionError(f"Partition grain {grain!r} is not one of {', '.join(GRAINS)}.")
        self.grain = grain
        self.start = self._on_grid("start", start)
        self.end = self._on_grid("end", end)
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise DefinitionError(
                f"Partition start {self.start.isoformat()} must be before the end {self.end.isoformat()}."
            )

    def _on_grid(self, subject: str, moment: datetime | None) -> datetime | None:
        if moment is None:
            return None
        if not isinstance(moment, datetime):
            raise DefinitionError(f"Partition {subject} must be a datetime, got {shown(moment)}.")
        if self.floor(moment) != as_utc(moment):
            raise DefinitionError(
                f"Partition {subject} {as_utc(moment).isoformat()} is not the beginning of a {self.grain} window; "
                f"use {self.floor(moment).isoformat()}."
            )
        return as_utc(moment)

    def starting(self, start: datetime) -> Partitions:
        """Returns the same grid with its start fixed."""
        return Partitions(self.grain, start, self.end)

    def floor(self, moment: datetime) -> datetime:
        """Returns the beginning of the window that holds a moment."""
        hour = as_utc(moment).replace(minute=0, second=0, microsecond=0)
        if self.grain == "hourly":
            return hour
        day = hour.replace(hour=0)
        if self.grain == "daily":
            return day
        if self.grain == "weekly":
            return _moved(day, -(day.isoweekday() % 7))
        return day.replace(day=1)

    def next(self, start: datetime) -> datetime:
        """Returns the end of the window that begins at ``start``; never beyond what a datetime can hold."""
        if self.grain == "hourly":
            return _moved(start, 1 / 24)
        if self.grain == "daily":
            return _moved(start, 1)
        if self.grain == "weekly":
            # The first week that a datetime can hold begins on a Monday.
            return _moved(start, 7 - start.isoweekday() % 7)
        if start.year == _LAST.year and start.month == _LAST.month:
            return _LAST
        return datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)

    def windows(self, start: datetime, end: datetime) -> Iterator[Window]:
        """Yields the grid's windows that overlap ``[start, end)``, in order, each whole; none beyond the grid's end."""
        begin = self.floor(start)
        last = as_utc(end) if self.end is None else min(as_utc(end), self.end)
        while begin < last:
            following = self.next(begin)
            yield Window(begin, following)
            begin = following

    def windows_cut_to(self, span: Window) -> Iterator[Window]:
        """Yields the windows that overlap a span, in order, the first and the last cut to it."""
        for window in self.windows(span.start, span.end):
            yield Window(max(window.start, span.start), min(window.end, span.end))


_LAST = datetime.max.replace(tzinfo=UTC)


def _moved(moment: datetime, days: float) -> datetime:
    try:
        return moment + timedelta(days=days)
    except OverflowError:
        return _LAST if days > 0 else datetime.min.replace(tzinfo=UTC)
