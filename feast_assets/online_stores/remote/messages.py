"""What the remote online store and a feature server say to each other: rows by table and key, in MessagePack.

The methods of `feast_assets.online_stores.base.OnlineStore` are asked for one by one, so that a store that is read
through a server behaves as it does in process. Feast's clients use the server's JSON endpoints instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from feast_assets.online_stores.abilities import RowStamps
from feast_assets.online_stores.base import EncodedRows, Mark, OnlineRead, PutResult, StoredRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PREFIX = "/feast-assets/online-store/"
"""What the paths of all methods begin with."""

_Ints = list[int]


class Reads(msgspec.Struct, array_like=True):
    """Of ``get``: each read's table and keys."""

    reads: list[tuple[str, list[bytes]]]

    def online_reads(self) -> list[OnlineRead]:
        """Returns what is to be read."""
        return [OnlineRead(table, keys) for table, keys in self.reads]


class RowColumns(msgspec.Struct, array_like=True):
    """The rows of one read, in the order of its keys; the attributes are those of `StoredRows`.

    Attributes:
        foreign: index of each stored value that cannot be a row -> the reason.
    """

    events: _Ints
    created: _Ints
    versions: _Ints
    payloads: list[bytes | None]
    foreign: dict[int, str] = {}

    @classmethod
    def of(cls, rows: StoredRows) -> RowColumns:
        """Returns rows that a store has read."""
        return cls(
            list(rows.event_timestamps),
            list(rows.created_timestamps),
            list(rows.versions),
            list(rows.payloads),
            dict(rows.foreign()) if None in rows.payloads else {},
        )


class Batch(msgspec.Struct, array_like=True):
    """Rows to put; the attributes are those of `EncodedRows`."""

    keys: list[bytes]
    events: _Ints
    created: _Ints
    versions: _Ints
    payloads: list[bytes]
    of_codec: bool = False

    @classmethod
    def of(cls, rows: EncodedRows) -> Batch:
        """Returns rows as a message."""
        return cls(
            list(rows.keys),
            rows.event_timestamps.tolist(),
            rows.created_timestamps.tolist(),
            rows.versions.tolist(),
            list(rows.payloads),
            rows.of_codec,
        )

    def rows(self) -> EncodedRows:
        """Returns the rows.

        Raises:
            ValueError: the columns have different lengths, or a number does not fit 64 bits.
        """
        _check_lengths(self.keys, self.events, self.created, self.versions, self.payloads)
        return EncodedRows(
            self.keys, _int64(self.events), _int64(self.created), _int64(self.versions), self.payloads, self.of_codec
        )


class Stamps(msgspec.Struct, array_like=True):
    """Rows without payloads; the attributes are those of `RowStamps`."""

    keys: list[bytes]
    events: _Ints
    created: _Ints
    versions: _Ints

    @classmethod
    def of(cls, stamps: RowStamps) -> Stamps:
        """Returns stamps as a message."""
        return cls(
            list(stamps.keys),
            stamps.event_timestamps.tolist(),
            stamps.created_timestamps.tolist(),
            stamps.versions.tolist(),
        )

    def stamps(self) -> RowStamps:
        """Returns the stamps.

        Raises:
            ValueError: the columns have different lengths, or a number does not fit 64 bits.
        """
        _check_lengths(self.keys, self.events, self.created, self.versions)
        return RowStamps(self.keys, _int64(self.events), _int64(self.created), _int64(self.versions))


class PutRows(msgspec.Struct, array_like=True):
    """Of ``put`` and ``put-existing``."""

    table: str
    batches: list[Batch]


class PutCounts(msgspec.Struct, array_like=True):
    """The answer to a put; the attributes are those of `PutResult`."""

    written: int | None
    ignored: int | None
    absent: list[bytes]

    @classmethod
    def of(cls, result: PutResult) -> PutCounts:
        """Returns a result as a message."""
        return cls(result.written, result.ignored, list(result.absent))

    def result(self) -> PutResult:
        """Returns the result."""
        return PutResult(self.written, self.ignored, tuple(self.absent))


class Tables(msgspec.Struct, array_like=True):
    """Of ``setup``, ``drop`` and ``marks``."""

    tables: list[str]


class MarkMessage(msgspec.Struct, array_like=True):
    """A `Mark`."""

    identity: str
    number: int

    def mark(self) -> Mark:
        """Returns the mark."""
        return Mark(self.identity, self.number)


class Advance(msgspec.Struct, array_like=True):
    """Of ``advance``."""

    table: str
    expected: int
    new: int


class Scan(msgspec.Struct, array_like=True):
    """Of ``scan``."""

    table: str
    start: int
    end: int
    version_below: int | None = None


class Replace(msgspec.Struct, array_like=True):
    """Of ``replace``."""

    table: str
    held: Stamps
    rows: Batch


class Sample(msgspec.Struct, array_like=True):
    """Of ``sample``."""

    table: str
    count: int
    seed: int


class StoreState(msgspec.Struct, array_like=True):
    """The answer to ``state``: what the store that the server has can tell of itself.

    Attributes:
        restart_token: see `CanTellRestarts`; ``""`` where the store cannot tell.
        evicts, evicts_marks: see `CanEvict`.
        key_ttl_seconds: see `CanExpire`; None for ever.
    """

    restart_token: str = ""
    evicts: str = ""
    evicts_marks: bool = False
    key_ttl_seconds: float | None = None


class Nothing(msgspec.Struct, array_like=True):
    """A message without content."""


def _check_lengths(*columns: Sequence[object]) -> None:
    if len({len(column) for column in columns}) > 1:
        raise ValueError("the columns of a message have different lengths")


def _int64(numbers: _Ints) -> npt.NDArray[np.int64]:
    import numpy as np  # A server that only reads does not load it.

    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        raise ValueError("a number of a message does not fit 64 bits") from None
