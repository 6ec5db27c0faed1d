"""Reading keys of several tables in one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, islice

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from feast_assets.online_stores.base import OnlineRead, StoredRows
from feast_assets.online_stores.postgres import statements
from feast_assets.online_stores.postgres.arrays import ByteArray

Row = tuple[int, bytes, int, int, int, bytes | None]
"""The number of a table in the statement; key, event and created timestamp, version and payload."""

_NO_ROW: Row = (0, b"", 0, 0, 0, None)


class ReadStatement:
    """One statement for several reads.

    Attributes:
        tables: those that it reads, each once.
    """

    def __init__(self, schema: str, reads: Sequence[OnlineRead], existing: Collection[str] | None = None):
        """Makes the statement.

        Args:
            existing: tables that exist, if it is known that others do not.
        """
        self._reads = reads
        keys_of: dict[str, list[Sequence[bytes]]] = {}
        for read in reads:
            if read.keys and (existing is None or read.table in existing):
                keys_of.setdefault(read.table, []).append(read.keys)
        self.tables = list(keys_of)
        self._sql = statements.read(tuple([statements.of_table(schema, table).relation for table in keys_of]))
        self._parameters = [
            ByteArray(keys[0] if len(keys) == 1 else list(chain.from_iterable(keys))) for keys in keys_of.values()
        ]

    def run(self, connection: Connection[TupleRow]) -> list[Row | None]:
        """Returns a row or None for each key of each read, in order."""
        return self._in_order(connection.execute(self._sql, self._parameters, binary=True).fetchall())

    async def run_async(self, connection: AsyncConnection[TupleRow]) -> list[Row | None]:
        """As `run`, without blocking the event loop."""
        cursor = await connection.execute(self._sql, self._parameters, binary=True)
        return self._in_order(await cursor.fetchall())

    def _in_order(self, rows: Sequence[Row]) -> list[Row | None]:
        if len(self._reads) == 1:
            return list(map({row[1]: row for row in rows}.get, self._reads[0].keys))
        of_number: list[dict[bytes, Row]] = [{} for _ in self.tables]
        for row in rows:
            of_number[row[0]][row[1]] = row
        of_table = dict(zip(self.tables, of_number, strict=True))
        return [row for read in self._reads for row in map(of_table.get(read.table, {}).get, read.keys)]


def split(reads: Sequence[OnlineRead], rows: Sequence[Row | None]) -> list[StoredRows]:
    """Returns the rows of each read, by columns.

    Args:
        rows: of all the reads, a row or None for each key; empty if no read has keys.
    """
    remaining = iter(rows)
    return [_stored([row or _NO_ROW for row in islice(remaining, len(read.keys))]) for read in reads]


def _stored(rows: Sequence[Row]) -> StoredRows:
    return StoredRows(*islice(zip(*rows, strict=True), 2, None)) if rows else StoredRows((), (), (), ())
