"""Arrow columns in pandas, without a loss of digits, and with types that do not depend on which rows are there.

Arrow's own conversion makes floats of integers as soon as one of them is missing, so that those beyond 2^53 lose their
last digits, and a column's type depends on the other rows. Here:

=========================  ========================================================================================
column                     pandas
=========================  ========================================================================================
integers, booleans         pandas' nullable types (``Int64``, ``Int32``, ``boolean``, ...); missing is ``pandas.NA``
floats                     numpy's; missing is NaN
timestamps                 ``datetime64[us, UTC]``; missing is NaT
text, bytes                text as pandas has it, bytes as objects
lists                      a numpy array a row; of Python values where one of its integers or booleans is missing
structs, lists of lists    Python values
=========================  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def exact_column(column: pa.Array | pa.ChunkedArray) -> pd.Series[Any] | pd.api.extensions.ExtensionArray:
    """Returns an Arrow column (array or chunked array) as the table above says: a series, or an array of pandas."""
    import pandas as pd

    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return _masked(column)
    cells = _cells(column)
    return column.to_pandas() if cells is None else pd.Series(cells, dtype=object)


def exact_frame(table: pa.Table) -> pd.DataFrame:
    """Returns a table with each column as the table above says."""
    import pandas as pd

    exact: dict[str, pd.Series[Any] | pd.api.extensions.ExtensionArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            exact[name] = _masked(column)
        elif (cells := _cells(column)) is not None:
            exact[name] = pd.Series(cells, dtype=object)
    if not exact:
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
        return frame
    others = table.select([name for name in table.column_names if name not in exact]).replace_schema_metadata(None)
    rest = others.to_pandas()
    columns = {name: exact[name] if name in exact else rest[name] for name in table.column_names}
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def _masked(column: pa.Array | pa.ChunkedArray) -> pd.arrays.BooleanArray | pd.arrays.IntegerArray:
    """Returns integers or booleans in pandas' nullable array, which owns its memory, so that users may write to it."""
    import pandas as pd

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows, offset = len(array), array.offset
    validity, data = array.buffers()
    missing = _bits(validity, offset, rows) == 0 if array.null_count else np.zeros(rows, np.bool_)
    if pa.types.is_boolean(array.type):
        return pd.arrays.BooleanArray(_bits(data, offset, rows).view(np.bool_), missing)
    dtype = np.dtype(str(array.type))
    values = np.frombuffer(data, dtype)[offset : offset + rows].copy() if data is not None else np.zeros(rows, dtype)
    return pd.arrays.IntegerArray(values, missing)


def _bits(buffer: pa.Buffer | None, offset: int, count: int) -> NDArray[np.uint8]:
    if buffer is None:
        return np.zeros(count, np.uint8)
    return np.unpackbits(np.frombuffer(buffer, np.uint8), count=offset + count, bitorder="little")[offset:]


def frame_of(table: pa.Table, features: Collection[str]) -> pd.DataFrame:
    """Returns entity rows with their features: features as the table above says, the rest as it was handed in.

    The types of the given frame that only pandas has (nullable and categorical columns) are restored. Integers of the
    entity rows are numpy's if none is missing.

    Args:
        features: names of columns that are features.
    """
    import pandas as pd

    given = table.select([name for name in table.column_names if name not in features])
    read_features = table.select([name for name in table.column_names if name in features])
    frame: pd.DataFrame = given.to_pandas()
    for name, column in zip(given.column_names, given.columns, strict=True):
        missing = column.null_count and pa.types.is_integer(column.type)
        if missing and not pd.api.types.is_extension_array_dtype(frame[name].dtype):
            frame[name] = _masked(column)
        elif (cells := _cells(column)) is not None:
            frame[name] = pd.Series(cells, index=frame.index, dtype=object)
    if not read_features.num_columns:
        return frame
    added = exact_frame(read_features).set_axis(frame.index)
    columns = {name: added[name] if name in features else frame[name] for name in table.column_names}
    return pd.DataFrame(columns, index=frame.index, copy=False)


def _cells(column: pa.Array | pa.ChunkedArray) -> list[object] | None:
    """Returns the cells of a column that Arrow would convert with a loss; None if it would not."""
    if not pa.types.is_nested(column.type):
        return None
    if not _is_list(column.type) or pa.types.is_nested(column.type.value_type):
        values: list[object] | None = column.to_pylist() if _holds_exact(column.type) else None
        return values
    item = column.type.value_type
    if not (pa.types.is_integer(item) or pa.types.is_boolean(item)) or not _has_missing_items(column):
        return None
    dtype = np.dtype(str(item))
    return [
        None if cell is None else np.array(cell, dtype=object if None in cell else dtype) for cell in column.to_pylist()
    ]


def _holds_exact(arrow_type: pa.DataType) -> bool:
    """Tells whether integers or booleans are somewhere in a nested type."""
    if not pa.types.is_nested(arrow_type):
        return bool(pa.types.is_integer(arrow_type) or pa.types.is_boolean(arrow_type))
    return any(_holds_exact(arrow_type.field(i).type) for i in range(arrow_type.num_fields))


def _has_missing_items(column: pa.Array | pa.ChunkedArray) -> bool:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return any(chunk.flatten().null_count for chunk in chunks)


def _is_list(arrow_type: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_list(arrow_type) or is_.is_large_list(arrow_type) or is_.is_fixed_size_list(arrow_type))
