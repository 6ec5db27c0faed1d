"""The example, run as a Dagster project: what is online afterwards is what pandas works out from the raw CSV files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dagster as dg
import pandas as pd
import pytest

from feast_assets import FeatureStore

ROOT = Path(__file__).resolve().parents[2]
JANUARY = [f"2013-01-{day:02}" for day in range(1, 32)]
WEEKS = ["2013-01-06", "2013-01-13"]
SCORED = "2013-01-25"
OWN_ASSETS = f"""
import dagster as dg
from definitions import defs

def run(job, first=None, last=None):
    tags = {{"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}}
    tags = tags if first else {{}}
    defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)

with dg.DagsterInstance.get() as instance:
    run("load_planes")
    run("materialize_nyc_flights_without_partitions")
    run("train_lateness", {WEEKS[0]!r}, {WEEKS[1]!r})
    run("score_lateness", {SCORED!r}, {SCORED!r})
"""
MONTH_END = pd.Timestamp("2013-02-01", tz="UTC")


@dataclass(frozen=True)
class Project:
    """A copy of the project, on which Dagster has run January 2013."""

    root: Path
    home: Path

    def dagster(self, *arguments: str) -> None:
        """Runs a dagster command in the project."""
        self.run("-m", "dagster", *arguments)

    def run(self, *arguments: str) -> str:
        """Runs Python in the project and returns what it says."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={
                **{k: v for k, v in os.environ.items() if k != "FEAST_ASSETS_DEPLOYMENT"},
                "DAGSTER_HOME": str(self.home),
            },
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def store(self) -> FeatureStore:
        return FeatureStore(self.root / "feature_repo")


@pytest.fixture(scope="module")
def project(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dagster_home"))
    shutil.copy(ROOT / "definitions.py", made.root)
    shutil.copy(ROOT / "scripts" / "dagster.yaml", made.home)
    for name in ("resources", "own_assets", "feature_repo"):
        shutil.copytree(ROOT / name, made.root / name, ignore=shutil.ignore_patterns("data", "__pycache__"))
    shutil.copytree(staged, made.root / "feature_repo" / "data", ignore=shutil.ignore_patterns("fleet.duckdb"))
    # What was known in 2013 is past its ttl by now. Materialization does not use the ttl; without it, all can be read.
    for name in ("weather.py", "carrier_delays.py"):
        file = made.root / "feature_repo" / name
        file.write_text(file.read_text().replace("ttl=timedelta(hours=", "ttl=timedelta(microseconds=0 * "))
    made.dagster("job", "execute", "-f", "definitions.py", "-j", "apply_nyc_flights")
    partitioned = ["origin_weather", "carrier_delays", "sources/kept_carrier_delays"]
    selection = ",".join(f"key:nyc_flights/{name}" for name in partitioned)
    days = f"{JANUARY[0]}...{JANUARY[-1]}"
    made.dagster("asset", "materialize", "-f", "definitions.py", "--select", selection, "--partition-range", days)
    made.run("-c", OWN_ASSETS)
    return made


@pytest.fixture(scope="module")
def raw(staging: ModuleType) -> Path:
    folder: Path = staging.package_data()
    return folder


def test_all_of_january_is_one_run_with_the_rows_of_each_day(project: Project, raw: Path) -> None:
    weather = pd.read_csv(raw / "weather.csv", parse_dates=["time_hour"])
    known = weather.time_hour + pd.Timedelta(hours=1)
    per_day = known.dt.strftime("%Y-%m-%d").value_counts()
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        assert len(instance.get_run_records()) == 6
        for name in (["origin_weather"], ["carrier_delays"], ["sources", "kept_carrier_delays"]):
            key = dg.AssetKey(["nyc_flights", *name])
            assert instance.get_materialized_partitions(key) == set(JANUARY), name
            assert len(instance.fetch_materializations(key, limit=100).records) == 31, name
        records = instance.fetch_materializations(dg.AssetKey(["nyc_flights", "origin_weather"]), limit=100).records
        told = {
            r.partition_key: r.asset_materialization.metadata["dagster/partition_row_count"].value
            for r in records
            if r.asset_materialization is not None
        }
        assert len({r.event_log_entry.run_id for r in records}) == 1
    assert told == {day: per_day[day] for day in JANUARY}


def test_the_weather_online_is_the_last_reading_of_the_month(project: Project, raw: Path) -> None:
    weather = pd.read_csv(raw / "weather.csv", parse_dates=["time_hour"])
    known = weather.time_hour + pd.Timedelta(hours=1)
    last = weather[known < MONTH_END].sort_values("time_hour").groupby("origin").last()
    airports = ["EWR", "JFK", "LGA"]
    found = project.store().get_online_features(
        ["origin_weather:temperature_f", "origin_weather:wind_speed_mph", "origin_weather:visibility_miles"],
        [{"origin": a} for a in airports],
    )
    assert found.to_dict() == {
        "origin": airports,
        "temperature_f": last.temp[airports].tolist(),
        "wind_speed_mph": last.wind_speed[airports].tolist(),
        "visibility_miles": last.visib[airports].tolist(),
    }


def test_the_delays_online_are_those_of_the_last_day_of_the_month(project: Project, raw: Path) -> None:
    with zipfile.ZipFile(raw / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        flights = pd.read_csv(file, parse_dates=["time_hour"])
    scheduled = flights.time_hour + pd.to_timedelta(flights.minute, unit="min")
    outcome = scheduled + pd.to_timedelta(flights.dep_delay.fillna(180), unit="min")
    last_hour = MONTH_END - pd.Timedelta(hours=1)
    of_day = flights[(outcome >= last_hour - pd.Timedelta(hours=24)) & (outcome < last_hour)]
    asked = [("EWR", "UA"), ("JFK", "B6"), ("LGA", "MQ"), ("LGA", "DL")]
    found = project.store().get_online_features(
        ["carrier_delays:flights_24h", "carrier_delays:mean_delay_24h", "carrier_delays:cancelled_share_24h"],
        [{"origin": origin, "carrier": carrier} for origin, carrier in asked],
    )
    columns = found.to_dict()
    for i, (origin, carrier) in enumerate(asked):
        theirs = of_day[(of_day.origin == origin) & (of_day.carrier == carrier)]
        assert len(theirs) > 20
        assert columns["flights_24h"][i] == len(theirs)
        assert columns["mean_delay_24h"][i] == pytest.approx(theirs.dep_delay.mean())
        assert columns["cancelled_share_24h"][i] == pytest.approx(theirs.dep_delay.isna().mean())


def test_a_plane_online_is_its_row(project: Project, raw: Path) -> None:
    planes = pd.read_csv(raw / "planes.csv").set_index("tailnum")
    found = project.store().get_online_features(
        ["plane:built_year", "plane:model", "plane:seats"], [{"tailnum": "N14228"}, {"tailnum": "none"}]
    )
    plane = planes.loc["N14228"]
    assert found.to_dict() == {
        "tailnum": ["N14228", "none"],
        "built_year": [int(plane.year), None],
        "model": [plane.model, None],
        "seats": [int(plane.seats), None],
    }


def test_the_ledger_names_the_dagster_run(project: Project) -> None:
    store = project.store()
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        runs = {r.dagster_run.run_id for r in instance.get_run_records()}
    written = {e.run_id for view in ("origin_weather", "carrier_delays", "plane") for e in store.registry.ledger(view)}
    assert len(written) == 2
    assert written < runs
    month = (pd.Timestamp(JANUARY[0], tz="UTC"), MONTH_END)
    assert store.materialization_intervals("origin_weather") == [month]


def test_a_week_of_training_is_its_flights_as_they_were_known_an_hour_before(project: Project, raw: Path) -> None:
    folder = project.root / "feature_repo" / "data" / "training_sets" / "late_departures"
    assert sorted(file.stem for file in folder.iterdir()) == WEEKS
    weather = pd.read_csv(raw / "weather.csv", parse_dates=["time_hour"])
    weather["known"] = weather.time_hour + pd.Timedelta(hours=1)
    for week in WEEKS:
        made = pd.read_parquet(folder / f"{week}.parquet")
        start = pd.Timestamp(week, tz="UTC")
        flights = _flights(raw)
        flights = flights[(flights.scheduled >= start) & (flights.scheduled < start + pd.Timedelta(days=7))]
        assert len(made) == len(flights)
        assert made.late.sum() == ((flights.dep_delay > 15) | flights.dep_delay.isna()).sum()
        asked = made.sample(40, random_state=2013)
        for row in asked.itertuples():
            known = weather[(weather.origin == row.origin) & (weather.known <= row.event_timestamp)]
            newest = known.sort_values("known").iloc[-1]
            fresh = row.event_timestamp - newest.known < pd.Timedelta(hours=3)
            assert fresh
            assert row.visibility_miles == newest.visib


def test_each_week_pins_the_partitions_that_it_read(project: Project) -> None:
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        for week in WEEKS:
            only = dg.AssetRecordsFilter(dg.AssetKey("late_departures"), asset_partitions=[week])
            (record,) = instance.fetch_materializations(only, limit=10).records
            assert record.asset_materialization is not None
            told = record.asset_materialization.metadata
            assert told["feast_assets/registry_revision"].value == 1
            first, last = told["feast_assets/partitions_read"].value["carrier_delays"]
            end = pd.Timestamp(week) + pd.Timedelta(days=7)
            assert first <= week
            # The last flight leaves after ten in the evening in New York, and is asked about an hour before.
            assert last == f"{end - pd.Timedelta(days=1):%Y-%m-%d}"


def test_the_model_ranks_flights_of_a_later_day_better_than_chance(project: Project, raw: Path) -> None:
    scores = pd.read_parquet(project.root / "feature_repo" / "data" / "scores" / f"{SCORED}.parquet")
    flights = _flights(raw)
    of_day = flights[flights.scheduled.dt.strftime("%Y-%m-%d") == SCORED]
    assert len(scores) == len(of_day)
    assert scores.likelihood.between(0, 1).all()
    # How often a flight that was late was ranked above one that was not.
    ranks = scores.likelihood.rank()
    late = int(scores.late.sum())
    area = (ranks[scores.late].sum() - late * (late + 1) / 2) / (late * (len(scores) - late))
    assert area > 0.6
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("lateness_scores"))
        model = instance.get_latest_materialization_event(dg.AssetKey("lateness_model"))
    assert event is not None and event.asset_materialization is not None
    told = event.asset_materialization.metadata
    assert event.asset_materialization.partition == SCORED
    assert told["area_under_roc_curve"].value == pytest.approx(area)
    assert told["trained_before"].value is True
    assert model is not None and model.asset_materialization is not None
    assert model.asset_materialization.metadata["flights"].value == sum(
        len(
            pd.read_parquet(
                project.root / "feature_repo" / "data" / "training_sets" / "late_departures" / f"{week}.parquet"
            )
        )
        for week in WEEKS
    )


def test_the_demo_runs_only_what_is_not_as_it_has_to_be(project: Project, tmp_path: Path) -> None:
    """All but two weeks of training and the day that the demo asks about has been run here before."""
    copy = Project(tmp_path / "project", tmp_path / "dagster_home")
    shutil.copytree(project.root, copy.root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(project.home, copy.home)
    shutil.copytree(ROOT / "scripts", copy.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))

    def jobs() -> list[str]:
        with dg.DagsterInstance.from_config(str(copy.home)) as instance:
            return [record.dagster_run.job_name for record in reversed(instance.get_run_records())]

    before = jobs()
    assert "Everything is materialized, and nothing has changed since." in copy.run("scripts/demo.py")
    assert jobs() == [*before, "train_lateness", "score_lateness"]
    scores = copy.root / "feature_repo" / "data" / "scores" / "2013-01-31.parquet"
    first = scores.read_bytes()
    told = copy.run("scripts/demo.py")
    assert "The training sets, the model and its answers are of what is materialized." in told
    assert jobs() == [*before, "train_lateness", "score_lateness"]
    assert scores.read_bytes() == first
    # Rows of one day change: that day is run, its sources are observed, and what is made of it is run.
    weather = copy.root / "feature_repo" / "data" / "weather" / "2013-01-10.parquet"
    frame = pd.read_parquet(weather)
    frame.assign(visibility_miles=1.0).to_parquet(weather, index=False)
    copy.run("scripts/demo.py")
    assert jobs()[-4:] == [
        "materialize_nyc_flights_daily",
        "observe_nyc_flights_sources_daily",
        "train_lateness",
        "score_lateness",
    ]
    assert len(jobs()) == len(before) + 6
    with dg.DagsterInstance.from_config(str(copy.home)) as instance:
        seen = instance.fetch_observations(dg.AssetKey(["nyc_flights", "sources", "weather"]), limit=100).records
        assert "2013-01-10" in {record.partition_key for record in seen}
    assert scores.read_bytes() != first


def _flights(raw: Path) -> pd.DataFrame:
    with zipfile.ZipFile(raw / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        flights = pd.read_csv(file, parse_dates=["time_hour"])
    return flights.assign(scheduled=flights.time_hour + pd.to_timedelta(flights.minute, unit="min"))
