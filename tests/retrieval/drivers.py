"""A small project of drivers and customers, with stores over real files, that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets import (
    Array,
    Bool,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    Int64,
    Map,
    OnDemandFeatureView,
    RequestSource,
    String,
    UnixTimestamp,
)
from feast_assets.definitions.entity import DUMMY_FIELD
from feast_assets.definitions.spec import to_micros
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.base import EncodedRows
from feast_assets.online_stores.rows.codec import RowSchema, encode_rows
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.retrieval.historical import HistoricalRetrieval
from feast_assets.retrieval.online import plan_online
from feast_assets.types.arrow import to_arrow_type

PROJECT = "drivers"
NOW = datetime(2024, 6, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)

DRIVER = Entity(name="driver", join_keys=["driver_id"])
CUSTOMER = Entity(name="customer", join_keys=["customer_id"])

STATS = FeatureView(
    name="stats",
    entities=[DRIVER],
    ttl=7 * DAY,
    source=FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64),
        Field(name="rate", dtype=Float64),
        Field(name="city", dtype=String),
    ],
)
PROFILE = FeatureView(
    name="profile",
    entities=[DRIVER],
    source=FileSource(name="profile_file", path="profile.parquet", timestamp_field="ts"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="city", dtype=String),
        Field(name="active", dtype=Bool),
        Field(name="since", dtype=UnixTimestamp),
        Field(name="badges", dtype=Array(String)),
        Field(name="extra", dtype=Map),
    ],
)
ORDERS = FeatureView(
    name="orders",
    entities=[CUSTOMER, DRIVER],
    source=FileSource(name="orders_file", path="orders.parquet", timestamp_field="ts"),
    schema=[
        Field(name="customer_id", dtype=String),
        Field(name="driver_id", dtype=Int64),
        Field(name="count", dtype=Int64),
    ],
)
WEATHER = FeatureView(
    name="weather",
    source=FileSource(name="weather_file", path="weather.parquet", timestamp_field="ts"),
    schema=[Field(name="temperature", dtype=Float32)],
)
REQUEST = RequestSource(
    name="request", schema=[Field(name="bonus", dtype=Int64), Field(name="asked", dtype=UnixTimestamp)]
)


def _add_pandas(inputs):
    import pandas as pd

    out = pd.DataFrame()
    out["total"] = inputs["trips"] + inputs["bonus"]
    out["share"] = inputs["rate"] * 2
    return out


def _add_lists(inputs):
    return {
        "total": [None if t is None else t + b for t, b in zip(inputs["trips"], inputs["bonus"], strict=True)],
        "share": [None if r is None else r * 2 for r in inputs["rate"]],
    }


def _add_row(row):
    return {
        "total": None if row["trips"] is None else row["trips"] + row["bonus"],
        "share": None if row["rate"] is None else row["rate"] * 2,
    }


SUMS = [Field(name="total", dtype=Int64), Field(name="share", dtype=Float64)]


def sums(name: str = "sums", mode: str = "pandas", singleton: bool = False, **changes: Any) -> OnDemandFeatureView:
    """An on-demand view of stats and request data, in any mode."""
    udf = _add_pandas if mode == "pandas" else _add_row if singleton else _add_lists
    given = {"sources": [STATS, REQUEST], "schema": SUMS, "udf": udf, **changes}
    return OnDemandFeatureView(name=name, mode=mode, singleton=singleton, **given)


VIEWS = [STATS, PROFILE, ORDERS, WEATHER]


def snapshot(*more: Any, revision: int = 1, **changes: Any) -> RegistrySnapshot:
    """A registry of the views above and more; one of the same name stands in for its namesake."""
    objects = {o.name: o for o in [DRIVER, CUSTOMER, *VIEWS, *more]}
    return RegistrySnapshot.of(PROJECT, objects.values(), revision=revision, **changes)


def udf_of(view: OnDemandFeatureView) -> Any:
    return view.feature_transformation.udf


class Functions:
    """The functions that the views hold themselves, as they were declared."""

    of = staticmethod(udf_of)

    def attach(self, view: FeatureView) -> FeatureView:
        return view


def rows_of(view: FeatureView, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows with the view's columns and ``ts``, in canonical Arrow types."""
    fields = [f for f in [*view.entity_columns, *view.features] if f.name != DUMMY_FIELD.name]
    schema = pa.schema(
        [*[pa.field(f.name, to_arrow_type(f.dtype)) for f in fields], pa.field("ts", pa.timestamp("us", "UTC"))]
    )
    return pa.Table.from_pylist([dict(row) for row in rows], schema)


class CountingStore(SqliteOnlineStore):
    """SQLite that remembers what it was asked."""

    def __init__(self, root: Path):
        super().__init__(SqliteOnlineStoreConfig(), root)
        self.calls: list[list[Any]] = []

    def get_many(self, reads):
        self.calls.append(list(reads))
        return super().get_many(reads)


class Project:
    """The stores of one test, over files in its own folder."""

    def __init__(self, root: Path):
        self.root = root
        self.online = CountingStore(root)
        self.online.setup([])
        self.offline = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), root)
        for view in VIEWS:
            self.write(view, [])

    def put(self, view: FeatureView, *rows: Mapping[str, Any], schema_of: FeatureView | None = None) -> None:
        """Puts rows into the view's online table; ``ts`` is a row's time."""
        shape = schema_of or view
        table = rows_of(shape, rows)
        keys = sorted(view.entity_columns)
        payloads = encode_rows(
            RowSchema(tuple((f.name, f.dtype) for f in shape.features)), table.select([f.name for f in shape.features])
        )
        encoded = EncodedRows(
            encode_keys(
                [f.name for f in keys],
                [f.dtype for f in keys],
                [[row.get(f.name, "") for row in rows] for f in keys],
            ),
            np.array([to_micros(row["ts"]) for row in rows], np.int64),
            np.zeros(len(rows), np.int64),
            np.zeros(len(rows), np.int64),
            payloads,
        )
        self.online.put_many(view.online_table(PROJECT), [encoded])

    def write(self, view: FeatureView, rows: Sequence[Mapping[str, Any]]) -> None:
        """Makes the view's source hold just these rows."""
        pq.write_table(rows_of(view, rows), self.root / view.batch_source.path)

    def both(self, view: FeatureView, *rows: Mapping[str, Any]) -> None:
        """Puts rows into the view's source and online table."""
        self.write(view, rows)
        self.put(view, *rows)

    def plan(self, features: Any, registry: RegistrySnapshot | None = None, full_feature_names: bool = False) -> Any:
        return plan_online(
            registry or snapshot(),
            features,
            project=PROJECT,
            full_feature_names=full_feature_names,
            udf_of=udf_of,
        )

    def read(self, features: Any, entity_rows: Any, registry: RegistrySnapshot | None = None, **options: Any) -> Any:
        return self.plan(features, registry, **options).read(self.online, entity_rows, now=NOW)

    def job(self, entity_df: Any, features: Any, registry: RegistrySnapshot | None = None, **options: Any) -> Any:
        return self.retrieval(registry).job(entity_df, features, **options)

    def retrieval(self, registry: RegistrySnapshot | None = None) -> HistoricalRetrieval:
        return HistoricalRetrieval(registry or snapshot(), self.offline, Functions(), self.root)

    def close(self) -> None:
        self.online.close()


def service(name: str, *views: Any) -> FeatureService:
    return FeatureService(name=name, features=list(views))
