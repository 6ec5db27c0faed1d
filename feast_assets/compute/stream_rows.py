"""What the function of a stream feature view makes of rows that are pushed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.errors import InputError, suggest
from feast_assets.offline_stores.abilities import QueriesGivenRows
from feast_assets.offline_stores.base import OfflineStore, computation_of
from feast_assets.offline_stores.declared_columns import result_types
from feast_assets.transformations.calls import argument_of, called, function_of
from feast_assets.transformations.results import columns_of, result_table
from feast_assets.types.feast_type import UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa


def is_transformed_on_write(view: object) -> bool:
    """Whether a view's function runs over the rows that are pushed."""
    return isinstance(view, StreamFeatureView) and view.transformation is not None


def stream_rows(
    view: StreamFeatureView, rows: pa.Table, call: str, offline_store: Callable[[], OfflineStore]
) -> pa.Table:
    """Returns what a stream view's function makes of pushed rows: its join keys, features and event times.

    Args:
        view: with its function attached.
        rows: the columns of the view's source, under its own names or those of its field mapping.
        call: names the call in errors.
        offline_store: called where the function's SQL is to be run.

    Raises:
        InputError: the rows lack the event time.
        NotSupportedError: the function is SQL, and the offline store cannot run it over rows.
        SourceError: an event time is no time.
        TransformationError: the function failed, or returned something else than the view declares.
    """
    transformation = view.transformation
    assert transformation is not None
    subject = f"{call}: the transformation of feature view {view.name!r}"
    history = computation_of(view)
    seen = _as_in_history(view.sources[0], rows, call)
    function = function_of(transformation, subject)
    result: object
    if transformation.mode is TransformationMode.SQL:
        result = QueriesGivenRows.of(offline_store(), subject).query_rows(seen, function, subject)
    else:
        result = called(function, [argument_of(transformation, seen)], subject)
    columns = columns_of(result, transformation.mode, subject)
    return result_table(columns, result_types(history, list(columns)), {f.name for f in history.join_keys}, subject)


def _as_in_history(source: DataSource, rows: pa.Table, call: str) -> pa.Table:
    """Returns rows as a function sees those of a source's history: mapped names, times in UTC."""
    from feast_assets.types.arrow import cast_column

    mapped = rows.rename_columns([source.field_mapping.get(name, name) for name in rows.column_names])
    for own in (source.timestamp_field, source.created_timestamp_column):
        name = source.field_mapping.get(own, own)
        position = mapped.schema.get_field_index(name) if name else -1
        if position >= 0:
            times = cast_column(mapped.column(name), UnixTimestamp, subject=f"{call}: column {name!r}")
            mapped = mapped.set_column(position, name, times)
        elif own and own == source.timestamp_field:
            raise InputError(f"{call}: column {name!r} is missing. {suggest(name, mapped.column_names)}")
    return mapped
