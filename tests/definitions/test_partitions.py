"""A grid cuts event time into windows without gaps or overlaps, whatever the moment and up to both ends of time."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets import Partitions
from feast_assets.definitions.partitions import GRAINS
from feast_assets.definitions.window import Window
from feast_assets.errors import DefinitionError

grids = st.sampled_from(GRAINS).map(Partitions)
moments = st.datetimes(timezones=st.just(UTC))
spans = st.tuples(st.datetimes(datetime(2020, 1, 1), datetime(2022, 1, 1)), st.timedeltas(timedelta(0), timedelta(9)))


@given(grids, moments)
def test_each_moment_lies_in_the_window_that_begins_at_its_floor(grid, moment) -> None:
    start = grid.floor(moment)
    end = grid.next(start)
    last = datetime.max.replace(tzinfo=UTC)
    assert start <= moment
    assert moment < end or end == last
    assert grid.floor(start) == start
    assert end == last or grid.floor(end) == end


@given(grids, spans)
def test_the_windows_of_a_span_cover_it_without_gaps(grid, span) -> None:
    start = span[0].replace(tzinfo=UTC)
    end = start + span[1]
    windows = list(grid.windows(start, end))
    assert all(one.end == following.start for one, following in itertools.pairwise(windows))
    assert all(window.start < end and window.end > start for window in windows)
    if start < end:
        assert windows[0].start <= start
        assert windows[-1].end >= end
        cut = list(grid.windows_cut_to(Window(start, end)))
        assert (cut[0].start, cut[-1].end) == (start, end)
        assert len(cut) == len(windows)
    else:
        assert grid.floor(start) != start or windows == []


@given(moments)
def test_weeks_begin_on_sunday_and_months_on_their_first_day(moment) -> None:
    sunday, first = Partitions("weekly").floor(moment), Partitions("monthly").floor(moment)
    assert sunday.isoweekday() == 7 or sunday == datetime.min.replace(tzinfo=UTC)
    assert first == datetime(moment.year, moment.month, 1, tzinfo=UTC)


def test_a_moment_of_another_time_zone_is_that_moment_in_utc() -> None:
    east = timezone(timedelta(hours=9))
    assert Partitions("daily").floor(datetime(2024, 3, 1, 5, tzinfo=east)) == datetime(2024, 2, 29, tzinfo=UTC)
    assert Partitions("daily", datetime(2024, 3, 1, 9, tzinfo=east)).start == datetime(2024, 3, 1, tzinfo=UTC)


def test_no_window_lies_beyond_the_end_of_the_grid() -> None:
    grid = Partitions("daily", datetime(2024, 1, 1), datetime(2024, 1, 3))
    windows = list(grid.windows(datetime(2024, 1, 1), datetime(2024, 2, 1)))
    assert [window.start.day for window in windows] == [1, 2]


@pytest.mark.parametrize("grain", GRAINS)
def test_the_last_window_ends_where_time_does(grain) -> None:
    grid, last = Partitions(grain), datetime.max.replace(tzinfo=UTC)
    assert [window.end for window in grid.windows(last - timedelta(seconds=1), last)] == [last]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("yearly",), "grain 'yearly' is not one of hourly, daily, weekly, monthly"),
        (("daily", datetime(2024, 1, 1, 5)), "use 2024-01-01T00:00:00"),
        (("weekly", datetime(2024, 1, 1)), "not the beginning of a weekly window; use 2023-12-31"),
        (("daily", datetime(2024, 1, 2), datetime(2024, 1, 2)), "must be before the end"),
        (("daily", "2024-01-01"), "start must be a datetime, got '2024-01-01'"),
    ],
)
def test_what_is_no_grid_is_refused(given, message) -> None:
    with pytest.raises(DefinitionError, match=message):
        Partitions(*given)
