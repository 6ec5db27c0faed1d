"""Fixed-width Arrow columns as numpy arrays and back, over the same memory.

pyarrow's own ``pa.array``, ``pa.scalar`` and ``to_numpy`` load pandas, to know its objects when they see them. That
takes a quarter of a second, longer than materializing a hundred thousand rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fixed_values(column: pa.Array, code: str) -> NDArray[Any]:
    """Returns the values of a column, 0 where they are null.

    Args:
        code: the numpy type of what Arrow keeps, of that very width; so not for booleans, which are bits there.
    """
    data = column.buffers()[1]
    if data is None:
        return np.zeros(len(column), code)
    values = np.frombuffer(data, code)[column.offset : column.offset + len(column)]
    # What Arrow keeps under a null is arbitrary.
    return np.where(null_flags(column), np.zeros(1, code), values) if column.null_count else values


def flags(column: pa.Array) -> NDArray[np.bool_]:
    """Returns the values of a boolean column without nulls."""
    return fixed_values(column.cast(pa.uint8()), "|u1").view(np.bool_)


def null_flags(column: pa.Array) -> NDArray[np.bool_]:
    """Returns for each value of a column whether it is null."""
    return flags(column.is_null())


def int64_array(values: NDArray[np.int64]) -> pa.Array:
    """Returns numbers as an Arrow column without nulls."""
    buffer = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, buffer])
