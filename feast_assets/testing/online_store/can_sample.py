"""`CanSample`: samples of keys, and their cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from feast_assets.online_stores.abilities import CanSample
from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import encoded

_SMALL, _LARGE = 2_000, 40_000


class SamplingStore(OnlineStore, CanSample):
    """For annotations."""


class CanSampleConformance(StoreFixtures):
    """Subclass this beside `OnlineStoreConformance` for a store with `CanSample`; give a fixture ``rows_examined``."""

    @pytest.fixture
    def rows_examined(self, store: SamplingStore) -> Callable[[], int]:
        """Returns a function whose result grows by the work that the store, or its server, does.

        Any unit will do that grows with the number of rows or keys that are looked at, wherever that happens: rows,
        pages, steps of the server's interpreter. A table of 40,000 rows must count as a large one: if the cost of a
        sample is bounded by a constant, make that constant small enough for the test.
        """
        raise NotImplementedError("The test class of a store that can sample has a fixture rows_examined.")

    def test_a_sample_has_keys_of_the_table_each_once(self, store: SamplingStore) -> None:
        rows = [(b"k%d" % i, i, 0, 0, b"p") for i in range(300)]
        store.put_many("t", [encoded(rows)])
        store.put_many("other", [encoded([(b"other", 1, 0, 0, b"p")])])
        known = {key for key, *_ in rows}
        for count in (1, 7, 100):
            sample = store.sample_keys("t", count, seed=count)
            assert len(sample) == len(set(sample)) == count
            assert set(sample) <= known
            assert sample == store.sample_keys("t", count, seed=count)
        assert len({tuple(store.sample_keys("t", 20, seed)) for seed in range(10)}) > 1
        assert set(store.sample_keys("t", 1000, 0)) == known
        assert store.sample_keys("t", 0, 0) == []
        assert store.sample_keys("nowhere", 10, 0) == []

    def test_a_sample_comes_from_all_parts_of_a_table(self, store: SamplingStore) -> None:
        """Not only from its first keys, however many there are."""
        keys = [b"%04d" % i for i in range(1_000)]
        store.put_many("t", [encoded([(key, 1, 0, 0, b"p") for key in keys])])
        sampled = {key for seed in range(30) for key in store.sample_keys("t", 20, seed)}
        for part in range(4):
            assert sampled.intersection(keys[250 * part : 250 * (part + 1)])

    def test_the_cost_of_a_sample_does_not_grow_with_the_table(
        self, store: SamplingStore, rows_examined: Callable[[], int]
    ) -> None:
        work: dict[int, int] = {}
        for rows in (_SMALL, _LARGE):
            store.put_many("t", [encoded([(b"%06d" % i, 1, 0, 0, b"p") for i in range(rows)])])
            before = rows_examined()
            for seed in range(3):
                store.sample_keys("t", 20, seed)
            work[rows] = rows_examined() - before
            store.drop(["t"])
        assert work[_SMALL] > 0, "rows_examined does not see the work of a sample"
        # Reading the whole table would be twenty times as much.
        assert work[_LARGE] < 5 * work[_SMALL]
