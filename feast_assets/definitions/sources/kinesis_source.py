"""Streams of Kinesis."""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_format import StreamFormat
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.errors import DefinitionError, shown


class KinesisSource(StreamSource):
    """Rows that arrive in a stream of AWS Kinesis. There is no consumer yet: views read the batch source.

    Args:
        record_format: how records are encoded.
        region: the AWS region of the stream.
        stream_name: the stream's name.
        batch_source: where the history is; required by feature views that use the source.
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
        self._init_source(
            name, timestamp_field, created_timestamp_column, field_mapping, None, description, tags, owner
        )
        self._init_batch_source(batch_source)
        if not isinstance(record_format, StreamFormat):
            raise DefinitionError(
                f"KinesisSource {name!r}: record_format must be an AvroFormat, JsonFormat or ProtoFormat, not "
                f"{shown(record_format)}."
            )
        self.record_format = record_format
        self.region = region
        self.stream_name = stream_name
