"""Join keys of a source as SQL of their canonical types; what cannot be read without loss fails the statement.

The spine of a join, pushes and materialized rows have their keys cast by `feast_assets.types.exact_keys`. The
expressions here do the same with a source's columns, value by value, so that equal keys are equal in SQL and online.
"""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

from feast_assets.errors import NotSupportedError
from feast_assets.offline_stores.sql.dialect import SqlDialect, column
from feast_assets.offline_stores.sql.engine import END, FAILED
from feast_assets.types.arrow_casts import is_binary, is_text
from feast_assets.types.exact_keys import exact_integers_of
from feast_assets.types.feast_type import Bool, Bytes, FeastType, Int32, Int64, String, TimeUuid, UnixTimestamp, Uuid

_RANGES: dict[FeastType, tuple[str, int]] = {Int32: ("INT", 2**31), Int64: ("BIGINT", 2**63)}
_CONVERT = ", which it cannot be without loss. Correct the rows, or declare the type that they have."


def key_expression(dialect: SqlDialect, arrow_field: pa.Field, dtype: FeastType, moment: exp.Expr | None) -> exp.Expr:
    """Returns a column in the canonical type of a join key; null where the column is null.

    Args:
        arrow_field: name and Arrow type of the column.
        moment: the column as a moment, where it holds times.

    Raises:
        NotSupportedError: a conversion that a source's query must do.
    """
    stored, kind = column(arrow_field.name), arrow_field.type
    if dtype in _RANGES:
        return exact_integer(dialect, arrow_field, dtype, "join key")
    if dtype == UnixTimestamp and moment is not None:
        return moment
    if dtype == Bool:
        if pa.types.is_boolean(kind):
            return stored
        is_bool = exp.In(this=stored, expressions=[exp.Literal.number(0), exp.Literal.number(1)])
        hint = "; only the numbers 0 and 1 can be read as Bool."
        return _checked(
            dialect, stored, is_bool, exp.cast(stored, "BOOLEAN"), _problem(arrow_field, dtype), hint, "BOOLEAN"
        )
    if dtype in (Uuid, TimeUuid) and is_text(kind):
        return exp.cast(exp.cast(stored, "UUID"), "TEXT")
    if dtype == Bytes and is_binary(kind):
        return stored
    if (dtype in (String, Uuid, TimeUuid) and not is_binary(kind)) or dtype not in (String, Bytes, Bool, UnixTimestamp):
        return exp.cast(stored, "TEXT")
    raise NotSupportedError(
        f"Join key {arrow_field.name!r} is declared {dtype}, but the column holds {kind}. Convert it in the source's "
        "query."
    )


def exact_integer(dialect: SqlDialect, arrow_field: pa.Field, dtype: FeastType, role: str) -> exp.Expr:
    """Returns a column of numbers as integers; the statement fails where one has a fraction or is out of range.

    Args:
        role: what the column is, for the message.
    """
    sql_type, limit = _RANGES[dtype]
    stored, kind = column(arrow_field.name), arrow_field.type
    value = exp.cast(stored, sql_type)
    is_ = pa.types
    if is_.is_integer(kind) and _bits(kind) < limit.bit_length():
        return value
    whole = stored.copy().eq(exp.Trunc(this=stored.copy())) if not is_.is_integer(kind) else exp.true()
    low, high = -limit, limit - 1
    missing: exp.Expr | None = None
    if is_.is_floating(kind):
        high = min(exact_integers_of(kind), limit) - 1
        low = -high
        missing = stored.copy().eq(exp.cast(exp.Literal.string("NaN"), "DOUBLE"))
    fits = exp.and_(whole, exp.Between(this=stored.copy(), low=_number(low), high=_number(high)))
    return _checked(dialect, stored, fits, value, _problem(arrow_field, dtype, role), _CONVERT, sql_type, missing)


def _bits(kind: pa.DataType) -> int:
    return int(kind.bit_width - 1 if pa.types.is_signed_integer(kind) else kind.bit_width)


def _number(value: int) -> exp.Expr:
    number = exp.Literal.number(abs(value))
    return exp.Neg(this=number) if value < 0 else number


def _problem(arrow_field: pa.Field, dtype: FeastType, role: str = "join key") -> str:
    return f"{role} '{arrow_field.name}' is declared {dtype} but holds "


def _checked(
    dialect: SqlDialect,
    stored: exp.Expr,
    condition: exp.Expr,
    value: exp.Expr,
    problem: str,
    remedy: str,
    kind: str,
    missing: exp.Expr | None = None,
) -> exp.Expr:
    """Returns a value where a condition holds, null where the column is null or missing, and an error for the rest."""
    text = exp.Left(this=exp.cast(stored.copy(), "TEXT"), expression=exp.Literal.number(80))
    parts: list[exp.Expr] = [exp.Literal.string(FAILED + problem), text, exp.Literal.string(remedy + END)]
    message = exp.DPipe(this=exp.DPipe(this=parts[0], expression=parts[1]), expression=parts[2])
    chosen = exp.Case().when(stored.copy().is_(exp.null()), exp.null())
    if missing is not None:
        chosen = chosen.when(missing, exp.null())
    return chosen.when(condition, value).else_(dialect.fail(message, kind))
