"""A small project over one Parquet file, with the stores that are embedded."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int64,
    Partitions,
    RepoConfig,
    String,
)

DRIVER = Entity(name="driver", join_keys=["driver_id"])
START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("driver_id", pa.int64()),
        ("trips", pa.int64()),
        ("city", pa.string()),
        ("ts", pa.timestamp("us", "UTC")),
    ]
)
CREATED_SCHEMA = SCHEMA.append(pa.field("created", pa.timestamp("us", "UTC")))


def hours(count: float) -> datetime:
    """Returns the moment this many hours after the start."""
    return START + timedelta(hours=count)


def _trips(stats):
    return f"SELECT driver_id, ts, trips FROM {stats}"


class SmallProject:
    """Source rows in a file, and a store over them."""

    def __init__(self, root: Path, *, created: bool = False, online_store: Any = "sqlite"):
        self.root = root
        self.created = created
        self.path = root / "stats.parquet"
        self.store = FeatureStore(
            root,
            RepoConfig(project="small", registry="registry.db", provider="local", online_store=online_store),
        )

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Makes the source hold just these rows."""
        schema = CREATED_SCHEMA if self.created else SCHEMA
        temporary = self.path.with_suffix(".writing")
        pq.write_table(pa.Table.from_pylist(rows, schema), temporary)
        os.replace(temporary, self.path)

    def view(self, **changes: Any) -> FeatureView:
        return FeatureView(
            **{
                "name": "stats",
                "entities": [DRIVER],
                "source": FileSource(
                    name="stats_file",
                    path="stats.parquet",
                    timestamp_field="ts",
                    created_timestamp_column="created" if self.created else None,
                ),
                "schema": [
                    Field(name="driver_id", dtype=Int64),
                    Field(name="trips", dtype=Int64),
                    Field(name="city", dtype=String),
                ],
                "partitions": Partitions("daily", START),
                **changes,
            }
        )

    def keeping_view(self, **changes: Any) -> BatchFeatureView:
        """Returns a view whose result, the drivers' trips as they are, is kept beside the source."""
        return BatchFeatureView(
            **{
                "name": "kept_view",
                "mode": "sql",
                "source": self.view().batch_source,
                "sink_source": FileSource(name="kept", path="kept", timestamp_field="ts"),
                "offline": True,
                "online": True,
                "entities": [DRIVER],
                "schema": [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
                "udf": _trips,
                "partitions": Partitions("daily", START),
                **changes,
            }
        )

    def apply(self, **changes: Any) -> None:
        self.store.apply([DRIVER, self.view(**changes)])

    def online(self, *features: str, drivers: Any = range(6)) -> dict[str, list[Any]]:
        names = features or ("trips", "city")
        response = self.store.get_online_features([f"stats:{n}" for n in names], {"driver_id": list(drivers)}).to_dict()
        return {n: response[n] for n in names}

    def trips(self, drivers: Any = range(6)) -> list[int | None]:
        return self.online("trips", drivers=drivers)["trips"]

    def close(self) -> None:
        self.store.close()


def row(driver: int, hour: float, trips: int | None, city: str | None = "x", **more: Any) -> dict[str, Any]:
    return {"driver_id": driver, "ts": hours(hour), "trips": trips, "city": city, **more}
