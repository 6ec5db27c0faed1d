"""What the function of a transformation returned, checked, as an Arrow table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from feast_assets.definitions.transformation import TransformationMode
from feast_assets.errors import SourceError, TransformationError
from feast_assets.types.arrow import cast_column
from feast_assets.types.exact_keys import cast_key_column
from feast_assets.types.feast_type import FeastType, UnixTimestamp
from feast_assets.types.names import repeated_names


def columns_of(result: object, mode: TransformationMode, label: str) -> Mapping[str, object]:
    """Returns the columns of what a function of a mode returned.

    Args:
        label: names the transformation in messages.

    Raises:
        TransformationError: it is nothing that such a function may return, or has two columns of one name.
    """
    if isinstance(result, pa.Table):
        check_unique(result.column_names, label)
        return dict(zip(result.column_names, result.columns, strict=True))
    if mode is TransformationMode.PYTHON:
        if not isinstance(result, Mapping):
            raise TransformationError(
                f"{label} must return a dict of column name to list of values, not {type(result).__name__}."
            )
        return {str(name): values for name, values in result.items()}
    import pandas as pd

    if not isinstance(result, pd.DataFrame):
        raise TransformationError(f"{label} must return a pandas DataFrame, not {type(result).__name__}.")
    check_unique([str(name) for name in result.columns], label)
    return {str(name): result[name] for name in result.columns}


def result_table(
    columns: Mapping[str, object], declared: Mapping[str, FeastType], keys: Collection[str], label: str
) -> pa.Table:
    """Returns columns as a table; those that are declared in their canonical types.

    A column that is not declared may hold anything; it is left out where Arrow has no type for it.

    Args:
        columns: by name.
        declared: types by name, of join keys, features and times.
        keys: the names of the join keys, which are read without loss or not at all.
        label: names the transformation in messages.

    Raises:
        TransformationError: a value is not of the declared type, or columns have different lengths.
    """
    arrays = {}
    for name, values in columns.items():
        if name in declared:
            cast = cast_key_column if name in keys else cast_column
            arrays[name] = _declared_column(values, declared[name], f"{label}: column {name!r}", cast)
            continue
        with contextlib.suppress(pa.ArrowException, TypeError, ValueError):
            arrays[name] = pa.array(values)
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise TransformationError(f"{label} returned columns of different lengths: {lengths}.")
    return pa.table(arrays)


def check_unique(names: Sequence[str], label: str) -> None:
    """Raises TransformationError where a result has two columns of one name."""
    repeated = repeated_names(names)
    if repeated:
        raise TransformationError(f"{label} returns two columns named {repeated[0]!r}.")


def _declared_column(values: Any, dtype: FeastType, label: str, cast: Callable[..., object]) -> Any:
    if dtype == UnixTimestamp and (isinstance(values, list) or str(getattr(values, "dtype", "")) == "object"):
        kinds = {v.tzinfo is None for v in values if isinstance(v, datetime)}
        if len(kinds) > 1:
            raise TransformationError(f"{label} mixes times with a zone and without. Give all of them a zone, or none.")
    try:
        return cast(values, dtype, subject=label)
    except SourceError as error:
        raise TransformationError(str(error)) from error
