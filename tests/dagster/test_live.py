"""A real code server, webserver and daemon, driven through GraphQL as the UI does; all tests share one start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from feast_assets import FeatureStore

INSTANCE = """
    telemetry: {enabled: false}
    nux: {enabled: false}
    concurrency:
      pools: {default_limit: 1}
    run_monitoring: {enabled: true, poll_interval_seconds: 1, free_slots_after_run_end_seconds: 1}
    run_coordinator:
      module: dagster.core.run_coordinator
      class: QueuedRunCoordinator
      config: {dequeue_interval_seconds: 1}
"""
DEFINITIONS = """
    from datetime import UTC, datetime, timedelta
    from pathlib import Path

    import dagster as dg
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feast_assets.dagster import (
        FeatureRepository, FeatureStoreResource, build_feature_view_assets, feature_view_jobs, late_data_sensor,
    )

    feature_store = FeatureStoreResource(repo_path=str(Path(__file__).parent))

    @dg.asset(
        key=["raw", "orders"],
        partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-13", timezone="UTC"),
    )
    def orders(context):
        day = datetime.fromisoformat(context.partition_key).replace(tzinfo=UTC)
        rows = {
            "driver_id": pa.array([1], pa.int64()),
            "placed_at": pa.array([day + timedelta(hours=9)], pa.timestamp("us", "UTC")),
            "amount": [float(day.day)],
        }
        folder = Path(__file__).parent / "orders"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table(rows), folder / f".{context.partition_key}.tmp")
        (folder / f".{context.partition_key}.tmp").rename(folder / f"{context.partition_key}.parquet")

    repository = FeatureRepository.load(feature_store, source_assets={"orders": orders})
    assets = build_feature_view_assets(repository, backfill_policy=dg.BackfillPolicy.multi_run(4))
    jobs = feature_view_jobs(assets)
    sensor = late_data_sensor(
        repository, assets, jobs, minimum_interval_seconds=1, retry_after=timedelta(seconds=1)
    )
    defs = dg.Definitions(
        assets=[orders, *assets],
        jobs=jobs,
        sensors=[sensor],
        resources={"feature_store": feature_store},
        executor=dg.in_process_executor,
    )
"""
FEATURES = """
    import os
    import time
    from datetime import UTC, datetime
    from pathlib import Path

    from feast_assets import (
        Entity, FeatureView, Field, FileSource, Float64, Int64, Partitions, ValueType, batch_feature_view,
    )

    HERE = Path(__file__).parent
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    rides = FileSource(name="rides", path="rides.parquet", timestamp_field="at")

    GRID = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 13, tzinfo=UTC))

    last_order = FeatureView(
        name="last_order",
        entities=[driver],
        source=FileSource(name="orders", path="orders/", timestamp_field="placed_at"),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="amount", dtype=Float64)],
        partitions=GRID,
    )

    @batch_feature_view(
        mode="pandas",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=GRID,
    )
    def ride(rides):
        while (HERE / "hold").exists():
            (HERE / "held").write_text(str(os.getpid()))
            time.sleep(0.05)
        return rides
"""
BACKFILL = """
    query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""
LAUNCH_BACKFILL = """
    mutation($params: LaunchBackfillParams!) {
      launchPartitionBackfill(backfillParams: $params) {
        ... on LaunchBackfillSuccess { backfillId }
        ... on PythonError { message }
      }
    }
"""
RUNS = """
    query { runsOrError { ... on Runs { results {
      runId status startTime endTime tags { key value }
      stepStats { startTime endTime }
    } } } }
"""
START_SENSOR = """
    mutation($selector: SensorSelector!) {
      startSensor(sensorSelector: $selector) {
        ... on Sensor { sensorState { status } }
        ... on PythonError { message }
      }
    }
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(what: str, found: Callable[[], Any], seconds: float = 90) -> Any:
    """Returns what is found when it is; something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds} seconds")


@dataclass
class Live:
    """A running Dagster over a small repository."""

    root: Path
    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        """Returns the data of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def runs(self) -> list[dict[str, Any]]:
        """Returns all runs, oldest first, with their tags as a dict."""
        found = self.ask(RUNS)["runsOrError"]["results"]
        return [run | {"tags": {t["key"]: t["value"] for t in run["tags"]}} for run in reversed(found)]

    def backfill(self, days: list[str], runs: int) -> list[dict[str, Any]]:
        """Launches a backfill and returns its runs when they have ended."""
        params = {"assetSelection": [{"path": ["live", "ride"]}], "partitionNames": days}
        launched = self.ask(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        assert "backfillId" in launched, launched

        def ended() -> Any:
            found = [r for r in self.runs() if r["tags"].get("dagster/backfill") == launched["backfillId"]]
            return found if len(found) == runs and all(r["status"] in ("SUCCESS", "FAILURE") for r in found) else None

        return list(wait_for("end of the backfill", ended))

    def write(self, rows: list[tuple[int, float, float]]) -> None:
        """Makes the source hold rows: driver, hours since the start, fare."""
        start = datetime(2024, 1, 1, tzinfo=UTC)
        frame = pd.DataFrame(
            [(d, start + timedelta(hours=h), f) for d, h, f in rows], columns=["driver_id", "at", "fare"]
        )
        frame.astype({"at": "datetime64[us, UTC]"}).to_parquet(self.root / "writing.parquet", index=False)
        os.replace(self.root / "writing.parquet", self.root / "rides.parquet")

    def fares(self) -> list[float | None]:
        store = FeatureStore(self.root)
        found = store.get_online_features(["ride:fare"], {"driver_id": [1, 2, 3]}).to_dict()["fare"]
        store.close()
        return list(found)


ROWS = [(driver, 24.0 * day + driver, 100.0 * driver + day) for driver in (1, 2, 3) for day in range(12)]
DAYS = [f"2024-01-{d:02}" for d in range(1, 13)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The servers, on ports of their own, stopped by their process ids."""
    root, home = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("home")
    made = Live(root, free_port())
    made.write(ROWS)
    (root / "feature_store.yaml").write_text("project: live\nregistry: registry.db\nonline_store: {path: online.db}\n")
    (root / "features.py").write_text(textwrap.dedent(FEATURES))
    (root / "feature_store.yaml").write_text(
        "project: live\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
    )
    (root / ".feastignore").write_text("definitions.py\n")
    FeatureStore(root).apply_repository()
    (root / "definitions.py").write_text(textwrap.dedent(DEFINITIONS))
    (home / "dagster.yaml").write_text(textwrap.dedent(INSTANCE))
    code_port = free_port()
    location = f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {code_port}, location_name: live}}\n"
    (root / "workspace.yaml").write_text(location)
    environment = {**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    environment.pop("FEAST_ASSETS_DEPLOYMENT", None)
    programs = Path(sys.executable).parent
    commands = [
        [
            "dagster",
            "api",
            "grpc",
            "-f",
            "definitions.py",
            "-h",
            "127.0.0.1",
            "-p",
            str(code_port),
            "--location-name",
            "live",
        ],
        ["dagster-webserver", "-h", "127.0.0.1", "-p", str(made.port), "-w", "workspace.yaml"],
        ["dagster-daemon", "run", "-w", "workspace.yaml"],
    ]
    servers: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> None:
        with (home / "log").open("ab") as log:
            program = [programs / command[0], *command[1:]]
            servers.append(
                subprocess.Popen(program, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
            )

    try:
        start(commands[0])
        # Who looks for the code before it is there does not look again soon.
        wait_for("code server", lambda: _listens(code_port))
        for command in commands[1:]:
            start(command)
        wait_for("code location", lambda: _loaded(made))
        yield made
    except AssertionError:
        print((home / "log").read_text()[-6000:])
        raise
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
        for server in servers:
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(timeout=15)


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _loaded(live: Live) -> bool:
    query = "query { repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    try:
        return bool(live.ask(query)["repositoriesOrError"].get("nodes"))
    except OSError:
        return False


def test_a_backfill_is_cut_into_runs_of_which_one_pool_runs_one_at_a_time(live: Live) -> None:
    runs = live.backfill(DAYS, runs=3)
    assert [r["status"] for r in runs] == ["SUCCESS"] * 3
    assert live.fares() == [111.0, 211.0, 311.0]
    steps = sorted((s["startTime"], s["endTime"]) for run in runs for s in run["stepStats"])
    assert len(steps) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(steps))
    ledger = FeatureStore(live.root).registry.ledger("ride")
    assert len(ledger) == 12
    assert {e.run_id for e in ledger} == {r["runId"] for r in runs}


def test_late_rows_become_one_run_of_their_range_and_a_killed_worker_is_made_good(live: Live) -> None:
    before = {r["runId"] for r in live.runs()}
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "live",
        "sensorName": "late_data_live",
    }
    started = live.ask(START_SENSOR, selector=selector)["startSensor"]
    assert started["sensorState"]["status"] == "RUNNING"

    (live.root / "hold").touch()
    live.write([*ROWS, (1, 24 * 10 + 23, 7.0), (2, 24 * 11 + 23, 8.0)])
    pid = int(wait_for("run that holds", lambda: (live.root / "held").exists() and (live.root / "held").read_text()))
    os.kill(pid, signal.SIGKILL)
    (live.root / "hold").unlink()
    first = wait_for(
        "end of the killed run",
        lambda: [r for r in live.runs() if r["runId"] not in before and r["status"] == "FAILURE"],
    )[0]
    span = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    assert [first["tags"][t] for t in span] == ["2024-01-11", "2024-01-12"]
    assert first["tags"]["dagster/sensor_name"] == "late_data_live"
    assert live.fares() == [111.0, 211.0, 311.0]

    second = wait_for(
        "another attempt",
        lambda: [r for r in live.runs() if r["runId"] not in before and r["status"] == "SUCCESS"],
    )[0]
    assert [second["tags"][t] for t in span] == ["2024-01-11", "2024-01-12"]
    assert second["tags"]["dagster/run_key"] != first["tags"]["dagster/run_key"]
    assert live.fares() == [111.0, 8.0, 311.0]
    assert len([r for r in live.runs() if r["runId"] not in before]) == 2


def test_a_backfill_of_the_users_own_asset_and_the_view_that_reads_it_runs_both_in_order(live: Live) -> None:
    keys = [["raw", "orders"], ["live", "last_order"]]
    params = {"assetSelection": [{"path": path} for path in keys], "partitionNames": DAYS}
    launched = live.ask(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]

    def ended() -> Any:
        status = live.ask(BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]["status"]
        return status if status not in ("REQUESTED", "CANCELING") else None

    assert wait_for("end of the backfill", ended, 180) == "COMPLETED_SUCCESS"
    store = FeatureStore(live.root)
    assert store.get_online_features(["last_order:amount"], [{"driver_id": 1}]).to_dict()["amount"] == [12.0]
    settled = [e for e in store.registry.ledger("last_order") if e.settled and e.rows]
    store.close()
    # No day of the view was run before its day of orders was there.
    assert len(settled) == 12
