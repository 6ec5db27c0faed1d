"""What the messages of a stream are made to, and where they go."""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.online_stores.base import OnlineStore
from feast_assets.streams.columns import StreamColumns
from feast_assets.streams.dead_letters import DeadLetters
from feast_assets.streams.formats.base import Decoder
from feast_assets.streams.intake import ViewIntake


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What the messages of one stream are made to, and where they go.

    Attributes:
        views: the intake of each view, with its online table; "" where its rows do not go online.
    """

    stream: StreamSource
    columns: StreamColumns
    decoder: Decoder
    views: list[tuple[ViewIntake, str]]
    online: OnlineStore
    dead_letters: DeadLetters
