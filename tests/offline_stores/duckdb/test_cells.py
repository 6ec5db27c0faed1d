"""The cell of a row is the one that its time lies in, however the edges lie."""

from __future__ import annotations

from bisect import bisect_right

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feast_assets.offline_stores.duckdb.cells import with_cells

_TIMES = st.one_of(st.integers(-50, 50), st.integers(-(10**17), 10**17))
_EDGES = st.one_of(
    st.sets(_TIMES, max_size=12),
    st.builds(
        lambda base, step, n: {base + step * i for i in range(n)}, _TIMES, st.integers(1, 10**12), st.integers(1, 40)
    ),
)


@settings(max_examples=60, deadline=None)
@given(edges=_EDGES, times=st.lists(_TIMES, max_size=20))
@example(edges=set(), times=[0])
@example(edges={5}, times=[4, 5, 6])
@example(edges={-3, *range(0, 50, 10), 41}, times=[])  # a grid that is cut at both ends
@example(edges={-11, *range(0, 50, 10), 51}, times=[])  # ends that lie beyond the grid
@example(edges={0, 1, 10**17}, times=[-1, 0, 1, 2, 10**17 - 1, 10**17])
def test_a_cell_counts_the_edges_that_are_not_after(edges, times):
    ascending = sorted(edges)
    # At, just before and just after each edge is where a cell begins or ends.
    times = [*times, *(edge + shift for edge in ascending for shift in (-1, 0, 1))]
    with duckdb.connect() as connection:
        connection.register(
            "rows_given", pa.table({"t": pa.array(times, pa.int64()), "i": pa.array(range(len(times)))})
        )
        found = connection.execute(with_cells(connection, "SELECT * FROM rows_given", ascending)).fetchall()
    assert sorted(found, key=lambda row: row[1]) == [(t, i, bisect_right(ascending, t)) for i, t in enumerate(times)]


def _plan(edges):
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE given AS SELECT range AS t FROM range(1000)")
        sql = with_cells(connection, "SELECT * FROM given", edges)
        plans = connection.execute(f"EXPLAIN (FORMAT json) SELECT cell, count(*) FROM ({sql}) GROUP BY cell").fetchall()
    return plans[0][1]


@pytest.mark.parametrize("edges", [[], [5], [5, 9], [5, 9, 11], [*range(0, 1000, 10)], [-3, *range(0, 1000, 10), 991]])
def test_the_cells_of_a_grid_need_no_join(edges):
    assert "JOIN" not in _plan(edges)


def test_rows_are_not_sorted_or_joined_by_range():
    plan = _plan([0, *range(15, 1000, 10), 999])
    assert "HASH_JOIN" in plan
    assert not any(name in plan for name in ("ASOF", "IE_JOIN", "ORDER", "NESTED_LOOP", "PIECEWISE"))
