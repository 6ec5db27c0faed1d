"""Tables made of a caller's columns or rows of Python values, with errors that name the column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import pyarrow as pa

from feast_assets.errors import reason_of, shown

_NESTED = frozenset((list, tuple, dict))
_DEEPEST = 64
_ITEMS: dict[type, pa.DataType] = {float: pa.float64()}
# Not integers or text: Arrow, told to expect them, would cut floats, or read bytes as text.


def column_of_values(name: object, values: object) -> Any:
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
        values = values if hasattr(values, "__len__") else list(values)
        lists = _lists_of_scalars(values) if type(values) is list else None
        if lists is not None:
            return lists
        check_depth(values)
        return pa.array(values)
    except Exception as error:
        raise ValueError(f"column {shown(name)}: {reason_of(error)}") from error


def check_depth(values: Any) -> None:
    """Checks that Python values are not nested so deep that Arrow, which infers their type, would end the process.

    Raises:
        ValueError: they are.
    """
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "O") != "O":
        return
    level = values
    for _ in range(_DEEPEST):
        if _NESTED.isdisjoint(map(type, level)):
            return
        containers = [value for value in level if type(value) in _NESTED]
        # Without a list of the items, which are many where the values are vectors.
        if _NESTED.isdisjoint(map(type, _items(containers))):
            return
        level = list(_items(containers))
    raise ValueError(f"a value is nested deeper than {_DEEPEST} levels.")


def _lists_of_scalars(values: list[object]) -> pa.Array | None:
    """Returns a column of lists of floats; None if the values are anything else.

    This is what Arrow would infer, without looking at every value first to infer it.
    """
    first = next((value for value in values if value is not None), None)
    if type(first) is not list:
        return None
    item = _ITEMS.get(type(next((item for item in first if item is not None), None)))
    if item is None:
        return None
    try:
        return pa.array(values, pa.list_(item))
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _items(containers: Iterable[Any]) -> Iterator[object]:
    return chain.from_iterable(c.values() if type(c) is dict else c for c in containers)


def table_of_columns(columns: Mapping[object, object]) -> pa.Table:
    """Returns columns of values as a table.

    Raises:
        ValueError: a column cannot be read, or they differ in length.
    """
    return pa.table([column_of_values(name, values) for name, values in columns.items()], names=_names(columns))


def table_of_rows(rows: Iterable[Any]) -> pa.Table:
    """Returns rows, each a mapping, as a table; what a row lacks of the other rows' columns is null there.

    Raises:
        ValueError: a row is not a mapping, or a column cannot be read.
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
    for index, row in enumerate(listed):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {index} is {type(row).__name__} {shown(row)}, not a dict of column name to value.")
    names = list(dict.fromkeys(name for row in listed for name in row))
    return table_of_columns({name: [row.get(name) for row in listed] for name in names})


def _names(columns: Mapping[Any, object]) -> list[str]:
    for name in columns:
        if not isinstance(name, str):
            raise ValueError(f"the column name {shown(name)} is {type(name).__name__}, not text.")
    return list(columns)
