"""`CanEvict`: rows that are removed when the memory is full."""

from __future__ import annotations

from feast_assets.online_stores.abilities import CanEvict
from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures


class EvictingStore(OnlineStore, CanEvict):
    """For annotations."""


class CanEvictConformance(StoreFixtures):
    """Subclass this beside `OnlineStoreConformance` for a store with `CanEvict`.

    The factory's stores are set up so that nothing is evicted.
    """

    def test_a_store_that_evicts_nothing_says_so(self, store: EvictingStore) -> None:
        store.setup(["t"])
        assert store.evicts() == ""
        assert store.evicts_marks() is False
