"""Staged rows hold what the package says, at times at which it was known. pandas works out what is expected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def raw_flights(staging: ModuleType) -> pd.DataFrame:
    return pd.read_csv(staging.package_data() / "flights.csv.zip")


@pytest.fixture(scope="module")
def raw_weather(staging: ModuleType) -> pd.DataFrame:
    return pd.read_csv(staging.package_data() / "weather.csv")


def _read(folder: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(file).to_pandas() for file in sorted(folder.glob("*.parquet"))], ignore_index=True)


@pytest.fixture(scope="module")
def flights(staged: Path) -> pd.DataFrame:
    return _read(staged / "flights")


def test_every_flight_is_there_once(flights: pd.DataFrame, raw_flights: pd.DataFrame) -> None:
    key = ["carrier", "flight", "origin", "dest"]
    assert len(flights) == len(raw_flights) == 336_776
    assert not flights.duplicated([*key, "scheduled_departure"]).any()
    pd.testing.assert_series_equal(
        flights[key].value_counts().sort_index(), raw_flights[key].value_counts().sort_index(), check_dtype=False
    )


def test_departures_fall_on_the_wall_clock_times_that_the_package_gives(
    flights: pd.DataFrame, raw_flights: pd.DataFrame
) -> None:
    # The package's dep_time is a local clock reading, which staging does not use: they must agree.
    left = flights[~flights["cancelled"]]
    local = left["known_at"].dt.tz_convert("America/New_York")
    seen = pd.DataFrame({"carrier": left["carrier"], "flight": left["flight"], "origin": left["origin"]})
    scheduled = left["scheduled_departure"].dt.tz_convert("America/New_York")
    seen["date"] = scheduled.dt.year * 10_000 + scheduled.dt.month * 100 + scheduled.dt.day
    seen["clock"] = (local.dt.hour * 100 + local.dt.minute) % 2400

    expected = raw_flights[raw_flights["dep_time"].notna()].copy()
    expected["date"] = expected["year"] * 10_000 + expected["month"] * 100 + expected["day"]
    expected["clock"] = expected["dep_time"].astype(int) % 2400
    columns = ["carrier", "flight", "origin", "date", "clock"]
    pd.testing.assert_frame_equal(
        seen[columns].sort_values(columns, ignore_index=True),
        expected[columns].sort_values(columns, ignore_index=True),
        check_dtype=False,
    )


def test_scheduled_departures_skip_an_hour_in_march_and_repeat_one_in_november(flights: pd.DataFrame) -> None:
    first = flights.groupby(flights["scheduled_departure"].dt.tz_convert("America/New_York").dt.date)[
        "scheduled_departure"
    ].min()
    by_day = {str(day): moment for day, moment in first.items()}
    # The day's first flights leave after 5:00 by the airport's clock, which is 10:00 UTC in winter, 9:00 in summer.
    assert [by_day[d].hour for d in ("2013-03-09", "2013-03-10")] == [10, 9]
    assert [by_day[d].hour for d in ("2013-11-02", "2013-11-03")] == [9, 10]


def test_a_departure_is_known_when_the_plane_leaves_and_a_cancellation_three_hours_after_it_should_have(
    flights: pd.DataFrame,
) -> None:
    after = flights["known_at"] - flights["scheduled_departure"]
    cancelled = flights["cancelled"]
    assert cancelled.sum() == 8_255
    assert (after[cancelled] == pd.Timedelta(hours=3)).all()
    assert (after[~cancelled] == pd.to_timedelta(flights["departure_delay"][~cancelled], unit="min")).all()
    assert flights["departure_delay"][cancelled].isna().all()


def test_each_file_holds_one_utc_day_of_event_time(staged: Path) -> None:
    for folder in ("flights", "weather"):
        files = sorted((staged / folder).glob("*.parquet"))
        assert len(files) in (365, 366)
        for file in files:
            known_at = pq.read_table(file, columns=["known_at"])["known_at"].to_pandas()
            assert set(known_at.dt.strftime("%Y-%m-%d")) == {file.stem}


def test_a_weather_reading_is_known_at_the_end_of_its_hour(staged: Path, raw_weather: pd.DataFrame) -> None:
    weather = _read(staged / "weather")
    expected = pd.DataFrame(
        {
            "known_at": pd.to_datetime(raw_weather["time_hour"], utc=True) + pd.Timedelta(hours=1),
            "origin": raw_weather["origin"],
            "temperature_f": raw_weather["temp"],
            "wind_gust_mph": raw_weather["wind_gust"],
            "visibility_miles": raw_weather["visib"],
        }
    )
    pd.testing.assert_frame_equal(
        weather[list(expected)].sort_values(["known_at", "origin"], ignore_index=True),
        expected.sort_values(["known_at", "origin"], ignore_index=True),
        check_dtype=False,
    )
    assert not weather.duplicated(["origin", "known_at"]).any()


def test_the_one_impossible_wind_is_null(staged: Path, raw_weather: pd.DataFrame) -> None:
    weather = _read(staged / "weather")
    assert raw_weather["wind_speed"].max() > 1_000
    assert weather["wind_speed_mph"].max() < 100
    assert weather["wind_speed_mph"].isna().sum() == raw_weather["wind_speed"].isna().sum() + 1


def test_planes_are_unique_and_known_before_the_first_flight(staged: Path, flights: pd.DataFrame) -> None:
    planes = pq.read_table(staged / "planes.parquet").to_pandas()
    assert len(planes) == planes["tailnum"].nunique() == 3_322
    assert planes["known_at"].max() < flights["scheduled_departure"].min() - pd.Timedelta(hours=1)


def test_staging_again_writes_nothing(staging: ModuleType, staged: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in staged.rglob("*")}
    rows = staging.stage(staged, console=QUIET)
    assert rows == {"flights": 336_776, "weather": 26_115, "planes": 3_322}
    assert {file: file.stat().st_mtime_ns for file in staged.rglob("*")} == before


@pytest.mark.parametrize("lost", ["staged.json", "flights", "planes.parquet"])
def test_what_is_incomplete_is_staged_again_and_other_data_stay(
    staging: ModuleType, staged: Path, tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(staging, monkeypatch)
    into = tmp_path / "data"
    shutil.copytree(staged, into)
    (into / "online.db").write_bytes(b"kept")
    shutil.rmtree(into / lost) if (into / lost).is_dir() else (into / lost).unlink()
    (into / ".staging-1").mkdir()

    rows = staging.stage(into, console=QUIET)

    assert rows == {"flights": 10, "weather": 10, "planes": 10}
    assert len(_read(into / "flights")) == 10
    assert (into / "online.db").read_bytes() == b"kept"
    assert not list(into.glob(".staging-*"))
    assert json.loads((into / "staged.json").read_text())["rows"] == rows


def test_a_failure_leaves_no_marker_and_no_half_written_folder(
    staging: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small(staging, monkeypatch)

    def broken(source: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(staging, "planes", broken)
    with pytest.raises(OSError, match="disk is full"):
        staging.stage(tmp_path, console=QUIET)
    assert list(tmp_path.iterdir()) == []


def _small(staging: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes staging read ten rows of each file, which is fast."""
    for name in ("flights", "weather", "planes"):
        whole = getattr(staging, name)
        monkeypatch.setattr(staging, name, lambda source, whole=whole: whole(source).slice(0, 10))
