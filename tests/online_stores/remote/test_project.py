"""A feature store whose online store is a feature server's: reads, writes, pushes, materialization and its repairs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast_assets.data_source import PushMode

from feast_assets import FeatureStore
from feast_assets.errors import FeatureServiceNotFoundException, InputError, StoreUnavailableError
from feast_assets.serving.http.app import FeatureServer

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "serving"))

from self_signed import self_signed
from served_apps import serving
from served_project import DEFINITIONS, EVENT_MICROS, SCHEMA, made


@dataclass
class Project:
    """A project on disk, and a client of its server.

    Attributes:
        root: the repository that is served.
        client: a feature store of another repository with the same registry and history.
        server: the feature store that is served.
    """

    root: Path
    client: FeatureStore
    server: FeatureStore


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("remote")
    root = made(folder / "served")
    server = FeatureStore(root)
    with serving(FeatureServer(server), lifespan="on") as url:
        client = FeatureStore(_client_of(root, folder / "client", f"{{type: remote, path: '{url}'}}"))
        yield Project(root, client, server)
        client.close()


def _client_of(root: Path, folder: Path, online_store: str, project: str = "served") -> Path:
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(
        f"project: {project}\nregistry: {root / 'registry.db'}\nonline_store: {online_store}\n"
    )
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "history").symlink_to(root / "history")
    return folder


FEATURES = ["stats:trips", "stats:rate", "stats:city", "totals:total"]


def test_reads_are_those_of_the_servers_process(project: Project) -> None:
    entities = {"driver_id": [1, 5, 99_999, 9_999], "bonus": [0.5, 1.0, 2.0, 3.0]}
    ours = project.server.get_online_features(FEATURES, entities)
    read = project.client.get_online_features(FEATURES, entities)
    assert read.to_dict(include_event_timestamps=True) == ours.to_dict(include_event_timestamps=True)
    assert read.to_dict()["trips"] == [1, 5, None, 9_999]
    assert [column.statuses for column in read.columns] == [column.statuses for column in ours.columns]

    async def several() -> list[dict[str, object]]:
        reads = [
            project.client.get_online_features_async(["stats:trips"], {"driver_id": [number]}) for number in range(40)
        ]
        responses = await asyncio.gather(*reads)
        return [response.to_dict() for response in responses]

    assert [answer["trips"] for answer in asyncio.run(several())] == [[number] for number in range(40)]


def test_errors_have_their_own_classes(project: Project) -> None:
    with pytest.raises(FeatureServiceNotFoundException):
        project.client.get_online_features(project.client.get_feature_service("nope"), {"driver_id": [1]})
    with pytest.raises(KeyError):
        project.client.get_online_features(["stats:trips"], {"other": [1]})


def test_writes_and_pushes_go_through_the_server_and_the_newest_wins(project: Project) -> None:
    def row(trips: int, year: int) -> pd.DataFrame:
        moment = pd.to_datetime([datetime(year, 1, 1, tzinfo=UTC)], utc=True)
        return pd.DataFrame({"driver_id": [1], "trips": [trips], "rate": [0.1], "city": ["x"], "ts": moment})

    def trips(store: FeatureStore) -> object:
        return store.get_online_features(["stats:trips"], {"driver_id": [1]}).to_dict()["trips"]

    project.client.push("live", row(100, 2030), to=PushMode.ONLINE)
    project.client.write_to_online_store("stats", row(50, 2029))
    assert trips(project.server) == trips(project.client) == [100]
    project.client.write_to_online_store("stats", row(101, 2031))
    assert trips(project.server) == trips(project.client) == [101]
    assert project.client.list_unfinished_pushes() == []


def test_materialization_and_the_repair_of_corrected_windows_go_through_the_server(tmp_path: Path) -> None:
    root = made(tmp_path / "served")
    server = FeatureStore(root)
    with serving(FeatureServer(server), lifespan="on") as url:
        client = FeatureStore(_client_of(root, tmp_path / "client", f"{{type: remote, path: '{url}'}}"))
        moment = datetime.fromtimestamp(EVENT_MICROS / 1e6, UTC)
        # Driver 3 was wrong, driver 4 never was.
        kept = [number for number in range(100) if number != 4]
        rows = {
            "driver_id": kept,
            "trips": [333 if number == 3 else number for number in kept],
            "rate": [0.5] * 99,
            "city": ["x"] * 99,
            "ts": [moment + timedelta(seconds=number) for number in kept],
        }
        (root / "history" / "first.parquet").unlink()
        pq.write_table(pa.table(rows, SCHEMA), root / "history" / "second.parquet")
        client.materialize_incremental(datetime(2025, 1, 1, tzinfo=UTC))
        read = server.get_online_features(["stats:trips"], {"driver_id": [3, 4, 5, 5_000]}).to_dict()
        assert read["trips"] == [333, None, 5, None]
        report = client.audit()
        assert [view.feature_view for view in report.views] == ["stats"]
        assert report.views[0].online_sampled and not report.mismatches, report
        client.close()


def test_tls_needs_the_certificate_and_another_project_is_refused(project: Project, tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    server = FeatureServer(project.server)
    with serving(server, ssl_keyfile=str(key), ssl_certfile=str(certificate)) as url:
        trusted = f"{{type: remote, path: '{url}', cert: '{certificate}'}}"
        with_cert = FeatureStore(_client_of(project.root, tmp_path / "trusting", trusted))
        assert with_cert.get_online_features(["stats:trips"], {"driver_id": [7]}).to_dict()["trips"] == [7]
        with_cert.close()
        without = FeatureStore(_client_of(project.root, tmp_path / "wary", f"{{type: remote, path: '{url}'}}"))
        with pytest.raises(StoreUnavailableError, match="Set cert to a PEM file"):
            without.get_online_features(["stats:trips"], {"driver_id": [7]})
        without.close()
        other = FeatureStore(_client_of(project.root, tmp_path / "other", trusted, project="elsewhere"))
        with pytest.raises(InputError, match="the online tables of project 'served'"):
            other.apply_repository()
        other.close()
    server.api.close()
