"""The online store interface: in each table, the newest row per entity key.

A row is ``(key, event timestamp, created timestamp, version, payload)``. A store knows nothing of features: keys are
made by `feast_assets.online_stores.rows.keys`, payloads by `feast_assets.online_stores.rows.codec`.

`OnlineStore` is what every store does. What only some can do is in `feast_assets.online_stores.abilities`: one small
base class for each ability. Every store passes `feast_assets.testing.OnlineStoreConformance`, and the suite of each of
its abilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feast_assets.online_stores.rows.foreign_values import ForeignValues

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pydantic import BaseModel

LARGEST_VERSION = 2**63 - 1
"""Of a row; the smallest is 0."""

NO_CREATED_TIME = -(2**63)
"""The created timestamp of a row whose source has none: older than any other."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows to be put into a store, at most one per key.

    Attributes:
        keys: n encoded entity keys.
        event_timestamps: int64[n], UTC microseconds.
        created_timestamps: int64[n], UTC microseconds; `NO_CREATED_TIME` where the source has none.
        versions: int64[n], from 0 to `LARGEST_VERSION`; UTC microseconds at which the content became known.
        payloads: n encoded rows of features.
        of_codec: whether the payloads are made by the row codec. A store with `CanHoldForeignValues` then also takes
            for missing what it holds and the codec cannot have made. Other stores ignore it.
    """

    keys: Sequence[bytes]
    event_timestamps: npt.NDArray[np.int64]
    created_timestamps: npt.NDArray[np.int64]
    versions: npt.NDArray[np.int64]
    payloads: Sequence[bytes]
    of_codec: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, indices: Sequence[int]) -> EncodedRows:
        """Returns the rows at some indices."""
        import numpy as np  # Serving, which only reads, does not load numpy.

        chosen = np.asarray(indices, np.int64)
        return replace(
            self,
            keys=[self.keys[index] for index in indices],
            event_timestamps=self.event_timestamps[chosen],
            created_timestamps=self.created_timestamps[chosen],
            versions=self.versions[chosen],
            payloads=[self.payloads[index] for index in indices],
        )


@dataclass(slots=True)
class StoredRows:
    """The rows that a store holds under the keys of one read, in the order of the keys.

    Attributes:
        event_timestamps: n times, UTC microseconds; 0 where there is no row.
        created_timestamps: n times, UTC microseconds; 0 where there is no row.
        versions: n versions; 0 where there is no row.
        payloads: n payloads; None where there is no row.
    """

    event_timestamps: Sequence[int]
    created_timestamps: Sequence[int]
    versions: Sequence[int]
    payloads: Sequence[bytes | None]

    @property
    def stored_values(self) -> tuple[Sequence[bytes | None], int]:
        """Stored values, and the payload's offset in each, for callers that read payloads without copying them."""
        return self.payloads, 0

    def foreign(self) -> Mapping[int, str]:
        """Returns the index of each stored value that cannot be a row, with the reason.

        Such a value counts as missing: its timestamps and version are 0, its payload None.
        """
        return {}

    def without(self, indices: Collection[int]) -> StoredRows:
        """Returns the same rows, with those at some indices missing."""
        missing = set(indices)
        columns = (self.event_timestamps, self.created_timestamps, self.versions, self.payloads)
        rows = [_NO_ROW if index in missing else row for index, row in enumerate(zip(*columns, strict=True))]
        events, created, versions, payloads = zip(*rows, strict=True)
        return StoredRows(events, created, versions, payloads)

    def older_than(self, oldest: int) -> list[int]:
        """Returns the indices of rows with event times before ``oldest``; it may include those of missing rows.

        Args:
            oldest: UTC microseconds.
        """
        times = self.event_timestamps
        if not times or min(times) >= oldest:
            return []
        return [index for index, time in enumerate(times) if time < oldest]


_NO_ROW = (0, 0, 0, None)


@dataclass(slots=True)
class OnlineRead:
    """The part of a request that reads one table. Keys may repeat."""

    table: str
    keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class PutResult:
    """How many rows a put wrote.

    Attributes:
        written: rows that are in the store now and were not before; None where the store does not know, such as one
            that writes without an answer.
        ignored: rows that were not newer than what the store held; None where the store does not know.
        absent: of `CanReplace.put_existing` only: keys of the rows that were not written because the store holds no
            row under them. These rows count as ignored.
    """

    written: int | None
    ignored: int | None
    absent: tuple[bytes, ...] = ()

    def __add__(self, other: PutResult) -> PutResult:
        return PutResult(
            None if self.written is None or other.written is None else self.written + other.written,
            None if self.ignored is None or other.ignored is None else self.ignored + other.ignored,
            self.absent + other.absent if other.absent else self.absent,
        )


NOTHING_PUT = PutResult(0, 0)

NEVER_ADVANCED = 1
"""The number of a mark that was set up and never advanced: no run has put rows into its table."""

LARGEST_NUMBER = 2**62 - 1
"""Of a mark. A larger number was not written by this package, and counts as none."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Identifies a table and its state, so that a store that was restored to an earlier state is noticed.

    Attributes:
        identity: a text that is drawn at random when the table is set up, and stays until it is dropped; ``""`` where
            there is no such table.
        number: the number that `OnlineStore.advance` wrote last; `NEVER_ADVANCED` after the set-up. 0 where there is
            none: the table was set up by a version without marks, or its mark was removed.
    """

    identity: str
    number: int


class OnlineStore(ABC):
    """The newest row per entity key, in named tables.

    Rows compare by (event timestamp, created timestamp, version, payload bytes). The payload decides only between rows
    that are equal in all the others, so that the outcome never depends on the order of arrival.

    A store is safe to share between threads. A table that was never set up, or was dropped, reads as empty. Every
    method raises `feast_assets.errors.StoreUnavailableError` if the store cannot be reached or cannot write.
    """

    config_class: ClassVar[type[BaseModel]]

    rows_put_whole: ClassVar[int | None] = 1
    """How many rows of one batch a put stores whole or not at all, even if the process is killed; None: any number.

    A push of more rows is noted in the registry first, so that it can be completed.
    """

    @abstractmethod
    def __init__(self, config: BaseModel, root: Path):
        """Creates the store without connecting.

        Args:
            config: an instance of `config_class`.
            root: the directory of the feature repository, where relative paths start.
        """

    @abstractmethod
    def setup(self, tables: Iterable[str]) -> None:
        """Creates tables with their marks; existing tables stay as they are."""

    @abstractmethod
    def drop(self, tables: Iterable[str]) -> None:
        """Removes tables with all their rows and their marks; those that do not exist are ignored."""

    @abstractmethod
    def marks(self, tables: Sequence[str]) -> list[Mark]:
        """Returns the marks of tables, in order, in one round trip.

        A table that is set up gets an identity and the number `NEVER_ADVANCED`. A put into a table that does not exist
        creates it; it may leave the number 0. A mark is dropped with its table, and never expires. Whatever brings back
        earlier rows of a table (a snapshot, a lagging replica, a copy of the file) must bring back the number of that
        time, so a mark is kept where the rows are. A store that spreads a table over several servers keeps a number on
        each, and returns the lowest.
        """

    @abstractmethod
    def advance(self, table: str, expected: int, new: int) -> Mark:
        """Sets the number of a table's mark if it is the expected one, atomically; returns the mark as it is then.

        The number was set if the one that is returned is ``new``. Nothing is written where there is no such table. A
        crash that undoes rows which were put before must undo the number too; it may undo the number alone.

        Args:
            expected: 0 for none.
            new: larger than ``expected``, and never used before.
        """

    @abstractmethod
    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        """Puts rows; for each key, the newest of the stored row and the rows that are put stays.

        A store without transactions writes each row on the condition that it is newer than the stored one. Of one
        batch, `rows_put_whole` rows are stored whole or not at all. The order of batches does not matter. A table that
        does not exist is created. If ``batches`` has a method ``close``, as generators have, it is called before this
        returns or raises; see `closing_source`.
        """

    @abstractmethod
    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        """Reads keys of several tables in one round trip; one result per read, in order."""

    async def put_many_async(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        """As `put_many`, without blocking the event loop: in a thread, unless a store overrides it."""
        import asyncio  # A fresh process that only reads does not load it.

        return await asyncio.to_thread(self.put_many, table, batches)

    async def get_many_async(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        """As `get_many`, without blocking the event loop: in a thread, unless a store overrides it."""
        import asyncio

        return await asyncio.to_thread(self.get_many, reads)

    def mark(self, table: str) -> Mark:
        """Returns the mark of one table."""
        return self.marks([table])[0]

    def identity(self, table: str) -> str:
        """Returns the identity of one table; ``""`` where there is no such table."""
        return self.marks([table])[0].identity

    @cached_property
    def foreign_values(self) -> ForeignValues:
        """Warns of stored values that cannot be rows, once for each key."""
        return ForeignValues(repr(self))

    def close(self) -> None:  # noqa: B027
        """Releases connections. The store may be used again; it reconnects."""

    async def aclose(self) -> None:  # noqa: B027
        """Releases the connections of the running event loop."""


@contextmanager
def closing_source(batches: Iterable[EncodedRows]) -> Iterator[Iterator[EncodedRows]]:
    """Yields an iterator over batches, and closes it when the block ends.

    A put that fails leaves its source half read. Without this, files and queries that the source has open would stay
    open for as long as someone holds the error.
    """
    remaining = iter(batches)
    try:
        yield remaining
    finally:
        close = getattr(remaining, "close", None)
        if close is not None:
            close()
