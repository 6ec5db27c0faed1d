"""Value types to and from Arrow; `feast_assets.types.canonical` says which Arrow type each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from feast_assets.errors import SourceError, reason_of, suggest
from feast_assets.types.arrow_casts import CastRefused, cast_array, is_binary, is_list, is_text
from feast_assets.types.canonical import TIMESTAMP, is_canonical, to_arrow_type
from feast_assets.types.feast_type import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    ScalarMap,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)

__all__ = ["TIMESTAMP", "cast_column", "cast_table", "from_arrow_type", "is_canonical", "to_arrow_type"]


_STORED_AS = b"feast_assets.stored_as"


def stored_as_text(column: pa.Field) -> pa.Field:
    """Returns a column marked as stored as text: its type is guessed from its values, and it is read as the
    type that is declared."""
    return column.with_metadata({**(column.metadata or {}), _STORED_AS: b"text"})


def is_stored_as_text(column: pa.Field) -> bool:
    """Says whether a column is marked by `stored_as_text`."""
    return (column.metadata or {}).get(_STORED_AS) == b"text"


_LONGEST_TYPE = 200


def from_arrow_type(arrow_type: pa.DataType) -> FeastType:
    """Returns the value type that fits a column of this Arrow type, for inference.

    Narrow integers become Int32, unsigned 32 and 64 bit integers Int64, half floats Float32, dates UnixTimestamp.

    Raises:
        ValueError: no value type fits, as for times of day, durations and columns that hold only nulls.
    """
    if isinstance(arrow_type, pa.BaseExtensionType):
        name = arrow_type.extension_name
        if name == "arrow.uuid":
            return Uuid
        if name == "arrow.json":
            return Json
        return from_arrow_type(arrow_type.storage_type)
    is_ = pa.types
    if is_.is_dictionary(arrow_type):
        return from_arrow_type(arrow_type.value_type)
    if is_.is_boolean(arrow_type):
        return Bool
    if is_.is_integer(arrow_type):
        return Int64 if arrow_type.bit_width == 64 or is_.is_uint32(arrow_type) else Int32
    if is_.is_floating(arrow_type):
        return Float64 if is_.is_float64(arrow_type) else Float32
    if is_.is_timestamp(arrow_type) or is_.is_date(arrow_type):
        return UnixTimestamp
    if is_.is_decimal(arrow_type):
        return Decimal
    if is_text(arrow_type):
        return String
    if is_binary(arrow_type):
        return Bytes
    if is_.is_map(arrow_type):
        return Map if is_text(arrow_type.key_type) else ScalarMap
    if is_.is_struct(arrow_type):
        return Struct({field.name: from_arrow_type(field.type) for field in arrow_type})
    if is_list(arrow_type):
        return Array(from_arrow_type(arrow_type.value_type))
    raise ValueError(f"There is no value type for Arrow type {arrow_type}. Declare the field's dtype.")


def cast_table(table: pa.Table, types: Mapping[str, FeastType], *, subject: str) -> pa.Table:
    """Returns the named columns, in the order of ``types``, each in its canonical Arrow type.

    Args:
        table: holds at least the named columns; others are left out.
        types: column name to value type.
        subject: what the table is, for messages, such as ``"Source 'trips'"``.

    Raises:
        SourceError: a column is missing, or does not hold such values.
    """
    columns = []
    for name, feast_type in types.items():
        if table.schema.get_field_index(name) < 0:
            raise SourceError(f"{subject} has no single column {name!r}. {suggest(name, table.column_names)}")
        columns.append(cast_column(table.column(name), feast_type, subject=f"{subject}, column {name!r}"))
    return pa.table(columns, names=list(types)) if types else table.select([])


def whole_column(column: pa.ChunkedArray) -> pa.Array:
    """Returns a ``pa.ChunkedArray`` as one ``pa.Array``; a single chunk is not copied."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def cast_column(
    column: pa.Array | pa.ChunkedArray | Sequence[object], feast_type: FeastType, *, subject: str
) -> pa.Array | pa.ChunkedArray:
    """Returns a column in the canonical Arrow type of a value type; nulls stay null.

    Takes what means the same: integers of any width that fit, integers as floats where exact, doubles as Float32
    (rounded), 0 and 1 as Bool, timestamps of any unit (naive ones are UTC; below microseconds is cut off), dates,
    integers as epoch seconds, ISO text as timestamps, dictionary-encoded, large and view columns; maps, structs and
    JSON text for Map, Struct, Array and Set; decimals and integers for Decimal. In a floating column that becomes
    something else, NaN is null, as pandas writes missing integers.

    Args:
        column: ``pa.Array`` or ``pa.ChunkedArray``, returned as the same kind; or any sequence of Python values,
            numpy array or pandas series, returned as ``pa.Array``.
        feast_type: the wanted type.
        subject: what the column is, for messages, such as ``"Source 'trips', column 'fare'"``.

    Raises:
        SourceError: the column does not hold such values, or not without loss.
    """
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        from feast_assets.types.python import to_arrow_column

        return to_arrow_column(column, feast_type, subject)
    expected_type = to_arrow_type(feast_type)
    try:
        if isinstance(column, pa.ChunkedArray):
            return pa.chunked_array([cast_array(chunk, feast_type) for chunk in column.chunks], type=expected_type)
        return cast_array(column, feast_type)
    except (CastRefused, pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
        held_type = str(column.type)[:_LONGEST_TYPE]
        raise SourceError(
            f"{subject} should hold {feast_type} ({expected_type}) but holds {held_type}: {reason_of(error)}"
        ) from error
