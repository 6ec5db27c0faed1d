"""SQLite: the online store of one machine, safe for many threads and processes.

Each table of the store is a table of the file, ordered by key; two more tables hold the tables' identities and the
numbers of their marks. The file is in write-ahead mode: readers never wait for a writer, and writers wait for each
other.
"""

from __future__ import annotations

import sqlite3
import string
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import lt
from pathlib import Path
from random import Random
from typing import ClassVar

from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.abilities import (
    CanHoldForeignValues,
    CanReplace,
    CanSample,
    CanTellRestarts,
    RowStamps,
)
from feast_assets.online_stores.base import (
    NOTHING_PUT,
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    PutResult,
    StoredRows,
    closing_source,
)
from feast_assets.online_stores.rows.foreign_values import LEAST_PAYLOAD, NEWEST_EVENT, NEWEST_VERSION, OLDEST_EVENT
from feast_assets.online_stores.sqlite import marks as sqlite_marks
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.file_format import COLUMNS, SET_FORMAT
from feast_assets.online_stores.sqlite.pool import NOTE_OVERWRITTEN, SqlitePool

_PLAIN_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "_-.")

_ROWS_PER_UPSERT = (128, 16, 1)
"""How many rows a statement writes: few lengths, so that prepared statements are used again."""
_KEYS_PER_SELECT = 1024
_ROWS_PER_SCAN = 10_000
_SAMPLED_RUNS = 16
_COLUMNS = 5

# A stored row: key, event and created timestamp, version, content.
_Row = tuple[bytes, int, int, int, bytes | None]
_NO_ROW: _Row = (b"", 0, 0, 0, None)

# In SQLite a cell of any column can hold a value of any type.
_IS_ROW = (
    "(typeof(event_ts) = 'integer' AND typeof(created_ts) = 'integer' AND typeof(version) = 'integer' "
    "AND typeof(content) = 'blob')"
)
_IS_CODEC_ROW = (
    f"({_IS_ROW} AND length(content) >= {LEAST_PAYLOAD} AND version BETWEEN 0 AND {NEWEST_VERSION} "
    f"AND event_ts BETWEEN {OLDEST_EVENT} AND {NEWEST_EVENT})"
)
# Which of the rows that a put would leave as they are cannot be rows, in few comparisons: in SQLite's order numbers
# come before text, and text before blobs. Others that cannot be rows count as older, and are overwritten as such.
_IS_FOREIGN = "old.event_ts >= '' OR old.created_ts >= '' OR old.version >= '' OR old.content < x''"
_IS_FOREIGN_TO_CODEC = (
    f"{_IS_FOREIGN} OR length(old.content) < {LEAST_PAYLOAD} OR old.version > {NEWEST_VERSION} "
    f"OR old.event_ts > {NEWEST_EVENT}"
)

# The name cannot be that of a table of rows.
_IDENTITIES = "feast_assets_tables"
_CREATE_IDENTITIES = (
    f"CREATE TABLE IF NOT EXISTS {_IDENTITIES} (name TEXT NOT NULL PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID"
)
_SELECT_NAMES = f"SELECT t.name FROM {_IDENTITIES} t JOIN sqlite_master m ON m.name = t.name AND m.type = 'table'"  # noqa: S608
_SELECT_IDENTITY = (
    f"SELECT identity FROM {_IDENTITIES} WHERE name = ?1 "  # noqa: S608
    "AND EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)"
)


class SqliteOnlineStore(OnlineStore, CanReplace, CanSample, CanTellRestarts, CanHoldForeignValues):
    """The latest row per key in a SQLite file.

    ``put_many`` is one transaction whatever its size, and on the disk when it returns: the ledger, which is elsewhere,
    says afterwards that it is, and so does a push to its caller. It is fastest with keys in ascending order. ``setup``
    creates the file and its directory; a table that rows are put into is created when it is missing.
    """

    config_class: ClassVar[type[SqliteOnlineStoreConfig]] = SqliteOnlineStoreConfig
    rows_put_whole = None

    def __init__(self, config: SqliteOnlineStoreConfig, root: Path):
        """Creates the store without touching the disk.

        Args:
            config: names the file.
            root: the directory that a relative path starts from.
        """
        self._path = Path(root) / config.path
        self._pool = SqlitePool(self._path)

    def __repr__(self) -> str:
        return f"SqliteOnlineStore({str(self._path)!r})"

    def setup(self, tables: Iterable[str]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailableError(f"Cannot create the directory of online store {self._path}: {error}") from error
        with self._pool.writing() as connection:
            connection.execute(_CREATE_IDENTITIES)
            there = {name for (name,) in connection.execute(_SELECT_NAMES)}
            for table in tables:
                if _name(table) not in there:
                    _set_up(connection, table)

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        # Opening a file that is not there would create it.
        if not self._path.exists():
            return [Mark("", 0)] * len(tables)
        with self._pool.reading() as connection:
            return [_mark(connection, table) for table in tables]

    def advance(self, table: str, expected: int, new: int) -> Mark:
        if not self._path.exists():
            return Mark("", 0)
        # A number that a power cut undoes takes nothing with it, and windows are run again that need not be.
        with self._pool.writing(on_disk=False) as connection:
            identity = _identity(connection, table)
            if not identity:
                return Mark("", 0)
            return Mark(identity, sqlite_marks.advance(connection, _name(table), expected, new))

    def restart_token(self) -> str:
        return sqlite_marks.file_of(self._path)

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put(table, batches, _upsert)

    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put(table, batches, _update)

    def _put(
        self,
        table: str,
        batches: Iterable[EncodedRows],
        put: Callable[[sqlite3.Connection, str, EncodedRows], PutResult],
    ) -> PutResult:
        result = NOTHING_PUT
        with closing_source(batches) as remaining:
            # The first batch is made before the transaction begins: a slow source does not hold off other writers. One
            # that sorts has done nearly all its work by then.
            first = next(remaining, None)
            if first is None:
                return result
            with self._pool.writing() as connection:
                _set_up(connection, table)
                connection.overwritten.clear()
                for batch in chain([first], remaining):
                    result += put(connection, table, batch)
                overwritten = tuple(connection.overwritten)
        for key in overwritten:
            self.foreign_values.warn(table, key, "its value was damaged or written by others", overwritten=True)
        return result

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        # One query alone sees one state of the file without a transaction around it.
        one = len(reads) == 1 and len(reads[0].keys) <= _KEYS_PER_SELECT
        with self._pool.reading(in_transaction=not one) as connection:
            return [_select(connection, read) for read in reads]

    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[RowStamps]:
        sql = (
            f"SELECT key, event_ts, created_ts, version FROM {_quoted(table)} "  # noqa: S608
            f"WHERE event_ts >= ? AND event_ts < ? AND {_IS_ROW}"
        )
        if version_below is not None:
            sql += f" AND version < {int(version_below)}"
        with self._pool.reading() as connection:
            if not _exists(connection, table):
                return
            cursor = connection.execute(sql, (start, end))
            while rows := cursor.fetchmany(_ROWS_PER_SCAN):
                yield _stamps(rows)

    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """See `CanSample.sample_keys`; runs of neighbouring keys, from random points between the first and the last."""
        chosen = Random(seed)  # noqa: S311 - protects nothing
        sql = f"SELECT key FROM {_quoted(table)} WHERE key >= ? ORDER BY key LIMIT ?"  # noqa: S608
        with self._pool.reading() as connection:
            if not _exists(connection, table):
                return []
            # Keys of other types, which no row has, come before all blobs.
            edges = f"SELECT (SELECT min(key) FROM {_quoted(table)} WHERE key >= x''), (SELECT max(key) FROM {_quoted(table)})"  # noqa: S608, E501
            ((first, last),) = connection.execute(edges)
            if not isinstance(first, bytes) or count < 1:
                return []
            width = max(len(first), len(last))
            low, high = (int.from_bytes(key.ljust(width, b"\0"), "big") for key in (first, last))
            starts = [chosen.randint(low, high).to_bytes(width, "big") for _ in range(_SAMPLED_RUNS)]
            sampled: dict[bytes, None] = {}
            # The last run begins with the first key, so that nothing of a small table is left out.
            for start, most in [*((start, -(-count // _SAMPLED_RUNS)) for start in starts), (first, count)]:
                sampled |= dict.fromkeys(key for (key,) in connection.execute(sql, (start, most)))
        return list(sampled)[:count]

    def replace_many(self, table: str, held: RowStamps, rows: EncodedRows) -> int:
        """See `CanReplace.replace_many`; all in one transaction."""
        new = {key: row for key, *row in _tuples(rows)}
        columns = (held.event_timestamps, held.created_timestamps, held.versions)
        conditions = list(zip(held.keys, *(column.tolist() for column in columns), strict=True))
        unchanged = f"WHERE key = ? AND event_ts = ? AND created_ts = ? AND version = ? AND {_IS_ROW}"
        with self._pool.writing() as connection:
            if not _exists(connection, table):
                return 0
            before = connection.total_changes
            connection.executemany(
                f"UPDATE {_quoted(table)} SET event_ts = ?, created_ts = ?, version = ?, content = ? {unchanged}",  # noqa: S608
                [(*new[c[0]], *c) for c in conditions if c[0] in new],
            )
            connection.executemany(
                f"DELETE FROM {_quoted(table)} {unchanged}",  # noqa: S608
                [c for c in conditions if c[0] not in new],
            )
            return connection.total_changes - before

    def foreign(self, table: str, keys: Sequence[bytes]) -> Mapping[bytes, str]:
        """See `CanHoldForeignValues.foreign`; rows with cells of other types than a row's."""
        reasons: dict[bytes, str] = {}
        with self._pool.reading() as connection:
            if not _exists(connection, table):
                return reasons
            for at in range(0, len(keys), _KEYS_PER_SELECT):
                some = keys[at : at + _KEYS_PER_SELECT]
                columns = "key, typeof(event_ts), typeof(created_ts), typeof(version), typeof(content)"
                where = f"key IN ({','.join('?' * len(some))}) AND NOT {_IS_ROW}"
                sql = f"SELECT {columns} FROM {_quoted(table)} WHERE {where}"  # noqa: S608
                for key, *types in connection.execute(sql, list(some)):
                    reasons[key] = _foreign_types(*types)
        return reasons

    def drop(self, tables: Iterable[str]) -> None:
        if not self._path.exists():
            return
        with self._pool.writing() as connection:
            connection.execute(_CREATE_IDENTITIES)
            for table in tables:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(table)}")
                connection.execute(f"DELETE FROM {_IDENTITIES} WHERE name = ?", (_name(table),))  # noqa: S608
                sqlite_marks.remove(connection, _name(table))

    def close(self) -> None:
        self._pool.close()


def _quoted(table: str) -> str:
    return f'"{_name(table)}"'


def _name(table: str) -> str:
    """Returns the name of a table in the file.

    SQLite ignores the case of ASCII letters, and reserves names of its own; a prefix and escapes keep every name apart.
    """
    safe = "".join(c if c in _PLAIN_CHARACTERS else "%" + c.encode("utf-8", "surrogatepass").hex() + "%" for c in table)
    return f"rows_{safe}"


@lru_cache(maxsize=1024)
def _create(table: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS {_quoted(table)} {COLUMNS}"


@lru_cache(maxsize=1024)
def _upsert_sql(table: str, rows: int, of_codec: bool) -> str:
    foreign = _IS_FOREIGN_TO_CODEC if of_codec else _IS_FOREIGN
    values = ",".join(["(?,?,?,?,?)"] * rows)
    return (
        f"INSERT INTO {_quoted(table)} AS old VALUES {values} ON CONFLICT (key) DO UPDATE SET "  # noqa: S608
        "event_ts = excluded.event_ts, created_ts = excluded.created_ts, version = excluded.version, "
        "content = excluded.content WHERE (excluded.event_ts, excluded.created_ts, excluded.version, excluded.content) "
        "> (old.event_ts, old.created_ts, old.version, old.content) "
        f"OR (({foreign}) AND {NOTE_OVERWRITTEN}(old.key))"
    )


@lru_cache(maxsize=1024)
def _select_sql(table: str, keys: int) -> str:
    parameters = ",".join("?" * keys)
    return f"SELECT key, event_ts, created_ts, version, content FROM {_quoted(table)} WHERE key IN ({parameters})"  # noqa: S608


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (_name(table),)).fetchone() is not None


def _set_up(connection: sqlite3.Connection, table: str) -> None:
    """Creates a table and draws its identity, each where it is missing."""
    connection.execute(_CREATE_IDENTITIES)
    if _identity(connection, table):
        return
    connection.execute(_create(table))
    connection.execute(SET_FORMAT)
    # Replaces the identity of a table that someone removed by other means.
    sql = f"REPLACE INTO {_IDENTITIES} VALUES (?, ?)"  # noqa: S608
    connection.execute(sql, (_name(table), uuid.uuid4().hex))
    sqlite_marks.begin(connection, _name(table))


def _mark(connection: sqlite3.Connection, table: str) -> Mark:
    identity = _identity(connection, table)
    return Mark(identity, sqlite_marks.number(connection, _name(table)) if identity else 0)


def _identity(connection: sqlite3.Connection, table: str) -> str:
    try:
        row = connection.execute(_SELECT_IDENTITY, (_name(table),)).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return ""
        raise
    return "" if row is None else str(row[0])


def _update(connection: sqlite3.Connection, table: str, batch: EncodedRows) -> PutResult:
    """Puts the rows whose keys are in the table."""
    absent = _absent(connection, table, batch)
    if absent:
        left_out = set(absent)
        batch = batch.take([index for index, key in enumerate(batch.keys) if key not in left_out])
    return _upsert(connection, table, batch) + PutResult(0, len(absent), absent)


def _absent(connection: sqlite3.Connection, table: str, batch: EncodedRows) -> tuple[bytes, ...]:
    """Returns those keys of a batch under which the table has no row."""
    absent: list[bytes] = []
    is_row = _IS_CODEC_ROW if batch.of_codec else _IS_ROW
    for at in range(0, len(batch), _KEYS_PER_SELECT):
        keys = batch.keys[at : at + _KEYS_PER_SELECT]
        there = f"SELECT 1 FROM {_quoted(table)} WHERE key = column1 AND {is_row}"  # noqa: S608
        given = ",".join(["(?)"] * len(keys))
        sql = f"SELECT column1 FROM (VALUES {given}) WHERE NOT EXISTS ({there})"  # noqa: S608
        absent += [key for (key,) in connection.execute(sql, list(keys))]
    return tuple(absent)


def _upsert(connection: sqlite3.Connection, table: str, batch: EncodedRows) -> PutResult:
    rows = _tuples(batch)
    if not _ascends(batch.keys):
        # A tree takes rows in its own order many times faster. Keys differ, so nothing else is compared.
        rows = sorted(rows)
    values = chain.from_iterable(rows)
    before = connection.total_changes
    rest = len(batch)
    for count in _ROWS_PER_UPSERT:
        statements, rest = divmod(rest, count)
        for _ in range(statements):
            connection.execute(_upsert_sql(table, count, batch.of_codec), list(islice(values, _COLUMNS * count)))
    written = connection.total_changes - before
    return PutResult(written, len(batch) - written)


def _tuples(rows: EncodedRows) -> Iterable[tuple[bytes, int, int, int, bytes]]:
    """Returns rows as tuples of Python values, in the order of the table's columns."""
    stamps = (rows.event_timestamps, rows.created_timestamps, rows.versions)
    return zip(rows.keys, *(column.tolist() for column in stamps), rows.payloads, strict=True)


def _ascends(keys: Sequence[bytes]) -> bool:
    return all(map(lt, keys, islice(keys, 1, None)))


def _stamps(rows: Sequence[tuple[bytes, int, int, int]]) -> RowStamps:
    import numpy as np  # Serving, which only reads by key, does not load numpy.

    keys, *columns = zip(*rows, strict=True)
    return RowStamps(keys, *(np.array(column, np.int64) for column in columns))


def _select(connection: sqlite3.Connection, read: OnlineRead) -> StoredRows:
    keys = read.keys
    rows: list[_Row] = []
    for at in range(0, len(keys), _KEYS_PER_SELECT):
        chunk = list(keys[at : at + _KEYS_PER_SELECT])
        # A handful of statement lengths, so that prepared statements are used again.
        parameters = 1 << (len(chunk) - 1).bit_length()
        chunk += chunk[-1:] * (parameters - len(chunk))
        try:
            rows += connection.execute(_select_sql(read.table, parameters), chunk).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                break
            raise
    if len(keys) == 1:
        _, event, created, version, payload = rows[0] if rows else _NO_ROW
        return _UncheckedRows((event,), (created,), (version,), (payload,))
    if not keys:
        return _UncheckedRows((), (), (), ())
    row_of = {row[0]: row for row in rows}
    return _UncheckedRows(*islice(zip(*[row_of.get(key, _NO_ROW) for key in keys], strict=True), 1, None))


_Columns = tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[bytes | None]]


class _UncheckedRows(StoredRows):
    """Rows as the file has them; the types of their cells are checked only when a column is asked for.

    A row with a cell of another type counts as missing.
    """

    __slots__ = ("_checked", "_columns")

    _checked: _Columns | None

    def __init__(
        self,
        events: Sequence[int],
        created: Sequence[int],
        versions: Sequence[int],
        payloads: Sequence[bytes | None],
    ):
        self._columns = (events, created, versions, payloads)
        self._checked = None

    @property
    def stored_values(self) -> tuple[Sequence[bytes | None], int]:
        return self._columns[3], 0

    @property
    def event_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return self._check()[0]

    @property
    def created_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return self._check()[1]

    @property
    def versions(self) -> Sequence[int]:  # type: ignore[override]
        return self._check()[2]

    @property
    def payloads(self) -> Sequence[bytes | None]:  # type: ignore[override]
        return self._check()[3]

    def foreign(self) -> Mapping[int, str]:
        return {
            index: _foreign_types(*(_SQL_TYPES.get(type(value), "null") for value in row))
            for index, row in enumerate(zip(*self._columns, strict=True))
            if not _is_row(row)
        }

    def _check(self) -> _Columns:
        if self._checked is None:
            events, created, versions, payloads = self._columns
            if {*map(type, chain(events, created, versions))} <= _INTEGERS and {*map(type, payloads)} <= _PAYLOADS:
                self._checked = self._columns
            else:
                rows = [row if _is_row(row) else _NO_ROW[1:] for row in zip(*self._columns, strict=True)]
                events, created, versions, payloads = zip(*rows, strict=True)
                self._checked = events, created, versions, payloads
        return self._checked


_INTEGERS = frozenset((int,))
_PAYLOADS = frozenset((bytes, type(None)))
_SQL_TYPES = {int: "integer", float: "real", str: "text", bytes: "blob"}


def _is_row(row: tuple[object, object, object, object]) -> bool:
    event, created, version, payload = row
    return {type(event), type(created), type(version)} == _INTEGERS and type(payload) in _PAYLOADS


def _foreign_types(event: str, created: str, version: str, content: str) -> str:
    return f"its cells are {event}, {created}, {version} and {content}, not three integers and a blob"
