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
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Bounds, Window, union
from feast_assets.definitions.window_aggregates import (
    FIXED,
    KEPT_HOP,
    KEPT_NEWEST,
    TileLevel,
    TileState,
    WindowAggregates,
    WindowFeature,
)
from feast_assets.offline_stores.base import History, rows_schema
from feast_assets.offline_stores.duckdb.engine import quote, read_all, registered
from feast_assets.offline_stores.duckdb.latest import OLDEST
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine, joined_schema
from feast_assets.types import Array, Bool, FeastType, Float32, Float64, String, UnixTimestamp
from feast_assets.types.arrow import cast_column, to_arrow_type, whole_column
from feast_assets.types.arrow_values import fixed_values, int64_array

if TYPE_CHECKING:
    import duckdb

_FLOATS = (Float32, Float64)
_END = 2**63 - 1
_MOST_READS = 8
"""Stretches of time without kept tiles that are read one by one; more are read together, and the others left out."""


@dataclass(frozen=True)
class WindowInputs:
    """What windows of time are computed of.

    Attributes:
        rows_of: opens the rows with some event times.
        tiles_of: opens the kept tiles with some event times; None where none are kept.
        held: the windows of the view's grid whose tiles are kept.
    """

    history: History
    rows_of: Callable[[Bounds], Rows]
    tiles_of: Callable[[Bounds], Rows] | None = None
    held: Sequence[Window] = ()

    @property
    def aggregates(self) -> WindowAggregates:
        aggregates = self.history.aggregates
        assert aggregates is not None
        return aggregates

    @property
    def keys(self) -> list[str]:
        """The columns of the join keys."""
        return [f"k{i}" for i in range(len(self.history.join_keys))]

    def not_held(self, start: int, end: int) -> list[Bounds]:
        """Returns the times from a start up to an end, in UTC microseconds, that no kept tiles cover."""
        rest = []
        for held in union(self.held):
            if held.start_micros > start:
                rest.append(Bounds(start, min(held.start_micros, end)))
            start = max(start, held.end_micros)
            if start >= end:
                return rest
        return [*rest, Bounds(start, end)]


def make_values(cursor: duckdb.DuckDBPyConnection, inputs: WindowInputs) -> str:
    """Makes an empty temporary table of rows; returns its name.

    It has the keys, ``t``, ``c`` (the smallest number where there is no created time), ``is_open``, which says that no
    kept tile has the row, and for each aggregated column ``v0``, ``v1``, ... in a canonical type: BIGINT (times too, as
    microseconds), DOUBLE, VARCHAR or BOOLEAN. NaN counts as null.
    """
    name = f"values_{uuid.uuid4().hex}"
    keys = pa.schema(
        [pa.field(k, to_arrow_type(f.dtype)) for k, f in zip(inputs.keys, inputs.history.join_keys, strict=True)]
    )
    columns = [f"CAST(NULL AS {_sql_type(field.dtype)}) AS v{i}" for i, field in enumerate(inputs.aggregates.columns)]
    columns = [*inputs.keys, *columns, "0::BIGINT AS t", "0::BIGINT AS c", "true AS is_open"]
    nothing = keys.empty_table() if keys else pa.table({"nothing": pa.nulls(0, pa.int64())})
    with registered(cursor, nothing) as empty:
        cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT {', '.join(columns)} FROM {empty}")
    return name


def add_values(
    cursor: duckdb.DuckDBPyConnection, values: str, rows: Rows, entities: str, *, is_open: bool, only: str = ""
) -> None:
    """Adds rows to a table that `make_values` made.

    Args:
        entities: a table with columns named as the keys; only its entities are read. "" for all.
        only: a further condition, of columns of the rows ``r``.
    """
    read = [f"{_value(f'r.f{i}', field.dtype)} AS v{i}" for i, field in enumerate(rows.history.features)]
    columns = [*(f"r.{key}" for key in rows.keys), *read, "r.t", f"coalesce(r.c, {OLDEST})", str(is_open)]
    same = _same_keys(entities, rows.keys)
    condition = f" WHERE {only}" if only else ""
    cursor.execute(f"INSERT INTO {values} SELECT {', '.join(columns)} FROM ({rows.sql}) r{same}{condition}")


def _same_keys(entities: str, keys: Sequence[str]) -> str:
    """Returns the join that leaves the rows ``r`` of a table's entities."""
    if not entities or not keys:
        return ""
    return f" SEMI JOIN {entities} e ON {' AND '.join(f'r.{key} = e.{key}' for key in keys)}"


def _sql_type(dtype: FeastType) -> str:
    return "DOUBLE" if dtype in _FLOATS else "VARCHAR" if dtype == String else "BOOLEAN" if dtype == Bool else "BIGINT"


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


def tiles_sql(
    inputs: WindowInputs,
    level: TileLevel,
    values: str,
    kept: Rows | None,
    entities: str,
    *,
    as_texts: bool,
    now: int | None = None,
) -> str:
    """Returns the query of the tiles of a level: keys, ``hop``, ``newest`` and the level's states.

    There may be several tiles of one hop, as a hop need not lie in one window of the view's grid.

    Args:
        values: the table that `make_values` made; its open rows count.
        kept: the kept tiles that count.
        entities: as `add_values`, of the kept tiles.
        as_texts: whether states without a fixed size come as JSON text; else as DuckDB has them.
        now: rows with later times, UTC microseconds, count in the hop after their own. Kept tiles have none.
    """
    aggregates, keys = inputs.aggregates, inputs.keys
    hop = hop_number("t", level.hop)
    if now is not None:
        hop = f"{hop} + CAST(t > {now} AS BIGINT)"
    states = [f"{_state_sql(aggregates, state).grouped} AS {state.name}" for state in level.states]
    columns = [*keys, f"{hop} AS hop", "max(t) AS newest", *states]
    grouped = f"SELECT {', '.join(columns)} FROM {values} WHERE is_open GROUP BY {', '.join([*keys, 'hop'])}"
    if as_texts:
        texts = [f"{as_text(state)} AS {state.name}" for state in level.states]
        grouped = f"SELECT {', '.join([*keys, 'hop', 'newest', *texts])} FROM ({grouped})"
    if kept is None:
        return grouped
    names = {field.name: f"r.f{number}" for number, field in enumerate(kept.history.features)}
    states = [
        f"{names[s.name] if as_texts or s.kind in FIXED else _of_text(aggregates, s, names[s.name])} AS {s.name}"
        for s in level.states
    ]
    newest = f"epoch_us({names[KEPT_NEWEST]}) AS newest"
    columns = [*(f"r.{key}" for key in keys), f"{hop_number('r.t', level.hop)} AS hop", newest, *states]
    own = f"{names[KEPT_HOP]} = {level.hop}"
    return (
        f"{grouped} UNION ALL SELECT {', '.join(columns)} FROM ({kept.sql}) r{_same_keys(entities, keys)} WHERE {own}"
    )


def _of_text(aggregates: WindowAggregates, state: TileState, text: str) -> str:
    """Returns the expression of a state of its text, which `as_text` made."""
    kind = _sql_type(aggregates.dtype(state))

    def row(of: str) -> str:
        return f"{{t: CAST({of}->>0 AS BIGINT), c: CAST({of}->>1 AS BIGINT), v: CAST({of}->>2 AS {kind})}}"

    if state.kind in ("first", "last"):
        return f"CASE WHEN {text} <> 'null' THEN {row(f'CAST({text} AS JSON)')} END"
    items = f"from_json({text}, '[\"JSON\"]')"
    item = row("j") if state.kind == "last_k" else f"CAST(j->>'$' AS {kind})"
    return f"list_transform({items}, lambda j: {item})"


def as_text(state: TileState, value: str = "") -> str:
    """Returns the expression of a state as it leaves the store: numbers, or JSON text of those without a fixed size.

    The row of a value is ``[event time, created time, value]``.

    Args:
        value: the expression of the state; left out, the column of its name.
    """
    s = f"({value})" if value else state.name
    if state.kind in FIXED:
        return s
    if state.kind in ("first", "last"):
        return f"CASE WHEN {s} IS NULL THEN 'null' ELSE CAST(json_array({s}.t, {s}.c, {s}.v) AS VARCHAR) END"
    if state.kind == "last_k":
        return f"CAST(to_json(list_transform({s}, lambda s: json_array(s.t, s.c, s.v))) AS VARCHAR)"
    return f"CAST(to_json({s}) AS VARCHAR)"


def read_tiles(
    cursor: duckdb.DuckDBPyConnection, inputs: WindowInputs, oldest: Sequence[int], entities: pa.Table | None
) -> list[pa.Table]:
    """Returns the tiles of each level, as `AggregatesWindows.tiles` says."""
    levels, keys = inputs.aggregates.levels, inputs.keys
    now = to_micros(datetime.now(UTC))
    names = ""
    if entities is not None and keys:
        names = f"entities_{uuid.uuid4().hex}"
        cursor.register(names, entities.select([f.name for f in inputs.history.join_keys]).rename_columns(keys))
    start = min(first * level.hop for first, level in zip(oldest, levels, strict=True))
    values = make_values(cursor, inputs)
    _add_open(cursor, inputs, values, names, start, _END)
    kept = None if inputs.tiles_of is None else inputs.tiles_of(Bounds(start, None))
    tables = []
    for level, first in zip(levels, oldest, strict=True):
        tiles = tiles_sql(inputs, level, values, kept, names, as_texts=True, now=now)
        sql = f"SELECT * FROM ({tiles}) WHERE hop >= {first} ORDER BY {', '.join([*keys, 'hop'])}"
        tables.append(_with_key_names(inputs.history, read_all(cursor, sql)))
    cursor.execute(f"DROP TABLE {values}")
    return tables


def _add_open(
    cursor: duckdb.DuckDBPyConnection, inputs: WindowInputs, values: str, entities: str, start: int, end: int
) -> None:
    """Adds the rows that no kept tile has."""
    rest = inputs.not_held(start, end)
    if len(rest) > _MOST_READS:
        held = [(window.start_micros, window.end_micros) for window in union(inputs.held)]
        name = f"held_{uuid.uuid4().hex}"
        starts, ends = (int64_array(np.array(times, np.int64)) for times in zip(*held, strict=True))
        cursor.register(name, pa.table([starts, ends], names=["start", "stop"]))
        only = f"NOT EXISTS (SELECT 1 FROM {name} h WHERE r.t >= h.start AND r.t < h.stop)"
        add_values(cursor, values, inputs.rows_of(_bounds(start, end)), entities, is_open=True, only=only)
        return
    for bounds in rest:
        assert bounds.start is not None
        assert bounds.end is not None
        add_values(cursor, values, inputs.rows_of(_bounds(bounds.start, bounds.end)), entities, is_open=True)


def _bounds(start: int, end: int) -> Bounds:
    return Bounds(start, None if end == _END else end)


def tiles_to_keep(
    cursor: duckdb.DuckDBPyConnection, inputs: WindowInputs, bounds: Bounds, windows: Sequence[Window]
) -> pa.Table:
    """Returns the tiles of some windows, as `AggregatesWindows.tiles_to_keep` says.

    Args:
        bounds: of the windows.
    """
    aggregates, keys, tiles = inputs.aggregates, inputs.keys, inputs.history.tiles
    assert tiles is not None
    values = make_values(cursor, inputs)
    add_values(cursor, values, inputs.rows_of(bounds), "", is_open=True)
    times = [(window.start_micros, window.end_micros) for window in windows]
    starts, ends = (int64_array(np.array(each, np.int64)) for each in zip(*times, strict=True))
    parts = []
    with registered(cursor, pa.table([starts, ends], names=["start", "stop"])) as grid:
        for level in aggregates.levels:
            own = {state.name: state for state in level.states}
            states = [
                f"{as_text(own[f.name], _state_sql(aggregates, own[f.name]).grouped)} AS {quote(f.name)}"
                if f.name in own
                else f"CAST(NULL AS {_sql_type(f.dtype)}) AS {quote(f.name)}"
                for f in tiles.features[2:]
            ]
            number = hop_number("r.t", level.hop)
            columns = [*keys, f"greatest({number} * {level.hop}, g.start) AS piece", f"{level.hop} AS hop"]
            columns += ["max(r.t) AS newest", *states]
            of_grid = f"{values} r JOIN {grid} g ON r.t >= g.start AND r.t < g.stop"
            parts.append(f"SELECT {', '.join(columns)} FROM {of_grid} GROUP BY {', '.join([*keys, 'piece'])}")
        table = read_all(cursor, " UNION ALL ".join(f"({part})" for part in parts))
    cursor.execute(f"DROP TABLE {values}")
    count = len(keys)
    columns = [
        cast_column(whole_column(table.column(n)), f.dtype, subject=f"Join key {f.name!r}")
        for n, f in enumerate(inputs.history.join_keys)
    ]
    moment = pa.timestamp("us", "UTC")
    columns += [table.column("hop").cast(pa.int64()), table.column("newest").cast(moment)]
    columns += [table.column(n) for n in range(count + 3, table.num_columns)]
    columns += [table.column("piece").cast(moment), pa.nulls(table.num_rows, moment)]
    return pa.table(columns, schema=rows_schema(tiles))


def _with_key_names(history: History, table: pa.Table) -> pa.Table:
    """Returns a table with its keys, ``k0, ...``, under their own names and in canonical types."""
    keys = history.join_keys
    columns = [
        cast_column(whole_column(table.column(n)), field.dtype, subject=f"Join key {field.name!r}")
        for n, field in enumerate(keys)
    ]
    rest = table.column_names[len(columns) :]
    return pa.table([*columns, *(table.column(n) for n in rest)], names=[*(f.name for f in keys), *rest])


def windows_at(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    join: PointInTimeJoin,
    inputs: WindowInputs,
    filter_by_created: bool,
) -> pa.Table:
    """Returns the features of windows for each row of a spine, in its order.

    Args:
        filter_by_created: a row also counts only if it was created by the moment. Tiles cannot say that, so the rows
            themselves are merged.
    """
    aggregates, keys = inputs.aggregates, inputs.keys
    schema = joined_schema([join])
    columns = [spine.table.column(name) for name in join.key_columns]
    numbers = int64_array(np.arange(spine.num_rows))
    results: list[pa.ChunkedArray | None] = [None] * len(aggregates.features)
    moments = f"moments_{uuid.uuid4().hex}"
    with registered(cursor, pa.table([numbers, spine.times, *columns], names=["id", "moment", *keys])) as given:
        some = " AND ".join(f"{name} IS NOT NULL" for name in ["moment", *keys])
        cursor.execute(f"CREATE TEMP TABLE {moments} AS SELECT * FROM {given} WHERE {some}")
    values = make_values(cursor, inputs)
    kept = None
    by_created = filter_by_created and bool(inputs.history.created_timestamp_column)
    if (span := spine.span()) is not None:
        start, end = span[0] - aggregates.longest, span[1] + 1
        if by_created or inputs.tiles_of is None:
            add_values(cursor, values, inputs.rows_of(Bounds(start, end)), moments, is_open=True)
        else:
            kept = inputs.tiles_of(Bounds(start, end))
            _add_open(cursor, inputs, values, moments, start, end)
            _add_last_hops(cursor, inputs, values, moments, span)
    for level in aggregates.levels:
        own = [n for n, each in enumerate(aggregates.features) if each.hop == level.hop]
        tiles = tiles_sql(inputs, level, values, kept, moments, as_texts=False)
        sql = _merged(inputs, level, [aggregates.features[n] for n in own], moments, values, tiles, by_created)
        merged = read_all(cursor, sql)
        places = np.full(spine.num_rows, len(merged), np.int64)
        places[fixed_values(whole_column(merged.column("id")), "<i8")] = np.arange(len(merged))
        missing = places == len(merged)
        indices = pa.Array.from_buffers(
            pa.int64(), len(places), [_bitmap(~missing), pa.py_buffer(places)], int(missing.sum())
        )
        for number in own:
            results[number] = merged.column(f"x{own.index(number)}").take(indices)
    cursor.execute(f"DROP TABLE {values}; DROP TABLE {moments}")
    typed = [
        cast_column(_canonical(column, each.field.dtype), each.field.dtype, subject=f"Feature {each.field.name!r}")
        for column, each in zip(results, aggregates.features, strict=True)
        if column is not None
    ]
    return pa.table(typed, schema=schema)


def _add_last_hops(
    cursor: duckdb.DuckDBPyConnection, inputs: WindowInputs, values: str, moments: str, span: tuple[int, int]
) -> None:
    """Adds the rows that kept tiles have, of the hops that moments lie in.

    Args:
        span: the first and the last moment.
    """
    hops = [level.hop for level in inputs.aggregates.levels]
    longest, keys = hops[-1], inputs.keys
    number = hop_number("moment", longest)
    # A shorter hop that does not divide the longest may begin in the one before.
    numbers = [number] if all(not longest % hop for hop in hops) else [number, f"{number} - 1"]
    name = f"hops_{uuid.uuid4().hex}"
    hops_needed = " UNION ".join(f"SELECT {', '.join([*keys, f'{each} AS hop'])} FROM {moments}" for each in numbers)
    cursor.execute(f"CREATE TEMP TABLE {name} AS {hops_needed}")
    held = [(window.start_micros, window.end_micros) for window in union(inputs.held)]
    start = (span[0] // longest - len(numbers) + 1) * longest
    same = " AND ".join([f"h.hop = {hop_number('r.t', longest)}", *(f"h.{key} = r.{key}" for key in keys)])
    only = f"EXISTS (SELECT 1 FROM {name} h WHERE {same})"
    if held:
        starts, ends = (int64_array(np.array(times, np.int64)) for times in zip(*held, strict=True))
        with registered(cursor, pa.table([starts, ends], names=["start", "stop"])) as grid:
            only += f" AND EXISTS (SELECT 1 FROM {grid} g WHERE r.t >= g.start AND r.t < g.stop)"
            rows = inputs.rows_of(Bounds(start, span[1] + 1))
            add_values(cursor, values, rows, "", is_open=False, only=only)
    cursor.execute(f"DROP TABLE {name}")


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
    if dtype == Array(UnixTimestamp):
        return whole.cast(pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us", "UTC")))
    return whole


def _bitmap(valid: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _merged(
    inputs: WindowInputs,
    level: TileLevel,
    features: Sequence[WindowFeature],
    moments: str,
    values: str,
    tiles: str,
    by_created: bool,
) -> str:
    """Returns the query of some features, ``x0, x1, ...``, of the moments whose windows hold rows.

    Args:
        tiles: the query of the level's tiles.
    """
    aggregates, keys = inputs.aggregates, inputs.keys
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
        # A sum that no BIGINT holds is null: one entity must not fail all others.
        cast = f"TRY_CAST({total} AS BIGINT)" if whole else f"CAST({total} AS DOUBLE)"
        result = cast if kind == "sum" else f"({total}) / ({count})"
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
