"""Running the point-in-time join of the plan: the spine is staged, and the features found are put in its order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from feast_assets.definitions.window import Bounds
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema
from feast_assets.offline_stores.sql import plan
from feast_assets.offline_stores.sql.engine import SqlEngine, blaming
from feast_assets.offline_stores.sql.relation import FIRST_MICROSECOND
from feast_assets.offline_stores.sql.rows import SqlRows
from feast_assets.types.arrow import TIMESTAMP, to_arrow_type, whole_column
from feast_assets.types.arrow_values import int64_array


def joined(
    engine: SqlEngine,
    spine: Spine,
    joins: Sequence[PointInTimeJoin],
    opened: Sequence[SqlRows],
    filter_by_created_timestamp: bool,
) -> pa.RecordBatch:
    """Returns the features of all joins for each row of a spine.

    Args:
        opened: the rows of each join's history.
    """
    schema = joined_schema(joins)
    if spine.span() is None:
        return pa.record_batch([pa.nulls(spine.num_rows, column.type) for column in schema], schema=schema)
    columns: list[pa.Array] = []
    with engine.stage(_staged(spine, joins)) as name:
        for join, rows in zip(joins, opened, strict=True):
            ttl = join.ttl_micros
            statement = plan.point_in_time(
                rows,
                name,
                [_key(column) for column in join.key_columns],
                "" if ttl is None else _oldest(ttl),
                [bounds_of(spine, join)],
                known_only=filter_by_created_timestamp and bool(rows.relation.created),
            )
            with blaming(rows.relation.error, f"{rows.relation.subject} cannot be read"):
                matched = engine.query(rows.relation.render(statement)).read_all()
            columns += _in_order(matched, rows, spine.num_rows)
    return pa.record_batch(columns, schema=schema)


def bounds_of(spine: Spine, join: PointInTimeJoin) -> Bounds:
    """Returns the event times that can count in a join."""
    span = spine.span()
    if span is None:
        return Bounds(0, 0)
    ttl = join.ttl_micros
    return Bounds(None if ttl is None else span[0] - ttl, span[1] + 1)


def _staged(spine: Spine, joins: Sequence[PointInTimeJoin]) -> pa.Table:
    """Returns what is staged of a spine: number and moment of each row, its join keys, and oldest times that count."""
    times = whole_column(spine.times)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "n": int64_array(np.arange(spine.num_rows)),
        "t": times.cast(TIMESTAMP),
    }
    for join in joins:
        columns |= {_key(name): spine.table.column(name) for name in join.key_columns}
        if join.ttl_micros is not None:
            micros = times.fill_null(0).to_numpy(zero_copy_only=False) - join.ttl_micros
            oldest = int64_array(np.maximum(micros, FIRST_MICROSECOND))
            columns[_oldest(join.ttl_micros)] = oldest.cast(TIMESTAMP)
    return pa.table(columns)


def _key(column: str) -> str:
    return f"k_{column}"


def _oldest(ttl: int) -> str:
    return f"oldest_{ttl}"


def _in_order(matched: pa.Table, rows: SqlRows, count: int) -> list[pa.Array]:
    """Returns the features that were found in the order of the spine, null where nothing was."""
    positions = np.full(count, -1, np.int64)
    positions[matched.column("n").to_numpy()] = np.arange(matched.num_rows)
    indices = pa.array(positions, mask=positions < 0)
    taken = []
    for name, feature in zip(rows.features, rows.history.features, strict=True):
        if not matched.num_rows:
            taken.append(pa.nulls(count, to_arrow_type(feature.dtype)))
            continue
        taken.append(whole_column(rows.cast(matched.column(name), feature).take(indices)))
    return taken
