"""Online stores such as a third party writes them, over one SQLite file, as plainly as can be.

`PlainStore` is what a database without transactions and scripts allows, such as DynamoDB or Cassandra: each row is
read, and written on the condition that it is still the same. It does not count, and has no ability. `AbleStore` has.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from feast_assets.online_stores.abilities import CanReplace, CanSample, RowStamps
from feast_assets.online_stores.base import (
    NEVER_ADVANCED,
    NOTHING_PUT,
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    PutResult,
    StoredRows,
    closing_source,
)
from feast_assets.settings.model import Settings

Content = tuple[int, int, int, bytes]

_CREATE = """
CREATE TABLE IF NOT EXISTS tables (name TEXT PRIMARY KEY, identity TEXT, number INTEGER);
CREATE TABLE IF NOT EXISTS stored (
    name TEXT, key BLOB, event INTEGER, created INTEGER, version INTEGER, payload BLOB, PRIMARY KEY (name, key)
) WITHOUT ROWID;
"""
_SAME = "name = ? AND key = ? AND event = ? AND created = ? AND version = ?"


class PlainStoreConfig(Settings):
    type: str = "plain"
    path: str = "plain.db"


class PlainStore(OnlineStore):
    """Puts row by row, each on a condition."""

    config_class: ClassVar[type[PlainStoreConfig]] = PlainStoreConfig

    def __init__(self, config: PlainStoreConfig, root: Path):
        self._path = root / config.path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self.steps = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # --- the six verbs

    def setup(self, tables: Iterable[str]) -> None:
        with self._lock:
            for name in tables:
                row = (_text(name), uuid.uuid4().hex, NEVER_ADVANCED)
                self._run("INSERT OR IGNORE INTO tables VALUES (?, ?, ?)", row)

    def drop(self, tables: Iterable[str]) -> None:
        with self._lock:
            for name in tables:
                self._run("DELETE FROM tables WHERE name = ?", (_text(name),))
                self._run("DELETE FROM stored WHERE name = ?", (_text(name),))

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        with self._lock:
            known = {name: Mark(identity, number) for name, identity, number in self._run("SELECT * FROM tables")}
        return [known.get(_text(name), Mark("", 0)) for name in tables]

    def advance(self, table: str, expected: int, new: int) -> Mark:
        with self._lock:
            self._run("UPDATE tables SET number = ? WHERE name = ? AND number = ?", (new, _text(table), expected))
            return self.mark(table)

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        with closing_source(batches) as source:
            self.setup([table])
            for rows in source:
                self._put_batch(_text(table), rows)
        return PutResult(None, None)

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        with self._lock:
            self._run("BEGIN")
            try:
                return [self._get(_text(read.table), read.keys) for read in reads]
            finally:
                self._run("COMMIT")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # --- how they do it; the broken stores of the tests override these

    def is_newer(self, row: Content, held: Content) -> bool:
        return row > held

    def _put_batch(self, name: str, rows: EncodedRows) -> None:
        for key, content in contents_of(rows):
            self._put_row(name, key, content)

    def _put_row(self, name: str, key: bytes, content: Content) -> None:
        if not isinstance(content[3], bytes):
            raise TypeError("a payload is bytes")
        while True:
            # Another process may be faster between the read and the write, so that nothing is written.
            held = self._held(name, key)
            if held is not None and not self.is_newer(content, held):
                return
            if held is None:
                sql, values = "INSERT OR IGNORE INTO stored VALUES (?, ?, ?, ?, ?, ?)", (name, key, *content)
            else:
                changes = "event = ?, created = ?, version = ?, payload = ?"
                sql = f"UPDATE stored SET {changes} WHERE {_SAME} AND payload = ?"
                values = (*content, name, key, *held)
            if self._run(sql, values).rowcount:
                return

    def _held(self, name: str, key: bytes) -> Content | None:
        sql = "SELECT event, created, version, payload FROM stored WHERE name = ? AND key = ?"
        found: Content | None = self._run(sql, (name, key)).fetchone()
        return found

    def _get(self, name: str, keys: Sequence[bytes]) -> StoredRows:
        rows = [self._held(name, key) or (0, 0, 0, None) for key in keys]
        columns = list(zip(*rows, strict=True)) or [()] * 4
        return StoredRows(*columns)

    def _run(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        with self._lock:
            if self._connection is None:
                connection = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
                # Not WAL: of two processes that switch a new file to it at once, one may be refused without waiting.
                connection.execute("PRAGMA synchronous = OFF")
                connection.executescript(_CREATE)
                connection.set_progress_handler(self._count, 10)
                self._connection = connection
            return self._connection.execute(sql, values)

    def _count(self) -> int:
        self.steps += 1
        return 0


class AbleStore(PlainStore, CanReplace, CanSample):
    """Puts a batch in a transaction, counts, finds rows by their versions, and samples keys."""

    rows_put_whole = None

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put(table, batches, only_existing=False)

    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put(table, batches, only_existing=True)

    def _put(self, table: str, batches: Iterable[EncodedRows], *, only_existing: bool) -> PutResult:
        result = NOTHING_PUT
        with closing_source(batches) as source:
            self.setup([table])
            for rows in source:
                self._begin()
                try:
                    result += self._put_rows(_text(table), rows, only_existing)
                except BaseException:
                    self._undo()
                    raise
                self._run("COMMIT")
                self._lock.release()
        return result

    def _begin(self) -> None:
        self._lock.acquire()
        self._run("BEGIN IMMEDIATE")

    def _undo(self) -> None:
        self._run("ROLLBACK")
        self._lock.release()

    def _put_rows(self, name: str, rows: EncodedRows, only_existing: bool) -> PutResult:
        written, absent = 0, []
        for key, content in contents_of(rows):
            held = self._held(name, key)
            if held is None and only_existing:
                absent.append(key)
            elif held is None or self.is_newer(content, held):
                self._put_row(name, key, content)
                written += 1
        return PutResult(written, len(rows) - written, tuple(absent))

    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[RowStamps]:
        below = 2**63 - 1 if version_below is None else version_below - 1
        where = "name = ? AND event >= ? AND event < ? AND version <= ?"
        sql = f"SELECT key, event, created, version FROM stored WHERE {where}"
        rows = self._run(sql, (_text(table), start, end, below)).fetchall()
        if rows:
            keys, *columns = zip(*rows, strict=True)
            yield RowStamps(keys, *(np.array(column, np.int64) for column in columns))

    def replace_many(self, table: str, held: RowStamps, rows: EncodedRows) -> int:
        new = dict(contents_of(rows))
        columns = (held.event_timestamps, held.created_timestamps, held.versions)
        stamps = zip(held.keys, *(column.tolist() for column in columns), strict=True)
        count = 0
        with self._lock:
            self._run("BEGIN IMMEDIATE")
            for key, *stamp in stamps:
                same = (_text(table), key, *stamp)
                if key in new:
                    sql = f"UPDATE stored SET event = ?, created = ?, version = ?, payload = ? WHERE {_SAME}"
                    count += self._run(sql, (*new[key], *same)).rowcount
                else:
                    count += self._run(f"DELETE FROM stored WHERE {_SAME}", same).rowcount
            self._run("COMMIT")
        return count

    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        chosen = random.Random(seed)
        name = _text(table)
        edges = "SELECT (SELECT min(key) FROM stored WHERE name = ?), (SELECT max(key) FROM stored WHERE name = ?)"
        first, last = self._run(edges, (name, name)).fetchone()
        if first is None or count < 1:
            return []
        width = max(len(first), len(last))
        low, high = (int.from_bytes(key.ljust(width, b"\0"), "big") for key in (first, last))
        starts = [(chosen.randint(low, high).to_bytes(width, "big"), 1) for _ in range(count)] + [(first, count)]
        sql = "SELECT key FROM stored WHERE name = ? AND key >= ? ORDER BY key LIMIT ?"
        sampled = {key: None for start, most in starts for (key,) in self._run(sql, (name, start, most))}
        return list(sampled)[:count]


def contents_of(rows: EncodedRows) -> Iterator[tuple[bytes, Content]]:
    """Yields keys with the rest of their rows."""
    columns = (rows.event_timestamps, rows.created_timestamps, rows.versions)
    for key, event, created, version, payload in zip(
        rows.keys, *(column.tolist() for column in columns), rows.payloads, strict=True
    ):
        yield key, (event, created, version, payload)


def _text(name: str) -> str:
    # A name may hold halves of surrogate pairs, which SQLite does not take.
    return name.encode("utf-8", "surrogatepass").hex()
