"""The container and compose files: what can be checked without a container engine.

The compose file's own commands are run on what the image would hold, on real Redis and Postgres servers.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PASSWORD = "s3cretword"


def copied() -> list[list[tuple[str, str]]]:
    """Returns what each stage of the Dockerfile copies from the project: (source, target in the image)."""
    stages: list[list[tuple[str, str]]] = []
    for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines():
        words = [word for word in line.split() if not word.startswith("--")]
        if line.startswith("FROM"):
            stages.append([])
        if line.startswith("COPY") and "--from" not in line:
            target = words[-1]
            stages[-1] += [(source, target + source if target.endswith("/") else target) for source in words[1:-1]]
    return stages


def test_all_that_the_image_is_made_of_is_in_the_project_and_goes_to_the_build() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for source in [source for stage in copied() for source, _ in stage]:
        assert (ROOT / source).exists(), source
        ignored = False
        for rule in rules:
            pattern = rule.removeprefix("!")
            if any(fnmatch.fnmatch(str(part), pattern) for part in [Path(source), *Path(source).parents][:-1]):
                ignored = not rule.startswith("!")
        assert not ignored, f"{source} is ignored by .dockerignore"


def test_secrets_and_data_do_not_go_to_the_build() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert rules.index("*") < min(n for n, rule in enumerate(rules) if rule.startswith("!"))
    assert rules.index("feature_repo/data") > rules.index("!feature_repo")


def test_what_is_installed_is_what_is_locked() -> None:
    lines = subprocess.run(
        ["sed", "-f", "deploy/constraints.sed", "requirements.lock"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    constraints = [Requirement(line) for line in lines]
    locked = re.findall(r"^([A-Za-z0-9._-]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert [constraint.name for constraint in constraints] == locked
    # pip refuses constraints with extras.
    assert not any(constraint.extras for constraint in constraints)
    assert all(str(constraint.specifier).startswith("==") for constraint in constraints)


def test_ports_are_published_on_the_loopback_address_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_services_wait_for_each_other_in_an_order_that_comes_to_an_end() -> None:
    done: list[str] = []
    while len(done) < len(SERVICES):
        ready = [n for n, s in SERVICES.items() if n not in done and set(s.get("depends_on", {})) <= set(done)]
        assert ready
        done += ready
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"


def test_passwords_come_from_the_environment_and_must_be_given() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)", text)) == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert {"POSTGRES_PASSWORD", "REDIS_PASSWORD"} <= set(re.findall(r"\$\{(\w+):\?", text))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the image holds as the project."""
    project = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__", "data")
    for source, target in copied()[-1]:
        to = tmp_path / target.lstrip("/") if target.startswith("/") else project / target
        to.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, to, ignore=ignore)
        else:
            shutil.copy(ROOT / source, to)
    return project


@pytest.fixture
def environment(image: Path, postgres_server: str, redis_server: tuple[str, int]) -> Iterator[dict[str, str]]:
    """The environment that the compose file gives its processes, with addresses of servers that run here."""
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE ROLE features LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("CREATE DATABASE features OWNER features")
        connection.execute((DEPLOY / "create_databases.sql").read_bytes())
    address = postgres_server.rpartition("@")[2]
    given = {
        name: value.replace("postgres:5432", address)
        .replace("${REDIS_PASSWORD:?set a password of letters and digits}", "")
        .replace("redis:6379,password=", f"{redis_server[0]}:{redis_server[1]}")
        .replace("${POSTGRES_PASSWORD:?set a password of letters and digits}", PASSWORD)
        .replace("${POSTGRES_PASSWORD}", PASSWORD)
        for name, value in SERVICES["server"]["environment"].items()
    }
    assert "${" not in str(given)
    yield {
        **os.environ,
        **given,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(image.parent / "dagster_home"),
        "FEAST_ASSETS_DEPLOYMENT": "production",
    }
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        for name in ("features", "dagster"):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute("DROP ROLE features")


def test_the_processes_of_the_compose_file_start_and_share_their_stores(
    image: Path, environment: dict[str, str]
) -> None:
    subprocess.run(SERVICES["apply"]["command"], cwd=image, env=environment, check=True, capture_output=True)
    materialize = ["feast-assets", "-c", "feature_repo", "-f", "deploy/feature_store.yaml", "materialize"]
    subprocess.run(
        [*materialize, "2013-01-01", "2013-01-02T23:59:59", "-v", "origin_weather"],
        cwd=image,
        env=environment,
        check=True,
        capture_output=True,
    )
    command = [*SERVICES["server"]["command"], "--port", "0"]
    command[command.index("0.0.0.0")] = "127.0.0.1"
    with subprocess.Popen(command, cwd=image, env=environment, stderr=subprocess.PIPE, text=True) as server:
        # A server that says nothing must not keep the tests waiting.
        watchdog = threading.Timer(120, server.kill)
        watchdog.start()
        try:
            assert server.stderr is not None
            address = next(url[0] for line in server.stderr if (url := re.search(r"http://[\d.]+:\d+", line)))
            with urllib.request.urlopen(f"{address}/ready") as answer:
                assert answer.status == 200
            body = {"features": ["origin_weather:temperature_f"], "entities": {"origin": ["JFK"]}}
            request = urllib.request.Request(f"{address}/get-online-features", json.dumps(body).encode())
            with urllib.request.urlopen(request) as answer:
                # The server reads the row that another process has written; its ttl ended in 2013.
                assert json.load(answer)["results"][1]["statuses"] == ["OUTSIDE_MAX_AGE"]
        finally:
            server.terminate()
            server.communicate()
            watchdog.cancel()
    # Of Dagster: the instance is on Postgres, and the workspace's code loads on the deployment's stores.
    code = """
from dagster import DagsterInstance
from definitions import defs
with DagsterInstance.get() as instance:
    print(type(instance.event_log_storage).__name__, type(instance.run_coordinator).__name__)
print(type(defs.resources["online_store"]).__name__, defs.resources["online_store"].type)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=image, env=environment, check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == ["PostgresEventLogStorage", "QueuedRunCoordinator", "OnlineStoreResource", "redis"]
