"""Files that are replayed as a stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_format import CustomFormat, JsonFormat, StreamFormat
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.errors import DefinitionError, shown


class FileStreamSource(StreamSource):
    """A file, or the files of a folder, whose lines are the messages of a stream. It needs no broker.

    A file is a partition, in which more lines may be added at any time; an offset is where a line begins, in bytes. A
    line counts as soon as its line feed is there.

    Args:
        path: a file or a folder, whose files count that end with ``.jsonl``, ``.ndjson`` or ``.json``. Relative paths
            are resolved against the feature repository.
        message_format: how a line is written: a `JsonFormat` or a `CustomFormat`.
        batch_source: where the history of its rows is; required by feature views that use the source.
        watermark_delay_threshold: how late its messages may be before they are counted as late.

    See `DataSource` for the other arguments.
    """

    _spec = {**StreamSource._spec, "message_format": None, "path": "", "watermark_delay_threshold": None}

    message_format: StreamFormat
    path: str
    watermark_delay_threshold: timedelta | None

    def __init__(
        self,
        *,
        name: str,
        path: str,
        message_format: StreamFormat | None = None,
        timestamp_field: str | None = "",
        created_timestamp_column: str | None = "",
        field_mapping: Mapping[str, str] | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
        batch_source: DataSource | None = None,
        watermark_delay_threshold: timedelta | None = None,
    ):
        subject = f"FileStreamSource {name!r}"
        if not isinstance(path, str) or not path:
            raise DefinitionError(f"{subject}: path must be a non-empty text, got {shown(path)}.")
        message_format = JsonFormat("") if message_format is None else message_format
        if not isinstance(message_format, (JsonFormat, CustomFormat)):
            raise DefinitionError(
                f"{subject}: message_format must be JsonFormat or CustomFormat, not {shown(message_format)}."
            )
        self._check_watermark(watermark_delay_threshold, subject)
        self._init_batch_source(batch_source, name)
        self._init_source(
            name, timestamp_field, created_timestamp_column, field_mapping, None, description, tags, owner
        )
        self.path = path
        self.message_format = message_format
        self.watermark_delay_threshold = watermark_delay_threshold
