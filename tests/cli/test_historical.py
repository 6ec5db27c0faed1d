from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

FEATURES = ("-f", "driver_stats:trips_today", "-f", "driver_stats:vehicle")


def _moments(repo: Path) -> list[datetime]:
    rows = parquet.read_table(repo / "data" / "driver_stats.parquet")["event_timestamp"].to_pylist()
    return [max(rows) - timedelta(hours=h, minutes=-20) for h in (30, 6)]


def _expected(repo: Path, driver: int, moment: datetime) -> dict:
    rows = parquet.read_table(repo / "data" / "driver_stats.parquet").to_pylist(maps_as_pydicts="strict")
    known = [r for r in rows if r["driver_id"] == driver and r["event_timestamp"] <= moment]
    return max(known, key=lambda r: r["event_timestamp"])


def _read(run, repo: Path, *arguments: str) -> list[dict]:
    return json.loads(run("-c", str(repo), "get-historical-features", *arguments).stdout)


def _check(repo: Path, records: list[dict], moments: list[datetime]) -> None:
    assert [r["driver_id"] for r in records] == [1003, 1001]
    for record, moment in zip(records, moments, strict=True):
        expected = _expected(repo, record["driver_id"], moment)
        assert datetime.fromisoformat(record["event_timestamp"]) == moment
        assert record["trips_today"] == expected["trips_today"]
        assert record["vehicle"] == expected["vehicle"]


def test_rows_as_json_come_back_with_features_as_of_their_time(run, served_repo: Path) -> None:
    moments = _moments(served_repo)
    rows = [
        {"driver_id": driver, "event_timestamp": moment.isoformat(), "outcome": outcome}
        for driver, moment, outcome in zip((1003, 1001), moments, ("won", None), strict=True)
    ]
    records = _read(run, served_repo, "-d", json.dumps(rows), *FEATURES)
    _check(served_repo, records, moments)
    assert [r["outcome"] for r in records] == ["won", None]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_from_a_file(run, served_repo: Path, tmp_path: Path, suffix) -> None:
    moments = _moments(served_repo)
    rows = pa.table({"driver_id": [1003, 1001], "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC"))})
    path = tmp_path / f"rows.{suffix}"
    (csv.write_csv if suffix == "csv" else parquet.write_table)(rows, path)
    _check(served_repo, _read(run, served_repo, "--entity-df", str(path), *FEATURES), moments)


def test_naive_dates_are_utc(run, served_repo: Path) -> None:
    (moment, _) = _moments(served_repo)
    naive, aware = (
        _read(run, served_repo, "-d", json.dumps([{"driver_id": 1002, "event_timestamp": text}]), *FEATURES)
        for text in (moment.replace(tzinfo=None).isoformat(), moment.astimezone(UTC).isoformat())
    )
    assert naive == aware


def test_a_feature_service_and_request_fields(run, served_repo: Path) -> None:
    (moment, _) = _moments(served_repo)
    row = {"driver_id": 1002, "event_timestamp": moment.isoformat(), "distance_km": 10, "surge": 2}
    (record,) = _read(run, served_repo, "-d", json.dumps([row]), "--service", "trip_pricing_v1")
    assert record["fare"] == pytest.approx(43.0)


def test_without_rows_every_entity_as_of_the_end(run, served_repo: Path) -> None:
    (moment, _) = _moments(served_repo)
    records = _read(
        run, served_repo, "--start-date", (moment - timedelta(hours=5)).isoformat(), "-e", moment.isoformat(), *FEATURES
    )
    assert {r["driver_id"] for r in records} == {1001, 1002, 1003, 1004, 1005}
    for record in records:
        assert record["trips_today"] == _expected(served_repo, record["driver_id"], moment)["trips_today"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[", "-d is not JSON"),
        ("{}", "a JSON list of objects"),
        ('[{"driver_id": 1, "event_timestamp": "soon"}]', "'soon' is not a date in ISO 8601"),
        ('[{"driver_id": "x", "event_timestamp": "2026-01-31"}]', "driver_id"),
        ('[{"driver_id": 1}]', "datetime"),
        ('[{"event_timestamp": "2026-01-31"}]', "driver_id"),
        ('[{"driver_id": 1, "event_timestamp": "2026-01-31", "x": [1, "a"]}]', "are not of one type"),
    ],
)
def test_rows_that_cannot_be_used_are_one_line(run, served_repo: Path, rows, message) -> None:
    result = run("-c", str(served_repo), "get-historical-features", "-d", rows, *FEATURES, exit_code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "text", ["driver_id,event_timestamp\n1001,soon\n", "driver_id,event_timestamp\nx,2026-01-31\n"]
)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(run, served_repo: Path, tmp_path: Path, text) -> None:
    (tmp_path / "rows.csv").write_text(text)
    result = run(
        *("-c", str(served_repo), "get-historical-features", "--entity-df", str(tmp_path / "rows.csv"), *FEATURES),
        exit_code=1,
    )
    assert len(result.stderr.splitlines()) == 1
    assert "rows.csv" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "[]"], "either -f"),
        (["-f", "a:b"], "Give entity rows"),
        (["-f", "a:b", "-d", "[]", "-e", "2026-01-01"], "Give entity rows"),
        (["-f", "a:b", "-e", "soon"], "ISO 8601"),
        (["-f", "a:b", "--entity-df", "nowhere.csv"], "does not exist"),
    ],
)
def test_wrong_usage(run, arguments, message) -> None:
    assert message in run("get-historical-features", *arguments, exit_code=2).stderr
