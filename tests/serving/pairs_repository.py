"""The definitions whose answers were recorded of Feast's server; FEAST stands for the package."""

from datetime import timedelta

import pandas as pd
from FEAST import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from FEAST.on_demand_feature_view import on_demand_feature_view
from FEAST.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

driver = Entity(name="driver", join_keys=["driver_id"])
source = FileSource(name="stats_file", path="stats.parquet", timestamp_field="event_timestamp")
live = PushSource(name="live", batch_source=source)
stats = FeatureView(
    name="stats",
    entities=[driver],
    ttl=timedelta(days=36500),
    source=live,
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64),
        Field(name="few", dtype=Int32),
        Field(name="rate", dtype=Float32),
        Field(name="exact", dtype=Float64),
        Field(name="city", dtype=String),
        Field(name="active", dtype=Bool),
        Field(name="since", dtype=UnixTimestamp),
        Field(name="marks", dtype=Array(Int64)),
        Field(name="shares", dtype=Array(Float64)),
        Field(name="words", dtype=Array(String)),
    ],
)
other_source = FileSource(name="other_file", path="other.parquet", timestamp_field="event_timestamp")
other = FeatureView(
    name="other",
    entities=[driver],
    ttl=timedelta(0),
    source=other_source,
    schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
)


@on_demand_feature_view(
    sources=[stats, RequestSource(name="asked", schema=[Field(name="bonus", dtype=Float64)])],
    schema=[Field(name="total", dtype=Float64)],
)
def totals(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"total": inputs["exact"] + inputs["bonus"]})


service = FeatureService(name="service", features=[stats[["trips", "city"]], totals])
