"""Rows that an engine can query: a table, a query, or what was staged, with a source's field mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from feast_assets.definitions.window import Bounds, hull
from feast_assets.errors import FeastAssetsError, SourceError, suggest
from feast_assets.offline_stores.sql.dialect import SqlDialect, as_, column, query
from feast_assets.types.arrow_casts import is_binary, is_list, is_text

FIRST_MICROSECOND = -62_135_596_800_000_000
LAST_MICROSECOND = 253_402_300_799_999_999
"""The first and the last microsecond of the years 1 to 9999."""


_FEW = 8
"""Up to so many stretches of time are compared one by one."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows that an engine can query.

    Attributes:
        dialect: of the engine.
        subject: what the rows are, for messages.
        table: how statements name them.
        schema: the columns, by their own names.
        mapping: a column's own name -> the name that is used everywhere else.
        timestamp, created: the names of the time columns after the mapping; "" where there is none.
        texts: the query that stands for the table; see `SqlDialect.render`.
        error: the error class for data that is not as it should be.
    """

    dialect: SqlDialect
    subject: str
    table: exp.Table
    schema: pa.Schema
    mapping: Mapping[str, str] = field(default_factory=dict)
    timestamp: str = ""
    created: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    error: type[FeastAssetsError] = SourceError

    def render(self, statement: exp.Expr) -> str:
        """Returns the text of a statement about these rows."""
        return self.dialect.render(statement, self.texts)

    @property
    def columns(self) -> dict[str, pa.Field]:
        """The columns, in order, by their names after the mapping."""
        return {self.mapping.get(f.name, f.name): f for f in self.schema}

    def mapped_schema(self) -> pa.Schema:
        """Returns the columns with their names after the mapping.

        Raises:
            SourceError: the mapping gives two columns one name.
        """
        if len(self.columns) < len(self.schema):
            names = [self.mapping.get(name, name) for name in self.schema.names]
            double = next(name for name in names if names.count(name) > 1)
            raise self.error(f"{self.subject}: its field_mapping gives two columns the name {double!r}.")
        return pa.schema([f.with_name(name) for name, f in self.columns.items()])

    def column(self, name: str, role: str = "") -> pa.Field:
        """Returns a column by its name after the mapping.

        Args:
            role: what the column is for, for the message.

        Raises:
            SourceError: it is not there.
        """
        arrow_field = self.columns.get(name)
        if arrow_field is None:
            raise self.error(f"{self.subject} has no column {name!r}{role}. {suggest(name, self.columns)}")
        return arrow_field

    def time(self, name: str) -> exp.Expr:
        """Returns a time column as a moment in UTC; a time without a zone is UTC.

        Raises:
            SourceError: the column holds no times.
        """
        arrow_field = self.column(name)
        kind, stored = arrow_field.type, column(arrow_field.name)
        if pa.types.is_timestamp(kind):
            return stored if kind.tz is not None else self.dialect.naive_in_utc(stored)
        if pa.types.is_date(kind):
            return self.dialect.naive_in_utc(exp.cast(stored, "TIMESTAMP"))
        if pa.types.is_null(kind):
            return self.dialect.as_moment(exp.null())
        raise self.error(
            f"{self.subject}: column {name!r} should hold timestamps but holds {kind}. Cast it to a timestamp in the "
            "source's query."
        )

    def created_time(self) -> exp.Expr:
        """Returns the created time as a moment; null where there is no such column."""
        return self.time(self.created) if self.created else self.dialect.as_moment(exp.null())

    def within(self, bounds: Sequence[Bounds], *, or_null: bool = False) -> list[exp.Expr]:
        """Returns the conditions under which a row's event time lies in one of some bounds; none where all do.

        The column is compared as it is stored, so that indexes and partitions of the table are used.

        Args:
            bounds: may overlap.
            or_null: whether rows without an event time are wanted as well.
        """
        joined = _union(bounds)
        if len(joined) <= _FEW:
            return self._in_any_of(joined, or_null)
        # The edges of many cut time into cells, of which every second one is inside.
        edges = [edge for each in joined for edge in (each.start, each.end) if edge is not None]
        cell = self.dialect.cell_of(self.time(self.timestamp), edges)
        parity = exp.Literal.number(0 if joined[0].start is None else 1)
        inside: exp.Expr = exp.EQ(
            this=exp.Mod(this=exp.Paren(this=cell), expression=exp.Literal.number(2)), expression=parity
        )
        if or_null:
            inside = exp.or_(inside, column(self.column(self.timestamp).name).is_(exp.null()))
        return [*self._in_any_of([hull(joined)], or_null), inside]

    def _in_any_of(self, bounds: Sequence[Bounds], or_null: bool) -> list[exp.Expr]:
        arrow_field = self.column(self.timestamp)
        is_zoned = pa.types.is_timestamp(arrow_field.type) and arrow_field.type.tz is not None
        stored: exp.Expr = column(arrow_field.name)
        if pa.types.is_date(arrow_field.type):
            stored = exp.cast(stored, "TIMESTAMP")
        literal = self.dialect.moment_of if is_zoned else self.dialect.naive_of
        any_of: list[exp.Expr] = []
        for each in bounds:
            parts: list[exp.Expr] = []
            if each.start is not None:
                parts.append(stored.copy() >= literal(each.start))
            if each.end is not None:
                parts.append(stored.copy() < literal(each.end))
            if not parts:
                return []
            any_of.append(exp.and_(*parts))
        condition = exp.or_(*any_of) if any_of else exp.false()
        return [exp.or_(condition, column(arrow_field.name).is_(exp.null())) if or_null else condition]

    def seen(self, bounds: Bounds) -> exp.Select:
        """Returns what a transformation sees: all columns, times in UTC, event times in some bounds.

        A relation without a timestamp is seen whole.
        """
        times = {name for name in (self.timestamp, self.created) if name}
        columns = [as_(self.time(n) if n in times else self._as_seen(c), n) for n, c in self.columns.items()]
        if not self.timestamp:
            return query(columns, self.table.copy())
        there = column(self.column(self.timestamp).name).is_(exp.null()).not_()
        return query(columns, self.table.copy(), *self.within([bounds]), there)

    def _as_seen(self, arrow_field: pa.Field) -> exp.Expr:
        stored = column(arrow_field.name)
        return exp.cast(stored, "TEXT") if is_text(arrow_field.type) else stored

    def carried(self, arrow_field: pa.Field) -> exp.Expr:
        """Returns a column in a form that every engine's driver carries to Arrow, that is ordered and hashed by value.

        Numbers, times, booleans, bytes and lists are as they are; decimals, JSON and the engine's own types are text.
        """
        stored = column(arrow_field.name)
        return stored if _is_plain(arrow_field.type) else exp.cast(stored, "TEXT")

    def hashed(self, values: Sequence[exp.Expr], keys: Sequence[exp.Expr], bounds: Sequence[Bounds]) -> exp.Select:
        """Returns t, c, ``keyless`` (1 where a join key is null, else 0) and ``h``, a hash, of the rows in some bounds.

        Rows without an event time are among them. A relation without a timestamp counts whole, at no time.

        Args:
            values: what the hash covers.
            keys: the join keys.
        """
        time = self.time(self.timestamp) if self.timestamp else self.dialect.as_moment(exp.null())
        lacks = [key.is_(exp.null()) for key in keys]
        one, zero = exp.Literal.number(1), exp.Literal.number(0)
        keyless = exp.Case().when(exp.or_(*lacks), one).else_(zero) if lacks else zero
        columns = [as_(time, "t"), as_(self.created_time(), "c"), as_(keyless, "keyless")]
        columns.append(as_(self.dialect.row_hash(values), "h"))
        return query(columns, self.table.copy(), *(self.within(bounds, or_null=True) if self.timestamp else ()))


def in_years(bounds: Bounds) -> Bounds:
    """Returns bounds whose edges are moments of the years 1 to 9999, or none."""
    if (bounds.start or 0) > LAST_MICROSECOND or (bounds.end or 0) < FIRST_MICROSECOND:
        return Bounds(0, 0)
    start = None if bounds.start is None or bounds.start <= FIRST_MICROSECOND else bounds.start
    return Bounds(start, None if bounds.end is None or bounds.end > LAST_MICROSECOND else bounds.end)


def _union(bounds: Sequence[Bounds]) -> list[Bounds]:
    """Returns what some bounds cover as the fewest bounds, in order; their edges are in the years 1 to 9999."""
    inside = [each for each in map(in_years, bounds) if each.start is None or each.end is None or each.start < each.end]
    joined: list[Bounds] = []
    for each in sorted(inside, key=lambda b: FIRST_MICROSECOND if b.start is None else b.start):
        last = joined[-1] if joined else None
        if last is not None and (last.end is None or each.start is None or each.start <= last.end):
            end = None if last.end is None or each.end is None else max(last.end, each.end)
            joined[-1] = Bounds(last.start, end)
        else:
            joined.append(each)
    return joined


def _is_plain(kind: pa.DataType) -> bool:
    is_ = pa.types
    if is_list(kind):
        return is_text(kind.value_type) or _is_plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return False
    return bool(
        is_.is_boolean(kind)
        or is_.is_integer(kind)
        or is_.is_floating(kind)
        or is_.is_timestamp(kind)
        or is_.is_date(kind)
        or is_binary(kind)
    )
