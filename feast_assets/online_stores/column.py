"""One feature of an online read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feast_assets.errors import OnlineRowError
from feast_assets.online_stores.row_schema import FIXED_CODES, Kind, kind_of
from feast_assets.online_stores.stored_values import reader, stored_reader
from feast_assets.types.feast_type import Bool, FeastType
from feast_assets.types.python import converter

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

# Feast's field statuses.
PRESENT = 1
NULL_VALUE = 2
NOT_FOUND = 3


@dataclass(frozen=True, slots=True)
class FixedPart:
    """Values of rows of one schema.

    Attributes:
        rows: their places in the column; None for all of it.
        nulls: which of them are null; None for none.
        values: one per row, of the wanted type's width; 0 where null.
    """

    rows: NDArray[np.int64] | None
    nulls: NDArray[np.bool_] | None
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class VariablePart:
    """Values of rows of one schema, as slices of all payloads.

    Attributes:
        rows: their places in the column; None for all of it.
        nulls: which of them are null; None for none.
        data: all payloads.
        starts: where each value begins in ``data``.
        ends: where it ends.
        stored: the type that the values were stored as, which the column's type can read.
    """

    rows: NDArray[np.int64] | None
    nulls: NDArray[np.bool_] | None
    data: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    stored: FeastType


Part = FixedPart | VariablePart


class Column:
    """The values of one feature, one per key of the read, and how each was found.

    Attributes:
        name: the feature's name.
        type: its type.
        statuses: uint8[n]; 1 PRESENT, 2 NULL_VALUE (null was stored), 3 NOT_FOUND. Not shared: callers may change it.
    """

    __slots__ = ("_parts", "_what", "name", "statuses", "type")

    def __init__(
        self, name: str, feast_type: FeastType, statuses: NDArray[np.uint8], parts: list[Part], what: str
    ) -> None:
        self.name = name
        self.type = feast_type
        self.statuses = statuses
        self._parts = parts
        self._what = what

    def __len__(self) -> int:
        return len(self.statuses)

    def to_pylist(self) -> list[Any]:
        """Returns the Python values (as `feast_assets.types.python` says); None where null or not found.

        Raises:
            OnlineRowError: a stored value is damaged.
        """
        try:
            if kind_of(self.type) is Kind.FIXED:
                return self._fixed_pylist()
            if len(self._parts) == 1 and self._parts[0].rows is None:
                return self._read(0, stored=False)
            return self._scattered(stored=False)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise self._damaged(error) from error

    def to_arrow(self) -> pa.Array:
        """Returns the values in the type's canonical Arrow type; null where null or not found.

        Raises:
            OnlineRowError: a stored value is damaged.
        """
        import pyarrow as pa

        from feast_assets.types.canonical import to_arrow_type
        from feast_assets.types.storage import storage_type

        wanted = to_arrow_type(self.type)
        try:
            if kind_of(self.type) is Kind.FIXED:
                values, missing = self._fixed()
                return pa.array(values, mask=missing).cast(wanted)
            return pa.array(self._scattered(stored=True), storage_type(self.type)).cast(wanted)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise self._damaged(error) from error

    def _fixed_pylist(self) -> list[Any]:
        found, missing = self._fixed()
        values: list[Any] = found.tolist()
        if (convert := converter(self.type)) is not None:
            values = [convert(value) for value in values]
        if missing is not None:
            for row in np.flatnonzero(missing).tolist():
                values[row] = None
        return values

    def _fixed(self) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Returns a value per row, and which rows have none (None: all have one)."""
        parts = [part for part in self._parts if isinstance(part, FixedPart)]
        if len(parts) == 1 and parts[0].rows is None:
            values, missing = parts[0].values, parts[0].nulls
        else:
            values = np.zeros(len(self), FIXED_CODES[self.type])
            missing = np.ones(len(self), np.bool_)
            for part in parts:
                values[part.rows] = part.values
                missing[part.rows] = False if part.nulls is None else part.nulls
        return (values != 0 if self.type == Bool else values), missing

    def _read(self, number: int, *, stored: bool) -> list[Any]:
        """Returns the values of one variable-width part, for Python or as they are stored."""
        part = self._parts[number]
        assert isinstance(part, VariablePart)
        data = part.data
        read = stored_reader(part.stored) if stored else reader(part.stored, self.type)
        bounds = zip(part.starts.tolist(), part.ends.tolist(), strict=True)
        if part.nulls is None:
            return [read(data[start:end]) for start, end in bounds]
        nulls = part.nulls.tolist()
        return [None if null else read(data[a:b]) for null, (a, b) in zip(nulls, bounds, strict=True)]

    def _scattered(self, *, stored: bool) -> list[Any]:
        values: list[Any] = [None] * len(self)
        for number, part in enumerate(self._parts):
            rows = range(len(self)) if part.rows is None else part.rows.tolist()
            for row, value in zip(rows, self._read(number, stored=stored), strict=True):
                values[row] = value
        return values

    def _damaged(self, error: Exception) -> OnlineRowError:
        return OnlineRowError(f"{self._what}: a stored value of feature {self.name!r} is not a {self.type}: {error}")
