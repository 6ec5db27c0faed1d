"""Entity keys out of Arrow columns; the format is `feast_assets.online_stores.rows.keys`'."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import InputError
from feast_assets.online_stores.rows.keys import TAGS, VARIABLE_WIDTH
from feast_assets.online_stores.rows.packing import binary_lengths, binary_of_records, joined_rows
from feast_assets.online_stores.rows.schema import FIXED_CODES
from feast_assets.types.arrow_values import fixed_values, flags
from feast_assets.types.canonical import is_canonical, to_arrow_type
from feast_assets.types.feast_type import Bool, FeastType

_CHUNK_ROWS = 65_536


def encode_arrow_keys(names: Sequence[str], types: Sequence[FeastType], columns: Sequence[Any]) -> list[bytes]:
    """Returns one key per row of canonical Arrow columns.

    Raises:
        InputError: a key is null, or a column is not of its key's canonical Arrow type.
    """
    for name, feast_type, column in zip(names, types, columns, strict=True):
        if not is_canonical(column.type, feast_type):
            raise InputError(f"Join key {name!r} should be {to_arrow_type(feast_type)}, not {column.type}.")
        if column.null_count:
            row = pc.index(column.is_null(), True).as_py()
            raise InputError(f"Join key {name!r} is null in row {row}; every row needs a value.")
    keys: list[bytes] = []
    table = pa.table(list(columns), names=[str(index) for index in range(len(columns))])
    for batch in table.to_batches(max_chunksize=_CHUNK_ROWS):
        parts: list[pa.Array] = []
        for index, feast_type in enumerate(types):
            parts += _parts(batch.column(index), feast_type, prefixed=index < len(types) - 1)
        keys += joined_rows(parts)
    return keys


def drop_null_keys(table: pa.Table, join_keys: Sequence[str]) -> tuple[pa.Table, int]:
    """Returns the rows whose join keys are all there, and how many rows were left out."""
    with_nulls = [table.column(name) for name in join_keys if table.column(name).null_count]
    if not with_nulls:
        return table, 0
    kept = table.filter(reduce(pc.and_, [column.is_valid() for column in with_nulls]))
    return kept, table.num_rows - kept.num_rows


def _parts(column: pa.Array, feast_type: FeastType, *, prefixed: bool) -> list[pa.Array]:
    tag = TAGS[feast_type]
    if feast_type in VARIABLE_WIDTH:
        data = column.cast(pa.large_binary())
        head = np.zeros(len(column), [("tag", "S1"), ("length", ">u4")] if prefixed else [("tag", "S1")])
        head["tag"] = tag
        if prefixed:
            head["length"] = binary_lengths(data)
        return [binary_of_records(head), data]
    records = np.zeros(len(column), [("tag", "S1"), ("value", "u1" if feast_type == Bool else ">i8")])
    records["tag"] = tag
    records["value"] = flags(column) if feast_type == Bool else fixed_values(column, FIXED_CODES[feast_type])
    return [binary_of_records(records)]
