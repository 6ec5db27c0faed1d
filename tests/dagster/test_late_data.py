"""Late, corrected, moved and deleted rows in any order: the sensor's runs end as a full recompute, and run no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ticks import RANGE, Daemon, days

from feast_assets import FeatureStore

DAYS = 6
DRIVERS = [1, 2, 3]
START = datetime(2024, 1, 1, tzinfo=UTC)
CONFIG = """
project: taxi
registry: {registry_type: sql, path: data/registry.db}
online_store: {type: sqlite, path: data/online.db}
"""
DEFINITIONS = """
from datetime import UTC, datetime
from feast_assets import Entity, FeatureView, Field, FileSource, Int64, Partitions, ValueType, batch_feature_view

GRID = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 7, tzinfo=UTC))
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
rides = FileSource(name="rides", path="data/rides.parquet", timestamp_field="ended"CREATED)

ride = FeatureView(
    name="ride", entities=[driver], source=rides, schema=[Field(name="fare", dtype=Int64)], partitions=GRID
)

@batch_feature_view(
    mode="sql",
    entities=[driver],
    source=rides,
    sink_source=FileSource(name="kept", path="data/kept", timestamp_field="ended"),
    offline=True,
    schema=[Field(name="fares", dtype=Int64)],
    partitions=GRID,
)
def totals(rides):
    return f"SELECT driver_id, date_trunc('day', ended) AS ended, sum(fare)::BIGINT AS fares FROM {rides} GROUP BY ALL"
"""


@dataclass(frozen=True)
class Ride:
    driver: int
    hour: int
    fare: int
    created: int = 0


@dataclass
class Taxi:
    """A repository over rides, of which every edit is one new file."""

    root: Path
    created: bool
    rides: dict[tuple[int, int], Ride] = field(default_factory=dict)
    edits: int = 0

    def start(self) -> None:
        (self.root / "data").mkdir(exist_ok=True)
        (self.root / "feature_store.yaml").write_text(CONFIG)
        created = ', created_timestamp_column="created"' if self.created else ""
        (self.root / "features.py").write_text(DEFINITIONS.replace("CREATED", created))
        for driver in DRIVERS:
            self.rides[driver, 30] = Ride(driver, 30, driver)
        self.write()
        FeatureStore(self.root).apply_repository()

    def write(self) -> None:
        self.edits += 1
        rows = [
            (r.driver, START + timedelta(hours=r.hour), r.fare, START + timedelta(days=30, hours=r.created))
            for r in self.rides.values()
        ]
        frame = pd.DataFrame(rows, columns=["driver_id", "ended", "fare", "created"])
        times = {"ended": "datetime64[us, UTC]", "created": "datetime64[us, UTC]"}
        frame = frame.astype({"driver_id": "int64", "fare": "int64", **times})
        frame.to_parquet(self.root / "data" / "writing", index=False)
        os.replace(self.root / "data" / "writing", self.root / "data" / "rides.parquet")

    def edit(self, subject: str, driver: int, hour: int, other: int) -> set[int]:
        """Changes the rides; returns the days whose rows are others now."""
        key, before = (driver, hour), dict(self.rides)
        if subject == "put":
            self.rides[key] = Ride(driver, hour, other, self.edits)
        elif subject == "delete":
            self.rides.pop(key, None)
        elif key in self.rides:
            self.rides[driver, other] = replace(self.rides.pop(key), hour=other)
        self.write()
        keys = before.keys() | self.rides.keys()
        return {h // 24 for d, h in keys if before.get((d, h)) != self.rides.get((d, h))}

    def run(self, requests: list[dg.RunRequest]) -> int:
        """Runs what was asked for, without Dagster around it; returns how many windows of views that were."""
        store = FeatureStore(self.root)
        count = 0
        for request in requests:
            first, last = (int((request.tags.get(t) or request.partition_key or "")[-2:]) for t in RANGE)
            for view in {"ride", "totals"} & {key.path[-1] for key in request.asset_selection or []}:
                store.materialize_windows(view, days(first, last))
                count += last - first + 1
        store.close()
        return count

    def check(self) -> None:
        """Compares what is online and what is kept with what the rides make."""
        rides = pd.DataFrame([(r.driver, r.hour, r.fare) for r in self.rides.values()], columns=["d", "h", "fare"])
        newest = rides.sort_values("h").groupby("d").fare.last()
        per_day = rides.groupby(["d", rides.h // 24]).fare.sum().reset_index()
        last_day = per_day.sort_values("h").groupby("d").fare.last()
        store = FeatureStore(self.root)
        found = store.get_online_features(["ride:fare", "totals:fares"], {"driver_id": DRIVERS}).to_dict()
        store.close()
        assert found["fare"] == [newest.get(d) for d in DRIVERS]
        assert found["fares"] == [last_day.get(d) for d in DRIVERS]
        kept = pd.read_parquet(self.root / "data" / "kept")
        assert sorted(zip(kept.driver_id, kept.fares, strict=True)) == sorted(zip(per_day.d, per_day.fare, strict=True))


hours = st.integers(0, DAYS * 24 - 1)
edits = st.lists(
    st.tuples(st.sampled_from(["put", "put", "delete", "move"]), st.sampled_from(DRIVERS), hours, hours, st.booleans()),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def instances() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.mark.parametrize("created", [False, True], ids=["no created column", "created column"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=edits)
def test_the_end_is_that_of_a_full_recompute_and_the_work_that_of_what_changed(
    tmp_path_factory: pytest.TempPathFactory,
    instances: dg.DagsterInstance,
    created: bool,
    steps: list[tuple[str, int, int, int, bool]],
) -> None:
    taxi = Taxi(tmp_path_factory.mktemp("taxi"), created)
    taxi.start()
    store = FeatureStore(taxi.root)
    for view in ("ride", "totals"):
        store.materialize_windows(view, days(1, DAYS))
    store.close()
    sensor = Daemon(taxi.root, instances, "late_data_taxi", reloads=False)
    affected = work = 0
    for subject, driver, hour, other, ticks in steps:
        affected += 2 * len(taxi.edit(subject, driver, hour, other))
        if ticks:
            work += taxi.run(sensor.tick())
    work += taxi.run(sensor.tick())
    assert sensor.tick() == []
    assert work <= affected
    taxi.check()
