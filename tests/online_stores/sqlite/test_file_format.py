"""Files that version 0.1 wrote, where a payload began with the version, are upgraded when they are opened."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from feast_assets.errors import StoredFormatError, StoreUnavailableError
from feast_assets.online_stores.base import Mark, OnlineRead
from feast_assets.online_stores.rows.codec import RowDecoder, RowSchema
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.online_stores.sqlite import file_format
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.testing.online_store import Content, encoded, read_rows, scanned
from feast_assets.types import Array, Float32, Int64, String

OLD = Path(__file__).with_name("rows_of_0_1.sql")
TABLE, OTHER = "shop_driver_stats", "shop_Zoë"
SCHEMA = RowSchema((("trips", Int64), ("city", String), ("embedding", Array(Float32))))
KEYS = encode_keys(["driver_id"], [Int64], [[1001, 1002, 1003, -5]])
DAY = 86_400_000_000
START = 1_704_067_200_000_000
# Event time, created time and version of each row.
STAMPS = [
    (START + 1, START, START + 2 * DAY),
    (START + DAY, -(2**63), START + 2 * DAY + 2),
    (START + 2 * DAY, START + 1, START + 3 * DAY + 1),
    (-START, 0, 0),
]
VALUES = [[10, None, 30, -1], ["Oslo", "", "Bergen", None], [[1.5, 2.5], None, [], [0.0]]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file as version 0.1 left it."""
    path = tmp_path / "online.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(OLD.read_text(encoding="utf-8"))
    return path


@pytest.fixture
def store(file: Path) -> Iterator[SqliteOnlineStore]:
    store = SqliteOnlineStore(SqliteOnlineStoreConfig(path=file.name), file.parent)
    yield store
    store.close()


def stamps_of(contents: list[Content | None]) -> list[tuple[int, int, int] | None]:
    return [content and content[:3] for content in contents]


def served(store: SqliteOnlineStore) -> list[list[object]]:
    """The values of `KEYS` as they are served."""
    (stored,) = store.get_many([OnlineRead(TABLE, KEYS)])
    return RowDecoder({SCHEMA.schema_id: SCHEMA}, SCHEMA.fields).decode_stored(stored).to_pylists()


def number_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_rows_read_as_before(store: SqliteOnlineStore, file: Path) -> None:
    assert served(store) == VALUES
    assert stamps_of(read_rows(store, TABLE, KEYS)) == STAMPS
    assert stamps_of(read_rows(store, OTHER, [b"k" + key for key in KEYS])) == STAMPS
    assert number_of(file) == file_format.FORMAT


def test_tables_keep_their_marks(store: SqliteOnlineStore) -> None:
    assert store.marks([TABLE, "empty", OTHER, "never set up"]) == [
        Mark("0b43f657926f49e6a6d8add01a37b451", START + 4 * DAY),
        Mark("38fdff444c22402da0eccfbe753b12d3", 1),
        Mark("41f9f8e98a9549d49117f63ab176b445", 1),
        Mark("", 0),
    ]


def test_rows_compare_as_before(store: SqliteOnlineStore) -> None:
    event, created, version = STAMPS[1]
    (content,) = read_rows(store, TABLE, [KEYS[1]])
    assert content is not None
    for row in [(event, created, version - 1, b"\xff" * 9), (event, created, version, content[3])]:
        put = store.put_many(TABLE, [encoded([(KEYS[1], *row)])])
        assert (put.written, put.ignored) == (0, 1)
    newer = (event, created, version + 1, b"\0\0\0\0")
    assert store.put_many(TABLE, [encoded([(KEYS[1], *newer)])]).written == 1
    assert read_rows(store, TABLE, [KEYS[1]]) == [newer]


def test_a_scan_finds_rows_by_their_versions(store: SqliteOnlineStore) -> None:
    rows = {(key, *stamps) for key, stamps in zip(KEYS, STAMPS, strict=True)}
    assert scanned(store, TABLE, -(2**63), 2**62) == rows
    assert scanned(store, TABLE, 0, 2**62, START + 3 * DAY) == {(KEYS[i], *STAMPS[i]) for i in (0, 1)}


def test_what_could_not_be_a_row_before_cannot_be_one_now(store: SqliteOnlineStore) -> None:
    assert read_rows(store, TABLE, [b"short", b"other"]) == [None, None]
    assert set(store.foreign(TABLE, [*KEYS, b"short", b"other"])) == {b"short", b"other"}
    row = (START - DAY, 0, 1, b"\0\0\0\0")
    with pytest.warns(UserWarning, match="overwritten"):
        assert store.put_many(TABLE, [encoded([(b"short", *row), (b"other", *row)])]).written == 2
    assert read_rows(store, TABLE, [b"short", b"other"]) == [row, row]


def test_a_table_without_rows_is_upgraded_too(store: SqliteOnlineStore) -> None:
    row = (1, 2, 3, b"payload")
    store.put_many("empty", [encoded([(b"k", *row)])])
    assert read_rows(store, "empty", [b"k"]) == [row]


@pytest.mark.parametrize("verb", ["setup", "marks", "put_many", "drop"])
def test_any_verb_may_be_the_first(store: SqliteOnlineStore, verb: str) -> None:
    if verb == "put_many":
        store.put_many("new", [encoded([(b"k", 1, 2, 3, b"x")])])
    else:
        getattr(store, verb)(["new"])
    assert served(store) == VALUES


@pytest.mark.parametrize("broken_at", range(1, 9))
def test_an_upgrade_that_fails_leaves_the_file_as_it_was(
    store: SqliteOnlineStore, file: Path, monkeypatch: pytest.MonkeyPatch, broken_at: int
) -> None:
    calls = 0

    def breaking(table: str) -> str:
        nonlocal calls
        calls += 1
        if calls == broken_at:
            raise OSError("interrupted")
        return f'"{table}"'

    before = _dump(file)
    with monkeypatch.context() as patch:
        patch.setattr(file_format, "_quoted", breaking)
        with pytest.raises(OSError, match="interrupted"):
            read_rows(store, TABLE, KEYS)
    assert _dump(file) == before
    assert served(store) == VALUES


def test_a_process_that_dies_while_it_upgrades_leaves_the_file_as_it_was(file: Path) -> None:
    before = _dump(file)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_die_while_upgrading, args=(str(file),))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert _dump(file) == before


def _die_while_upgrading(file: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.create_function(file_format._VERSION_OF, 1, lambda data: os._exit(9))
        connection.execute("BEGIN IMMEDIATE")
        file_format._upgrade(connection)


def _dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def test_processes_that_open_a_file_at_once_upgrade_it_once(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_put_one, args=(str(file), number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = SqliteOnlineStore(SqliteOnlineStoreConfig(path=file.name), file.parent)
    assert served(store) == VALUES
    assert read_rows(store, TABLE, [b"new %d" % number for number in range(3)]) == [(1, 2, 3, b"x")] * 3
    store.close()


def _put_one(file: str, number: int) -> None:
    path = Path(file)
    store = SqliteOnlineStore(SqliteOnlineStoreConfig(path=path.name), path.parent)
    store.put_many(TABLE, [encoded([(b"new %d" % number, 1, 2, 3, b"x")])])
    store.close()


@pytest.mark.parametrize("how", ["directory", "file"])
def test_a_file_that_cannot_be_written_is_read_as_it_is(
    store: SqliteOnlineStore, file: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before = _dump(file)
    with monkeypatch.context() as patch:
        # Permissions do not bind every user that runs tests.
        if how == "directory":
            patch.setattr(os, "access", lambda path, mode: False)
        else:
            uri = f"{file.as_uri()}?mode=ro"
            connect = sqlite3.connect
            patch.setattr(sqlite3, "connect", lambda path, **given: connect(uri, uri=True, **given))
        assert served(store) == VALUES
        assert stamps_of(read_rows(store, TABLE, KEYS)) == STAMPS
        assert len(scanned(store, TABLE, -(2**63), 2**62)) == len(KEYS)
        assert store.sample_keys(TABLE, 100, 0)
        assert read_rows(store, TABLE, [b"short", b"other"]) == [None, None]
        with pytest.raises(StoreUnavailableError, match="it is read-only"):
            store.put_many(TABLE, [encoded([(b"k", 1, 2, 3, b"x")])])
    assert _dump(file) == before
    store.close()
    assert served(store) == VALUES
    assert number_of(file) == file_format.FORMAT


def test_a_file_of_a_newer_format_is_refused_and_left_alone(store: SqliteOnlineStore, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {file_format.FORMAT + 1}")
    before = _dump(file)
    for work in (
        lambda: read_rows(store, TABLE, KEYS),
        lambda: store.put_many(TABLE, [encoded([(b"k", 1, 2, 3, b"x")])]),
        lambda: store.setup(["t"]),
        lambda: store.drop([TABLE]),
    ):
        with pytest.raises(StoredFormatError, match=r"online\.db has format 2.* or a newer one"):
            work()
    assert _dump(file) == before


def test_a_new_file_has_the_present_format(tmp_path: Path) -> None:
    store = SqliteOnlineStore(SqliteOnlineStoreConfig(path="new.db"), tmp_path)
    store.setup(["t"])
    store.close()
    assert number_of(tmp_path / "new.db") == file_format.FORMAT


def test_tables_of_others_in_the_file_are_left_alone(store: SqliteOnlineStore, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE theirs (payload TEXT)")
        connection.execute("INSERT INTO theirs VALUES ('x')")
    assert served(store) == VALUES
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT * FROM theirs").fetchall() == [("x",)]
