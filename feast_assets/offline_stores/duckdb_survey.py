"""Statistics of a history's windows: of given ones, and of those of a grid that have rows, found by grouping the rows.

A grid's windows are numbered, in SQL and in Python alike, so that rows are grouped by the window that they lie in, and
windows without rows are never made.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Grain, Partitions, Window
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.offline_stores.base import ALWAYS, History, Survey
from feast_assets.offline_stores.duckdb_files import SourceTable, open_source
from feast_assets.offline_stores.duckdb_rows import Bounds, declared_types, micros, rows_of
from feast_assets.offline_stores.duckdb_statistics import (
    Content,
    Summary,
    as_statistics,
    content_of,
    group,
    hull,
    summarize,
    summarize_input,
    summarize_untimed,
    whole_of,
)

if TYPE_CHECKING:
    import duckdb

_MANY_WINDOWS = 5_000
"""Where every window has rows, so many of them are looked at one by one."""

_FIRST, _LAST = to_micros(ALWAYS.start), to_micros(ALWAYS.end)
_DAY = timedelta(days=1) // timedelta(microseconds=1)
_WIDTHS: dict[Grain, int] = {"hourly": _DAY // 24, "daily": _DAY, "weekly": 7 * _DAY}


def survey_windows(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    root: Path,
    windows: Sequence[Window],
    tables: list[SourceTable],
) -> Survey:
    """Returns the statistics of windows, in their order; see `OfflineStore.survey`.

    Args:
        tables: what is opened is added to it, for messages.
    """
    bounds = [Bounds.of(w, history.lookback if history.transformation is not None else timedelta(0)) for w in windows]
    tables += _opened(cursor, history, root)
    if history.transformation is not None:
        found = [summarize_input(cursor, table, bounds) for table in tables]
    else:
        found = [summarize(cursor, _content(cursor, history, tables[0], hull(bounds)), bounds)]
    seen = [as_statistics(window, [parts[i] for parts, _ in found]) for i, window in enumerate(windows)]
    return Survey(seen, sum(null_times for _, null_times in found))


def survey_grid(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    root: Path,
    grid: Partitions,
    span: Window,
    tables: list[SourceTable],
) -> Survey:
    """Returns the statistics of those windows of a grid that have rows, cut to a span; see `OfflineStore.survey_grid`.

    Args:
        tables: what is opened is added to it, for messages.
    """
    if grid.end is not None:
        span = Window(span.start, min(span.end, grid.end))
    if span.start >= span.end:
        return Survey([])
    numbers = _Numbers(grid.grain, span)
    computed = history.transformation is not None
    lookback = micros(history.lookback) if computed else 0
    bounds = Bounds.of(span, history.lookback if computed else timedelta(0))
    tables += _opened(cursor, history, root)
    inputs: list[_Input] = []
    null_times = 0
    for table in tables:
        if computed and not table.known:
            inputs.append(_Input([]))
        elif computed and not table.timestamp:
            inputs.append(_Input([], summarize_untimed(cursor, table)))
        else:
            content = content_of(cursor, table, bounds) if computed else _content(cursor, history, table, bounds)
            reaching, without = numbers.grouped(cursor, content, lookback)
            inputs.append(_Input(reaching))
            null_times += without
    seen = [
        as_statistics(numbers.window(first, last), [each.upon(first) for each in inputs])
        for first, last in numbers.occupied(inputs)
    ]
    return Survey(seen, null_times)


def _opened(cursor: duckdb.DuckDBPyConnection, history: History, root: Path) -> list[SourceTable]:
    if history.transformation is not None:
        return [open_source(cursor, source, root) for source in history.sources]
    return [open_source(cursor, history.sources[0], root, declared_types(history))]


def _content(cursor: duckdb.DuckDBPyConnection, history: History, table: SourceTable, bounds: Bounds) -> Content:
    rows = rows_of(cursor, history, table, bounds)
    return Content(rows.with_nulls, [*rows.keys, *rows.features, "t", "c"], rows.keys)


@dataclass(frozen=True, slots=True)
class _Reaching:
    """Rows that count in all windows of some neighbouring numbers: with a lookback, also in later ones than their own.

    Attributes:
        first, last: the numbers, both included.
    """

    first: int
    last: int
    rows: Summary


class _Input:
    """What is read of one source.

    Args:
        reaching: what counts in some windows, by the first of them.
        always: what counts in every window.
    """

    def __init__(self, reaching: Sequence[_Reaching], always: Summary | None = None):
        self.reaching = reaching
        self.always = always
        self._upcoming = 0
        self._active: list[_Reaching] = []

    def upon(self, number: int) -> Summary:
        """Returns the summary of what counts in a window; asked for in order of the numbers."""
        if self.always is not None:
            return self.always
        while self._upcoming < len(self.reaching) and self.reaching[self._upcoming].first <= number:
            self._active.append(self.reaching[self._upcoming])
            self._upcoming += 1
        self._active = [each for each in self._active if each.last >= number]
        return whole_of([each.rows for each in self._active])


class _Numbers:
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
        self.first, self.last = self._number(to_micros(span.start)), self._number(self._end)

    def _number(self, moment: int) -> int:
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

    def grouped(
        self, cursor: duckdb.DuckDBPyConnection, content: Content, lookback: int
    ) -> tuple[list[_Reaching], int]:
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
        found, without = group(cursor, content, lambda sql: f"SELECT *, {columns} FROM ({sql})", names)
        reaching = [_Reaching(max(key[0], self.first), key[-1], rows) for key, rows in found.items()]
        return sorted(reaching, key=lambda each: each.first), without

    def occupied(self, inputs: Sequence[_Input]) -> Iterator[tuple[int, int]]:
        """Yields the first and last number of each window with rows, in order.

        Where a source without times counts in every window, all have rows; of very many, those before and after the
        timed rows are taken together.
        """
        reached = list(_joined((each.first, each.last) for one in inputs for each in one.reaching))
        if any(one.always is not None and one.always.rows for one in inputs):
            if self.last - self.first < _MANY_WINDOWS:
                reached = [(self.first, self.last)]
            elif not reached:
                yield self.first, self.last
                return
            else:
                begin, end = reached[0][0], reached[-1][1]
                reached = [(begin, end)]
                if self.first < begin:
                    yield self.first, begin - 1
                yield from ((number, number) for number in range(begin, end + 1))
                if end < self.last:
                    yield end + 1, self.last
                return
        for begin, end in reached:
            yield from ((number, number) for number in range(begin, end + 1))


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
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
