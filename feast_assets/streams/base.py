"""What a stream is to a consumer: partitions of messages with ascending offsets."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar


@dataclass(slots=True)
class Messages:
    """Messages of one partition, in the order of their offsets.

    Attributes:
        offsets: ascending; there may be gaps between them.
        next: the offset that reading goes on from after them.
        times: when each message was written, UTC microseconds; None where the stream does not say.
        keys, values: as they were sent; None for none.
    """

    partition: str
    offsets: list[int] = field(default_factory=list)
    next: int = 0
    times: list[int | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)


Assigned = Callable[[Sequence[str]], Mapping[str, int | None]]
"""Called with partitions that a reader has got; returns where to begin, None for the oldest message that there is."""

Revoked = Callable[[Sequence[str], bool], None]
"""Called with partitions that a reader is about to give up, and whether another one may have them already."""


class StreamReader(ABC):
    """Reads the messages of one stream. It is used by one thread.

    Every method raises `feast_assets.errors.StoreUnavailableError` if the stream cannot be reached.
    """

    knows_ends: ClassVar[bool] = True
    """Whether `ends` is known before the messages are read. If not, it is the position of a partition once all of its
    messages have been read, and larger before."""

    @abstractmethod
    def identity(self) -> str:
        """Returns letters and digits that tell the stream from an earlier one of the same name."""

    @abstractmethod
    def open(self, assigned: Assigned, revoked: Revoked) -> None:
        """Begins reading. Both functions are called by `poll`, `wait` or `close`."""

    @abstractmethod
    def poll(self, seconds: float, most: int) -> list[Messages]:
        """Returns messages that have arrived, at most so many; waits for the first one at most so long."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Waits without reading, and remains a member of its group meanwhile."""

    @abstractmethod
    def partitions(self) -> list[str]:
        """Returns the partitions that there are, in order of their names; it need not be open.

        It is not called by a consumer. After it, `begins`, `ends` (where `knows_ends`) and `committed` tell of them.
        """

    @abstractmethod
    def ends(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """Returns for each partition the offset after its last message."""

    @abstractmethod
    def begins(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """Returns for each partition the offset of the oldest message that is still there."""

    @abstractmethod
    def at(self, partitions: Sequence[str], moment: datetime) -> Mapping[str, int]:
        """Returns for each partition the offset of its first message that was written at a moment or later."""

    @abstractmethod
    def commit(self, positions: Mapping[str, int], *, waits: bool = False) -> None:
        """Tells the stream how far it has been consumed, for whoever watches it there.

        Args:
            waits: whether it returns when the stream has noted it, and raises where that fails. If not, a failure is
                ignored.
        """

    @abstractmethod
    def committed(self, partitions: Sequence[str]) -> Mapping[str, int]:
        """Returns what `commit` has told the stream of these partitions, as far as anything is known."""

    @abstractmethod
    def close(self) -> None:
        """Gives up all partitions, and releases connections."""


class ReaderWithoutGroup(StreamReader):
    """Reads a stream that has no groups of consumers, and notes no positions of theirs. Offsets begin at 0."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def begins(self, partitions: Sequence[str]) -> Mapping[str, int]:
        return dict.fromkeys(partitions, 0)

    def commit(self, positions: Mapping[str, int], *, waits: bool = False) -> None:
        pass

    def committed(self, partitions: Sequence[str]) -> Mapping[str, int]:
        return {}
