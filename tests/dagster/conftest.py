"""A small feature repository on disk, with every kind of view that Dagster shows."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from taxi_rides import rides

from feast_assets import FeatureStore

CONFIG = """
    project: taxi
    registry: {registry_type: sql, path: data/registry.db}
    online_store: {type: sqlite, path: data/online.db}
    offline_store: {type: duckdb}
"""

DEFINITIONS = """
    from datetime import UTC, datetime, timedelta

    from feast_assets import (
        BatchFeatureView, Entity, FeatureView, Field, FileSource, Float64, Int64, Partitions, String, ValueType,
        batch_feature_view,
    )

    NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)

    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    rides = FileSource(
        name="rides",
        path="data/rides.parquet",
        timestamp_field="finished_at",
        description="Finished rides.",
        owner="ops@example.com",
    )
    vehicles = FileSource(name="vehicles", path="data/vehicles.parquet", timestamp_field="finished_at")
    kept_totals = FileSource(name="kept_totals", path="data/kept_totals", timestamp_field="finished_at")

    ride = FeatureView(
        name="ride",
        description="The last ride.",
        entities=[driver],
        source=rides,
        ttl=timedelta(0),
        schema=[
            Field(name="fare", dtype=Float64, description="Dollars.", tags={"unit": "usd"}),
            Field(name="minutes", dtype=Int64),
        ],
        partitions=Partitions("daily", start=NEW_YEAR),
        tags={"domain": "rides", "sla": "1 day", "dagster/group": "ride features"},
        owner="team:rides",
    )

    @batch_feature_view(
        mode="sql",
        entities=[driver],
        source=rides,
        sink_source=kept_totals,
        offline=True,
        schema=[Field(name="rides", dtype=Int64), Field(name="fares", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
        owner="the rides people",
    )
    def ride_totals(rides):
        day = "date_trunc('day', finished_at) AS finished_at"
        return f"SELECT driver_id, {day}, count(*) AS rides, sum(fare) AS fares FROM {rides} GROUP BY ALL"

    vehicle = FeatureView(
        name="vehicle",
        entities=[driver],
        source=vehicles,
        schema=[Field(name="plate", dtype=String)],
        partitions=None,
    )

    hourly_ride = FeatureView(
        name="hourly_ride",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("hourly", start=NEW_YEAR),
    )

    archived_ride = FeatureView(
        name="archived_ride",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
        online=False,
    )
"""

UNDATED = """

    undated_ride = FeatureView(
        name="undated_ride", entities=[driver], source=rides, schema=[Field(name="fare", dtype=Float64)]
    )
"""


@pytest.fixture
def write_repository(tmp_path: Path) -> Callable[..., Path]:
    """Writes the repository, with further definitions at the end, and returns its directory."""

    def write(more: str = "", config: str = CONFIG) -> Path:
        root = tmp_path / "taxi_repo"
        (root / "data").mkdir(parents=True, exist_ok=True)
        (root / "feature_store.yaml").write_text(textwrap.dedent(config))
        (root / "taxi_features.py").write_text(textwrap.dedent(DEFINITIONS) + textwrap.dedent(more))
        rides().to_parquet(root / "data" / "rides.parquet", index=False)
        vehicles = pd.DataFrame(
            {
                "driver_id": [1, 2, 3],
                "plate": ["A1", "B2", "C3"],
                "finished_at": pd.to_datetime(["2020-01-01"] * 3, utc=True),
            }
        )
        vehicles.astype({"finished_at": "datetime64[us, UTC]"}).to_parquet(
            root / "data" / "vehicles.parquet", index=False
        )
        return root

    return write


@pytest.fixture
def repository_root(write_repository: Callable[..., Path]) -> Path:
    """The small repository, not applied."""
    return write_repository()


@pytest.fixture
def applied_root(repository_root: Path) -> Path:
    """The small repository, applied."""
    FeatureStore(repository_root).apply_repository()
    return repository_root


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
