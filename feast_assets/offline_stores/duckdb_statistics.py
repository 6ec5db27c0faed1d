"""Statistics of many windows from one pass over the data."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Window
from feast_assets.definitions.spec import from_micros
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.duckdb_cells import with_cells
from feast_assets.offline_stores.duckdb_engine import quote, read_all
from feast_assets.offline_stores.duckdb_files import SourceTable
from feast_assets.offline_stores.duckdb_rows import Bounds, time_expression, within

if TYPE_CHECKING:
    import duckdb

_NESTED = frozenset(("list", "array", "struct", "map", "union", "variant"))


@dataclass(slots=True)
class Summary:
    """What is said of some rows; sums of parts are summaries of the whole."""

    rows: int = 0
    oldest: int | None = None
    newest: int | None = None
    created: int | None = None
    sums: tuple[int, int] = field(default=(0, 0))

    def add(self, other: Summary) -> None:
        """Takes in other rows."""
        self.rows += other.rows
        self.oldest = min((v for v in (self.oldest, other.oldest) if v is not None), default=None)
        self.newest = max((v for v in (self.newest, other.newest) if v is not None), default=None)
        self.created = max((v for v in (self.created, other.created) if v is not None), default=None)
        self.sums = (self.sums[0] + other.sums[0], self.sums[1] ^ other.sums[1])

    def text(self) -> str:
        return f"{self.rows}:{self.sums[0]:x}:{self.sums[1]:x}"


def summarize(
    cursor: duckdb.DuckDBPyConnection, sql: str, hashed: Sequence[str], bounds: Sequence[Bounds]
) -> list[Summary]:
    """Returns one summary per bounds, in order. They may overlap, and leave gaps.

    Args:
        sql: a query with columns ``t`` (event time) and ``c`` (created time) in microseconds, and those to hash.
        hashed: SQL expressions of what the fingerprint covers.
    """
    if not bounds:
        return []
    # All bounds together cut time into cells; each row lies in one cell, each window is a run of cells.
    edges = sorted({edge for b in bounds for edge in (b.start, b.end) if edge is not None})
    hashes = f"SELECT t, c, hash({', '.join(_hashable(cursor, sql, hashed))}) AS h FROM ({sql})"
    cells = (
        "SELECT cell, count(*) AS n, min(t) AS oldest, max(t) AS newest, max(c) AS created, "
        "CAST(sum(h) AS VARCHAR) AS total, bit_xor(h) AS mix "
        f"FROM ({with_cells(cursor, hashes, edges)}) GROUP BY cell"
    )
    found = {
        row["cell"]: Summary(
            row["n"], row["oldest"], row["newest"], row["created"], (int(row["total"]), int(row["mix"]))
        )
        for row in read_all(cursor, cells).to_pylist()
    }
    summaries = []
    # Cell 0 is what lies before all edges, cell i begins with edge i - 1.
    position = {edge: i for i, edge in enumerate(edges, 1)}
    for b in bounds:
        first = 0 if b.start is None else position[b.start]
        last = len(edges) + 1 if b.end is None else position[b.end]
        summaries.append(_whole([found[cell] for cell in range(first, last) if cell in found]))
    return summaries


def _whole(parts: Sequence[Summary]) -> Summary:
    """Returns the summary of all parts, which stay as they are; mostly there is one."""
    if len(parts) == 1:
        return parts[0]
    whole = Summary()
    for part in parts:
        whole.add(part)
    return whole


def _hashable(cursor: duckdb.DuckDBPyConnection, sql: str, hashed: Sequence[str]) -> list[str]:
    """Returns expressions whose hashes tell values apart.

    DuckDB's hash of nested values does not: an empty list hashes as null does, and nesting does not count. Their JSON
    text does.
    """
    if not hashed:
        return ["1"]
    types = cursor.sql(f"SELECT {', '.join(hashed)} FROM ({sql}) LIMIT 0").types
    return [
        f"CAST(to_json({expression}) AS VARCHAR)" if str(kind.id) in _NESTED else expression
        for expression, kind in zip(hashed, types, strict=True)
    ]


def summarize_input(cursor: duckdb.DuckDBPyConnection, table: SourceTable, bounds: Sequence[Bounds]) -> list[Summary]:
    """Returns the summaries of a transformation's input, over all its columns.

    An input without a timestamp field goes whole into every window.
    """
    if not table.known:
        return [Summary() for _ in bounds]
    every = sorted(quote(n) for n in table.schema.names)
    if not table.timestamp:
        content = ", ".join(f"i.{n} AS h{j}" for j, n in enumerate(every))
        sql = f"SELECT CAST(0 AS BIGINT) AS t, CAST(NULL AS BIGINT) AS c, {content} FROM ({table.sql}) i"
        (whole,) = summarize(cursor, sql, [f"h{j}" for j in range(len(every))], [Bounds()])
        # The time is made up; what counts is how many rows and which.
        whole.oldest = whole.newest = None
        return [whole for _ in bounds]
    time = time_expression(cursor, table, table.timestamp)
    created = time_expression(cursor, table, table.created) if table.created else "CAST(NULL AS BIGINT)"
    content = ", ".join(f"i.{n} AS h{j}" for j, n in enumerate(every))
    condition = within(table, hull(bounds))
    sql = (
        f"SELECT * FROM (SELECT {time} AS t, {created} AS c, {content} FROM ({table.sql}) i WHERE {condition}) "
        "WHERE t IS NOT NULL"
    )
    return summarize(cursor, sql, [f"h{j}" for j in range(len(every))], bounds)


def hull(bounds: Sequence[Bounds]) -> Bounds:
    """Returns the shortest bounds that hold all of some bounds."""
    if not bounds:
        return Bounds(0, 0)
    starts = [b.start for b in bounds if b.start is not None]
    ends = [b.end for b in bounds if b.end is not None]
    return Bounds(min(starts) if len(starts) == len(bounds) else None, max(ends) if len(ends) == len(bounds) else None)


def as_statistics(window: Window, parts: Sequence[Summary]) -> WindowStatistics:
    """Returns a window's statistics over the summaries of everything that goes into it."""
    whole = _whole(parts)
    # The inputs count one by one: rows that move from one to another are a change.
    text = "|".join(part.text() for part in parts)
    return WindowStatistics(
        window=window,
        rows=whole.rows,
        oldest_event=None if whole.oldest is None else from_micros(whole.oldest),
        newest_event=None if whole.newest is None else from_micros(whole.newest),
        newest_created=None if whole.created is None else from_micros(whole.created),
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:32] if whole.rows else "",
    )
