"""The parts that a source consists of, such as files, by which a store knows what has changed without reading rows."""

from __future__ import annotations

from dataclasses import dataclass

SETTLED_NANOS = 2_000_000_000
"""How long before it is listed a part must have been changed last, so that another change of it would show.

File systems, and clocks, may give two changes that follow each other the same time.
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """The event times of a part's rows.

    Attributes:
        oldest, newest: UTC microseconds, both included; both None where no row of the part has an event time.
    """

    oldest: int | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a source that are stored, and replaced, together: a file, or a partition of a table.

    A row is in one part. So what is additive over rows, such as their number or the sum of their hashes, is the sum of
    what the parts contribute, and of a part whose token is the same it is the same.

    Attributes:
        name: unique among the source's parts, and the same after a change of content; such as a file's path.
        change_token: changes whenever the content may have changed, such as a file's size, modification time and
            inode. Where a part of the same name comes back with the same content, the token may be another one.
        extent: of the event times; None where they are not known without reading rows. It covers all rows, including
            those that lack a join key.
        changed: when the system that stores it last noted a change of it, in UTC nanoseconds, whatever its modification
            time says; 0 for what is never changed under its name.
        size: bytes; 0 where that is not known.
    """

    name: str
    change_token: str
    extent: Extent | None = None
    changed: int = 0
    size: int = 0

    @property
    def text(self) -> str:
        """Name and change token in one text; itself a change token of the source."""
        return f"{self.name}:{self.change_token}"

    def is_settled(self, listed_at: int) -> bool:
        """Whether a change of the part after it was listed, at a time in UTC nanoseconds, would change its identity."""
        return not self.changed or listed_at - self.changed >= SETTLED_NANOS

    @property
    def identity(self) -> str:
        """A text that is another one where the content may be another, also if its modification time was put back."""
        return f"{self.text}:{self.changed}" if self.changed else self.text


@dataclass(frozen=True, slots=True)
class SourceParts:
    """What a source consists of at one moment.

    Attributes:
        parts: in no special order; none where the source is there and empty.
        is_gone: whether nothing is there under the source's name: no table, no file. A source that is not there yet is
            gone as well.
        hold_rows: whether the rows are divided among the parts. Otherwise the parts are entries of a table's log: they
            tell whether anything has changed, but not what.
        are_shared: whether the parts also hold what other sources read, as the file of a database does. Then a token
            may change, in another process than the one that saw the part before, though the source has not.
    """

    parts: tuple[Part, ...] = ()
    is_gone: bool = False
    hold_rows: bool = True
    are_shared: bool = False
