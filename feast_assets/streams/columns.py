"""The columns that a stream's messages are decoded to: those of its batch source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.definitions.aggregation import aggregated_columns
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.errors import DefinitionError, SourceError, SourceWithoutFilesError
from feast_assets.types.feast_type import FeastType, Float32, Float64, Int32, Int64, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.sources.stream_source import StreamSource
    from feast_assets.offline_stores.base import OfflineStore

_WIDER = (Int32, Int64, Float32, Float64)


@dataclass(frozen=True, slots=True)
class StreamColumn:
    """One column of a stream's rows.

    Attributes:
        field: the field of a message.
        name: the column of the batch source.
        dtype: how the values are to be read; None where nothing says it, so that Arrow infers it from the values.
        is_key: whether it is a join key, which is read without loss or not at all.
    """

    field: str
    name: str
    dtype: FeastType | None
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class StreamColumns:
    """The columns of a stream's rows.

    Attributes:
        timestamp, created: names of the time columns in the batch source; "" where there is no created time.
        stored: the columns of integers that history has, which may be too narrow for a value; None where there is no
            history yet.
        required: names of columns without which a message is no row: join keys and event time.
    """

    columns: tuple[StreamColumn, ...]
    timestamp: str
    created: str
    required: tuple[str, ...]
    stored: pa.Schema | None = None


def stream_columns(
    stream: StreamSource, views: Sequence[FeatureView], store: OfflineStore, declared: dict[str, FeastType | None]
) -> StreamColumns:
    """Returns the columns that the messages of a stream are decoded to.

    They are the columns of the batch source. If that has no rows yet, they are the fields that the message format
    declares, or else those that the views read.

    Args:
        views: that read the stream.
        declared: the fields that the message format declares, with their types as far as they are known.

    Raises:
        DefinitionError: nothing says what columns there are.
    """
    batch = stream.batch_source
    assert batch is not None
    own = {mapped: name for name, mapped in batch.field_mapping.items()}
    fields = {mapped: name for name, mapped in stream.field_mapping.items()}
    times = {batch.timestamp_field: stream.timestamp_field or batch.timestamp_field}
    if batch.created_timestamp_column:
        times[batch.created_timestamp_column] = stream.created_timestamp_column or batch.created_timestamp_column

    def message_field(name: str) -> str:
        mapped = batch.field_mapping.get(name, name)
        return times.get(name) or fields.get(mapped, mapped)

    types, keys = _declared_by_views(views, own)
    aggregated = [own.get(name, name) for view in views for name in aggregated_by(view)]
    stored = _stored(store, batch)
    if stored is not None:
        names = [own.get(field.name, field.name) for field in stored]
        held = {name: _type_of(field.type) for name, field in zip(names, stored, strict=True)}
    else:
        held = {}
        by_field = {message_field(name): name for name in (*times, *types)}
        for field, dtype in declared.items():
            mapped = stream.field_mapping.get(field, field)
            held[by_field.get(field) or own.get(mapped, mapped)] = dtype
        is_computed = any(isinstance(view, StreamFeatureView) and view.transformation is not None for view in views)
        if is_computed and not held:
            raise DefinitionError(
                f"{type(stream).__name__} {stream.name!r}: nothing says which fields its messages have. Its batch "
                f"source {batch.name!r} has no rows yet, and a view computes its features from them: declare the "
                'fields in the message format, such as JsonFormat("driver_id bigint, fare double, at timestamp").'
            )
        names = list(dict.fromkeys([*types, *aggregated, *(n for n in times if n), *held]))
    columns = []
    for name in names:
        dtype = UnixTimestamp if name in times else types.get(name) or held.get(name)
        columns.append(StreamColumn(message_field(name), name, dtype, name in keys))
    present = set(names)
    required = [name for name in dict.fromkeys([*keys, batch.timestamp_field]) if name in present]
    created = batch.created_timestamp_column
    held_in = None if stored is None else _of_integers(stored.empty_table().rename_columns(names).schema)
    created = created if created in present else ""
    return StreamColumns(tuple(columns), batch.timestamp_field, created, tuple(required), held_in)


def _declared_by_views(views: Sequence[FeatureView], own: dict[str, str]) -> tuple[dict[str, FeastType], set[str]]:
    """Returns the types of the columns that views read as they are, by their names in the source, and the join keys."""
    types: dict[str, FeastType] = {}
    keys: set[str] = set()
    for view in views:
        if isinstance(view, StreamFeatureView) and view.transformation is not None:
            continue
        for field in (*view.entity_columns, *view.row_fields):
            if field.name == DUMMY_JOIN_KEY:
                continue
            name = own.get(field.name, field.name)
            types[name] = _wider(types.get(name), field.dtype)
        keys |= {own.get(f.name, f.name) for f in view.entity_columns if f.name != DUMMY_JOIN_KEY}
    return types, keys


def aggregated_by(view: FeatureView) -> list[str]:
    """Returns the columns whose values a view aggregates over time; none where it takes rows as they are."""
    if not isinstance(view, BatchFeatureView) or view.transformation is not None:
        return []
    return list(aggregated_columns(view.aggregations))


def _wider(one: FeastType | None, other: FeastType) -> FeastType:
    """Returns the type that holds the values of both; where neither does, the second."""
    if one is None or one not in _WIDER or other not in _WIDER:
        return other
    return max(one, other, key=_WIDER.index)


def _stored(store: OfflineStore, batch: object) -> pa.Schema | None:
    try:
        return store.schema(batch)  # type: ignore[arg-type]
    except SourceWithoutFilesError:
        return None
    except SourceError:
        return None


def _of_integers(stored: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    from feast_assets.types.arrow import is_stored_as_text

    return pa.schema([f for f in stored if pa.types.is_integer(f.type) and not is_stored_as_text(f)])


def _type_of(arrow_type: pa.DataType) -> FeastType | None:
    from feast_assets.types.arrow import from_arrow_type

    try:
        return from_arrow_type(arrow_type)
    except ValueError:
        return None
