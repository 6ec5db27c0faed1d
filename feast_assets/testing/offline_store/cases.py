"""The rows that the suites of offline stores are about, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History, OfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.types import Float64, Int64, String
from feast_assets.types.exact_keys import cast_key_column

Put = Callable[[pa.Table], DataSource]

DAY = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
KEY = Field(name="driver", dtype=Int64)
FARE = Field(name="fare", dtype=Float64)
CITY = Field(name="city", dtype=String)


def hour(n: float) -> datetime:
    """Returns a moment ``n`` hours after the beginning of 2024."""
    return DAY + timedelta(hours=n)


def trips(rows: Sequence[tuple[object, ...]], created: bool = False) -> pa.Table:
    """Returns rows of (driver, event time, fare, city), and created time where asked for."""
    names = ["driver", "event_timestamp", "fare", "city", "created"][: 5 if created else 4]
    types = [pa.int64(), TIME, pa.float64(), pa.string(), TIME]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=False)})


def history(source: DataSource, **changes: Any) -> History:
    """Returns the history of a view with features fare and city in a source that `trips` filled."""
    base = History(
        view="trips",
        sources=(source,),
        join_keys=(KEY,),
        features=(FARE, CITY),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
    )
    return replace(base, **changes)


def spine(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    """Returns rows of (driver, time)."""
    drivers, times = zip(*rows, strict=True) if rows else ((), ())
    return pa.table({"driver": pa.array(drivers, pa.int64()), "event_timestamp": pa.array(times, TIME)})


def by_driver(reader: pa.RecordBatchReader) -> dict[Any, dict[str, Any]]:
    """Returns rows by driver; fails where one has two."""
    rows = reader.read_all().to_pylist()
    rows_by_driver = {row["driver"]: row for row in rows}
    assert len(rows_by_driver) == len(rows)
    return rows_by_driver


def joined(
    store: OfflineStore,
    rows: pa.Table,
    joins: Sequence[PointInTimeJoin],
    *,
    time_column: str = "event_timestamp",
    filter_by_created_timestamp: bool = False,
) -> pa.Table:
    """Returns rows with their features beside them, looked up by a spine such as `feast_assets.retrieval` makes."""
    columns = {EVENT_TIMESTAMP: rows.column(time_column).cast(TIME)}
    named = []
    for join in joins:
        keys = {}
        for key, column in zip(join.history.join_keys, join.key_columns, strict=True):
            keys[key.name] = f"key_{len(columns)}"
            columns[keys[key.name]] = cast_key_column(rows.column(column), key.dtype, subject=f"Column {column!r}")
        named.append(replace(join, join_keys=keys))
    reader = store.join(Spine(pa.table(columns)), named, filter_by_created_timestamp=filter_by_created_timestamp)
    features = reader.read_all()
    assert features.num_rows == rows.num_rows
    for field in features.schema:
        rows = rows.append_column(field, features.column(field.name))
    return rows


class StoreFixtures:
    """The fixtures that each suite needs; a backend's tests give them once."""

    @pytest.fixture
    def store(self) -> OfflineStore:
        """The store."""
        raise NotImplementedError

    @pytest.fixture
    def put(self, store: OfflineStore) -> Put:
        """A function that stores a table as a new source.

        Its ``timestamp_field`` is "event_timestamp"; its ``created_timestamp_column`` "created" where the table has
        that column.
        """
        raise NotImplementedError
