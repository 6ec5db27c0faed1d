"""A definition's hash differs if materialized rows may differ, and only then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from feast_assets import (
    Automation,
    BatchFeatureView,
    Checks,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Freshness,
    Partitions,
    PushSource,
)
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.spec import Spec
from feast_assets.types import Float64, Int32, Int64

DRIVER = Entity(name="driver", join_keys=["driver_id"])
KEY = Field(name="driver_id", dtype=Int64)
TRIPS = Field(name="trips", dtype=Int64)
RATING = Field(name="rating", dtype=Float64)


def source(**changes: Any) -> FileSource:
    given = {"name": "file", "path": "file.parquet", "timestamp_field": "at", "created_timestamp_column": "written"}
    return FileSource(**{**given, **changes})


def view(**changes: Any) -> FeatureView:
    given = {"name": "stats", "entities": [DRIVER], "source": source(), "schema": [KEY, TRIPS, RATING]}
    return FeatureView(**{**given, **changes})


def doubled(rows):
    # A comment.
    return {**rows, "trips": [2 * trips for trips in rows["trips"]]}


def doubled_in_another_layout(rows):
    return {
        **rows,
        "trips": [2 * trips for trips in rows["trips"]],
    }


def tripled(rows):
    return {**rows, "trips": [3 * trips for trips in rows["trips"]]}


def computed(**changes: Any) -> BatchFeatureView:
    given = {
        "name": "stats",
        "entities": [DRIVER],
        "source": source(),
        "schema": [KEY, TRIPS],
        "udf": doubled,
        "mode": "python",
    }
    return BatchFeatureView(**{**given, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "Other words."},
        {"tags": {"team": "rides"}},
        {"owner": "somebody@example.com"},
        {"name": "statistics"},
        {"ttl": timedelta(days=1)},
        {"partitions": Partitions("hourly", datetime(2024, 1, 1, tzinfo=UTC))},
        {"automation": Automation.on_late_data()},
        {"freshness": Freshness.within(timedelta(days=1))},
        {"online": False},
        {"enabled": False},
        {"enable_validation": False},
        {"schema": [KEY, Field(name="trips", dtype=Int64, description="How many.", tags={"a": "b"}), RATING]},
        {"schema": [KEY, Field(name="trips", dtype=Int64, checks=Checks(minimum=0)), RATING]},
        {"schema": [TRIPS, RATING, KEY]},
        {"source": source(description="Other words.", owner="somebody", tags={"a": "b"})},
        {"source": source(name="another_name")},
        {"source": PushSource(name="live", batch_source=source())},
    ],
    ids=str,
)
def test_the_hash_stays_where_the_rows_do(changes: dict[str, Any]) -> None:
    assert definition_hash(view(**changes)) == definition_hash(view())


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": [KEY, TRIPS]},
        {"schema": [KEY, Field(name="trips", dtype=Int32), RATING]},
        {"schema": [KEY, Field(name="trips_today", dtype=Int64), RATING]},
        {"schema": [Field(name="driver_id", dtype=Int32), TRIPS, RATING]},
        {"entities": [Entity(name="car", join_keys=["trips"])]},
        {"source": source(path="other.parquet")},
        {"source": source(timestamp_field="finished")},
        {"source": source(created_timestamp_column="")},
        {"source": source(field_mapping={"n": "trips"})},
        {"source": source(date_partition_column="dt", date_partition_slack=timedelta(0))},
    ],
    ids=str,
)
def test_the_hash_changes_with_what_decides_the_rows(changes: dict[str, Any]) -> None:
    assert definition_hash(view(**changes)) != definition_hash(view())


@pytest.mark.parametrize(
    "changes",
    [
        {"udf": tripled},
        {"lookback": timedelta(hours=1)},
        {"source": [source(), source(name="second", path="second.parquet")]},
        {"sink_source": source(name="kept", path="kept"), "offline": True},
    ],
    ids=["function", "lookback", "sources", "sink"],
)
def test_the_hash_changes_with_a_transformation(changes: dict[str, Any]) -> None:
    assert definition_hash(computed(**changes)) != definition_hash(computed())


def test_comments_and_layout_of_a_function_do_not_count() -> None:
    text = "def f(rows):\n    return {'trips': rows['trips']}\n"
    commented = "def f(rows):\n    # A comment.\n    return {\n        'trips': rows['trips'],\n    }\n"
    assert definition_hash(computed(udf_string=text)) == definition_hash(computed(udf_string=commented))


def test_the_stored_form_of_a_view_keeps_its_hash() -> None:
    for declared in (view(), computed(), view(source=PushSource(name="live", batch_source=source()))):
        read = Spec.from_spec(declared.to_spec())
        assert isinstance(read, FeatureView)
        assert definition_hash(read) == definition_hash(declared)
