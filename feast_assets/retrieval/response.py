"""The answer to an online request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

from feast_assets.online_stores.rows.codec import NOT_FOUND, NULL_VALUE, OUTSIDE_MAX_AGE, PRESENT, Column
from feast_assets.retrieval.columns import PythonColumn, Values
from feast_assets.retrieval.tensors import tensors
from feast_assets.types import Array, Bool, FeastType, Int32, Int64, Set
from feast_assets.types.python import is_mutable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from feast_assets.online_stores.base import StoredRows
    from feast_assets.online_stores.rows.codec import DecodedRows
    from feast_assets.retrieval.json_body import JsonLayout
    from feast_assets.retrieval.request import FeatureRequest, StoredOutput, ViewRead

STATUS_NAMES = ("INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE")

_TIMESTAMP_POSTFIX = "__ts"


class ResponseColumn:
    """One column of an answer.

    Attributes:
        name: its name.
        values: one per row.
        event_timestamps: one per row, UTC microseconds, 0 where there is no row; None for join keys, request data and
            computed features, which have no time.
    """

    __slots__ = ("_statuses", "event_timestamps", "name", "values")

    def __init__(
        self,
        name: str,
        values: Values,
        statuses: Sequence[int] | None = None,
        event_timestamps: Sequence[int] | None = None,
    ):
        """Creates the column.

        Args:
            statuses: Feast's codes, see `STATUS_NAMES`; left out for stored values, which know their own, and where
                every value that is not null is there.
        """
        self.name = name
        self.values = values
        self._statuses = statuses
        self.event_timestamps = event_timestamps

    @property
    def statuses(self) -> Sequence[int]:
        """One per row, Feast's codes, see `STATUS_NAMES`; never PRESENT where the value is null."""
        if self._statuses is None:
            if isinstance(self.values, Column):
                self._statuses = self.values.statuses
            else:
                self._statuses = [NULL_VALUE if value is None else PRESENT for value in self.values.to_pylist()]
        return self._statuses


class GivenColumn(PythonColumn):
    """A column whose Python values have been checked; lists and dicts are handed out as copies, like stored ones."""

    __slots__ = ()

    def to_pylist(self) -> list[Any]:
        return deepcopy(list(self._values)) if is_mutable(self.type) else list(self._values)


class ReadFeatures:
    """What the read of one view gave.

    Attributes:
        features: of each row.
    """

    __slots__ = ("_positions", "_stored", "_times", "features")

    def __init__(self, features: DecodedRows, stored: StoredRows, positions: Sequence[int] | None):
        """Takes what was read.

        Args:
            positions: which of the stored rows each row is; None where that is row by row.
        """
        self.features = features
        self._stored = stored
        self._positions = positions
        self._times: Sequence[int] | None = None

    @property
    def event_timestamps(self) -> Sequence[int]:
        """Of each row, UTC microseconds; 0 where there is none."""
        if self._times is None:
            times = self._stored.event_timestamps
            self._times = times if self._positions is None else [times[position] for position in self._positions]
        return self._times

    def stored_times(self) -> list[tuple[int, int, int]]:
        """Returns (event time, created time, version) of each row, UTC microseconds; zeros where there is no row."""
        stored = self._stored
        rows = list(zip(stored.event_timestamps, stored.created_timestamps, stored.versions, strict=True))
        return rows if self._positions is None else [rows[position] for position in self._positions]


@dataclass(frozen=True, slots=True)
class GivenShape:
    """A column that comes with the entity rows.

    Attributes:
        name: its name.
        dtype: its type.
        request_data: whether it is request data, which is not given back.
    """

    name: str
    dtype: FeastType
    request_data: bool

    def column(self, values: list[object]) -> GivenColumn:
        """Returns the column of some values."""
        return GivenColumn(values, self.dtype, f"Column {self.name!r}")


class ResponseShape:
    """What the answers to one feature request have in common.

    Attributes:
        given: the columns that come with the entity rows.
        given_names: their names.
        given_back: the names of those that are not request data.
        stored: the columns that are read.
        computed: the names of those that are computed.
        names: of all columns but request data, in order.
        of_reads: per read, the names of its columns and the positions of their features; None for all in their order.
        places_of_stored: of each column that is read, which read it is of, and its index among that read's columns.
        views: per read, the name of its view.
        view_versions: the name of each view that is read, as the request calls it, and the number of its version.
        json_layout: what JSON bodies have in common, once one was made.
        read_by_read: whether the columns that are read come one read after another.
    """

    def __init__(self, request: FeatureRequest):
        columns = {**request.join_keys, **request.request_fields}
        needed = dict.fromkeys([*request.join_keys, *request.request_fields])
        self.given = tuple(GivenShape(name, columns[name].dtype, name not in request.join_keys) for name in needed)
        self.given_names = needed.keys()
        self.given_back = [given.name for given in self.given if not given.request_data]
        self.stored = request.stored
        self.computed = tuple(output.name for output in request.computed)
        self.names = [
            *self.given_back,
            *(output.name for output in self.stored),
            *self.computed,
        ]
        outputs: list[list[StoredOutput]] = [[] for _ in request.reads]
        for output in self.stored:
            outputs[output.read].append(output)
        self.of_reads = [_of_read(of_read, read) for of_read, read in zip(outputs, request.reads, strict=True)]
        seen = [count() for _ in outputs]
        self.places_of_stored = [(output.read, next(seen[output.read])) for output in self.stored]
        self.views = [read.view.name for read in request.reads]
        self.view_versions = _view_versions(request)
        self.json_layout: JsonLayout | None = None
        self.read_by_read = all(a.read <= b.read for a, b in pairwise(self.stored))


def _view_versions(request: FeatureRequest) -> dict[str, int]:
    versions: dict[str, int] = {}
    for output in request.stored:
        name = output.reference.partition(":")[0].partition("@")[0]
        versions.setdefault(name, request.reads[output.read].view.current_version_number)
    read_for_outputs = {output.read for output in request.stored}
    for number, read in enumerate(request.reads):
        if number not in read_for_outputs:  # only functions take what it gives
            versions.setdefault(read.view.name, read.view.current_version_number)
    return versions


def _of_read(outputs: Sequence[StoredOutput], read: ViewRead) -> tuple[list[str], list[int] | None]:
    positions = [output.position for output in outputs]
    whole = positions == list(range(len(read.features)))
    return [output.name for output in outputs], None if whole else positions


class OnlineResponse:
    """Features of some entities.

    Columns are the join keys first, under the names that the entity rows have, then stored features in the order asked
    for, then features of on-demand views. Rows are in the order of the entity rows. As in Feast, request data is not
    given back.
    """

    __slots__ = ("_columns", "_computed", "_given", "_reads", "_rows", "_shape", "_tells_versions")

    def __init__(
        self,
        shape: ResponseShape,
        rows: int,
        given: Mapping[str, list[object]],
        reads: Sequence[ReadFeatures],
        computed: Sequence[Values],
    ):
        """Takes what the shape says, in its order; of what came with the entity rows, the checked values by name."""
        self._shape = shape
        self._rows = rows
        self._given = given
        self._reads = reads
        self._computed = computed
        self._columns: tuple[ResponseColumn, ...] | None = None
        self._tells_versions = False

    def telling_versions(self) -> OnlineResponse:
        """Returns this answer, which now tells which versions of views were read."""
        self._tells_versions = True
        return self

    @property
    def tells_versions(self) -> bool:
        """Whether the request asked for the versions of views."""
        return self._tells_versions

    @property
    def feature_view_metadata(self) -> list[dict[str, Any]]:
        """``name`` and ``version`` (a number) of each view that was read, if the request asked for them."""
        versions = self._shape.view_versions if self._tells_versions else {}
        return [{"name": name, "version": version} for name, version in versions.items()]

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"OnlineResponse(rows={self._rows}, columns={self.feature_names})"

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._shape.names)

    @property
    def shape(self) -> ResponseShape:
        """What it has in common with other answers to the same request for features."""
        return self._shape

    @property
    def reads(self) -> Sequence[ReadFeatures]:
        """What the read of each view gave."""
        return self._reads

    @property
    def computed(self) -> Sequence[Values]:
        """The columns of on-demand views."""
        return self._computed

    def given(self, name: str) -> list[Any]:
        """Returns the checked values of a column of the entity rows; not to be changed."""
        return self._given[name]

    @property
    def columns(self) -> tuple[ResponseColumn, ...]:
        """Every column, in order; the same each time."""
        if self._columns is None:
            self._columns = self._made_columns()
        return self._columns

    def _made_columns(self) -> tuple[ResponseColumn, ...]:
        shape = self._shape
        columns = [
            ResponseColumn(given.name, given.column(self._given[given.name]))
            for given in shape.given
            if not given.request_data
        ]
        for output in shape.stored:
            read = self._reads[output.read]
            column = read.features.column(output.position)
            columns.append(ResponseColumn(output.name, column, None, read.event_timestamps))
        columns += [ResponseColumn(n, values) for n, values in zip(shape.computed, self._computed, strict=True)]
        return tuple(columns)

    def statuses(self) -> dict[str, list[str]]:
        """Returns for each column one status per row.

        PRESENT; NULL_VALUE, null was stored or computed; NOT_FOUND, the entity has no row, or one from before the
        feature was added; OUTSIDE_MAX_AGE, the row is older than the view's ttl. The value is None in all but the
        first.
        """
        return {column.name: _status_names(column.statuses) for column in self.columns}

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Returns column name -> one Python value per row (`feast_assets.types.python` says which); None for null.

        Args:
            include_event_timestamps: also give ``<column>__ts``, event times in whole epoch seconds; 0 where there is
                none.
        """
        if include_event_timestamps:
            with_times: dict[str, list[Any]] = {}
            for column in self.columns:
                with_times[column.name] = column.values.to_pylist()
                with_times[column.name + _TIMESTAMP_POSTFIX] = self._seconds(column)
            return with_times
        # Without an object per column: a wide request has hundreds of them, often for a single row.
        shape = self._shape
        values: dict[str, Any] = {} if shape.read_by_read else dict.fromkeys(shape.names)  # in their order
        for name in shape.given_back:
            values[name] = list(self._given[name])
        for (names, positions), read in zip(shape.of_reads, self._reads, strict=True):
            values.update(zip(names, read.features.to_pylists(positions), strict=True))
        if self._computed:
            values.update((n, computed.to_pylist()) for n, computed in zip(shape.computed, self._computed, strict=True))
        return values

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """Returns the same columns as an Arrow table, in canonical types (`feast_assets.types.arrow`)."""
        import pyarrow as pa

        columns: dict[str, object] = {}
        for column in self.columns:
            columns[column.name] = column.values.to_arrow()
            if include_event_timestamps:
                columns[column.name + _TIMESTAMP_POSTFIX] = pa.array(self._seconds(column), pa.int64())
        return pa.table(columns)

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """Returns the same columns as a DataFrame.

        Features that are integers or booleans have pandas' nullable types (``Int64``, ``boolean``), whether or not one
        is missing, so no digit is lost; join keys, which are never missing, have numpy's. Timestamps are UTC. Types
        that pandas lacks are objects: the Python values of `to_dict`; so are lists, as in Feast.
        """
        import pandas as pd

        keys = set(self._shape.given_back)
        columns: dict[str, object] = {}
        for column in self.columns:
            columns[column.name] = _key_series(column) if column.name in keys else _feature_series(column)
            if include_event_timestamps:
                columns[column.name + _TIMESTAMP_POSTFIX] = pd.Series(self._seconds(column), dtype="int64")
        return pd.DataFrame(columns, index=pd.RangeIndex(self._rows))

    def to_tensor(self, kind: str = "torch", default_value: Any = math.nan) -> dict[str, Any]:
        """Returns numeric columns as torch tensors and others as lists; see `feast_assets.retrieval.tensors`.

        Args:
            default_value: what stands for null.

        Raises:
            NotSupportedError: torch is not installed.
        """
        return tensors(self.to_dict(), kind, default_value)

    def to_json(self) -> dict[str, Any]:
        """Returns what Feast's HTTP server answers, as data that ``json.dumps`` takes.

        ``{"results": [{"values", "statuses", "event_timestamps"}, ...], "metadata": {"feature_names": [...]}}``, one
        result per name, with one item per row. The metadata also have ``feature_view_metadata`` if the request asked
        for the versions of views. Values are as `feast_assets.types.feast_json` says.
        """
        import json

        from feast_assets.retrieval.json_body import compact_json, json_body

        answer: dict[str, Any] = json.loads(json_body(self, compact_json))
        return answer

    def _seconds(self, column: ResponseColumn) -> list[int]:
        if column.event_timestamps is None:
            return [0] * self._rows
        return [micros // 1_000_000 for micros in column.event_timestamps]


def _feature_series(column: ResponseColumn) -> pd.Series[Any]:
    import pandas as pd

    from feast_assets.retrieval.on_demand import to_series

    if isinstance(column.values.type, (Array, Set)):
        return pd.Series(column.values.to_pylist(), dtype=object)
    return to_series(column.values)


def _key_series(column: ResponseColumn) -> pd.Series[Any]:
    from feast_assets.retrieval.on_demand import to_series

    if column.values.type in (Int32, Int64, Bool):
        series: pd.Series[Any] = column.values.to_arrow().to_pandas()
        return series
    return to_series(column.values)


def _status_names(statuses: Sequence[int]) -> list[str]:
    return [STATUS_NAMES[status] for status in statuses]


__all__ = [
    "NOT_FOUND",
    "NULL_VALUE",
    "OUTSIDE_MAX_AGE",
    "PRESENT",
    "STATUS_NAMES",
    "GivenColumn",
    "OnlineResponse",
    "ReadFeatures",
    "ResponseColumn",
    "ResponseShape",
]
