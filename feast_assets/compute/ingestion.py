"""Rows that are handed in (pushes, direct writes) as a view's online table takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_assets.compute.handed_in_rows import refuse_nulls
from feast_assets.compute.online_rows import OnlineRows, newest_per_key
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import InputError, SourceError, suggest
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from feast_assets.online_stores.base import EncodedRows
from feast_assets.types import FeastType, UnixTimestamp

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


def encode_ingested(view: FeatureView, rows: pa.Table, version: int | npt.NDArray[np.int64], call: str) -> EncodedRows:
    """Returns handed-in rows as a view's online table takes them, one per entity: the newest.

    Args:
        rows: the view's join keys, all its features, and its timestamp column; the created column too if the source
            declares one, or the rows count as created at the moment of the version. Columns may have the source's
            names from before its field mapping. Others are ignored.
        version: of all rows, or int64[n] of each; see `feast_assets.compute.versions`.

    Raises:
        InputError: a column is missing or of a wrong type, or a join key or event time is null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from feast_assets.types.arrow import cast_column
    from feast_assets.types.exact_keys import cast_key_column

    source = view.batch_source
    if source is None:
        raise InputError(f"{call}: feature view {view.name!r} has no source that says which column is the event time.")
    table = _mapped(rows, source)
    event = source.field_mapping.get(source.timestamp_field, source.timestamp_field)
    created = source.field_mapping.get(source.created_timestamp_column, source.created_timestamp_column)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    columns_given = set(table.column_names)

    def take(name: str, dtype: FeastType, output: str, required: bool) -> None:
        if name not in columns_given:
            raise InputError(
                f"{call}: column {name!r} of feature view {view.name!r} is missing. {suggest(name, table.column_names)}"
            )
        cast = cast_key_column if name in view.join_keys else cast_column
        try:
            column = cast(table.column(name), dtype, subject=f"{call}: column {name!r}")
        except SourceError as error:
            raise InputError(str(error)) from error
        if required:
            refuse_nulls(column, name, call)
        columns[output] = column

    for field in view.entity_columns:
        if field.name != DUMMY_JOIN_KEY:
            take(field.name, field.dtype, field.name, True)
    for field in view.row_fields:
        take(field.name, field.dtype, field.name, False)
    take(event, UnixTimestamp, EVENT_TIMESTAMP, True)
    if created and created in table.column_names:
        take(created, UnixTimestamp, CREATED_TIMESTAMP, False)
    else:
        columns[CREATED_TIMESTAMP] = pa.nulls(len(table), pa.timestamp("us", "UTC"))
    if created:
        moments = pa.scalar(version, pa.int64()) if isinstance(version, int) else pa.array(version, pa.int64())
        given = columns[CREATED_TIMESTAMP]
        columns[CREATED_TIMESTAMP] = pc.coalesce(given, moments.cast(pa.timestamp("us", "UTC")))
    return newest_per_key(OnlineRows(view).encode(pa.table(columns), version))


def source_rows(source: DataSource, rows: pa.Table) -> pa.Table:
    """Returns handed-in rows with the columns' names in the source."""
    names = {feast: own for own, feast in source.field_mapping.items()}
    return rows.rename_columns([names.get(n, n) for n in rows.column_names])


def check_keys(view: FeatureView, source: DataSource, rows: pa.Table, call: str) -> None:
    """Checks that rows in the columns of a source hold join keys as their view declares them.

    Raises:
        InputError: a join key is not of its type, or not without loss. Missing columns are not looked for.
    """
    from feast_assets.types.exact_keys import cast_key_column

    own = {feast: name for name, feast in source.field_mapping.items()}
    for field in view.entity_columns:
        name = own.get(field.name, field.name)
        if rows.schema.get_field_index(name) >= 0:
            try:
                cast_key_column(rows.column(name), field.dtype, subject=f"{call}: column {name!r}")
            except SourceError as error:
                raise InputError(str(error)) from error


def _mapped(rows: pa.Table, source: DataSource) -> pa.Table:
    return rows.rename_columns([source.field_mapping.get(n, n) for n in rows.column_names])
