"""What an offline store that writes rows at most once does, as tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import InputError
from feast_assets.offline_stores.abilities import WritesOnce
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.testing.offline_store.cases import Put, StoreFixtures, history, hour, trips

_OLD = [(1, hour(0), 1.0, "x"), (2, hour(1), None, None)]
_NEW = [(3, hour(2), 3.0, "y"), (3, hour(2), 3.0, None), (4, hour(3), float("nan"), "")]


def _rows(store: OfflineStore, source: DataSource) -> list[Any]:
    """Returns all rows as texts, sorted; NaN does not equal itself."""
    return sorted(map(repr, store.scan(history(source), ALWAYS).read_all().to_pylist()))


class WritesOnceConformance(StoreFixtures):
    """The contract of `WritesOnce` as tests."""

    @pytest.fixture
    def once(self, store: OfflineStore) -> WritesOnce:
        """The store."""
        assert isinstance(store, WritesOnce)
        return store

    def test_rows_are_written_once_however_often_they_are_handed_in(
        self, store: OfflineStore, once: WritesOnce, put: Put
    ) -> None:
        source, rows = put(trips(_OLD)), trips(_NEW)
        assert not once.has_written(source, rows, "k1")
        for _ in range(3):
            once.write_once(source, rows, "k1")
            assert once.has_written(source, rows, "k1")
        expected = put(trips([*_OLD, *_NEW]))
        assert _rows(store, source) == _rows(store, expected)

    def test_other_rows_are_added(self, store: OfflineStore, once: WritesOnce, put: Put) -> None:
        source = put(trips(_OLD))
        once.write_once(source, trips(_NEW), "k1")
        later = trips([(5, hour(5), 5.0, "z")])
        assert not once.has_written(source, later, "k2")
        once.write_once(source, later, "k2")
        assert len(_rows(store, source)) == len(_OLD) + len(_NEW) + 1

    def test_rows_in_another_order_of_columns_are_the_same(
        self, store: OfflineStore, once: WritesOnce, put: Put
    ) -> None:
        source, rows = put(trips(_OLD)), trips(_NEW)
        once.write_once(source, rows, "k1")
        turned = rows.select(list(reversed(rows.column_names)))
        assert once.has_written(source, turned, "k1")
        once.write_once(source, turned, "k1")
        assert len(_rows(store, source)) == len(_OLD) + len(_NEW)

    def test_threads_that_write_the_same_rows_at_once_leave_them_once(
        self, store: OfflineStore, once: WritesOnce, put: Put
    ) -> None:
        source, rows = put(trips(_OLD)), trips(_NEW)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: once.write_once(source, rows, "k1"), range(4)))
        assert len(_rows(store, source)) == len(_OLD) + len(_NEW)

    def test_what_does_not_fit_is_refused_before_and_changes_nothing(
        self, store: OfflineStore, once: WritesOnce, put: Put
    ) -> None:
        source, rows = put(trips(_OLD)), trips(_NEW)
        before = _rows(store, source)
        text = rows.set_column(2, "fare", pa.array(["text"] * len(rows)))
        for wrong in (rows.drop_columns(["city"]), rows.append_column("more", rows.column(0)), text):
            with pytest.raises(InputError):
                once.check_write(source, wrong)
        once.check_write(source, rows)
        assert _rows(store, source) == before
        assert not once.has_written(source, rows, "k1")
