"""A project with an object of each kind, and rows, whose permissions the tests give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    Float64,
    Int64,
    LabelView,
    LoggingConfig,
    OnDemandFeatureView,
    PushSource,
    RepoConfig,
    SavedDatasetFileStorage,
)
from feast_assets.definitions.base import Definition
from feast_assets.definitions.permission import Permission

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)
MOMENT = datetime(2024, 1, 2, tzinfo=UTC)
ROWS = pa.table(
    {"id": pa.array([1, 2], pa.int64()), "fare": [1.5, 2.5], "at": pa.array([MOMENT] * 2, pa.timestamp("us", "UTC"))}
)
PUSHED = {"id": [3], "fare": [3.5], "at": [MOMENT]}
SCHEMA = [Field(name="id", dtype=Int64), Field(name="fare", dtype=Float64)]


def doubled(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"double": [None if fare is None else 2 * fare for fare in inputs["fare"]]}


def definitions() -> list[Definition]:
    rider = Entity(name="rider", join_keys=["id"])
    history = FileSource(name="history", path="history.parquet", timestamp_field="at")
    live = PushSource(name="live", batch_source=history)
    rides = FeatureView(name="rides", source=live, schema=SCHEMA, entities=[rider], tags={"team": "pricing"})
    users = FeatureView(name="users", source=history, schema=SCHEMA, entities=[rider], tags={"team": "fraud"})
    double = OnDemandFeatureView(
        name="double", sources=[rides], schema=[Field(name="double", dtype=Float64)], mode="python", udf=doubled
    )
    reviews = LabelView(name="reviews", source=history, schema=SCHEMA, entities=[rider])
    both = FeatureService(name="both", features=[rides, users])
    logging = LoggingConfig(destination=FileLoggingDestination(path="logs"))
    logged = FeatureService(name="logged", features=[rides], logging_config=logging)
    off = FeatureView(name="off", source=history, schema=SCHEMA, entities=[rider], enabled=False)
    return [rider, history, live, rides, users, double, reviews, both, logged, off]


def made(root: Path, permissions: Sequence[Permission] = ()) -> FeatureStore:
    """Makes the project, materialized, with a saved dataset, and with permissions at last."""
    pq.write_table(ROWS, root / "history.parquet")
    config = RepoConfig(project="guarded", registry="registry.db", online_store={"type": "sqlite", "path": "online.db"})
    store = FeatureStore(root, config)
    store.apply(definitions())
    store.materialize(START, END)
    job = store.get_historical_features(entities(), ["rides:fare"])
    store.create_saved_dataset(job, "training", SavedDatasetFileStorage("training.parquet"))
    if permissions:
        store.apply(permissions)
    return store


def entities() -> dict[str, list[Any]]:
    """Returns entity rows for history."""
    return {"id": [1, 2], "event_timestamp": [END, END]}
