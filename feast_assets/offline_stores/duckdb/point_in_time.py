"""The point-in-time join: which row of each view counts for each row of the spine, then the features of these rows.

Only keys and times take part in the search; the features are read by row id, for the rows that count. Views are
searched and read side by side, each by a connection of its own: a view of few row groups does not keep all cores busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa

from feast_assets.definitions.window import Bounds
from feast_assets.errors import SourceChangedError, SourceError
from feast_assets.offline_stores.as_of import NONE
from feast_assets.offline_stores.duckdb.as_of import Entities, Matches, entities_of, matches
from feast_assets.offline_stores.duckdb.engine import BATCH_ROWS
from feast_assets.offline_stores.duckdb.gather import Gathered, bytes_per_row, gather
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.duckdb.sections import sections_of
from feast_assets.offline_stores.files.changing_files import again, changed_error
from feast_assets.offline_stores.files.file_parts import file_change_tokens
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema

_T = TypeVar("_T")

_ROWS_SIDE_BY_SIDE = 2**20
"""Rows of a spine for which views are still read side by side."""
_BYTES_AT_ONCE = 2**30
"""About how much of the features is in memory at once, beside what DuckDB holds: of those that were read, which takes
several passes where they are more, and of those that are put beside the spine."""


def bounds_of(join: PointInTimeJoin, span: tuple[int, int] | None) -> Bounds:
    """Returns the event times that can count in a join.

    Args:
        span: the earliest and latest moment of the spine in UTC microseconds; None where it has none.
    """
    if span is None:
        return Bounds(0, 0)
    ttl = join.ttl_micros
    return Bounds(None if ttl is None else span[0] - ttl, span[1] + 1)


@dataclass(frozen=True, slots=True)
class Opened:
    """The rows of a view that can count, with row ids, and the connection that reads them and no other view's."""

    cursor: duckdb.DuckDBPyConnection
    rows: Rows


def joined(
    spine: Spine,
    joins: Sequence[PointInTimeJoin],
    open_rows: Callable[[PointInTimeJoin], Opened],
    filter_by_created: bool,
    side_by_side: int,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Returns the columns and the rows of the join.

    Args:
        open_rows: gives the rows of a join's history.
        side_by_side: how many views are read at once, at most.
    """
    schema = joined_schema(joins)
    times = spine.times
    before = [again(lambda is_last: [open_rows(join) for join in joins])]
    # What is held of a view while it is searched grows with the spine.
    at_once = min(side_by_side, len(joins)) if spine.num_rows <= _ROWS_SIDE_BY_SIDE else 1

    def parts(opened: Sequence[Opened], is_last: bool) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(pa.cpu_count()) as pool, ThreadPoolExecutor(at_once) as views:
            matched = _matched(spine, times, joins, opened, filter_by_created, pool, views, is_last)
            yield from _features(spine.num_rows, schema, matched, pool, views)

    def begun(is_last: bool) -> tuple[pa.RecordBatch | None, Iterator[pa.RecordBatch]]:
        opened = before.pop() if before else [open_rows(join) for join in joins]
        files = _state(opened)
        try:
            rest = parts(opened, is_last)
            return next(rest, None), rest
        except (duckdb.Error, pa.ArrowException, OSError, SourceError) as error:
            changed = next((each.rows.table for each in opened if each.rows.table.has_changed()), None)
            if changed is None and _state(opened) != files:
                changed = opened[0].rows.table
            if changed is None or isinstance(error, SourceChangedError):
                raise
            # A writer has exchanged files between the listing and the reading.
            raise changed_error(changed.subject) from error

    def batches() -> Iterator[pa.RecordBatch]:
        first, rest = again(begun)
        if first is not None:
            yield first
        yield from rest

    return schema, batches()


@dataclass(frozen=True, slots=True)
class _Matched:
    """The rows of one view that count.

    Attributes:
        opened: the rows that can count.
        matches: which count, for each row of the spine.
        state: of the files that they were found in.
        is_last: whether they cannot be looked for again.
    """

    opened: Opened
    matches: Matches
    state: list[str]
    is_last: bool


def _matched(
    spine: Spine,
    times: pa.ChunkedArray,
    joins: Sequence[PointInTimeJoin],
    opened: Sequence[Opened],
    filter_by_created: bool,
    pool: Executor,
    views: Executor,
    is_last: bool,
) -> list[_Matched]:
    """Returns the rows of each view that count.

    Args:
        times: int64; the spine's moments in UTC microseconds.
    """
    entities: dict[tuple[str, ...], Entities] = {}
    for join in joins:
        by = tuple(join.key_columns)
        if by not in entities:
            entities[by] = entities_of([spine.table.column(name) for name in by], times, pool)
    span = spine.span()

    def match(number: int) -> _Matched:
        join, of_join = joins[number], opened[number]
        rows = of_join.rows
        state = file_change_tokens(rows.table.paths)
        if rows.row_id:
            sections = sections_of(rows, bounds_of(join, span))
            first = 0 if span is None else span[0]
            of_entities = entities[tuple(join.key_columns)]
            those = matches(of_join.cursor, sections, of_entities, first, join.ttl_micros, filter_by_created, pool)
        else:
            those = Matches(np.zeros(0, np.int64), np.full(spine.num_rows, NONE, np.int64))
        return _Matched(of_join, those, state, is_last)

    return _side_by_side(match, len(joins), views)


def _side_by_side(read: Callable[[int], _T], count: int, views: Executor) -> list[_T]:
    """Returns what a function reads of each view, by number.

    Where several queries at once need more memory than the limit allows, they run one after the other.
    """
    reading = [views.submit(read, number) for number in range(count)]
    wait(reading)
    results: list[_T] = []
    for number, each in enumerate(reading):
        try:
            results.append(each.result())
        except duckdb.OutOfMemoryException:
            results.append(read(number))
    return results


def _state(opened: Sequence[Opened]) -> list[str]:
    return [text for each in opened for text in file_change_tokens(each.rows.table.paths)]


def _features(
    count: int, schema: pa.Schema, matched: Sequence[_Matched], pool: Executor, views: Executor
) -> Iterator[pa.RecordBatch]:
    """Yields the features of the rows that count, in the order of the spine's rows, of which there are ``count``."""
    at_once = max(int(_BYTES_AT_ONCE / sum(bytes_per_row(each.opened.rows) for each in matched)), BATCH_ROWS)
    is_small = sum(len(each.matches.ids) * bytes_per_row(each.opened.rows) for each in matched) <= _BYTES_AT_ONCE
    size = count if is_small else at_once
    for start in range(0, count, max(size, 1)):
        gathered = _side_by_side(partial(_gathered, matched, start, size), len(matched), views)
        end = min(start + size, count)
        # Each column in as few pieces as memory allows, as every piece reads the column from all over.
        piece = max(min(at_once, int(_BYTES_AT_ONCE / sum(each.widest for each in gathered))), 1)
        for at in range(start, end, piece):
            yield from _piece(min(piece, end - at), schema, gathered, at - start, pool)


def _piece(
    count: int, schema: pa.Schema, gathered: Sequence[Gathered], start: int, pool: Executor
) -> Iterator[pa.RecordBatch]:
    """Yields the features of some of the spine's rows, which are in memory all at once."""
    columns = [column for each in gathered for column in each.take(start, count, pool)]
    for first in range(0, count, BATCH_ROWS):
        size = min(BATCH_ROWS, count - first)
        yield pa.record_batch([column.slice(first, size) for column in columns], schema=schema)


def _gathered(matched: Sequence[_Matched], start: int, size: int, number: int) -> Gathered:
    """Returns the features of one of the views for some of the spine's rows."""
    view = matched[number]
    rows, those = view.opened.rows, view.matches
    gathered = gather(view.opened.cursor, rows, those.ids, those.indices[start : start + size])
    if file_change_tokens(rows.table.paths) != view.state:
        # What the files hold now is better; but what was read is right as well, if it is of one state.
        is_fixed = view.is_last or start > 0
        if not (is_fixed and rows.table.is_one_state()):
            raise changed_error(rows.table.subject)
    return gathered
