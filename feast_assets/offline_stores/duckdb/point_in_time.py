"""The point-in-time join: which row of each view counts for each row of the spine, then the features of these rows.

Only keys and times take part in the search; the features are read by row id, for the rows that count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

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
from feast_assets.offline_stores.files.changing_files import again, changed_error
from feast_assets.offline_stores.files.file_parts import file_change_tokens
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema

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


def joined(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    joins: Sequence[PointInTimeJoin],
    rows_for: Callable[[PointInTimeJoin], Rows],
    filter_by_created: bool,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Returns the columns and the rows of the join.

    Args:
        rows_for: gives the rows of a join's history that can count, with row ids.
    """
    schema = joined_schema(joins)
    times = spine.times
    before = [again(lambda is_last: [rows_for(join) for join in joins])]

    def parts(opened: Sequence[Rows], is_last: bool) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(pa.cpu_count()) as pool:
            matched = _matched(cursor, spine, times, joins, opened, filter_by_created, pool, is_last)
            yield from _features(cursor, spine.num_rows, schema, matched, pool)

    def begun(is_last: bool) -> tuple[pa.RecordBatch | None, Iterator[pa.RecordBatch]]:
        opened = before.pop() if before else [rows_for(join) for join in joins]
        files = _state(opened)
        try:
            rest = parts(opened, is_last)
            return next(rest, None), rest
        except (duckdb.Error, pa.ArrowException, OSError, SourceError) as error:
            changed = next((rows.table for rows in opened if rows.table.has_changed()), None)
            if changed is None and _state(opened) != files:
                changed = opened[0].table
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
        matches: which, for each row of the spine.
        state: of the files that they were found in.
        is_last: whether they cannot be looked for again.
    """

    rows: Rows
    matches: Matches
    state: list[str]
    is_last: bool


def _matched(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    times: pa.ChunkedArray,
    joins: Sequence[PointInTimeJoin],
    opened: Sequence[Rows],
    filter_by_created: bool,
    pool: Executor,
    is_last: bool,
) -> list[_Matched]:
    """Returns the rows of each view that count.

    Args:
        times: int64; the spine's moments in UTC microseconds.
    """
    entities: dict[tuple[str, ...], Entities] = {}
    matched: list[_Matched] = []
    for join, rows in zip(joins, opened, strict=True):
        by = tuple(join.key_columns)
        if by not in entities:
            entities[by] = entities_of(cursor, [spine.table.column(name) for name in by], times, pool)
        state = file_change_tokens(rows.table.paths)
        if rows.row_id:
            those = matches(cursor, rows, entities[by], join.ttl_micros, filter_by_created, pool)
        else:
            those = Matches(np.zeros(0, np.int64), np.full(spine.num_rows, NONE, np.int64))
        matched.append(_Matched(rows, those, state, is_last))
    return matched


def _state(read: Sequence[Rows]) -> list[str]:
    return [text for rows in read for text in file_change_tokens(rows.table.paths)]


def _features(
    cursor: duckdb.DuckDBPyConnection, count: int, schema: pa.Schema, matched: Sequence[_Matched], pool: Executor
) -> Iterator[pa.RecordBatch]:
    """Yields the features of the rows that count, in the order of the spine's rows, of which there are ``count``."""
    at_once = max(int(_BYTES_AT_ONCE / sum(bytes_per_row(each.rows) for each in matched)), BATCH_ROWS)
    is_small = sum(len(each.matches.ids) * bytes_per_row(each.rows) for each in matched) <= _BYTES_AT_ONCE
    size = count if is_small else at_once
    for start in range(0, count, max(size, 1)):
        gathered = [_gathered(cursor, each, start, size) for each in matched]
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


def _gathered(cursor: duckdb.DuckDBPyConnection, matched: _Matched, start: int, size: int) -> Gathered:
    gathered = gather(cursor, matched.rows, matched.matches.ids, matched.matches.indices[start : start + size])
    if file_change_tokens(matched.rows.table.paths) != matched.state:
        # What the files hold now is better; but what was read is right as well, if it is of one state.
        is_fixed = matched.is_last or start > 0
        if not (is_fixed and matched.rows.table.is_one_state()):
            raise changed_error(matched.rows.table.subject)
    return gathered
