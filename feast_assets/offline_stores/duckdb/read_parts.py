"""Rows of small parts that were just read, so that a run which summarizes them need not read them again to write them.

The rows are kept as long as somebody has what `ReadParts.read` returned, and found by the identities of the parts. So
they are never those of a part that was changed since it was listed.
"""

# ruff: noqa: S608 - identifiers in SQL are quoted by duckdb_engine

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.offline_stores.duckdb.engine import BATCH_ROWS, quote
from feast_assets.offline_stores.duckdb.files import PART, SourceTable, register
from feast_assets.offline_stores.duckdb.rows import declared_types

if TYPE_CHECKING:
    import duckdb

    from feast_assets.offline_stores.base import History
    from feast_assets.offline_stores.parts import Part

MOST_BYTES = 64 << 20
"""How large the files may be of which rows are kept."""
MOST_BYTES_IN_MEMORY = 4 * MOST_BYTES
"""How large the rows may be. A small file may have very many, as values that are alike take next to no space in it."""


@dataclass(frozen=True, eq=False)
class PartRows:
    """The rows of some parts, in memory.

    Attributes:
        numbers: of the parts in the column `PART`, by their identities.
    """

    source: SourceTable
    rows: pa.Table
    numbers: dict[str, int]

    def table(self, cursor: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> SourceTable:
        """Returns the rows of some of the parts as a table that a cursor can query."""
        sql = register(cursor, self.rows)
        numbers = {self.numbers[part.identity] for part in parts}
        if len(numbers) < len(self.numbers):
            sql += f" WHERE {quote(PART)} IN ({', '.join(map(str, sorted(numbers))) or 'NULL'})"
        return replace(self.source, sql=sql)


class ReadParts:
    """The rows of parts that are in memory at present."""

    def __init__(self) -> None:
        self._columns: weakref.WeakKeyDictionary[PartRows, object] = weakref.WeakKeyDictionary()

    def read(
        self, cursor: duckdb.DuckDBPyConnection, history: History, table: SourceTable, parts: Sequence[Part]
    ) -> PartRows | None:
        """Returns the columns that a history has of all rows of some parts; None where they should not be in memory.

        Args:
            table: with numbers of the parts, in their order.
        """
        if table.date_partition_slack is not None or sum(part.size for part in parts) > MOST_BYTES:
            return None
        if not all(part.size for part in parts):
            return None
        needed = {*declared_types(history), *history.declared, table.timestamp, table.created}
        schema = pa.schema([field for field in table.schema if field.name in needed])
        if not all(map(_is_plain, schema.types)):
            return None
        columns = ", ".join(quote(name) for name in [*schema.names, PART])
        batches: list[pa.RecordBatch] = []
        with cursor.sql(f"SELECT {columns} FROM ({table.sql})").to_arrow_reader(BATCH_ROWS) as reader:
            size = 0
            for batch in reader:
                size += batch.nbytes
                if size > MOST_BYTES_IN_MEMORY:
                    return None
                batches.append(batch)
            rows = pa.Table.from_batches(batches, reader.schema)
        source = replace(table, schema=schema, date_partition="", columnar=True, files=())
        kept = PartRows(source, rows, {part.identity: number for number, part in enumerate(parts)})
        self._columns[kept] = _columns_of(history)
        return kept

    def table_of(self, cursor: duckdb.DuckDBPyConnection, history: History) -> SourceTable | None:
        """Returns the rows of the parts that a history is restricted to; None where not all are in memory."""
        if not history.only:
            return None
        identities = {part.identity for part in history.only}
        for reference in self._columns.keyrefs():  # a list of its own, as other threads read parts as well
            kept = reference()
            if kept is None or not kept.numbers.keys() >= identities:
                continue
            if self._columns.get(kept) == _columns_of(history):
                return kept.table(cursor, history.only)
        return None


def _columns_of(history: History) -> object:
    """Returns what decides the columns that are kept, and how they are read."""
    (source,) = history.sources
    return source, sorted((name, str(dtype)) for name, dtype in declared_types(history).items()), history.declared


def _is_plain(kind: pa.DataType) -> bool:
    """Whether DuckDB reads Arrow columns of a type as just what it wrote into them."""
    if pa.types.is_timestamp(kind):
        return bool(kind.unit == "us")
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_date32)
    return any(is_kind(kind) for is_kind in plain)
