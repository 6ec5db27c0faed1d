"""Profiles of many windows: two passes, the first for counts and extremes, the second for the shapes between them."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feast_assets.definitions.field import Field
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Bounds, Window
from feast_assets.offline_stores.duckdb.cells import with_cells
from feast_assets.offline_stores.duckdb.engine import is_nan, literal, read_all
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.profile import BUCKETS, TOP_VALUES, ColumnProfile, WindowProfile
from feast_assets.types.arrow_values import fixed_values, int64_array
from feast_assets.types.feast_type import (
    Bool,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
)

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

_WHOLE = (Int32, Int64)
_NUMBERS = (*_WHOLE, Float32, Float64, Decimal)
_NOTHING: Mapping[str, object] = {}


def profile_windows(cursor: duckdb.DuckDBPyConnection, rows: Rows, windows: Sequence[Window]) -> list[WindowProfile]:
    """Returns the profile of each window, in order; no window overlaps another."""
    if not windows:
        return []
    columns = [
        _ProfiledColumn(i, field, kind)
        for i, (field, kind) in enumerate(zip(rows.history.features, _kinds(cursor, rows), strict=True))
    ]
    table = _with_windows(cursor, rows, windows, columns)
    counts_table = read_all(cursor, _counts(table, rows, columns))
    shapes = {row["w"]: row for row in _shapes(cursor, table, columns, counts_table)}
    counts = {row["w"]: row for row in _rows(counts_table)}
    return [
        _profile(window, columns, counts.get(i, _NOTHING), shapes.get(i, _NOTHING)) for i, window in enumerate(windows)
    ]


def _profile(
    window: Window, columns: Sequence[_ProfiledColumn], counted: Mapping[str, Any], shaped: Mapping[str, object]
) -> WindowProfile:
    profiles = {c.field.name: c.profile(counted, shaped) for c in columns}
    return WindowProfile(window, counted.get("n", 0), counted.get("entities", 0), profiles)


@dataclass(frozen=True, slots=True)
class _ProfiledColumn:
    """One feature on its way through the queries: its value is column ``v`` and its number.

    Attributes:
        kind: the id of its type in DuckDB, such as "double".
    """

    index: int
    field: Field
    kind: str

    @property
    def name(self) -> str:
        return f"v{self.index}"

    @property
    def is_number(self) -> bool:
        return self.field.dtype in _NUMBERS

    @property
    def is_float(self) -> bool:
        return self.is_number and self.field.dtype not in _WHOLE

    @property
    def is_time(self) -> bool:
        return self.field.dtype == UnixTimestamp

    @property
    def has_top_values(self) -> bool:
        return self.field.dtype in (String, Bool)

    def value(self) -> str:
        """Returns the expression, of ``r.f...``, of the value as the online store would have it."""
        raw = f"r.f{self.index}"
        dtype = self.field.dtype
        if dtype in _WHOLE:
            # NaN is how pandas writes a missing integer; as an integer it is out of range, so null.
            return f"TRY_CAST({raw} AS BIGINT)"
        if self.is_number:
            return f"CAST({raw} AS DOUBLE)"
        if dtype == Bool:
            return f"CAST({raw} AS BOOLEAN)"
        if dtype == UnixTimestamp:
            if "int" in self.kind:
                return f"CAST({raw} AS BIGINT) * 1000000"
            return f"epoch_us(CAST({raw} AS TIMESTAMPTZ))"
        if dtype == String:
            return f"CAST({raw} AS VARCHAR)"
        # Of other types only how many values there are is told.
        return f"CASE WHEN {raw} IS NOT NULL THEN hash({raw}) END"

    def counts(self) -> Iterator[str]:
        """Yields what the first pass computes, named after the column.

        Conditions are put into the values: an aggregate with a FILTER costs several times as much.
        """
        v = self.name
        yield f"count(*) - count({v}) AS {v}_nulls"
        if self.is_number or self.is_time:
            yield f"min({self._finite}) AS {v}_min"
            yield f"max({self._finite}) AS {v}_max"
        if self.is_number:
            yield f"avg({self._finite}) AS {v}_mean"
        if self.field.dtype == Bool:
            yield f"avg({v}::INTEGER) AS {v}_mean"
        if self.has_top_values:
            yield f"approx_top_k({v}, {TOP_VALUES}) AS {v}_top"
        yield from (f"{expression} AS {v}_{rule}" for rule, expression in self._broken())

    @property
    def _finite(self) -> str:
        return f"CASE WHEN isfinite({self.name}) THEN {self.name} END" if self.is_float else self.name

    def _broken(self) -> Iterator[tuple[str, str]]:
        checks, v = self.field.checks, self.name
        if checks is None:
            return
        # DuckDB takes NaN for greater than all else, but where a file's statistics leave it out, it believes those.
        nan = f" OR {is_nan(v)}" if self.is_float else ""
        if checks.minimum is not None:
            yield "minimum", _count_if(f"{v} < {_limit(checks.minimum)}{nan}")
        if checks.maximum is not None:
            yield "maximum", _count_if(f"{v} > {_limit(checks.maximum)}{nan}")
        if checks.allowed:
            yield "allowed", _count_if(f"{v} NOT IN ({', '.join(map(_literal, checks.allowed))})")
        if checks.unique:
            yield "unique", f"count({v}) - count(DISTINCT {v})"

    def frame(self) -> Iterator[str]:
        """Yields what the second pass takes from the first: half of the least number, and half of the span.

        Halves, since the difference of two doubles may be more than a double holds.
        """
        v = self.name
        if self.has_top_values:
            yield f"{v}_top"
        elif self.is_number:
            low, high = f"{v}_min / 2.0", f"{v}_max / 2.0"
            yield f"{low} AS {v}_low"
            yield f"CASE WHEN {high} > {low} THEN {high} - {low} ELSE 1.0 END AS {v}_span"

    def shape(self) -> str:
        """Returns what the second pass computes: a map of a bucket, or of a value, to a count; "" where nothing is."""
        v = self.name
        if self.has_top_values:
            return f"histogram(CASE WHEN list_contains({v}_top, {v}) THEN {v} END) AS {v}"
        if not self.is_number:
            return ""
        bucket = f"CAST(least({BUCKETS - 1}, floor(({v} / 2.0 - {v}_low) / {v}_span * {BUCKETS})) AS UTINYINT)"
        counts = f"isfinite({v})" if self.is_float else f"{v} IS NOT NULL"
        return f"histogram(CASE WHEN {counts} THEN {bucket} END) AS {v}"

    def profile(self, counted: Mapping[str, Any], shaped: Mapping[str, Any]) -> ColumnProfile:
        """Returns the profile from one window's rows of the two passes."""
        v = self.name
        low, high = counted.get(f"{v}_min"), counted.get(f"{v}_max")
        counts = shaped.get(v) or ()
        top: list[tuple[str, int]] = []
        if self.has_top_values:
            texts = [(value if isinstance(value, str) else str(value).lower(), count) for value, count in counts]
            top = sorted(texts, key=lambda item: (-item[1], item[0]))
        return ColumnProfile(
            nulls=counted.get(f"{v}_nulls", 0),
            minimum=from_micros(low) if self.is_time and low is not None else low,
            mean=counted.get(f"{v}_mean"),
            maximum=from_micros(high) if self.is_time and high is not None else high,
            histogram=tuple(counts) if self.is_number and low is not None else (),
            top_values=dict(top),
            broken={rule: counted.get(f"{v}_{rule}", 0) for rule, _ in self._broken()},
        )


def _kinds(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> list[str]:
    if not rows.features:
        return []
    types = cursor.sql(f"SELECT {', '.join(rows.features)} FROM ({rows.sql}) LIMIT 0").types
    return [str(kind.id) for kind in types]


def _with_windows(
    cursor: duckdb.DuckDBPyConnection, rows: Rows, windows: Sequence[Window], columns: Sequence[_ProfiledColumn]
) -> str:
    """Returns a query of the rows: ``w``, the window's place; ``k``, a hash of the keys; ``v...``, the values."""
    bounds = [Bounds.of(window) for window in windows]
    edges = sorted({edge for b in bounds for edge in (b.start, b.end) if edge is not None})
    # Windows do not overlap, so each is one of the cells between the edges: the one that begins where it begins.
    begins = {edge: cell for cell, edge in enumerate(edges, start=1)}
    cells = [0 if b.start is None else begins[b.start] for b in bounds]
    name = f"windows_{uuid.uuid4().hex}"
    numbered = [int64_array(np.arange(len(windows))), int64_array(np.array(cells, np.int64))]
    cursor.register(name, pa.table(numbered, names=["w", "cell"]))
    keys = f"hash({', '.join(f'r.{k}' for k in rows.keys)})" if rows.keys else "0"
    values = "".join(f", {c.value()} AS {c.name}" for c in columns)
    sql = f"SELECT e.w, {keys} AS k{values} FROM ({with_cells(cursor, rows.sql, edges)}) r JOIN {name} e USING (cell)"
    if rows.history.transformation is None:
        return sql
    # What a transformation computes is not computed twice.
    table = f"profiled_{uuid.uuid4().hex}"
    cursor.execute(f"CREATE TEMP TABLE {table} AS {sql}")
    return f"SELECT * FROM {table}"


def _counts(table: str, rows: Rows, columns: Sequence[_ProfiledColumn]) -> str:
    entities = "approx_count_distinct(k)" if rows.keys else "1"
    parts = ["w", "count(*) AS n", f"{entities} AS entities", *(part for c in columns for part in c.counts())]
    return f"SELECT {', '.join(parts)} FROM ({table}) GROUP BY w"


def _shapes(
    cursor: duckdb.DuckDBPyConnection, table: str, columns: Sequence[_ProfiledColumn], counts_table: pa.Table
) -> list[dict[str, object]]:
    """Returns the rows of the second pass, which takes the extremes and the frequent values from the first."""
    parts = [shape for shape in (c.shape() for c in columns) if shape]
    if not parts or not counts_table.num_rows:
        return []
    name = f"counted_{uuid.uuid4().hex}"
    cursor.register(name, counts_table)
    frames = f"SELECT {', '.join(['w', *(part for c in columns for part in c.frame())])} FROM {name}"
    sql = f"SELECT w, {', '.join(parts)} FROM ({table}) JOIN ({frames}) USING (w) GROUP BY w"
    return _rows(read_all(cursor, sql))


def _rows(table: pa.Table) -> list[dict[str, object]]:
    """Returns a table's rows; a window has hundreds of numbers, which numpy hands out many times faster than Arrow."""
    columns = [_values(column.combine_chunks()) for column in table.columns]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[object]:
    """Returns a column's values; counts by bucket as a list of all buckets' counts."""
    if pa.types.is_map(column.type) and pa.types.is_uint8(column.type.key_type):
        counts = np.zeros((len(column), BUCKETS), np.int64)
        row_of = np.repeat(np.arange(len(column)), np.diff(fixed_values(column.offsets, "<i4")))
        counts[row_of, fixed_values(column.keys, "|u1")] = _integers(column.items)
        return list(counts.tolist())
    if pa.types.is_integer(column.type) and not column.null_count:
        return list(_integers(column).tolist())
    return list(column.to_pylist())


def _integers(column: pa.Array) -> NDArray[np.int64]:
    values: NDArray[np.int64] = fixed_values(column.cast(pa.int64()), "<i8")
    return values


def _count_if(condition: str) -> str:
    return f"count(CASE WHEN {condition} THEN 1 END)"


def _limit(limit: int | float | datetime) -> str:
    if isinstance(limit, datetime):
        return str(to_micros(limit))
    return str(limit) if isinstance(limit, int) else f"CAST('{limit!r}' AS DOUBLE)"


def _literal(value: object) -> str:
    return literal(value) if isinstance(value, str) else str(value).lower()
