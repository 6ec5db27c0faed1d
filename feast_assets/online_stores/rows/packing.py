"""Joining Arrow columns into one byte string per row, without a Python loop per value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.types.arrow_values import fixed_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


def binary_of_records(records: NDArray[Any]) -> pa.Array:
    """Returns n fixed-width numpy records as n binary values."""
    width = records.dtype.itemsize
    offsets = np.arange(len(records) + 1, dtype=np.int64) * width
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(records).view(np.uint8))]
    return pa.Array.from_buffers(pa.large_binary(), len(records), buffers)


def binary_of_slices(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> pa.Array:
    """Returns n binary values, value i being ``data[offsets[i]:offsets[i + 1]]``."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


NO_BYTES = binary_of_slices(np.zeros(2, np.int64), np.empty(0, np.uint8))[0]
"""An empty large-binary value."""


def binary_lengths(column: pa.Array) -> NDArray[np.int64]:
    """Returns the length in bytes of each value of a binary column without nulls."""
    return fixed_values(pc.binary_length(column).cast(pa.int64()), "<i8")


def joined_rows(parts: Sequence[pa.Array]) -> list[bytes]:
    """Returns, for each row, the bytes of its large-binary parts one after another."""
    if len(parts) == 1:
        return split(parts[0])
    return split(pc.binary_join_element_wise(*parts, NO_BYTES))


def split(column: pa.Array) -> list[bytes]:
    """Returns the values of a large-binary column without nulls."""
    if len(column) == 0:
        return []
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + len(column) + 1].tolist()
    # bytes slices faster than any Arrow buffer.
    data = b"" if data_buffer is None else data_buffer.to_pybytes()
    return [data[start:end] for start, end in pairwise(offsets)]


def split_records(records: NDArray[Any]) -> list[bytes]:
    """Returns n fixed-width numpy records as n byte strings."""
    values: list[bytes] = np.ascontiguousarray(records).view(f"V{records.dtype.itemsize}").tolist()
    return values
