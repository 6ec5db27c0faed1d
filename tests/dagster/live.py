"""A real code server for each code location, a webserver and a daemon, driven through GraphQL as the UI does."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

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
_LOADED = "query { repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }"
_RUNS = """
    query { runsOrError { ... on Runs { results {
      runId status startTime endTime tags { key value } assetSelection { path }
      stepStats { stepKey startTime endTime }
    } } } }
"""
_BACKFILL = """
    query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""
_LAUNCH_BACKFILL = """
    mutation($params: LaunchBackfillParams!) {
      launchPartitionBackfill(backfillParams: $params) {
        ... on LaunchBackfillSuccess { backfillId }
        ... on PythonError { message }
      }
    }
"""
_START_SENSOR = """
    mutation($selector: SensorSelector!) {
      startSensor(sensorSelector: $selector) {
        ... on Sensor { sensorState { status } }
        ... on PythonError { message }
      }
    }
"""
_CHECKS = """
    query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
      assetChecksOrError { ... on AssetChecks { checks {
        name
        partitionStatuses { ... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } } }
      } } }
    } } }
"""
_PARTITIONS = """
    query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
      partitionStats { numMaterialized numFailed }
      assetMaterializations(limit: 1) { runId partition }
    } } }
"""
_FAILURES = """
    query($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events {
      ... on ExecutionStepFailureEvent { stepKey error { message causes { message } } }
      ... on RunFailureEvent { message }
    } } } } }
"""
DONE = ("SUCCESS", "FAILURE", "CANCELED")


def wait_for(subject: str, found: Callable[[], Any], seconds: float = 180) -> Any:
    """Returns what is found when it is; something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError(f"no {subject} within {seconds} seconds")


@dataclass
class Live:
    """A running Dagster.

    Attributes:
        root: holds a folder for each code location.
    """

    root: Path
    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        """Returns the data of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """Returns the runs that have some tags, oldest first, with all their tags as a dict."""
        found = self.ask(_RUNS)["runsOrError"]["results"]
        told = [run | {"tags": {t["key"]: t["value"] for t in run["tags"]}} for run in reversed(found)]
        return [run for run in told if tags.items() <= run["tags"].items()]

    def launch_backfill(self, keys: Sequence[str], partitions: Sequence[str] | None = None) -> str:
        """Launches a backfill of assets, of all partitions where none are named, and returns its id."""
        params: dict[str, Any] = {"assetSelection": [{"path": key.split("/")} for key in keys]}
        params |= {"allPartitions": True} if partitions is None else {"partitionNames": list(partitions)}
        launched = self.ask(_LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        assert "backfillId" in launched, launched
        return str(launched["backfillId"])

    def end_of_backfill(self, backfill: str) -> tuple[str, list[dict[str, Any]]]:
        """Returns the status with which a backfill has ended, and its runs."""

        def ended() -> Any:
            status = self.ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]["status"]
            return None if status in ("REQUESTED", "CANCELING", "FAILING") else status

        status = wait_for("end of the backfill", ended, 300)
        runs = self.runs(**{"dagster/backfill": backfill})
        assert all(run["status"] in DONE for run in runs)
        return status, runs

    def failures(self, runs: Sequence[Mapping[str, Any]]) -> str:
        """Returns what the failed ones of some runs say."""
        told = []
        for run in runs:
            if run["status"] == "FAILURE":
                events = self.ask(_FAILURES, id=run["runId"])["runOrError"]["eventConnection"]["events"]
                told += [json.dumps(event)[:2000] for event in events if event]
        return "\n".join(told)

    def start_sensor(self, location: str, name: str) -> None:
        """Switches a sensor on."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": location, "sensorName": name}
        started = self.ask(_START_SENSOR, selector=selector)["startSensor"]
        assert started["sensorState"]["status"] == "RUNNING", started

    def checks(self, key: str) -> dict[str, dict[str, set[str]]]:
        """Returns, by check and status, the first and last keys of the ranges of an asset's partitions."""
        node = self.ask(_CHECKS, key={"path": key.split("/")})["assetNodeOrError"]
        told: dict[str, dict[str, set[str]]] = {}
        for check in node["assetChecksOrError"]["checks"]:
            for each in (check["partitionStatuses"] or {"ranges": []})["ranges"]:
                ends = told.setdefault(check["name"], {}).setdefault(each["status"], set())
                ends.add(f"{each['startKey']}...{each['endKey']}")
        return told

    def partitions(self, key: str) -> tuple[int, int]:
        """Returns how many partitions of an asset are materialized, and how many have failed."""
        stats = self.ask(_PARTITIONS, key={"path": key.split("/")})["assetNodeOrError"]["partitionStats"]
        return stats["numMaterialized"], stats["numFailed"]


@contextmanager
def running(root: Path, home: Path, locations: Sequence[str]) -> Iterator[Live]:
    """Serves code locations, each from ``definitions.py`` in a folder of its name; stops all by their process ids."""
    made = Live(root, _free_port())
    (home / "dagster.yaml").write_text(textwrap.dedent(INSTANCE))
    ports = {name: _free_port() for name in locations}
    served = [f"  - grpc_server: {{host: 127.0.0.1, port: {p}, location_name: {name}}}" for name, p in ports.items()]
    (root / "workspace.yaml").write_text("\n".join(["load_from:", *served, ""]))
    environment = {**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    environment.pop("FEAST_ASSETS_DEPLOYMENT", None)
    # Programs that start together would make the instance's SQLite files at the same time, which fails.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_run_records(limit=1)
        instance.get_latest_materialization_event(dg.AssetKey("none"))
        instance.all_instigator_state()
    with _servers(environment, home / "log") as start:
        runs: dict[int, Callable[[], bool]] = {}
        for name, port in ports.items():
            options = ["-f", "definitions.py", "-h", "127.0.0.1", "-p", str(port), "--location-name", name]
            runs[port] = start(root / name, "dagster", "api", "grpc", *options)
        # Who looks for the code before it is there does not look again soon.
        for port, still_runs in runs.items():
            wait_for("code server", lambda port=port, runs=still_runs: _listens(port) or not runs())
            assert still_runs(), "a code server has ended"
        start(root, "dagster-webserver", "-h", "127.0.0.1", "-p", str(made.port), "-w", "workspace.yaml")
        start(root, "dagster-daemon", "run", "-w", "workspace.yaml")
        wait_for("code locations", lambda: _loaded(made) == set(locations))
        yield made


@contextmanager
def _servers(environment: Mapping[str, str], log: Path) -> Iterator[Callable[..., Callable[[], bool]]]:
    servers: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, program: str, *arguments: str) -> Callable[[], bool]:
        """Starts a program, and returns what says whether it still runs."""
        command = [Path(sys.executable).with_name(program), *arguments]
        with log.open("ab") as out:
            servers.append(
                subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
            )
        return lambda server=servers[-1]: server.poll() is None

    try:
        yield start
    except AssertionError:
        print(log.read_text()[-6000:])
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


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _loaded(live: Live) -> set[str]:
    try:
        nodes = live.ask(_LOADED)["repositoriesOrError"].get("nodes") or []
    except OSError:
        return set()
    return {node["location"]["name"] for node in nodes}
