"""The answer to an online request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from feast_assets.definitions.spec import from_micros
from feast_assets.online_stores.codec import NOT_FOUND, NULL_VALUE, PRESENT
from feast_assets.retrieval.columns import Values
from feast_assets.types import Bool, Float32, Float64, Int32, Int64, String
from feast_assets.types.json import iso_text, to_json_values

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from feast_assets.online_stores.codec import Column
    from feast_assets.types import FeastType

OUTSIDE_MAX_AGE = 4
STATUS_NAMES = ("INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE")

_TIMESTAMP_POSTFIX = "__ts"
_AS_JSON = frozenset((Bool, Int32, Int64, String))
_EPOCH_TEXT = "1970-01-01T00:00:00Z"


class StoredColumn:
    """A feature as the online store has it, without what is too old."""

    __slots__ = ("_column", "_stale", "type")

    def __init__(self, column: Column, stale: NDArray[np.bool_] | None):
        self._column = column
        self._stale = stale
        self.type: FeastType = column.type

    def to_pylist(self) -> list[Any]:
        values = self._column.to_pylist()
        if self._stale is not None:
            for row in np.flatnonzero(self._stale).tolist():
                values[row] = None
        return values

    def to_arrow(self) -> pa.Array:
        values = self._column.to_arrow()
        if self._stale is None:
            return values
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.if_else(pa.array(self._stale), pa.scalar(None, values.type), values)


class ResponseColumn:
    """One column of an answer.

    Attributes:
        name: its name.
        values: one per row.
        event_timestamps: int64[n], UTC microseconds, 0 where there is no row; None for join keys, request data and
            computed features, which have no time.
        request_data: whether it is what the caller handed in for an on-demand view, and not part of what was asked.
    """

    __slots__ = ("_statuses", "event_timestamps", "name", "request_data", "values")

    def __init__(
        self,
        name: str,
        values: Values,
        statuses: NDArray[np.uint8] | None = None,
        event_timestamps: NDArray[np.int64] | None = None,
        *,
        request_data: bool = False,
    ):
        """Creates the column.

        Args:
            statuses: uint8[n], Feast's codes, see `STATUS_NAMES`; left out where every value that is not null is there.
        """
        self.name = name
        self.values = values
        self._statuses = statuses
        self.event_timestamps = event_timestamps
        self.request_data = request_data

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """uint8[n], Feast's codes, see `STATUS_NAMES`; never PRESENT where the value is null."""
        if self._statuses is None:
            missing = [value is None for value in self.values.to_pylist()]
            self._statuses = np.where(missing, NULL_VALUE, PRESENT).astype(np.uint8)
        return self._statuses


class OnlineResponse:
    """Features of some entities.

    Columns are the join keys first, under the names that the entity rows have, then stored features in the order asked
    for, then features of on-demand views. Rows are in the order of the entity rows. As in Feast, request data is not
    given back; only `to_json` has it, after the join keys.
    """

    def __init__(self, columns: Sequence[ResponseColumn], rows: int):
        """Takes every column, with request data, in the order of `to_json`."""
        self._all_columns = tuple(columns)
        self._columns = tuple(column for column in self._all_columns if not column.request_data)
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"OnlineResponse(rows={self._rows}, columns={self.feature_names})"

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self._columns]

    @property
    def columns(self) -> tuple[ResponseColumn, ...]:
        return self._columns

    def statuses(self) -> dict[str, list[str]]:
        """Returns for each column one status per row.

        PRESENT; NULL_VALUE, null was stored or computed; NOT_FOUND, the entity has no row, or one from before the
        feature was added; OUTSIDE_MAX_AGE, the row is older than the view's ttl. The value is None in all but the
        first.
        """
        return {column.name: _status_names(column.statuses) for column in self._columns}

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Returns column name -> one Python value per row (`feast_assets.types.python` says which); None for null.

        Args:
            include_event_timestamps: also give ``<column>__ts``, event times in whole epoch seconds; 0 where there is
                none.
        """
        if not include_event_timestamps:
            return {column.name: column.values.to_pylist() for column in self._columns}
        values: dict[str, list[Any]] = {}
        for column in self._columns:
            values[column.name] = column.values.to_pylist()
            values[column.name + _TIMESTAMP_POSTFIX] = self._seconds(column).tolist()
        return values

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """Returns the same columns as an Arrow table, in canonical types (`feast_assets.types.arrow`)."""
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for column in self._columns:
            columns[column.name] = column.values.to_arrow()
            if include_event_timestamps:
                columns[column.name + _TIMESTAMP_POSTFIX] = pa.array(self._seconds(column))
        return pa.table(columns)

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """Returns the same columns as a DataFrame.

        As Arrow's conversion makes them: timestamps are UTC, integers with nulls are floats. Types that pandas lacks
        are objects: the Python values of `to_dict`.
        """
        import pandas as pd

        from feast_assets.retrieval.on_demand import to_series

        columns: dict[str, Any] = {}
        for column in self._columns:
            columns[column.name] = to_series(column.values)
            if include_event_timestamps:
                columns[column.name + _TIMESTAMP_POSTFIX] = self._seconds(column)
        return pd.DataFrame(columns, index=pd.RangeIndex(self._rows))

    def to_json(self) -> dict[str, Any]:
        """Returns what Feast's HTTP server answers, as data that ``json.dumps`` takes.

        ``{"metadata": {"feature_names": [...]}, "results": [{"values", "statuses", "event_timestamps"}, ...]}``, one
        result per name, with one item per row; request data is among them. Values are as `feast_assets.types.json`
        says.
        """
        times = _TimeTexts(self._rows)
        return {
            "metadata": {"feature_names": [column.name for column in self._all_columns]},
            "results": [
                {
                    "values": _json_values(column),
                    "statuses": _status_names(column.statuses),
                    "event_timestamps": times.of(column.event_timestamps),
                }
                for column in self._all_columns
            ],
        }

    def _seconds(self, column: ResponseColumn) -> NDArray[np.int64]:
        if column.event_timestamps is None:
            return np.zeros(self._rows, np.int64)
        return column.event_timestamps // 1_000_000


def _status_names(statuses: NDArray[np.uint8]) -> list[str]:
    return [STATUS_NAMES[status] for status in statuses.tolist()]


def _json_values(column: ResponseColumn) -> list[Any]:
    values = column.values.to_pylist()
    if column.values.type in _AS_JSON or (column.values.type in (Float32, Float64) and _all_finite(column, values)):
        return values
    return to_json_values(values)


def _all_finite(column: ResponseColumn, values: list[Any]) -> bool:
    if bool((column.statuses == PRESENT).all()):
        # One NaN or infinity anywhere makes the sum one as well.
        return math.isfinite(sum(values))
    return all(value is None or math.isfinite(value) for value in values)


class _TimeTexts:
    """Event times as text; the columns of one view share theirs."""

    def __init__(self, rows: int):
        self._none = [_EPOCH_TEXT] * rows
        self._texts: dict[int, list[str]] = {}

    def of(self, timestamps: NDArray[np.int64] | None) -> list[str]:
        if timestamps is None:
            return list(self._none)
        known = self._texts.get(id(timestamps))
        if known is None:
            known = self._texts[id(timestamps)] = list(_texts(timestamps))
        return list(known)


def _texts(timestamps: NDArray[np.int64]) -> Iterator[str]:
    if not (timestamps % 1_000_000).any():
        seconds = np.datetime_as_string((timestamps // 1_000_000).view("datetime64[s]"))
        return (f"{text}Z" for text in seconds.tolist())
    return (iso_text(from_micros(micros)) for micros in timestamps.tolist())


__all__ = [
    "NOT_FOUND",
    "NULL_VALUE",
    "OUTSIDE_MAX_AGE",
    "PRESENT",
    "STATUS_NAMES",
    "OnlineResponse",
    "ResponseColumn",
    "StoredColumn",
]
