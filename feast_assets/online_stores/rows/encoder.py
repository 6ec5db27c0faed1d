"""Arrow columns to payloads; the layout is `feast_assets.online_stores.rows.schema`'s."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import InputError, suggest
from feast_assets.online_stores.rows.packing import (
    NO_BYTES,
    binary_lengths,
    binary_of_records,
    binary_of_slices,
    joined_rows,
    split_records,
)
from feast_assets.online_stores.rows.schema import FIXED_CODES, Kind, RowSchema
from feast_assets.types.arrow_values import fixed_values, flags, null_flags
from feast_assets.types.canonical import is_canonical, to_arrow_type
from feast_assets.types.feast_type import Array, Bool, FeastType, Set
from feast_assets.types.storage import to_storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows that are encoded at a time: the working set stays in the processor's cache.
_CHUNK_ROWS = 16_384
_MAX_VARIABLE_BYTES = 2**32 - 1


def encode_rows(schema: RowSchema, columns: pa.RecordBatch | pa.Table) -> list[bytes]:
    """Returns one payload per row.

    Args:
        schema: the fields to encode.
        columns: holds at least the schema's fields, in any order, each in its canonical Arrow type.

    Raises:
        InputError: a column is missing or of another Arrow type, or a row is larger than 4 GiB.
    """
    table = columns if isinstance(columns, pa.Table) else pa.Table.from_batches([columns])
    for name, feast_type in schema.fields:
        index = table.schema.get_field_index(name)
        if index < 0:
            raise InputError(f"Rows to encode have no single column {name!r}. {suggest(name, table.column_names)}")
        arrow_type = table.schema.field(index).type
        if not is_canonical(arrow_type, feast_type):
            raise InputError(
                f"Column {name!r} of rows to encode is {feast_type}: {to_arrow_type(feast_type)} in Arrow, "
                f"not {arrow_type}."
            )
    if not schema.fields:
        records = np.zeros(table.num_rows, schema.dtype)
        records["id"] = schema.schema_id
        return split_records(records)
    payloads: list[bytes] = []
    for batch in table.select([name for name, _ in schema.fields]).to_batches(max_chunksize=_CHUNK_ROWS):
        payloads += _encode(schema, batch)
    return payloads


def _encode(schema: RowSchema, batch: pa.RecordBatch) -> list[bytes]:
    rows = batch.num_rows
    records = np.zeros(rows, schema.dtype)
    records["id"] = schema.schema_id
    variable: list[pa.Array] = []
    ends = np.zeros(rows, np.int64)
    for index, (_, feast_type) in enumerate(schema.fields):
        column = batch.column(index)
        if column.null_count:
            records["nulls"][:, index // 8] |= null_flags(column).view(np.uint8) << np.uint8(index % 8)
        kind = schema.kinds[index]
        if kind is Kind.FIXED:
            records[str(index)] = _fixed(column, feast_type)
            continue
        for part in _variable(column, kind, feast_type):
            variable.append(part)
            ends += binary_lengths(part)
        if rows and ends.max() > _MAX_VARIABLE_BYTES:
            raise InputError("A row to encode is larger than 4 GiB.")
        records[str(index)] = ends
    if not variable:
        return split_records(records)
    return joined_rows([binary_of_records(records), *variable])


def _fixed(column: pa.Array, feast_type: FeastType) -> NDArray[Any]:
    if feast_type == Bool:
        column = column.cast(pa.uint8())
    return fixed_values(column, FIXED_CODES[feast_type])


def _variable(column: pa.Array, kind: Kind, feast_type: FeastType) -> Iterator[pa.Array]:
    """Yields large-binary columns without nulls that, one after another, are the field's bytes."""
    if kind is Kind.VECTOR:
        assert isinstance(feast_type, (Array, Set))
        yield from _vector(column, feast_type.base_type)
        return
    if kind is Kind.NESTED:
        column = pa.array([_nested(v) for v in to_storage(column, feast_type).to_pylist()], pa.large_binary())
    else:
        column = column.cast(pa.large_binary())
    yield column.fill_null(NO_BYTES) if column.null_count else column


def _vector(column: pa.Array, item_type: FeastType) -> Iterator[pa.Array]:
    lengths = fixed_values(pc.list_value_length(column).cast(pa.int64()), "<i8")
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    items = column.flatten()
    values = np.ascontiguousarray(_fixed(items, item_type), FIXED_CODES[item_type])
    missing = null_flags(items).view(np.uint8)
    missing_before = np.concatenate([[0], np.cumsum(missing, dtype=np.int64)])
    has_missing = missing_before[offsets[1:]] > missing_before[offsets[:-1]]

    present = flags(column.is_valid()).astype(np.int64)
    yield binary_of_slices(
        np.concatenate([[0], np.cumsum(present)]), has_missing[present.astype(bool)].astype(np.uint8)
    )
    yield binary_of_slices(offsets * values.itemsize, values.view(np.uint8))
    if items.null_count:
        ends = np.concatenate([[0], np.cumsum(np.where(has_missing, lengths, 0))])
        yield binary_of_slices(ends, missing[np.repeat(has_missing, lengths)].astype(np.uint8))


def _nested(value: object) -> bytes | None:
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_base64).encode()


def _base64(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is not a stored value.")
    return base64.b64encode(value).decode("ascii")
