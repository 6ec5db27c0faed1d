"""A push is one unit: killed or failed at any moment, after the next use it is there whole or not, each row once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from push_project import PATHS, ROWS, PushProject
from small_project import hours

from feast_assets import FeatureStore, Field, Int64, PushMode, RepoConfig
from feast_assets.compute import push_runs
from feast_assets.compute.push_runs import rows_from_bytes, rows_to_bytes
from feast_assets.errors import (
    DataFrameSerializationError,
    InputError,
    SourceError,
    StoreUnavailableError,
    UnfinishedPushError,
)
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.redis.store import RedisOnlineStore
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.registry.base import Changes, Registry
from feast_assets.registry.sql.store import SqlRegistry

WORKER = Path(__file__).with_name("pushing_worker.py")
BOTH = PushMode.ONLINE_AND_OFFLINE
WHOLE = {"stats": ROWS, "trips_only": ROWS}
NOTHING = {"stats": 0, "trips_only": 0}


@pytest.fixture
def redis_address(redis_server) -> str:
    import redis

    host, port = redis_server
    with closing(redis.Redis(host, port)) as client:
        client.flushall()
    return f"{host}:{port}"


@pytest.fixture
def pushing(tmp_path):
    project = PushProject(tmp_path)
    project.apply()
    yield project
    project.close()


def fresh(project: PushProject) -> PushProject:
    """Returns another process's view of the same project."""
    online = project.store.config.online_store
    redis = online.connection_string.get_secret_value() if hasattr(online, "connection_string") else ""
    return PushProject(project.root, project.source, redis)


# --- killed at random moments


@pytest.mark.parametrize("source", PATHS)
@pytest.mark.parametrize("online", ["sqlite", "redis"])
def test_killed_at_random_moments_a_push_is_whole_after_the_next_use(tmp_path, online, source, request):
    redis = request.getfixturevalue("redis_address") if online == "redis" else ""
    project = PushProject(tmp_path, source, redis)
    project.apply()
    project.close()
    command = [sys.executable, str(WORKER), str(tmp_path), source, redis, "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        for _ in range(2):
            worker.stdout.readline()
        time.sleep(random.uniform(0, 0.15))  # each run of the suite kills at other moments
        os.kill(worker.pid, signal.SIGKILL)
        begun = [2, *(int(line) for line in worker.stdout.read().split())]
    last = begun[-1]
    after = PushProject(tmp_path, source, redis)
    after.store.materialize_incremental(hours(24), feature_views=["stats"])
    history = after.history()
    for number in range(1, last + 1):
        expected = [(ROWS, WHOLE)] if number < last else [(0, NOTHING), (ROWS, WHOLE)]
        assert (history.get(number, 0), after.online(number)) in expected, f"batch {number} of {last}"
    for number in (last, last - 1, last):
        after.store.push("live", after.batch(number), to=BOTH)
    assert after.history() == dict.fromkeys(range(1, last + 1), ROWS)
    assert after.online(last) == WHOLE and after.store.list_unfinished_pushes() == []
    after.close()


# --- stopped at each step


class Stopped(BaseException):
    """Stands for the death of the process: nothing after it is run."""


STEPS = {
    "noting": (SqlRegistry, "note_push", True),
    "noted": (SqlRegistry, "note_push", False),
    "appending": (DuckDBOfflineStore, "write_once", True),
    "appended": (DuckDBOfflineStore, "write_once", False),
    "putting": (SqliteOnlineStore, "put_many", True),
    "put into one view": (SqliteOnlineStore, "put_many", False),
    "forgetting": (SqlRegistry, "forget_push", True),
    "forgotten": (SqlRegistry, "forget_push", False),
}


def stop_at(step: str, patch: pytest.MonkeyPatch) -> None:
    owner, name, before = STEPS[step]
    method = getattr(owner, name)

    def stopping(self, *args):
        if not before:
            method(self, *args)
        raise Stopped

    patch.setattr(owner, name, stopping)


def stopped_push(project: PushProject, step: str, to: PushMode = BOTH) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at(step, patch)
        other = fresh(project)
        with pytest.raises(Stopped):
            other.store.push("live", other.batch(1), to=to)
        other.close()


USES = {
    "materialize_incremental": lambda store: store.materialize_incremental(hours(24)),
    "materialize": lambda store: store.materialize(hours(0), hours(24)),
    "audit": lambda store: store.audit(sample=10),
    "historical": lambda store: store.get_historical_features(
        pa.table({"driver_id": [1], "event_timestamp": [hours(9)]}), ["stats:trips"]
    ),
    "another push": lambda store: store.push("live", PushProject.batch(None, 7, 1), to=BOTH),
    "write_to_offline_store": lambda store: store.write_to_offline_store("stats", PushProject.batch(None, 7, 1)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("step", STEPS)
def test_whoever_uses_history_next_completes_the_push(pushing, step, use):
    stopped_push(pushing, step)
    other = fresh(pushing)
    USES[use](other.store)
    happened = step != "noting"
    assert other.history().get(1, 0) == (ROWS if happened else 0)
    assert other.online(1) == (WHOLE if happened else NOTHING)
    assert other.store.list_unfinished_pushes() == []
    other.close()


READS = {
    "online read": lambda store: store.get_online_features(["stats:trips"], {"driver_id": [1]}),
    "apply": lambda store: store.apply([]),
    "refresh": lambda store: store.refresh_registry(),
    "online push": lambda store: store.push("live", PushProject.batch(None, 7, 1)),
}


@pytest.mark.parametrize("use", READS)
@pytest.mark.parametrize("step", STEPS)
def test_whoever_does_not_use_history_completes_what_comes_after_it(pushing, step, use):
    """Such a process may run on a machine that has other files, or none, where the project's sources are."""
    stopped_push(pushing, step)
    other = fresh(pushing)
    READS[use](other.store)
    happened = step not in ("noting", "noted", "appending")
    assert other.history().get(1, 0) == (ROWS if happened else 0)
    assert other.online(1) == (WHOLE if happened else NOTHING)
    assert len(other.store.list_unfinished_pushes()) == (step in ("noted", "appending"))
    other.store.materialize_incremental(hours(24))
    assert (other.history().get(1, 0), other.online(1)) == ((0, NOTHING) if step == "noting" else (ROWS, WHOLE))
    other.close()


@pytest.mark.parametrize("step", STEPS)
def test_the_same_push_again_leaves_each_row_once(pushing, step):
    stopped_push(pushing, step)
    for other in (fresh(pushing), pushing):
        other.store.push("live", other.batch(1), to=BOTH)
        assert other.history() == {1: ROWS} and other.online(1) == WHOLE
        assert other.store.list_unfinished_pushes() == []


def test_a_push_to_several_views_is_one_unit_without_history_too(pushing):
    stopped_push(pushing, "put into one view", PushMode.ONLINE)
    assert pushing.online(1) == {"stats": ROWS, "trips_only": 0}
    other = fresh(pushing)
    assert other.online(1) == WHOLE and other.history() == {}
    other.close()


def test_a_repeat_is_told_by_its_rows_however_they_come(pushing):
    rows = pushing.batch(1)
    for form in (
        rows,
        rows.to_pandas(),
        rows.to_pydict(),
        rows.to_pylist(),
        rows.select(["ts", "city", "trips", "driver_id"]),
    ):
        pushing.store.push("live", form, to=BOTH)
        pushing.store.push("live", form, to=PushMode.OFFLINE)
        pushing.store.write_to_offline_store("stats", form)
    assert pushing.history() == {1: ROWS}


def test_a_later_push_of_the_same_rows_is_a_correction_online(pushing):
    """A completed push is not remembered: pushed again, its rows are the newest."""
    for trips in (5, 9, 5):
        rows = {"driver_id": [1], "trips": [trips], "city": ["x"], "ts": [hours(5)]}
        pushing.store.push("live", rows, to=BOTH)
        read = pushing.store.get_online_features(["stats:trips"], {"driver_id": [1]})
        assert read.to_dict()["trips"] == [trips]


# --- at once


def test_many_may_complete_a_push_at_once(pushing):
    stopped_push(pushing, "noted")
    others = [fresh(pushing) for _ in range(4)]
    threads = [threading.Thread(target=o.store.materialize_incremental, args=(hours(24),)) for o in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pushing.history() == {1: ROWS} and pushing.online(1) == WHOLE
    assert pushing.store.list_unfinished_pushes() == []
    for other in others:
        other.close()


@pytest.mark.parametrize("step", ["noted", "appended", "put into one view"])
def test_a_push_that_goes_on_after_others_completed_it_changes_nothing(pushing, step, monkeypatch):
    owner, name, _ = STEPS[step]
    method = getattr(owner, name)
    seen = []

    def slow(self, *args):
        found = method(self, *args)
        if not seen:
            seen.append(step)
            other = fresh(pushing)
            other.store.materialize_incremental(hours(24))
            assert other.history() == {1: ROWS} and other.online(1) == WHOLE
            later = {"driver_id": [10_001], "trips": [-1], "city": ["later"], "ts": [hours(5)]}
            other.store.push("live", later)
            other.close()
        return found

    monkeypatch.setattr(owner, name, slow)
    pushing.store.push("live", pushing.batch(1), to=BOTH)
    monkeypatch.undo()
    assert seen and pushing.history() == {1: ROWS}
    read = pushing.store.get_online_features(["stats:trips"], {"driver_id": [10_001, 10_002]}).to_dict()
    assert read["trips"] == [-1, 20_004], "the later push of the same times stays the newer"


def test_pushes_of_many_threads_are_all_there_once(pushing):
    others = [fresh(pushing) for _ in range(3)]

    def push(other: PushProject, numbers: list[int]) -> None:
        for number in numbers:
            other.store.push("live", other.batch(number, 50), to=BOTH)

    shared = [1, 2, 3, 4]
    threads = [threading.Thread(target=push, args=(o, [*shared, 10 + i])) for i, o in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pushing.history() == dict.fromkeys([*shared, 10, 11, 12], 50)
    assert all(pushing.online(n, 50) == {"stats": 50, "trips_only": 50} for n in (*shared, 10, 11, 12))
    for other in others:
        other.close()


# --- a store that fails


class Server:
    """A Redis server that can be stopped and started again."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder = folder
        self.start()

    def start(self) -> None:
        import redis

        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                with closing(redis.Redis("127.0.0.1", self.port)) as client:
                    client.ping()
                    return
            except redis.ConnectionError:
                time.sleep(0.01)
        raise RuntimeError("redis-server did not start")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def test_a_push_while_the_online_store_is_down_is_completed_when_it_is_back(tmp_path, server):
    project = PushProject(tmp_path, "folder", f"127.0.0.1:{server.port}")
    project.apply()
    server.stop()
    with pytest.raises(
        UnfinishedPushError, match=r"push to 'live' was interrupted: Redis at .* noted in the registry"
    ) as told:
        project.store.push("live", project.batch(1), to=BOTH)
    assert isinstance(told.value, StoreUnavailableError)
    (push,) = project.store.list_unfinished_pushes()
    assert push.id == told.value.push_id and push.call == "push to 'live'"
    assert project.history() == {1: ROWS}
    with pytest.warns(UserWarning, match=r"push to 'live' of .* is not complete yet, and is kept.*Redis at"):
        USES["historical"](project.store)
    server.start()
    project.store.refresh_registry()
    assert project.online(1) == WHOLE and project.store.list_unfinished_pushes() == []
    project.close()


def test_the_process_whose_push_broke_off_completes_it_with_its_next_read(pushing, monkeypatch):
    put, fails = SqliteOnlineStore.put_many, [True]

    def put_many(self, table, batches):
        if fails.pop() if fails else False:
            raise StoreUnavailableError("The disk is full.")
        return put(self, table, batches)

    monkeypatch.setattr(SqliteOnlineStore, "put_many", put_many)
    with pytest.raises(UnfinishedPushError):
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    assert pushing.online(1) == WHOLE


def test_reads_go_on_where_the_registry_is_gone_after_a_push_broke_off(pushing, monkeypatch):
    def down(*_):
        raise StoreUnavailableError("It is gone.")

    assert pushing.online(1) == NOTHING
    put = SqliteOnlineStore.put_many
    monkeypatch.setattr(SqliteOnlineStore, "put_many", down)
    with pytest.raises(UnfinishedPushError):
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    monkeypatch.setattr(SqlRegistry, "refreshed", down)
    with pytest.warns(UserWarning, match="registry could not be refreshed"):
        assert pushing.online(1) == NOTHING
    monkeypatch.setattr(SqliteOnlineStore, "put_many", put)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pushing.online(1) == NOTHING, "it does not ask at every read"


async def test_async_pushes_are_units_too(pushing, monkeypatch):
    async def down(*_):
        raise StoreUnavailableError("The disk is full.")

    monkeypatch.setattr(SqliteOnlineStore, "put_many_async", down)
    with pytest.raises(UnfinishedPushError, match="The disk is full"):
        await pushing.store.push_async("live", pushing.batch(1), to=BOTH)
    assert pushing.history() == {1: ROWS}
    assert pushing.online(1) == WHOLE, "completed by this read"
    monkeypatch.undo()
    await pushing.store.push_async("live", pushing.batch(2), to=BOTH)
    await pushing.store.push_async("live", pushing.batch(2), to=PushMode.OFFLINE)
    assert pushing.history() == {1: ROWS, 2: ROWS} and pushing.online(2) == WHOLE
    assert pushing.store.list_unfinished_pushes() == []


async def test_a_direct_write_of_many_rows_is_a_unit_too(tmp_path, redis_address, monkeypatch):
    project = PushProject(tmp_path, "folder", redis_address)
    project.apply()

    async def down(*_):
        raise StoreUnavailableError("Redis is gone.")

    monkeypatch.setattr(RedisOnlineStore, "put_many_async", down)
    with pytest.raises(UnfinishedPushError, match="write_to_online_store to 'stats' was interrupted"):
        await project.store.write_to_online_store_async("stats", project.batch(1))
    with pytest.raises(StoreUnavailableError, match="Redis is gone") as few:
        await project.store.write_to_online_store_async("stats", project.batch(2, 2000))
    assert not isinstance(few.value, UnfinishedPushError), "what the store takes whole needs no note"
    assert project.online(1) == {"stats": ROWS, "trips_only": 0} and project.history() == {}
    project.close()


def test_where_history_could_not_be_written_nothing_is_left(pushing, monkeypatch):
    def full(*_):
        raise StoreUnavailableError("The offline store cannot write: no space left.")

    monkeypatch.setattr(DuckDBOfflineStore, "write_once", full)
    with pytest.raises(StoreUnavailableError, match="no space left") as told:
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    assert not isinstance(told.value, UnfinishedPushError)
    monkeypatch.undo()
    assert pushing.store.list_unfinished_pushes() == []
    pushing.store.materialize_incremental(hours(24))
    assert pushing.history() == {} and pushing.online(1) == NOTHING


def test_without_the_registry_nothing_is_written(pushing, monkeypatch):
    def down(*_):
        raise StoreUnavailableError("The registry is read-only.")

    monkeypatch.setattr(SqlRegistry, "note_push", down)
    with pytest.raises(StoreUnavailableError, match="read-only"):
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    assert pushing.history() == {} and pushing.online(1) == NOTHING


def test_a_push_that_cannot_be_forgotten_is_whole_all_the_same(pushing, monkeypatch):
    def down(*_):
        raise StoreUnavailableError("The registry is gone.")

    monkeypatch.setattr(SqlRegistry, "forget_push", down)
    with pytest.warns(UserWarning, match="all rows are stored, but the registry still notes"):
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    monkeypatch.undo()
    pushing.store.materialize_incremental(hours(24))
    assert pushing.history() == {1: ROWS} and pushing.store.list_unfinished_pushes() == []


# --- pushes that cannot be completed


def test_an_apply_that_removes_a_view_completes_the_push_first(pushing):
    stopped_push(pushing, "appended")
    other = fresh(pushing)
    other.store.apply([], objects_to_delete=[other.store.get_feature_view("trips_only")], partial=False)
    assert other.store.list_unfinished_pushes() == []
    drivers = other.batch(1)["driver_id"].to_pylist()
    read = other.store.get_online_features(["stats:trips"], {"driver_id": drivers}).to_dict()
    assert None not in read["trips"] and other.history() == {1: ROWS}
    other.close()


def test_a_view_that_is_gone_loses_its_part_only(pushing):
    stopped_push(pushing, "noted")
    # Somebody who knows nothing of pushes removes the view.
    pushing.store.registry.commit(Changes(deletes=[("feature view", "trips_only")]))
    other = fresh(pushing)
    with pytest.warns(UserWarning, match="which is lost: There is no feature view 'trips_only'"):
        other.store.materialize_incremental(hours(24))
    assert other.history() == {1: ROWS} and other.store.list_unfinished_pushes() == []
    drivers = other.batch(1)["driver_id"].to_pylist()
    read = other.store.get_online_features(["stats:trips"], {"driver_id": drivers}).to_dict()
    assert None not in read["trips"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.store.materialize_incremental(hours(24))
    other.close()


def test_rows_that_a_changed_view_does_not_take_are_lost_with_a_warning(pushing):
    stopped_push(pushing, "noted")
    fields = [*pushing.view().schema, Field(name="new", dtype=Int64)]
    pushing.store.registry.commit(Changes([pushing.view(schema=fields)]))
    other = fresh(pushing)
    with pytest.warns(UserWarning, match="which is lost: .*column 'new' of feature view 'stats' is missing"):
        other.store.audit(["trips_only"], sample=1)
    assert other.store.list_unfinished_pushes() == [] and other.history() == {1: ROWS}
    other.close()


def test_a_push_whose_source_is_gone_is_kept_and_does_not_block(pushing):
    stopped_push(pushing, "noted")
    moved = pushing.root / "elsewhere"
    (pushing.root / PATHS["folder"]).rename(moved)
    (pushing.root / PATHS["folder"]).write_text("a file in its place")
    other = fresh(pushing)
    with pytest.warns(UserWarning, match="is kept for the next use.*drop_unfinished_push"), pytest.raises(SourceError):
        other.store.materialize_incremental(hours(24), ["stats"])
    assert other.online(1) == NOTHING
    (pushing.root / PATHS["folder"]).unlink()
    moved.rename(pushing.root / PATHS["folder"])
    other.store.materialize_incremental(hours(24), ["stats"])
    assert other.history() == {1: ROWS} and other.online(1) == WHOLE
    other.close()


def test_a_damaged_note_does_not_stand_in_the_way_of_others(pushing):
    stopped_push(pushing, "noted")
    with pushing.store.registry._writing() as writing:
        writing.transaction.each("UPDATE feast_assets_push_rows SET content = :content", [{"content": b"damaged"}])
    (damaged,) = pushing.store.list_unfinished_pushes()
    with pytest.MonkeyPatch.context() as patch:
        stop_at("noted", patch)
        with pytest.raises(Stopped):
            pushing.store.push("live", pushing.batch(2), to=BOTH)
    other = fresh(pushing)
    with pytest.warns(UserWarning, match="copy of the rows is damaged"):
        other.store.materialize_incremental(hours(24))
    assert other.history() == {2: ROWS} and other.online(2) == WHOLE
    assert other.store.list_unfinished_pushes() == [damaged]
    with pytest.raises(InputError, match="no unfinished push 'x'. Known: "):
        other.store.drop_unfinished_push("x")
    other.store.drop_unfinished_push(damaged.id)
    assert other.store.list_unfinished_pushes() == []
    other.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("online_views", "no JSON"),
        ("online_views", "1"),
        ("online_views", "[1]"),
        ("online_views", "[" * 100_000),
        ("online_views", b"\xff"),
        ("offline_view", b"\xff"),
        ("version", "x"),
        ("version", 1e300),
        ("at", 2**62),
        ("at", "x"),
        ("call", b"\xff"),
        ("by", b"\xff"),
    ],
)
def test_a_note_with_odd_values_is_kept_and_can_be_given_up(pushing, column, value):
    stopped_push(pushing, "noted")
    with pushing.store.registry._writing() as writing:
        writing.transaction.each(f'UPDATE feast_assets_pushes SET "{column}" = :value', [{"value": value}])
    other = fresh(pushing)
    with pytest.warns(UserWarning, match="its note in the registry is damaged.*drop_unfinished_push"):
        other.store.materialize_incremental(hours(24))
    assert other.history() == {} and other.online(1) == NOTHING
    (kept,) = other.store.list_unfinished_pushes()
    with pytest.raises(InputError, match="no unfinished push 3"):
        other.store.drop_unfinished_push(3)
    other.store.drop_unfinished_push(kept.id)
    assert other.store.list_unfinished_pushes() == []
    other.close()


def test_rows_of_a_note_that_are_damaged_anywhere_are_never_read():
    """A changed length or offset could crash Arrow, and a changed value would be stored without a word."""
    content = rows_to_bytes(pa.table({"a": [1, 2, 3], "b": ["x", None, "yz"], "c": [[1], None, [2, 3]]}))
    chance = random.Random(5)
    for _ in range(2000):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 20))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.3:
            at = chance.randrange(len(damaged))
            del damaged[at : at + chance.randrange(1, 40)]
        if bytes(damaged) != content:
            with pytest.raises(DataFrameSerializationError, match="damaged"):
                rows_from_bytes(bytes(damaged))


def test_a_machine_without_the_sources_leaves_history_to_others(pushing, tmp_path_factory):
    stopped_push(pushing, "noted")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    store = FeatureStore(
        elsewhere,
        RepoConfig(
            project="pushing",
            registry=str(pushing.root / "registry.db"),
            provider="local",
            online_store={"type": "sqlite", "path": str(pushing.root / "data" / "online.db")},
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get_online_features(["stats:trips"], {"driver_id": [10_001]}).to_dict()["trips"] == [None]
        store.push("live", pushing.batch(3))
    assert list(elsewhere.iterdir()) == [] and len(store.list_unfinished_pushes()) == 1
    store.close()


# --- what it costs, and where it ends


def test_a_push_that_is_whole_by_itself_is_not_noted(tmp_path, redis_address, monkeypatch):
    noted = []
    note = SqlRegistry.note_push
    monkeypatch.setattr(SqlRegistry, "note_push", lambda self, *args: noted.append(args[0]) or note(self, *args))
    project = PushProject(tmp_path, "folder", redis_address)
    project.apply()
    project.store.write_to_online_store("stats", project.batch(1, 2000))
    project.store.push("live", project.batch(1), to=PushMode.OFFLINE)
    project.store.write_to_offline_store("stats", project.batch(2))
    assert noted == []
    project.store.write_to_online_store("stats", project.batch(1, 2001))
    project.store.push("live", project.batch(3, 1))
    assert [push.online_views for push in noted] == [("stats",), ("stats", "trips_only")]
    project.close()


def test_online_reads_do_not_ask_for_unfinished_pushes(pushing, monkeypatch):
    pushing.online(1)
    asked = []
    for name in ("refreshed", "snapshot", "noted_pushes", "revision"):
        monkeypatch.setattr(SqlRegistry, name, lambda *_, name=name: asked.append(name))
    for _ in range(5):
        pushing.online(1)
    assert asked == []


def test_a_push_that_is_too_large_for_the_registry_is_refused_whole(pushing, monkeypatch):
    monkeypatch.setattr(push_runs, "MOST_BYTES", 1 << 10)
    with pytest.raises(InputError, match="one push may have 0 MB. Push them in parts, or append"):
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    assert pushing.history() == {} and pushing.online(1) == NOTHING and pushing.store.list_unfinished_pushes() == []


def test_a_registry_that_keeps_no_notes_says_so(pushing, monkeypatch):
    class Plain:
        """A registry of a third party, as far as pushes need one."""

        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return getattr(self._inner, name)

    assert not isinstance(Plain(pushing.store.registry), Registry)
    pushing.store.registry = Plain(pushing.store.registry)
    with pytest.warns(UserWarning, match="A Plain keeps no notes of pushes: if push to 'live' is interrupted"):
        pushing.store.push("live", pushing.batch(1), to=BOTH)
    assert pushing.history() == {1: ROWS} and pushing.online(1) == WHOLE
    assert pushing.store.list_unfinished_pushes() == []


def test_rows_survive_the_registry_as_they_are():
    table = pa.table(
        {
            "l": pa.array([[1, None], None, []]),
            "d": pa.array(["x", None, "x"]).dictionary_encode(),
            "t": pa.array([1, None, 3], pa.timestamp("ns", "Europe/Paris")),
            "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        }
    )
    assert rows_from_bytes(rows_to_bytes(table)) == table
    for damaged in (b"", b"x", rows_to_bytes(table)[:-40], rows_to_bytes(table)[50:]):
        with pytest.raises(DataFrameSerializationError, match="damaged"):
            rows_from_bytes(damaged)


# --- arguments


def test_a_source_without_online_views_cannot_be_pushed_online(tmp_path):
    project = PushProject(tmp_path)
    project.apply()
    project.store.apply(
        [project.view(online=False), project.view(name="trips_only", features=("trips",), online=False)]
    )
    with pytest.raises(
        InputError, match="none of its feature views is online.*stats, trips_only. Use to=PushMode.OFFLINE"
    ):
        project.store.push("live", project.batch(1))
    project.store.push("live", project.batch(1), to=PushMode.OFFLINE)
    assert project.history() == {1: ROWS}
    project.close()


def test_transform_on_write_changes_nothing_for_views_that_are_stored(pushing):
    for value in (True, False):
        pushing.store.push("live", pushing.batch(1), transform_on_write=value)
        pushing.store.write_to_online_store("stats", pushing.batch(2), transform_on_write=value)
    assert pushing.online(1) == WHOLE
    for write in (
        lambda: pushing.store.push("live", pushing.batch(1), transform_on_write="no"),
        lambda: pushing.store.write_to_online_store("stats", pushing.batch(1), transform_on_write=None),
    ):
        with pytest.raises(InputError, match="transform_on_write must be True or False"):
            write()
