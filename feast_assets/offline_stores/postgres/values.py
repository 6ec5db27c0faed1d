"""Values between Arrow and Postgres, where the driver does not carry them by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import InputError
from feast_assets.offline_stores.sql.engine import ANY_SCALE
from feast_assets.types.arrow import cast_column
from feast_assets.types.arrow_casts import is_binary, is_list
from feast_assets.types.feast_type import Json, Uuid

_KNOWN = frozenset(
    (
        *("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "char", "name", "bytea"),
        *("date", "timestamp", "timestamptz", "json", "jsonb", "uuid", "time", "interval"),
    )
)
"""Types, by their names in the catalog, that the driver carries as Arrow types that mean the same."""


def carried(rows: pa.RecordBatchReader, errors: list[BaseException]) -> pa.RecordBatchReader:
    """Returns rows in types that the driver takes; structs, maps and lists of lists become the text of their JSON.

    Decimals become text too, as the driver would leave out their last zeros.

    Args:
        errors: an error of the reader is added to it, as the driver keeps only its text.
    """
    nested = [i for i, column in enumerate(rows.schema) if _is_nested(column.type)]
    decimals = [i for i, column in enumerate(rows.schema) if pa.types.is_decimal(column.type)]
    schema = rows.schema
    for i in (*nested, *decimals):
        schema = schema.set(i, pa.field(schema.field(i).name, pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in rows:
                columns = list(batch.columns)
                for i in nested:
                    columns[i] = cast_column(columns[i], Json, subject=f"Column {schema.field(i).name!r}")
                for i in decimals:
                    columns[i] = columns[i].cast(pa.string())
                yield pa.record_batch(columns, schema=schema)
        except BaseException as error:
            errors.append(error)
            raise

    return pa.RecordBatchReader.from_batches(schema, batches())


def sql_type(kind: pa.DataType) -> str:
    """Returns the type of a column of a new table."""
    is_ = pa.types
    if is_list(kind) and not _is_nested(kind):
        return f"{sql_type(kind.value_type)}[]"
    if _is_nested(kind):
        return "JSONB"
    if is_.is_decimal(kind):
        return f"NUMERIC({kind.precision}, {kind.scale})"
    if is_.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz is None else "TIMESTAMPTZ"
    if is_.is_integer(kind):
        return "SMALLINT" if kind.bit_width < 16 else {16: "SMALLINT", 32: "INTEGER"}.get(kind.bit_width, "BIGINT")
    if is_.is_floating(kind):
        return "DOUBLE PRECISION" if is_.is_float64(kind) else "REAL"
    if is_.is_boolean(kind) or is_.is_date(kind):
        return "BOOLEAN" if is_.is_boolean(kind) else "DATE"
    return "BYTEA" if is_binary(kind) else "TEXT"


def _is_nested(kind: pa.DataType) -> bool:
    if is_list(kind):
        return is_list(kind.value_type) or _is_nested(kind.value_type)
    return bool(pa.types.is_struct(kind) or pa.types.is_map(kind))


def described(column: pa.Field) -> pa.Field:
    """Returns a column of a result as the plan sees it: decimals as such, types unknown to Arrow as their text."""
    metadata = column.metadata or {}
    name = metadata.get(b"POSTGRESQL:type", b"").decode()
    kind: pa.DataType = column.type
    if is_list(kind):
        return pa.field(column.name, pa.list_(described(kind.value_field).type))
    if name == "numeric":
        modifier = int(metadata.get(b"POSTGRESQL:typmod", b"-1"))
        return pa.field(column.name, _decimal(modifier), metadata=ANY_SCALE if modifier < 4 else None)
    return pa.field(column.name, kind if name in _KNOWN else pa.string())


def _decimal(modifier: int) -> pa.DataType:
    """Returns the type of a numeric column; without a declared precision, of one that is taken for wide enough."""
    if modifier < 4:
        return pa.decimal128(38, 18)
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale = scale - 2048 if scale >= 1024 else scale
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(min(precision, 76), scale)


def plain_values(table: pa.Table) -> pa.Table:
    """Returns a result with JSON and UUIDs as text, and decimals as such, or as text where one is not finite.

    Raises:
        InputError: a column is of another of Postgres' own types.
    """
    columns = []
    for name_of_column, column in zip(table.column_names, table.columns, strict=True):
        name = column.type.extension_name if isinstance(column.type, pa.BaseExtensionType) else ""
        kind = column.type
        if name == "arrow.opaque" and kind.type_name != "numeric":
            raise InputError(
                f"Column {name_of_column!r} is of a type of Postgres' own; cast it to text in the query, by "
                f'CAST("{name_of_column}" AS TEXT).'
            )
        if name == "arrow.uuid":
            column = pa.chunked_array(
                [cast_column(chunk, Uuid, subject="A UUID") for chunk in column.chunks], pa.string()
            )
        elif name:
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        columns.append(_decimals(column) if getattr(kind, "type_name", "") == "numeric" else column)
    return pa.table(columns, names=table.column_names)


def _decimals(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    fractions = pc.replace_substring_regex(texts, r"^[^.]*\.?", "")
    scale = pc.max(pc.utf8_length(fractions)).as_py() or 0
    try:
        return texts.cast(pa.decimal256(76, scale)).cast(pa.decimal128(38, scale))
    except pa.ArrowException:
        return texts
