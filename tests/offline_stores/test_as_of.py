"""The newest row as of a moment, against a search through all rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.offline_stores.as_of import NONE, Candidates, Moments, newest

COUNT = 4
POOL = ThreadPoolExecutor(2)
entities = st.integers(0, COUNT - 1)
# Close together, so that they tie; and so far apart that entity and time do not fit into one integer.
times = st.one_of(st.integers(0, 6), st.sampled_from([-(2**63), -(2**61), 2**61, 2**63 - 1]))
rows = st.lists(st.tuples(entities, times), max_size=12)
moments = st.lists(st.tuples(st.one_of(st.just(NONE), entities), times), max_size=12)


def _columns(pairs):
    return tuple(np.array(column, np.int64) for column in zip(*pairs, strict=True)) or (np.zeros(0, np.int64),) * 2


@given(rows=rows, asked=moments, chunk=st.integers(1, 12))
def test_is_what_a_search_finds(rows, asked, chunk):
    sorted_moments = Moments.of(*_columns(asked), COUNT)
    of, since = _columns(rows)
    ids = np.arange(len(rows)) * 10
    chunks = [
        Candidates(of[at : at + chunk], since[at : at + chunk], since[at : at + chunk], ids[at : at + chunk])
        for at in range(0, len(rows), chunk)
    ]
    found = newest(lambda: sorted_moments, COUNT, chunks, POOL)
    assert sorted(sorted_moments.indices) == [i for i, (entity, _) in enumerate(asked) if entity != NONE]
    for i, place in enumerate(sorted_moments.indices):
        entity, moment = asked[place]
        assert (sorted_moments.entities[i], sorted_moments.times[i]) == (entity, moment)
        counting = [(time, number) for number, (its, time) in enumerate(rows) if its == entity and time <= moment]
        if not counting:
            assert found.ids[i] == NONE
            assert not found.tied[i]
            continue
        last = max(time for time, _ in counting)
        best = [number * 10 for time, number in counting if time == last]
        assert found.ids[i] in best
        assert found.times[i] == found.since[i] == last
        assert found.tied[i] == (len(best) > 1)


@given(rows=st.lists(st.tuples(entities, times), max_size=12, unique=True), asked=moments)
def test_the_same_row_is_found_side_by_side(rows, asked):
    of, since = _columns(rows)
    sorted_moments = Moments.of(*_columns(asked), COUNT)
    found = newest(lambda: sorted_moments, COUNT, [Candidates(of, since, since, np.arange(len(rows)))], POOL)
    ids = [i for i in found.ids if i != NONE]
    starts = [i for n, i in enumerate(ids) if n == 0 or ids[n - 1] != i]
    assert len(starts) == len(set(starts))


@pytest.mark.parametrize("far", [0, 2**62])
def test_many_rows_are_those_of_a_search_in_sorted_times(far):
    rng = np.random.default_rng(3)
    of, since = rng.integers(0, 50, 20_000), rng.permutation(100_000)[:20_000]
    since[0] -= far
    who, when = rng.integers(0, 50, 5_000), rng.integers(-5, 100_010, 5_000)
    sorted_moments = Moments.of(who, when, 50)
    found = newest(lambda: sorted_moments, 50, [Candidates(of, since, since, np.arange(20_000))], POOL)
    for entity in range(50):
        own = np.flatnonzero(of == entity)
        own = own[np.argsort(since[own])]
        here = np.flatnonzero(sorted_moments.entities == entity)
        at = np.searchsorted(since[own], sorted_moments.times[here], side="right") - 1
        np.testing.assert_array_equal(found.ids[here], np.where(at >= 0, own[at], NONE))
