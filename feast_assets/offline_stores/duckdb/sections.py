"""The rows of a history in sections of time, each read from the files alone that may hold some of it.

Files say by their footers which times they hold, and folders by their names where a source declares how far its event
times may lie from the day of a folder. Files that say nothing are read for every section.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_assets.definitions.window import Bounds
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.files import SourceTable
from feast_assets.offline_stores.duckdb.rows import Rows, TableSection, rows_of
from feast_assets.offline_stores.files.date_folders import event_times_of
from feast_assets.offline_stores.files.parquet_footers import footer_of
from feast_assets.offline_stores.newest_first import RowGroups, cuts

if TYPE_CHECKING:
    import duckdb

LEAST_ROWS = 2**16
"""Rows of a section; to read fewer costs as much, as a query costs something by itself."""
_EARLIEST, _LATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class RowSections:
    """Rows of a history that can be read in sections.

    Attributes:
        rows: all of them.
        bounds: of their event times.
        groups: the row groups that they are in; None where rows can only be read all together.
    """

    rows: Rows
    bounds: Bounds
    groups: RowGroups | None

    def newest_first(self, cursor: duckdb.DuckDBPyConnection, first: int) -> Iterator[tuple[int | None, Rows]]:
        """Yields the rows in sections, newest first, each with its earliest moment in UTC microseconds; None for no
        bound.

        Args:
            first: the earliest moment that is looked for; the first section holds all rows from then on.
        """
        moments = [] if self.groups is None else cuts(self.groups, first, LEAST_ROWS)
        end = self.bounds.end
        for start in [*moments, self.bounds.start]:
            yield start, self.between(cursor, start, end)
            end = start

    def between(self, cursor: duckdb.DuckDBPyConnection, start: int | None, end: int | None) -> Rows:
        """Returns the rows from a moment on and before another, in UTC microseconds; None for no bound. Where rows can
        only be read all together, more may be among them."""
        if self.groups is None:
            return self.rows
        table = self.rows.table
        those = self.groups.overlapping(_EARLIEST if start is None else start, _LATEST if end is None else end)
        numbers = np.unique(those.files)
        paths = table.files[0].readable
        files = None if len(numbers) == len(paths) else tuple(paths[number] for number in numbers)
        return rows_of(cursor, self.rows.history, table, self.bounds, TableSection(Bounds(start, end), files))


def sections_of(rows: Rows, bounds: Bounds) -> RowSections:
    """Returns rows with event times in the bounds such that they can be read in sections, if their files allow it."""
    table = rows.table
    groups = None
    if rows.has_places and len(table.files) == 1 and pa.types.is_temporal(table.schema.field(table.timestamp).type):
        groups = _row_groups(rows.history, table)
    if groups is not None:
        groups = groups.overlapping(
            _EARLIEST if bounds.start is None else bounds.start, _LATEST if bounds.end is None else bounds.end
        )
    return RowSections(rows, bounds, groups)


def _row_groups(history: History, table: SourceTable) -> RowGroups | None:
    """Returns the row groups of a table's files; None where a footer cannot be read, or no file has event times."""
    (source,) = history.sources
    column, partition = source.timestamp_field, source.date_partition_column
    groups: list[tuple[int, int, int, int]] = []
    try:
        for number, (path, name) in enumerate(zip(table.paths, table.files[0].readable, strict=True)):
            footer = footer_of(name)
            if not footer.has_column(column):
                return None
            earliest, latest = _EARLIEST, _LATEST
            if partition and table.date_partition_slack is not None and not footer.has_column(partition):
                by_folder = event_times_of(path, partition, table.date_partition_slack)
                earliest, latest = by_folder or (earliest, latest)
            for rows, oldest, newest in footer.row_groups(column):
                oldest, newest = earliest if oldest is None else oldest, latest if newest is None else newest
                groups.append((number, rows, oldest, newest))
    except (OSError, pa.ArrowException):
        return None  # the query says what is wrong with it
    return RowGroups(*np.array(groups, np.int64).T) if groups else None
