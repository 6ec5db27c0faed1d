"""Join keys of a source as SQL expressions of their canonical types; what cannot be read without loss fails the query.

The spine of a join, pushes and materialized rows have their keys cast by `feast_assets.types.exact_keys`. The
expressions here do the same with a source's columns, value by value, so that equal keys are equal in SQL and online.
"""

from __future__ import annotations

import pyarrow as pa

from feast_assets.offline_stores.duckdb.engine import is_nan, literal, quote
from feast_assets.types.exact_keys import ISO_MOMENT, exact_integers_of
from feast_assets.types.feast_type import Bool, Bytes, FeastType, Int32, Int64, String, TimeUuid, UnixTimestamp, Uuid

_RANGES: dict[FeastType, tuple[str, int]] = {Int32: ("INTEGER", 2**31), Int64: ("BIGINT", 2**63)}

# Seconds since the epoch of 0001-01-01 and of the end of 9999.
_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799


def key_expression(column: pa.Field, dtype: FeastType) -> str:
    """Returns a column as an SQL expression of the canonical type of a join key; null where the column is null.

    The query fails where a value cannot be read as the type without loss: a fraction where an integer is declared,
    numbers out of range, floats that may stand for several integers, times finer than microseconds.

    Args:
        column: name and Arrow type of the column, as DuckDB has it; of a kind that the type can be read from.
    """
    name = quote(column.name)
    arrow_type = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    problem = f"join key '{column.name}' is declared {dtype} but holds "
    if dtype in _RANGES:
        return _integer(name, arrow_type, dtype, problem)
    if dtype == UnixTimestamp:
        return _moment(name, arrow_type, problem)
    if dtype == Bool:
        return _bool(name, arrow_type, problem)
    if dtype == String:
        return f"decode({name})" if _is_binary(arrow_type) else f"CAST({name} AS VARCHAR)"
    if dtype == Bytes:
        return f"CAST({name} AS BLOB)" if _is_binary(arrow_type) else f"encode(CAST({name} AS VARCHAR))"
    if dtype in (Uuid, TimeUuid):
        return _uuid(name, arrow_type, problem)
    return name


def _checked(name: str, condition: str, value: str, problem: str, remedy: str, nan: str = "") -> str:
    """Returns the expression of a value where a condition holds, null for null, and an error that names the rest.

    Args:
        nan: the condition under which a floating value is NaN, which is null too.
    """
    shown = f"{literal(problem)} || left(CAST({name} AS VARCHAR), 80) || {literal(remedy)}"
    missing = f"WHEN {name} IS NULL THEN NULL" + (f" WHEN {nan} THEN NULL" if nan else "")
    return f"CASE {missing} WHEN {condition} THEN {value} ELSE error({shown}) END"


_CONVERT = ", which it cannot be without loss. Correct the rows, or declare the type that they have."


def _integer(name: str, arrow_type: pa.DataType, dtype: FeastType, problem: str) -> str:
    sql_type, limit = _RANGES[dtype]
    is_ = pa.types
    if is_.is_floating(arrow_type):
        exact = min(exact_integers_of(arrow_type), limit)
        condition = f"{name} = trunc({name}) AND abs({name}) < {exact}"
        return _checked(name, condition, f"CAST({name} AS {sql_type})", problem, _CONVERT, is_nan(name))
    if is_.is_decimal(arrow_type):
        whole = f"regexp_matches(CAST({name} AS VARCHAR), '^-?[0-9]+(\\.0*)?$') AND " if arrow_type.scale > 0 else ""
        condition = f"{whole}TRY_CAST({name} AS {sql_type}) IS NOT NULL"
        return _checked(name, condition, f"CAST({name} AS {sql_type})", problem, _CONVERT)
    if is_.is_integer(arrow_type) and not _fits(arrow_type, limit):
        return _checked(
            name, f"TRY_CAST({name} AS {sql_type}) IS NOT NULL", f"CAST({name} AS {sql_type})", problem, _CONVERT
        )
    return f"CAST({name} AS {sql_type})"


def _fits(arrow_type: pa.DataType, limit: int) -> bool:
    bits: int = arrow_type.bit_width - 1 if pa.types.is_signed_integer(arrow_type) else arrow_type.bit_width
    return bool(2**bits <= limit)


def _bool(name: str, arrow_type: pa.DataType, problem: str) -> str:
    if pa.types.is_boolean(arrow_type):
        return name
    nan = is_nan(name) if pa.types.is_floating(arrow_type) else ""
    remedy = "; only the numbers 0 and 1 can be read as Bool."
    return _checked(name, f"{name} IN (0, 1)", f"CAST({name} AS BOOLEAN)", problem, remedy, nan)


def _uuid(name: str, arrow_type: pa.DataType, problem: str) -> str:
    if not _is_binary(arrow_type):
        return f"CAST(CAST({name} AS UUID) AS VARCHAR)"
    text = f"CAST(CAST(hex({name}) AS UUID) AS VARCHAR)"
    return _checked(name, f"octet_length({name}) = 16", text, problem, "; a UUID has 16 bytes.")


def _moment(name: str, arrow_type: pa.DataType, problem: str) -> str:
    is_ = pa.types
    if is_.is_timestamp(arrow_type):
        value = f"CAST({name} AS TIMESTAMPTZ)"
        finer = f"epoch_ns({name}) % 1000 = 0 AND " if arrow_type.unit == "ns" else ""
        return _checked(name, f"{finer}{_in_years(value)}", value, problem, _CONVERT)
    if is_.is_date(arrow_type):
        value = f"CAST({name} AS TIMESTAMPTZ)"
        return _checked(name, _in_years(value), value, problem, _CONVERT)
    if is_.is_integer(arrow_type) or is_.is_floating(arrow_type):
        value = f"make_timestamptz(CAST({name} AS BIGINT) * 1000000)"
        whole = f"{name} = trunc({name}) AND " if is_.is_floating(arrow_type) else ""
        condition = f"{whole}{name} BETWEEN {_FIRST_SECOND} AND {_LAST_SECOND}"
        remedy = ", which is not a whole number of seconds in the years 1 to 9999."
        return _checked(name, condition, value, problem, remedy, is_nan(name) if is_.is_floating(arrow_type) else "")
    text = f"CAST({name} AS VARCHAR)"
    value = f"CAST({text} AS TIMESTAMPTZ)"
    remedy = ", which is not an ISO 8601 time such as 2024-07-01T12:00:00Z, to the microsecond."
    # A condition of its own, as the cast fails for other texts.
    parsed = f"CASE WHEN regexp_matches({text}, {literal(ISO_MOMENT)}) THEN {_in_years(value)} ELSE false END"
    return _checked(name, parsed, value, problem, remedy)


def _in_years(moment: str) -> str:
    return f"{moment} BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"


def _is_binary(arrow_type: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_binary(arrow_type) or is_.is_large_binary(arrow_type) or is_.is_fixed_size_binary(arrow_type))
