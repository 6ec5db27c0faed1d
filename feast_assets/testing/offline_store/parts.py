"""What an offline store that tracks the parts of sources does, as tests."""

from __future__ import annotations

import pytest

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.abilities import TracksParts
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.offline_stores.parts import SourceParts
from feast_assets.offline_stores.source_changes import history_state, window_change_tokens
from feast_assets.testing.offline_store.cases import Put, StoreFixtures, history, hour, trips


class TracksPartsConformance(StoreFixtures):
    """The contract of `TracksParts` as tests. Subclasses also give the fixture ``sink``."""

    @pytest.fixture
    def sink(self, store: OfflineStore) -> DataSource:
        """A source that does not exist yet, with timestamp_field "event_timestamp"."""
        raise NotImplementedError

    @pytest.fixture
    def tracking(self, store: OfflineStore) -> TracksParts:
        """The store."""
        assert isinstance(store, TracksParts)
        return store

    def test_parts_stay_the_same_while_nothing_happens(self, tracking: TracksParts, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a"), (2, hour(5), 2.0, "b")]))
        before = _parts(tracking, source)
        assert {part.text for part in before.parts} == {part.text for part in _parts(tracking, source).parts}
        assert len({part.name for part in before.parts}) == len(before.parts)

    def test_written_rows_change_a_part_or_add_one(self, store: OfflineStore, tracking: TracksParts, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a")]))
        before = _parts(tracking, source)
        state = history_state(store, history(source))
        store.write(source, trips([(2, hour(2), 2.0, "b")]))
        assert {part.text for part in before.parts} != {part.text for part in _parts(tracking, source).parts}
        assert state.may_have_changed(history_state(store, history(source)))

    def test_an_empty_source_is_there_and_a_missing_one_is_gone(
        self, store: OfflineStore, tracking: TracksParts, put: Put, sink: DataSource
    ) -> None:
        assert not _parts(tracking, put(trips([]))).is_gone
        assert _parts(tracking, sink) == SourceParts(is_gone=True)
        assert history_state(store, history(sink)).gone == (sink.name,)

    def test_extents_cover_all_rows_where_they_are_known(self, tracking: TracksParts, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a"), (None, hour(5), 2.0, "b"), (1, None, 1.0, "c")]))
        source_parts = tracking.parts(source, extents=True)
        assert source_parts is not None
        extents = [part.extent for part in source_parts.parts]
        if source_parts.hold_rows and None not in extents:
            ends = [end for e in extents if e is not None for end in (e.oldest, e.newest) if end is not None]
            assert min(ends) <= to_micros(hour(1))
            assert to_micros(hour(5)) <= max(ends)

    def test_versions_of_a_source_tell_which_windows_have_changed(self, store: OfflineStore, put: Put) -> None:
        windows = [Window(hour(0), hour(2)), Window(hour(2), hour(4)), Window(hour(4), hour(6))]
        source = put(trips([(1, hour(1), 1.0, "a"), (2, hour(5), 2.0, "b")]))
        before = window_change_tokens(store, source, windows)
        assert before == window_change_tokens(store, source, windows)
        assert [bool(version) for version in before] == [True, False, True]
        whole = window_change_tokens(store, source, [ALWAYS])
        store.write(source, trips([(3, hour(3), 3.0, "c")]))
        assert window_change_tokens(store, source, windows)[1] != ""
        assert window_change_tokens(store, source, [ALWAYS]) != whole


def _parts(store: TracksParts, source: DataSource) -> SourceParts:
    source_parts = store.parts(source)
    assert source_parts is not None
    return source_parts
