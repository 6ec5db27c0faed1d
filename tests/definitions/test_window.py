"""Window arithmetic, against sets of whole hours: a window is the set of the hours in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.definitions import partitions
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import (
    ALWAYS,
    LONGEST_MICROS,
    MICROSECOND,
    Bounds,
    Window,
    WindowIndex,
    contiguous,
    duration_micros,
    hull,
    meeting,
    outside,
    overlapped,
    union,
    until,
)

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 16


def at(hour: int) -> datetime:
    return BEGIN + timedelta(hours=hour)


def window(start: int, end: int) -> Window:
    return Window(at(start), at(end))


def hours(*windows: Window) -> set[int]:
    """Returns the hours that some windows cover, one by one."""
    return {hour for hour in range(HOURS + 1) for w in windows if w.start <= at(hour) < w.end}


def are_fewest(windows: list[Window]) -> bool:
    """Whether they are in order, not empty, and neither overlap nor touch."""
    return all(w.start < w.end for w in windows) and all(a.end < b.start for a, b in pairwise(windows))


@dataclass(frozen=True)
class Item:
    window: Window


edges = st.integers(0, HOURS)
any_window = st.tuples(edges, edges).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: window(*pair))
any_windows = st.lists(any_window, max_size=6)


@st.composite
def apart(draw: st.DrawFn) -> list[Window]:
    """Windows that do not overlap, in order; some follow each other without a gap."""
    cuts = sorted(draw(st.sets(edges, max_size=8)))
    return [window(a, b) for a, b in pairwise(cuts) if draw(st.booleans())]


@settings(max_examples=200, deadline=None)
@given(one=any_window, other=any_window)
def test_two_windows_overlap_where_they_share_an_hour(one: Window, other: Window) -> None:
    shared = hours(one) & hours(other)
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)
    assert one.contains(other) == (hours(other) <= hours(one))
    cut = one.cut_to(other)
    assert (set() if cut is None else hours(cut)) == shared
    assert cut is None or cut.start < cut.end


@settings(max_examples=200, deadline=None)
@given(windows=any_windows)
def test_a_union_covers_the_same_with_the_fewest_windows(windows: list[Window]) -> None:
    joined = union(windows)
    assert hours(*joined) == hours(*windows)
    assert are_fewest(joined)


@settings(max_examples=300, deadline=None)
@given(windows=any_windows, others=any_windows)
def test_what_lies_outside_is_covered_by_no_other_window(windows: list[Window], others: list[Window]) -> None:
    parts = outside(windows, others)
    assert hours(*parts) == hours(*windows) - hours(*others)
    assert are_fewest(parts)


@settings(max_examples=200, deadline=None)
@given(standing=apart(), windows=any_windows)
def test_windows_that_meet_standing_ones_share_an_hour_with_one(standing: list[Window], windows: list[Window]) -> None:
    assert meeting(standing, windows) == {w for w in windows if hours(w) & hours(*standing)}


@settings(max_examples=200, deadline=None)
@given(standing=apart(), windows=apart())
def test_a_slice_holds_just_the_standing_windows_that_are_overlapped(
    standing: list[Window], windows: list[Window]
) -> None:
    slices = list(overlapped(standing, windows))
    assert len(slices) == len(windows)
    for each, (first, last) in zip(windows, slices, strict=True):
        assert standing[first:last] == [s for s in standing if hours(s) & hours(each)]


@settings(max_examples=200, deadline=None)
@given(windows=apart(), bridges=st.sets(st.integers(0, 7)))
def test_runs_hold_every_window_once_and_end_where_there_is_a_gap(windows: list[Window], bridges: set[int]) -> None:
    items = [Item(w) for i, w in enumerate(windows) if i not in bridges]
    bridged = [w for i, w in enumerate(windows) if i in bridges]
    groups = contiguous(reversed(items), bridged)
    assert [item for group in groups for item in group] == items
    known = hours(*windows)
    for group in groups:
        between = hours(Window(group[0].window.start, group[-1].window.end))
        assert between <= known
    for one, other in pairwise(groups):
        assert not hours(Window(one[-1].window.end, other[0].window.start)) <= known


def test_windows_that_follow_each_other_are_one_run() -> None:
    items = [Item(window(0, 1)), Item(window(1, 3)), Item(window(4, 5))]
    assert contiguous(items) == [items[:2], items[2:]]
    assert contiguous(items, [window(3, 4)]) == [items]
    assert contiguous([]) == contiguous([], [window(0, 1)]) == []


@settings(max_examples=200, deadline=None)
@given(windows=apart(), moments=st.lists(st.integers(-1, 2 * HOURS + 1), max_size=12))
def test_an_event_lies_in_the_window_that_holds_its_moment(windows: list[Window], moments: list[int]) -> None:
    times = [BEGIN + timedelta(minutes=30 * m) for m in moments]
    positions = WindowIndex(windows).positions(np.array([to_micros(t) for t in times], np.int64))
    expected = [next((i for i, w in enumerate(windows) if w.start <= t < w.end), -1) for t in times]
    assert positions.dtype == np.int64
    assert positions.tolist() == expected


def test_the_last_microsecond_of_all_lies_in_the_last_window() -> None:
    last = to_micros(datetime.max.replace(tzinfo=UTC))
    events = np.array([to_micros(ALWAYS.start), last - 1, last], np.int64)
    assert WindowIndex([ALWAYS]).positions(events).tolist() == [0, 0, 0]
    ending = Window(from_micros(last - 1), ALWAYS.end)
    assert WindowIndex([Window(ALWAYS.start, ending.start), ending]).positions(events).tolist() == [0, 1, 1]
    assert ALWAYS.end_micros == last + 1
    assert window(0, 1).end_micros - window(0, 1).start_micros == 3_600_000_000


def test_an_inclusive_end_is_followed_by_the_next_microsecond() -> None:
    assert until(at(1)) == at(1) + MICROSECOND
    assert until(ALWAYS.end) == ALWAYS.end
    assert until(ALWAYS.end - MICROSECOND) == ALWAYS.end


@settings(max_examples=200, deadline=None)
@given(windows=any_windows, lookback=st.integers(0, 5))
def test_bounds_hold_a_window_and_what_it_looks_back_on(windows: list[Window], lookback: int) -> None:
    bounds = [Bounds.of(w, timedelta(hours=lookback)) for w in windows]
    for w, b in zip(windows, bounds, strict=True):
        assert b == Bounds(to_micros(w.start - timedelta(hours=lookback)), to_micros(w.end))
    whole = hull(bounds)
    if not windows:
        assert whole == Bounds(0, 0)
        return
    assert whole.start == min(b.start for b in bounds if b.start is not None)
    assert whole.end == max(b.end for b in bounds if b.end is not None)


def test_all_of_time_has_no_bounds() -> None:
    assert Bounds.of(ALWAYS) == Bounds.of(ALWAYS, timedelta(days=1)) == Bounds(None, None)
    assert hull([Bounds(1, 2), Bounds(None, 3), Bounds(0, None)]) == Bounds(None, None)
    assert hull([Bounds(1, 2), Bounds(-4, 3)]) == Bounds(-4, 3)


def test_a_duration_without_end_is_no_bound() -> None:
    assert duration_micros(timedelta(seconds=1)) == 1_000_000
    assert duration_micros(timedelta.max) == LONGEST_MICROS


def test_windows_are_shown_and_ordered_by_their_edges() -> None:
    assert str(window(0, 1)) == "[2024-01-01T00:00:00, 2024-01-01T01:00:00)"
    assert sorted([window(2, 3), window(0, 5), window(0, 1)]) == [window(0, 1), window(0, 5), window(2, 3)]
    with pytest.raises(AttributeError):
        window(0, 1).start = at(2)  # type: ignore[misc]


def test_windows_can_be_imported_from_where_grids_are() -> None:
    assert partitions.Window is Window
