"""Postgres: the online store of many machines that already run a Postgres server.

Each table of the store is a table of one schema, with the entity key as its primary key; see
`feast_assets.online_stores.postgres.statements`. One more table has the identities and marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, ProgramLimitExceeded, UndefinedTable

from feast_assets.errors import ConfigError, FeastAssetsError, InputError, StoreUnavailableError, printable
from feast_assets.online_stores.base import (
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    PutResult,
    RowHeads,
    StoredRows,
    closing_source,
)
from feast_assets.online_stores.postgres import statements
from feast_assets.online_stores.postgres.arrays import ByteArray, IntegerArray
from feast_assets.online_stores.postgres.catalog import Catalog
from feast_assets.online_stores.postgres.config import PostgresOnlineStoreConfig
from feast_assets.online_stores.postgres.connections import ConnectionPool
from feast_assets.online_stores.postgres.puts import arrays_of, put
from feast_assets.settings.redaction import clean_error, without_secrets

_ROWS_PER_SCAN = 10_000
# Of a sample; so a small table is read whole, and a large one gives keys of many places.
_PAGES_BEYOND_COUNT = 64

_Result = TypeVar("_Result")
# Number of the read, key, event and created timestamp, payload.
_Row = tuple[int, bytes, int, int, bytes | None]
_NO_ROW: _Row = (0, b"", 0, 0, None)


class PostgresOnlineStore(OnlineStore):
    """The latest row per key in a schema of a Postgres database.

    ``put_many`` is one statement and one transaction for each batch, whatever its size. ``get_many`` is one statement
    for all tables. When a connection breaks while rows are put, they may have been written before the put is tried
    again, and then count as ignored.
    """

    config_class: ClassVar[type[PostgresOnlineStoreConfig]] = PostgresOnlineStoreConfig
    rows_put_whole = None

    def __init__(self, config: PostgresOnlineStoreConfig, root: Path | None = None):
        """Creates the store without connecting. ``root`` is there for all stores alike; this one has no files."""
        self._schema = config.db_schema
        self._server = config.display_name
        self._secrets = config.secrets()
        parameters = config.connection_parameters()
        try:
            make_conninfo(**parameters)
        except psycopg.Error as error:
            problem = without_secrets(printable(error), self._secrets)
        else:
            problem = ""
        if problem:
            raise ConfigError(f"online_store: Postgres cannot be reached by these settings: {problem}.")
        self._catalog = Catalog(self._schema)
        self._connections = ConnectionPool(parameters, config.most_connections)

    def __repr__(self) -> str:
        return f"PostgresOnlineStore({self._server!r}, schema {self._schema!r})"

    def setup(self, tables: Iterable[str]) -> None:
        """Creates the tables that are missing, and where it is missing, the schema."""
        named = [self._table(table) for table in dict.fromkeys(tables)]
        marks = self._run(lambda connection: self._catalog.marks(connection, named))
        # Where all is there, no rights to create are needed, and nobody is waited for.
        if missing := [table for table, mark in zip(named, marks, strict=True) if not mark.identity]:
            self._run(lambda connection: self._catalog.set_up(connection, missing))

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        named = [self._table(table) for table in tables]
        return self._run(lambda connection: self._catalog.marks(connection, named))

    def advance(self, table: str, expected: int, new: int) -> Mark:
        return self._run(lambda connection: self._catalog.advance(connection, self._table(table), expected, new))

    def incarnation(self) -> str:
        return self._run(self._catalog.incarnation)

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        result = PutResult(0, 0)
        with closing_source(batches) as remaining:
            for batch in remaining:
                if len(batch):
                    result += self._put(table, batch)
        return result

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        asked = [read for read in reads if read.keys]
        try:
            rows = self._fetched(asked)
        except UndefinedTable:
            asked = self._of_tables_that_exist(asked)
            rows = self._fetched(asked)
        return _stored(reads, asked, rows)

    def delete(self, table: str, keys: Sequence[bytes]) -> None:
        self._execute(self._table(table).delete(), [ByteArray(keys)])

    def scan(self, table: str, start: int, end: int, below: bytes) -> Iterator[RowHeads]:
        """See `OnlineStore.scan`; in order of keys, a part at a time, so no connection is held in between."""
        import numpy as np  # Reading needs none.

        last, sql = b"", self._table(table).scan(first=True)
        while rows := self._execute(sql, [last, start, end, below, _ROWS_PER_SCAN]):
            keys, events, created, heads = zip(*rows, strict=True)
            yield RowHeads(keys, np.array(events, np.int64), np.array(created, np.int64), heads)
            last, sql = keys[-1], self._table(table).scan(first=False)

    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """See `OnlineStore.sample_keys`; of the rows of some pages, which the seed chooses."""
        pages = count + _PAGES_BEYOND_COUNT
        return [key for (key,) in self._execute(self._table(table).sample(), [pages, seed, seed, count])]

    def replace_many(self, table: str, held: RowHeads, rows: EncodedRows) -> int:
        """See `OnlineStore.replace_many`; all in one statement."""
        told = [
            ByteArray(held.keys),
            IntegerArray(held.event_timestamps),
            IntegerArray(held.created_timestamps),
            ByteArray(held.heads),
        ]
        counts = self._execute(self._table(table).replace_held(), [*arrays_of(rows), *told])
        return int(counts[0][0]) if counts else 0

    def drop(self, tables: Iterable[str]) -> None:
        named = [self._table(table) for table in tables]
        self._run(lambda connection: self._catalog.drop(connection, named))

    async def put_many_async(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        import asyncio

        return await asyncio.to_thread(self.put_many, table, batches)

    async def get_many_async(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        import asyncio

        asked = [read for read in reads if read.keys]
        try:
            rows = await self._fetched_async(asked)
        except UndefinedTable:
            asked = await asyncio.to_thread(self._of_tables_that_exist, asked)
            rows = await self._fetched_async(asked)
        return _stored(reads, asked, rows)

    def close(self) -> None:
        self._connections.close()

    async def aclose(self) -> None:
        await self._connections.aclose()

    def _table(self, table: str) -> statements.TableStatements:
        return statements.of_table(self._schema, table)

    def _put(self, table: str, batch: EncodedRows) -> PutResult:
        work = partial(put, table=self._table(table), batch=batch)
        try:
            result, overwritten = self._run(work)
        except UndefinedTable:
            self.setup([table])
            result, overwritten = self._run(work)
        for key in overwritten:
            self.foreign_values.warn(table, key, "its value was damaged or written by others", overwritten=True)
        return result

    def _of_tables_that_exist(self, reads: Sequence[OnlineRead]) -> list[OnlineRead]:
        marks = self.marks([read.table for read in reads])
        return [read for read, mark in zip(reads, marks, strict=True) if mark.identity]

    def _question(self, reads: Sequence[OnlineRead]) -> tuple[str, list[ByteArray]]:
        relations = tuple([self._table(read.table).relation for read in reads])
        return statements.read(relations), [ByteArray(read.keys) for read in reads]

    def _fetched(self, reads: Sequence[OnlineRead]) -> list[_Row]:
        if not reads:
            return []
        sql, keys = self._question(reads)
        return self._run(lambda connection: connection.execute(sql, keys, binary=True).fetchall())

    async def _fetched_async(self, reads: Sequence[OnlineRead]) -> list[_Row]:
        if not reads:
            return []
        sql, keys = self._question(reads)

        async def fetch(connection: AsyncConnection[Any]) -> list[_Row]:
            return await (await connection.execute(sql, keys, binary=True)).fetchall()

        try:
            return await self._connections.run_async(fetch)
        except UndefinedTable:
            raise
        except psycopg.Error as error:
            raise self._explained(error) from None

    def _execute(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Returns the rows that a statement about one table gives; none where there is no such table."""

        def execute(connection: Connection[Any]) -> list[tuple[Any, ...]]:
            cursor = connection.execute(sql, parameters, binary=True)
            return cursor.fetchall() if cursor.description else []

        try:
            return self._run(execute)
        except UndefinedTable:
            return []

    def _run(self, work: Callable[[Connection[Any]], _Result]) -> _Result:
        try:
            return self._connections.run(work)
        except UndefinedTable:
            raise
        except psycopg.Error as error:
            raise self._explained(error) from None

    def _explained(self, error: psycopg.Error) -> FeastAssetsError:
        # Whoever prints the error that is raised may print this one too, and what it knows of its connection.
        clean_error(error, self._secrets)
        said = without_secrets(printable(error.diag.message_primary or error), self._secrets)
        if isinstance(error, ProgramLimitExceeded):
            return InputError(f"{self!r} cannot store a row: {said}. Entity keys can have about 2,700 bytes.")
        hint = ""
        if isinstance(error, InsufficientPrivilege):
            hint = (
                f" The user needs USAGE on schema {self._schema!r}, and SELECT, INSERT, UPDATE and DELETE on its "
                "tables; to create tables, also CREATE on the schema. Reading needs USAGE and SELECT only."
            )
        return StoreUnavailableError(f"{self!r} cannot be used: {said}.{hint}")


def _stored(reads: Sequence[OnlineRead], asked: Sequence[OnlineRead], rows: Sequence[_Row]) -> list[StoredRows]:
    """Returns the rows of each read in the order of its keys."""
    if len(reads) == len(asked) == 1:
        return [_in_order(reads[0].keys, {row[1]: row for row in rows})]
    found: list[dict[bytes, _Row]] = [{} for _ in asked]
    for row in rows:
        found[row[0]][row[1]] = row
    by_read = {id(read): of_read for read, of_read in zip(asked, found, strict=True)}
    return [_in_order(read.keys, by_read.get(id(read), {})) for read in reads]


def _in_order(keys: Sequence[bytes], rows: dict[bytes, _Row]) -> StoredRows:
    if not keys:
        return StoredRows((), (), ())
    return StoredRows(*islice(zip(*[rows.get(key, _NO_ROW) for key in keys], strict=True), 2, None))
