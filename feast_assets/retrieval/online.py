"""Online reads: a plan that is made once, and run for each request with one round trip to the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from feast_assets.definitions.entity import DUMMY_FIELD
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import to_micros
from feast_assets.online_stores.base import OnlineRead, OnlineStore, StoredRows
from feast_assets.online_stores.codec import NOT_FOUND, RowDecoder, RowSchema
from feast_assets.online_stores.keys import encode_keys
from feast_assets.retrieval.columns import PythonColumn, Values
from feast_assets.retrieval.entity_rows import EntityRowReader, EntityRows
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.references import resolve
from feast_assets.retrieval.request import FeatureInput, FeatureRequest, ViewRead
from feast_assets.retrieval.response import (
    OUTSIDE_MAX_AGE,
    OnlineResponse,
    ResponseColumn,
    StoredColumn,
)
from feast_assets.types import FeastType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_assets.registry.snapshot import RegistrySnapshot

_MICROSECOND = timedelta(microseconds=1)

Udf = Callable[..., Any]

_Feature = tuple[Values, "NDArray[np.uint8]"]


def plan_online(
    snapshot: RegistrySnapshot,
    features: Sequence[str] | FeatureService,
    *,
    project: str,
    full_feature_names: bool,
    udf_of: Callable[[OnDemandFeatureView], Udf],
    enforce_ttl: bool = True,
) -> OnlinePlan:
    """Returns the plan that answers requests for these features as of the snapshot's revision.

    Args:
        features: references, ``"view:feature"``, or a feature service.
        project: whose tables are read.
        full_feature_names: whether columns are named ``view__feature``.
        udf_of: gives the function of an on-demand view.
        enforce_ttl: whether values older than their view's ttl are withheld.

    Raises:
        As `feast_assets.retrieval.references.resolve`.
    """
    request = resolve(snapshot, features, full_feature_names=full_feature_names)
    functions = [OnDemandFunction(run, udf_of(run.view)) for run in request.runs]
    tables = [_Table.of(read, project, snapshot, enforce_ttl) for read in request.reads]
    return OnlinePlan(request, tables, functions)


@dataclass(frozen=True, slots=True)
class _Keys:
    """How keys are made of entity rows; reads with the same join keys share them.

    Attributes:
        columns: the columns of the entity rows, in the order of the view's sorted join keys; none where there is one
            row for all.
        types: their types.
    """

    columns: tuple[str, ...]
    types: tuple[FeastType, ...]

    @classmethod
    def of(cls, read: ViewRead) -> _Keys:
        in_order = sorted(read.join_keys, key=lambda key: key.field)
        return cls(tuple(k.column for k in in_order), tuple(k.field.dtype for k in in_order))

    def encode(self, columns: dict[str, list[Any]]) -> list[bytes]:
        if not self.columns:
            return encode_keys([DUMMY_FIELD.name], [DUMMY_FIELD.dtype], [[""]])
        return encode_keys(list(self.columns), list(self.types), [columns[name] for name in self.columns])


@dataclass(frozen=True, slots=True)
class _Table:
    """How one view is read.

    Attributes:
        name: the online store's table.
        keys: how its keys are made.
        max_age: microseconds that a row stands after its event time; 0 for ever.
    """

    name: str
    keys: _Keys
    decoder: RowDecoder
    max_age: int

    @classmethod
    def of(cls, read: ViewRead, project: str, snapshot: RegistrySnapshot, enforce_ttl: bool) -> _Table:
        view = read.view
        lists = [view.features, *snapshot.feature_lists(view.name)]
        schemas = [RowSchema(tuple((f.name, f.dtype) for f in fields)) for fields in lists]
        decoder = RowDecoder(
            {schema.schema_id: schema for schema in schemas},
            [(f.name, f.dtype) for f in read.features],
            what=f"Feature view {view.name!r}",
        )
        ttl = (read.ttl if enforce_ttl else None) or timedelta(0)
        return cls(view.online_table(project), _Keys.of(read), decoder, ttl // _MICROSECOND)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One request on its way to the store.

    Attributes:
        rows: how many entity rows there are.
        columns: their columns that count.
        reads: what is asked of the store, without repeated keys.
        places: for each read, which of its keys each row has; None where that is row by row.
    """

    rows: int
    columns: dict[str, list[Any]]
    reads: list[OnlineRead]
    places: list[list[int] | None]


class OnlinePlan:
    """Answers requests for the same features. Holds no state between requests; safe to share between threads.

    A view that is not in the online store, since it was never materialized, reads as NOT_FOUND.
    """

    def __init__(self, request: FeatureRequest, tables: Sequence[_Table], functions: Sequence[OnDemandFunction]):
        self.request = request
        self._tables = tuple(tables)
        self._keys = tuple(dict.fromkeys(table.keys for table in tables))
        self._keys_of = [self._keys.index(table.keys) for table in tables]
        self._functions = tuple(functions)
        self._rows = EntityRowReader(request)
        self._row_types = {
            **{name: column.dtype for name, column in request.join_keys.items()},
            **{name: column.dtype for name, column in request.request_fields.items()},
        }

    @property
    def tables(self) -> list[str]:
        """The tables of the online store that are read."""
        return [table.name for table in self._tables]

    def read(
        self, online_store: OnlineStore, entity_rows: EntityRows, *, now: datetime | None = None
    ) -> OnlineResponse:
        """Returns the features of some entities, from one ``get_many``.

        Args:
            entity_rows: a list of dicts, one per entity, or a dict of lists; what the request needs of them is taken,
                the rest ignored. Rows may repeat.
            now: what ages are measured from, for tests; naive is UTC.

        Raises:
            InputError, MissingJoinKeyError, RequestDataNotFoundInEntityRowsException: the rows cannot be used.
            TransformationError: an on-demand function failed.
            StoreUnavailableError, OnlineRowError, UnknownRowSchemaError: the store, or what it holds, cannot be read.
        """
        prepared = self._prepare(entity_rows)
        stored = online_store.get_many(prepared.reads) if prepared.reads else []
        return self._respond(prepared, stored, now)

    async def read_async(
        self, online_store: OnlineStore, entity_rows: EntityRows, *, now: datetime | None = None
    ) -> OnlineResponse:
        """As `read`, without blocking the event loop on the store."""
        prepared = self._prepare(entity_rows)
        stored = await online_store.get_many_async(prepared.reads) if prepared.reads else []
        return self._respond(prepared, stored, now)

    def _prepare(self, entity_rows: EntityRows) -> _Prepared:
        rows, columns = self._rows.read(entity_rows)
        if rows == 0:
            return _Prepared(0, columns, [], [])
        encoded = [_distinct(keys.encode(columns), rows) for keys in self._keys]
        reads: list[OnlineRead] = []
        places: list[list[int] | None] = []
        for table, number in zip(self._tables, self._keys_of, strict=True):
            keys, place = encoded[number]
            reads.append(OnlineRead(table.name, keys))
            places.append(place)
        return _Prepared(rows, columns, reads, places)

    def _respond(self, prepared: _Prepared, stored: Sequence[StoredRows], now: datetime | None) -> OnlineResponse:
        moment = to_micros(now or datetime.now(UTC))
        features: list[list[_Feature]] = []
        times: list[NDArray[np.int64]] = []
        for number, table in enumerate(self._tables):
            found = stored[number] if stored else _NO_ROWS
            place = prepared.places[number] if stored else None
            if place is not None:
                found = _fanned_out(found, place)
            features.append(_features(table, found, moment))
            times.append(found.event_timestamps)
        columns = [
            ResponseColumn(
                name,
                GivenColumn(prepared.columns[name], dtype, f"Column {name!r}"),
                request_data=name not in self.request.join_keys,
            )
            for name, dtype in self._row_types.items()
        ]
        for output in self.request.stored:
            values, statuses = features[output.read][output.place]
            columns.append(ResponseColumn(output.name, values, statuses, times[output.read]))
        if self._functions:
            columns.extend(self._computed(prepared, features))
        return OnlineResponse(columns, prepared.rows)

    def _computed(self, prepared: _Prepared, features: list[list[_Feature]]) -> list[ResponseColumn]:
        results: list[list[Values]] = []
        for function, run in zip(self._functions, self.request.runs, strict=True):
            inputs: list[Values] = [
                features[i.origin.read][i.origin.place][0]
                if isinstance(i.origin, FeatureInput)
                else GivenColumn(prepared.columns[i.origin.column], i.dtype, f"Column {i.origin.column!r}")
                for i in run.inputs
            ]
            # Taken as Python values now, so that a value of a wrong type fails the request and not its reader.
            results.append(
                [
                    GivenColumn(result.to_pylist(), result.type, "Computed column")
                    for result in function(inputs, prepared.rows)
                ]
            )
        return [ResponseColumn(o.name, results[o.run][o.place]) for o in self.request.computed]


class GivenColumn(PythonColumn):
    """A column whose Python values have been checked."""

    __slots__ = ()

    def to_pylist(self) -> list[Any]:
        return list(self._values)


_NO_ROWS = StoredRows(np.empty(0, np.int64), np.empty(0, np.int64), [])


def _distinct(keys: list[bytes], rows: int) -> tuple[list[bytes], list[int] | None]:
    """Returns the keys to read, each once, and which of them each row has; None where that is row by row."""
    if len(keys) < rows:
        return keys, [0] * rows
    place_of = dict(zip(keys, range(rows), strict=True))
    if len(place_of) == rows:
        return keys, None
    distinct = list(place_of)
    place_of = {key: place for place, key in enumerate(distinct)}
    return distinct, [place_of[key] for key in keys]


def _fanned_out(found: StoredRows, places: list[int]) -> StoredRows:
    return StoredRows(
        found.event_timestamps[places], found.created_timestamps[places], [found.payloads[p] for p in places]
    )


def _features(table: _Table, found: StoredRows, now: int) -> list[_Feature]:
    """Returns one view's features, with what is older than its ttl taken out."""
    columns = table.decoder.decode(found.payloads)
    if not table.max_age:
        return [(column, column.statuses) for column in columns]
    too_old = found.event_timestamps < now - table.max_age
    if not too_old.any():
        return [(column, column.statuses) for column in columns]
    features: list[_Feature] = []
    for column in columns:
        stale = too_old & (column.statuses != NOT_FOUND)
        column.statuses[stale] = OUTSIDE_MAX_AGE
        features.append((StoredColumn(column, stale), column.statuses))
    return features
