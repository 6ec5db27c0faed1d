"""The point-in-time join of a request: what it asks of the offline store, and how the answer becomes the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import History, OfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.retrieval.columns import ArrowColumn, Values
from feast_assets.retrieval.job import Batches
from feast_assets.retrieval.label_policies import labels_as_of, views_of, with_labels
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.request import FeatureInput, FeatureRequest, FunctionInput
from feast_assets.retrieval.spine import CheckedRows, Typed

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_WITHOUT_JOIN = 65_536


@dataclass(frozen=True, slots=True)
class PointInTime:
    """The join of one request.

    Attributes:
        histories: one per read of the request.
        functions: one per run of the request.
        filter_by_created_timestamp: whether a row also counts only if it was created by the entity row's time.
        longest: a bound on the age of rows beside each view's ttl; None for none.
    """

    request: FeatureRequest
    histories: Sequence[History]
    functions: Sequence[OnDemandFunction]
    offline_store: OfflineStore
    filter_by_created_timestamp: bool = False
    longest: timedelta | None = None

    def within(self, longest: timedelta) -> PointInTime:
        """Returns the same join, for which rows that are older do not count either."""
        return replace(self, longest=longest)

    def of(self, rows: CheckedRows) -> Batches:
        """Returns entity rows with their features."""
        import pyarrow as pa

        from feast_assets.types.arrow import to_arrow_type

        features = [pa.field(output.name, to_arrow_type(output.field.dtype)) for output in self.request.outputs]
        schema = pa.schema([*rows.table.schema, *features], metadata=rows.table.schema.metadata)
        return Batches(schema, self._batches(rows, schema))

    def _batches(self, rows: CheckedRows, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        done = 0
        for features in self._features(rows):
            yield self._finished(rows, done, features, schema)
            done += features.num_rows
        if done != rows.table.num_rows:
            raise SourceError(f"The offline store returned {done} rows for {rows.table.num_rows} entity rows.")

    def _features(self, rows: CheckedRows) -> Iterator[pa.RecordBatch]:
        """Yields the features that are read, in the order of the rows."""
        joins = self._joins(rows.keys)
        if not joins:
            # Its columns are not looked at; it only says how many rows there are.
            yield from rows.spine.table.to_batches(max_chunksize=_ROWS_WITHOUT_JOIN)
            return
        voted = {n: view for n, view in enumerate(views_of(self.request)) if view is not None}
        read = [join for n, join in enumerate(joins) if n not in voted]
        labels: list[pa.Table] = []
        for number, view in voted.items():
            counted = (view, joins[number], self.histories[number])
            labels.append(labels_as_of(self.offline_store, rows.spine, *counted, self.filter_by_created_timestamp))
        batches = (
            self.offline_store.join(rows.spine, read, filter_by_created_timestamp=self.filter_by_created_timestamp)
            if read
            else rows.spine.table.to_batches(max_chunksize=_ROWS_WITHOUT_JOIN)
        )
        yield from with_labels(batches, labels) if labels else batches

    def _joins(self, keys: dict[Typed, str]) -> list[PointInTimeJoin]:
        joins: list[PointInTimeJoin] = []
        for number, (read, history) in enumerate(zip(self.request.reads, self.histories, strict=True)):
            names = [field.name for field in read.features]
            joins.append(
                PointInTimeJoin(
                    history=history.with_features(names),
                    columns={name: _internal_name(number, position) for position, name in enumerate(names)},
                    join_keys={key.field.name: keys[key.column, key.field.dtype] for key in read.join_keys},
                    ttl=min((age for age in (read.ttl, self.longest) if age is not None), default=None),
                )
            )
        return joins

    def _finished(self, rows: CheckedRows, start: int, features: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        """Returns a batch of the result: what was given, what was read, and what is computed of both.

        Args:
            start: the first of the entity rows that the features are for.
        """
        import pyarrow as pa

        from feast_assets.types.arrow import whole_column

        count = features.num_rows

        def values(given: FunctionInput) -> pa.Array:
            if isinstance(given.origin, FeatureInput):
                return features.column(_internal_name(given.origin.read, given.origin.position))
            return whole_column(rows.inputs[given.origin.column, given.dtype].slice(start, count))

        columns = [whole_column(column) for column in rows.table.slice(start, count).columns]
        columns += [features.column(_internal_name(stored.read, stored.position)) for stored in self.request.stored]
        results: list[list[Values]] = [
            function([ArrowColumn(values(given), given.dtype) for given in run.inputs], count)
            for run, function in zip(self.request.runs, self.functions, strict=True)
        ]
        columns += [results[computed.run][computed.position].to_arrow() for computed in self.request.computed]
        typed = [c if c.type.equals(f.type) else c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
        return pa.RecordBatch.from_arrays(typed, schema=schema)


def _internal_name(read: int, position: int) -> str:
    return f"feature_{read}_{position}"
