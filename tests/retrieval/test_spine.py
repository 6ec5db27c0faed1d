"""Entity rows are checked by the same rules, whatever they came as, and the store gets a spine that needs no more."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from drivers import snapshot, sums

from feast_assets.errors import (
    EntityDFNotDateTime,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    FeatureNameCollisionError,
    InputError,
    RequestDataNotFoundInEntityDfException,
)
from feast_assets.offline_stores.base import EVENT_TIMESTAMP
from feast_assets.retrieval.references import resolve
from feast_assets.retrieval.spine import checked_rows, with_time
from feast_assets.types import Int64, String
from feast_assets.types.arrow import TIMESTAMP

NOON = datetime(2024, 6, 3, 12, tzinfo=UTC)
TIMES = pa.array([NOON], pa.timestamp("us", "UTC"))


def checked(rows: dict, features=("stats:trips",), definitions=()):
    request = resolve(snapshot(*definitions), list(features), full_feature_names=False)
    return checked_rows(request, pa.table(rows))


def test_the_spine_has_the_time_and_each_key_in_each_type_and_no_name_of_a_user():
    rows = {
        "odd name": ["x"],
        "driver_id": pa.array([1], pa.int8()),
        "event_timestamp": TIMES,
        "customer_id": ["c"],
    }
    found = checked(rows, ["stats:trips", "orders:count", "stats:city"])
    assert found.spine.table.schema == pa.schema(
        {EVENT_TIMESTAMP: TIMESTAMP, "key_0": pa.int64(), "key_1": pa.string()}
    )
    assert found.keys == {("driver_id", Int64): "key_0", ("customer_id", String): "key_1"}
    assert found.spine.table.to_pylist() == [{EVENT_TIMESTAMP: NOON, "key_0": 1, "key_1": "c"}]
    # What was given stays as it was.
    assert found.table.schema.field("driver_id").type == pa.int8()
    assert found.table.column_names == list(rows)


def test_the_order_of_the_rows_stays():
    drivers = [3, None, 1, 3, 2]
    times = [datetime(2024, 6, 3, hour, tzinfo=UTC) for hour in (5, 1, 4, 2, 2)]
    found = checked({"driver_id": drivers, "event_timestamp": pa.array(times, TIMESTAMP)})
    assert found.spine.table["key_0"].to_pylist() == drivers
    assert found.spine.table[EVENT_TIMESTAMP].to_pylist() == times
    assert found.spine.span() == (int(times[1].timestamp() * 1e6), int(times[0].timestamp() * 1e6))


@pytest.mark.parametrize(
    ("column", "moment"),
    [
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), NOON),
        (pa.array([NOON], pa.timestamp("ms", "Europe/Paris")), NOON),
        (pa.array([date(2024, 6, 3)]), NOON.replace(hour=0)),
    ],
    ids=str,
)
def test_times_of_every_kind_are_utc(column, moment):
    table, name = with_time(pa.table({"when": column}))
    assert (name, table.schema.field("when").type, table["when"].to_pylist()) == ("when", TIMESTAMP, [moment])


def test_the_time_is_event_timestamp_else_the_only_datetime_else_the_only_date():
    days = pa.array([date(2024, 6, 3)])
    assert with_time(pa.table({"a": TIMES, "event_timestamp": TIMES, "b": TIMES}))[1] == "event_timestamp"
    assert with_time(pa.table({"day": days, "a": TIMES}))[1] == "a"
    assert with_time(pa.table({"n": [1], "day": days}))[1] == "day"
    for columns, message in (
        ({"n": [1]}, "no datetime column"),
        ({"a": TIMES, "b": TIMES, "day": days}, "several datetime columns, 'a', 'b'"),
        ({"x": days, "y": days}, "several datetime columns, 'x', 'y'"),
    ):
        with pytest.raises(EntityTimestampInferenceException, match=message):
            with_time(pa.table(columns))
    with pytest.raises(EntityDFNotDateTime, match="'event_timestamp'.*string"):
        with_time(pa.table({"event_timestamp": ["2024-06-03"], "a": TIMES}))


WRONG = [
    ({"driver_id": ["one"], "event_timestamp": TIMES}, InputError, r"'driver_id'.*Int64"),
    ({"driver_id": [1.5], "event_timestamp": TIMES}, InputError, r"'driver_id'.*1\.5"),
    ({"drivr_id": [1], "event_timestamp": TIMES}, FeastEntityDFMissingColumnsError, r"'driver_id'.*'drivr_id'"),
    ({"driver_id": [1], "event_timestamp": TIMES, "trips": [1]}, FeatureNameCollisionError, "'trips'"),
    ({"driver_id": [1], "event_timestamp": pa.array([None], TIMESTAMP)}, InputError, "has no time in 1 of 1 rows"),
    ({"driver_id": [1], "event_timestamp": ["soon"]}, EntityDFNotDateTime, "event_timestamp"),
    ({"driver_id": [1]}, EntityTimestampInferenceException, "no datetime column"),
]


@pytest.mark.parametrize(("rows", "error", "message"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_what_is_wrong_is_the_same_error_for_rows_and_for_a_query(project, tmp_path, rows, error, message):
    import pyarrow.parquet as pq

    with pytest.raises(error, match=message):
        checked(rows)
    pq.write_table(pa.table(rows), tmp_path / "asked.parquet")
    job = project.job("SELECT * FROM 'asked.parquet'", ["stats:trips"])
    with pytest.raises(error, match=message):
        job.to_arrow()


def test_inputs_of_functions_come_in_their_types():
    rows = {"driver_id": [1], "event_timestamp": TIMES, "bonus": pa.array([2], pa.int16()), "asked": TIMES}
    found = checked(rows, ["sums:total"], [sums()])
    assert found.inputs["bonus", Int64].type == pa.int64()
    del rows["bonus"]
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="'bonus'"):
        checked(rows, ["sums:total"], [sums()])
