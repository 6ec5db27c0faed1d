"""What a caller may not do, it may not do through the doors of remote stores and registries either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
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
from feast_assets.registry.remote.messages import CommitMessage, KnownState, OfProject, OfView, SnapshotRequest
from feast_assets.serving.api import TooBusyError
from feast_assets.serving.flight.feast_commands import FeastCommands
from feast_assets.serving.flight.known_sources import KnownSources
from feast_assets.serving.flight.methods import OfflineApi
from feast_assets.serving.http.message_routes import own_detail
from feast_assets.serving.online_rows import OnlineRowsApi
from feast_assets.serving.registry.methods import RegistryApi
from feast_assets.types import Float64

READER = Identity("ann", roles=["reader"])
WRITER = Identity("bob", roles=["writer"])
NOBODY = Identity("eve")
DRIVER = Entity(name="driver", join_keys=["driver_id"])
FARE, TRIPS = Field(name="fare", dtype=Float64), Field(name="trips", dtype=Float64)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    pq.write_table(
        pa.table({"driver_id": [1], "fare": [1.0], "trips": [1.0], "ts": pa.array([0], pa.timestamp("us", "UTC"))}),
        tmp_path / "rides.parquet",
    )
    rides = FileSource(name="rides", path="rides.parquet", timestamp_field="ts")
    view = FeatureView(name="stats", entities=[DRIVER], source=rides, schema=[FARE])
    reading = [AuthzedAction.DESCRIBE, AuthzedAction.READ_ONLINE, AuthzedAction.READ_OFFLINE]
    store = FeatureStore(tmp_path)
    store.apply(
        [
            DRIVER,
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


def test_a_client_that_reads_what_has_changed_sees_what_it_may_see_now(store: FeatureStore) -> None:
    api = RegistryApi(lambda project: store.registry, lambda project: store.access)
    view = store.get_feature_view("stats")
    store.apply([FeatureView(name="stats", entities=[DRIVER], source=view.batch_source, schema=[FARE, TRIPS])])
    with acting_as(NOBODY):
        before = api.snapshot(SnapshotRequest("shop"))
        known = KnownState("shop", before.revision, before.committed, before.has_noted_pushes)
        assert before.feature_lists == {}
    store.apply([Permission(name="seeing", name_patterns="stats", actions=AuthzedAction.DESCRIBE)])
    with acting_as(NOBODY):
        now = api.refreshed(known)
    assert now is not None and now.is_whole
    assert "stats" in {each.name for each in now.objects}
    assert set(now.feature_lists) == {"stats"}
    store.apply([Permission(name="seeing", name_patterns="nothing", actions=AuthzedAction.DESCRIBE)])
    with acting_as(NOBODY):
        now = api.refreshed(KnownState("shop", now.revision, now.committed, now.has_noted_pushes))
    assert now is not None and now.is_whole
    assert "stats" not in {each.name for each in now.objects}


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


def test_the_name_of_a_view_opens_no_source_of_another(store: FeatureStore, tmp_path: Path) -> None:
    api = OfflineApi(store, KnownSources(store, any_source=False))
    reading = [AuthzedAction.DESCRIBE, AuthzedAction.READ_OFFLINE]
    only_stats = RoleBasedPolicy(roles=["of stats"])
    pq.write_table(pq.read_table(tmp_path / "rides.parquet"), tmp_path / "secrets.parquet")
    secrets = FileSource(name="secrets", path="secrets.parquet", timestamp_field="ts")
    store.apply([secrets, Permission(name="stats", name_patterns="^stats$", actions=reading, policy=only_stats)])
    history = history_of(store.snapshot().feature_view("stats"))
    own = WindowsArguments(HistoryMessage.of(history), *micros_of([ALWAYS]))
    others = WindowsArguments(HistoryMessage.of(replace(history, sources=(secrets,))), *micros_of([ALWAYS]))
    nothing = pa.RecordBatchReader.from_batches(pa.schema([]), [])
    with acting_as(Identity("joe", roles=["of stats"])):
        assert api.scan(own, nothing).read_all().num_rows == 1
        with pytest.raises(FeastPermissionError, match="'joe' may not READ_OFFLINE .*secrets"):
            api.scan(others, nothing)


def test_commands_of_feast_need_rights_to_what_they_read_and_write(store: FeatureStore, tmp_path: Path) -> None:
    commands = FeastCommands(store, KnownSources(store, any_source=False))
    store.apply(
        Permission(name="looking", actions=[AuthzedAction.DESCRIBE], policy=RoleBasedPolicy(roles=["onlooker"]))
    )
    before = (tmp_path / "rides.parquet").read_bytes()
    entities = pa.table({"driver_id": [1], "event_timestamp": pa.array([9], pa.timestamp("us", "UTC"))})

    def command(api: str, **more: object) -> bytes:
        columns = {"join_key_columns": ["driver_id"], "feature_name_columns": ["fare"], "timestamp_field": "ts"}
        return json.dumps({"api": api, "data_source_name": "rides", **columns, **more}).encode()

    for pull in ("pull_latest_from_table_or_query", "pull_all_from_table_or_query"):
        with acting_as(READER):
            assert commands.read(command(pull), entities).read_all().num_rows == 1
        onlooker = Identity("sam", roles=["onlooker"])
        with acting_as(onlooker), pytest.raises(FeastPermissionError, match="'sam' may not READ_OFFLINE .*rides"):
            commands.read(command(pull), entities)
    saves = {"retrieve_func": "get_historical_features", "feature_refs": ["stats:fare"], "allow_overwrite": True}
    with acting_as(READER), pytest.raises(FeastPermissionError, match="'ann' may not WRITE_OFFLINE .*rides"):
        commands.write(command("persist", **saves), entities)
    assert (tmp_path / "rides.parquet").read_bytes() == before


def test_a_client_gets_the_error_that_it_would_have_in_process() -> None:
    for error in (FeastPermissionError("no"), InputError("no"), SourceChangedError("no"), ConcurrentApplyError("no")):
        assert type(FeastError.from_error_detail(json.dumps(own_detail(error)))) is type(error)
    assert type(FeastError.from_error_detail(json.dumps(own_detail(TooBusyError("no"))))) is StoreUnavailableError
    assert "secret" not in json.dumps(own_detail(ValueError("secret")))


def test_the_name_of_a_view_opens_no_other_columns_of_its_source(store: FeatureStore) -> None:
    api = OfflineApi(store, KnownSources(store, any_source=False))
    actions = [AuthzedAction.DESCRIBE, AuthzedAction.READ_OFFLINE]
    of_stats = RoleBasedPolicy(roles=["of stats"])
    store.apply([Permission(name="stats", name_patterns="^stats$", actions=actions, policy=of_stats)])
    history = history_of(store.snapshot().feature_view("stats"))
    nothing = pa.RecordBatchReader.from_batches(pa.schema([]), [])
    hidden = [
        replace(history, features=(TRIPS,)),
        replace(history, join_keys=(*history.join_keys, TRIPS)),
        replace(history, declared=(*history.declared, "trips")),
    ]
    with acting_as(Identity("joe", roles=["of stats"])):
        own = WindowsArguments(HistoryMessage.of(history), *micros_of([ALWAYS]))
        assert api.scan(own, nothing).read_all().num_rows == 1
        for each in hidden:
            with pytest.raises(FeastPermissionError, match="'joe' may not READ_OFFLINE .*rides"):
                api.scan(WindowsArguments(HistoryMessage.of(each), *micros_of([ALWAYS])), nothing)
    with acting_as(READER):
        others = WindowsArguments(HistoryMessage.of(hidden[0]), *micros_of([ALWAYS]))
        assert api.scan(others, nothing).read_all()["trips"].to_pylist() == [1.0]
