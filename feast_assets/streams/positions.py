"""Where a consumer begins, and how far it has come: kept in the registry, or else by the stream itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from feast_assets.registry.base import Registry
from feast_assets.registry.checkpoints import Checkpoint, KeepsCheckpoints
from feast_assets.streams.base import StreamReader

HISTORY = "history"
"""The reader of checkpoints for what was appended to history. Those of views are ``view:`` and the name."""

Start = Literal["checkpoint", "beginning"] | datetime
"""Where consuming begins: where it ended before, with the oldest message that there is, or at a time."""


class Positions:
    """The positions of one stream source's readers.

    Args:
        identity: of the stream.
        readers: names of the readers -> what their positions depend on beside the stream, such as the identity of the
            online table. A reader whose position is not known begins with the oldest message.
    """

    def __init__(
        self, registry: Registry, reader: StreamReader, source: str, identity: str, readers: Mapping[str, str]
    ):
        self._kept = registry if isinstance(registry, KeepsCheckpoints) else None
        self._reader = reader
        self._source = source
        self._identities = {name: f"{identity}/{of}" if of else identity for name, of in readers.items()}

    def known(self, partitions: Sequence[str]) -> dict[str, dict[str, int]]:
        """Returns for each partition the positions of the readers, as far as they are known."""
        if self._kept is None:
            committed = self._reader.committed(partitions)
            return {
                name: dict.fromkeys(self._identities, committed[name]) if name in committed else {}
                for name in partitions
            }
        known: dict[str, dict[str, int]] = {name: {} for name in partitions}
        for each in self._kept.checkpoints(self._source):
            if each.partition in known and self._identities.get(each.reader) == each.identity:
                known[each.partition][each.reader] = each.position
        return known

    def keep(self, positions: Mapping[str, int]) -> None:
        """Notes how far partitions have been consumed, for all readers."""
        now = datetime.now(UTC)
        if self._kept is not None:
            self._kept.keep_checkpoints(
                [
                    Checkpoint(reader, self._source, partition, identity, position, now)
                    for partition, position in positions.items()
                    for reader, identity in self._identities.items()
                ]
            )
        self._reader.commit(positions, waits=self._kept is None)
