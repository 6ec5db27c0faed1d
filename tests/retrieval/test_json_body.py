"""The body of an answer says what its columns say, whichever way it is made."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from drivers import DAY, DRIVER, NOW, PROFILE, STATS, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets import Bool, FeatureView, Field, Float32, Float64, Int32, Int64
from feast_assets.retrieval import json_body as json_body_module
from feast_assets.retrieval.json_body import compact_json, json_body
from feast_assets.retrieval.response import STATUS_NAMES
from feast_assets.types.feast_json import feast_json_converter, timestamp_texts

ADA = {"driver_id": 1, "ts": NOW - DAY, "trips": 5, "rate": 0.5, "city": "Rome"}
FULL = {
    "driver_id": 1,
    "ts": NOW - DAY - timedelta(microseconds=1),
    "city": "Rome",
    "active": True,
    "since": datetime(2020, 2, 29, 1, 2, 3, 456789, tzinfo=UTC),
    "badges": ["a", None],
    "extra": '{"k":[1,2]}',
}
NUMBERS = FeatureView(
    name="numbers",
    entities=[DRIVER],
    source=STATS.batch_source,
    ttl=timedelta(days=30),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="whole", dtype=Int64),
        Field(name="few", dtype=Int32),
        Field(name="share", dtype=Float64),
        Field(name="rough", dtype=Float32),
        Field(name="flag", dtype=Bool),
    ],
)


def column_by_column(response: Any) -> dict[str, Any]:
    """Returns what the body should say, the slow way."""
    results = []
    for column in response.columns:
        values = column.values.to_pylist()
        convert = feast_json_converter(column.values.type)
        times = column.event_timestamps or [0] * len(response)
        results.append(
            {
                "values": values if convert is None else convert(values),
                "statuses": [STATUS_NAMES[status] for status in column.statuses],
                "event_timestamps": timestamp_texts(times),
            }
        )
    return {"results": results, "metadata": {"feature_names": response.feature_names}}


def check(response: Any) -> None:
    expected = column_by_column(response)
    for encode in (msgspec.json.encode, compact_json):
        assert json.loads(json_body(response, encode)) == expected
    assert response.to_json() == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
            st.none() | st.booleans(),
            st.integers(0, 60 * 24 * 40),
        ),
        min_size=1,
        max_size=5,
    ),
    drivers=st.lists(st.integers(0, 6), max_size=8),
    names=st.lists(st.sampled_from(["whole", "few", "share", "rough", "flag"]), min_size=1, unique=True),
)
def test_numbers_of_every_kind(project: Any, rows: Any, drivers: list[int], names: list[str]) -> None:
    project.put(
        NUMBERS,
        *[
            {
                "driver_id": number,
                "ts": NOW - timedelta(minutes=age),
                "whole": whole,
                "few": 7,
                "share": share,
                "rough": 0.5,
                "flag": flag,
            }
            for number, (whole, share, flag, age) in enumerate(rows)
        ],
    )
    check(project.read([f"numbers:{name}" for name in names], {"driver_id": drivers}, snapshot(NUMBERS)))


def test_other_types_and_several_views(project: Any) -> None:
    project.put(STATS, ADA, {**ADA, "driver_id": 2, "city": None, "ts": NOW - 8 * DAY})
    project.put(PROFILE, FULL)
    features = [f"profile:{field.name}" for field in PROFILE.features]
    for drivers in ([1], [1, 2, 3, 1], []):
        check(project.read(["stats:rate", *features, "stats:trips"], {"driver_id": drivers}))


def test_parts_of_large_answers_are_not_remembered() -> None:
    before = json_body_module._remembered_present.cache_info().currsize
    for rows in range(50_000, 50_010):
        assert json_body_module._all_present(rows).count(b"PRESENT") == rows
        assert json_body_module._no_times(rows).count(b"1970") == rows
    assert json_body_module._remembered_present.cache_info().currsize == before
