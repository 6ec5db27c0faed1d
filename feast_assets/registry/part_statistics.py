"""The ability of a registry to keep what was read of the parts of sources, so that they need not be read again.

What is kept can be lost without harm: a run then reads the parts again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

UNUSED = timedelta(days=30)
"""When what was kept of a source under another digest is removed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one run has read of some parts.

    Attributes:
        number: ascending in the order in which segments were kept.
        content: bytes that only their writer understands.
    """

    number: int
    content: bytes


class KeepsPartStatistics(ABC):
    """A registry that keeps bytes about the parts of sources, for every digest a list of segments.

    A backend passes `feast_assets.testing.KeepsPartStatisticsConformance`.
    """

    @abstractmethod
    def part_statistics(self, digest: str) -> list[Segment]:
        """Returns what is kept under a digest, in order of the numbers."""

    @abstractmethod
    def keep_part_statistics(
        self, digest: str, source: str, content: bytes, *, instead_of: Collection[int] = ()
    ) -> None:
        """Adds a segment and removes some others, in one transaction.

        What was kept of the source under other digests, and not added to for the time `UNUSED`, is removed.

        Args:
            digest: tells what is counted and how; at most 64 characters.
            source: the name of the source.
            instead_of: numbers of segments that the new one takes the place of.
        """

    @abstractmethod
    def forget_part_statistics(self, digest: str) -> None:
        """Removes all that is kept under a digest."""
