"""Rows that are handed in (pushes, direct writes) on their way into the stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.compute.online_rows import OnlineRows, newest_per_key
from feast_assets.compute.versions import push_version
from feast_assets.definitions.data_source import DataSource
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import DataFrameSerializationError, InputError, suggest
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from feast_assets.online_stores.base import EncodedRows
from feast_assets.types import FeastType, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa


def to_table(rows: Any, what: str) -> pa.Table:
    """Returns rows as an Arrow table.

    Args:
        rows: a pandas or Polars DataFrame, an Arrow table or record batch, a dict of lists, or a list of dicts.

    Raises:
        DataFrameSerializationError: they are none of these, or their columns are of unequal length or mixed types.
    """
    import pyarrow as pa

    try:
        if isinstance(rows, pa.Table):
            return rows
        if isinstance(rows, pa.RecordBatch):
            return pa.Table.from_batches([rows])
        if isinstance(rows, Mapping):
            return pa.table({k: v if isinstance(v, (Sequence, pa.Array)) else list(v) for k, v in rows.items()})
        if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
            return pa.Table.from_pylist(list(rows))
        if hasattr(rows, "__arrow_c_stream__") and not hasattr(rows, "iloc"):
            return pa.table(rows)
        return _from_pandas(rows)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise DataFrameSerializationError(f"{what}: the rows cannot be read as a table: {error}") from error


def encode_ingested(view: FeatureView, rows: pa.Table, what: str) -> EncodedRows:
    """Returns handed-in rows as a view's online table takes them, one per entity: the newest.

    Args:
        rows: the view's join keys, all its features, and its timestamp column; the created column too if the source
            declares one, or the rows count as created now. Columns may have the source's names from before its
            field mapping. Others are ignored.

    Raises:
        InputError: a column is missing or of a wrong type, or a join key or event time is null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from feast_assets.types.arrow import cast_column

    source = view.batch_source
    if source is None:
        raise InputError(f"{what}: feature view {view.name!r} has no source that says which column is the event time.")
    table = _mapped(rows, source)
    event = source.field_mapping.get(source.timestamp_field, source.timestamp_field)
    created = source.field_mapping.get(source.created_timestamp_column, source.created_timestamp_column)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    there = set(table.column_names)

    def take(name: str, dtype: FeastType, output: str, required: bool) -> None:
        if name not in there:
            raise InputError(
                f"{what}: column {name!r} of feature view {view.name!r} is missing. {suggest(name, table.column_names)}"
            )
        column = cast_column(table.column(name), dtype, what=f"{what}: column {name!r}")
        if required and column.null_count:
            raise InputError(f"{what}: column {name!r} holds nulls; join keys and event times must be given.")
        columns[output] = column

    for field in view.entity_columns:
        if field.name != DUMMY_JOIN_KEY:
            take(field.name, field.dtype, field.name, True)
    for field in view.features:
        take(field.name, field.dtype, field.name, False)
    take(event, UnixTimestamp, EVENT_TIMESTAMP, True)
    now = push_version()
    if created and created in table.column_names:
        take(created, UnixTimestamp, CREATED_TIMESTAMP, False)
    else:
        columns[CREATED_TIMESTAMP] = pa.nulls(len(table), pa.timestamp("us", "UTC"))
    if created:
        moment = pa.scalar(now, pa.int64()).cast(pa.timestamp("us", "UTC"))
        columns[CREATED_TIMESTAMP] = pc.fill_null(columns[CREATED_TIMESTAMP], moment)
    return newest_per_key(OnlineRows(view).encode(pa.table(columns), now))


def source_rows(source: DataSource, rows: pa.Table) -> pa.Table:
    """Returns handed-in rows with the columns' names in the source."""
    names = {feast: own for own, feast in source.field_mapping.items()}
    return rows.rename_columns([names.get(n, n) for n in rows.column_names])


def _from_pandas(frame: Any) -> pa.Table:
    """Returns a pandas DataFrame's columns; `pa.Table.from_pandas` also writes a description that takes longer."""
    import pyarrow as pa

    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"there are columns of the same name: {names}")
    columns = []
    for name, (_, column) in zip(names, frame.items(), strict=True):
        try:
            columns.append(pa.Array.from_pandas(column))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ValueError(f"column {name!r}: {error}") from error
    return pa.table(columns, names=names)


def _mapped(rows: pa.Table, source: DataSource) -> pa.Table:
    return rows.rename_columns([source.field_mapping.get(n, n) for n in rows.column_names])
