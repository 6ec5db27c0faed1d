"""A topic of Kafka."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_format import StreamFormat
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.errors import DefinitionError, shown


class KafkaSource(StreamSource):
    """A topic of Kafka, whose messages become rows of features.

    A view that has it as source is materialized from its ``batch_source``; `FeatureStore.consume` puts its messages
    online and appends them to that source.

    Args:
        message_format: how its messages are written.
        bootstrap_servers: Feast's older name of ``kafka_bootstrap_servers``.
        kafka_bootstrap_servers: ``host:port`` of its brokers, with commas between them.
        topic: its name.
        batch_source: where the history of its rows is; required by feature views that use the source.
        watermark_delay_threshold: how late its messages may be before they are counted as late. No message is dropped.

    See `DataSource` for the other arguments.
    """

    _spec = {
        **StreamSource._spec,
        "message_format": None,
        "kafka_bootstrap_servers": "",
        "topic": "",
        "watermark_delay_threshold": None,
    }

    message_format: StreamFormat
    kafka_bootstrap_servers: str
    topic: str
    watermark_delay_threshold: timedelta | None

    def __init__(
        self,
        *,
        name: str,
        timestamp_field: str,
        message_format: StreamFormat,
        bootstrap_servers: str | None = None,
        kafka_bootstrap_servers: str | None = None,
        topic: str | None = None,
        created_timestamp_column: str | None = "",
        field_mapping: Mapping[str, str] | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
        batch_source: DataSource | None = None,
        watermark_delay_threshold: timedelta | None = None,
    ):
        if bootstrap_servers:
            warnings.warn(
                "bootstrap_servers is the old name of kafka_bootstrap_servers; use that.",
                DeprecationWarning,
                stacklevel=2,
            )
        subject = f"KafkaSource {name!r}"
        servers = kafka_bootstrap_servers or bootstrap_servers
        if not isinstance(message_format, StreamFormat):
            raise DefinitionError(
                f"{subject}: message_format must be a StreamFormat such as JsonFormat, not {shown(message_format)}."
            )
        for argument, value in (("kafka_bootstrap_servers", servers), ("topic", topic)):
            if value is not None and not isinstance(value, str):
                raise DefinitionError(f"{subject}: {argument} must be text, not {shown(value)}.")
        self._check_watermark(watermark_delay_threshold, subject)
        self._init_batch_source(batch_source, name)
        self._init_source(
            name, timestamp_field, created_timestamp_column, field_mapping, None, description, tags, owner
        )
        self.message_format = message_format
        self.kafka_bootstrap_servers = servers or ""
        self.topic = topic or ""
        self.watermark_delay_threshold = watermark_delay_threshold
