"""How far a stream reaches, and how far the views that read it have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamLag:
    """How far one stream reaches, and how far it has been consumed.

    Attributes:
        source: the name of the stream source.
        identity: tells the stream from an earlier one of the same name.
        ends: for each partition, the offset after its last message; None where the stream does not tell it.
        positions: view -> for each partition, the offset that is consumed next. A view that has not been consumed
            begins with the oldest message that is still there.
    """

    source: str
    identity: str
    ends: Mapping[str, int] | None
    positions: Mapping[str, Mapping[str, int]]

    def of_view(self, view: str) -> dict[str, int]:
        """Returns for each partition how many offsets a view is behind; empty where the stream does not tell its end.

        Offsets of files are bytes.
        """
        ends, position = self.ends or {}, self.positions[view]
        return {name: max(0, end - position[name]) for name, end in ends.items()}

    @property
    def total(self) -> int:
        """How many offsets the view that is furthest behind is behind; 0 where the stream does not tell its end."""
        return max((sum(self.of_view(view).values()) for view in self.positions), default=0)
