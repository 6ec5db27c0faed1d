"""The statistics of a grid's windows at once, from what the parts of one source contribute to them."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from feast_assets.offline_stores.part_summaries import NOTHING
from feast_assets.offline_stores.statistics_columns import NO_TIME, StatisticsColumns

if TYPE_CHECKING:
    import numpy.typing as npt

    from feast_assets.offline_stores.part_summaries import Contributions
    from feast_assets.offline_stores.window_numbers import WindowNumbers

_LATEST = 2**63 - 1


def grid_statistics(numbers: WindowNumbers, rows: Contributions, *, of_source: bool) -> StatisticsColumns:
    """Returns the statistics of the windows that have rows, or rows without a join key.

    They equal those that `feast_assets.offline_stores.summary.statistics_of` makes of one input, window by window.

    Args:
        rows: each counts in one window of the numbers' span.
        of_source: see `statistics_of`.
    """
    if not len(rows):
        none = np.zeros(0, np.int64)
        return StatisticsColumns.without_rows(none, none)
    is_ordered = bool((rows.first[1:] >= rows.first[:-1]).all())
    ordered = rows if is_ordered else rows.take(np.argsort(rows.first, kind="stable"))
    at = np.flatnonzero(np.append(True, ordered.first[1:] != ordered.first[:-1]))
    # Of rows without a join key nothing is said but how many.
    timed = ordered.rows > 0
    count = np.add.reduceat(ordered.rows, at)
    oldest = np.minimum.reduceat(np.where(timed, ordered.oldest, _LATEST), at)
    starts, ends = numbers.starts_and_ends(ordered.first[at])
    has_rows = count > 0
    fingerprints = np.zeros(len(at), "S32")
    fingerprints[has_rows] = _fingerprints(
        count[has_rows],
        np.add.reduceat(ordered.low, at)[has_rows],
        np.add.reduceat(ordered.high, at)[has_rows],
        np.bitwise_xor.reduceat(ordered.mix, at)[has_rows],
        '"' if of_source else "",
    )
    return StatisticsColumns(
        starts,
        ends,
        count,
        fingerprints,
        np.where(has_rows & (oldest != NOTHING), oldest, NO_TIME),
        _or_none(np.maximum.reduceat(np.where(timed, ordered.newest, NOTHING), at)),
        _or_none(np.maximum.reduceat(ordered.created, at)),
        np.add.reduceat(ordered.null_keys, at),
    )


def _or_none(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(times == NOTHING, NO_TIME, times)


def _fingerprints(
    rows: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    mix: npt.NDArray[np.int64],
    quote: str,
) -> npt.NDArray[np.bytes_]:
    columns = (rows.tolist(), low.tolist(), high.tolist(), mix.view(np.uint64).tolist())
    texts = [
        sha256(f"{quote}{count}:{(upper << 32) + lower:x}:{mixed:x}{quote}".encode()).hexdigest()[:32]
        for count, lower, upper, mixed in zip(*columns, strict=True)
    ]
    return np.array(texts, "S32")
