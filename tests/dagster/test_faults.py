"""What goes wrong in the middle of runs: the next run reaches the right end, and nothing is lost or done twice."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from taxi_rides import rides
from ticks import RANGE, Daemon, days, spans

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.redis.store import RedisOnlineStore

DAILY = "materialize_taxi_daily"
TWENTY_DAYS = dict(zip(RANGE, ("2024-01-01", "2024-01-20"), strict=True))
DRIVERS = [1, 2, 3, 4]


def run(root: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})
    return defs.resolve_job_def(DAILY).execute_in_process(instance=instance, tags=TWENTY_DAYS, raise_on_error=False)


def settled(root: Path) -> dict[str, int]:
    registry = FeatureStore(root).registry
    return {view: sum(e.settled for e in registry.ledger(view)) for view in ("ride", "ride_totals")}


def assert_right(root: Path, frame: pd.DataFrame) -> None:
    """Compares what is online, kept and in the ledger with what twenty days of the source make."""
    known = frame[frame.finished_at < pd.Timestamp("2024-01-21", tz="UTC")]
    last = known.sort_values("finished_at").groupby("driver_id").fare.last()
    per_day = known.groupby(["driver_id", known.finished_at.dt.floor("D")]).fare.sum().reset_index()
    totals = per_day.sort_values("finished_at").groupby("driver_id").fare.last()
    store = FeatureStore(root)
    found = store.get_online_features(["ride:fare", "ride_totals:fares"], {"driver_id": DRIVERS}).to_dict()
    assert found["fare"] == [last[d] for d in DRIVERS]
    assert found["fares"] == [totals[d] for d in DRIVERS]
    assert settled(root) == {"ride": 20, "ride_totals": 20}
    kept = pd.read_parquet(root / "data" / "kept_totals")
    assert len(kept) == len(per_day)
    assert kept.fares.sum() == pytest.approx(per_day.fare.sum())
    store.close()


class Redis:
    """A Redis server of the test's own, which keeps its rows when it is stopped."""

    def __init__(self, directory: Path):
        self.port = 0
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server: the first time on a free port, and on another where somebody else was faster."""
        if self.port:
            assert self._answers(), "redis-server does not start again"
            return
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            if self._answers():
                return
        raise AssertionError("redis-server does not start")

    def _answers(self) -> bool:
        """Starts the server, and returns whether it answers; not so where it ends instead."""
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--dir", str(self._directory), *options],
            stdout=subprocess.DEVNULL,
        )
        while self._process.poll() is None:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=120)
            self._process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A running Redis server."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    directory = tmp_path / "redis"
    directory.mkdir()
    server = Redis(directory)
    server.start()
    yield server
    server.stop()


def test_a_store_that_goes_down_in_the_middle_of_a_range_is_filled_when_it_is_back(
    write_repository: Callable[..., Path],
    instance: dg.DagsterInstance,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = write_repository(
        config=f"""
    project: taxi
    registry: {{registry_type: sql, path: data/registry.db}}
    online_store: {{type: redis, connection_string: "127.0.0.1:{redis.port}"}}
    offline_store: {{type: duckdb}}
        """
    )
    FeatureStore(root).apply_repository()
    real = RedisOnlineStore.put_many
    puts = 0

    def put_and_lose(self: RedisOnlineStore, table: str, batches: Any) -> Any:
        nonlocal puts
        puts += 1
        if puts == 2:
            redis.stop()
        return real(self, table, batches)

    with monkeypatch.context() as patched:
        patched.setattr(RedisOnlineStore, "put_many", put_and_lose)
        assert not run(root, instance).success
    assert settled(root) == {"ride": 20, "ride_totals": 0}
    redis.start()
    assert spans(Daemon(root, instance, "late_data_taxi").settle()) == {
        "2024-01-01...2024-01-20": {"ride_totals", "kept_totals"}
    }
    assert_right(root, rides())


def test_a_source_that_is_replaced_while_it_is_read_is_read_again(
    applied_root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected = rides().assign(fare=lambda f: f.fare * 2)
    real = DuckDBOfflineStore.latest
    replaced = False

    def replace_and_read(self: DuckDBOfflineStore, *arguments: Any, **options: Any) -> Any:
        nonlocal replaced
        if not replaced:
            replaced = True
            corrected.to_parquet(applied_root / "data" / "new.parquet", index=False)
            os.replace(applied_root / "data" / "new.parquet", applied_root / "data" / "rides.parquet")
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(DuckDBOfflineStore, "latest", replace_and_read)
        with pytest.warns(UserWarning, match="was changed while it was read"):
            assert run(applied_root, instance).success
    assert settled(applied_root)["ride"] == 0
    asked = Daemon(applied_root, instance, "late_data_taxi").settle()
    assert spans(asked) == {"2024-01-01...2024-01-20": {"ride"}}
    assert_right(applied_root, corrected)


PROCESS = """
import sys, time
from pathlib import Path
import dagster as dg
from feast_assets.dagster import FeatureStoreResource, definitions_for

root, home, me = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})
job = defs.resolve_job_def("materialize_taxi_daily")
tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-20"}
(root / f"ready_{me}").touch()
while len(list(root.glob("ready_*"))) < 2:
    time.sleep(0.01)
with dg.DagsterInstance.local_temp(home) as instance:
    sys.exit(not job.execute_in_process(instance=instance, tags=tags).success)
"""


def test_two_runs_on_the_same_partitions_at_once_end_as_one(
    applied_root: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    running = []
    for me in ("one", "other"):
        (tmp_path / me).mkdir()
        command = [sys.executable, "-c", PROCESS, str(applied_root), str(tmp_path / me), me]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    for process in running:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()[-3000:]
    # Where they met, nobody could be sure; the sensor has those windows run again.
    Daemon(applied_root, instance, "late_data_taxi").settle()
    assert_right(applied_root, rides())


def test_ranges_of_a_backfill_may_run_out_of_order_and_overlap_what_is_late(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    store = FeatureStore(applied_root)
    for first, last in ((15, 20), (1, 7), (8, 14), (5, 9)):
        for view in ("ride", "ride_totals"):
            store.materialize_windows(view, days(first, last))
    store.close()
    assert Daemon(applied_root, instance, "late_data_taxi").settle() == []
    assert_right(applied_root, rides())
