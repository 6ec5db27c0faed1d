"""Value types to and from Python values.

What Python holds: ``bytes``, ``str``, ``bool``, ``int``, ``float``; aware UTC ``datetime`` for UnixTimestamp, and in
its own zone for ZonedTimestamp; ``dict`` for Map, ScalarMap and Struct; the parsed value for Json; ``uuid.UUID``;
``decimal.Decimal``; ``list`` for Array; ``set`` for Set, or ``list`` where the items do not hash. Null is None.
"""

from __future__ import annotations

import decimal
import json
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.errors import SourceError, reason_of, shown
from feast_assets.types.feast_type import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)
from feast_assets.types.scalars import (
    from_microseconds,
    from_scalar_map_text,
    from_zoned_text,
    json_value,
    to_decimal_text,
    to_json_text,
    to_map_text,
    to_microseconds,
    to_scalar_map_text,
    to_uuid_text,
    to_zoned_text,
)

if TYPE_CHECKING:
    import pyarrow as pa

Converter = Callable[[Any], object]

_FROM_CANONICAL: dict[FeastType, Converter] = {
    UnixTimestamp: from_microseconds,
    Json: json.loads,
    Map: json.loads,
    ScalarMap: from_scalar_map_text,
    Uuid: uuid.UUID,
    TimeUuid: uuid.UUID,
    Decimal: decimal.Decimal,
    ZonedTimestamp: from_zoned_text,
}


def converter(feast_type: FeastType) -> Converter | None:
    """Returns the function from one stored value to the Python value, or None where they are the same.

    A stored value is the canonical Arrow value as ``to_pylist`` gives it, except that timestamps are integers of UTC
    microseconds. The function is not called with None, but handles None inside collections.
    """
    if isinstance(feast_type, Struct):
        fields = [(name, _nullable(converter(item))) for name, item in feast_type.items]
        return lambda value: {name: convert(value[name]) for name, convert in fields}
    if isinstance(feast_type, (Array, Set)):
        inner = converter(feast_type.base_type)
        collect: Converter = set if isinstance(feast_type, Set) and _hashable(feast_type.base_type) else list
        if inner is None:
            return None if collect is list else collect
        each = _nullable(inner)
        return lambda value: collect([each(item) for item in value])
    return _FROM_CANONICAL.get(feast_type)


def is_mutable(feast_type: FeastType) -> bool:
    """Says whether the Python values of a type are mutable: lists, sets, dicts, and parsed JSON."""
    return isinstance(feast_type, (Array, Set, Struct)) or feast_type in (Json, Map, ScalarMap)


def _nullable(convert: Converter | None) -> Converter:
    if convert is None:
        return lambda value: value
    return lambda value: None if value is None else convert(value)


def _hashable(feast_type: FeastType) -> bool:
    return not is_mutable(feast_type)


def to_python_values(array: pa.Array, feast_type: FeastType) -> list[object]:
    """Returns the Python values of a canonical Arrow column (array or chunked array); nulls are None."""
    from feast_assets.types.storage import to_storage

    values: list[object] = to_storage(array, feast_type).to_pylist()
    convert = converter(feast_type)
    if convert is None:
        return values
    return [None if value is None else convert(value) for value in values]


def to_arrow_column(values: Sequence[object], feast_type: FeastType, subject: str) -> pa.Array:
    """Returns Python values as a canonical Arrow column.

    None, pandas' ``NA`` and ``NaT``, and NaN where the type is not a float, are null. Text is read as JSON for Map,
    Struct and collections, and as ISO 8601 for timestamps; integers as epoch seconds for timestamps.

    Args:
        values: a list, tuple, numpy array or pandas series.
        feast_type: the type of every value.
        subject: what the values are, for messages, such as ``"Push source 'trips', column 'fare'"``.

    Raises:
        SourceError: a value is not of this type.
    """
    import pyarrow as pa

    from feast_assets.types.arrow import cast_column, to_arrow_type
    from feast_assets.types.storage import storage_type

    try:
        arrow_type = to_arrow_type(feast_type)
    except ValueError as error:
        raise SourceError(f"{subject}: {error}") from error
    if (dtype := getattr(values, "dtype", None)) is not None and getattr(dtype, "kind", "O") in "biufM":
        return _combined(cast_column(pa.array(values, from_pandas=True), feast_type, subject=subject))
    if hasattr(values, "tolist"):
        values = values.tolist()
    items = list(values)
    read = _reader(feast_type)
    stored: list[object] = []
    for position, value in enumerate(items):
        try:
            stored.append(None if is_missing(value) and not _is_nan_of(value, feast_type) else read(value))
        except Exception as error:
            raise SourceError(
                f"{subject} should hold {feast_type} but row {position} holds {type(value).__name__} "
                f"{shown(value)}: {reason_of(error)}"
            ) from error
    try:
        return pa.array(stored, storage_type(feast_type)).cast(arrow_type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise SourceError(f"{subject} should hold {feast_type} but does not: {reason_of(error)}") from error


def is_missing(value: object) -> bool:
    """Says whether a value means null: None, NaN, pandas' ``NA`` or ``NaT``."""
    if value is None:
        return True
    if isinstance(value, float):
        return value != value
    if (kind := _numpy_kind(value)) != "":
        return kind in "fmM" and bool(value != value)
    return type(value).__name__ in ("NAType", "NaTType")


def _is_nan_of(value: object, feast_type: FeastType) -> bool:
    return feast_type in (Float32, Float64) and (isinstance(value, float) or _numpy_kind(value) == "f")


def _numpy_kind(value: object) -> str:
    """Returns numpy's letter for the kind of a numpy scalar (or array without dimensions); "" for other values."""
    return value.dtype.kind if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 else ""


def _combined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


_MOST_DIGITS = 20


def _read_int(value: object) -> int:
    if isinstance(value, decimal.Decimal) and value.is_finite() and value.adjusted() > _MOST_DIGITS:
        raise ValueError("it does not fit 64 bits.")  # making an integer of it might take for ever
    if isinstance(value, bool) or (hasattr(value, "dtype") and value.dtype.kind == "b"):
        raise TypeError("a Bool is not an integer.")
    if isinstance(value, (float, decimal.Decimal)):
        if value != int(value):
            raise ValueError("it is not a whole number.")
        return int(value)
    if not hasattr(value, "__index__"):
        raise TypeError("it is not a whole number.")
    return int(value.__index__())


def _read_int32(value: object) -> int:
    number = _read_int(value)
    if not -(2**31) <= number < 2**31:
        raise ValueError("it does not fit 32 bits.")
    return number


def _read_int64(value: object) -> int:
    number = _read_int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("it does not fit 64 bits.")
    return number


def _read_float(value: Any) -> float:
    if isinstance(value, float):
        return value
    if isinstance(value, (str, bytes, bool)):
        raise TypeError("it is not a number.")
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        raise ValueError("a float cannot hold this integer exactly.")
    return number


def _read_float32(value: object) -> float:
    import struct

    number = _read_float(value)
    struct.pack("<f", number)  # OverflowError where a 32 bit float would turn it into infinity
    return number


def _read_bool(value: object) -> bool:
    if isinstance(value, bool) or (hasattr(value, "dtype") and value.dtype.kind == "b"):
        return bool(value)
    if value in (0, 1) and not isinstance(value, str):
        return bool(value)
    raise TypeError("only True, False, 0 and 1 are Bool.")


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("it is not a string.")
    return value


def _read_bytes(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    raise TypeError("it is not bytes.")


def _read_timestamp(value: Any) -> int:
    if _numpy_kind(value) == "M":
        moment = value.astype("datetime64[us]")
        # A unit that is coarser than microseconds reaches further, and numpy does not say when it is too far.
        if str(value.dtype)[11:] not in ("ns]", "ps]", "fs]", "as]") and moment.astype(value.dtype) != value:
            raise ValueError("it lies outside the years 1 to 9999.")
        number = int(moment.astype("int64"))
        from_microseconds(number)
        return number
    number = to_microseconds(value.item() if hasattr(value, "dtype") else value)
    from_microseconds(number)
    return number


def _read_json(value: object) -> str:
    if isinstance(value, str):
        json_value(value)
        return value
    return to_json_text(value)


_READERS: dict[FeastType, Converter] = {
    Bytes: _read_bytes,
    PdfBytes: _read_bytes,
    ImageBytes: _read_bytes,
    String: _read_text,
    Bool: _read_bool,
    Int32: _read_int32,
    Int64: _read_int64,
    Float32: _read_float32,
    Float64: _read_float,
    UnixTimestamp: _read_timestamp,
    Json: _read_json,
    Map: to_map_text,
    ScalarMap: to_scalar_map_text,
    Uuid: to_uuid_text,
    TimeUuid: to_uuid_text,
    Decimal: to_decimal_text,
    ZonedTimestamp: to_zoned_text,
}


def _reader(feast_type: FeastType) -> Converter:
    if isinstance(feast_type, (Array, Set)):
        return _collection_reader(feast_type)
    if isinstance(feast_type, Struct):
        return _struct_reader(feast_type)
    return _READERS[feast_type]


def _collection_reader(feast_type: Array | Set) -> Converter:
    base = feast_type.base_type
    read_item = _reader(base)

    def read(value: object) -> list[object]:
        if isinstance(value, str):
            value = json_value(value)
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, (bytes, dict)) or not hasattr(value, "__iter__"):
            raise TypeError("it is not a list.")
        items = [None if is_missing(v) and not _is_nan_of(v, base) else read_item(v) for v in value]
        if not isinstance(feast_type, Set):
            return items
        kept: dict[object, object] = {}
        for item in items:
            kept.setdefault(json.dumps(item) if isinstance(item, (list, dict)) else item, item)
        if isinstance(value, (set, frozenset)):
            # A Python set comes in another order in every process; equal sets must give equal columns.
            return [kept[key] for key in sorted(kept, key=lambda key: (key is None, 0 if key is None else key))]
        return list(kept.values())

    return read


def _struct_reader(feast_type: Struct) -> Converter:
    readers = {name: (_reader(item), item) for name, item in feast_type.items}

    def read(value: object) -> dict[str, object]:
        if isinstance(value, str):
            value = json_value(value)
        if not isinstance(value, dict):
            raise TypeError("it is not a dict.")
        for name in value:
            if name not in readers:
                raise ValueError(f"the struct has no field {name!r}; it has {', '.join(readers)}.")
        result = {}
        for name, (read_item, item) in readers.items():
            field = value.get(name)
            result[name] = None if is_missing(field) and not _is_nan_of(field, item) else read_item(field)
        return result

    return read
