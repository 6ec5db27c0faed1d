"""What was written well is asked for at once when it comes back; what was refused waits until it is another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from ticks import Daemon, days, evaluated

from feast_assets import FeatureStore

CHECKED = """
    from feast_assets import Checks

    visits = FileSource(name="visits", path="data/visits.parquet", timestamp_field="at")
    visit = FeatureView(
        name="visit",
        entities=[driver],
        source=visits,
        schema=[Field(name="score", dtype=Int64, checks=Checks(maximum=MAXIMUM))],
        partitions=Partitions("daily", start=NEW_YEAR, end=datetime(2024, 1, 4, tzinfo=UTC)),
    )
"""


class Visits:
    """A view of three days with one visit each, and its sensor."""

    def __init__(self, write_repository: Callable[..., Path], instance: dg.DagsterInstance):
        self._write_repository = write_repository
        self.declare(maximum=100)
        self.write(1, 1, 1)
        self.apply()
        store = FeatureStore(self.root)
        store.materialize_windows("visit", days(1, 3))
        store.close()
        self.sensor = Daemon(self.root, instance, "late_data_taxi")
        self.sensor.tick()

    def declare(self, maximum: int) -> None:
        self.root = self._write_repository(CHECKED.replace("MAXIMUM", str(maximum)))

    def apply(self) -> None:
        FeatureStore(self.root).apply_repository()

    def write(self, *scores: int) -> None:
        times = pd.to_datetime([f"2024-01-0{day}T03:00" for day in (1, 2, 3)], utc=True).as_unit("us")
        frame = pd.DataFrame({"driver_id": [1, 2, 3], "at": times, "score": scores})
        frame.to_parquet(self.root / "data" / "writing", index=False)
        os.replace(self.root / "data" / "writing", self.root / "data" / "visits.parquet")

    def ask(self) -> list[str | None]:
        """Ticks and runs what is asked for; returns the partitions, of ranges None."""
        requests = [r for r in self.sensor.tick() if {k.path[-1] for k in r.asset_selection or []} == {"visit"}]
        self.sensor.run(requests)
        return [r.partition_key for r in requests]

    def told(self) -> str:
        """Returns what a tick says, which is not kept."""
        defs = self.sensor.definitions()
        feature_store = self.sensor._feature_store()
        tick = evaluated(defs, feature_store, self.sensor.instance, "late_data_taxi", self.sensor.cursor)
        return tick.skip_message or ""

    def online(self) -> list[object]:
        store = FeatureStore(self.root)
        found = store.get_online_features(["visit:score"], {"driver_id": [1, 2, 3]}).to_dict()["score"]
        store.close()
        return found


@pytest.fixture
def visits(write_repository: Callable[..., Path], instance: dg.DagsterInstance) -> Visits:
    return Visits(write_repository, instance)


def test_content_that_goes_back_and_forth_is_written_each_time(visits: Visits) -> None:
    for score in (2, 1, 2, 1, 2):
        visits.write(1, score, 1)
        assert visits.ask() == ["2024-01-02"]
        assert visits.online() == [1, score, 1]
        assert visits.ask() == []


def test_a_failure_waits_longer_each_time_and_a_success_ends_that(
    visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise OSError("the disk is full")

    visits.write(1, 2, 1)
    with monkeypatch.context() as patch:
        patch.setattr(FeatureStore, "materialize_windows", fail)
        assert visits.ask() == ["2024-01-02"]
    assert visits.ask() == []
    assert "wait for the next attempt" in visits.told()
    store = FeatureStore(visits.root)
    store.materialize_windows("visit", days(2, 2))
    store.close()
    for score in (1, 3, 1):
        visits.write(1, score, 1)
        assert visits.ask() == ["2024-01-02"]


def test_what_was_refused_is_left_alone_until_its_rows_are_others(visits: Visits) -> None:
    visits.write(1, 500, 2)
    assert visits.ask() == [None]  # two days in one run, of which one is written
    assert visits.online() == [1, 1, 2]
    assert visits.ask() == ["2024-01-02"]
    for _ in range(2):
        assert visits.ask() == []
    assert visits.told() == (
        "1 stale windows are left alone: their rows broke the checks of their fields, and neither have changed since. "
        "Correct the rows, change the checks and apply, or run the partitions by hand."
    )
    visits.write(1, 500, 7)
    assert visits.ask() == [None]  # a run of a neighbour covers it once more
    assert visits.online() == [1, 1, 7]
    assert visits.ask() == []
    visits.write(7, 600, 7)
    assert visits.ask() == [None]
    assert visits.ask() == ["2024-01-02"]
    assert visits.ask() == []
    visits.write(7, 50, 7)
    assert visits.ask() == ["2024-01-02"]
    assert visits.online() == [7, 50, 7]
    assert visits.told() == "Nothing is stale."


def test_what_was_refused_is_asked_for_again_when_the_checks_are_others(visits: Visits) -> None:
    visits.write(1, 500, 1)
    assert visits.ask() == ["2024-01-02"]
    assert visits.ask() == []
    visits.declare(maximum=1000)
    visits.write(1, 500, 1)
    visits.apply()
    assert visits.ask() == ["2024-01-02"]
    assert visits.online() == [1, 500, 1]


def test_a_run_says_that_it_failed_only_because_rows_were_refused(visits: Visits) -> None:
    visits.write(1, 500, 1)
    assert visits.ask() == ["2024-01-02"]
    assert len(visits.sensor.instance.get_runs(filters=dg.RunsFilter(tags={"feast_assets/refused": "true"}))) == 1
