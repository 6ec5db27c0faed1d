from datetime import UTC, datetime, timedelta

from feast_assets import BatchFeatureView, Entity, FeatureService, FeatureView, Field, FileSource, Partitions, PushSource
from feast_assets.types import Array, Bool, Float64, Int64, String, UnixTimestamp

driver = Entity(name="driver", join_keys=["driver_id"])
rows = FileSource(name="rows", path="data/trips.parquet", timestamp_field="at", created_timestamp_column="created")
pushed = FileSource(name="pushed", path="data/pushed.parquet", timestamp_field="at")
live = PushSource(name="live", batch_source=pushed)
days = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC))
trips = FeatureView(
    name="trips",
    entities=[driver],
    ttl=timedelta(days=36500),
    source=rows,
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="fare", dtype=Float64),
        Field(name="count", dtype=Int64),
        Field(name="city", dtype=String),
        Field(name="paid", dtype=Bool),
        Field(name="tags", dtype=Array(String)),
        Field(name="seen", dtype=UnixTimestamp),
    ],
    partitions=days,
)
rating = FeatureView(
    name="rating",
    entities=[driver],
    source=live,
    schema=[Field(name="driver_id", dtype=Int64), Field(name="stars", dtype=Int64)],
    partitions=days,
)


def total_of(rows: str) -> str:
    query = "SELECT driver_id, max(t.at) AS day, sum(fare) AS total FROM {} t GROUP BY driver_id, date_trunc('day', t.at)"
    return query.format(rows)


daily = BatchFeatureView(
    name="daily",
    entities=[driver],
    source=rows,
    sink_source=FileSource(name="daily_rows", path="data/daily", timestamp_field="day"),
    schema=[Field(name="driver_id", dtype=Int64), Field(name="total", dtype=Float64)],
    mode="sql",
    udf=total_of,
    partitions=days,
    offline=True,
    online=True,
)
model = FeatureService(name="model", features=[trips[["fare", "city"]], daily, rating])
