"""Which columns a source or a result must have, and whether it has them; rows to write in a source's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_assets.errors import (
    DefinitionError,
    FeastAssetsError,
    FeastJoinKeysDuringMaterialization,
    InputError,
    SourceError,
    TransformationError,
    printable,
    suggest,
)
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from feast_assets.types.feast_type import FeastType, UnixTimestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.offline_stores.base import History


def check_declared(
    history: History,
    schema: pa.Schema,
    label: str,
    *,
    timestamp: str,
    created: str = "",
    error: type[FeastAssetsError] = SourceError,
) -> None:
    """Checks that a source has the columns that a history reads, and that they hold what is declared.

    Args:
        schema: the source's columns after its field mapping.
        label: names the source in messages.
        timestamp, created: the time columns after the field mapping; "" where there is no created time.
        error: the class of the error.

    Raises:
        DefinitionError: the source has no timestamp field.
        FeastJoinKeysDuringMaterialization: a join key is missing, and the error is a SourceError.
        SourceError (or ``error``): a column is missing, or its type cannot be read as the declared one.
    """
    import pyarrow as pa

    from feast_assets.types.arrow import cast_column

    names = schema.names
    view = f"feature view {history.view!r}"
    if not timestamp:
        raise DefinitionError(f"{label}: {view} needs its timestamp_field.")
    roles = [(timestamp, error, "the timestamp_field of"), (created, error, "the created_timestamp_column of")]
    of_keys = FeastJoinKeysDuringMaterialization if error is SourceError else error
    roles += [(key.name, of_keys, "a join key of") for key in history.join_keys]
    roles += [(feature.name, error, "a feature of") for feature in history.features]
    known = set(names)
    for name, kind, role in roles:
        if name and name not in known:
            raise kind(f"{label} has no column {name!r}, {role} {view}. {suggest(name, names)}")
    for field in (*history.join_keys, *history.features):
        nothing = pa.nulls(0, schema.field(field.name).type)
        try:
            cast_column(nothing, field.dtype, subject=f"{label}, column {field.name!r} of {view},")
        except SourceError as refused:
            raise as_kind(refused, error) from refused


def as_kind(refused: FeastAssetsError, error: type[FeastAssetsError]) -> FeastAssetsError:
    """Returns an error of a source's data as one of another class, where the data came from elsewhere."""
    return refused if error is SourceError else TransformationError(str(refused))


def check_written(rows: pa.Table, names: Sequence[str], label: str) -> None:
    """Checks that rows have just the columns of a source, in any order.

    Raises:
        InputError: names those that are missing, and those too many.
    """
    given, expected = set(rows.column_names), set(names)
    missing = [n for n in names if n not in given]
    extra = [n for n in rows.column_names if n not in expected]
    if missing or extra or len(given) != rows.num_columns:
        parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"not in it {', '.join(map(repr, extra))}"] if extra else []
        raise InputError(
            f"{label}: the rows must have the source's own columns; {'; '.join(parts) or 'one is there twice'}."
        )


def kept_columns(source: DataSource, history: History) -> dict[str, str]:
    """Returns the columns that a source keeps of a result, by the names that `scan` gives them, with its own names."""
    own = {mapped: raw for raw, mapped in source.field_mapping.items()}
    names = {f.name: own.get(f.name, f.name) for f in (*history.join_keys, *history.features)}
    names[EVENT_TIMESTAMP] = own.get(source.timestamp_field, source.timestamp_field)
    if source.created_timestamp_column:
        names[CREATED_TIMESTAMP] = own.get(source.created_timestamp_column, source.created_timestamp_column)
    return names


def result_types(history: History, names: Sequence[str]) -> dict[str, FeastType]:
    """Returns the types of the columns that a transformation's result must have.

    Args:
        names: of the result's columns.
    """
    declared: dict[str, FeastType] = {f.name: f.dtype for f in (*history.join_keys, *history.features)}
    for name in (history.timestamp_field, history.created_timestamp_column):
        if name:
            declared[result_time_name(history, name, names)] = UnixTimestamp
    return declared


def result_time_name(history: History, name: str, names: Sequence[str]) -> str:
    """Returns what a time column is called in a transformation's result, whose columns are given."""
    # The function sees, and may return, the name that the source's field mapping gives.
    return name if name in names else history.sources[0].field_mapping.get(name, name)


def like(rows: pa.Table, schema: pa.Schema, label: str) -> pa.Table:
    """Returns rows with the columns of a source, in its order and types.

    Args:
        schema: the source's own columns.
        label: names the source in messages.

    Raises:
        InputError: the columns differ from the source's, or a value does not fit.
    """
    import pyarrow as pa

    check_written(rows, schema.names, label)
    columns = []
    for field in schema:
        column = rows.column(field.name)
        try:
            columns.append(_as_type(column, field.type))
        except (pa.ArrowException, ValueError) as error:
            raise InputError(
                f"{label}, column {field.name!r} holds {field.type}; the rows' {column.type} does not fit: "
                f"{printable(error)}"
            ) from error
    return pa.table(columns, schema=schema)


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == kind:
        return column
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(kind):
        # A naive time is UTC; Arrow would take it for a time in the other zone.
        if column.type.tz is None and kind.tz is not None:
            column = column.cast(pa.timestamp(column.type.unit, tz="UTC"))
        return column.cast(kind, safe=column.type.unit != "ns")
    if pa.types.is_string(column.type) and not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        raise ValueError("text is not converted.")
    if pa.types.is_boolean(column.type) != pa.types.is_boolean(kind) and not pa.types.is_null(column.type):
        raise ValueError("booleans are not converted from or to anything else.")
    if pa.types.is_struct(column.type) and pa.types.is_map(kind):
        # Dicts come as a struct of all their keys; a key that a row does not have is null there.
        items = [
            None if row is None else [(k, v) for k, v in row.items() if v is not None] for row in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(items, kind)])
    return column.cast(kind)
