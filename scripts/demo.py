"""Runs the example from raw data to features and a model, with Dagster: what `make demo` shows.

It stages the data, applies the definitions, and runs January 2013 as Dagster runs of the project that `make dev` opens:
a table is loaded, feature views are materialized, training sets are made, and a model is trained and asked about a day.
Then it reads features online. Everything may be run again: what is as it has to be is not run twice.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from stage_flights import stage

from feast_assets import FeatureService, FeatureStore

if TYPE_CHECKING:
    import dagster as dg

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "feature_repo"
DAYS = [f"2013-01-{day:02}" for day in range(1, 32)]
WEEKS = ["2012-12-30", "2013-01-06", "2013-01-13", "2013-01-20"]
"""The weeks before the day that the model is asked about."""
ASKED_DAY = "2013-01-31"
GIVEN = ["event_timestamp", "origin", "carrier", "tailnum", "scheduled_hour", "late"]
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
    warnings.showwarning = lambda message, *_, **__: console.print(f"Warning: {message}")
    _prepare_dagster_home()
    with _step("1. Stage a year of flights, weather and planes as Parquet"):
        stage(console=console)
    store = FeatureStore(REPOSITORY)
    with _step("2. Apply the definitions in feature_repo/"):
        console.print(str(store.apply_repository()))
    service = store.get_feature_service("departure_delay")
    # Dagster takes a while to import; only these steps need it.
    import dagster as dg

    sys.path.insert(0, str(ROOT))
    from definitions import defs

    with dg.DagsterInstance.get() as instance:
        runs = Runs(defs, instance)
        with _step("3. Load a table, and materialize January 2013, as Dagster runs"):
            materialize(store, runs)
        with _step("4. Train a model on flights an hour before departure, and ask it about a day"):
            train(runs)
            show_training_set(training_rows())
            show_model(instance)
    with _step("5. Read online what a model needs for one request"):
        show_online(store, service)
    store.close()
    console.print("`make dev` opens this project and these runs in Dagster's UI.")


class Runs:
    """Dagster runs of the project's jobs: of what is not as it has to be, and of what comes after it.

    Attributes:
        again: whether something was run, so that what is made of it has to be run as well.
    """

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance):
        self._defs = defs
        self._instance = instance
        self.again = False

    def lacking(self, key: str, partitions: Sequence[str]) -> list[str]:
        """Returns the partitions of an asset that were never materialized."""
        made = self._instance.get_materialized_partitions(_key(key))
        return [partition for partition in partitions if partition not in made]

    def lacks(self, key: str) -> bool:
        """Whether an asset without partitions was never materialized."""
        return self._instance.get_latest_materialization_event(_key(key)) is None

    def run(self, job: str, partitions: Sequence[str] | None = None) -> None:
        """Runs a job, of a range of partitions or of assets without any, and shows what it made."""
        run = self._execute(job, partitions)
        self.again = True
        self._show(job, run)

    def _execute(self, job: str, partitions: Sequence[str] | None) -> dg.ExecuteInProcessResult:
        tags = {}
        if partitions is not None:
            first, last = min(partitions), max(partitions)
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        with console.status(f"Running {job}"):
            return self._defs.resolve_job_def(job).execute_in_process(
                instance=self._instance,
                tags=tags,
                run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            )

    def observe(self, job: str, partitions: Sequence[str]) -> None:
        """Notes which versions of its sources Dagster should know of a range of partitions."""
        self._execute(job, partitions)

    def _show(self, job: str, run: dg.ExecuteInProcessResult) -> None:
        made: dict[str, list[int]] = {}
        partitioned = set()
        for event in run.get_asset_materialization_events():
            asset, told = event.materialization.asset_key.to_user_string(), event.materialization.metadata
            rows = told.get("dagster/partition_row_count") or told.get("dagster/row_count") or told.get("flights")
            # Services and on-demand views are virtual assets: they keep no rows.
            if rows is not None:
                made.setdefault(asset, []).append(int(str(rows.value)))
                partitioned |= {asset} if event.materialization.partition else set()
        shown = _table(f"run {run.run_id[:8]} of {job}", "partitions", "rows")
        for asset, counts in made.items():
            shown.add_row(asset, str(len(counts)) if asset in partitioned else "whole", f"{sum(counts):,}")
        console.print(shown)
        console.print()


def materialize(store: FeatureStore, runs: Runs) -> None:
    """Loads the table of planes, and materializes every feature view, the partitioned ones for the days of January."""
    if runs.lacks("raw/planes") or not (REPOSITORY / "data" / "fleet.duckdb").exists():
        runs.run("load_planes")
    until = datetime(2013, 1, 31, 23, 59, 59, tzinfo=UTC)
    if runs.again or runs.lacks("nyc_flights/plane") or store.stale_windows("plane", until):
        runs.run("materialize_nyc_flights_without_partitions")
    stale = set()
    for view in ("origin_weather", "carrier_delays"):
        stale |= {f"{each.window.start:%Y-%m-%d}" for each in store.stale_windows(view, until)}
        stale |= set(runs.lacking(f"nyc_flights/{view}", DAYS))
    if days := sorted(stale & set(DAYS)):
        runs.run("materialize_nyc_flights_daily", days)
        # What Dagster is told of the sources is what these days were made of.
        runs.observe("observe_nyc_flights_sources_daily", DAYS)
    if not runs.again:
        console.print("Everything is materialized, and nothing has changed since.")


def train(runs: Runs) -> None:
    """Makes the training sets of some weeks and the model of them, and asks it about a later day."""
    before = runs.again
    if before or runs.lacking("late_departures", WEEKS) or runs.lacks("lateness_model") or _are_missing():
        runs.run("train_lateness", WEEKS)
    if runs.again or runs.lacking("lateness_scores", [ASKED_DAY]):
        runs.run("score_lateness", [ASKED_DAY])
    if not runs.again:
        console.print("The training sets, the model and its answers are of what is materialized.\n")


def _are_missing() -> bool:
    """Whether files that Dagster knows of are gone."""
    data = REPOSITORY / "data"
    weeks = [data / "training_sets" / "late_departures" / f"{week}.parquet" for week in WEEKS]
    return not all(file.exists() for file in (*weeks, data / "models" / "lateness.json"))


def training_rows() -> pa.Table:
    """Returns the training sets of the weeks: flights an hour before departure, and whether they left late."""
    folder = REPOSITORY / "data" / "training_sets" / "late_departures"
    return pa.concat_tables(
        [pq.read_table(folder / f"{week}.parquet").replace_schema_metadata(None) for week in WEEKS]
    ).combine_chunks()


def show_model(instance: dg.DagsterInstance) -> None:
    """Shows what the model weighs most, and how well it ranks the flights of a day that it has not seen."""
    event = instance.get_latest_materialization_event(_key("lateness_scores"))
    if event is None or event.asset_materialization is None:
        raise SystemExit("The model was not asked: the run of lateness_scores is missing.")
    told = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    model = json.loads((REPOSITORY / "data" / "models" / "lateness.json").read_text(encoding="utf-8"))
    weights = sorted(zip(model["features"], model["coefficients"], strict=True), key=lambda pair: -abs(float(pair[1])))
    most = ", ".join(f"{name} ({weight:+.2f})" for name, weight in weights[:4])
    console.print(
        f"\nA logistic regression of these flights. It weighs most: {most}.\n"
        f"Of the {told['dagster/partition_row_count']:,} flights of {ASKED_DAY} it expects {told['expected_late']:.1%} "
        f"to be late; {told['were_late']:.1%} were. Area under the ROC curve: {told['area_under_roc_curve']:.3f}."
    )


def show_training_set(rows: pa.Table) -> None:
    features = [name for name in rows.column_names if name not in GIVEN]
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
    for place in (5_000, 12_000, 20_000):
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


def _key(asset: str) -> dg.AssetKey:
    from dagster import AssetKey

    return AssetKey(asset.split("/"))


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
