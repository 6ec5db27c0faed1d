"""What an offline store that replaces windows does, as tests."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import TransformationError
from feast_assets.offline_stores.abilities import CanReplaceWindows
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.testing.offline_store.cases import DAY, Put, StoreFixtures, history, hour, trips


class CanReplaceWindowsConformance(StoreFixtures):
    """The contract of `CanReplaceWindows` as tests. Subclasses also give the fixture ``sink``."""

    @pytest.fixture
    def sink(self, store: OfflineStore) -> DataSource:
        """A source that does not exist yet, with timestamp_field "event_timestamp", which `replace` can write to."""
        raise NotImplementedError

    @pytest.fixture
    def replacing(self, store: OfflineStore) -> CanReplaceWindows:
        """The store."""
        assert isinstance(store, CanReplaceWindows)
        return store

    def test_replace_changes_just_its_windows(
        self, store: OfflineStore, replacing: CanReplaceWindows, put: Put, sink: DataSource
    ) -> None:
        days = [Window(DAY + timedelta(days=i), DAY + timedelta(days=i + 1)) for i in range(3)]
        first = history(put(trips([(i, hour(24 * i), 1.0, "") for i in range(3)])))
        second = history(put(trips([(10 + i, hour(24 * i), 2.0, "") for i in range(3)])))
        kept = history(sink, kept=True)

        def drivers() -> list[int]:
            return sorted(store.scan(kept, ALWAYS).read_all()["driver"].to_pylist())

        assert drivers() == []
        replacing.replace(sink, first, days, store.scan(first, ALWAYS))
        assert drivers() == [0, 1, 2]
        # Rows outside the windows do not count.
        replacing.replace(sink, second, [days[2], days[1]], store.scan(second, ALWAYS))
        assert drivers() == [0, 11, 12]
        # A window without rows becomes empty.
        replacing.replace(sink, second, [days[1]], store.scan(second, days[0]))
        assert drivers() == [0, 12]
        # Other windows over the same times leave no row twice.
        replacing.replace(sink, first, [Window(days[0].start, days[2].end)], store.scan(first, ALWAYS))
        assert drivers() == [0, 1, 2]
        replacing.replace(sink, second, [days[1]], store.scan(second, ALWAYS))
        assert drivers() == [0, 2, 11]

    def test_replace_keeps_values_and_types(
        self, store: OfflineStore, replacing: CanReplaceWindows, put: Put, sink: DataSource
    ) -> None:
        source = history(put(trips([(1, hour(1), 1.5, "a"), (1, hour(1), None, None)])))
        replacing.replace(sink, source, [ALWAYS], store.scan(source, ALWAYS))
        original, copy = (store.scan(h, ALWAYS).read_all() for h in (source, history(sink, kept=True)))
        assert copy.schema == original.schema
        assert copy.sort_by("fare").equals(original.sort_by("fare"))
        assert store.statistics(history(sink, kept=True), [ALWAYS]) == store.statistics(source, [ALWAYS])

    def test_a_failing_reader_replaces_nothing(
        self, store: OfflineStore, replacing: CanReplaceWindows, put: Put, sink: DataSource
    ) -> None:
        source = history(put(trips([(1, hour(1), 1.0, "a")])))
        replacing.replace(sink, source, [ALWAYS], store.scan(source, ALWAYS))
        batch = store.scan(source, ALWAYS).read_all().to_batches()[0]

        def broken() -> object:
            yield batch
            raise TransformationError("half way")

        with pytest.raises(TransformationError, match="half way"):
            replacing.replace(sink, source, [ALWAYS], pa.RecordBatchReader.from_batches(batch.schema, broken()))
        assert store.scan(history(sink, kept=True), ALWAYS).read_all().num_rows == 1
