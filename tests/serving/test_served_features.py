"""Logs of what a feature server serves: which answers, where they go, and what a broken destination does."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from served_project import READ, made
from servers import ask

from feast_assets import FeatureService, FeatureStore, FileLoggingDestination, LoggingConfig, RepoConfig
from feast_assets.errors import ConfigError, SourceError
from feast_assets.serving.http.app import FeatureServer
from feast_assets.serving.served_features import ServedFeatures
from feast_assets.settings.feature_server import FeatureLoggingSettings

RATES = {"all": 1.0, "none": 0.0, "half": 0.5}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made(tmp_path_factory.mktemp("served") / "repository")
    with (folder / "feature_store.yaml").open("a") as file:
        file.write("\nfeature_server: {feature_logging: {enabled: true}}\n")
    store = FeatureStore(folder)
    view = store.get_feature_view("stats")
    services = [
        FeatureService(
            name=name,
            features=[view[["trips", "city"]]],
            logging_config=LoggingConfig(FileLoggingDestination(path=str(folder / "logs" / name)), sample_rate=rate),
        )
        for name, rate in RATES.items()
    ]
    store.apply([*services, FeatureService(name="without", features=[view[["trips"]]])])
    store.close()
    return folder


def logged(repository: Path, service: str) -> pa.Table:
    """Returns the log of a service; without rows where there is none."""
    folder = repository / "logs" / service
    return ds.dataset(folder, partitioning="hive").to_table() if folder.exists() else pa.table({"driver_id": []})


def forget(repository: Path) -> None:
    for file in (repository / "logs").glob("**/*.parquet"):
        file.unlink()


async def test_each_answer_of_a_service_is_logged_with_its_values(repository: Path) -> None:
    forget(repository)
    app = FeatureServer(FeatureStore(repository))
    await app.open()
    before = datetime.now(UTC)
    expected = []
    for drivers in ([1, 2], [3], [1]):
        answer = await ask(app, "POST", READ, {"feature_service": "all", "entities": {"driver_id": drivers}})
        expected += zip(*[result["values"] for result in answer.json()["results"]], strict=True)
        for other in ("none", "without"):
            await ask(app, "POST", READ, {"feature_service": other, "entities": {"driver_id": drivers}})
    await ask(app, "POST", READ, {"features": ["stats:trips"], "entities": {"driver_id": [4]}})
    # What waits is written when the server ends.
    await app.close()
    rows = logged(repository, "all").to_pylist()
    columns = ("driver_id", "stats__trips", "stats__city")
    assert sorted(tuple(row[name] for name in columns) for row in rows) == sorted(expected)
    assert all(before <= row["__log_timestamp"] <= datetime.now(UTC) for row in rows)
    assert len({row["__request_id"] for row in rows}) == 3
    assert len(logged(repository, "none")) == 0


async def test_a_share_of_the_answers_is_drawn(repository: Path) -> None:
    forget(repository)
    app = FeatureServer(FeatureStore(repository))
    await app.open()
    for _ in range(200):
        await ask(app, "POST", READ, {"feature_service": "half", "entities": {"driver_id": [1]}})
    await app.close()
    # Fewer than 50 or more than 150 of 200 at a rate of a half happen once in 10^12 times.
    assert 50 <= len(logged(repository, "half")) <= 150


async def test_a_destination_that_cannot_be_written_costs_no_request_and_is_counted(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureStore(repository)
    app = FeatureServer(store)
    await app.open()

    def fail(*_: object) -> None:
        raise SourceError("the disk is full")

    monkeypatch.setattr(store, "write_logged_features", fail)
    with caplog.at_level(logging.ERROR, "feast_assets.serving"):
        for _ in range(3):
            answer = await ask(app, "POST", READ, {"feature_service": "all", "entities": {"driver_id": [1]}})
            assert answer.status == 200
        await app.close()
    assert "3 answers of feature service 'all' could not be logged: the disk is full" in caplog.text
    counted = app.metrics.registry.get_sample_value("feast_assets_logged_answers_total", {"outcome": "failed"})
    assert counted == 3


def test_answers_beyond_the_capacity_are_counted_and_not_waited_for(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(repository)
    store = FeatureStore(repository)
    counts: dict[str, int] = {}
    written = threading.Event()

    def count(outcome: str, answers: int) -> None:
        counts[outcome] = counts.get(outcome, 0) + answers

    served = ServedFeatures(store, FeatureLoggingSettings(enabled=True, queue_capacity=2), count)
    service = store.get_feature_service("all")
    response = store.get_online_features(service, {"driver_id": [1]})
    take = served._take
    begun = threading.Event()

    def slow(*answer: Any) -> None:
        begun.set()
        written.wait()
        take(*answer)

    monkeypatch.setattr(served, "_take", slow)
    served.offer(service, response)
    begun.wait()
    for _ in range(5):
        served.offer(service, response)
    assert counts == {"dropped": 3}
    written.set()
    served.close()
    assert counts == {"dropped": 3, "logged": 3}
    assert len(logged(repository, "all")) == 3


def test_rows_are_written_when_the_interval_is_over(repository: Path) -> None:
    forget(repository)
    store = FeatureStore(repository)
    done = threading.Event()
    settings = FeatureLoggingSettings(enabled=True, flush_interval_secs=0.01)
    served = ServedFeatures(store, settings, lambda outcome, answers: done.set())
    service = store.get_feature_service("all")
    served.offer(service, store.get_online_features(service, {"driver_id": [1]}))
    assert done.wait(60)
    assert len(logged(repository, "all")) == 1
    served.close()


def test_the_settings_are_those_of_feature_server(tmp_path: Path) -> None:
    config = RepoConfig(project="shop", feature_server={"feature_logging": {"enabled": True, "flush_interval_secs": 5}})
    assert config.feature_server.feature_logging.enabled
    assert timedelta(seconds=config.feature_server.feature_logging.flush_interval_secs) == timedelta(seconds=5)
    assert not RepoConfig(project="shop").feature_server.feature_logging.enabled
    with pytest.raises(ConfigError, match="queue_capacity"):
        RepoConfig(project="shop", feature_server={"feature_logging": {"enabled": True, "queue_capacity": 0}})
    with pytest.warns(UserWarning, match="write_to_disk_interval_secs has no effect"):
        RepoConfig(
            project="shop",
            feature_server={"feature_logging": {"enabled": True, "write_to_disk_interval_secs": 30}},
            _origin=str(tmp_path),
        )


def test_nothing_is_kept_of_a_server_without_the_setting(tmp_path: Path) -> None:
    folder = made(tmp_path / "repository")
    app = FeatureServer(FeatureStore(folder))
    assert app.api._served is None


def test_answers_after_a_change_of_their_service_are_logged_whatever_waited_before(tmp_path: Path) -> None:
    folder = made(tmp_path / "repository")
    store = FeatureStore(folder)
    view = store.get_feature_view("stats")
    outcomes: list[tuple[str, int]] = []
    served = ServedFeatures(store, FeatureLoggingSettings(), lambda *outcome: outcomes.append(outcome))
    for features in (["trips"], ["trips", "city"]):
        config = LoggingConfig(FileLoggingDestination(path=str(folder / "logs" / "changing")), sample_rate=1.0)
        service = FeatureService(name="changing", features=[view[features]], logging_config=config)
        store.apply(service)
        response = store.get_online_features(service, {"driver_id": [1]}, full_feature_names=True)
        served._take("changing", response, datetime.now(UTC))
    served._flush()
    assert outcomes == [("failed", 1), ("logged", 1)]
    assert len(logged(folder, "changing")) == 1
    store.close()
