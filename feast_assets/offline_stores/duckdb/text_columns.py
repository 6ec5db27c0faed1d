"""Columns that are stored as text, in CSV files and in the names of ``key=value`` folders.

What is declared decides how they are read, and not what the values of today look like: ``007`` of a String keeps its
zeros, and ``123`` of a String is a text also while there is no other. A value that cannot be read as declared is an
error that names it.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

from collections.abc import Collection, Mapping

from feast_assets.offline_stores.duckdb.engine import literal, quote
from feast_assets.offline_stores.duckdb.unfit_text import MARK
from feast_assets.types.feast_type import Bool, FeastType, Float32, Float64, Int32, Int64

_EXACT = 2**53
_NO_NUMBERS = "'', 'NA', 'N/A', 'n/a', 'NULL', 'null', 'NaN', 'nan', '-nan', '-NaN', '#N/A'"
"""What Arrow's CSV reader takes for a missing number."""


def is_converted(dtype: FeastType) -> bool:
    """Says whether text of a declared type is converted by the query; other types are read from the text itself."""
    return dtype in (Bool, Int32, Int64, Float32, Float64)


def as_declared(
    relation: str,
    declared: Mapping[str, FeastType],
    *,
    folders: Collection[str] = (),
    file: str = "''",
    more: str = "",
    lenient: bool = False,
) -> str:
    """Returns a query of a relation whose columns, which are text, have the types that are declared.

    Integers may be written as ``5.0`` or ``5e0``, truth values as 0 and 1; NaN of an integer is null.

    Args:
        relation: SQL of a relation that has these columns.
        declared: the columns by their names in it.
        folders: those of them that are names of folders.
        file: SQL expression of the file that a row is of, for errors.
        more: SQL of further columns, beginning with a comma.
        lenient: whether texts such as ``NA`` are missing numbers, as for Arrow's CSV reader.

    Raises (when the query runs):
        duckdb.InvalidInputException: a value cannot be read so; its message is for `UnfitText.of`.
    """
    converted = [
        f"{_converted(quote(name), dtype, _problem(name, dtype, file, name in folders), lenient)} AS {quote(name)}"
        for name, dtype in declared.items()
        if is_converted(dtype)
    ]
    replaced = f" REPLACE ({', '.join(converted)})" if converted else ""
    return f"SELECT *{replaced}{more} FROM {relation}"


def _problem(name: str, dtype: FeastType, file: str, in_folder: bool) -> str:
    return (
        f"error({literal(MARK)} || CAST(to_json({{'column': {literal(name)}, 'value': {quote(name)}, "
        f"'declared': {literal(str(dtype))}, 'file': {file}, 'folder': {'true' if in_folder else 'false'}}}) "
        "AS VARCHAR))"
    )


def _converted(text: str, dtype: FeastType, failed: str, lenient: bool) -> str:
    number = f"TRY_CAST({text} AS DOUBLE)"
    cases = [f"WHEN {text} IS NULL THEN NULL"]
    if lenient:
        cases += [f"WHEN trim({text}) IN ({_NO_NUMBERS}) THEN NULL"]
    if dtype in (Float32, Float64):
        cases += [f"WHEN {number} IS NOT NULL THEN {number}"]
    elif dtype == Bool:
        cases += [f"WHEN TRY_CAST(trim({text}) AS BOOLEAN) IS NOT NULL THEN TRY_CAST(trim({text}) AS BOOLEAN)"]
        cases += [f"WHEN {number} IN (0, 1) THEN {number} = 1"]
    else:
        # A cast to an integer would round 2.5.
        whole = f"TRY_CAST({text} AS BIGINT)"
        cases += [f"WHEN NOT regexp_matches({text}, '[^0-9+ -]') AND {whole} IS NOT NULL THEN {whole}"]
        cases += [f"WHEN isnan({number}) THEN NULL"]
        cases += [f"WHEN {number} = trunc({number}) AND abs({number}) < {_EXACT} THEN CAST({number} AS BIGINT)"]
    return f"CASE {' '.join(cases)} ELSE {failed} END"
