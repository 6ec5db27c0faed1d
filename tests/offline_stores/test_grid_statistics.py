"""Statistics of windows that are made at once equal those that are made one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.definitions.partitions import GRAINS
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.grid_statistics import grid_statistics
from feast_assets.offline_stores.part_summaries import COLUMNS, NOTHING, Contributions
from feast_assets.offline_stores.statistics_columns import StatisticsColumns
from feast_assets.offline_stores.summary import statistics_of
from feast_assets.offline_stores.window_numbers import WindowNumbers

BEGIN = datetime(2024, 1, 30, 5, 30, tzinfo=UTC)


@st.composite
def contributions(draw: st.DrawFn) -> tuple[WindowNumbers, Contributions]:
    grain = draw(st.sampled_from(GRAINS))
    span = draw(st.sampled_from([Window(BEGIN, BEGIN + timedelta(days=40, hours=3)), ALWAYS]))
    numbers = WindowNumbers(grain, span)
    rows = []
    for _ in range(draw(st.integers(0, 12))):
        at = to_micros(BEGIN) + draw(st.integers(0, 10**12))
        if draw(st.sampled_from([False, False, True])):
            at = draw(st.sampled_from([to_micros(span.start), numbers.end]))
        number = numbers.number(at)
        count, null_keys = draw(st.sampled_from([(3, 0), (1, 2), (0, 1)]))
        created = draw(st.sampled_from([NOTHING, at]))
        hashes = draw(st.tuples(*[st.integers(0, 2**40)] * 2, st.integers(-(2**63), 2**63 - 1)))
        rows.append((0, number, number, count, null_keys, at, at, created, *hashes))
    columns = np.array(rows, np.int64).reshape(-1, len(COLUMNS)).T
    return numbers, Contributions(*(np.ascontiguousarray(column) for column in columns))


@settings(max_examples=200, deadline=None)
@given(situation=contributions())
def test_at_once_equals_one_by_one(situation: tuple[WindowNumbers, Contributions]) -> None:
    numbers, rows = situation
    for of_source in (False, True):
        one_by_one = [
            statistics_of(numbers.window(first, last), [summary], of_source=of_source)
            for first, last, summary in rows.summed()
        ]
        at_once = grid_statistics(numbers, rows, of_source=of_source)
        assert list(at_once) == one_by_one
        assert [at_once[i] for i in range(len(at_once))] == one_by_one
        assert list(StatisticsColumns.of(one_by_one)) == one_by_one
        assert dict(at_once.content) == {s.window: s.fingerprint for s in one_by_one}


def test_columns_hold_what_a_datetime_can() -> None:
    columns = StatisticsColumns.without_rows(
        np.array([to_micros(ALWAYS.start)], np.int64), np.array([to_micros(ALWAYS.end)], np.int64)
    )
    assert columns[0].window == ALWAYS
    assert from_micros(int(columns.ends[0])) == ALWAYS.end
