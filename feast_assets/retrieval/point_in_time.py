"""The point-in-time join of a request: what it asks of the offline store, and what becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import EntitySQLEmptyResults, FeatureNameCollisionError, InputError, SourceError
from feast_assets.offline_stores.base import History, OfflineStore, PointInTimeJoin
from feast_assets.retrieval.columns import ArrowColumn, Values
from feast_assets.retrieval.entity_df import cast, cast_key, check_columns
from feast_assets.retrieval.job import Batches
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.request import FeatureInput, FeatureRequest
from feast_assets.types import FeastType

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_WITHOUT_JOIN = 65_536


def check_collisions(request: FeatureRequest, columns: Sequence[str]) -> None:
    """Raises FeatureNameCollisionError where entity rows have a column with the name of a feature asked for."""
    there = set(columns)
    for output in request.outputs:
        if output.name in there:
            advice = "" if request.full_feature_names else ", or ask with full_feature_names=True"
            raise FeatureNameCollisionError(
                f"The entity dataframe has a column {output.name!r}, which is also the column of feature "
                f"{output.reference!r}. Rename or drop it in the entity dataframe{advice}."
            )


@dataclass(frozen=True, slots=True)
class Spine:
    """Entity rows, and what of them the join needs.

    Attributes:
        table: the rows as they were given; the time is UTC.
        time_column: its name.
        narrow: the time, and the join keys in canonical types. Only these go to the store, so all else stays as it is.
        keys: (column, type) of a join key -> its column in ``narrow``.
        inputs: (column, type) of what on-demand functions take of the rows -> its values.
    """

    table: pa.Table
    time_column: str
    narrow: pa.Table
    keys: dict[tuple[str, FeastType], str]
    inputs: dict[tuple[str, FeastType], Any]


class PointInTime:
    """The join of one request."""

    def __init__(
        self,
        request: FeatureRequest,
        histories: Sequence[History],
        functions: Sequence[OnDemandFunction],
        offline_store: OfflineStore,
        filter_by_created_timestamp: bool,
        longest: timedelta | None = None,
    ):
        """Creates the join.

        Args:
            histories: one per read of the request.
            functions: one per run of the request.
            longest: a bound on the age of rows beside each view's ttl; None for none.
        """
        self._request = request
        self._histories = tuple(histories)
        self._functions = tuple(functions)
        self._store = offline_store
        self._filter_by_created = filter_by_created_timestamp
        self._longest = longest

    def within(self, longest: timedelta) -> PointInTime:
        """Returns the same join, for which rows that are older do not count either."""
        return PointInTime(
            self._request, self._histories, self._functions, self._store, self._filter_by_created, longest
        )

    def spine(self, table: pa.Table, time_column: str) -> Spine:
        """Returns entity rows as the join takes them.

        Raises:
            InputError: a join key, or a column that an on-demand function takes, is not of its type.
        """
        narrow: dict[str, Any] = {time_column: table.column(time_column)}
        keys: dict[tuple[str, FeastType], str] = {}
        for read in self._request.reads:
            for key in read.join_keys:
                if (key.column, key.field.dtype) in keys:
                    continue
                what = f"Join key {key.column!r} of feature view {read.view.name!r} in the entity dataframe"
                name = key.column if key.column not in narrow else f"{key.column} as {key.field.dtype}"
                narrow[name] = cast_key(table.column(key.column), key.field.dtype, what)
                keys[key.column, key.field.dtype] = name
        inputs: dict[tuple[str, FeastType], Any] = {}
        for column, dtype, view in self._row_inputs():
            what = f"Column {column!r} of the entity dataframe, an input of on-demand view {view!r},"
            inputs[column, dtype] = cast(table.column(column), dtype, what)
        import pyarrow as pa

        return Spine(table, time_column, pa.table(narrow), keys, inputs)

    def of_spine(self, spine: Spine) -> Batches:
        """Returns the rows of the spine with their features."""
        import pyarrow as pa

        schema = pa.schema([*spine.table.schema, *self._fields()], metadata=spine.table.schema.metadata)
        return Batches(schema, self._spine_batches(spine, schema))

    def of_query(self, query: str, readable: Sequence[DataSource] = ()) -> Batches:
        """Returns the rows of a query in the store's SQL with their features.

        Args:
            readable: the data sources whose files the query may read.
        """
        import pyarrow as pa

        keys = {(k.column, k.field.dtype): k.column for read in self._request.reads for k in read.join_keys}
        reader = self._store.point_in_time_join(
            query, self._joins(keys), filter_by_created_timestamp=self._filter_by_created, readable=readable
        )
        internal = set(_internal_names(self._request))
        given = [field for field in reader.schema if field.name not in internal]
        names = [field.name for field in given]
        try:
            check_columns(self._request, names)
            check_collisions(self._request, names)
        except InputError:
            reader.close()
            raise
        schema = pa.schema([*given, *self._fields()])
        return Batches(schema, self._query_batches(reader, schema, names))

    def _spine_batches(self, spine: Spine, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        from feast_assets.types.arrow import whole_column

        done = 0
        for found in self._joined(spine):
            rows = spine.table.slice(done, found.num_rows)

            def row_input(column: str, dtype: FeastType, start: int = done, count: int = found.num_rows) -> Any:
                return whole_column(spine.inputs[column, dtype].slice(start, count))

            yield self._finished([whole_column(column) for column in rows.columns], found, row_input, schema)
            done += found.num_rows
        if done != spine.table.num_rows:
            raise SourceError(f"The offline store returned {done} rows for {spine.table.num_rows} entity rows.")

    def _query_batches(
        self, reader: pa.RecordBatchReader, schema: pa.Schema, names: list[str]
    ) -> Iterator[pa.RecordBatch]:
        empty = True
        for found in reader:
            empty = empty and found.num_rows == 0

            def row_input(column: str, dtype: FeastType, batch: pa.RecordBatch = found) -> Any:
                return cast(batch.column(column), dtype, f"Column {column!r} of the entity query")

            yield self._finished([found.column(name) for name in names], found, row_input, schema)
        if empty:
            raise EntitySQLEmptyResults("The entity query returned no rows, so there is nothing to join features to.")

    def _joined(self, spine: Spine) -> Iterator[pa.RecordBatch]:
        if not self._request.reads:
            yield from spine.narrow.to_batches(max_chunksize=_ROWS_WITHOUT_JOIN)
            return
        yield from self._store.point_in_time_join(
            spine.narrow,
            self._joins(spine.keys),
            timestamp_column=spine.time_column,
            filter_by_created_timestamp=self._filter_by_created,
        )

    def _joins(self, keys: dict[tuple[str, FeastType], str]) -> list[PointInTimeJoin]:
        joins: list[PointInTimeJoin] = []
        for number, (read, history) in enumerate(zip(self._request.reads, self._histories, strict=True)):
            names = [field.name for field in read.features]
            joins.append(
                PointInTimeJoin(
                    history=history.with_features(names),
                    columns={name: _internal_name(number, place) for place, name in enumerate(names)},
                    join_keys={key.field.name: keys[key.column, key.field.dtype] for key in read.join_keys},
                    ttl=min((age for age in (read.ttl, self._longest) if age is not None), default=None),
                )
            )
        return joins

    def _row_inputs(self) -> Iterator[tuple[str, FeastType, str]]:
        for run in self._request.runs:
            for declared in run.inputs:
                if not isinstance(declared.origin, FeatureInput):
                    yield declared.origin.column, declared.dtype, run.view.name

    def _fields(self) -> list[pa.Field]:
        import pyarrow as pa

        from feast_assets.types.arrow import to_arrow_type

        return [pa.field(output.name, to_arrow_type(output.field.dtype)) for output in self._request.outputs]

    def _finished(
        self,
        given: list[Any],
        found: pa.RecordBatch,
        row_input: Callable[[str, FeastType], Any],
        schema: pa.Schema,
    ) -> pa.RecordBatch:
        """Returns a batch of the result: what was given, what was read, and what is computed of both."""
        import pyarrow as pa

        columns = list(given)
        for stored in self._request.stored:
            columns.append(found.column(_internal_name(stored.read, stored.place)))
        results: list[list[Values]] = []
        for run, function in zip(self._request.runs, self._functions, strict=True):
            inputs: list[Values] = [
                ArrowColumn(
                    found.column(_internal_name(i.origin.read, i.origin.place))
                    if isinstance(i.origin, FeatureInput)
                    else row_input(i.origin.column, i.dtype),
                    i.dtype,
                )
                for i in run.inputs
            ]
            results.append(function(inputs, found.num_rows))
        columns.extend(results[computed.run][computed.place].to_arrow() for computed in self._request.computed)
        typed = [c if c.type.equals(f.type) else c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
        return pa.RecordBatch.from_arrays(typed, schema=schema)


def _internal_name(read: int, place: int) -> str:
    return f"__feature_{read}_{place}"


def _internal_names(request: FeatureRequest) -> Iterator[str]:
    for number, read in enumerate(request.reads):
        for place in range(len(read.features)):
            yield _internal_name(number, place)
