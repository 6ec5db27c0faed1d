"""The same work by hand, with nothing between the script and the engine: DuckDB, sqlite3, redis-py.

What a careful person would write for one task and no other: no registry, ledger, ttl, statuses or checks. SQLite is
opened with the settings that feast_assets uses, so that both pay the same for durability.
"""

# ruff: noqa: S608 - every name in these statements is the benchmark's own

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets import ENTITY, TIME, Shape, feature_names, is_integer

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_COMMAND = 1_000


def duckdb_connection(memory_limit: str | None = None) -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if memory_limit:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
    return connection


def latest_per_entity(
    connection: Any, path: Path, shape: Shape, *, in_two_steps: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yields the newest row of each entity of a file: key, event time, features.

    Args:
        in_two_steps: finds the newest times first and then the rows of these times, all of them where some tie, which
            leaves out most row groups of a file that is in order of time; else one aggregate finds all.
    """
    yield from connection.sql((_newest_in_two_steps if in_two_steps else _newest)(path, shape)).to_arrow_reader(50_000)


def _newest(path: Path, shape: Shape) -> str:
    packed = ", ".join(f"{n} := {n}" for n in feature_names(shape.features))
    return (
        f"SELECT {shape.key}, t AS {TIME}, unnest(r) FROM (SELECT {shape.key}, max({TIME}) AS t, "
        f"arg_max(struct_pack({packed}), {TIME}) AS r FROM read_parquet('{path}') GROUP BY {shape.key})"
    )


def _newest_in_two_steps(path: Path, shape: Shape) -> str:
    columns = ", ".join([shape.key, TIME, *feature_names(shape.features)])
    return (
        f"SELECT {columns} FROM read_parquet('{path}') WHERE ({shape.key}, {TIME}) IN "
        f"(SELECT {shape.key}, max({TIME}) FROM read_parquet('{path}') GROUP BY {shape.key})"
    )


class SqliteTables:
    """The latest values, one table for each view, one column for each feature."""

    def __init__(self, path: Path):
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")

    def create(self, view: str, features: int) -> None:
        columns = ", ".join(f"f{i} {'INTEGER' if is_integer(i) else 'REAL'}" for i in range(features))
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {view} (id INTEGER PRIMARY KEY, t INTEGER, {columns})")

    def upsert(self, view: str, features: int, batches: Iterator[pa.RecordBatch]) -> int:
        """Puts rows where they are newer, in one transaction; returns how many were given."""
        names = ["t", *feature_names(features)]
        sql = (
            f"INSERT INTO {view} AS old VALUES ({', '.join('?' * (len(names) + 1))}) ON CONFLICT (id) DO UPDATE SET "
            f"{', '.join(f'{n} = excluded.{n}' for n in names)} WHERE excluded.t > old.t"
        )
        count = 0
        self._connection.execute("BEGIN IMMEDIATE")
        for batch in batches:
            self._connection.executemany(sql, _rows(batch))
            count += batch.num_rows
        self._connection.execute("COMMIT")
        return count

    def upsert_one(self, view: str, row: Sequence[Any]) -> None:
        names = ["t", *feature_names(len(row) - 2)]
        sql = (
            f"INSERT INTO {view} AS old VALUES ({', '.join('?' * len(row))}) ON CONFLICT (id) DO UPDATE SET "
            f"{', '.join(f'{n} = excluded.{n}' for n in names)} WHERE excluded.t > old.t"
        )
        self._connection.execute(sql, row)

    def read(self, views: Sequence[str], features: int, ids: Sequence[int]) -> dict[str, list[Any]]:
        """Returns columns in the order of the ids, as ``to_dict()`` of both libraries does."""
        names = feature_names(features)
        columns: dict[str, list[Any]] = {"entity_id": list(ids)}
        places = ", ".join("?" * len(ids))
        missing = (None,) * (features + 1)
        for view in views:
            sql = f"SELECT id, {', '.join(names)} FROM {view} WHERE id IN ({places})"
            found = {row[0]: row for row in self._connection.execute(sql, ids)}
            by_column = list(zip(*[found.get(each, missing) for each in ids], strict=True))
            columns.update((f"{view}__{name}", list(values)) for name, values in zip(names, by_column[1:], strict=True))
        return columns


class RedisValues:
    """The latest values, one packed value for each view and entity."""

    def __init__(self, address: str, database: int, prefix: str):
        import redis

        host, port = address.split(":")
        self.client = redis.Redis(host=host, port=int(port), db=database)
        self._prefix = prefix

    def write(self, view: str, features: int, batches: Iterator[pa.RecordBatch]) -> int:
        """Sets the values, many in a round trip, whatever is there; returns how many."""
        packer = _packer(features)
        count = 0
        pipe = self.client.pipeline(transaction=False)
        for batch in batches:
            rows = [(self._key(view, row[0]), packer.pack(*row[1:])) for row in _rows(batch)]
            for at in range(0, len(rows), _ROWS_PER_COMMAND):
                pipe.mset(dict(rows[at : at + _ROWS_PER_COMMAND]))
            pipe.execute()
            count += len(rows)
        return count

    def write_one(self, view: str, row: Sequence[Any]) -> None:
        self.client.set(self._key(view, row[0]), _packer(len(row) - 2).pack(*row[1:]))

    def keys(self, views: Sequence[str], ids: Sequence[int]) -> list[bytes]:
        return [self._key(view, each) for view in views for each in ids]

    def read(self, views: Sequence[str], features: int, ids: Sequence[int]) -> dict[str, list[Any]]:
        """Returns columns in the order of the ids, from one ``MGET``."""
        return self.columns(views, features, ids, self.client.mget(self.keys(views, ids)))

    def columns(
        self, views: Sequence[str], features: int, ids: Sequence[int], values: Sequence[Any]
    ) -> dict[str, list[Any]]:
        unpack = _packer(features).unpack
        missing = (None,) * (features + 1)
        columns: dict[str, list[Any]] = {"entity_id": list(ids)}
        for number, view in enumerate(views):
            of_view = values[number * len(ids) : (number + 1) * len(ids)]
            by_column = list(zip(*[missing if v is None else unpack(v) for v in of_view], strict=True))
            columns.update((f"{view}__f{i}", list(values)) for i, values in enumerate(by_column[1:]))
        return columns

    def _key(self, view: str, entity: int) -> bytes:
        return f"{self._prefix}:{view}:{entity}".encode()


_PACKERS: dict[int, struct.Struct] = {}


def _packer(features: int) -> struct.Struct:
    if features not in _PACKERS:
        _PACKERS[features] = struct.Struct("<q" + "".join("q" if is_integer(i) else "d" for i in range(features)))
    return _PACKERS[features]


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    import pyarrow as pa

    columns = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in batch.columns]
    return zip(*[c.to_pylist() for c in columns], strict=True)


def point_in_time_in_two_steps(connection: Any, path: str, spine: str, features: int) -> pa.Table:
    """Returns a spine's rows with features: first which times count, from keys and times, then the rows of these times.

    Row groups without any of these times are not read, as far as a careful person can say so by hand. Where several
    rows of an entity tie, it gives them all.

    Args:
        path: all files of the history.
        spine: a registered name, with the key and the time.
    """
    history = f"read_parquet('{path}')"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE newest AS SELECT s.{ENTITY}, s.{TIME} AS at, max(r.{TIME}) AS t FROM {spine} s "
        f"JOIN {history} r ON s.{ENTITY} = r.{ENTITY} AND r.{TIME} <= s.{TIME} GROUP BY 1, 2"
    )
    sql = "SELECT CAST(min(t) AS VARCHAR), CAST(max(t) AS VARCHAR) FROM newest"
    ((first, last),) = connection.execute(sql).fetchall()
    names = ", ".join(f"r.{name}" for name in feature_names(features))
    return connection.sql(
        f"SELECT s.*, {names} FROM {spine} s LEFT JOIN newest n ON s.{ENTITY} = n.{ENTITY} AND s.{TIME} = n.at "
        f"LEFT JOIN (SELECT * FROM {history} WHERE {TIME} BETWEEN '{first}' AND '{last}') r "
        f"ON r.{ENTITY} = n.{ENTITY} AND r.{TIME} = n.t"
    ).to_arrow_table()


def point_in_time_sql(shape: Shape, data: Path, spine: str) -> str:
    """Returns the query that joins every view's features to a spine as of the spine's times.

    Args:
        spine: a table or a registered name, with the shape's key and the time.
    """
    joins, columns = [], ["s.*"]
    for number in range(shape.views):
        path = shape.path(data, number)
        joins.append(
            f"ASOF LEFT JOIN read_parquet('{path}') v{number} "
            f"ON s.{shape.key} = v{number}.{shape.key} AND s.{TIME} >= v{number}.{TIME}"
        )
        columns += [f"v{number}.{name} AS view_{number}__{name}" for name in feature_names(shape.features)]
    return f"SELECT {', '.join(columns)} FROM {spine} s {' '.join(joins)}"
