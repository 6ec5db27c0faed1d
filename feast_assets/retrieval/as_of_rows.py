"""Rows of several views put together: each row of some views with what the others held at its time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feast_assets.offline_stores.as_of import NONE, Candidates, Moments, newest
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP

if TYPE_CHECKING:
    import pyarrow as pa

_MICROSECOND = timedelta(microseconds=1)
_OLDEST = np.iinfo(np.int64).min


def as_of_rows(
    rows: Sequence[pa.Table],
    keys: Sequence[Sequence[str]],
    ttls: Sequence[timedelta | None],
    complete: Sequence[int],
    names: Sequence[Sequence[str]],
) -> pa.Table:
    """Returns, for every pair of entity and time of some views, the newest row of each view at that time.

    Of a view's rows those count that are not later than the time, and not older than its ttl; of rows of equal event
    times the one created last, of these any. Rows with a null join key count for nothing.

    Args:
        rows: of each view: its join keys, its features, and both times in UTC.
        keys: the join keys of each view; none where it has one row for all.
        ttls: of each view; None for ever.
        complete: which of the views have all of the join keys. Their rows say which pairs there are.
        names: what each view's features are called in the result.

    Returns:
        the join keys, the features of all views, null where there was no row, and both times.
    """
    import pyarrow as pa

    rows = [_without_null_keys(table, view_keys) for table, view_keys in zip(rows, keys, strict=True)]
    all_keys = list(keys[complete[0]])
    pairs = pa.concat_tables(
        [rows[n].select([*all_keys, EVENT_TIMESTAMP, CREATED_TIMESTAMP]) for n in complete], promote_options="default"
    )
    pairs = pairs.group_by([*all_keys, EVENT_TIMESTAMP], use_threads=False).aggregate([(CREATED_TIMESTAMP, "max")])
    created = pairs.column(f"{CREATED_TIMESTAMP}_max")
    columns = {name: pairs.column(name) for name in (*all_keys, EVENT_TIMESTAMP)} | {CREATED_TIMESTAMP: created}
    moments = _micros(pairs.column(EVENT_TIMESTAMP))
    for table, view_keys, ttl, features in zip(rows, keys, ttls, names, strict=True):
        entities, of_pairs = numbered(table, pairs, view_keys)
        newest_rows = _newest(entities, table, of_pairs, moments, ttl)
        own = [n for n in table.column_names if n not in (*view_keys, EVENT_TIMESTAMP, CREATED_TIMESTAMP)]
        taken = table.select(own).take(pa.array(newest_rows, mask=newest_rows == NONE))
        columns |= {feature: taken.column(name) for feature, name in zip(features, own, strict=True)}
    return pa.table(columns)


def _without_null_keys(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    import pyarrow.compute as pc

    for key in keys:
        if table.column(key).null_count:
            table = table.filter(pc.is_valid(table.column(key)))
    return table


def numbered(table: pa.Table, others: pa.Table, keys: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the entities of two tables as numbers from 0 on, the same for the same keys; no key may be null."""
    import pyarrow as pa

    both = pa.concat_tables([table.select(keys), others.select(keys)]) if keys else None
    numbers = np.zeros(len(table) + len(others), np.int64)
    for key in keys:
        assert both is not None
        codes = both.column(key).combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        # Numbered anew after each key, so that the products stay small.
        _, numbers = np.unique(numbers * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)
    return numbers[: len(table)], numbers[len(table) :]


def _newest(
    entities: NDArray[np.int64],
    table: pa.Table,
    of_pairs: NDArray[np.int64],
    moments: NDArray[np.int64],
    ttl: timedelta | None,
) -> NDArray[np.int64]:
    """Returns which row of a table is the newest of each pair; `NONE` where there is none."""
    newest_rows = np.full(len(moments), NONE)
    if not len(table):
        return newest_rows
    times = _micros(table.column(EVENT_TIMESTAMP))
    # In the order of both times each row has a rank of its own, so that none tie.
    order = np.lexsort((_micros(table.column(CREATED_TIMESTAMP)), times))
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    last_ranks = np.searchsorted(times[order], moments, side="right") - 1
    count = int(max(entities.max(), of_pairs.max(initial=0))) + 1
    sought = Moments.of(of_pairs, last_ranks, count)
    with ThreadPoolExecutor() as pool:
        rows = Candidates(entities, ranks, ranks, np.arange(len(table)))
        newest_rows[sought.indices] = newest(lambda: sought, count, [rows], pool).ids
    if ttl is not None:
        newest_rows[times[newest_rows] < moments - ttl // _MICROSECOND] = NONE
    return newest_rows


def _micros(times: pa.ChunkedArray) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.fill_null(times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), _OLDEST)
    return np.asarray(numbers.to_numpy())
