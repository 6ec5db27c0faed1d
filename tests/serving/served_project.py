"""A feature repository on disk whose features are served."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets import FeatureStore

DEFINITIONS = """
from feast_assets import *
from feast_assets.on_demand_feature_view import on_demand_feature_view

driver = Entity(name="driver", join_keys=["driver_id"])
source = FileSource(name="history", path="history", timestamp_field="ts")
live = PushSource(name="live", batch_source=source)
stats = FeatureView(
    name="stats",
    entities=[driver],
    source=live,
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64),
        Field(name="rate", dtype=Float64),
        Field(name="city", dtype=String),
    ],
)

@on_demand_feature_view(
    sources=[stats, RequestSource(name="asked", schema=[Field(name="bonus", dtype=Float64)])],
    schema=[Field(name="total", dtype=Float64)],
    mode="python",
)
def totals(inputs):
    return {"total": [None if rate is None else rate + bonus for rate, bonus in zip(inputs["rate"], inputs["bonus"])]}

service = FeatureService(name="service", features=[stats[["trips", "rate"]], totals])
"""
SCHEMA = pa.schema(
    [
        ("driver_id", pa.int64()),
        ("trips", pa.int64()),
        ("rate", pa.float64()),
        ("city", pa.string()),
        ("ts", pa.timestamp("us", "UTC")),
    ]
)
DRIVERS = 10_000
EVENT_MICROS = 1_704_067_200_000_000
"""2024-01-01, UTC: when driver 0 has its row; each next one a second later."""
READ = "/get-online-features"


def made(root: Path, *, online_store: str = "{type: sqlite, path: online.db}", registry: str = "registry.db") -> Path:
    """Writes the repository, applies it and materializes all drivers: driver n has n trips."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "feature_store.yaml").write_text(
        f"project: served\nregistry: {registry}\nonline_store: {online_store}\n", encoding="utf-8"
    )
    (root / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    (root / "history").mkdir()
    numbers = range(DRIVERS)
    rows = {
        "driver_id": list(numbers),
        "trips": list(numbers),
        "rate": [number / 2 for number in numbers],
        "city": [f"city {number % 7}" for number in numbers],
        "ts": [EVENT_MICROS + 1_000_000 * number for number in numbers],
    }
    pq.write_table(pa.table(rows, SCHEMA), root / "history" / "first.parquet")
    store = FeatureStore(root)
    store.apply_repository()
    from datetime import UTC, datetime

    store.materialize(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    store.close()
    return root


def asked(*drivers: int, features: tuple[str, ...] = ("trips",)) -> dict[str, object]:
    """Returns the body of a request for features of some drivers."""
    return {"features": [f"stats:{name}" for name in features], "entities": {"driver_id": list(drivers)}}
