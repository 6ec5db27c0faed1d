"""Statistics of windows: of given ones, or of those of a grid that have rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from sqlglot import exp

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Bounds, Window, hull
from feast_assets.offline_stores.base import History, Survey
from feast_assets.offline_stores.sql import plan
from feast_assets.offline_stores.sql.engine import SqlEngine, blaming
from feast_assets.offline_stores.sql.relation import FIRST_MICROSECOND, LAST_MICROSECOND, Relation, in_years
from feast_assets.offline_stores.sql.rows import SqlRows
from feast_assets.offline_stores.summary import Summary, statistics_of, whole_of

EDGES_AT_ONCE = 2_000
"""Edges of windows in one statement. Where there are more, each statement reads the rows between its own edges."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Rows that are to be described.

    Attributes:
        hashed: makes the statement of the rows in some bounds and their hashes; see `Relation.hashed`.
    """

    relation: Relation
    hashed: Callable[[Sequence[Bounds]], exp.Select]

    @classmethod
    def of(cls, history: History, relation: Relation) -> Surveyed:
        """Returns the rows of a history, or all rows and columns of a relation that a transformation reads."""
        if history.transformation is None and not history.all_columns:
            return cls(relation, SqlRows(history, relation).hashed)
        values = [relation.carried(relation.columns[name]) for name in sorted(relation.columns)]
        return cls(relation, lambda bounds: relation.hashed([value.copy() for value in values], (), bounds))


def survey_windows(
    engine: SqlEngine, inputs: Sequence[Surveyed], windows: Sequence[Window], lookback: timedelta
) -> Survey:
    """Returns the statistics of windows, in order; each begins so much earlier."""
    bounds = [in_years(Bounds.of(window, lookback)) for window in windows]
    summaries = [_of_bounds(engine, each, bounds) for each in inputs]
    seen = [statistics_of(window, [parts[i] for parts, _ in summaries]) for i, window in enumerate(windows)]
    return Survey(seen, sum(null_times for _, null_times in summaries))


def survey_grid(engine: SqlEngine, rows: Surveyed, grid: Partitions, span: Window) -> Survey:
    """Returns the statistics of those windows of a grid that have rows, cut to a span."""
    by_start: dict[datetime, Summary] = {}
    untimed = Summary()
    relation = rows.relation
    statement = plan.grid_statistics(relation.dialect, rows.hashed([Bounds.of(span)]), grid.grain)
    for cell, summary in _summaries(engine, relation, statement):
        start = None if cell is None else grid.floor(from_micros(cell))
        (untimed if start is None else by_start.setdefault(start, Summary())).add(summary)
    statistics = []
    for start in sorted(by_start):
        window = Window(max(start, span.start), min(grid.next(start), span.end))
        statistics.append(statistics_of(window, [by_start[start]]))
    return Survey(statistics, untimed.rows + untimed.null_keys)


def _of_bounds(engine: SqlEngine, rows: Surveyed, bounds: Sequence[Bounds]) -> tuple[list[Summary], int]:
    """Returns a summary of the rows in each of some bounds, and how many rows have no time."""
    edges = sorted({edge for each in bounds for edge in (each.start, each.end) if edge is not None})
    outer = hull(bounds)
    # Cell 0 is what lies before all edges, cell i begins with edge i - 1.
    cells: dict[int, Summary] = {}
    untimed = Summary()
    relation = rows.relation
    for first in range(0, max(len(edges), 1), EDGES_AT_ONCE):
        some, rest = edges[first : first + EDGES_AT_ONCE], edges[first + EDGES_AT_ONCE :]
        between = Bounds(some[0] if first else outer.start, rest[0] if rest else outer.end)
        statement = plan.statistics(relation.dialect, rows.hashed([between]), some)
        untimed = Summary()
        for cell, summary in _summaries(engine, relation, statement):
            (untimed if cell is None else cells.setdefault(first + cell, Summary())).add(summary)
    if not relation.timestamp:
        # What has no time at all goes whole into every window.
        return [untimed] * len(bounds), 0
    position = {edge: i for i, edge in enumerate(edges, 1)}
    summaries = []
    for each in bounds:
        start = 0 if each.start is None else position[each.start]
        end = len(edges) + 1 if each.end is None else position[each.end]
        summaries.append(whole_of([cells[cell] for cell in range(start, end) if cell in cells]))
    return summaries, untimed.rows + untimed.null_keys


def _summary(row: dict[str, Any]) -> Summary:
    """Returns the summary that a row of `plan.statistics` is, its times in microseconds."""
    if row["keyless"]:
        return Summary(null_keys=row["n"])
    return Summary(row["n"], row["oldest"], row["newest"], row["created"], int(row["total"]), int(row["mix"]))


def _summaries(engine: SqlEngine, relation: Relation, statement: exp.Select) -> Iterator[tuple[int | None, Summary]]:
    """Yields cells and what is said of their rows; a cell that is a moment is told in microseconds."""
    with blaming(relation.error, f"{relation.subject} cannot be read"):
        cell_rows = engine.query(relation.render(statement)).read_all()
    for i, column in enumerate(cell_rows.schema):
        if pa.types.is_timestamp(column.type):
            micros = cell_rows.column(i).cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
            cell_rows = cell_rows.set_column(i, column.name, micros)
    for row in cell_rows.to_pylist():
        for name, ends in ((relation.timestamp, (row["oldest"], row["newest"])), (relation.created, (row["created"],))):
            if any(end is not None and not FIRST_MICROSECOND <= end <= LAST_MICROSECOND for end in ends):
                raise relation.error(
                    f"{relation.subject}: column {name!r} holds a time outside of the years 1 to 9999, such as "
                    "infinity. Correct the rows, or leave them out by a query."
                )
        yield row["cell"], _summary(row)
