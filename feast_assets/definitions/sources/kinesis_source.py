"""A data stream of Kinesis."""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_format import StreamFormat
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.errors import DefinitionError, shown


class KinesisSource(StreamSource):
    """A data stream of Kinesis, whose records become rows of features.

    A view that has it as source is materialized from its ``batch_source``; `FeatureStore.consume` puts its records
    online and appends them to that source.

    Args:
        record_format: how its records are written.
        region, stream_name: where it is.
        batch_source: where the history of its rows is; required by feature views that use the source.

    See `DataSource` for the other arguments.
    """

    _spec = {**StreamSource._spec, "record_format": None, "region": "", "stream_name": ""}

    record_format: StreamFormat
    region: str
    stream_name: str

    def __init__(
        self,
        *,
        name: str,
        record_format: StreamFormat,
        region: str,
        stream_name: str,
        timestamp_field: str | None = "",
        created_timestamp_column: str | None = "",
        field_mapping: Mapping[str, str] | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
        batch_source: DataSource | None = None,
    ):
        subject = f"KinesisSource {name!r}"
        if not isinstance(record_format, StreamFormat):
            raise DefinitionError(
                f"{subject}: record_format must be a StreamFormat such as JsonFormat, not {shown(record_format)}."
            )
        for argument, value in (("region", region), ("stream_name", stream_name)):
            if not isinstance(value, str) or not value:
                raise DefinitionError(f"{subject}: {argument} must be a non-empty text, got {shown(value)}.")
        self._init_batch_source(batch_source, name)
        self._init_source(
            name, timestamp_field, created_timestamp_column, field_mapping, None, description, tags, owner
        )
        self.record_format = record_format
        self.region = region
        self.stream_name = stream_name
