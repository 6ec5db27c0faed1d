"""Rows that are handed in, and where they go."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_source import StreamSource


class PushMode(enum.Enum):
    """Where pushed rows go."""

    ONLINE = 1
    OFFLINE = 2
    ONLINE_AND_OFFLINE = 3


class PushSource(StreamSource):
    """Rows that are handed in by ``FeatureStore.push``.

    Args:
        batch_source: where their history is; required by feature views that use the source.
    """

    def __init__(
        self,
        *,
        name: str,
        batch_source: DataSource | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
    ):
        self._init_batch_source(batch_source, name)
        batch = self.batch_source
        self._init_source(
            name,
            batch.timestamp_field if batch else None,
            batch.created_timestamp_column if batch else None,
            None,
            None,
            description,
            tags,
            owner,
        )
