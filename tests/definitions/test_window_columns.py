"""Arithmetic with many windows at once equals that with one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.definitions.partitions import GRAINS, Partitions
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window, meeting, union
from feast_assets.definitions.window_columns import grid_windows, joined, met, position_of, positions_of

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


@st.composite
def windows(draw: st.DrawFn) -> list[Window]:
    cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=14)))
    return [Window(BEGIN + timedelta(a), BEGIN + timedelta(b)) for a, b in pairwise(cuts) if draw(st.booleans())]


def columns(some: list[Window]) -> tuple[np.ndarray, np.ndarray]:
    starts, ends = [to_micros(w.start) for w in some], [to_micros(w.end) for w in some]
    return np.array(starts, np.int64), np.array(ends, np.int64)


@given(standing=windows(), some=windows())
def test_windows_are_found_and_meet_as_one_by_one(standing: list[Window], some: list[Window]) -> None:
    mixed = [*some, *standing[::2]]
    positions = positions_of(*columns(mixed), *columns(standing))
    expected = [standing.index(w) if w in standing else -1 for w in mixed]
    assert positions.tolist() == expected
    assert [position_of(w, *columns(standing)) for w in mixed] == expected
    assert [w for w, m in zip(mixed, met(*columns(mixed), *columns(standing)), strict=True) if m] == [
        w for w in mixed if w in meeting(standing, mixed)
    ]


@given(some=windows())
def test_joined_windows_are_their_union(some: list[Window]) -> None:
    starts, ends = joined(*columns(some))
    expected_starts, expected_ends = columns(union(some))
    assert starts.tolist() == expected_starts.tolist() and ends.tolist() == expected_ends.tolist()


@given(
    grain=st.sampled_from(GRAINS),
    moments=st.lists(st.datetimes(timezones=st.just(UTC)), max_size=5),
    usual=st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC)), max_size=5),
)
def test_moments_lie_in_the_windows_of_a_grid(grain: str, moments: list[datetime], usual: list[datetime]) -> None:
    grid = Partitions(grain)  # type: ignore[arg-type]
    for some in (moments, usual):
        starts, ends = grid_windows(grid, np.array([to_micros(m) for m in some], np.int64))
        assert starts.tolist() == [to_micros(grid.floor(m)) for m in some]
        assert ends.tolist() == [to_micros(grid.next(grid.floor(m))) for m in some]
