"""Online reads: a plan that is made once, and run for each request with one round trip to the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import time_ns
from typing import TYPE_CHECKING

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_FIELD
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import to_micros
from feast_assets.online_stores.base import OnlineRead, OnlineStore, StoredRows
from feast_assets.online_stores.rows.codec import RowDecoder, RowSchema
from feast_assets.online_stores.rows.keys import KeyEncoder
from feast_assets.retrieval.columns import Values
from feast_assets.retrieval.entity_rows import EntityRowReader, EntityRows
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.references import resolve
from feast_assets.retrieval.request import FeatureInput, FeatureRequest, ViewRead
from feast_assets.retrieval.response import GivenColumn, OnlineResponse, ReadFeatures, ResponseShape
from feast_assets.types import FeastType

if TYPE_CHECKING:
    from feast_assets.online_stores.rows.column import DecodedRows
    from feast_assets.registry.snapshot import RegistrySnapshot

_MICROSECOND = timedelta(microseconds=1)

Udf = Callable[..., object]


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
    request = resolve(snapshot, features, full_feature_names=full_feature_names, reads_stored=True)
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

    def encoder(self) -> Callable[[dict[str, list[object]]], list[bytes]]:
        """Returns the function from the columns of entity rows to keys."""
        if not self.columns:
            dummy = KeyEncoder([DUMMY_FIELD.name], [DUMMY_FIELD.dtype]).encode([[""]])
            return lambda columns: dummy
        encode = KeyEncoder(self.columns, self.types).encode
        if len(self.columns) == 1:
            (only,) = self.columns
            return lambda columns: encode((columns[only],))
        return lambda columns: encode([columns[name] for name in self.columns])


@dataclass(frozen=True, slots=True)
class _Table:
    """How one view is read.

    Attributes:
        name: the online store's table.
        keys: how its keys are made.
        decode: gives the features of stored rows at a moment, in UTC microseconds; of windows of time they differ.
        max_age: microseconds that a row stands after its event time; 0 for ever.
    """

    name: str
    keys: _Keys
    decode: Callable[[StoredRows, int], DecodedRows]
    max_age: int

    @classmethod
    def of(cls, read: ViewRead, project: str, snapshot: RegistrySnapshot, enforce_ttl: bool) -> _Table:
        view = read.view
        ttl = (read.ttl if enforce_ttl else None) or timedelta(0)
        if isinstance(view, BatchFeatureView) and (aggregates := view.aggregates) is not None:
            from feast_assets.online_stores.rows.tiles import WindowReader

            names = [f.name for f in read.features]
            windows = WindowReader(aggregates, names, f"Feature view {view.name!r}")
            # Rows count in a window up to a hop longer than it says, so also where the ttl is as long as the window.
            max_age = max(ttl // _MICROSECOND, aggregates.longest) if ttl else 0
            return cls(view.online_table(project), _Keys.of(read), windows.decode_stored, max_age)
        lists = [view.features, *snapshot.feature_lists(view.name)]
        schemas = [RowSchema(tuple((f.name, f.dtype) for f in fields)) for fields in lists]
        decoder = RowDecoder(
            {schema.schema_id: schema for schema in schemas},
            [(f.name, f.dtype) for f in read.features],
            subject=f"Feature view {view.name!r}",
        )
        decode = decoder.decode_stored
        return cls(view.online_table(project), _Keys.of(read), lambda stored, now: decode(stored), ttl // _MICROSECOND)

    def features(
        self,
        stored: StoredRows,
        positions: Sequence[int] | None,
        now: int,
        online_store: OnlineStore,
        keys: Sequence[bytes],
    ) -> ReadFeatures:
        """Returns what was found at some positions (None: as it is), without the values that are older than the ttl.

        Args:
            online_store: where they were found; warns of values that are no rows.
            keys: what was asked for.
        """
        features = self.decode(stored, now)
        if features.damaged:
            stored = stored.without(features.damaged)
            for position, reason in features.damaged.items():
                online_store.foreign_values.warn(self.name, keys[position], reason)
        late = stored.older_than(now - self.max_age) if self.max_age else []
        if positions is not None:
            features, late_positions = features.taken(positions), set(late)
            late = [row for row, position in enumerate(positions) if position in late_positions]
        if late:
            features = features.without(late)
        return ReadFeatures(features, stored, positions)


@dataclass(slots=True)
class _PreparedRequest:
    """One request on its way to the store.

    Attributes:
        rows: how many entity rows there are.
        columns: their columns that count.
        reads: what is asked of the store; with repeated keys only where they are fewer than the others.
        positions: for each read, which of its keys each row has; None where that is row by row.
    """

    rows: int
    columns: dict[str, list[object]]
    reads: Sequence[OnlineRead]
    positions: Sequence[list[int] | None]


class OnlinePlan:
    """Answers requests for the same features. Holds no state between requests; safe to share between threads.

    A view that is not in the online store, since it was never materialized, reads as NOT_FOUND.
    """

    def __init__(self, request: FeatureRequest, tables: Sequence[_Table], functions: Sequence[OnDemandFunction]):
        self.request = request
        self._tables = tuple(tables)
        keys = list(dict.fromkeys(table.keys for table in tables))
        self._encoders = [key.encoder() for key in keys]
        self._keys_of = [(table.name, keys.index(table.keys)) for table in tables]
        self._row_by_row = (None,) * len(tables)
        self._functions = tuple(functions)
        self._shape = ResponseShape(request)
        self._rows = EntityRowReader(request)

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
            StoreUnavailableError, UnknownRowSchemaError: the store, or what it holds, cannot be read.
        """
        prepared = self._prepare(entity_rows)
        stored = online_store.get_many(prepared.reads) if prepared.reads else []
        return self._respond(prepared, online_store, stored, now)

    async def read_async(
        self, online_store: OnlineStore, entity_rows: EntityRows, *, now: datetime | None = None
    ) -> OnlineResponse:
        """As `read`, without blocking the event loop on the store."""
        prepared = self._prepare(entity_rows)
        stored = await online_store.get_many_async(prepared.reads) if prepared.reads else []
        return self._respond(prepared, online_store, stored, now)

    def unreadable(self, stored: StoredRows) -> Mapping[int, str]:
        """Returns which rows of the first table that is read cannot be decoded, with the reasons."""
        return self._tables[0].decode(stored, time_ns() // 1000).unreadable()

    def _prepare(self, entity_rows: EntityRows) -> _PreparedRequest:
        rows, columns = self._rows.read(entity_rows)
        if rows == 0:
            return _PreparedRequest(0, columns, [], [])
        if rows == 1:
            all_keys = [encode(columns) for encode in self._encoders]
            return _PreparedRequest(
                1, columns, [OnlineRead(t, all_keys[n]) for t, n in self._keys_of], self._row_by_row
            )
        encoded = [_distinct(encode(columns), rows) for encode in self._encoders]
        reads = [OnlineRead(table, encoded[number][0]) for table, number in self._keys_of]
        return _PreparedRequest(rows, columns, reads, [encoded[number][1] for _, number in self._keys_of])

    def _respond(
        self, prepared: _PreparedRequest, online_store: OnlineStore, stored: Sequence[StoredRows], now: datetime | None
    ) -> OnlineResponse:
        moment = to_micros(now) if now is not None else time_ns() // 1000
        if prepared.rows:
            answers = zip(self._tables, stored, prepared.positions, prepared.reads, strict=True)
            reads = [
                table.features(rows, positions, moment, online_store, read.keys)
                for table, rows, positions, read in answers
            ]
        else:
            reads = [table.features(_NO_ROWS, None, moment, online_store, ()) for table in self._tables]
        computed = self._computed(prepared, reads) if self._functions else ()
        return OnlineResponse(self._shape, prepared.rows, prepared.columns, reads, computed)

    def _computed(self, prepared: _PreparedRequest, reads: Sequence[ReadFeatures]) -> list[Values]:
        results: list[list[Values]] = []
        for function, run in zip(self._functions, self.request.runs, strict=True):
            inputs: list[Values] = [
                reads[i.origin.read].features.column(i.origin.position)
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
        return [results[output.run][output.position] for output in self.request.computed]


_NO_ROWS = StoredRows([], [], [], [])


def _distinct(keys: list[bytes], rows: int) -> tuple[list[bytes], list[int] | None]:
    """Returns the keys to read, and which of them each row has; None where that is row by row."""
    if len(keys) < rows:
        return keys, [0] * rows
    # Where few repeat, reading them again is less work than handing out what was read once.
    if 2 * len(set(keys)) > rows:
        return keys, None
    distinct = list(dict.fromkeys(keys))
    position_of = {key: position for position, key in enumerate(distinct)}
    return distinct, [position_of[key] for key in keys]
