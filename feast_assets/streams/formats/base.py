"""Decoding messages to rows, and finding those that cannot be decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from feast_assets.errors import SourceError, StoreUnavailableError, printable, shown

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.streams.columns import StreamColumn

T = TypeVar("T")


class MessageError(Exception):
    """A message cannot be decoded; the text says why."""


class Decoder(ABC):
    """Makes rows of messages. What a message becomes never depends on the messages that it is decoded with."""

    def __init__(self, columns: Sequence[StreamColumn]):
        self.columns = tuple(columns)

    @abstractmethod
    def fields(self, value: bytes) -> Mapping[str, object]:
        """Returns the fields of one message as Python values.

        Raises:
            Exception: the message cannot be decoded.
        """

    def table(self, values: Sequence[bytes]) -> pa.Table:
        """Returns one row for each message, with the columns' names in the batch source.

        Raises:
            Exception: a message cannot be decoded, or holds a value that is not of its column's type.
        """
        return table_of([self.fields(value) for value in values], self.columns)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that did not become a row.

    Attributes:
        index: among the messages that were given.
        reason: as a sentence.
    """

    index: int
    reason: str


def decode(decoder: Decoder, values: Sequence[bytes | None]) -> tuple[list[tuple[list[int], pa.Table]], list[Rejected]]:
    """Returns the rows of messages, in pieces with the indices of their messages, and the messages that are no rows.

    Raises:
        StoreUnavailableError: something that decoding needs cannot be reached, such as a schema registry.
    """
    rejected = [Rejected(i, "it has no value.") for i, value in enumerate(values) if value is None]
    present = [i for i, value in enumerate(values) if value is not None]

    def attempt(indices: list[int]) -> pa.Table:
        return decoder.table([value for i in indices if (value := values[i]) is not None])

    pieces, failed = apart(present, attempt)
    return pieces, sorted([*rejected, *failed], key=lambda each: each.index)


def apart(indices: list[int], attempt: Callable[[list[int]], T]) -> tuple[list[tuple[list[int], T]], list[Rejected]]:
    """Calls a function with all of some indices, or, where that fails, with ever smaller parts of them.

    Returns:
        the parts with what was returned for them, in order, and those indices with which alone the function fails.
    """
    if not indices:
        return [], []
    try:
        return [(indices, attempt(indices))], []
    except StoreUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason of the rejection
        if len(indices) == 1:
            return [], [Rejected(indices[0], reason_of_rejection(error))]
    middle = len(indices) // 2
    first, failed = apart(indices[:middle], attempt)
    second, more = apart(indices[middle:], attempt)
    return first + second, failed + more


def reason_of_rejection(error: Exception) -> str:
    """Returns in one line why a message was rejected."""
    known = isinstance(error, (MessageError, SourceError)) or type(error).__module__.startswith("feast_assets.")
    said = printable(error)
    return (said if known else f"{type(error).__name__}: {said}")[:2000]


def table_of(rows: Sequence[Mapping[str, object]], columns: Sequence[StreamColumn]) -> pa.Table:
    """Returns rows of Python values as a table; a field that a row lacks is null.

    Raises:
        MessageError: a row is no mapping.
        SourceError: a value is not of its column's type.
    """
    import pyarrow as pa

    for row in rows:
        if not isinstance(row, Mapping):
            raise MessageError(f"it holds {shown(row)} instead of named fields.")
    arrays = [column_array([row.get(column.field) for row in rows], column) for column in columns]
    return pa.table(arrays, names=[column.name for column in columns])


def column_array(values: object, column: StreamColumn) -> pa.Array | pa.ChunkedArray:
    """Returns values, Python's or an Arrow column, in the canonical type of a column."""
    import pyarrow as pa

    from feast_assets.types.arrow import cast_column
    from feast_assets.types.exact_keys import cast_key_column
    from feast_assets.types.given_tables import column_of_values

    if column.dtype is None:
        return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else column_of_values(column.field, values)
    cast = cast_key_column if column.is_key else cast_column
    return cast(values, column.dtype, subject=f"field {column.field!r}")
