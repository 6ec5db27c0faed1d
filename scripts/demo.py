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
from typing import Any

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
    with _step("4. Make a training set: January's flights, an hour before departure"):
        show_training_set(training_set(store, service))
    with _step("5. Read online what a model needs for one request"):
        show_online(store, service)
    store.close()
    console.print("`make dev` opens this project and these runs in Dagster's UI.")


def materialize() -> None:
    """Materializes every feature view, the partitioned ones for the days of January, and shows what was done."""
    # Dagster takes a while to import; only this step needs it.
    import dagster as dg

    sys.path.insert(0, str(ROOT))
    from definitions import defs

    days = {"dagster/asset_partition_range_start": FIRST_DAY, "dagster/asset_partition_range_end": LAST_DAY}
    shown = _table("asset", "partitions", "rows", "run")
    with dg.DagsterInstance.get() as instance:
        for job in sorted(defs.resolve_all_job_defs(), key=lambda job: job.name):
            if not job.name.startswith("materialize_"):
                continue
            with console.status(f"Running {job.name}"):
                run = job.execute_in_process(
                    instance=instance,
                    tags=days if job.partitions_def else {},
                    run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
                )
            made: dict[str, list[int]] = {}
            for event in run.get_asset_materialization_events():
                told = event.materialization.metadata
                rows = told.get("dagster/partition_row_count") or told.get("dagster/row_count")
                # Services and on-demand views are virtual assets: they keep no rows.
                if rows is not None:
                    made.setdefault(event.materialization.asset_key.to_user_string(), []).append(int(str(rows.value)))
            for asset, counts in made.items():
                partitions = str(len(counts)) if job.partitions_def else "whole"
                shown.add_row(asset, partitions, f"{sum(counts):,}", run.run_id[:8])
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

    summary = _table("feature", "type", "null", "minimum", "mean", "maximum")
    for name in features:
        column = rows[name]
        # Booleans have no mean until they are numbers, and no way to doubles but by integers.
        numbers = column.cast(pa.int8()).cast(pa.float64()) if pa.types.is_boolean(column.type) else column
        minimum, maximum = pc.min_max(numbers).as_py().values()
        mean = pc.mean(numbers).as_py()
        summary.add_row(
            name,
            str(column.type),
            f"{column.null_count / rows.num_rows:.1%}",
            *(_text(float(n)) for n in (minimum, mean, maximum)),
        )
    console.print(summary)
    console.print()

    shown = ["event_timestamp", "origin", "carrier", "seats", "low_visibility", "late_share_24h", "late"]
    lines = _table(*shown)
    for place in (5_000, 12_000, 25_000):
        line = rows.slice(place, 1).select(shown).to_pylist()[0]
        lines.add_row(f"{line.pop('event_timestamp'):%Y-%m-%d %H:%M}", *(_text(value) for value in line.values()))
    console.print(lines)

    told = _table("known an hour before", "flights", "left late")
    for title, condition in {
        "(all flights)": pc.is_valid(rows["late"]),
        "visibility under 3 miles": rows["low_visibility"],
        "departure in the evening rush": rows["evening_rush"],
        "over 30 % of the airline's flights late": pc.greater(rows["late_share_24h"], 0.3),
    }.items():
        chosen = rows.filter(condition)
        told.add_row(title, f"{chosen.num_rows:,}", f"{pc.mean(chosen['late']).as_py():.1%}")
    console.print()
    console.print(told)


def show_online(store: FeatureStore, service: FeatureService) -> None:
    """Reads one flight's features, as they were at a time in the archive and as they are now."""
    flight = {"origin": "JFK", "carrier": "B6", "tailnum": "N804JB", "scheduled_hour": 18}
    moment = datetime(2013, 1, 31, 22, tzinfo=UTC)
    then = _as_of(store, service, flight, moment)
    store.push("live_weather", LIVE_READING | {"known_at": [datetime.now(UTC)]})
    now = store.get_online_features(service, [flight])

    values, statuses = now.to_dict(), now.statuses()
    shown = _table("feature", f"on {moment:%d %B %Y}", "online now", "status")
    for name in now.feature_names:
        if name not in flight:
            shown.add_row(name, _text(then[name]), _text(values[name][0]), statuses[name][0])
    console.print("A flight of airline B6 from JFK, at 18:00, with plane N804JB:\n")
    console.print(shown)
    console.print(
        "\nThe archive ended years ago: its delays are older than their view's ttl, and are not served as if they were "
        "news. The weather is news: a live reading was pushed just now."
    )
    times = []
    for _ in range(200):
        started = time.perf_counter()
        store.get_online_features(service, [flight])
        times.append(time.perf_counter() - started)
    times.sort()
    console.print(f"200 such reads: median {times[100] * 1000:.2f} ms, 99th percentile {times[198] * 1000:.2f} ms.")


def _as_of(store: FeatureStore, service: FeatureService, row: dict[str, Any], moment: datetime) -> dict[str, Any]:
    columns = {name: [value] for name, value in (row | {"event_timestamp": moment}).items()}
    found: dict[str, Any] = store.get_historical_features(columns, service).to_arrow().to_pylist()[0]
    return found


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
        shutil.copy(ROOT / "scripts" / "dagster.yaml", home)


if __name__ == "__main__":
    main()
