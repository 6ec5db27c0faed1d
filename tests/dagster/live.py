"""A real code server for each code location, a webserver and a daemon, driven through GraphQL as the UI does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
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
_LAUNCH = """
    mutation($params: ExecutionParams!) {
      launchPipelineExecution(executionParams: $params) {
        ... on LaunchRunSuccess { run { runId } }
        ... on PythonError { message }
      }
    }
"""
_REPORT = """
    mutation($params: ReportRunlessAssetEventsParams!) {
      reportRunlessAssetEvents(eventParams: $params) {
        __typename
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


def wait_for(subject: str, found: Callable[[], Any], seconds: float = 900) -> Any:
    """Returns what is found when it is; something true.

    Args:
        seconds: after how long something has gone wrong, on however slow a machine.
    """
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
        with urllib.request.urlopen(request, timeout=300) as answer:
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

        status = wait_for("end of the backfill", ended)
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

    def end_of_job(self, location: str, job: str, **tags: str) -> dict[str, Any]:
        """Launches a job with some tags, and returns its run when it has ended."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": location, "pipelineName": job}
        told = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": told}}
        launched = self.ask(_LAUNCH, params=params)["launchPipelineExecution"]
        assert "run" in launched, launched
        run_id = launched["run"]["runId"]

        def ended() -> Any:
            return next((run for run in self.runs() if run["runId"] == run_id and run["status"] in DONE), None)

        run: dict[str, Any] = wait_for("end of the job", ended)
        return run

    def report(self, key: str, *partitions: str) -> None:
        """Reports that an asset, or some of its partitions, was materialized outside of Dagster."""
        params = {"eventType": "ASSET_MATERIALIZATION", "assetKey": {"path": key.split("/")}}
        told = self.ask(_REPORT, params=params | ({"partitionKeys": list(partitions)} if partitions else {}))
        assert told["reportRunlessAssetEvents"]["__typename"] == "ReportRunlessAssetEventsSuccess", told

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
    (home / "dagster.yaml").write_text(textwrap.dedent(INSTANCE))
    environment = {**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    environment.pop("FEAST_ASSETS_DEPLOYMENT", None)
    # Programs that start together would make the instance's SQLite files at the same time, which fails.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_run_records(limit=1)
        instance.get_latest_materialization_event(dg.AssetKey("none"))
        instance.all_instigator_state()
    # Names of sockets may be a hundred characters long.
    with tempfile.TemporaryDirectory(prefix="live") as sockets, _servers(environment, home / "log") as start:
        served = {name: f"{sockets}/{name}" for name in locations}
        lines = [f"  - grpc_server: {{host: localhost, socket: {s}, location_name: {n}}}" for n, s in served.items()]
        (root / "workspace.yaml").write_text("\n".join(["load_from:", *lines, ""]))
        runs: dict[str, Callable[[], bool]] = {}
        for name, path in served.items():
            options = ["-f", "definitions.py", "-s", path, "--location-name", name]
            runs[path] = start(root / name, "dagster", "api", "grpc", *options)
        # Who looks for the code before it is there does not look again soon.
        for path, still_runs in runs.items():
            wait_for("code server", lambda path=path, runs=still_runs: _listens(path) or not runs())
            assert still_runs(), "a code server has ended"
        start(root, "dagster-daemon", "run", "-w", "workspace.yaml")
        yield _with_webserver(root, set(locations), start)


def _with_webserver(root: Path, locations: set[str], start: Callable[..., Callable[[], bool]]) -> Live:
    """Starts a webserver; again, where somebody else has taken the port that was free."""
    for _ in range(5):
        made = Live(root, _free_port())
        still_runs = start(root, "dagster-webserver", "-h", "127.0.0.1", "-p", str(made.port), "-w", "workspace.yaml")
        wait_for("code locations", lambda m=made, runs=still_runs: _loaded(m) == locations or not runs())
        if still_runs():
            return made
    raise AssertionError("no webserver has started")


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
                server.wait(timeout=120)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as attempt:
        return attempt.connect_ex(path) == 0


def _loaded(live: Live) -> set[str]:
    try:
        nodes = live.ask(_LOADED)["repositoriesOrError"].get("nodes") or []
    except OSError:
        return set()
    return {node["location"]["name"] for node in nodes}
