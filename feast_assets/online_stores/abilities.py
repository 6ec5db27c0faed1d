"""What only some online stores can do: one base class for each ability.

A store that has an ability inherits from its class, beside `feast_assets.online_stores.base.OnlineStore`, and passes
the suite of the same name in `feast_assets.testing`. Callers ask with ``isinstance``, and do without where it is
missing:

============================ ============================================================================
missing                      consequence
============================ ============================================================================
`CanReplace`                 rows that the source has lost stay in the store until newer rows take their place;
                             a run that rewrites such windows warns
`CanSample`                  an audit takes its entities from history alone, and says so
`CanExpire`, `CanEvict`      the store never loses rows by itself
`CanTellRestarts`            a store that is restored while a run writes to it is noticed by its marks alone
`CanHoldForeignValues`       nobody else writes under the keys of rows
============================ ============================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from feast_assets.online_stores.base import EncodedRows, PutResult

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RowStamps:
    """Stored rows without their payloads.

    Attributes:
        keys: n entity keys.
        event_timestamps: int64[n], UTC microseconds.
        created_timestamps: int64[n].
        versions: int64[n].
    """

    keys: Sequence[bytes]
    event_timestamps: npt.NDArray[np.int64]
    created_timestamps: npt.NDArray[np.int64]
    versions: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, rows: EncodedRows) -> RowStamps:
        """Returns the stamps of rows that were put."""
        return cls(rows.keys, rows.event_timestamps, rows.created_timestamps, rows.versions)

    def slice(self, start: int, end: int) -> RowStamps:
        """Returns the rows from one index up to another."""
        part = slice(start, end)
        return RowStamps(
            self.keys[part], self.event_timestamps[part], self.created_timestamps[part], self.versions[part]
        )


class CanReplace(ABC):
    """A store that finds rows by their versions, and replaces or removes them.

    Runs use it to withdraw rows that the source does not have any more, and to leave the keys alone that the store has
    lost.
    """

    @abstractmethod
    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[RowStamps]:
        """Yields the rows with event timestamps in ``[start, end)``, and versions below one if it is given.

        It reads the whole table, and blocks no other caller. A row may come twice; one that is written, replaced or
        removed meanwhile may come or not.

        Args:
            start, end: UTC microseconds.
        """

    @abstractmethod
    def replace_many(self, table: str, held: RowStamps, rows: EncodedRows) -> int:
        """Replaces rows, by older rows too, or removes them; only where the store still holds them unchanged.

        Args:
            held: the rows to replace, at most one per key. Where the store holds a row with other stamps by now, or
                none, nothing happens.
            rows: the rows that take their place; keys of ``held`` that are not among them are removed.

        Returns:
            how many were replaced or removed. Each of them whole or not at all.
        """

    @abstractmethod
    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        """As `OnlineStore.put_many`, but only under keys where the store holds a row.

        A row under another key is not written, and `PutResult.absent` names its key. Check and write of a row are
        atomic: a key that is removed meanwhile is never written again.
        """


class CanSample(ABC):
    """A store that finds some keys of a table without reading all of it."""

    @abstractmethod
    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """Returns entity keys of at most ``count`` rows, each once, from all parts of a table as far as that is cheap.

        The cost must not grow with the table, nor with the server: it may find fewer keys than there are. The same
        seed chooses the same keys of the same rows, as far as the store returns them in the same order.
        """


class CanExpire(ABC):
    """A store that can remove rows some time after they were written."""

    @property
    @abstractmethod
    def key_ttl(self) -> timedelta | None:
        """How long a row stays after it was written; None for ever."""


class CanEvict(ABC):
    """A store that may remove rows when its memory is full."""

    @abstractmethod
    def evicts(self) -> str:
        """Returns the name of the policy by which rows are removed; ``""`` if none are, or the store does not tell."""

    @abstractmethod
    def evicts_marks(self) -> bool:
        """Whether the marks of tables may be removed as well."""


class CanTellRestarts(ABC):
    """A store that can tell whether it was restarted, or exchanged for another.

    If `restart_token` returns the same text before and after some puts, no snapshot was loaded between them.
    """

    @abstractmethod
    def restart_token(self) -> str:
        """Returns a change token: another one after a restart or an exchange; ``""`` where it cannot tell now."""


class CanHoldForeignValues(ABC):
    """A store in which other programs can write values under the keys of rows, or in which a cell can have any type.

    A value that cannot be a row counts as missing. No method fails because of one: reads and scans skip it, and the
    next put overwrites it and names its key with `OnlineStore.foreign_values`.
    """

    @abstractmethod
    def foreign(self, table: str, keys: Sequence[bytes]) -> Mapping[bytes, str]:
        """Returns, of some keys, those under which something is stored that cannot be a row, each with the reason."""
