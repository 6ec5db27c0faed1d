"""A package with backends of its own is installed, used by a repository, and passes the conformance suites.

All of it runs in processes of its own, which find the package as any other: by what pip has installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PACKAGE = Path(__file__).parent / "plugin_package"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's source, as building it leaves files there."""
    copy = tmp_path_factory.mktemp("source") / "journal-backends"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def environment(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the package is installed. Nothing is downloaded for it."""
    installed = tmp_path_factory.mktemp("installed")
    # Its build backend is in this environment; so is all that it depends on.
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(installed), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment: dict[str, str], folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A feature repository on the package's backends, with the history of three drivers."""
    (tmp_path / "data").mkdir()
    times = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    rows = {
        "driver_id": [driver for driver in (1, 2, 3) for _ in times],
        "event_timestamp": times * 3,
        "trips": [10 * driver + day for driver in (1, 2, 3) for day in (1, 2, 3)],
    }
    pq.write_table(pa.table(rows), tmp_path / "data" / "trips.parquet")
    files = {
        "feature_store.yaml": """
            project: shop
            registry: {registry_type: announced, path: data/registry.db}
            online_store: {type: journal, path: data/journal}
            offline_store: {type: logged}
            """,
        "features.py": """
            from datetime import timedelta

            from feast_assets import Entity, FeatureView, Field, FileSource, Int64

            driver = Entity(name="driver", join_keys=["driver_id"])
            source = FileSource(path="data/trips.parquet", timestamp_field="event_timestamp")
            trips = FeatureView(
                name="trips", entities=[driver], schema=[Field(name="trips", dtype=Int64)], source=source,
                ttl=timedelta(days=3650),
            )
            """,
        "use.py": """
            import json

            import pandas as pd

            from feast_assets import FeatureStore

            if __name__ == "__main__":
                store = FeatureStore(".")
                online = store.get_online_features(["trips:trips"], [{"driver_id": 2}, {"driver_id": 9}]).to_dict()
                moment = pd.Timestamp("2024-01-02", tz="UTC")
                asked = pd.DataFrame({"driver_id": [3, 1], "event_timestamp": [moment, moment]})
                historical = store.get_historical_features(asked, ["trips:trips"]).to_df()
                report = store.audit()
                kinds = [type(s).__module__ for s in (store.online_store, store.offline_store, store.registry)]
                print(json.dumps([online, historical["trips"].tolist(), len(report.mismatches), kinds]))
            """,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return tmp_path


def test_a_repository_runs_on_the_backends_of_an_installed_package(
    repository: Path, environment: dict[str, str]
) -> None:
    run(environment, repository, "-m", "feast_assets.cli", "apply")
    run(environment, repository, "-m", "feast_assets.cli", "materialize", "2024-01-01", "2024-02-01")
    online, historical, mismatches, kinds = json.loads(run(environment, repository, "use.py"))
    assert online == {"driver_id": [2, 9], "trips": [23, None]}
    assert historical == [32, 12]
    assert mismatches == 0
    assert kinds == ["journal_backends.online", "journal_backends.offline", "journal_backends.registry"]
    announced = (repository / "data" / "announcements.txt").read_text(encoding="utf-8")
    assert announced.startswith("shop revision 1: created ")
    log = (repository / "data" / "queries.log").read_text(encoding="utf-8")
    verbs = {json.loads(line)["verb"] for line in log.splitlines()}
    assert {"schema", "latest", "join", "statistics"} <= verbs
    assert list((repository / "data" / "journal").glob("*.jsonl"))


def test_a_type_of_the_package_is_suggested_for_a_misspelt_one(repository: Path, environment: dict[str, str]) -> None:
    yaml = repository / "feature_store.yaml"
    yaml.write_text(yaml.read_text(encoding="utf-8").replace("type: journal", "type: jurnal"), encoding="utf-8")
    command = [sys.executable, "-m", "feast_assets.cli", "apply"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=repository)
    assert done.returncode != 0
    assert "online_store.type 'jurnal' is not known. Did you mean 'journal'?" in " ".join(done.stderr.split())


def test_the_package_runs_the_conformance_suites_on_its_backends(source: Path, environment: dict[str, str]) -> None:
    # The registry is ours but for one method, and many processes take long to start.
    options = ["-q", "-p", "no:cacheprovider", "-k", "not (AnnouncedRegistry and processes)"]
    said = run(environment, source, "-m", "pytest", *options, "tests")
    assert " passed" in said.splitlines()[-1]
    assert "skipped" not in said.splitlines()[-1]


def test_the_same_classes_are_found_by_their_paths(repository: Path, environment: dict[str, str]) -> None:
    yaml = repository / "feature_store.yaml"
    text = yaml.read_text(encoding="utf-8")
    for name, path in {
        "type: journal": "type: journal_backends.online.JournalOnlineStore",
        "type: logged": "type: journal_backends.offline.LoggedOfflineStore",
        "registry_type: announced": "registry_type: journal_backends.registry.AnnouncedRegistry",
    }.items():
        text = text.replace(name, path)
    yaml.write_text(text, encoding="utf-8")
    run(environment, repository, "-m", "feast_assets.cli", "apply")
    *_, kinds = json.loads(run(environment, repository, "use.py"))
    assert kinds == ["journal_backends.online", "journal_backends.offline", "journal_backends.registry"]
