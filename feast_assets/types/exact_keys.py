"""Join keys in canonical form, without loss: a rounded key would be the key of another entity.

`feast_assets.types.arrow.cast_column` takes some values that mean nearly the same: it cuts off nanoseconds, and
rounds epoch seconds with a fraction. For a join key, nearly the same is another entity, so such values are refused
here. Sources' columns are cast by the same rules in SQL (`feast_assets.offline_stores.duckdb.keys`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.errors import SourceError, shown
from feast_assets.types.feast_type import Bytes, FeastType, Int32, Int64, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

ISO_MOMENT = (
    r"^\d{4}-\d{2}-\d{2}([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?)?$"
)
"""The texts that are read as a UnixTimestamp key: ISO 8601 to the microsecond, UTC without an offset."""

_MOMENT = re.compile(ISO_MOMENT.replace("$", r"\Z"), re.ASCII)
_EXACT_INTEGERS_OF_DOUBLES = 2**53
_EXACT_INTEGERS_OF_FLOATS = {16: 2**11, 32: 2**24, 64: _EXACT_INTEGERS_OF_DOUBLES}  # by bits

_CORRECT = "Correct the rows, or declare the type that they have."


def exact_integers_of(floating: pa.DataType) -> int:
    """Returns the number below which each integer has a float of this Arrow type of its own."""
    return _EXACT_INTEGERS_OF_FLOATS[floating.bit_width]


def cast_key_column(
    column: pa.Array | pa.ChunkedArray | Sequence[object], feast_type: FeastType, *, subject: str
) -> pa.Array | pa.ChunkedArray:
    """Returns a column of join keys in the canonical Arrow type; nulls stay null.

    Takes what `feast_assets.types.arrow.cast_column` takes, but for values that it would round or cut off, and for
    floats so large that they may stand for several integers.

    Args:
        column: ``pa.Array`` or ``pa.ChunkedArray``, returned as the same kind; or any sequence of Python values,
            returned as ``pa.Array``.
        subject: what the column is, for messages.

    Raises:
        SourceError: the column does not hold such values, or not without loss.
    """
    import pyarrow as pa

    from feast_assets.types.arrow import cast_column

    if isinstance(column, pa.Array):
        _check_array(column, feast_type, subject)
    elif isinstance(column, pa.ChunkedArray):
        for chunk in column.chunks:
            _check_array(chunk, feast_type, subject)
    elif getattr(getattr(column, "dtype", None), "kind", "O") in "biufM":
        column = pa.array(column, from_pandas=True)
        return cast_key_column(column, feast_type, subject=subject)
    else:
        column = column.tolist() if hasattr(column, "tolist") else list(column)
        check_key_values(column, feast_type, subject)
    return cast_column(column, feast_type, subject=subject)


def check_key_values(values: Iterable[object], feast_type: FeastType, subject: str) -> None:
    """Raises SourceError for the first Python value that would be rounded or cut off as a join key of this type."""
    reason_of = _integer_loss if feast_type in (Int32, Int64) else _moment_loss if feast_type == UnixTimestamp else None
    if reason_of is None:
        return
    for row, value in enumerate(values):
        reason = reason_of(value)
        if reason:
            raise SourceError(
                f"{subject} should hold {feast_type} but row {row} holds {type(value).__name__} {shown(value)}: "
                f"{reason} {_CORRECT}"
            )


def _integer_loss(value: Any) -> str:
    dtype: Any = getattr(value, "dtype", None)
    if getattr(value, "ndim", 0):
        return ""  # It is no single value, which is another error.
    if getattr(dtype, "kind", "") == "f":
        limit = _EXACT_INTEGERS_OF_FLOATS.get(dtype.itemsize * 8, _EXACT_INTEGERS_OF_DOUBLES)
    elif isinstance(value, float):
        limit = _EXACT_INTEGERS_OF_DOUBLES
    else:
        return ""
    return _ROUNDED if abs(value) >= limit else ""


_ROUNDED = "from 2^53 on (2^24 for 32-bit floats) a float stands for several integers."
_FINER = "it is finer than a microsecond."
_FRACTION = "epoch seconds of a join key must be whole."
_NOT_ISO = "it is not an ISO 8601 time such as 2024-07-01T12:00:00Z, to the microsecond."


def _moment_loss(value: Any) -> str:
    if isinstance(value, str):
        return "" if _MOMENT.match(value) else _NOT_ISO
    if getattr(value, "ndim", 0):
        return ""  # It is no single value, which is another error.
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if isinstance(value, float) or kind == "f":
        return "" if value != value or value == value // 1 else _FRACTION
    if kind == "M":
        return _FINER if value == value and value.astype("datetime64[us]") != value else ""
    return _FINER if getattr(value, "nanosecond", 0) not in (0, None) and value == value else ""


def _check_array(array: pa.Array, feast_type: FeastType, subject: str) -> None:
    reason = _array_loss(array, feast_type)
    if reason:
        raise SourceError(f"{subject} should hold {feast_type} but holds {array.type}: {reason} {_CORRECT}")


def _array_loss(array: pa.Array, feast_type: FeastType) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    given_type = array.type
    is_ = pa.types
    if is_.is_dictionary(given_type):
        return _array_loss(array.dictionary_decode(), feast_type)
    if isinstance(given_type, pa.BaseExtensionType):
        if feast_type == Bytes and given_type.extension_name == "arrow.uuid":
            return "a UUID can be written as text or as 16 bytes, and it is not clear which is meant."
        return _array_loss(array.storage, feast_type)
    if is_.is_float16(given_type):
        return _array_loss(array.cast(pa.float32()), feast_type)
    if feast_type in (Int32, Int64):
        if is_.is_floating(given_type):
            largest = pc.max(pc.abs(array)).as_py()
            return _ROUNDED if largest is not None and largest >= exact_integers_of(given_type) else ""
        return ""
    if feast_type != UnixTimestamp:
        return ""
    if is_.is_timestamp(given_type) and given_type.unit == "ns":
        nanos = array.cast(pa.int64())
        differs = pc.any(pc.not_equal(pc.multiply(pc.divide(nanos, 1000), 1000), nanos)).as_py()
        return _FINER if differs else ""
    if is_.is_floating(given_type):
        numbers = array.filter(pc.is_finite(array))
        return _FRACTION if pc.any(pc.not_equal(pc.floor(numbers), numbers)).as_py() else ""
    if is_.is_string(given_type) or is_.is_large_string(given_type) or is_.is_string_view(given_type):
        matched = pc.match_substring_regex(array.cast(pa.string()), ISO_MOMENT)
        return _NOT_ISO if pc.all(matched).as_py() is False else ""
    return ""
