"""What an offline store that summarizes single parts of sources does, as tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.offline_stores.abilities import SummarizesParts
from feast_assets.offline_stores.base import History, OfflineStore, WindowStatistics, whole_source
from feast_assets.offline_stores.part_summaries import concatenated
from feast_assets.offline_stores.summary import statistics_of
from feast_assets.offline_stores.window_numbers import Reaching, WindowInput, WindowNumbers, occupied
from feast_assets.testing.offline_store.cases import Put, StoreFixtures, history, hour, trips

_GRID = Partitions("daily")


class SummarizesPartsConformance(StoreFixtures):
    """The contract of `SummarizesParts` as tests. Subclasses also give the fixture ``sink``."""

    @pytest.fixture
    def sink(self, store: OfflineStore) -> DataSource:
        """A source that does not exist yet, with timestamp_field "event_timestamp"."""
        raise NotImplementedError

    @pytest.fixture
    def summarizing(self, store: OfflineStore) -> SummarizesParts:
        """The store."""
        assert isinstance(store, SummarizesParts)
        return store

    @pytest.fixture
    def source(self, put: Put) -> DataSource:
        """A source with rows of three days, some of them without a key or a time."""
        hours = [1, 2, 25, 26, 60, None]
        moments = [None if at is None else hour(at) for at in hours]
        return put(trips([(None if i == 3 else i % 2, at, 0.5 * i, f"c{i}") for i, at in enumerate(moments)]))

    def test_parts_that_hold_rows_stay_the_same_while_nothing_happens(
        self, store: OfflineStore, summarizing: SummarizesParts, source: DataSource
    ) -> None:
        before = summarizing.row_parts(source)
        assert before is not None
        assert len({part.name for part in before}) == len(before) > 0
        again = summarizing.row_parts(source)
        assert again is not None
        assert [part.identity for part in before] == [part.identity for part in again]
        store.write(source, trips([(2, hour(2), 2.0, "b")]))
        after = summarizing.row_parts(source)
        assert after is not None
        assert {part.identity for part in before} != {part.identity for part in after}

    def test_a_source_that_is_not_there_has_no_rows_in_parts(
        self, summarizing: SummarizesParts, sink: DataSource
    ) -> None:
        assert not summarizing.row_parts(sink)

    def test_contributions_add_up_to_the_statistics_of_windows(
        self, store: OfflineStore, summarizing: SummarizesParts, source: DataSource
    ) -> None:
        store.write(source, trips([(2, hour(2), 2.0, "b"), (3, hour(90), 2.5, "d")]))
        for each in (history(source), whole_source(source)):
            surveyed = store.survey_grid(each, _GRID, ALWAYS)
            windows, null_times = _added_up(summarizing, each, source)
            assert windows == surveyed.windows
            assert null_times == surveyed.null_times == 1

    def test_parts_that_are_read_alike_say_so(
        self, store: OfflineStore, summarizing: SummarizesParts, source: DataSource
    ) -> None:
        store.write(source, trips([(2, hour(2), 2.0, "b")]))
        parts = summarizing.row_parts(source)
        assert parts is not None
        (alone,) = set(summarizing.read_alone(history(source), source, parts))
        assert summarizing.read_together(history(source), source, parts) == alone


def _added_up(store: SummarizesParts, each: History, source: DataSource) -> tuple[Sequence[WindowStatistics], int]:
    """Returns the statistics of the windows with rows, added up from those of each part alone."""
    parts = store.row_parts(source)
    assert parts is not None
    read = [store.summarize_parts(each, source, [part], [], _GRID) for part in parts]
    several = [summaries.contributions for summaries in read if summaries is not None]
    assert len(several) == len(read)
    numbers = WindowNumbers(_GRID.grain, ALWAYS)
    reaching = [Reaching(first, last, rows) for first, last, rows in concatenated(several).summed()]
    rows = WindowInput(sorted(reaching, key=lambda one: one.first))
    windows = [
        statistics_of(numbers.window(first, last), [rows.upon(first)], of_source=each.all_columns)
        for first, last in occupied(numbers, [rows])
    ]
    return windows, sum(sum(summaries.null_times) for summaries in read if summaries is not None)
