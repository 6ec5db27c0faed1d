"""The statistics of a grid's windows at once, from what the parts of one source contribute to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feast_assets.offline_stores.fingerprints import Fingerprints, KnownFingerprints
from feast_assets.offline_stores.part_summaries import NOTHING
from feast_assets.offline_stores.statistics_columns import NO_TIME, StatisticsColumns

if TYPE_CHECKING:
    import numpy.typing as npt

    from feast_assets.offline_stores.part_summaries import Contributions
    from feast_assets.offline_stores.window_numbers import WindowNumbers

_LATEST = 2**63 - 1


def grid_statistics(
    numbers: WindowNumbers, rows: Contributions, *, of_source: bool, known: KnownFingerprints | None = None
) -> StatisticsColumns:
    """Returns the statistics of the windows that have rows, or rows without a join key.

    They equal those that `feast_assets.offline_stores.summary.statistics_of` makes of one input, window by window.

    Args:
        rows: each counts in one window of the numbers' span.
        of_source: see `statistics_of`.
        known: by which fingerprints are compared without being made.
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
    sums = [count, np.add.reduceat(ordered.low, at), np.add.reduceat(ordered.high, at)]
    sums += [np.bitwise_xor.reduceat(ordered.mix, at)]
    fingerprints = Fingerprints(np.stack(sums, axis=1), ordered.first[at], '"' if of_source else "", known)
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
