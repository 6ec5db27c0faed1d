"""Tables out of columns and rows of Python values that somebody handed in, with errors that name the column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from feast_assets.errors import shown

UNREADABLE = (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError, AttributeError, LookupError)
"""What Arrow, numpy and pandas raise for values that no column can hold."""


def column_of_values(name: Any, values: Any) -> Any:
    """Returns values as an Arrow column of the type that Arrow infers.

    Args:
        values: an Arrow column, a numpy array, a pandas series, or any sequence of Python values.

    Raises:
        ValueError: the values are of mixed types, nested too deep, or integers of more than 64 bits.
    """
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise ValueError(f"column {shown(name)} is {type(values).__name__} {shown(values)}, not a list of values.")
    try:
        return pa.array(values if hasattr(values, "__len__") else list(values))
    except UNREADABLE as error:
        raise ValueError(f"column {shown(name)}: {reason_of(error)}") from error


def table_of_columns(columns: Mapping[Any, Any]) -> pa.Table:
    """Returns columns of values as a table.

    Raises:
        ValueError: a column cannot be read, or they differ in length.
    """
    return pa.table([column_of_values(name, values) for name, values in columns.items()], names=_names(columns))


def table_of_rows(rows: Iterable[Any]) -> pa.Table:
    """Returns rows, each a mapping, as a table; what a row lacks of the other rows' columns is null there.

    Raises:
        ValueError: a row is no mapping, or a column cannot be read.
    """
    listed = list(rows)
    if not listed:
        return pa.table({})
    if set(map(type, listed)) == {dict}:
        names = list(listed[0])
        if set(map(len, listed)) == {len(names)}:
            try:
                return table_of_columns({name: [row[name] for row in listed] for name in names})
            except KeyError:
                pass  # Rows of other columns.
    for place, row in enumerate(listed):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {place} is {type(row).__name__} {shown(row)}, not a dict of column name to value.")
    names = list(dict.fromkeys(name for row in listed for name in row))
    return table_of_columns({name: [row.get(name) for row in listed] for name in names})


def reason_of(error: BaseException) -> str:
    """Returns why values cannot be read, for an error of Arrow, numpy or Python itself."""
    if isinstance(error, OverflowError) and "int" in str(error):
        return "an integer does not fit 64 bits."
    if isinstance(error, RecursionError):
        return "a value is nested too deep."
    return str(error) or type(error).__name__


def _names(columns: Mapping[Any, Any]) -> list[str]:
    for name in columns:
        if not isinstance(name, str):
            raise ValueError(f"the column name {shown(name)} is {type(name).__name__}, not text.")
    return list(columns)
