"""Canonical Arrow with timestamps as integers, the form in which values are encoded and converted to Python."""

from __future__ import annotations

import pyarrow as pa

from feast_assets.types.canonical import to_arrow_type
from feast_assets.types.feast_type import Array, FeastType, Set, Struct, UnixTimestamp


def storage_type(feast_type: FeastType) -> pa.DataType:
    """Returns the canonical Arrow type with int64 microseconds where it has timestamps."""
    if feast_type == UnixTimestamp:
        return pa.int64()
    if isinstance(feast_type, (Array, Set)):
        return pa.list_(storage_type(feast_type.base_type))
    if isinstance(feast_type, Struct):
        return pa.struct([pa.field(name, storage_type(item)) for name, item in feast_type.items])
    return to_arrow_type(feast_type)


def to_storage(column: pa.Array | pa.ChunkedArray, feast_type: FeastType) -> pa.Array | pa.ChunkedArray:
    """Returns a canonical column (array or chunked array) with int64 microseconds where it has timestamps."""
    stored_type = storage_type(feast_type)
    return column if column.type == stored_type else column.cast(stored_type)
