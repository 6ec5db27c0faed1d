from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.base import EncodedRows, OnlineRead, OnlineStore
from feast_assets.online_stores.sqlite import pool as sqlite_pool
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.testing import (
    CanHoldForeignValuesConformance,
    CanReplaceConformance,
    CanSampleConformance,
    CanTellRestartsConformance,
    OnlineStoreConformance,
)
from feast_assets.testing.online_store import StoreFactory, encoded, read_rows, remove_rows

CONFIG = SqliteOnlineStoreConfig(path="online.db")


class TestSqlite(
    OnlineStoreConformance,
    CanReplaceConformance,
    CanSampleConformance,
    CanTellRestartsConformance,
    CanHoldForeignValuesConformance,
):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return partial(SqliteOnlineStore, CONFIG, tmp_path)

    @pytest.fixture
    def rows_examined(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
        """Counts instructions of SQLite's interpreter, in tens."""
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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteOnlineStore]:
    store = SqliteOnlineStore(CONFIG, tmp_path)
    yield store
    store.close()


def test_the_path_is_under_the_root_unless_it_is_absolute(tmp_path: Path) -> None:
    for path in ("data/here/online.db", str(tmp_path / "elsewhere" / "online.db")):
        store = SqliteOnlineStore(SqliteOnlineStoreConfig(path=path), tmp_path)
        store.setup(["t"])
        store.close()
        assert (tmp_path / path).is_file()


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_new_database_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), tmp_path)
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])  # without setup
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("online.db", "online.db-wal", "online.db-shm"), 0o600)


def test_feasts_defaults_pass_and_misspelt_settings_are_refused() -> None:
    config = SqliteOnlineStoreConfig.model_validate({"type": "sqlite", "vector_enabled": False, "similarity": "cosine"})
    assert config == SqliteOnlineStoreConfig()
    with pytest.raises(ValidationError, match="paht"):
        SqliteOnlineStoreConfig.model_validate({"type": "sqlite", "paht": "x"})


def test_a_read_is_one_transaction_with_one_query_for_each_table(store: SqliteOnlineStore) -> None:
    for table in ("a", "b", "c"):
        store.put_many(table, [encoded([(b"%d" % i, 1, 0, 0, b"x") for i in range(1000)])])
    ((connection, _),) = store._pool._idle
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for count in (1, 10, 1000):
        keys = [b"%d" % i for i in range(count)]
        found = store.get_many([OnlineRead(table, keys) for table in ("a", "b", "c")])
        assert [rows.payloads.count(b"x") for rows in found] == [count] * 3
        assert [statement.split()[0] for statement in statements] == ["BEGIN", "SELECT", "SELECT", "SELECT", "COMMIT"]
        statements.clear()


def test_a_read_of_one_table_is_one_query_unless_it_has_very_many_keys(store: SqliteOnlineStore) -> None:
    keys = [b"%d" % i for i in range(3000)]
    store.put_many("t", [encoded([(key, 1, 0, 0, b"x") for key in keys])])
    ((connection, _),) = store._pool._idle
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    for count, expected in ((1, ["SELECT"]), (1024, ["SELECT"]), (3000, ["BEGIN", *["SELECT"] * 3, "COMMIT"])):
        (found,) = store.get_many([OnlineRead("t", keys[:count])])
        assert list(found.payloads) == [b"x"] * count
        assert [statement.split()[0] for statement in statements] == expected
        assert not connection.in_transaction
        statements.clear()


def test_a_put_whose_source_fails_leaves_what_was_there(store: SqliteOnlineStore) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"a", 1, 0, 0, b"old")])])

    def failing() -> Iterator[EncodedRows]:
        yield encoded([(b"a", 2, 0, 0, b"new"), (b"b", 2, 0, 0, b"new")])
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        store.put_many("t", failing())
    assert read_rows(store, "t", [b"a", b"b"]) == [(1, 0, 0, b"old"), None]
    store.put_many("t", [encoded([(b"b", 3, 0, 0, b"later")])])
    assert read_rows(store, "t", [b"b"]) == [(3, 0, 0, b"later")]


def test_a_put_is_not_seen_before_it_is_whole(store: SqliteOnlineStore, tmp_path: Path) -> None:
    other = SqliteOnlineStore(CONFIG, tmp_path)
    store.setup(["t"])
    seen = []

    def batches() -> Iterator[EncodedRows]:
        yield encoded([(b"a", 1, 0, 0, b"x")])
        seen.append(read_rows(other, "t", [b"a"]))
        seen.append(read_rows(store, "t", [b"a"]))
        yield encoded([(b"b", 1, 0, 0, b"x")])

    store.put_many("t", batches())
    assert seen == [[None], [None]]
    assert read_rows(other, "t", [b"a", b"b"]) == [(1, 0, 0, b"x"), (1, 0, 0, b"x")]
    other.close()


def test_a_missing_directory_is_named_and_setup_creates_it(tmp_path: Path) -> None:
    store = SqliteOnlineStore(CONFIG, tmp_path / "gone")
    path = str(tmp_path / "gone" / "online.db")
    with pytest.raises(StoreUnavailableError, match="directory does not exist") as caught:
        read_rows(store, "t", [b"k"])
    assert path in str(caught.value)
    with pytest.raises(StoreUnavailableError, match="directory does not exist"):
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    store.drop(["t"])
    store.setup(["t"])
    assert read_rows(store, "t", [b"k"]) == [None]
    store.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteOnlineStore(CONFIG, tmp_path / "file" / "below")
    with pytest.raises(StoreUnavailableError, match=r"file/below/online\.db"):
        store.setup(["t"])


def test_a_file_that_is_no_database_is_named(store: SqliteOnlineStore, tmp_path: Path) -> None:
    (tmp_path / "online.db").write_bytes(b"hello, I am a text file" * 100)
    for work in (
        lambda: read_rows(store, "t", [b"k"]),
        lambda: store.setup(["t"]),
        lambda: store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])]),
    ):
        with pytest.raises(StoreUnavailableError, match=r"online\.db cannot be used: file is not a database"):
            work()


def test_a_full_disk_is_an_error_and_leaves_what_was_there(
    store: SqliteOnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"a", 1, 0, 0, b"old")])])
    open_connection = sqlite_pool.SqlitePool._open

    def small(pool: sqlite_pool.SqlitePool) -> sqlite3.Connection:
        connection = open_connection(pool)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    monkeypatch.setattr(sqlite_pool.SqlitePool, "_open", small)
    store.close()
    with pytest.raises(StoreUnavailableError, match=r"online\.db cannot be used: the disk is full"):
        store.put_many(
            "t", (encoded([(b"a", 2, i, 0, b"x" * 4000), (b"k%d" % i, 1, 0, 0, b"x" * 4000)]) for i in range(99))
        )
    assert read_rows(store, "t", [b"a", b"k0"]) == [(1, 0, 0, b"old"), None]
    remove_rows(store, "t", [b"a"])
    store.put_many("t", [encoded([(b"a", 1, 0, 0, b"fits")])])
    assert read_rows(store, "t", [b"a"]) == [(1, 0, 0, b"fits")]


_WRITE_UNDER_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.testing.online_store import encoded
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
store = SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), Path(sys.argv[1]))
try:
    store.put_many("t", (encoded([(b"k%d" % i, 9, 0, 0, bytes(50_000))]) for i in range(50)))
except StoreUnavailableError as error:
    assert "online.db" in str(error)
    sys.exit(17)
"""


def test_a_file_that_may_not_grow_leaves_what_was_there(store: SqliteOnlineStore, tmp_path: Path) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"k0", 1, 0, 0, b"old")])])
    result = subprocess.run([sys.executable, "-c", _WRITE_UNDER_A_LIMIT, str(tmp_path)], check=False)
    assert result.returncode == 17
    assert read_rows(store, "t", [b"k0", b"k1"]) == [(1, 0, 0, b"old"), None]


def test_a_killed_writer_leaves_what_was_there(store: SqliteOnlineStore, tmp_path: Path) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"k0", 1, 0, 0, b"old")])])
    program = """
import os, sys
from pathlib import Path
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.testing.online_store import encoded
def batches():
    for i in range(2000):
        yield encoded([(b"k%d" % i, 9, 0, 0, bytes(2000))])
    os.kill(os.getpid(), 9)
SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), Path(sys.argv[1])).put_many("t", batches())
"""
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert result.returncode == -9
    assert read_rows(store, "t", [b"k0", b"k1999"]) == [(1, 0, 0, b"old"), None]
    store.put_many("t", [encoded([(b"k1", 1, 0, 0, b"x")])])


def test_a_file_that_cannot_be_written_can_still_be_read(store: SqliteOnlineStore, tmp_path: Path) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    reader = SqliteOnlineStore(CONFIG, tmp_path)
    # Permissions do not bind every user that runs tests; SQLite's own switch does.
    open_connection = reader._pool._open

    def read_only() -> sqlite3.Connection:
        connection = open_connection()
        connection.execute("PRAGMA query_only = ON")
        return connection

    reader._pool._open = read_only  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError, match=r"online\.db cannot be written: it is read-only"):
        reader.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])])
    assert read_rows(reader, "t", [b"k"]) == [(1, 0, 0, b"x")]
    reader.close()


@pytest.mark.parametrize("log", [(), ("online.db-wal",)])
def test_a_file_beside_which_nothing_can_be_made_can_still_be_read(
    store: SqliteOnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: tuple[str, ...]
) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    identity = store.identity("t")
    store.close()
    for name in log:
        (tmp_path / name).touch()
    # Permissions do not bind every user that runs tests.
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        assert read_rows(store, "t", [b"k", b"l"]) == [(1, 0, 0, b"x"), None]
        assert store.identity("t") == identity
        assert sorted(path.name for path in tmp_path.iterdir()) == ["online.db", *log]
        with pytest.raises(StoreUnavailableError, match=r"online\.db cannot be written: it is read-only"):
            store.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])])
        assert store._pool._idle == []
    store.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])])
    assert read_rows(store, "t", [b"k"]) == [(2, 0, 0, b"y")]


@pytest.mark.parametrize("closed", [True, False])
def test_a_deleted_file_has_no_identity_and_is_not_made_by_asking(
    store: SqliteOnlineStore, tmp_path: Path, closed: bool
) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    first = store.identity("t")
    if closed:
        store.close()
    (tmp_path / "online.db").unlink()
    assert store.identity("t") == ""
    assert not (tmp_path / "online.db").exists()
    store.setup(["t"])
    store.put_many("t", [encoded([(b"l", 1, 0, 0, b"y")])])
    other = SqliteOnlineStore(CONFIG, tmp_path)
    for reader in (store, other):
        assert read_rows(reader, "t", [b"k", b"l"]) == [None, (1, 0, 0, b"y")]
        assert reader.identity("t") not in ("", first)
    other.close()


def test_a_file_that_is_exchanged_is_noticed(store: SqliteOnlineStore, tmp_path: Path) -> None:
    store.setup(["t"])
    other = SqliteOnlineStore(SqliteOnlineStoreConfig(path="other.db"), tmp_path)
    other.put_many("t", [encoded([(b"k", 1, 0, 0, b"other")])])
    identity = other.identity("t")
    other.close()
    for beside in ("online.db-wal", "online.db-shm"):
        (tmp_path / beside).unlink()
    os.replace(tmp_path / "other.db", tmp_path / "online.db")
    assert store.identity("t") == identity
    assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"other")]
    store.put_many("t", [encoded([(b"l", 1, 0, 0, b"new")])])
    store.close()
    assert read_rows(store, "t", [b"k", b"l"]) == [(1, 0, 0, b"other"), (1, 0, 0, b"new")]


def test_a_table_that_was_removed_by_hand_gets_another_identity(store: SqliteOnlineStore, tmp_path: Path) -> None:
    store.setup(["t"])
    first = store.identity("t")
    other = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    other.execute("DROP TABLE rows_t")
    assert store.identity("t") == ""
    store.setup(["t"])
    second = store.identity("t")
    assert second not in ("", first)
    other.execute("DROP TABLE feast_assets_tables")
    other.close()
    assert store.identity("t") == ""
    store.setup(["t"])
    assert store.identity("t") not in ("", first, second)


def test_a_writer_that_waits_too_long_says_so(
    store: SqliteOnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.setup(["t"])
    monkeypatch.setattr(sqlite_pool, "_BUSY_SECONDS", 0.05)
    store.close()
    other = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnavailableError, match=r"database is locked\. Another process has held it"):
            store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        assert read_rows(store, "t", [b"k"]) == [None]
    finally:
        other.close()
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])


def _child(store: OnlineStore, results: multiprocessing.queues.Queue[object]) -> None:
    store.put_many("t", [encoded([(b"child", 1, 0, 0, b"c")])])
    results.put(read_rows(store, "t", [b"parent", b"child"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_opens_its_own_connections(store: SqliteOnlineStore) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"parent", 1, 0, 0, b"p")])])
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_child, args=(store, results))
    child.start()
    assert results.get(timeout=60) == [(1, 0, 0, b"p"), (1, 0, 0, b"c")]
    child.join(60)
    assert child.exitcode == 0
    assert read_rows(store, "t", [b"parent", b"child"]) == [(1, 0, 0, b"p"), (1, 0, 0, b"c")]


def test_closing_while_others_read_leaves_no_connection_behind(store: SqliteOnlineStore) -> None:
    store.setup(["t"])
    store.put_many("t", [encoded([(b"k%d" % i, 1, 0, 0, b"x") for i in range(500)])])
    keys = [b"k%d" % i for i in range(500)]
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(30):
                (found,) = store.get_many([OnlineRead("t", keys)])
                assert None not in found.payloads
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        store.close()
    for thread in threads:
        thread.join()
    assert not failures
    store.close()
    assert store._pool._idle == []


def test_rows_in_any_order_fill_the_file_as_sorted_ones_do(tmp_path: Path) -> None:
    """Rows that reach a tree out of order split its pages: twice the work, and pages that stay half empty."""
    rows = [(b"key %06d" % i, 1, 0, 0, b"x" * 100) for i in range(20_000)]
    shuffled = random.Random(1).sample(rows, len(rows))
    pages = []
    for name, given in (("sorted", rows), ("shuffled", shuffled)):
        store = SqliteOnlineStore(SqliteOnlineStoreConfig(path=name), tmp_path)
        store.put_many("t", [encoded(given)])
        store.close()
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            pages.append(connection.execute("PRAGMA page_count").fetchone()[0])
            assert connection.execute('SELECT count(*), min(key), max(key) FROM "rows_t"').fetchone() == (
                len(rows),
                rows[0][0],
                rows[-1][0],
            )
    assert pages[0] == pages[1]


def test_a_put_is_some_statements_for_a_hundred_rows_each_in_one_transaction(store: SqliteOnlineStore) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    ((connection, _),) = store._pool._idle
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    store.put_many("t", [encoded([(b"%05d" % i, 1, 0, 0, b"x") for i in range(n, n + 1280)]) for n in (0, 1280, 2560)])
    connection.set_trace_callback(None)
    commands = [s.split()[0] for s in statements]
    assert commands.count("INSERT") == 30
    assert (commands.count("BEGIN"), commands.count("COMMIT")) == (1, 1)
    assert len(commands) < 40


def test_a_put_is_on_the_disk_when_it_returns(store: SqliteOnlineStore) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    ((connection, _),) = store._pool._idle
    full = 2
    assert connection.execute("PRAGMA synchronous").fetchone() == (full,)
