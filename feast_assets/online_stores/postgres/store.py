"""Postgres: the online store of many machines that already run a Postgres server.

Each table of the store is a table of one schema, with the entity key as its primary key; see
`feast_assets.online_stores.postgres.statements`. One more table has the identities and marks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, ProgramLimitExceeded, UndefinedTable
from psycopg.rows import TupleRow

from feast_assets.errors import ConfigError, FeastAssetsError, InputError, StoreUnavailableError, printable
from feast_assets.online_stores.abilities import CanReplace, CanSample, CanTellRestarts, RowStamps
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
from feast_assets.online_stores.merged_reads import MergedReads
from feast_assets.online_stores.postgres import statements
from feast_assets.online_stores.postgres.catalog import TableCatalog
from feast_assets.online_stores.postgres.config import PostgresOnlineStoreConfig
from feast_assets.online_stores.postgres.connections import ConnectionPool
from feast_assets.online_stores.postgres.puts import put, row_arrays, stamp_arrays
from feast_assets.online_stores.postgres.reading import ReadStatement, Row, split
from feast_assets.settings.redaction import clean_error, without_secrets

_ROWS_PER_SCAN = 10_000
# Of a sample; so a small table is read whole, and a large one gives keys of many places.
_PAGES_BEYOND_COUNT = 16

_Result = TypeVar("_Result")


class _NoTableError(StoreUnavailableError):
    """A table was not set up, or has been dropped."""


class PostgresOnlineStore(OnlineStore, CanReplace, CanSample, CanTellRestarts):
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
        self._catalog = TableCatalog(self._schema)
        self._is_format_known = False
        self._connections = ConnectionPool(parameters, config.most_connections)
        self._reads: dict[asyncio.AbstractEventLoop, MergedReads[Sequence[OnlineRead], Row | None]] = {}

    def __repr__(self) -> str:
        return f"PostgresOnlineStore({self._server!r}, schema {self._schema!r})"

    def setup(self, tables: Iterable[str]) -> None:
        """Creates missing tables, and the schema if it is missing."""
        named = [self._table(table) for table in dict.fromkeys(tables)]
        marks = self._run(lambda connection: self._catalog.marks(connection, named))
        # A user without the right to create can set up what exists.
        if missing := [table for table, mark in zip(named, marks, strict=True) if not mark.identity]:
            self._run(lambda connection: self._catalog.set_up(connection, missing))

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        named = [self._table(table) for table in tables]
        return self._run(lambda connection: self._catalog.marks(connection, named))

    def advance(self, table: str, expected: int, new: int) -> Mark:
        return self._run(lambda connection: self._catalog.advance(connection, self._table(table), expected, new))

    def restart_token(self) -> str:
        return self._run(self._catalog.restart_token)

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put(table, batches, existing=False)

    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put(table, batches, existing=True)

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        statement = ReadStatement(self._schema, reads)
        try:
            rows = self._run(statement.run) if statement.tables else []
        except _NoTableError:
            existing = self._existing(statement.tables)
            statement = ReadStatement(self._schema, reads, existing)
            rows = self._run(statement.run) if existing else [None] * sum([len(read.keys) for read in reads])
        return split(reads, rows)

    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[RowStamps]:
        """See `CanReplace.scan`; in order of keys, a part at a time, so no connection is held in between."""
        import numpy as np  # Serving, which only reads, does not load numpy.

        last, sql = b"", self._table(table).first_scan
        while rows := self._execute(sql, [last, start, end, version_below, _ROWS_PER_SCAN]):
            keys, *stamps = zip(*rows, strict=True)
            yield RowStamps(keys, *[np.array(column, np.int64) for column in stamps])
            last, sql = keys[-1], self._table(table).next_scan

    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """See `CanSample.sample_keys`; of the rows of some pages, which the seed chooses."""
        pages = count + _PAGES_BEYOND_COUNT
        return [key for (key,) in self._execute(self._table(table).sample, [pages, seed, seed, count])]

    def replace_many(self, table: str, held: RowStamps, rows: EncodedRows) -> int:
        """See `CanReplace.replace_many`; all in one statement."""
        counts = self._execute(self._table(table).replace_held, [*row_arrays(rows), *stamp_arrays(held)])
        return int(counts[0][0]) if counts else 0

    def drop(self, tables: Iterable[str]) -> None:
        named = [self._table(table) for table in tables]
        self._run(lambda connection: self._catalog.drop(connection, named))

    async def get_many_async(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        """See `OnlineStore.get_many_async`; those that begin in one turn of an event loop are one statement."""
        return split(reads, await self._merged_reads().get(reads, sum([len(read.keys) for read in reads])))

    def close(self) -> None:
        self._connections.close()

    async def aclose(self) -> None:
        self._reads.pop(asyncio.get_running_loop(), None)
        await self._connections.aclose()

    def _table(self, table: str) -> statements.TableStatements:
        return statements.of_table(self._schema, table)

    def _put(self, table: str, batches: Iterable[EncodedRows], *, existing: bool) -> PutResult:
        result = NOTHING_PUT
        with closing_source(batches) as remaining:
            for batch in remaining:
                if len(batch):
                    result += self._put_batch(table, batch, existing=existing)
        return result

    def _put_batch(self, table: str, batch: EncodedRows, *, existing: bool) -> PutResult:
        work = partial(put, table=self._table(table), batch=batch, existing=existing)
        try:
            return self._run(work)
        except _NoTableError:
            self.setup([table])
            return self._run(work)

    def _existing(self, tables: Sequence[str]) -> set[str]:
        return {table for table, mark in zip(tables, self.marks(tables), strict=True) if mark.identity}

    def _merged_reads(self) -> MergedReads[Sequence[OnlineRead], Row | None]:
        loop = asyncio.get_running_loop()
        reads = self._reads.get(loop)
        if reads is None:
            for closed in [known for known in self._reads if known.is_closed()]:
                del self._reads[closed]
            reads = self._reads[loop] = MergedReads(loop, self._read_async)
        return reads

    async def _read_async(self, requests: list[Sequence[OnlineRead]], keys: int) -> list[Row | None]:
        reads = list(chain.from_iterable(requests))
        statement = ReadStatement(self._schema, reads)
        try:
            return await self._run_async(statement.run_async) if keys else []
        except _NoTableError:
            existing = await asyncio.to_thread(self._existing, statement.tables)
            statement = ReadStatement(self._schema, reads, existing)
            return await self._run_async(statement.run_async) if existing else [None] * keys

    def _execute(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Returns the rows that a statement about one table gives; none where there is no such table."""

        def execute(connection: Connection[TupleRow]) -> list[tuple[object, ...]]:
            cursor = connection.execute(sql, parameters, binary=True)
            return cursor.fetchall() if cursor.description else []

        try:
            return self._run(execute)
        except _NoTableError:
            return []

    def _run(self, work: Callable[[Connection[TupleRow]], _Result]) -> _Result:
        try:
            if not self._is_format_known:
                self._connections.run(self._check_format)
            return self._connections.run(work)
        except psycopg.Error as error:
            raise self._explained(error) from None

    async def _run_async(self, work: Callable[[AsyncConnection[TupleRow]], Awaitable[_Result]]) -> _Result:
        try:
            if not self._is_format_known:
                await self._connections.run_async(self._check_format_async)
            return await self._connections.run_async(work)
        except psycopg.Error as error:
            raise self._explained(error) from None

    def _check_format(self, connection: Connection[TupleRow]) -> None:
        """Asks once what format the rows have; raises StoredFormatError where a newer version wrote them."""
        row = connection.execute(self._catalog.format_query).fetchone()
        self._catalog.check_format(None if row is None else row[0], self._server)
        self._is_format_known = True

    async def _check_format_async(self, connection: AsyncConnection[TupleRow]) -> None:
        row = await (await connection.execute(self._catalog.format_query)).fetchone()
        self._catalog.check_format(None if row is None else row[0], self._server)
        self._is_format_known = True

    def _explained(self, error: psycopg.Error) -> FeastAssetsError:
        # Whoever prints the error that is raised may print this one too, and what it knows of its connection.
        clean_error(error, self._secrets)
        said = without_secrets(printable(error.diag.message_primary or error), self._secrets)
        if isinstance(error, ProgramLimitExceeded):
            return InputError(f"{self!r} cannot store a row: {said}. Entity keys can have about 2,700 bytes.")
        if isinstance(error, UndefinedTable):
            return _NoTableError(f"{self!r} lacks a table: {said}.")
        hint = ""
        if isinstance(error, InsufficientPrivilege):
            hint = (
                f" The user needs USAGE on schema {self._schema!r}, and SELECT, INSERT, UPDATE and DELETE on its "
                "tables; to create tables, also CREATE on the schema. Reading needs USAGE and SELECT only."
            )
        return StoreUnavailableError(f"{self!r} cannot be used: {said}.{hint}")
