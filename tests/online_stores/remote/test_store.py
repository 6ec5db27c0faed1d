"""The remote online store, against a feature server over SQLite."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from feast_assets.auth.access import Access
from feast_assets.config import RepoConfig, load_repo_config
from feast_assets.errors import (
    ConfigError,
    InputError,
    NotSupportedError,
    StoredFormatError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from feast_assets.feast_errors import FeastPermissionError
from feast_assets.online_stores.base import OnlineRead, OnlineStore
from feast_assets.online_stores.remote.config import RemoteOnlineStoreConfig
from feast_assets.online_stores.remote.messages import PREFIX, Batch, PutRows
from feast_assets.online_stores.remote.store import RemoteOnlineStore
from feast_assets.online_stores.sqlite import pool as sqlite_pool
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.remote.http_client import HttpClient
from feast_assets.remote.message_client import encode_message
from feast_assets.serving.http.app import FeatureServer
from feast_assets.serving.online_rows import OnlineRowsApi
from feast_assets.testing import (
    CanEvictConformance,
    CanExpireConformance,
    CanReplaceConformance,
    CanSampleConformance,
    CanTellRestartsConformance,
    OnlineStoreConformance,
)
from feast_assets.testing.online_store import StoreFactory, encoded, read_rows

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "remote"))

from failing_proxy import FailingProxy
from scripted_server import answer, scripted
from served_apps import serving


class AnyTable(OnlineRowsApi):
    """Serves tables of any name, as the suites use them."""

    def check_tables(self, *tables: str, action: object) -> None:
        pass


class Served:
    """A feature server of this process whose online store each test chooses."""

    def __init__(self) -> None:
        config = RepoConfig(project="served")
        self.holder = SimpleNamespace(online_store=None, project="served", config=config, access=Access("served"))
        self.app = FeatureServer(self.holder)  # type: ignore[arg-type]
        self.app._routes |= self.app._online_rows(AnyTable(self.holder))  # type: ignore[arg-type]
        self.url = ""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served()
    with serving(server.app) as server.url:
        yield server
    server.app.api.close()


@pytest.fixture
def behind(served: Served, tmp_path: Path) -> Iterator[OnlineStore]:
    """The store that the server has."""
    store = SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), tmp_path)
    served.holder.online_store = store
    yield store
    store.close()


def _config(url: str, **settings: Any) -> RemoteOnlineStoreConfig:
    return RemoteOnlineStoreConfig(path=url, **settings)


class TestRemote(
    OnlineStoreConformance,
    CanReplaceConformance,
    CanSampleConformance,
    CanTellRestartsConformance,
    CanExpireConformance,
    CanEvictConformance,
):
    @pytest.fixture
    def store_factory(self, served: Served, behind: OnlineStore, tmp_path: Path) -> StoreFactory:
        return partial(RemoteOnlineStore, _config(served.url), tmp_path)

    @pytest.fixture
    def rows_examined(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
        """Counts instructions of SQLite's interpreter in the server, in tens."""
        steps = 0
        open_connection = sqlite_pool.SqlitePool._open

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        def counting(pool: sqlite_pool.SqlitePool) -> sqlite3.Connection:
            connection = open_connection(pool)
            connection.set_progress_handler(count, 10)
            return connection

        monkeypatch.setattr(sqlite_pool.SqlitePool, "_open", counting)
        return lambda: steps


def test_only_tables_of_the_project_that_is_served_can_be_named(served: Served, behind: OnlineStore) -> None:
    guarded = FeatureServer(served.holder)  # type: ignore[arg-type]
    with serving(guarded) as url:
        store = RemoteOnlineStore(_config(url), Path())
        store.setup(["served:view:0"])
        store.put_many("served:view:0", [encoded([(b"k", 1, 0, 0, b"x")])])
        behind.put_many("secret:view:0", [encoded([(b"k", 1, 0, 0, b"secret")])])
        stamps = next(behind.scan("secret:view:0", 0, 9))  # type: ignore[attr-defined]
        row = encoded([(b"k", 2, 0, 0, b"mine")])
        for use in (
            lambda: store.get_many([OnlineRead("served:view:0", [b"k"]), OnlineRead("secret:view:0", [b"k"])]),
            lambda: store.put_many("secret:view:0", [row]),
            lambda: store.put_existing("secret:view:0", [row]),
            lambda: store.setup(["served:other:0", "secret:view:0"]),
            lambda: store.drop(["served:view:0", "secret:view:0"]),
            lambda: store.marks(["secret:view:0"]),
            lambda: store.advance("secret:view:0", 1, 2),
            lambda: list(store.scan("secret:view:0", 0, 9)),
            lambda: store.replace_many("secret:view:0", stamps, row),
            lambda: store.sample_keys("secret:view:0", 1, 0),
            lambda: store.get_many([OnlineRead("servedsecret:view:0", [b"k"])]),
        ):
            with pytest.raises(InputError, match="the online tables of project 'served'"):
                use()
        assert read_rows(store, "served:view:0", [b"k"]) == [(1, 0, 0, b"x")]
        assert read_rows(behind, "secret:view:0", [b"k"]) == [(1, 0, 0, b"secret")]
        store.close()
    guarded.api.close()


def test_rows_are_read_and_put_in_as_many_requests_as_they_need(
    served: Served, behind: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_assets.online_stores.remote.store._KEYS_A_REQUEST", 3)
    monkeypatch.setattr("feast_assets.online_stores.remote.store._ROWS_A_REQUEST", 4)
    monkeypatch.setattr("feast_assets.online_stores.remote.store._BYTES_A_REQUEST", 1_000)
    store = RemoteOnlineStore(_config(served.url), Path())
    rows = [(b"%03d" % i, i, i, i, b"p" * (i * 13 % 500)) for i in range(100)]
    result = store.put_many("t", [encoded(rows[:50]), encoded(rows[50:51]), encoded([]), encoded(rows[51:])])
    assert result.written == 100
    keys = [row[0] for row in rows] + [b"none"]
    assert read_rows(store, "t", keys) == [*(row[1:] for row in rows), None]
    parts = list(store.scan("t", 0, 200))
    assert sorted(key for part in parts for key in part.keys) == keys[:-1]
    replaced = [(key, 1, 1, 1, b"new") for key in keys[:5]]
    assert sum(store.replace_many("t", part, encoded(replaced)) for part in parts) == 100
    assert read_rows(store, "t", keys[:7]) == [(1, 1, 1, b"new")] * 5 + [None] * 2
    store.close()


def test_the_errors_of_the_servers_store_come_back_as_they_are(served: Served, tmp_path: Path) -> None:
    store = RemoteOnlineStore(_config(served.url, connection_retries=0), Path())
    (tmp_path / "online.db").mkdir()
    served.holder.online_store = SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), tmp_path)
    with pytest.raises(StoreUnavailableError, match=r"online\.db"):
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    served.holder.online_store = PlainStore(tmp_path)
    with pytest.raises(NotSupportedError, match="PlainStore, cannot replace rows"):
        next(store.scan("t", 0, 1))
    assert store.sample_keys("t", 5, 0) == []
    assert (store.key_ttl, store.evicts(), store.evicts_marks(), store.restart_token()) == (None, "", False, "")
    served.holder.online_store = BrokenStore(tmp_path)
    with pytest.raises(StoreUnavailableError, match="failed unexpectedly"):
        store.marks(["t"])
    scan = store.scan("t", 0, 1)
    assert next(scan).keys == [b"k"]
    with pytest.raises(InputError, match="half-way"):
        next(scan)
    store.close()


class PlainStore(OnlineStore):
    """A store without any ability."""

    config_class = SqliteOnlineStoreConfig

    def __init__(self, root: Path):
        pass

    def _nothing(self, *arguments: Any) -> Any:
        return []

    setup = drop = marks = advance = put_many = get_many = _nothing


class BrokenStore(SqliteOnlineStore):
    """A store whose methods fail in ways of their own."""

    def __init__(self, root: Path):
        super().__init__(SqliteOnlineStoreConfig(path="online.db"), root)

    def marks(self, tables: Any) -> Any:
        raise ZeroDivisionError

    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[Any]:
        from feast_assets.online_stores.abilities import RowStamps

        yield RowStamps.of(encoded([(b"k", 1, 0, 0, b"x")]))
        raise InputError("It ended half-way.")


def test_a_scan_that_is_given_up_is_closed_in_the_server(served: Served, tmp_path: Path) -> None:
    closed = threading.Event()

    class Endless(SqliteOnlineStore):
        def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[Any]:
            from feast_assets.online_stores.abilities import RowStamps

            stamps = RowStamps.of(encoded([(b"%05d" % i, 1, 0, 0, b"x") for i in range(1000)]))
            try:
                while True:
                    yield stamps
            finally:
                closed.set()

    served.holder.online_store = Endless(SqliteOnlineStoreConfig(path="online.db"), tmp_path)
    store = RemoteOnlineStore(_config(served.url), Path())
    scan = store.scan("t", 0, 1)
    next(scan)
    scan.close()  # type: ignore[attr-defined]
    assert closed.wait(30)
    assert store.restart_token() == served.holder.online_store.restart_token()
    store.close()
    served.holder.online_store.close()


def _detail(name: str) -> bytes:
    return json.dumps(json.dumps({"module": "feast_assets.errors", "class": name, "message": "not you"})).encode()


def _framed(body: bytes, number: str = "1") -> bytes:
    return answer(body, 200, f"feast-assets-format: {number}")


@pytest.mark.parametrize(
    ("said", "error", "match"),
    [
        (_framed(b"\x93\x01"), StoreUnavailableError, "malformed answer"),
        (_framed(msgspec.msgpack.encode([])), StoreUnavailableError, "0 rows or columns instead of 1"),
        (
            _framed(msgspec.msgpack.encode([[[1], [1], [1], []]])),
            StoreUnavailableError,
            "0 rows or columns instead of 1",
        ),
        (_framed(msgspec.msgpack.encode([[["x"], [1], [1], [b""]]])), StoreUnavailableError, "malformed answer"),
        (_framed(b"", "2"), StoredFormatError, "speaks format 2 of messages"),
        (answer(b'{"detail":"newer only"}', 400, "feast-assets-format: 7"), StoredFormatError, "speaks format 7"),
        (answer(b'{"detail":"Not Found"}', 404), NotSupportedError, "no feast_assets server with an online store"),
        (answer(b"<html>", 200), StoreUnavailableError, "status 200: <html>"),
        (answer(b"who are you", 401), UnauthenticatedError, "does not know this client: who are you"),
        (answer(b"no", 403), InputError, "refuses this client"),
        (answer(_detail("FeastPermissionError"), 403, "feast-assets-format: 1"), FeastPermissionError, "not you"),
        (answer(_detail("InputError"), 400, "feast-assets-format: 1"), InputError, "not you"),
        (answer(b"{}", 413), InputError, "a request of this size"),
    ],
)
def test_answers_of_other_servers_and_of_newer_ones_are_told(said: bytes, error: type[Exception], match: str) -> None:
    with scripted([said]) as server:
        store = RemoteOnlineStore(_config(server.url), Path())
        with pytest.raises(error, match=match):
            store.get_many([OnlineRead("t", [b"k"])])
        store.close()


def test_a_request_of_another_format_is_refused(served: Served, behind: OnlineStore) -> None:
    client = HttpClient(_config(served.url))
    for headers, said in (({}, "no format"), ({"feast-assets-format": "2"}, "format 2")):
        got = client.ask("POST", f"{PREFIX}marks", b"", headers, repeatable=True)
        assert (got.status, got.headers["feast-assets-format"]) == (400, "1")
        assert said in got.body.decode()
    got = client.ask("POST", f"{PREFIX}marks", b"\xc1", {"feast-assets-format": "1"}, repeatable=True)
    assert got.status == 422
    wrong = encode_message(PutRows("t", [Batch([b"a", b"b"], [1], [1], [1], [b"x"])]))
    got = client.ask("POST", f"{PREFIX}put", wrong, {"feast-assets-format": "1"}, repeatable=True)
    assert got.status == 400 and b"different lengths" in got.body
    client.close()


def test_reads_go_on_while_the_server_goes_away_and_comes_back(served: Served, behind: OnlineStore) -> None:
    behind.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    proxy = FailingProxy(served.url)
    store = RemoteOnlineStore(_config(proxy.url, connection_retries=1, timeout_seconds=20), Path())
    wrong: list[object] = []
    failures, successes = [0], [0]
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                if read_rows(store, "t", [b"k", b"none"]) != [(1, 0, 0, b"x"), None]:
                    wrong.append("rows")
                successes[0] += 1
            except StoreUnavailableError:
                failures[0] += 1
            except Exception as error:  # noqa: BLE001 - told below
                wrong.append(error)

    def waits_for(count: list[int]) -> None:
        before = count[0]
        deadline = time.monotonic() + 60
        while count[0] < before + 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert count[0] >= before + 20

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            waits_for(successes)
            proxy.is_down = True
            proxy.break_all()
            waits_for(failures)
            proxy.is_down = False
        waits_for(successes)
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
        proxy.close()
        store.close()
    assert wrong == []


def test_feasts_settings_are_those_of_feasts_remote_store(tmp_path: Path) -> None:
    text = "{type: remote, path: 'http://localhost:6566', cert: '', connection_pool_size: 50, "
    text += "connection_idle_timeout: 300, connection_retries: 3}"
    (tmp_path / "feature_store.yaml").write_text(f"project: p\nonline_store: {text}\n")
    assert load_repo_config(tmp_path).online_store == RemoteOnlineStoreConfig()
    (tmp_path / "feature_store.yaml").write_text("project: p\nonline_store: {type: remote, path: 'http://u:pw@h'}\n")
    with pytest.raises(ConfigError, match=r"online_store\.path: must hold neither") as caught:
        load_repo_config(tmp_path).online_store  # noqa: B018
    assert "pw" not in str(caught.value)
