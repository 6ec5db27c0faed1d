"""A digest of rows by which a repeated push is recognised."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_DIGEST_BYTES = 16


def digest_of(*parts: str) -> str:
    """Returns a digest of texts in their order, as letters and digits."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        _feed_sized(digest, part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def rows_digest(rows: pa.Table) -> str:
    """Returns a digest of rows, in their order, by their column's names and values, as letters and digits.

    The same values give the same digest in any order of columns, however Arrow keeps them in memory, and for integers,
    floating point numbers and texts of any width. Times count to the microsecond, or to the nanosecond where they have
    such; a time without a zone is UTC.
    """
    digest = hashlib.blake2b(b"%d" % rows.num_rows, digest_size=_DIGEST_BYTES)
    for name in sorted(rows.column_names):
        _feed_sized(digest, name.encode("utf-8", "surrogatepass"))
        for part in _parts(rows.column(name)):
            _feed_sized(digest, part)
    return digest.hexdigest()


def _parts(column: pa.ChunkedArray) -> list[object]:
    import pyarrow as pa

    plain = _widened(column)
    return _bytes_of(plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain)


def _widened(column: Any) -> object:
    """Returns a column, chunked or not, in the one type that stands for all types of its kind."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _widened(column.cast(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _widened(column.cast(kind.value_type))
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_boolean(kind):
        return column.cast(pa.uint8())
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp(kind.unit, "UTC")) if kind.tz is None else column
        try:
            return column.cast(pa.timestamp("us", "UTC"))
        except pa.ArrowInvalid:
            return column.cast(pa.timestamp(kind.unit, "UTC"))
    if _is_text(kind):
        return column.cast(pa.large_binary())
    return column


def _bytes_of(array: pa.Array) -> list[object]:
    """Returns what tells an array from every other of its type, as things that have bytes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from feast_assets.types.arrow_values import fixed_values, null_flags

    parts: list[object] = [null_flags(array).tobytes()]
    kind = array.type
    if array.null_count == len(array):
        return parts
    if pa.types.is_large_binary(kind):
        filled = pc.fill_null(array, b"")
        _, starts, data = filled.buffers()
        offsets = np.frombuffer(starts, "<i8")[filled.offset : filled.offset + len(filled) + 1]
        content = b"" if data is None else memoryview(data)[offsets[0] : offsets[-1]]
        return [*parts, np.diff(offsets).tobytes(), content]
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        children = [_parts(child) for child in array.flatten()]
        return [*parts, *(p for name, child in zip(names, children, strict=True) for p in (name.encode(), *child))]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = fixed_values(pc.list_value_length(array).cast(pa.int64()), "<i8")
        return [*parts, lengths.tobytes(), *_parts(array.flatten())]
    if pa.types.is_primitive(kind) and kind.bit_width in (8, 32, 64):
        return [*parts, str(kind).encode(), fixed_values(array, f"<u{kind.bit_width // 8}").tobytes()]
    # Decimals, maps and other kinds that pushes seldom hold.
    return [*parts, str(kind).encode(), repr(array.to_pylist()).encode("utf-8", "surrogatepass")]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    is_any = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(is_kind(kind) for is_kind in is_any)


def _feed_sized(digest: Any, part: Any) -> None:
    # The length first, so that parts cannot run into each other.
    digest.update(b"%d:" % len(part))
    digest.update(part)
