"""Statistics of many windows from one pass over the data."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.definitions.window import Bounds, hull
from feast_assets.offline_stores.duckdb.cells import with_cells
from feast_assets.offline_stores.duckdb.engine import quote, read_all
from feast_assets.offline_stores.duckdb.files import PART, SourceTable
from feast_assets.offline_stores.duckdb.rows import time_expression, within
from feast_assets.offline_stores.summary import Summary, whole_of

if TYPE_CHECKING:
    import duckdb

_NESTED = frozenset(("list", "array", "struct", "map", "union", "variant"))


@dataclass(frozen=True, slots=True)
class Content:
    """Rows that are to be summarized.

    Attributes:
        sql: a query with columns ``t`` (event time) and ``c`` (created time) in microseconds, and those to hash; rows
            without a time or a key may be among them.
        hashed: SQL expressions of what the fingerprint covers.
        keys: columns without which a row does not count.
    """

    sql: str
    hashed: Sequence[str]
    keys: Sequence[str] = ()


def summarize(
    cursor: duckdb.DuckDBPyConnection, content: Content, bounds: Sequence[Bounds]
) -> tuple[list[Summary], int]:
    """Returns one summary per bounds, in order, and how many rows have no time. They may overlap, and leave gaps."""
    if not bounds:
        return [], 0
    # All bounds together cut time into cells; each row lies in one cell, each window is a run of cells.
    edges = sorted({edge for b in bounds for edge in (b.start, b.end) if edge is not None})
    grouped, null_times = group(cursor, content, lambda sql: with_cells(cursor, sql, edges), ["cell"])
    summaries_by_key = {cell: summary for (cell,), summary in grouped.items()}
    summaries = []
    # Cell 0 is what lies before all edges, cell i begins with edge i - 1.
    position = {edge: i for i, edge in enumerate(edges, 1)}
    for b in bounds:
        first = 0 if b.start is None else position[b.start]
        last = len(edges) + 1 if b.end is None else position[b.end]
        summaries.append(whole_of([summaries_by_key[cell] for cell in range(first, last) if cell in summaries_by_key]))
    return summaries, null_times


def group(
    cursor: duckdb.DuckDBPyConnection, content: Content, numbered: Callable[[str], str], by: Sequence[str]
) -> tuple[dict[tuple[int, ...], Summary], int]:
    """Returns a summary for each group of rows, and how many rows have no time.

    Args:
        numbered: returns the query that adds to another's columns those to group by; null where ``t`` is.
    """
    keyless = " OR ".join(f"{key} IS NULL" for key in content.keys) or "false"
    hashed = ", ".join(hashable(cursor, content.sql, content.hashed))
    hashes = f"SELECT t, c, ({keyless}) AS keyless, hash({hashed}) AS h FROM ({content.sql})"
    names = ", ".join([*by, "keyless"])
    rows = read_all(
        cursor,
        f"SELECT {names}, count(*) AS n, min(t) AS oldest, max(t) AS newest, max(c) AS created, "
        f"CAST(sum(h) AS VARCHAR) AS total, bit_xor(h) AS mix FROM ({numbered(hashes)}) GROUP BY {names}",
    ).to_pylist()
    summaries_by_key: dict[tuple[int, ...], Summary] = {}
    null_times = 0
    for row in rows:
        key = tuple(row[name] for name in by)
        if key[0] is None:
            null_times += row["n"]
        elif row["keyless"]:
            summaries_by_key.setdefault(key, Summary()).null_keys = row["n"]
        else:
            total, mix = int(row["total"]), int(row["mix"])
            without_key = summaries_by_key[key].null_keys if key in summaries_by_key else 0
            summaries_by_key[key] = Summary(
                row["n"], row["oldest"], row["newest"], row["created"], total, mix, without_key
            )
    return summaries_by_key, null_times


def hashable(cursor: duckdb.DuckDBPyConnection, sql: str, hashed: Sequence[str]) -> list[str]:
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


def summarize_input(
    cursor: duckdb.DuckDBPyConnection, table: SourceTable, bounds: Sequence[Bounds]
) -> tuple[list[Summary], int]:
    """Returns the summaries of a source, over all its columns, and how many rows have no time.

    A source without a timestamp field goes whole into every window.
    """
    if not table.known:
        return [Summary() for _ in bounds], 0
    if not table.timestamp:
        whole = summarize_untimed(cursor, table)
        return [whole for _ in bounds], 0
    return summarize(cursor, content_of(cursor, table, hull(bounds)), bounds)


def summarize_untimed(cursor: duckdb.DuckDBPyConnection, table: SourceTable) -> Summary:
    """Returns the summary of a source without a timestamp field."""
    (whole,), _ = summarize(cursor, untimed_content_of(table), [Bounds()])
    # The time is made up; what counts is how many rows and which.
    whole.oldest = whole.newest = None
    return whole


def untimed_content_of(table: SourceTable) -> Content:
    """Returns the rows of a source without a timestamp field, as if all were of the first moment of 1970."""
    content, names = _columns(table)
    content += f", {quote(PART)} AS part" if table.part_numbers else ""
    return Content(f"SELECT CAST(0 AS BIGINT) AS t, CAST(NULL AS BIGINT) AS c, {content} FROM ({table.sql}) i", names)


def content_of(cursor: duckdb.DuckDBPyConnection, table: SourceTable, bounds: Bounds) -> Content:
    """Returns the rows of a source with event times in some bounds, or without, and all their columns."""
    time = time_expression(cursor, table, table.timestamp)
    created = time_expression(cursor, table, table.created) if table.created else "CAST(NULL AS BIGINT)"
    content, names = _columns(table)
    content += f", {quote(PART)} AS part" if table.part_numbers else ""
    condition = within(table, bounds, or_null=True)
    return Content(
        f"SELECT {time} AS t, {created} AS c, {content} FROM ({table.sql}) i WHERE {condition}",
        names,
    )


def _columns(table: SourceTable) -> tuple[str, list[str]]:
    """Returns what selects all columns of a table under names of ours, and those names."""
    every = sorted(quote(n) for n in table.schema.names)
    return ", ".join(f"i.{n} AS h{j}" for j, n in enumerate(every)), [f"h{j}" for j in range(len(every))]
