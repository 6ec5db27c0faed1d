"""What a caller may not do, it may not do through the doors of remote stores and registries either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from feast_assets.permissions.action import AuthzedAction
from feast_assets.permissions.permission import Permission
from feast_assets.permissions.policy import RoleBasedPolicy

from feast_assets import Entity, FeatureStore, FeatureView, Field, FileSource
from feast_assets.auth.identity import Identity, acting_as
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import ConcurrentApplyError, FeastError, InputError, SourceChangedError, StoreUnavailableError
from feast_assets.feast_errors import FeastPermissionError
from feast_assets.offline_stores.base import history_of
from feast_assets.offline_stores.remote.columns import micros_of
from feast_assets.offline_stores.remote.messages import HistoryMessage, OfSource, QueryArguments, WindowsArguments
from feast_assets.online_stores.remote.messages import Batch, PutRows, Reads, Tables
from feast_assets.registry.remote.messages import CommitMessage, OfProject, OfView, SnapshotRequest
from feast_assets.serving.api import TooBusyError
from feast_assets.serving.flight.known_sources import KnownSources
from feast_assets.serving.flight.methods import OfflineApi
from feast_assets.serving.http.message_routes import own_detail
from feast_assets.serving.online_rows import OnlineRowsApi
from feast_assets.serving.registry.methods import RegistryApi
from feast_assets.types import Float64

READER = Identity("ann", roles=["reader"])
WRITER = Identity("bob", roles=["writer"])
NOBODY = Identity("eve")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    pa.parquet.write_table(
        pa.table({"driver_id": [1], "fare": [1.0], "ts": pa.array([0], pa.timestamp("us", "UTC"))}),
        tmp_path / "rides.parquet",
    )
    driver = Entity(name="driver", join_keys=["driver_id"])
    rides = FileSource(name="rides", path="rides.parquet", timestamp_field="ts")
    view = FeatureView(name="stats", entities=[driver], source=rides, schema=[Field(name="fare", dtype=Float64)])
    reading = [AuthzedAction.DESCRIBE, AuthzedAction.READ_ONLINE, AuthzedAction.READ_OFFLINE]
    store = FeatureStore(tmp_path)
    store.apply(
        [
            driver,
            view,
            Permission(name="reading", actions=reading, policy=RoleBasedPolicy(roles=["reader"])),
            Permission(name="writing", policy=RoleBasedPolicy(roles=["writer"])),
        ]
    )
    yield store
    store.close()


async def test_rows_online_need_the_right_to_the_view(store: FeatureStore) -> None:
    api = OnlineRowsApi(store)
    table = store.snapshot().feature_view("stats").online_table("shop")
    read, put = Reads([(table, [b"k"])]), PutRows(table, [Batch([b"k"], [1], [1], [1], [b"x"])])
    with acting_as(WRITER):
        assert api.put(put).written == 1
    with acting_as(READER):
        assert [rows.payloads for rows in await api.get(read)] == [[b"x"]]
        for write in (lambda: api.put(put), lambda: api.drop(Tables([table])), lambda: api.setup(Tables([table]))):
            with pytest.raises(FeastPermissionError, match="'ann' may not WRITE_ONLINE"):
                write()
    with acting_as(NOBODY):
        with pytest.raises(FeastPermissionError, match="'eve' may not READ_ONLINE"):
            await api.get(read)
        with pytest.raises(FeastPermissionError):
            await api.get(Reads([("shop:no_such_view:0", [b"k"])]))


def test_definitions_are_filtered_and_changes_need_rights(store: FeatureStore) -> None:
    api = RegistryApi(lambda project: store.registry, lambda project: store.access)
    change = CommitMessage("shop", [Entity(name="new").to_spec()], [], [], [], None, "")
    with acting_as(READER):
        names = {o.name for o in api.snapshot(SnapshotRequest("shop")).objects}
        assert {"driver", "stats", "rides"} <= names
        assert api.ledger(OfView("shop", "stats")).fingerprints == []
        for refused in (
            lambda: api.commit(change),
            lambda: api.teardown(OfProject("shop")),
            lambda: api.forget(OfView("shop", "stats")),
        ):
            with pytest.raises(FeastPermissionError):
                refused()
    with acting_as(NOBODY):
        assert {o.object_type for o in api.snapshot(SnapshotRequest("shop")).objects} <= {"entity"}
        with pytest.raises(FeastPermissionError):
            api.ledger(OfView("shop", "stats"))
    with acting_as(WRITER):
        assert api.commit(change) == 2


def test_history_needs_rights_to_what_is_read(store: FeatureStore) -> None:
    api = OfflineApi(store, KnownSources(store, any_source=False))
    view = store.snapshot().feature_view("stats")
    arguments = WindowsArguments(HistoryMessage.of(history_of(view)), *micros_of([ALWAYS]))
    source = OfSource(view.batch_source.to_spec())  # type: ignore[union-attr]
    nothing = pa.RecordBatchReader.from_batches(pa.schema([]), [])
    with acting_as(READER):
        assert api.scan(arguments, nothing).read_all().num_rows == 1
        with pytest.raises(FeastPermissionError, match="WRITE_OFFLINE"):
            api.write(source, nothing)
    with acting_as(NOBODY):
        for refused in (
            lambda: api.scan(arguments, nothing),
            lambda: api.statistics(arguments),
            lambda: api.schema(source),
            lambda: api.read_query(QueryArguments("SELECT 1 AS a"), nothing),
        ):
            with pytest.raises(FeastPermissionError, match="READ_OFFLINE"):
                refused()


def test_a_client_gets_the_error_that_it_would_have_in_process() -> None:
    for error in (FeastPermissionError("no"), InputError("no"), SourceChangedError("no"), ConcurrentApplyError("no")):
        assert type(FeastError.from_error_detail(json.dumps(own_detail(error)))) is type(error)
    assert type(FeastError.from_error_detail(json.dumps(own_detail(TooBusyError("no"))))) is StoreUnavailableError
    assert "secret" not in json.dumps(own_detail(ValueError("secret")))
