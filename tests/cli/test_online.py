from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet


def _newest(repo: Path, driver: int) -> dict:
    rows = parquet.read_table(repo / "data" / "driver_stats.parquet").to_pylist(maps_as_pydicts="strict")
    return max((r for r in rows if r["driver_id"] == driver), key=lambda r: r["event_timestamp"])


def _read(run, repo: Path, *arguments: str) -> dict:
    return json.loads(run("-c", str(repo), "get-online-features", *arguments).stdout)


def test_values_come_by_feature_reference_one_per_entity(run, served_repo: Path) -> None:
    found = _read(
        run,
        served_repo,
        *("-e", "driver_id=1001", "-e", "driver_id=1004"),
        *("-f", "driver_stats:trips_today", "-f", "driver_stats:vehicle", "-f", "driver_stats:profile"),
    )
    newest = [_newest(served_repo, d) for d in (1001, 1004)]
    assert found == {
        "driver_id": [1001, 1004],
        "trips_today": [r["trips_today"] for r in newest],
        "vehicle": [r["vehicle"] for r in newest],
        "profile": [r["profile"] for r in newest],
    }


def test_a_feature_service_takes_request_fields_too(run, served_repo: Path) -> None:
    found = _read(
        run, served_repo, "-s", "trip_pricing_v1", "-e", "driver_id=1002", "-e", "distance_km=10", "-e", "surge=2"
    )
    assert found["fare"] == [pytest.approx((3.5 + 18.0) * 2)]
    assert found["trips_today"] == [_newest(served_repo, 1002)["trips_today"]]


def test_an_unknown_entity_is_null(run, served_repo: Path) -> None:
    assert _read(run, served_repo, "-e", "driver_id=7", "-f", "driver_stats:rating")["rating"] == [None]


def test_full_feature_names(run, served_repo: Path) -> None:
    found = _read(run, served_repo, "-e", "driver_id=1001", "-f", "driver_stats:rating", "--full-feature-names")
    assert list(found) == ["driver_id", "driver_stats__rating"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-e", "driver_id=ten", "-f", "driver_stats:rating"], "'driver_id' is of type Int64; write a whole number"),
        (["-e", "driver_id=1", "-f", "driver_stat:rating"], "Did you mean 'driver_stats'?"),
        (["-e", "driver_id=1", "-f", "driver_stats:ratings"], "Did you mean 'rating'?"),
        (["-e", "driver_id=1", "-s", "trip_pricing"], "Did you mean 'trip_pricing_v"),
        (["-e", "customer=1", "-f", "driver_stats:rating"], "driver_id"),
        (["-e", "driver_id=1", "-f", "fare_estimate:fare"], "distance_km"),
    ],
)
def test_what_cannot_be_read_is_one_line(run, served_repo: Path, arguments, message) -> None:
    result = run("-c", str(served_repo), "get-online-features", *arguments, exit_code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "a:b"], "Missing option"),
        (["-e", "driver_id=1"], "either -f VIEW:FEATURE"),
        (["-e", "driver_id=1", "-f", "a:b", "-s", "c"], "either -f VIEW:FEATURE"),
        (["-e", "driver_id", "-f", "a:b"], "'driver_id' is not KEY=VALUE"),
        (["-e", "=1", "-f", "a:b"], "is not KEY=VALUE"),
    ],
)
def test_wrong_usage(run, arguments, message) -> None:
    assert message in run("get-online-features", *arguments, exit_code=2).stderr


def test_a_text_key_stays_text(run, repo: Path) -> None:
    definitions = repo / "feature_definitions.py"
    for file in (repo / "data").glob("*.parquet"):
        table = parquet.read_table(file)
        keys = pa.array([f"00{d}" for d in table["driver_id"].to_pylist()], pa.string())
        parquet.write_table(table.set_column(table.column_names.index("driver_id"), "driver_id", keys), file)
    definitions.write_text(definitions.read_text().replace("ValueType.INT64", "ValueType.STRING"))
    run("-c", str(repo), "apply")
    run("-c", str(repo), "materialize", "--disable-event-timestamp")
    found = _read(run, repo, "-e", "driver_id=001001", "-f", "driver_stats:rating")
    assert found["driver_id"] == ["001001"]
    assert found["rating"][0] is not None


def test_statuses_say_why_a_value_is_null(run, served_repo: Path) -> None:
    keys = ("-e", "driver_id=1001", "-e", "driver_id=7")
    found = _read(run, served_repo, *keys, "-f", "driver_stats:rating", "--statuses")
    assert found["values"]["rating"][1] is None
    assert found["statuses"] == {"driver_id": ["PRESENT", "PRESENT"], "rating": ["PRESENT", "NOT_FOUND"]}
