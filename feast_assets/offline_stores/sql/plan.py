"""The plan that all SQL engines share: statements over the rows of a history, as sqlglot expressions.

Every statement is one query, without functions that only some engines have; `SqlDialect` says the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from feast_assets.definitions.partitions import Grain
from feast_assets.definitions.window import Bounds
from feast_assets.offline_stores.sql.dialect import SqlDialect, as_, column, named, query
from feast_assets.offline_stores.sql.rows import SqlRows

_UNITS: dict[Grain, str] = {"hourly": "HOUR", "daily": "DAY", "weekly": "DAY", "monthly": "MONTH"}


def table(name: str, alias: str = "") -> exp.Table:
    """Returns a table by its quoted name."""
    named_as = exp.TableAlias(this=exp.to_identifier(alias, quoted=True)) if alias else None
    return exp.Table(this=exp.to_identifier(name, quoted=True), alias=named_as)


def scan(rows: SqlRows, bounds: Sequence[Bounds]) -> exp.Select:
    """Returns all rows with event times in the bounds: k0.., f0.., t, c."""
    return rows.select(bounds, features=True)


def latest(rows: SqlRows, bounds: Sequence[Bounds], entities: str = "") -> exp.Select:
    """Returns the newest row per entity among those with event times in any of the bounds: k0.., f0.., t, c.

    The newest event time of each entity is found from keys and times alone; only rows of these times are read whole,
    and only they are ordered by created time and content.

    Args:
        entities: a table of join keys k0..; only rows of these count. "" for all.
    """
    narrow = rows.select(bounds)
    if entities and rows.keys:
        narrow = _of_entities(narrow, rows.keys, entities, rows.keys)
    keys = [column(name) for name in rows.keys]
    newest = query([*keys, as_(exp.Max(this=column("t")), "t")], named(narrow, "r"))
    # Without keys there is one group, also where there are no rows; its time is null and matches none.
    newest = newest.group_by(*(key.copy() for key in keys), copy=False) if keys else newest
    whole = rows.select(bounds, features=True, content=True)
    columns = [column(name, "r") for name in (*rows.keys, *rows.features, *rows.content, "t", "c")]
    tied = query(columns, named(whole, "r")).join(named(newest, "q"), on=_same(["t", *rows.keys]), copy=False)
    return _first_of_each(rows, tied, rows.keys, [*rows.keys, *rows.features, "t", "c"])


def point_in_time(
    rows: SqlRows,
    spine: str,
    keys: Sequence[str],
    oldest: str,
    bounds: Sequence[Bounds],
    *,
    known_only: bool = False,
) -> exp.Select:
    """Returns the row that counts for each row of a spine: n, f0..; nothing of those for which none does.

    Keys and times of both sides are put in one sequence for each entity, in which a running maximum tells the newest
    event time known at each moment. So the cost is that of one sort, however many rows an entity has on either side; a
    join of each spine row with all earlier rows costs their product. Only rows of the times that were found are read
    whole.

    Args:
        spine: a table of the rows to join to: ``n``, a number; ``t``, a moment; join keys.
        keys: its columns that hold the join keys k0..
        oldest: its column with the oldest event time that counts; "" where all do.
        bounds: outside of which no row can count.
        known_only: whether a row counts only from its created time on.
    """
    dialect = rows.relation.dialect
    narrow = rows.select(bounds)
    if rows.keys:
        narrow = _of_entities(narrow, rows.keys, spine, keys)
    no_moment, no_number = dialect.as_moment(exp.null()), exp.cast(exp.null(), "BIGINT")
    since: exp.Expr = column("t")
    if known_only:
        since = exp.Case().when(column("c") > column("t"), column("c")).else_(column("t"))
    happened = query(
        [
            *map(column, rows.keys),
            as_(since, "at"),
            as_(exp.Literal.number(0), "asked"),
            as_(column("t"), "newest"),
            as_(no_moment, "oldest"),
            as_(no_number, "n"),
        ],
        named(narrow, "r"),
        *([column("c").is_(exp.null()).not_()] if known_only else ()),
    )
    asked = query(
        [
            *(as_(column(key), name) for key, name in zip(keys, rows.keys, strict=True)),
            as_(column("t"), "at"),
            as_(exp.Literal.number(1), "asked"),
            as_(no_moment, "newest"),
            as_(column(oldest) if oldest else no_moment, "oldest"),
            column("n"),
        ],
        table(spine),
        column("t").is_(exp.null()).not_(),
    )
    running = exp.Window(
        this=exp.Max(this=column("newest")),
        partition_by=[column(name) for name in rows.keys],
        # What happens at a moment is known at that moment.
        order=exp.Order(expressions=[_ordered("at"), _ordered("asked")]),
        spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
    )
    sequence = exp.union(happened, asked, distinct=False, copy=False)
    columns = [column(name) for name in (*rows.keys, "n", "at", "asked", "oldest")]
    with_newest = query([*columns, as_(running, "t")], named(sequence, "e"))
    counts: list[exp.Expr] = [column("asked").eq(exp.Literal.number(1))]
    if oldest:
        counts.append(column("t") >= column("oldest"))
    matched = query([column(name) for name in (*rows.keys, "n", "at", "t")], named(with_newest, "s"), *counts)
    condition = _same(["t", *rows.keys])
    if known_only:
        condition = exp.and_(condition, column("c", "r") <= column("at", "q"))
    whole = rows.select(bounds, features=True, content=True)
    of_rows = [column(name, "r") for name in (*rows.features, *rows.content, "c")]
    tied = query([column("n", "q"), *of_rows], named(whole, "r")).join(named(matched, "q"), on=condition, copy=False)
    return _first_of_each(rows, tied, ["n"], ["n", *rows.features])


def statistics(dialect: SqlDialect, hashed: exp.Select, edges: Sequence[int]) -> exp.Select:
    """Returns counts, extremes and sums of hashes of the rows in each of the cells into which edges cut time.

    Args:
        hashed: the rows, as `Relation.hashed` returns them.
        edges: ascending moments in microseconds; cell i begins with edge i - 1.

    Returns:
        cell (null where a row has no event time), keyless, n, oldest, newest, created, total, mix.
    """
    return _summed(dialect, hashed, dialect.cell_of(column("t"), edges))


def grid_statistics(dialect: SqlDialect, hashed: exp.Select, grain: Grain) -> exp.Select:
    """Returns what `statistics` does for each hour, day or month with rows, of a weekly grid for each day.

    ``cell`` is the moment at which it begins.
    """
    start = exp.TimestampTrunc(this=column("t"), unit=exp.var(_UNITS[grain]))
    return _summed(dialect, hashed, start)


def _summed(dialect: SqlDialect, hashed: exp.Select, cell: exp.Expr) -> exp.Select:
    columns = [as_(cell, "cell"), *map(column, ("keyless", "t", "c", "h"))]
    groups = [column("cell"), column("keyless")]
    summed = [
        *groups,
        as_(exp.Count(this=exp.Star()), "n"),
        as_(exp.Min(this=column("t")), "oldest"),
        as_(exp.Max(this=column("t")), "newest"),
        as_(exp.Max(this=column("c")), "created"),
        as_(dialect.total(column("h")), "total"),
        as_(exp.cast(exp.BitwiseXorAgg(this=column("h")), "TEXT"), "mix"),
    ]
    placed = query(columns, named(hashed, "r"))
    return query(summed, named(placed, "p")).group_by(*(each.copy() for each in groups), copy=False)


def _of_entities(rows: exp.Select, names: Sequence[str], entities: str, keys: Sequence[str]) -> exp.Select:
    """Returns those rows whose keys are in a table."""
    same = [column(key, "e").eq(column(name, "r")) for key, name in zip(keys, names, strict=True)]
    among = query([exp.Literal.number(1)], table(entities, "e"), *same)
    return query([exp.Star()], named(rows, "r"), exp.Exists(this=among))


def _same(names: Sequence[str]) -> exp.Expr:
    return exp.and_(*(column(name, "r").eq(column(name, "q")) for name in names), copy=False)


def _first_of_each(rows: SqlRows, tied: exp.Select, group: Sequence[str], columns: Sequence[str]) -> exp.Select:
    """Returns one row of each group of equal event times: of the newest created time, and then the greatest content.

    A null created time is older than any, a null value greater than any, as in DuckDB.
    """
    order = [_ordered(column("c").is_(exp.null())), _ordered("c", desc=True)]
    for name in rows.content:
        order += [_ordered(column(name).is_(exp.null()), desc=True), _ordered(name, desc=True)]
    number = exp.Window(
        this=exp.RowNumber(), partition_by=[column(name) for name in group], order=exp.Order(expressions=order)
    )
    numbered = query([*map(column, columns), as_(number, "place")], named(tied, "r"))
    return query(map(column, columns), named(numbered, "p"), column("place").eq(exp.Literal.number(1)))


def _ordered(by: str | exp.Expr, *, desc: bool = False) -> exp.Ordered:
    # Nulls have a column of their own before; said again, an engine would have to be told in its own words.
    value = (
        column(by) if isinstance(by, str) else exp.Case().when(by, exp.Literal.number(1)).else_(exp.Literal.number(0))
    )
    return exp.Ordered(this=value, desc=desc)
