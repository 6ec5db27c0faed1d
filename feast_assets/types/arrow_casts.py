"""One Arrow array to the canonical Arrow type of a value type, a function per type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import suggest
from feast_assets.types.canonical import TIMESTAMP, to_arrow_type
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
    PrimitiveFeastType,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UUID_TEXT = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_DECIMAL_TEXT = r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|NaN|sNaN|Infinity)$"

# The microseconds of 0001-01-01 and of the end of 9999: what a Python datetime can say.
_FIRST_MICROSECOND = -62_135_596_800_000_000
_LAST_MICROSECOND = 253_402_300_799_999_999


class CastRefused(Exception):
    """A column that cannot be the wanted type; the message says why."""


def is_text(t: pa.DataType) -> bool:
    return bool(pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t))


def is_binary(t: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_binary(t) or is_.is_large_binary(t) or is_.is_binary_view(t) or is_.is_fixed_size_binary(t))


def is_list(t: pa.DataType) -> bool:
    is_ = pa.types
    return bool(
        is_.is_list(t)
        or is_.is_large_list(t)
        or is_.is_fixed_size_list(t)
        or is_.is_list_view(t)
        or is_.is_large_list_view(t)
    )


def cast_array(array: pa.Array, feast_type: FeastType) -> pa.Array:
    target_type = to_arrow_type(feast_type)
    given_type = array.type
    if pa.types.is_null(given_type):
        return pa.nulls(len(array), target_type)
    if pa.types.is_dictionary(given_type):
        return cast_array(array.dictionary_decode(), feast_type)
    if isinstance(given_type, pa.BaseExtensionType):
        if given_type.extension_name == "arrow.uuid" and feast_type in (Uuid, TimeUuid, String):
            return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.string())
        return cast_array(array.storage, feast_type)
    if isinstance(feast_type, (Array, Set)):
        return _cast_list(array, feast_type)
    if isinstance(feast_type, Struct):
        return _cast_struct(array, feast_type)
    if pa.types.is_floating(given_type) and not pa.types.is_floating(target_type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, given_type), array)
    assert isinstance(feast_type, PrimitiveFeastType)
    return _PRIMITIVES[feast_type](array, target_type)


def _refuse(hint: str = "") -> CastRefused:
    return CastRefused(hint or "these are different kinds of values; convert the column.")


def _cast_number(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    given_type = array.type
    is_ = pa.types
    if is_.is_floating(given_type) and is_.is_floating(target_type):
        result = array.cast(target_type)
        # Rounding is what a narrower float means; turning a number into infinity is not.
        if (
            target_type.bit_width < given_type.bit_width
            and pc.any(pc.and_(pc.is_inf(result), pc.invert(pc.is_inf(array)))).as_py()
        ):
            raise _refuse("a value is beyond the range of 32 bit floats.")
        return result
    if is_.is_integer(given_type) or is_.is_floating(given_type):
        return array.cast(target_type)
    if is_.is_decimal(given_type) and (is_.is_floating(target_type) or given_type.scale <= 0):
        return array.cast(target_type)
    if is_.is_decimal(given_type):
        return array.cast(pa.decimal256(76, given_type.scale)).cast(pa.decimal256(76, 0)).cast(target_type)
    raise _refuse()


def _cast_bool(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(array.type):
        return array
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        if pc.all(pc.or_(pc.equal(array, 0), pc.equal(array, 1))).as_py() is False:
            raise _refuse("only the numbers 0 and 1 can be read as Bool.")
        return array.cast(target_type)
    raise _refuse()


def _cast_text(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    if is_text(array.type) or is_binary(array.type):
        if pa.types.is_fixed_size_binary(array.type):
            array = array.cast(pa.binary())
        return array.cast(target_type)
    raise _refuse()


def _cast_timestamp(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    given_type = array.type
    is_ = pa.types
    if is_.is_timestamp(given_type):
        result = array.cast(target_type, safe=given_type.unit != "ns")
    elif is_.is_date(given_type):
        result = array.cast(pa.timestamp("ms")).cast(target_type)
    elif is_.is_integer(given_type):
        result = array.cast(pa.int64()).cast(pa.timestamp("s", tz="UTC")).cast(target_type)
    elif is_.is_floating(given_type):
        micros = pc.round(pc.multiply(array.cast(pa.float64()), 1_000_000.0))
        result = micros.cast(pa.int64()).cast(target_type)
    elif is_text(given_type):
        result = _timestamps_of_text(array.cast(pa.string()))
    else:
        raise _refuse()
    bounds = pc.min_max(result.cast(pa.int64())).as_py()
    if bounds["min"] is not None and not (bounds["min"] >= _FIRST_MICROSECOND and bounds["max"] <= _LAST_MICROSECOND):
        raise _refuse("a timestamp lies outside the years 1 to 9999.")
    return result


def _timestamps_of_text(array: pa.Array) -> pa.Array:
    from feast_assets.types.scalars import to_microseconds

    for arrow_type in (TIMESTAMP, pa.timestamp("us")):
        try:
            return array.cast(arrow_type).cast(TIMESTAMP)
        except pa.ArrowInvalid:
            continue
    return _per_value(array, to_microseconds, pa.int64()).cast(TIMESTAMP)


def _cast_uuid(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    from feast_assets.types.scalars import to_uuid_text

    if is_text(array.type):
        array = array.cast(target_type)
        if pc.all(pc.match_substring_regex(array, _UUID_TEXT)).as_py() is not False:
            return array
    elif not is_binary(array.type):
        raise _refuse()
    return _per_value(array, to_uuid_text, target_type)


def _cast_decimal(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    given_type = array.type
    if pa.types.is_decimal(given_type) or pa.types.is_integer(given_type):
        return array.cast(target_type)
    if is_text(given_type):
        array = array.cast(target_type)
        if pc.all(pc.match_substring_regex(array, _DECIMAL_TEXT)).as_py() is False:
            raise _refuse("a text is not a decimal number.")
        return array
    if pa.types.is_floating(given_type):
        raise _refuse("binary floats are not exact decimals; cast to a decimal in the source's query.")
    raise _refuse()


def _cast_zoned(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    from feast_assets.types.scalars import to_zoned_text

    if is_text(array.type):
        array = array.cast(target_type)
    elif pa.types.is_timestamp(array.type):
        # Beyond microseconds a Python datetime cannot follow.
        array = array.cast(pa.timestamp("us", tz=array.type.tz or "UTC"), safe=False)
    else:
        raise _refuse()
    return _per_value(array, to_zoned_text, target_type)


def _cast_json(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    from feast_assets.types.scalars import checked_json_text, to_json_text

    if is_text(array.type) or is_binary(array.type):
        return _per_value(_cast_text(array, target_type), checked_json_text, target_type)
    return _per_value(_pairs_as_dicts(array), to_json_text, target_type)


def _cast_map(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    from feast_assets.types.scalars import to_map_text

    if is_text(array.type):
        return _per_value(array, to_map_text, target_type)
    if pa.types.is_map(array.type) or pa.types.is_struct(array.type):
        return _per_value(_pairs_as_dicts(array), to_map_text, target_type)
    raise _refuse()


def _cast_scalar_map(array: pa.Array, target_type: pa.DataType) -> pa.Array:
    from feast_assets.types.scalars import to_scalar_map_text

    if is_text(array.type):
        return _per_value(array, to_scalar_map_text, target_type)
    if pa.types.is_map(array.type) or pa.types.is_struct(array.type):
        return _per_value(_pairs_as_dicts(array), to_scalar_map_text, target_type)
    raise _refuse()


def _pairs_as_dicts(array: pa.Array) -> list[object]:
    try:
        values: list[object] = array.to_pylist(maps_as_pydicts="strict")
    except (KeyError, pa.ArrowException) as error:
        raise _refuse(f"a map holds a key twice ({error}).") from error
    return values


def _per_value(values: Any, convert: Callable[[Any], object], target_type: pa.DataType) -> pa.Array:
    items: Sequence[object] = values if isinstance(values, list) else values.to_pylist()
    return pa.array([None if v is None else convert(v) for v in items], target_type)


def _cast_list(array: pa.Array, feast_type: Array | Set) -> pa.Array:
    target_type = to_arrow_type(feast_type)
    if is_text(array.type):
        from feast_assets.types.python import to_arrow_column
        from feast_assets.types.scalars import json_value

        return to_arrow_column(
            [None if v is None else json_value(v) for v in array.to_pylist()], feast_type, "JSON text"
        )
    if not is_list(array.type):
        raise _refuse()
    lengths = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0)
    items = cast_array(array.flatten(), feast_type.base_type)
    result = _list_array(lengths.to_numpy(zero_copy_only=False), items, array, target_type)
    if isinstance(feast_type, Set) and _has_repeats(result, feast_type):
        distinct = [None if v is None else _distinct(v) for v in result.to_pylist()]
        return pa.array(distinct, target_type)
    return result


def _list_array(lengths: NDArray[Any], items: pa.Array, like: pa.Array, target_type: pa.DataType) -> pa.Array:
    import numpy as np

    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise _refuse("one chunk holds more than 2^31 items; read it in smaller batches.")
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), items, type=target_type, mask=like.is_null() if like.null_count else None
    )


def _has_repeats(lists: pa.Array, feast_type: Set) -> bool:
    if not isinstance(feast_type.base_type, PrimitiveFeastType):
        return True
    pairs = pa.table({"row": pc.list_parent_indices(lists), "item": lists.flatten()})
    return bool(pairs.group_by(["row", "item"]).aggregate([]).num_rows < pairs.num_rows)


def _distinct(items: list[object]) -> list[object]:
    try:
        return list(dict.fromkeys(items))
    except TypeError:
        kept: list[object] = []
        for item in items:
            if item not in kept:
                kept.append(item)
        return kept


def _cast_struct(array: pa.Array, feast_type: Struct) -> pa.Array:
    target_type = to_arrow_type(feast_type)
    if is_text(array.type) or pa.types.is_map(array.type):
        from feast_assets.types.python import to_arrow_column
        from feast_assets.types.scalars import json_value

        if pa.types.is_map(array.type):
            return to_arrow_column(_pairs_as_dicts(array), feast_type, "map")
        return to_arrow_column(
            [None if v is None else json_value(v) for v in array.to_pylist()], feast_type, "JSON text"
        )
    if not pa.types.is_struct(array.type):
        raise _refuse()
    given_fields = [field.name for field in array.type]
    for name in given_fields:
        if name not in feast_type.fields:
            raise _refuse(f"the struct's field {name!r} is not declared. {suggest(name, feast_type.fields)}")
    children = array.flatten()
    columns = [
        cast_array(children[given_fields.index(name)], item)
        if name in given_fields
        else pa.nulls(len(array), to_arrow_type(item))
        for name, item in feast_type.items
    ]
    return pa.StructArray.from_arrays(
        columns, fields=list(target_type), mask=array.is_null() if array.null_count else None
    )


_PRIMITIVES: dict[FeastType, Callable[[pa.Array, pa.DataType], pa.Array]] = {
    Bytes: _cast_text,
    PdfBytes: _cast_text,
    ImageBytes: _cast_text,
    String: _cast_text,
    Bool: _cast_bool,
    Int32: _cast_number,
    Int64: _cast_number,
    Float32: _cast_number,
    Float64: _cast_number,
    UnixTimestamp: _cast_timestamp,
    Json: _cast_json,
    Map: _cast_map,
    ScalarMap: _cast_scalar_map,
    Uuid: _cast_uuid,
    TimeUuid: _cast_uuid,
    Decimal: _cast_decimal,
    ZonedTimestamp: _cast_zoned,
}
