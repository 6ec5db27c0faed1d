"""Where a long history is cut: every section is worth its query, and few rows are read twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.offline_stores.newest_first import RowGroups, cuts

EVER = (-(2**63), 2**63 - 1)


def _groups(*groups: tuple[int, int, int]) -> RowGroups:
    """Row groups of rows, oldest and newest, each in a file of its own."""
    rows, oldest, newest = np.array(groups, np.int64).T
    return RowGroups(np.arange(len(groups)), rows, oldest, newest)


def test_sections_grow_so_that_a_long_history_has_few() -> None:
    days = _groups(*((10, day * 100, day * 100 + 99) for day in range(100)))
    assert cuts(days, 9950, 10) == [9900, 9800, 9400, 7600]


def test_the_newest_section_holds_all_moments() -> None:
    days = _groups(*((10, day * 100, day * 100 + 99) for day in range(10)))
    assert cuts(days, 750, 10)[0] == 700
    assert cuts(days, 0, 10) == []


def test_a_history_in_no_order_is_not_cut() -> None:
    assert cuts(_groups(*((10, 0, 900 + n) for n in range(10))), 900, 1) == []
    assert cuts(_groups(*((10, *EVER) for _ in range(10))), 900, 1) == []


def test_a_few_late_rows_in_newer_files_do_not_stand_in_the_way() -> None:
    days = [(100, day * 100, day * 100 + 99) for day in range(20)]
    assert cuts(_groups(*days, (20, 0, 1999)), 1950, 10)[0] == 1900


def test_a_short_history_is_read_at_once() -> None:
    days = _groups(*((10, day * 100, day * 100 + 99) for day in range(10)))
    assert cuts(days, 950, 51) == []


@given(
    groups=st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 60), st.integers(0, 20)).map(lambda g: (g[0], g[1], g[1] + g[2])),
        min_size=1,
        max_size=30,
    ),
    first=st.integers(0, 80),
)
def test_sections_are_in_order_and_read_little_twice(groups: list[tuple[int, int, int]], first: int) -> None:
    given_groups = _groups(*groups)
    found = cuts(given_groups, first, 5)
    assert found == sorted(set(found), reverse=True)
    assert all(moment <= first for moment in found)
    edges = [EVER[1], *found, EVER[0]]
    read = [given_groups.overlapping(start, end).count for end, start in pairwise(edges)]
    assert all(count > 0 for count in read)
    # What reaches over a cut is at most a quarter of the section before it; it may reach over older cuts as well.
    assert sum(read) <= given_groups.count * (1 + 0.25 * len(found))
