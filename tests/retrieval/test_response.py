"""Online responses in every form."""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from drivers import DAY, DRIVER, NOW, PROFILE, STATS, WEATHER, snapshot, sums

from feast_assets import Bytes, FeatureView, Field, Float64, Int64

ADA = {"driver_id": 1, "ts": NOW - DAY, "trips": 5, "rate": 0.5, "city": "Rome"}
SINCE = datetime(2020, 2, 29, 1, 2, 3, 456789, tzinfo=UTC)
FULL = {
    "driver_id": 1,
    "ts": NOW - DAY - timedelta(microseconds=1),
    "city": "Rome",
    "active": True,
    "since": SINCE,
    "badges": ["a", None],
    "extra": '{"k":[1,2]}',
}
PROFILE_FEATURES = ["profile:city", "profile:active", "profile:since", "profile:badges", "profile:extra"]


def test_values_are_python_values(project):
    project.put(PROFILE, FULL)
    response = project.read(PROFILE_FEATURES, {"driver_id": [1, 2]})
    assert response.to_dict() == {
        "driver_id": [1, 2],
        "city": ["Rome", None],
        "active": [True, None],
        "since": [SINCE, None],
        "badges": [["a", None], None],
        "extra": [{"k": [1, 2]}, None],
    }


def test_event_times_are_whole_seconds_beside_each_column(project):
    project.put(STATS, ADA)
    found = project.read(["stats:trips"], {"driver_id": [1, 2]}).to_dict(include_event_timestamps=True)
    assert found == {
        "driver_id": [1, 2],
        "driver_id__ts": [0, 0],
        "trips": [5, None],
        "trips__ts": [int((NOW - DAY).timestamp()), 0],
    }


def test_arrow_has_canonical_types(project):
    project.put(PROFILE, FULL)
    table = project.read(PROFILE_FEATURES, {"driver_id": [1, 2]}).to_arrow(include_event_timestamps=True)
    assert {n: str(t) for n, t in zip(table.schema.names, table.schema.types, strict=True) if "__ts" not in n} == {
        "driver_id": "int64",
        "city": "string",
        "active": "bool",
        "since": "timestamp[us, tz=UTC]",
        "badges": "list<item: string>",
        "extra": "string",
    }
    assert table["city__ts"].to_pylist() == [int((NOW - DAY).timestamp()) - 1, 0]
    assert table["since"].to_pylist() == [SINCE, None]


def test_a_data_frame_has_the_values_of_the_dict(project):
    project.put(STATS, ADA, {**ADA, "driver_id": 2})
    project.put(PROFILE, FULL)
    frame = project.read(["stats:trips", "profile:since", "profile:extra"], {"driver_id": [1, 2]}).to_df()
    assert list(frame.columns) == ["driver_id", "trips", "since", "extra"]
    assert (str(frame["driver_id"].dtype), str(frame["trips"].dtype)) == ("int64", "Int64")
    assert str(frame["since"].dtype) == "datetime64[us, UTC]"
    assert frame["extra"].tolist() == [{"k": [1, 2]}, None]
    with_times = project.read(["stats:trips"], {"driver_id": [1, 3]}).to_df(include_event_timestamps=True)
    assert list(with_times.columns) == ["driver_id", "driver_id__ts", "trips", "trips__ts"]
    assert str(with_times["trips"].dtype) == "Int64"


def test_computed_columns_are_in_every_form(project):
    project.put(STATS, ADA)
    for mode in ("pandas", "python"):
        response = project.read(["sums:total"], [{"driver_id": 1, "bonus": 1, "asked": NOW}], snapshot(sums(mode=mode)))
        assert response.to_arrow().schema.field("total").type == pa.int64()
        assert response.to_arrow()["driver_id"].to_pylist() == [1]
        assert response.to_df()["total"].tolist() == [6]
        assert response.to_json()["results"][-1]["event_timestamps"] == ["1970-01-01T00:00:00Z"]


def test_json_has_the_shape_that_feast_clients_read(project):
    project.put(STATS, ADA)
    response = project.read(["stats:trips", "stats:city"], {"driver_id": [1, 2]})
    never = "1970-01-01T00:00:00Z"
    assert response.to_json() == {
        "metadata": {"feature_names": ["driver_id", "trips", "city"]},
        "results": [
            {"values": [1, 2], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": [never, never]},
            {
                "values": [5, None],
                "statuses": ["PRESENT", "NOT_FOUND"],
                "event_timestamps": ["2024-06-09T12:00:00Z", never],
            },
            {
                "values": ["Rome", None],
                "statuses": ["PRESENT", "NOT_FOUND"],
                "event_timestamps": ["2024-06-09T12:00:00Z", never],
            },
        ],
    }


def test_json_says_what_json_cannot_hold(project):
    odd = FeatureView(
        name="odd",
        entities=[DRIVER],
        source=STATS.batch_source,
        schema=[
            Field(name="driver_id", dtype=Int64),
            Field(name="number", dtype=Float64),
            Field(name="raw", dtype=Bytes),
        ],
    )
    values = [1.5, math.nan, math.inf, -math.inf, None]
    rows = [
        {"driver_id": n, "ts": NOW - timedelta(microseconds=500), "number": v, "raw": b"\xff"}
        for n, v in enumerate(values)
    ]
    project.put(odd, *rows)
    project.put(PROFILE, {**FULL, "driver_id": 0})
    answer = project.read(["odd:number", "odd:raw", "profile:since"], {"driver_id": list(range(5))}, snapshot(odd))
    _, number, raw, since = json.loads(json.dumps(answer.to_json(), allow_nan=False))["results"]
    assert number["values"] == [1.5, "NaN", "Infinity", "-Infinity", None]
    assert number["statuses"] == ["PRESENT"] * 4 + ["NULL_VALUE"]
    assert raw["values"] == [base64.b64encode(b"\xff").decode()] * 5
    assert since["values"] == [1582938123, None, None, None, None]
    assert number["event_timestamps"] == ["2024-06-10T11:59:59.999500Z"] * 5
    finite = project.read(["odd:number"], {"driver_id": [0, 4]}, snapshot(odd)).to_json()["results"][1]
    assert finite["values"] == [1.5, None]


def test_finite_numbers_whose_sum_is_not_stay_numbers(project):
    project.put(STATS, *[{**ADA, "driver_id": n, "rate": 1.7e308} for n in range(3)])
    assert project.read(["stats:rate"], {"driver_id": [0, 1, 2]}).to_json()["results"][1]["values"] == [1.7e308] * 3


def test_the_dummy_key_is_never_shown(project):
    project.put(WEATHER, {"ts": NOW, "temperature": 1.5})
    response = project.read(["weather:temperature"], [{}])
    assert response.feature_names == ["temperature"]
    assert "__dummy_id" not in json.dumps(response.to_json())
    assert response.to_df().to_dict("list") == {"temperature": [1.5]}


def test_a_response_may_be_read_again(project):
    project.put(STATS, {**ADA, "ts": NOW - 8 * DAY})
    response = project.read(["stats:trips"], {"driver_id": [1, 2]})
    first = response.to_dict()
    first["trips"][0] = first["driver_id"][0] = 99
    assert response.to_dict() == {"driver_id": [1, 2], "trips": [None, None]}


@pytest.mark.parametrize("name", ["asyncio", "duckdb", "numpy", "pandas", "pyarrow", "sqlalchemy"])
def test_serving_loads_nothing_heavy(name):
    script = (
        "import sys, feast_assets.retrieval.online, feast_assets.online_stores.sqlite.store\n"
        f"sys.exit({name!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
