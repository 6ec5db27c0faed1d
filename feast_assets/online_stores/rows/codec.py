"""The row codec: Arrow columns to payloads, and payloads to columns.

`feast_assets.online_stores.rows.schema` says what a payload is made of. Encoding needs Arrow, decoding does not, so
`encode_rows` loads its half when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_assets.online_stores.rows.column import NOT_FOUND, NULL_VALUE, OUTSIDE_MAX_AGE, PRESENT, Column, DecodedRows
from feast_assets.online_stores.rows.decoder import RowDecoder, reads_as
from feast_assets.online_stores.rows.schema import RowSchema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "NOT_FOUND",
    "NULL_VALUE",
    "OUTSIDE_MAX_AGE",
    "PRESENT",
    "Column",
    "DecodedRows",
    "RowDecoder",
    "RowSchema",
    "encode_rows",
    "reads_as",
]


def encode_rows(schema: RowSchema, columns: pa.RecordBatch | pa.Table) -> list[bytes]:
    """Returns one payload per row; see `feast_assets.online_stores.rows.encoder.encode_rows`."""
    from feast_assets.online_stores.rows import encoder as row_encoder

    return row_encoder.encode_rows(schema, columns)
