"""Rows that a caller hands in, in any of the forms that are taken, as an Arrow table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from feast_assets.compute.few_rows import Columns, few_columns
from feast_assets.definitions.spec import FIRST_MICROS, LAST_MICROS
from feast_assets.errors import DataFrameSerializationError, InputError, reason_of, shown
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    PdfBytes,
    String,
    UnixTimestamp,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.field import Field
    from feast_assets.definitions.view import BaseFeatureView

_INFERRED = frozenset((Bool, Bytes, Float32, Float64, ImageBytes, Int32, Int64, PdfBytes, String, UnixTimestamp))

_FORMS = "a pandas or Polars DataFrame, an Arrow table or record batch, a dict of columns, or a list of dicts"


class HandedInRows:
    """Rows as a caller handed them in, converted when they are needed.

    Args:
        rows: see `to_table`.
        call: names the call in errors.
        views: whose features the rows hold; of columns that are none, Arrow infers the types.
    """

    def __init__(self, rows: object, call: str, views: Sequence[BaseFeatureView] = ()):
        self._rows = rows
        self._views = views
        self._call = call

    @cached_property
    def few_columns(self) -> Columns | None:
        """The rows as columns of Python values; None unless they are few and simple."""
        return few_columns(self._rows)

    @cached_property
    def table(self) -> pa.Table:
        """The rows as an Arrow table; raises as `to_table` does."""
        types = inexact_types(feature for view in self._views for feature in view.row_fields)
        return to_table(self._rows, self._call, types)

    def __len__(self) -> int:
        few = self.few_columns
        return self.table.num_rows if few is None else len(next(iter(few.values())))


def inexact_types(features: Iterable[Field]) -> dict[str, FeastType]:
    """Returns the features whose types Arrow cannot infer from Python values, with their types.

    It would give each dict the keys of all others, and each zoned time the zone of the first, and takes no sets.
    """
    return {feature.name: feature.dtype for feature in features if not _is_inferred(feature.dtype)}


def _is_inferred(feast_type: FeastType) -> bool:
    return feast_type in _INFERRED or (isinstance(feast_type, Array) and feast_type.base_type in _INFERRED)


def to_table(rows: object, call: str, types: Mapping[str, FeastType] | None = None) -> pa.Table:
    """Returns rows as an Arrow table.

    Args:
        rows: a pandas or Polars DataFrame, an Arrow table or record batch, a dict of lists, or a list of dicts. A key
            that some of the dicts lack is null in their rows.
        call: names the call in errors.
        types: the types of columns that Arrow cannot infer from Python values; see `inexact_types`.

    Raises:
        DataFrameSerializationError: they are none of these, columns are of unequal length, of mixed types or of the
            same name, or there are no columns at all.
    """
    try:
        table = _converted(rows, types or {})
    except Exception as error:
        raise DataFrameSerializationError(f"{call}: the rows cannot be read as a table: {reason_of(error)}") from error
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise DataFrameSerializationError(
            f"{call}: the rows cannot be read as a table: there are columns of the same name: {shown(twice)}. Rename "
            "or remove one."
        )
    return table


def refuse_nulls(column: pa.ChunkedArray, name: str, call: str) -> None:
    """Refuses a column of join keys or event times that has nulls.

    Raises:
        InputError: says how many there are, and in which row the first is.
    """
    import pyarrow.compute as pc

    if column.null_count:
        first = pc.index(column.is_null(), True).as_py()
        count = f"{column.null_count} null{'s' if column.null_count > 1 else ''}"
        raise InputError(
            f"{call}: column {name!r} holds nulls ({count} in {len(column)} rows, the first in row {first}, counted "
            "from 0). Join keys and event times must be given: remove these rows, or fill in the values."
        )


def refuse_far_moments(column: pa.ChunkedArray, name: str, call: str) -> None:
    """Refuses a column of moments, if it is one, some of which no datetime holds: nobody could read these rows.

    Raises:
        InputError: says in which row the first is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(column.type) or column.type.unit == "ns":
        return  # Nanoseconds reach from 1677 to 2262.
    unit = {"s": 1_000_000, "ms": 1_000, "us": 1}[column.type.unit]
    first, last = FIRST_MICROS // unit, LAST_MICROS // unit
    numbers = column.cast(pa.timestamp(column.type.unit)).cast(pa.int64())
    ends = pc.min_max(numbers).as_py()
    if ends["min"] is not None and not first <= ends["min"] <= ends["max"] <= last:
        is_far = pc.or_(pc.less(numbers, first), pc.greater(numbers, last))
        raise InputError(
            f"{call}: column {name!r} holds a time outside the years 1 to 9999 in UTC (in row "
            f"{pc.index(is_far, True).as_py()}, counted from 0)."
        )


def _converted(rows: object, types: Mapping[str, FeastType]) -> pa.Table:
    import pyarrow as pa

    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, Mapping):
        return _from_columns(rows, types)
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes, bytearray, memoryview)):
        return _from_dicts(rows, types)
    if hasattr(rows, "__arrow_c_stream__") and not hasattr(rows, "iloc"):
        return pa.table(rows)
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _from_pandas(rows, types)
    if isinstance(rows, Iterator):
        raise TypeError(f"a {type(rows).__name__} can be read only once; hand in list(rows).")
    given = shown(rows) if isinstance(rows, (str, bytes, int, float, type(None))) else type(rows).__name__
    raise TypeError(f"hand in {_FORMS}, not {given}.")


def _column(name: str, values: Any, types: Mapping[str, FeastType]) -> Any:
    from feast_assets.types.given_tables import check_depth, column_of_values

    if name not in types or hasattr(values, "__arrow_array__") or hasattr(values, "combine_chunks"):
        return column_of_values(name, values)
    from feast_assets.types.python import to_arrow_column

    check_depth(values)
    return to_arrow_column(values, types[name], f"Column {shown(name)}")


def _from_columns(columns: Mapping[object, object], types: Mapping[str, FeastType]) -> pa.Table:
    import pyarrow as pa

    if not columns:
        raise ValueError("a dict without columns; hand in join keys, features and event times by their names.")
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, AbstractSet) or not isinstance(values, Iterable):
            raise TypeError(f"column {shown(name)} is {shown(values)}, not a list of values.")
        arrays[_column_name(name)] = _column(_column_name(name), values, types)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{shown(name)} has {length}" for name, length in lengths.items())
        raise ValueError(f"the columns are of unequal length: {listed}.")
    return pa.table(arrays)


def _from_dicts(rows: Sequence[Any], types: Mapping[str, FeastType]) -> pa.Table:
    from feast_assets.types.given_tables import table_of_rows

    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(f"a list must hold dicts, but row {i} is {shown(row)}.")
    if rows and not any(rows):
        raise ValueError("the dicts are empty; hand in join keys, features and event times by their names.")
    names = [_column_name(name) for name in dict.fromkeys(chain.from_iterable(rows))]
    if not types.keys().isdisjoint(names):
        return _from_columns({name: [row.get(name) for row in rows] for name in names}, types)
    return table_of_rows(rows)


def _column_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"column names are texts, not {shown(name)}.")
    return name


def _from_pandas(frame: Any, types: Mapping[str, FeastType]) -> pa.Table:
    """Returns a pandas DataFrame's columns; `pa.Table.from_pandas` also writes a description that takes longer."""
    import pyarrow as pa

    names = [str(name) for name in frame.columns]
    columns = [_column(name, column, types) for name, (_, column) in zip(names, frame.items(), strict=True)]
    return pa.table(columns, names=names)
