"""Labels in history: which of an entity's labels counts at a moment, where that is not simply the newest.

The labels of a view are read whole, up to the last moment asked for, and chosen from here, so every offline store
gives the same. A moment sees the labels of its entity that are not later than it, and not older than the view's ttl.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feast_assets.definitions.label_view import ConflictPolicy, LabelView
from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import ALWAYS, Window, until
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, History, OfflineStore, rows_schema
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.retrieval.as_of_rows import numbered
from feast_assets.retrieval.request import FeatureRequest
from feast_assets.types.feast_type import String

if TYPE_CHECKING:
    import pyarrow as pa

VOTED = "majority_vote"
"""What the labeler of a label that was voted for is called, as in Feast."""

_Integers = NDArray[np.int64]
_NONE = -1
_OLDEST = np.iinfo(np.int64).min
_PAIRS = 4_000_000
"""Pairs of a moment and a label that are compared at once; a moment with more labels is compared alone."""


def views_of(request: FeatureRequest) -> list[LabelView | None]:
    """Returns, for each read of a request, the label view whose policy chooses; None where the newest row counts."""
    return [
        read.view if isinstance(read.view, LabelView) and not read.view.newest_label_counts else None
        for read in request.reads
    ]


def labels_as_of(
    store: OfflineStore,
    spine: Spine,
    view: LabelView,
    join: PointInTimeJoin,
    history: History,
    filter_by_created_timestamp: bool = False,
) -> pa.Table:
    """Returns the labels that count at the moments of a spine.

    Args:
        join: what is asked of the view.
        history: all of the view's features.
        filter_by_created_timestamp: as `OfflineStore.join` has it.

    Returns:
        one row for each row of the spine, in its order, with the outputs of the join; null where no label counts.
    """
    import pyarrow as pa

    types = {feature.name: feature.dtype for feature in join.history.features}
    span = spine.span()
    if span is None:
        labels = rows_schema(history).empty_table()
    else:
        labels = store.scan(history, Window(ALWAYS.start, until(from_micros(span[1])))).read_all()
    seen = _Seen(labels, spine, join, bool(history.created_timestamp_column) and filter_by_created_timestamp)
    outputs = dict(zip(types, join.outputs, strict=True))
    if view.conflict_policy is ConflictPolicy.MAJORITY_VOTE:
        chosen = {name: seen.most_frequent(name) for name in outputs}
    else:
        newest = seen.newest_of_first(view.labeler_field, view.labeler_priorities)
        chosen = dict.fromkeys(outputs, newest)
    columns: dict[str, pa.ChunkedArray] = {}
    for name, output in outputs.items():
        rows = chosen[name]
        columns[output] = seen.labels.column(name).take(pa.array(rows, mask=rows == _NONE))
        if view.conflict_policy is ConflictPolicy.MAJORITY_VOTE and name == view.labeler_field:
            columns[output] = _voted(columns[output], types[name] == String)
    return pa.table(columns)


def with_labels(batches: Iterable[pa.RecordBatch], labels: Sequence[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Yields batches with the columns of tables that have a row for each of theirs beside them."""
    import pyarrow as pa

    start = 0
    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for table in labels:
            part = table.slice(start, batch.num_rows)
            columns |= {name: part.column(name).combine_chunks() for name in part.column_names}
        yield pa.record_batch(columns)
        start += batch.num_rows


class _Seen:
    """Which labels each moment sees.

    Args:
        labels: all of the view's labels, with the columns of `OfflineStore.scan`.
        filters: whether labels only count from the time on at which they were created.
    """

    def __init__(self, labels: pa.Table, spine: Spine, join: PointInTimeJoin, filters: bool):
        import pyarrow as pa

        keys = [key.name for key in join.history.join_keys]
        moments = spine.table.select([*join.key_columns, EVENT_TIMESTAMP]).rename_columns([*keys, EVENT_TIMESTAMP])
        self.count = len(moments)
        valid = np.ones(self.count, bool)
        for name in moments.column_names:
            valid &= moments.column(name).is_valid().to_numpy(zero_copy_only=False)
        self._rows = np.flatnonzero(valid)
        moments = moments.take(pa.array(self._rows))
        entities, self._entities = numbered(labels, moments, keys)
        order = _order(labels, entities)
        self.labels = labels.take(pa.array(order))
        self._times = _numbers(moments.column(EVENT_TIMESTAMP))
        self._created = _numbers(self.labels.column(CREATED_TIMESTAMP)) if filters else None
        self._starts, self._ends = self._ranges(entities[order], join.ttl_micros)

    def _ranges(self, entities: _Integers, ttl: int | None) -> tuple[_Integers, _Integers]:
        """Returns the labels that are in time for each moment: from the one position to before the other."""
        times = _numbers(self.labels.column(EVENT_TIMESTAMP))
        distinct = np.unique(times)
        room = len(distinct) + 1
        packed = entities * room + np.searchsorted(distinct, times)
        ends = np.searchsorted(packed, self._entities * room + np.searchsorted(distinct, self._times, "right"))
        first = np.zeros_like(self._times) if ttl is None else np.searchsorted(distinct, self._times - ttl)
        return np.searchsorted(packed, self._entities * room + first), ends

    def _pairs(self) -> Iterator[tuple[_Integers, _Integers]]:
        """Yields moments and labels that they see, by moment, then from old to new; all of a moment at once."""
        counts = np.maximum(self._ends - self._starts, 0)
        until = np.cumsum(counts)
        begin = 0
        while begin < len(counts):
            before = until[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(until, before + _PAIRS, "right")))
            part = counts[begin:end]
            moments = np.repeat(np.arange(begin, end), part)
            within = np.arange(len(moments)) - np.repeat(until[begin:end] - part - before, part)
            seen = self._starts[moments] + within
            if self._created is not None:
                known = (self._created[seen] <= self._times[moments]) & (self._created[seen] != _OLDEST)
                moments, seen = moments[known], seen[known]
            yield moments, seen
            begin = end

    def newest_of_first(self, labeler_field: str, priorities: Sequence[str]) -> _Integers:
        """Returns the label of each moment that the first of the labelers gave last; `_NONE` where it sees none."""
        rank_of = {labeler: rank for rank, labeler in enumerate(priorities)}
        given = self.labels.column(labeler_field).to_pylist()
        ranks = np.asarray([rank_of.get(labeler, len(rank_of)) for labeler in given], np.int64)
        chosen = np.full(self.count, _NONE)
        for moments, seen in self._pairs():
            # Of one moment, the first labeler comes last, and the newest label of each is the last one.
            order = np.lexsort((seen, -ranks[seen], moments))
            self._choose(chosen, moments[order], seen[order])
        return chosen

    def most_frequent(self, feature: str) -> _Integers:
        """Returns, for each moment, the newest label that has the most frequent value of a feature.

        Nulls, and floats that are no number, are no votes. Of values that are as frequent, the newest counts.
        """
        codes = _codes(self.labels.column(feature))
        values = int(codes.max(initial=0)) + 1
        chosen = np.full(self.count, _NONE)
        for moments, seen in self._pairs():
            is_vote = codes[seen] >= 0
            moments, seen = moments[is_vote], seen[is_vote]
            groups, group_of, votes = np.unique(moments * values + codes[seen], return_inverse=True, return_counts=True)
            newest = np.zeros(len(groups), np.int64)
            newest[group_of] = seen  # the last one stays, and labels come from old to new
            order = np.lexsort((newest, votes, groups // values))
            self._choose(chosen, (groups // values)[order], newest[order])
        return chosen

    def _choose(self, chosen: _Integers, moments: _Integers, labels: _Integers) -> None:
        """Notes the last of the labels of each moment."""
        if len(moments):
            last = np.append(moments[1:] != moments[:-1], True)
            chosen[self._rows[moments[last]]] = labels[last]


def _order(labels: pa.Table, entities: _Integers) -> _Integers:
    """Returns the order of labels by entity, event time and created time; what else ties is ordered by its content."""
    events, created = _numbers(labels.column(EVENT_TIMESTAMP)), _numbers(labels.column(CREATED_TIMESTAMP))
    order = np.lexsort((created, events, entities))
    sorted_by = np.stack([entities[order], events[order], created[order]])
    same = (sorted_by[:, 1:] == sorted_by[:, :-1]).all(axis=0)
    if not same.any():
        return order
    features = sorted(set(labels.column_names) - {EVENT_TIMESTAMP, CREATED_TIMESTAMP})
    content = np.zeros(len(labels), np.int64)
    tied = np.unique(order[np.flatnonzero(same)[:, None] + [0, 1]])
    texts = [repr(tuple(row.items())) for row in labels.select(features).take(tied).to_pylist()]
    content[tied] = np.unique(texts, return_inverse=True)[1]
    return np.lexsort((content, created, events, entities))


def _codes(column: pa.ChunkedArray) -> _Integers:
    """Returns the values of a column as numbers from 0 on, the same for the same values; -1 for nulls and NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(column.type):
        number_of: dict[str, int] = {}
        values = column.to_pylist()
        return np.asarray(
            [-1 if v is None else number_of.setdefault(repr(v), len(number_of)) for v in values], np.int64
        )
    if pa.types.is_floating(column.type):
        # Zero has two signs.
        column = pc.add(pc.if_else(pc.is_nan(column), None, column), pa.scalar(0, column.type))
    indices = column.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(indices, -1).to_numpy(zero_copy_only=False), np.int64)


def _numbers(times: pa.ChunkedArray) -> _Integers:
    """Returns times in UTC microseconds; `_OLDEST` for null, as of labels without a created time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), _OLDEST).to_numpy())


def _voted(labelers: pa.ChunkedArray, is_text: bool) -> pa.ChunkedArray:
    """Returns who gave labels that were voted for: nobody, or `VOTED` where that can be stored."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_valid(labelers), pa.scalar(VOTED if is_text else None, labelers.type), None)
