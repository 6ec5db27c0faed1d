"""What an online store is: a byte store in which *put keeps the newer*.

A store maps ``(table, entity key)`` to ``(event timestamp, created timestamp, payload)``. It knows nothing of
features: `feast_assets.online_stores.rows` makes the keys and the payloads. So a backend is small, and every backend
passes `feast_assets.testing.OnlineStoreConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feast_assets.online_stores.rows.foreign_values import ForeignValues

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows on their way into a store, at most one per key.

    Attributes:
        keys: entity keys, n of them.
        event_timestamps: int64[n], UTC microseconds.
        created_timestamps: int64[n]; UTC microseconds, or the version that stands in where a source has none.
        payloads: n encoded rows.
        groups: int64[n], small numbers from 0 on, by which `PutResult.by_group` counts; None where nobody asks.
        only_replaces: whether a row is written only where the store holds an older one under its key. Rows of keys
            that the store lacks are not written; `PutResult.absent` names these keys.
        of_codec: whether the payloads are the row codec's. If so, what is stored under their keys and cannot be a row
            of the codec (see `foreign_values`) counts as not there: the row takes its place.
    """

    keys: Sequence[bytes]
    event_timestamps: npt.NDArray[np.int64]
    created_timestamps: npt.NDArray[np.int64]
    payloads: Sequence[bytes]
    groups: npt.NDArray[np.int64] | None = None
    only_replaces: bool = False
    of_codec: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def taken(self, places: Sequence[int]) -> EncodedRows:
        """Returns the rows at some places."""
        import numpy as np  # Reading needs none.

        at = np.asarray(places, np.int64)
        return replace(
            self,
            keys=[self.keys[place] for place in places],
            event_timestamps=self.event_timestamps[at],
            created_timestamps=self.created_timestamps[at],
            payloads=[self.payloads[place] for place in places],
            groups=None if self.groups is None else self.groups[at],
        )


@dataclass(slots=True)
class StoredRows:
    """What a store holds for the keys of one read, in the order of the keys.

    Attributes:
        event_timestamps: n times, UTC microseconds; 0 where there is no row.
        created_timestamps: n times; 0 where there is no row.
        payloads: n payloads; None where there is no row.
    """

    event_timestamps: Sequence[int]
    created_timestamps: Sequence[int]
    payloads: Sequence[bytes | None]

    @property
    def values(self) -> tuple[Sequence[bytes | None], int]:
        """The payloads as they were stored, and how many bytes come before each; for who reads them where they are."""
        return self.payloads, 0

    def foreign(self) -> Mapping[int, str]:
        """Returns the places of stored values that cannot be rows, each with the reason.

        Such a value counts as not there: its time is 0 and its payload None.
        """
        return {}

    def without(self, places: Collection[int]) -> StoredRows:
        """Returns the rows with those at some places not there."""
        gone = set(places)
        columns = (self.event_timestamps, self.created_timestamps, self.payloads)
        rows = [(0, 0, None) if place in gone else row for place, row in enumerate(zip(*columns, strict=True))]
        events, created, payloads = zip(*rows, strict=True)
        return StoredRows(events, created, payloads)

    def before(self, oldest: int) -> list[int]:
        """Returns the places of the rows with event times before one, and perhaps of rows that are not there."""
        times = self.event_timestamps
        if not times or min(times) >= oldest:
            return []
        return [place for place, time in enumerate(times) if time < oldest]


HEAD_WIDTH = 8
"""How many bytes a head has at most."""


@dataclass(frozen=True, slots=True)
class RowHeads:
    """Which rows a store holds, without their payloads but for how these begin.

    Attributes:
        keys: entity keys, n of them.
        event_timestamps: int64[n], UTC microseconds.
        created_timestamps: int64[n].
        heads: the first `HEAD_WIDTH` bytes of each payload; the whole of a shorter one.
    """

    keys: Sequence[bytes]
    event_timestamps: npt.NDArray[np.int64]
    created_timestamps: npt.NDArray[np.int64]
    heads: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(slots=True)
class OnlineRead:
    """The part of a request that reads one table. Keys may repeat."""

    table: str
    keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of rows that were put.

    Attributes:
        written: rows that are in the store now and were not before.
        ignored: rows that were older than, or the same as, what the store held.
        by_group: of the rows that were written, how many are of each group; what lies beyond the end is 0.
        absent: keys of rows that only replace and were not written, as the store has no row under them. These count
            as ignored.
    """

    written: int
    ignored: int
    by_group: tuple[int, ...] = ()
    absent: tuple[bytes, ...] = ()

    def __add__(self, other: PutResult) -> PutResult:
        by_group = tuple(map(sum, zip_longest(self.by_group, other.by_group, fillvalue=0)))
        absent = self.absent + other.absent if other.absent else self.absent
        return PutResult(self.written + other.written, self.ignored + other.ignored, by_group, absent)


NEVER_ADVANCED = 1
"""The number of a table's mark that was set up and never advanced: no run has put rows into it."""

LARGEST_NUMBER = 2**62 - 1
"""Of a mark. What a store holds above it was not written by this package, and counts as none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Which table a table is, and in which state; by it a store that was put back to an earlier state is noticed.

    Attributes:
        identity: a text that was drawn at random when the table was set up, and stays until it is dropped; ``""`` where
            there is no such table.
        number: what `OnlineStore.advance` wrote last; `NEVER_ADVANCED` after the set-up. 0 where there is none: the
            table was set up by a version without marks, or its mark was removed.
    """

    identity: str
    number: int


def counted(groups: Iterable[int]) -> tuple[int, ...]:
    """Returns how often each group comes, as `PutResult.by_group` has it."""
    counts = Counter(groups)
    return tuple(counts[group] for group in range(max(counts, default=-1) + 1))


class OnlineStore(ABC):
    """The latest row per entity key, per table.

    Rows compare by (event timestamp, created timestamp, payload bytes); the payload decides only between rows with
    equal timestamps, so that the outcome never depends on arrival order. Safe to share between threads. Reading a table
    that was never set up, or was dropped, finds no rows. Every method raises
    `feast_assets.errors.StoreUnavailableError` when the store cannot be reached or cannot write.

    A value under a row's key that the store itself did not write, such as one of another type or without timestamps,
    counts as not there. No method fails because of one: reads skip it, and the next put overwrites it. Stores name its
    key with `foreign_values`.
    """

    config_class: ClassVar[type[BaseModel]]

    rows_put_whole: ClassVar[int | None] = 1
    """How many rows a put of one batch stores whole or not at all, even if the process is killed; None: any number.

    A push of more rows is noted in the registry first, so that it can be completed.
    """

    @abstractmethod
    def __init__(self, config: BaseModel, root: Path): ...

    @abstractmethod
    def setup(self, tables: Iterable[str]) -> None:
        """Makes tables ready for rows; those that exist stay as they are."""

    @abstractmethod
    def marks(self, tables: Sequence[str]) -> list[Mark]:
        """Returns the marks of tables, in order, in one round trip.

        A table that is set up gets an identity and the number `NEVER_ADVANCED`. A put into a table that is not there
        sets the table up; it may leave the number 0. A mark goes with its table when that is dropped, and never
        expires. Whatever brings back earlier rows of a table (a snapshot, a lagging replica, a copy of the file) must
        bring back the number that it had then: so the mark is kept where the rows are. A store that spreads a table
        over several servers keeps a number on each, and returns the lowest.
        """

    @abstractmethod
    def advance(self, table: str, expected: int, new: int) -> Mark:
        """Sets the number of a table's mark if it is the expected one, atomically; returns the mark as it is then.

        It was set if the number returned is the new one. Nothing is written where there is no such table. A crash that
        undoes rows which were put before undoes the number too; the other way about it need not be.

        Args:
            expected: 0 for none.
            new: above ``expected``, and never used before.
        """

    def mark(self, table: str) -> Mark:
        """Returns the mark of one table."""
        return self.marks([table])[0]

    def identity(self, table: str) -> str:
        """Returns the identity of a table's mark, by which a store that was exchanged for another is noticed."""
        return self.marks([table])[0].identity

    def incarnation(self) -> str:
        """Returns a text that changes when the store is started again, or another takes its place.

        If it is the same before and after some puts, no snapshot was loaded between them. Returns ``""`` where the
        store cannot tell.
        """
        return ""

    def evicts_marks(self) -> bool:
        """Whether the store may remove marks when it is short of memory; `evicts` says so of rows."""
        return False

    @abstractmethod
    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        """Puts rows, keeping for each key the newest of what is stored and what is put.

        A batch is put whole or not at all, as far as the backend has transactions of that size; the docstring of a
        backend says how large that is. Rows that have groups are counted by them as well. The order of batches does
        not matter. Of rows that only replace (`EncodedRows.only_replaces`), those whose key is not there are left out
        atomically as well, and named in the result. Where ``batches`` has a ``close`` method, as generators have, it is
        called before this returns or raises.
        """

    @abstractmethod
    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        """Reads keys of several tables in one round trip; one result per read, in order."""

    @abstractmethod
    def delete(self, table: str, keys: Sequence[bytes]) -> None:
        """Removes rows; keys that are not stored are ignored."""

    @abstractmethod
    def scan(self, table: str, start: int, end: int, below: bytes) -> Iterator[RowHeads]:
        """Yields the rows with event timestamps in ``[start, end)`` whose payload is below some bytes.

        It reads the whole table, and holds off nobody. A row may come twice; one that is written, replaced or removed
        meanwhile may come or not.

        Args:
            start, end: UTC microseconds.
            below: at most `HEAD_WIDTH` bytes; payloads compare by their bytes.
        """

    @abstractmethod
    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """Returns the entity keys of at most so many rows, each once, of all parts of a table as far as that is cheap.

        It does not read the whole of a large table, or of a server, and may find fewer rows than there are. Of the same
        rows the same seed chooses the same, as far as the store gives them in the same order.
        """

    @abstractmethod
    def replace_many(self, table: str, held: RowHeads, rows: EncodedRows) -> int:
        """Replaces or removes rows that the store still holds as they are told, older rows taking their place or none.

        Args:
            held: the rows, at most one per key. Where the store holds another row by now, or none, nothing happens.
            rows: what takes their place; keys that are not among them are removed.

        Returns:
            how many were replaced or removed. Each is, or is not, as a whole.
        """

    @abstractmethod
    def drop(self, tables: Iterable[str]) -> None:
        """Removes tables with all their rows; those that do not exist are ignored."""

    @abstractmethod
    async def put_many_async(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        """As `put_many`, without blocking the event loop."""

    @abstractmethod
    async def get_many_async(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        """As `get_many`, without blocking the event loop."""

    def foreign(self, table: str, keys: Sequence[bytes]) -> Mapping[bytes, str]:
        """Returns, of some keys, those under which something is stored that cannot be a row, with what it is.

        For audits. Backends in which that cannot happen need not override it.
        """
        return {}

    def evicts(self) -> str:
        """Returns the name of the policy by which the store removes rows when its memory is full.

        ``""`` where it never does, or does not tell.
        """
        return ""

    @cached_property
    def foreign_values(self) -> ForeignValues:
        """Warns of what is stored under the keys of rows and cannot be a row."""
        return ForeignValues(repr(self))

    def close(self) -> None:  # noqa: B027
        """Releases connections. The store may be used again; it reconnects."""

    async def aclose(self) -> None:  # noqa: B027
        """Releases the connections of the running event loop."""


@contextmanager
def closing_source(batches: Iterable[EncodedRows]) -> Iterator[Iterator[EncodedRows]]:
    """Yields an iterator over batches, and closes it when the block ends.

    A put that fails leaves its source half read; without this, what the source has open would stay open for as long as
    someone holds the error.
    """
    remaining = iter(batches)
    try:
        yield remaining
    finally:
        close = getattr(remaining, "close", None)
        if close is not None:
            close()
