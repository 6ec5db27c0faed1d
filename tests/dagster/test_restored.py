"""A store that was put back to an earlier state: the sensor asks for just the partitions since, and says why."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from taxi_rides import rides
from test_sensors import materialize, online, with_ride, write
from ticks import Daemon, evaluated, spans

from feast_assets.dagster.run_requests import REASON_TAG

FEATURES = ["ride:fare", "ride_totals:rides"]


def copied(file: Path) -> Path:
    copy = file.with_suffix(".copy")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def put_back(file: Path, copy: Path) -> None:
    shutil.copy(copy, file.with_suffix(".new"))
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
    os.replace(file.with_suffix(".new"), file)


def test_what_a_restored_online_store_has_lost_is_asked_for_with_the_reason(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    materialize(applied_root, 1, 20)
    file = applied_root / "data" / "online.db"
    before = copied(file)
    write(applied_root, with_ride(rides(), "2024-01-20T23:30", 7.0))
    late = Daemon(applied_root, instance, "late_data_taxi")
    assert spans(late.settle()) == {"2024-01-20": {"ride", "ride_totals", "kept_totals"}}
    served = online(applied_root, FEATURES)
    put_back(file, before)
    assert online(applied_root, FEATURES) != served
    requests = late.tick(dies=True)
    assert spans(requests) == {"2024-01-20": {"ride", "ride_totals", "kept_totals"}}
    assert all(r.tags[REASON_TAG].startswith("the online store was restored from before 20") for r in requests)
    # What was written with success before is asked for at once, and not as one more attempt at it.
    assert spans(late.settle()) == spans(requests)
    assert online(applied_root, FEATURES) == served
    assert late.tick() == []


def test_a_tick_that_asks_for_nothing_yet_says_what_was_put_back(
    applied_root: Path, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    materialize(applied_root, 1, 3)
    file = applied_root / "data" / "online.db"
    before = copied(file)
    materialize(applied_root, 4, 5)
    put_back(file, before)
    late = Daemon(applied_root, instance, "late_data_taxi")
    requests = late.tick(dies=True)
    assert set(spans(requests)) == {"2024-01-04...2024-01-05"}
    for request in requests:
        assert request.job_name is not None
        instance.create_run_for_job(
            late.definitions().resolve_job_def(request.job_name),
            status=dg.DagsterRunStatus.STARTED,
            tags=request.tags,
            asset_selection=frozenset(request.asset_selection or []),
        )
    data = evaluated(late.definitions(), late._feature_store(), instance, "late_data_taxi", None)
    assert data.run_requests == []
    assert data.skip_message is not None
    assert "ride: 2 windows are run again: the online store was restored from before 20" in data.skip_message
    remembered = evaluated(late.definitions(), late._feature_store(), instance, "late_data_taxi", data.cursor)
    assert remembered.skip_message == data.skip_message
