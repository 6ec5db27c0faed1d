"""The dialect table: what SQL engines spell differently, beyond what sqlglot translates by itself.

A plan is built from sqlglot's expressions, which know how each engine quotes names, casts, truncates times and orders
nulls. An entry here says the rest. ``verified`` entries run in this package's tests; of the others only the text is
checked: it parses in its own dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from sqlglot import exp, tokenize
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from feast_assets.offline_stores.sql.engine import END, FAILED

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SqlDialect:
    """How one engine spells what a plan needs. Sessions are in UTC, so casts between kinds of times assume UTC.

    Attributes:
        name: sqlglot's name of the dialect.
        moment: the type of a moment in UTC to the microsecond.
        naive: the type of a time without a zone to the microsecond.
        row_hash: makes a 64-bit integer of several values; other values, or the same in another order, give another.
        fail: makes an expression of a type, whose evaluation fails with a message; the message is an expression.
        text_order: makes text compare byte by byte, in UTF-8.
        total: the sum of many 64-bit integers, as text.
        naive_in_utc: makes a moment of a time without a zone.
        flat_list: a list as the driver carries it; fails where the items of a row's list are lists.
        cell: how many of some ascending moments are not after a time; None for a tree of comparisons.
        verified: whether plans of this dialect run in the tests.
    """

    name: str
    row_hash: Callable[[Sequence[exp.Expr]], exp.Expr]
    fail: Callable[[exp.Expr, str], exp.Expr]
    moment: str = "TIMESTAMPTZ"
    naive: str = "TIMESTAMP"
    text_order: Callable[[exp.Expr], exp.Expr] = field(default=lambda text: text)
    total: Callable[[exp.Expr], exp.Expr] = field(
        default=lambda number: exp.cast(exp.Sum(this=exp.cast(number, "DECIMAL(38, 0)")), "TEXT")
    )
    naive_in_utc: Callable[[exp.Expr], exp.Expr] = field(default=lambda time: exp.cast(time, "TIMESTAMPTZ"))
    flat_list: Callable[[exp.Expr], exp.Expr] = field(default=lambda items: items)
    cell: Callable[[exp.Expr, Sequence[exp.Expr]], exp.Expr] | None = None
    verified: bool = False

    def render(self, statement: exp.Expr, texts: Mapping[str, str] | None = None) -> str:
        """Returns the text of a statement.

        Args:
            texts: name of a table in the statement -> the query that stands for it, in the engine's own SQL. It is put
                in as it is, in parentheses on lines of its own, so that a comment at its end does no harm.
        """
        sql = statement.sql(dialect=self.name, comments=False, copy=False)
        for name, text in (texts or {}).items():
            sql = sql.replace(exp.to_identifier(name, quoted=True).sql(dialect=self.name), f"(\n{text}\n)")
        return sql

    def without_end(self, query: str) -> str:
        """Returns a query, in the engine's own SQL, without the semicolon at its end."""
        try:
            tokens = tokenize(query, read=self.name)
        except TokenError:
            return query  # The engine says what is wrong with it.
        is_ended = bool(tokens) and tokens[-1].token_type == TokenType.SEMICOLON
        return query[: tokens[-1].start] if is_ended else query

    def moment_of(self, micros: int) -> exp.Expr:
        """Returns the literal of a moment, given in microseconds since the epoch, of the years 1 to 9999."""
        return self.as_moment(exp.Literal.string(f"{_written(micros)}+00:00"))

    def naive_of(self, micros: int) -> exp.Expr:
        """Returns the literal of a time without a zone."""
        return exp.Cast(this=exp.Literal.string(_written(micros)), to=_type(self.naive, self.name).copy())

    def cell_of(self, time: exp.Expr, edges: Sequence[int]) -> exp.Expr:
        """Returns how many of some ascending moments are not after a time; null where the time is.

        Args:
            edges: in microseconds since the epoch, of the years 1 to 9999.
        """
        moments = [self.moment_of(edge) for edge in edges]
        if moments and self.cell is not None:
            cell = self.cell(time.copy(), moments)
        else:
            cell = _searched(time, moments, 0)
        return exp.Case(ifs=[exp.If(this=time.copy().is_(exp.null()).not_(), true=cell)])

    def as_moment(self, value: exp.Expr) -> exp.Expr:
        """Returns a value as a moment; one without a zone must go through ``naive_in_utc`` first."""
        return exp.Cast(this=value, to=_type(self.moment, self.name).copy())


def _written(micros: int) -> str:
    moment = (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None)
    return moment.isoformat(sep=" ", timespec="microseconds")


def column(name: str, table: str = "") -> exp.Column:
    """Returns a quoted column."""
    return exp.column(name, table=table or None, quoted=True)


def query(columns: Iterable[exp.Expr], source: exp.Expr, *conditions: exp.Expr) -> exp.Select:
    """Returns a SELECT made of expressions, which are taken over and not copied, as sqlglot does by itself."""
    built = exp.Select().select(*columns, copy=False).from_(source, copy=False)
    return built.where(*conditions, copy=False) if conditions else built


def named(select: exp.Query, alias: str) -> exp.Subquery:
    """Returns a query as a table of another one, which takes it over."""
    return exp.Subquery(this=select, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def as_(value: exp.Expr, name: str) -> exp.Alias:
    """Returns a value as a column, which takes it over."""
    return exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True))


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Returns a call of a function that sqlglot is not to translate."""
    return exp.Anonymous(this=name, expressions=list(arguments))


@cache
def _type(text: str, dialect: str) -> exp.DataType:
    return exp.DataType.build(text, dialect=dialect)


def _searched(time: exp.Expr, moments: Sequence[exp.Expr], before: int) -> exp.Expr:
    """Returns how many of some moments are not after a time, as comparisons that halve them each time."""
    if not moments:
        return exp.Literal.number(before)
    half = len(moments) // 2
    earlier = exp.If(
        this=exp.LT(this=time.copy(), expression=moments[half]), true=_searched(time, moments[:half], before)
    )
    return exp.Case(ifs=[earlier], default=_searched(time, moments[half + 1 :], before + half + 1))


def _postgres_list(items: exp.Expr) -> exp.Expr:
    # The driver would carry an array of arrays as one flat list. An index that is no number fails the statement.
    dimensions = call("ARRAY_NDIMS", items)
    message = exp.DPipe(
        this=exp.DPipe(
            this=exp.Literal.string(f"{FAILED}a list is declared, but a row holds an array of "),
            expression=exp.cast(dimensions, "TEXT"),
        ),
        expression=exp.Literal.string(f" dimensions; make it to_jsonb(...) in the source's query.{END}"),
    )
    failing = exp.Bracket(this=exp.Paren(this=items.copy()), expressions=[exp.Slice(this=exp.cast(message, "INT"))])
    return exp.Case().when(dimensions.copy() > exp.Literal.number(1), failing).else_(items.copy())


def _postgres_cell(time: exp.Expr, edges: Sequence[exp.Expr]) -> exp.Expr:
    return call("WIDTH_BUCKET", time, exp.Array(expressions=list(edges)))


POSTGRES = SqlDialect(
    name="postgres",
    # The inner hash is linear in the columns, so sums of it would not notice values that change places between rows.
    row_hash=lambda values: call(
        "HASHINT8EXTENDED",
        call("HASH_RECORD_EXTENDED", call("ROW", *values), exp.Literal.number(0)),
        exp.Literal.number(1),
    ),
    # Postgres has no function that fails; a text that is no value of the type fails, and the message quotes it.
    fail=lambda message, kind: exp.cast(message, kind),
    text_order=lambda text: exp.Collate(this=text, expression=exp.to_identifier("C", quoted=True)),
    naive_in_utc=lambda time: exp.AtTimeZone(this=time, zone=exp.Literal.string("UTC")),
    flat_list=_postgres_list,
    cell=_postgres_cell,
    verified=True,
)
DUCKDB = SqlDialect(
    name="duckdb",
    row_hash=lambda values: call("HASH", *values),
    fail=lambda message, kind: exp.cast(call("ERROR", message), kind),
    naive_in_utc=lambda time: exp.AtTimeZone(this=time, zone=exp.Literal.string("UTC")),
    verified=True,
)
SNOWFLAKE = SqlDialect(
    name="snowflake",
    row_hash=lambda values: call("HASH", *values),
    fail=lambda message, kind: exp.cast(message, kind),
)
BIGQUERY = SqlDialect(
    name="bigquery",
    row_hash=lambda values: call("FARM_FINGERPRINT", call("TO_JSON_STRING", call("STRUCT", *values))),
    fail=lambda message, kind: exp.cast(call("ERROR", message), kind),
    moment="TIMESTAMP",
    naive="DATETIME",
)
SPARK = SqlDialect(
    name="spark",
    row_hash=lambda values: call("XXHASH64", *values),
    fail=lambda message, kind: exp.cast(call("RAISE_ERROR", message), kind),
    moment="TIMESTAMP",
)
TRINO = SqlDialect(
    name="trino",
    row_hash=lambda values: call(
        "FROM_BIG_ENDIAN_64",
        call("XXHASH64", call("TO_UTF8", call("JSON_FORMAT", exp.cast(call("ROW", *values), "JSON")))),
    ),
    fail=lambda message, kind: exp.cast(call("FAIL", message), kind),
    moment="TIMESTAMP(6) WITH TIME ZONE",
    naive="TIMESTAMP(6)",
    naive_in_utc=lambda time: call("WITH_TIMEZONE", time, exp.Literal.string("UTC")),
)

DIALECTS: Mapping[str, SqlDialect] = {each.name: each for each in (POSTGRES, DUCKDB, SNOWFLAKE, BIGQUERY, SPARK, TRINO)}
