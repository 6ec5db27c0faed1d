"""A few rows long before all others, such as placeholders of 1970-01-01, fix where a grid begins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from feast_assets.compute.view_stores import history_read
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import ALWAYS
from feast_assets.offline_stores.base import History, OfflineStore, WindowStatistics
from feast_assets.offline_stores.source_changes import extent

_LONG = timedelta(days=365)
_FEW = 1000
"""One row in so many is few."""


@dataclass(frozen=True, slots=True)
class EarlyRows:
    """Rows that lie long before all others.

    Attributes:
        rows: how many.
        first: the time of the oldest.
        others: how many other rows there are.
        others_begin: the time of the oldest of these.
    """

    rows: int
    first: datetime
    others: int
    others_begin: datetime


def early_rows(months: Sequence[WindowStatistics]) -> EarlyRows | None:
    """Returns the rows that lie at least a year before all others and are one, or one in a thousand; None without any.

    Args:
        months: those with rows, in order of time.
    """
    total = sum(m.rows for m in months)
    early = None
    before = 0
    for month, following in pairwise(months):
        before += month.rows
        if before > max(1, total // _FEW) or total - before < 2:
            break
        first, last, others_begin = months[0].oldest_event, month.newest_event, following.oldest_event
        assert first is not None
        assert last is not None
        assert others_begin is not None
        if others_begin - last >= _LONG:
            early = EarlyRows(before, first, total - before, others_begin)
    return early


def warn_of_early_rows(view: FeatureView, store: OfflineStore, earliest: datetime) -> None:
    """Warns where a few rows, or rows in the future, are about to fix the start of a view's grid.

    The rows are read, their times and keys alone, only where they may lie more than a year apart.

    Args:
        view: whose grid has no start.
        earliest: the event time of the oldest row.
    """
    grid = view.partitions
    assert grid is not None
    if grid.end is not None and earliest >= grid.end:
        return
    named = f"Feature view {view.name!r}"
    if earliest > datetime.now(UTC):
        warnings.warn(
            f"{named}: its earliest event is at {earliest.isoformat()}, in the future. Its {grid.grain} grid begins "
            f"there, and nothing before is materialized. {_remedy(grid, None)}",
            stacklevel=2,
        )
        return
    early = max(
        (each for history in _single(history_read(view)) if (each := _early_rows_of(store, history)) is not None),
        key=lambda each: each.others,
        default=None,
    )
    if early is not None and early.first == earliest:
        are = "row lies" if early.rows == 1 else "rows lie"
        warnings.warn(
            f"{named}: {early.rows:,} {are} long before the other {early.others:,}, at {early.first.isoformat()}, and "
            f"its {grid.grain} grid begins there; the others begin at {early.others_begin.isoformat()}. "
            f"{_remedy(grid, early.others_begin)}",
            stacklevel=2,
        )


def _early_rows_of(store: OfflineStore, history: History) -> EarlyRows | None:
    ends = extent(store, history)
    if ends is not None and ends[1] - ends[0] < _LONG:
        return None
    try:
        months = store.survey_grid(history, Partitions("monthly"), ALWAYS).windows
    except OverflowError:
        return (
            None  # some times are outside of what a datetime can hold; materialization raises an error that names them
        )
    return early_rows([m for m in months if m.rows])


def _single(history: History) -> list[History]:
    """Returns the histories of the sources that are read, without features."""
    if history.transformation is None:
        return [history.with_features([])]
    return [
        replace(
            history,
            sources=(source,),
            join_keys=(),
            features=(),
            declared=(),
            timestamp_field=source.timestamp_field,
            created_timestamp_column="",
            transformation=None,
            lookback=timedelta(0),
        )
        for source in history.sources
        if source.timestamp_field
    ]


def _remedy(grid: Partitions, begin: datetime | None) -> str:
    start = "..."
    if begin is not None:
        # The beginning of a day is on every grid but those of weeks and months, which begin with one.
        at = grid.floor(begin)
        start = f"datetime({at.year}, {at.month}, {at.day}, tzinfo=UTC)"
    return (
        f'If that time is a placeholder for an unknown one, declare the start: Partitions("{grid.grain}", '
        f"start={start})."
    )
