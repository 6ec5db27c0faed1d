"""The windows of a grid by number, in SQL and in Python alike: rows are grouped by the window that they lie in, and
windows without rows are never made."""

# ruff: noqa: S608 - what is put into statements are names and numbers of ours

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Grain
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.duckdb.statistics import Content, group
from feast_assets.offline_stores.summary import Summary

if TYPE_CHECKING:
    import duckdb

_FIRST, _LAST = to_micros(ALWAYS.start), to_micros(ALWAYS.end)
_DAY = timedelta(days=1) // timedelta(microseconds=1)
_WIDTHS: dict[Grain, int] = {"hourly": _DAY // 24, "daily": _DAY, "weekly": 7 * _DAY}


@dataclass(frozen=True, slots=True)
class Reaching:
    """Rows that count in all windows of some neighbouring numbers: with a lookback, also in later ones than their own.

    Attributes:
        first, last: the numbers, both included.
    """

    first: int
    last: int
    rows: Summary


class GridNumbers:
    """The numbers of a grid's windows, counted from the first that a datetime can hold.

    Args:
        span: to which the windows are cut.
    """

    def __init__(self, grain: Grain, span: Window):
        self._width = _WIDTHS.get(grain, 0)  # 0 for months
        # Weeks begin on Sunday, and the first day of all was a Monday.
        self._origin = _FIRST - _DAY if grain == "weekly" else _FIRST
        self._span = span
        # Both included; the last microsecond of all belongs to the last window.
        self._end = _LAST if span.end >= ALWAYS.end else to_micros(span.end) - 1
        self.first, self.last = self.number(to_micros(span.start)), self.number(self._end)

    def number(self, moment: int) -> int:
        """Returns the number of the window that holds a moment, in UTC microseconds."""
        if self._width:
            return (moment - self._origin) // self._width
        at = from_micros(moment)
        return at.year * 12 + at.month - 1

    def _number_sql(self, moment: str) -> str:
        if self._width:
            return f"({moment} - ({self._origin})) // {self._width}"
        at = f"make_timestamp({moment})"
        return f"(year({at}) * 12 + month({at}) - 1)"

    def _start(self, number: int) -> datetime:
        if not self._width:
            return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        return from_micros(max(self._origin + number * self._width, _FIRST))

    def window(self, first: int, last: int) -> Window:
        """Returns the windows of some neighbouring numbers as one, cut to the span."""
        start = self._span.start if first == self.first else self._start(first)
        return Window(start, self._span.end if last == self.last else self._start(last + 1))

    def grouped(self, cursor: duckdb.DuckDBPyConnection, content: Content, lookback: int) -> tuple[list[Reaching], int]:
        """Returns rows by the windows that they count in, by the first of these, and how many rows have no time.

        Args:
            lookback: how long before a window, in microseconds, rows count in it.
        """
        by = {"first": self._number_sql("t")}
        if lookback:
            # The sum may be beyond what a month can be found for.
            reached = f"CASE WHEN t > {self._end - lookback} THEN {self._end} ELSE t + {lookback} END"
            by["last"] = self._number_sql(f"({reached})")
        columns = ", ".join(f"{expression} AS {name}_window" for name, expression in by.items())
        names = [f"{name}_window" for name in by]
        summaries, without = group(cursor, content, lambda sql: f"SELECT *, {columns} FROM ({sql})", names)
        reaching = [Reaching(max(key[0], self.first), key[-1], rows) for key, rows in summaries.items()]
        return sorted(reaching, key=lambda each: each.first), without


def joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yields the fewest ranges, both ends included, that cover just what some others cover, in order."""
    joined: list[int] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[1] + 1:
            joined[1] = max(joined[1], last)
            continue
        if joined:
            yield joined[0], joined[1]
        joined = [first, last]
    if joined:
        yield joined[0], joined[1]
