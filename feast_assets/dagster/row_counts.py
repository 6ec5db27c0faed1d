"""How many rows a window should have, from how many the windows before it had."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from statistics import quantiles

from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry

HISTORY = 28
"""Windows that are looked back on: of days, four weeks."""
ENOUGH = 7
"""Windows without which nothing is expected."""
_FAR_OUT = 3.0
_LEAST_SPREAD = 0.25


def expected_rows(counts: Sequence[int]) -> tuple[float, float] | None:
    """Returns the fewest and the most rows that a window should have, given those before it.

    These are Tukey's outer fences, three interquartile ranges outside of the quartiles (Tukey, "Exploratory Data
    Analysis", 1977), at least a quarter of the median away from it, so that counts that hardly vary may vary a bit.

    Returns:
        None where there are fewer than `ENOUGH` counts.
    """
    if len(counts) < ENOUGH:
        return None
    low, median, high = quantiles(counts, n=4, method="inclusive")
    spread = _FAR_OUT * (high - low)
    least = _LEAST_SPREAD * median
    return max(0.0, min(low - spread, median - least)), max(high + spread, median + least)


def rows_before(window: Window, ledger: Sequence[LedgerEntry]) -> list[int]:
    """Returns how many rows the `HISTORY` windows before a window had; windows without any, and those cut from another
    length by the grid or by hand, do not count.

    Args:
        ledger: of one view, in order of time.
    """
    length = window.end - window.start
    before = bisect_right(ledger, window.start, key=lambda entry: entry.window.end)
    like_it = (
        entry.rows
        for entry in map(ledger.__getitem__, range(before - 1, -1, -1))
        # Months differ in length.
        if entry.settled and entry.rows and 0.9 < (entry.window.end - entry.window.start) / length < 1.1
    )
    return list(islice(like_it, HISTORY))[::-1]
