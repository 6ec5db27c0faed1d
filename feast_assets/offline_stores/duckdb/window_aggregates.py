"""Windows of time on DuckDB: tiles of rows, and what windows at given moments come to.

The rows of the entities asked for are read once, into a temporary table. Tiles are grouped from them. A window is
merged of its whole tiles, found by a join on the keys, and of the rows of its last hop up to the moment, found by a
join on the keys and the hop.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_assets.definitions.window import Bounds
from feast_assets.definitions.window_aggregates import FIXED, TileLevel, TileState, WindowAggregates, WindowFeature
from feast_assets.offline_stores.duckdb.engine import read_all, registered
from feast_assets.offline_stores.duckdb.latest import OLDEST
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema
from feast_assets.types import Bool, FeastType, Float32, Float64, String, UnixTimestamp
from feast_assets.types.arrow import cast_column, whole_column
from feast_assets.types.arrow_values import fixed_values, int64_array

if TYPE_CHECKING:
    import duckdb

_FLOATS = (Float32, Float64)


def read_values(cursor: duckdb.DuckDBPyConnection, rows: Rows, entities: str = "") -> str:
    """Reads the rows of a history into a temporary table; returns its name.

    It has the keys, ``t``, ``c`` (the smallest number where there is no created time), and for each aggregated column
    ``v0``, ``v1``, ... in a canonical type: BIGINT (times too, as microseconds), DOUBLE, VARCHAR or BOOLEAN. NaN counts
    as null.

    Args:
        entities: a table with columns named as the keys; only its entities are read.
    """
    name = f"values_{uuid.uuid4().hex}"
    values = [f"{_value(f'r.f{i}', field.dtype)} AS v{i}" for i, field in enumerate(rows.history.features)]
    columns = [*(f"r.{key}" for key in rows.keys), *values, "r.t", f"coalesce(r.c, {OLDEST}) AS c"]
    only = ""
    if entities and rows.keys:
        only = f" SEMI JOIN {entities} e ON {' AND '.join(f'r.{key} = e.{key}' for key in rows.keys)}"
    cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT {', '.join(columns)} FROM ({rows.sql}) r{only}")
    return name


def _value(column: str, dtype: FeastType) -> str:
    if dtype == UnixTimestamp:
        return f"epoch_us({column})"
    if dtype in _FLOATS:
        return f"CASE WHEN NOT isnan(CAST({column} AS DOUBLE)) THEN CAST({column} AS DOUBLE) END"
    return f"CAST({column} AS {'VARCHAR' if dtype == String else 'BOOLEAN' if dtype == Bool else 'BIGINT'})"


def hop_number(time: str, hop: int) -> str:
    """Returns the expression of the number of the hop that a time lies in: its quotient, rounded down."""
    return f"(({time}) - ((({time}) % {hop}) + {hop}) % {hop}) // {hop}"


@dataclass(frozen=True, slots=True)
class _Sql:
    """The expressions of one state.

    Attributes:
        grouped: of the rows of a tile.
        single: of one row that is a tile by itself.
    """

    grouped: str
    single: str


def _state_sql(aggregates: WindowAggregates, state: TileState) -> _Sql:
    v = f"v{state.column}"
    whole = aggregates.is_whole(state)
    if state.kind == "count":
        return _Sql(f"count({v})", f"CAST({v} IS NOT NULL AS BIGINT)")
    if state.kind == "sum":
        grouped = f"CAST(sum({v}) AS BIGINT)" if whole else _exact_sum(v)
        return _Sql(f"coalesce({grouped}, 0)", f"coalesce({v}, 0)")
    if state.kind == "squares":
        finite = f"CASE WHEN isfinite(CAST({v} AS DOUBLE)) THEN {v} END"
        spread = f"coalesce(var_pop({finite}) * count({finite}), 0.0)"
        infinite = f"coalesce(bool_or(NOT isfinite(CAST({v} AS DOUBLE))), false)"
        return _Sql(
            f"CASE WHEN {infinite} THEN CAST('nan' AS DOUBLE) ELSE {spread} END",
            f"CASE WHEN NOT isfinite(CAST({v} AS DOUBLE)) THEN CAST('nan' AS DOUBLE) ELSE 0.0 END",
        )
    if state.kind in ("min", "max"):
        bounds = ("9223372036854775807", "-9223372036854775808")
        bounds = bounds if whole else ("CAST('inf' AS DOUBLE)", "CAST('-inf' AS DOUBLE)")
        nothing = bounds[0] if state.kind == "min" else bounds[1]
        return _Sql(f"coalesce({state.kind}({v}), {nothing})", f"coalesce({v}, {nothing})")
    row = f"{{t: t, c: c, v: {v}}}"
    some = f"{v} IS NOT NULL"
    if state.kind in ("first", "last"):
        chosen = "min" if state.kind == "first" else "max"
        return _Sql(f"{chosen}({row}) FILTER (WHERE {some})", f"CASE WHEN {some} THEN {row} END")
    if state.kind == "last_k":
        kept = f"max({row}, {state.number}) FILTER (WHERE {some})"
        return _Sql(f"coalesce({kept}, [])", f"CASE WHEN {some} THEN [{row}] ELSE [] END")
    assert state.kind == "distinct"
    return _Sql(f"coalesce(list(DISTINCT {v}) FILTER (WHERE {some}), [])", f"CASE WHEN {some} THEN [{v}] ELSE [] END")


def _exact_sum(values: str, where: str = "") -> str:
    """Returns the expression of a sum of floats: a compensated one, which has no answer where a value is infinite.

    Args:
        where: follows the aggregate, such as a filter.
    """
    total = f"sum({values}) {where}"
    return f"CASE WHEN isfinite({total}) THEN fsum({values}) {where} ELSE {total} END"


def tiles_sql(aggregates: WindowAggregates, level: TileLevel, values: str, keys: Sequence[str]) -> str:
    """Returns the query of the tiles of a level: keys, ``hop``, ``newest`` and the level's states.

    Args:
        values: the table that `read_values` made.
    """
    states = [f"{_state_sql(aggregates, state).grouped} AS {state.name}" for state in level.states]
    columns = [*keys, f"{hop_number('t', level.hop)} AS hop", "max(t) AS newest", *states]
    return f"SELECT {', '.join(columns)} FROM {values} GROUP BY {', '.join([*keys, 'hop'])}"


def as_text(state: TileState) -> str:
    """Returns the expression of a state as it leaves the store: numbers, or JSON text of those without a fixed size.

    The row of a value is ``[event time, created time, value]``.
    """
    if state.kind in FIXED:
        return state.name
    if state.kind in ("first", "last"):
        s = state.name
        return f"CASE WHEN {s} IS NULL THEN 'null' ELSE CAST(json_array({s}.t, {s}.c, {s}.v) AS VARCHAR) END"
    if state.kind == "last_k":
        return f"CAST(to_json(list_transform({state.name}, lambda s: json_array(s.t, s.c, s.v))) AS VARCHAR)"
    return f"CAST(to_json({state.name}) AS VARCHAR)"


def read_tiles(
    cursor: duckdb.DuckDBPyConnection, rows: Rows, oldest: Sequence[int], entities: pa.Table | None
) -> list[pa.Table]:
    """Returns the tiles of each level, as `AggregatesWindows.tiles` says."""
    aggregates = rows.history.aggregates
    assert aggregates is not None
    names = ""
    if entities is not None and rows.keys:
        names = f"entities_{uuid.uuid4().hex}"
        cursor.register(names, entities.select([f.name for f in rows.history.join_keys]).rename_columns(rows.keys))
    values = read_values(cursor, rows, names)
    tables = []
    for level, first in zip(aggregates.levels, oldest, strict=True):
        columns = [*rows.keys, "hop", "newest", *(f"{as_text(state)} AS {state.name}" for state in level.states)]
        tiles = tiles_sql(aggregates, level, values, rows.keys)
        order = ", ".join([*rows.keys, "hop"])
        sql = f"SELECT {', '.join(columns)} FROM ({tiles}) WHERE hop >= {first} ORDER BY {order}"
        tables.append(_with_key_names(rows, read_all(cursor, sql)))
    cursor.execute(f"DROP TABLE {values}")
    return tables


def _with_key_names(rows: Rows, table: pa.Table) -> pa.Table:
    """Returns a table with its keys, ``k0, ...``, under their own names and in canonical types."""
    keys = rows.history.join_keys
    columns = [rows.cast(whole_column(table.column(k)), field) for k, field in zip(rows.keys, keys, strict=True)]
    rest = table.column_names[len(columns) :]
    return pa.table([*columns, *(table.column(n) for n in rest)], names=[*(f.name for f in keys), *rest])


def windows_at(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    join: PointInTimeJoin,
    rows_of: Callable[[Bounds], Rows],
    filter_by_created: bool,
) -> pa.Table:
    """Returns the features of windows for each row of a spine, in its order.

    Args:
        rows_of: opens the rows with some event times.
        filter_by_created: a row also counts only if it was created by the moment. Tiles cannot say that, so the rows
            themselves are merged.
    """
    aggregates = join.history.aggregates
    assert aggregates is not None
    schema = joined_schema([join])
    keys = [f"k{i}" for i in range(len(join.key_columns))]
    columns = [spine.table.column(name) for name in join.key_columns]
    numbers = int64_array(np.arange(spine.num_rows))
    moments = pa.table([numbers, spine.times, *columns], names=["id", "moment", *keys])
    results: list[pa.ChunkedArray | None] = [None] * len(aggregates.features)
    with registered(cursor, moments) as given:
        span = spine.span()
        rows = rows_of(Bounds(0, 0) if span is None else Bounds(span[0] - aggregates.longest, span[1] + 1))
        some = " AND ".join(f"{name} IS NOT NULL" for name in ["moment", *keys])
        name = f"moments_{uuid.uuid4().hex}"
        cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM {given} WHERE {some}")
        values = read_values(cursor, rows, name)
        for level in aggregates.levels:
            own = [n for n, each in enumerate(aggregates.features) if each.hop == level.hop]
            by_created = filter_by_created and rows.has_created
            sql = _merged(aggregates, level, [aggregates.features[n] for n in own], name, values, keys, by_created)
            found = read_all(cursor, sql)
            places = np.full(spine.num_rows, len(found), np.int64)
            places[fixed_values(found.column("id").combine_chunks(), "<i8")] = np.arange(len(found))
            missing = places == len(found)
            indices = pa.Array.from_buffers(
                pa.int64(), len(places), [_bitmap(~missing), pa.py_buffer(places)], int(missing.sum())
            )
            for number in own:
                results[number] = found.column(f"x{own.index(number)}").take(indices)
        cursor.execute(f"DROP TABLE {values}; DROP TABLE {name}")
    typed = [
        cast_column(_canonical(column, each.field.dtype), each.field.dtype, subject=f"Feature {each.field.name!r}")
        for column, each in zip(results, aggregates.features, strict=True)
        if column is not None
    ]
    return pa.table(typed, schema=schema)


def beside(
    count: int, joins: Sequence[PointInTimeJoin], windows: Mapping[int, pa.Table], rest: pa.RecordBatchReader | None
) -> pa.RecordBatchReader:
    """Returns the features of several joins beside each other.

    Args:
        count: how many rows the spine has.
        windows: the features of some of the joins, by the ids of the joins.
        rest: the features of the others, in the order of the joins; None where there are no others.
    """
    schema = joined_schema(joins)

    def batches() -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in [pa.nulls(count)] if rest is None else rest:
            columns = []
            for join in joins:
                table = windows.get(id(join))
                if table is None:
                    columns += [batch.column(name) for name in join.outputs]
                else:
                    columns += [whole_column(column) for column in table.slice(done, len(batch)).columns]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            done += len(batch)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _canonical(column: pa.ChunkedArray, dtype: FeastType) -> pa.Array:
    whole = column.combine_chunks()
    whole = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
    if dtype == UnixTimestamp:
        return whole.cast(pa.int64()).cast(pa.timestamp("us", "UTC"))
    return whole


def _bitmap(valid: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _merged(
    aggregates: WindowAggregates,
    level: TileLevel,
    features: Sequence[WindowFeature],
    moments: str,
    values: str,
    keys: Sequence[str],
    by_created: bool,
) -> str:
    """Returns the query of some features, ``x0, x1, ...``, of the moments whose windows hold rows."""
    lengths = sorted({each.length for each in features})
    starts = [f"{hop_number(f'moment - {length}', level.hop)} AS s{n}" for n, length in enumerate(lengths)]
    bounded = f"SELECT *, {hop_number('moment', level.hop)} AS now, {', '.join(starts)} FROM {moments}"
    first = f"s{len(lengths) - 1}"
    carried = [f"m.s{n}" for n in range(len(lengths))]
    same = [f"m.{key} = r.{key}" for key in keys]
    single = [f"{_state_sql(aggregates, s).single} AS {s.name}" for s in level.states]
    rows = f"SELECT *, {hop_number('t', level.hop)} AS hop, {', '.join(single)} FROM {values}"
    states = [f"r.{s.name}" for s in level.states]
    columns = ", ".join(["m.id", *carried, "r.hop", *states])
    if by_created:
        on = [*same, "r.t <= m.moment", f"r.hop >= m.{first}", "r.c <= m.moment", f"r.c > {OLDEST}"]
        parts = f"SELECT {columns} FROM m JOIN rows_ r ON {' AND '.join(on)}"
    else:
        whole = [*same, f"r.hop >= m.{first}", "r.hop < m.now"]
        last = [*same, "r.hop = m.now", "r.t <= m.moment"]
        parts = (
            f"SELECT {columns} FROM m JOIN tiles r ON {' AND '.join(whole)} "
            f"UNION ALL SELECT {columns} FROM m JOIN rows_ r ON {' AND '.join(last)}"
        )
    of = [f"{_feature_sql(each, aggregates, lengths.index(each.length))} AS x{n}" for n, each in enumerate(features)]
    parts = _with_means(parts, features, lengths)
    tiles = tiles_sql(aggregates, level, values, keys)
    return (
        f"WITH m AS MATERIALIZED ({bounded}), rows_ AS ({rows}), tiles AS MATERIALIZED ({tiles}), "
        f"parts AS ({parts}) SELECT id, {', '.join(of)} FROM parts GROUP BY id"
    )


def _with_means(parts: str, features: Sequence[WindowFeature], lengths: Sequence[int]) -> str:
    """Returns parts with the mean of each window of which a deviation is asked for: ``mean_{column}_{window}``.

    The squares of differences from zero would lose digits where the mean is large.
    """
    windows = {(f.column, lengths.index(f.length)) for f in features if f.function.kind == "stddev"}
    if not windows:
        return parts
    means = ", ".join(
        f"sum(sum_{c}) FILTER (WHERE hop >= s{n}) / nullif(sum(count_{c}) FILTER (WHERE hop >= s{n}), 0) "
        f"AS mean_{c}_{n}"
        for c, n in sorted(windows)
    )
    return f"SELECT * FROM ({parts}) JOIN (SELECT id, {means} FROM ({parts}) GROUP BY id) USING (id)"


def _feature_sql(feature: WindowFeature, aggregates: WindowAggregates, window: int) -> str:
    """Returns the expression of a feature of parts; null where its window holds no value.

    Args:
        window: which of the lengths; it starts with hop ``s{window}``.
    """
    kind, column = feature.function.kind, feature.column
    where = f"FILTER (WHERE hop >= s{window})"
    count = f"sum(count_{column}) {where}"
    if kind == "count":
        return f"CAST(nullif({count}, 0) AS BIGINT)"
    if kind in ("sum", "mean"):
        whole = aggregates.is_whole(TileState("sum", column))
        total = f"sum(sum_{column}) {where}" if whole else _exact_sum(f"sum_{column}", f" {where}")
        result = f"CAST({total} AS {'BIGINT' if whole else 'DOUBLE'})" if kind == "sum" else f"({total}) / ({count})"
    elif kind == "stddev":
        mean = f"mean_{column}_{window}"
        n, total = f"count_{column}", f"sum_{column}"
        between = f"CASE WHEN {n} > 0 THEN {n} * ({total} / {n} - {mean}) ** 2 END"
        squares = f"(sum(squares_{column}) {where}) + (sum({between}) {where})"
        return f"CASE WHEN {count} > 1 THEN sqrt(({squares}) / (({count}) - 1)) END"
    elif kind in ("min", "max"):
        result = f"{kind}({kind}_{column}) {where}"
    elif kind == "first":
        return f"(min(first_{column}) {where}).v"
    elif kind == "last":
        return f"(max(last_{column}) {where}).v"
    elif kind == "last_k":
        number = int(feature.function.number)
        every = f"list_sort(flatten(list(last_k{number}_{column}) {where}), 'DESC')"
        result = f"list_transform(list_slice({every}, 1, {number}), lambda s: s.v)"
    else:
        assert kind == "count_distinct"
        return f"nullif(len(list_distinct(flatten(list(distinct_{column}) {where}))), 0)"
    return f"CASE WHEN {count} > 0 THEN {result} END"
