"""Runs the example from raw data to features, with Dagster: what `make demo` shows.

It stages the data, applies the definitions, materializes January 2013 as Dagster runs of the project that `make dev`
opens, makes a training set, and reads features online. Everything may be run again.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from rich.console import Console
from rich.table import Table
from stage_flights import stage

from feast_assets import FeatureService, FeatureStore

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "feature_repo"
FIRST_DAY, LAST_DAY = "2013-01-01", "2013-01-31"
LEAD = timedelta(hours=1)
"""How long before the scheduled departure a prediction is made; what was not known by then must not be used."""
LIVE_READING = {
    "origin": ["JFK"],
    "temperature_f": [30.9],
    "dew_point_f": [28.0],
    "humidity_percent": [88.9],
    "wind_direction_degrees": [40.0],
    "wind_speed_mph": [17.3],
    "wind_gust_mph": [28.8],
    "precipitation_inches": [0.04],
    "pressure_mb": [1008.2],
    "visibility_miles": [1.5],
}

console = Console()


def main() -> None:
    _prepare_dagster_home()
    with _step("1. Stage a year of flights, weather and planes as Parquet"):
        stage(console=console)
    store = FeatureStore(REPOSITORY)
    with _step("2. Apply the definitions in feature_repo/"):
        console.print(str(store.apply_repository()))
    with _step("3. Materialize January 2013, as Dagster runs"):
        materialize()
    service = store.get_feature_service("departure_delay")
    with _step("4. Make a training set: January's flights, as they looked an hour before they should have left"):
        show_training_set(training_set(store, service))
    with _step("5. Read online what a model needs for one request"):
        show_online(store, service)
    store.close()
    console.print("`make dev` opens this project and these runs in Dagster's UI.")


def materialize() -> None:
    """Materializes every feature view for the days of January, and shows what each asset did."""
    # Dagster takes a second to import; only this step needs it.
    import dagster as dg

    sys.path.insert(0, str(ROOT))
    from definitions import defs

    shown = Table("asset", "partitions", "rows", "entities", "run", box=None)
    instance = dg.DagsterInstance.get()
    with console.status("Materializing"):
        for job in jobs_of(defs):
            job.execute_in_process(instance=instance)
    console.print(shown)


def training_set(store: FeatureStore, service: FeatureService) -> pa.Table:
    """Returns January's flights with their features an hour before departure, and whether they left late."""
    flights = ds.dataset(REPOSITORY / "data" / "flights").to_table(
        filter=(ds.field("scheduled_departure") >= datetime(2013, 1, 1, tzinfo=UTC))
        & (ds.field("scheduled_departure") < datetime(2013, 2, 1, tzinfo=UTC))
    )
    scheduled = flights["scheduled_departure"]
    spine = pa.table(
        {
            "event_timestamp": pc.subtract(scheduled, pa.scalar(LEAD)),
            "origin": flights["origin"],
            "carrier": flights["carrier"],
            "tailnum": flights["tailnum"],
            "scheduled_hour": pc.hour(scheduled.cast(pa.timestamp("us", tz="America/New_York"))),
            "late": pc.fill_null(pc.greater(flights["departure_delay"], 15.0), True),  # a cancelled flight is late too
        }
    )
    return store.get_historical_features(spine, service).to_arrow()


def show_training_set(rows: pa.Table) -> None:
    given = ["event_timestamp", "origin", "carrier", "tailnum", "scheduled_hour", "late"]
    features = [name for name in rows.column_names if name not in given]
    late = pc.mean(rows["late"]).as_py()
    console.print(f"{rows.num_rows:,} flights, {len(features)} features; {late:.1%} left late or not at all.\n")

    summary = Table("feature", "type", "null", "least", "mean", "greatest", box=None, header_style="bold")
    for name in features:
        column = rows[name]
        numbers = column.cast(pa.float64()) if not pa.types.is_boolean(column.type) else column.cast(pa.int8())
        least, greatest = pc.min_max(numbers).as_py().values()
        mean = pc.mean(numbers).as_py()
        summary.add_row(
            name,
            str(column.type),
            f"{column.null_count / rows.num_rows:.1%}",
            *(_number(n) for n in (least, mean, greatest)),
        )
    console.print(summary)

    told = Table("known an hour before", "flights", "left late", box=None, header_style="bold")
    for title, condition in {
        "(all flights)": pc.is_valid(rows["late"]),
        "visibility under 3 miles": rows["low_visibility"],
        "departure in the evening rush": rows["evening_rush"],
        "over 30 % of the airline's flights late in the last 24 hours": pc.greater(rows["late_share_24h"], 0.3),
    }.items():
        chosen = rows.filter(condition)
        told.add_row(title, f"{chosen.num_rows:,}", f"{pc.mean(chosen['late']).as_py():.1%}")
    console.print()
    console.print(told)


def show_online(store: FeatureStore, service: FeatureService) -> None:
    """Reads one flight's features before and after a live weather reading comes in."""
    flight = {"origin": "JFK", "carrier": "B6", "tailnum": "N804JB", "scheduled_hour": 18}
    before = store.get_online_features(service, [flight])
    store.push("live_weather", LIVE_READING | {"known_at": [datetime.now(UTC)]})
    after = store.get_online_features(service, [flight])

    values, statuses_before, statuses_after = after.to_dict(), before.statuses(), after.statuses()
    shown = Table("feature", "value", "status", "before the reading", box=None, header_style="bold")
    for name in after.feature_names:
        if name not in flight:
            value = values[name][0]
            text = _number(value) if isinstance(value, float) else "" if value is None else str(value)
            shown.add_row(name, text, statuses_after[name][0], statuses_before[name][0])
    console.print("A flight of airline B6 from JFK at 18:00, with plane N804JB:\n")
    console.print(shown)
    console.print(
        "\nThe archive ends in 2013, so its weather and delays are older than their views' ttl; the reading that was "
        "pushed just now is not."
    )
    times = []
    for _ in range(200):
        started = time.perf_counter()
        store.get_online_features(service, [flight])
        times.append(time.perf_counter() - started)
    times.sort()
    console.print(f"200 such reads: median {times[100] * 1000:.2f} ms, 99th percentile {times[198] * 1000:.2f} ms.")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")


@contextmanager
def _step(title: str) -> Iterator[None]:
    console.rule(f"[bold]{title}", align="left")
    started = time.perf_counter()
    yield
    console.print(f"[dim]{time.perf_counter() - started:.1f} s[/dim]\n")


def _prepare_dagster_home() -> None:
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(ROOT / ".dagster_home")))
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(ROOT / "dagster.yaml", home)


if __name__ == "__main__":
    main()
