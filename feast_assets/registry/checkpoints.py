"""The ability of a registry to keep how far streams have been consumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far one partition of a stream has been consumed for one reader.

    Attributes:
        reader: for whom, such as a feature view, or the history that messages are appended to.
        source: the name of the stream source.
        partition: its name in the stream.
        identity: which stream of that name it is. One that was deleted and made anew has another, and begins anew.
        position: the offset of the next message; 0 or larger. It may exceed 64 bits.
        at: when it was kept, UTC.
    """

    reader: str
    source: str
    partition: str
    identity: str
    position: int
    at: datetime


class KeepsCheckpoints(ABC):
    """A registry that keeps checkpoints. A backend passes `feast_assets.testing.KeepsCheckpointsConformance`."""

    @abstractmethod
    def checkpoints(self, source: str) -> list[Checkpoint]:
        """Returns the checkpoints of a stream source, in order of reader and partition."""

    @abstractmethod
    def keep_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keeps checkpoints, in one transaction.

        One that is there is replaced only by one with a larger position, or of another identity; so a consumer that was
        slow to notice that another one has its partition takes nothing back.
        """

    @abstractmethod
    def forget_checkpoints(self, source: str, readers: Sequence[str]) -> None:
        """Removes the checkpoints that some readers have of a stream source."""
