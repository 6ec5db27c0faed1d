"""The ability of a registry to note pushes before they begin, so that an interrupted one can be completed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NotedPush:
    """A push that was begun, and is not known to be complete.

    Attributes:
        id: of what is pushed and where it goes: the same for the same rows and the same views.
        call: the call as messages name it, such as ``push to 'live'``.
        online_views: names of the views whose online tables get the rows.
        offline_view: name of the view whose batch source gets the rows; "" where none does.
        version: orders the rows among others of equal times; see `feast_assets.compute.versions`.
        at: when it was begun, UTC.
        by: user and machine, as far as they are known.
        damage: why the note cannot be read, where it was changed since; "" where it can. Such a push is kept, and is
            not completed.
    """

    id: str
    call: str
    online_views: tuple[str, ...]
    offline_view: str
    version: int
    at: datetime
    by: str = ""
    damage: str = ""


class NotesPushes(ABC):
    """A registry that keeps the rows of a push until it is complete.

    A push of several parts is noted in one transaction before anything is written, and forgotten when all of it is
    written. With a registry without this ability an interrupted push stays half done. A backend passes
    `feast_assets.testing.NotesPushesConformance`, and its snapshots say in `has_noted_pushes` whether there are any.
    """

    @abstractmethod
    def note_push(self, push: NotedPush, rows: bytes) -> NotedPush:
        """Notes a push, and returns it; where one of its id is noted already, that one, which stays as it is.

        Args:
            rows: as `rows_of_push` is to return them; many megabytes, perhaps.
        """

    @abstractmethod
    def noted_pushes(self) -> list[NotedPush]:
        """Returns the pushes that are noted, oldest first."""

    @abstractmethod
    def rows_of_push(self, push: NotedPush) -> bytes | None:
        """Returns the rows of a noted push; None where it has been forgotten."""

    @abstractmethod
    def forget_push(self, push: NotedPush) -> None:
        """Removes a noted push. One of the same id that was noted under another version since stays."""
