"""The point-in-time join: which row of each view counts for each row of the spine, then the features of these rows.

Only the spine's keys and times take part. Its columns are put beside the result, so their types and values stay exactly
as they came; the features are read by row id for the rows that were found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.definitions.window import LONGEST_MICROS, Bounds, duration_micros
from feast_assets.errors import (
    EntityDFNotDateTime,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    InputError,
    SourceChangedError,
    SourceError,
    suggest,
)
from feast_assets.offline_stores.as_of import NONE
from feast_assets.offline_stores.base import PointInTimeJoin
from feast_assets.offline_stores.duckdb.as_of import Entities, Matches, entities_of, matches
from feast_assets.offline_stores.duckdb.engine import BATCH_ROWS
from feast_assets.offline_stores.duckdb.gather import Found, bytes_per_row, gather
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.files.changing_files import again, changed_error
from feast_assets.offline_stores.files.source_files import state_of
from feast_assets.types.arrow import TIMESTAMP, cast_column, to_arrow_type, whole_column
from feast_assets.types.exact_keys import cast_key_column
from feast_assets.types.feast_type import FeastType, UnixTimestamp
from feast_assets.types.names import repeated_names

DEFAULT_TIME_COLUMN = "event_timestamp"

_BYTES_AT_ONCE = 2**30
"""About how much of the features is in memory at once, beside what DuckDB holds: of those that were read, which takes
several passes where they are more, and of those that are put beside the spine."""


@dataclass(frozen=True, slots=True)
class Spine:
    """The rows to join to.

    Attributes:
        table: as it came, but for the time column, which is ``timestamp[us, UTC]``.
        times: microseconds since the epoch.
        first, last: the earliest and latest of them; None where all are null.
    """

    table: pa.Table
    times: pa.ChunkedArray
    first: int | None
    last: int | None

    def bounds(self, join: PointInTimeJoin) -> Bounds:
        """Returns the event times that can count in a join."""
        if self.first is None or self.last is None:
            return Bounds(0, 0)
        ttl = ttl_micros(join)
        return Bounds(None if ttl is None else self.first - ttl, self.last + 1)


def ttl_micros(join: PointInTimeJoin) -> int | None:
    """Returns a join's ttl in microseconds, or None for no bound."""
    ttl = duration_micros(join.ttl) if join.ttl is not None else 0
    return ttl if 0 < ttl < LONGEST_MICROS else None


def read_spine(table: pa.Table, timestamp_column: str | None) -> Spine:
    """Returns rows as a spine, with the time column found and converted.

    Raises:
        InputError: its subclasses say what: no time column, one that holds no times.
    """
    repeated = repeated_names(table.column_names)
    if repeated:
        raise InputError(f"The entity dataframe has two columns named {repeated[0]!r}.")
    name = _time_column(table.schema, timestamp_column)
    index = table.schema.get_field_index(name)
    if not (_is_time(table.schema.field(index).type) or pa.types.is_null(table.schema.field(index).type)):
        raise EntityDFNotDateTime(
            f"The entity dataframe's column {name!r} holds {table.schema.field(index).type}, not timestamps. "
            "Convert it, for instance by pandas.to_datetime(..., utc=True)."
        )
    times = cast_spine_column(table, name, UnixTimestamp)
    table = table.set_column(index, pa.field(name, TIMESTAMP), times).replace_schema_metadata(None)
    span = pc.min_max(times.cast(pa.int64())).as_py()
    return Spine(table.unify_dictionaries(), times.cast(pa.int64()), span["min"], span["max"])


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _time_column(schema: pa.Schema, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in schema.names:
            raise FeastEntityDFMissingColumnsError(
                f"The entity dataframe has no time column {wanted!r}. {suggest(wanted, schema.names)}"
            )
        return wanted
    if DEFAULT_TIME_COLUMN in schema.names:
        return DEFAULT_TIME_COLUMN
    times: list[str] = [f.name for f in schema if _is_time(f.type)]
    if len(times) != 1:
        found = f"it has {len(times)}: {', '.join(times)}" if times else "it has none"
        raise EntityTimestampInferenceException(
            f"The entity dataframe needs a column {DEFAULT_TIME_COLUMN!r}, or exactly one timestamp column; {found}."
        )
    return times[0]


def cast_spine_column(
    table: pa.Table, name: str, dtype: FeastType, cast: Callable[..., Any] = cast_column
) -> pa.ChunkedArray:
    """Returns a column of the spine in canonical form.

    Args:
        cast: `cast_column`, or `cast_key_column` for a join key.

    Raises:
        InputError: the spine lacks it, or it holds other values.
    """
    if name not in table.column_names:
        raise FeastEntityDFMissingColumnsError(
            f"The entity dataframe has no column {name!r}. {suggest(name, table.column_names)}"
        )
    try:
        return cast(table.column(name), dtype, what=f"The entity dataframe's column {name!r}")
    except SourceError as error:
        raise InputError(str(error)) from error


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
    schema = _output_schema(spine.table.schema, joins)
    opened = again(lambda is_last: [rows_for(join) for join in joins])
    keys = _spine_keys(spine, joins)
    before = [opened]

    def parts(opened: Sequence[Rows], is_last: bool) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(pa.cpu_count()) as pool:
            found = _found(cursor, spine, keys, joins, opened, filter_by_created, pool, is_last)
            yield from _beside(cursor, spine.table, schema, found, pool)

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
            raise changed_error(changed.what) from error

    def batches() -> Iterator[pa.RecordBatch]:
        first, rest = again(begun)
        if first is not None:
            yield first
        yield from rest

    return schema, batches() if any(rows.features for rows in opened) else iter(spine.table.to_batches())


def _spine_keys(spine: Spine, joins: Sequence[PointInTimeJoin]) -> dict[tuple[str, FeastType], pa.ChunkedArray]:
    """Returns the spine's columns that joins join by, in canonical form; a column may be wanted as several types."""
    wanted = {(join.join_keys.get(k.name, k.name), k.dtype) for join in joins for k in join.history.join_keys}
    return {
        (column, dtype): cast_spine_column(spine.table, column, dtype, cast_key_column)
        for column, dtype in sorted(wanted, key=str)
    }


@dataclass(frozen=True, slots=True)
class _Found:
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


def _found(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    keys_of: Mapping[tuple[str, FeastType], pa.ChunkedArray],
    joins: Sequence[PointInTimeJoin],
    opened: Sequence[Rows],
    filter_by_created: bool,
    pool: Executor,
    is_last: bool,
) -> list[_Found]:
    """Returns what is found of the views with features."""
    entities: dict[tuple[tuple[str, FeastType], ...], Entities] = {}
    found: list[_Found] = []
    for join, rows in zip(joins, opened, strict=True):
        if not rows.features:
            continue
        by = tuple((join.join_keys.get(k.name, k.name), k.dtype) for k in join.history.join_keys)
        if by not in entities:
            entities[by] = entities_of(cursor, [keys_of[key] for key in by], spine.times, pool)
        state = state_of(rows.table.paths)
        if rows.row_id:
            those = matches(cursor, rows, entities[by], ttl_micros(join), filter_by_created, pool)
        else:
            those = Matches(np.zeros(0, np.int64), np.full(spine.table.num_rows, NONE, np.int64))
        found.append(_Found(rows, those, state, is_last))
    return found


def _state(read: Sequence[Rows]) -> list[str]:
    return [text for rows in read for text in state_of(rows.table.paths)]


def _output_schema(spine: pa.Schema, joins: Sequence[PointInTimeJoin]) -> pa.Schema:
    fields: Mapping[str, pa.Field] = {f.name: f for f in spine}
    added: list[pa.Field] = []
    names = set(fields)
    for join in joins:
        for feature in join.history.features:
            name = join.columns.get(feature.name, feature.name)
            if name in names:
                raise InputError(
                    f"Feature {feature.name!r} of view {join.history.view!r} would be a second column {name!r}. "
                    "Use full feature names, or rename the entity dataframe's column."
                )
            names.add(name)
            added.append(pa.field(name, to_arrow_type(feature.dtype)))
    return pa.schema([*spine, *added])


def _beside(
    cursor: duckdb.DuckDBPyConnection, spine: pa.Table, schema: pa.Schema, found: Sequence[_Found], pool: Executor
) -> Iterator[pa.RecordBatch]:
    """Yields the spine's rows with the features of the rows that were found for them."""
    at_once = max(int(_BYTES_AT_ONCE / sum(bytes_per_row(each.rows) for each in found)), BATCH_ROWS)
    is_small = sum(len(each.matches.ids) * bytes_per_row(each.rows) for each in found) <= _BYTES_AT_ONCE
    size = spine.num_rows if is_small else at_once
    for start in range(0, spine.num_rows, max(size, 1)):
        gathered = [_gathered(cursor, each, start, size) for each in found]
        end = min(start + size, spine.num_rows)
        # Each column in as few pieces as memory allows, as every piece reads the column from all over.
        piece = max(min(at_once, int(_BYTES_AT_ONCE / sum(each.widest for each in gathered))), 1)
        for at in range(start, end, piece):
            yield from _piece(spine.slice(at, min(piece, end - at)), schema, gathered, at - start, pool)


def _piece(
    spine: pa.Table, schema: pa.Schema, gathered: Sequence[Found], start: int, pool: Executor
) -> Iterator[pa.RecordBatch]:
    """Yields some of the spine's rows with their features, which are in memory all at once."""
    added = [column for each in gathered for column in each.take(start, spine.num_rows, pool)]
    for place in range(0, spine.num_rows, BATCH_ROWS):
        rows = spine.slice(place, BATCH_ROWS)
        columns = [*map(whole_column, rows.columns), *(c.slice(place, rows.num_rows) for c in added)]
        yield pa.record_batch(columns, schema=schema)


def _gathered(cursor: duckdb.DuckDBPyConnection, found: _Found, start: int, size: int) -> Found:
    gathered = gather(cursor, found.rows, found.matches.ids, found.matches.places[start : start + size])
    if state_of(found.rows.table.paths) != found.state:
        # What the files hold now is better; but what was read is right as well, if it is of one state.
        is_fixed = found.is_last or start > 0
        if not (is_fixed and found.rows.table.is_one_state()):
            raise changed_error(found.rows.table.what)
    return gathered
