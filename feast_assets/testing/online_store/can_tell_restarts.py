"""`CanTellRestarts`: the restart_token of a store."""

from __future__ import annotations

from feast_assets.online_stores.abilities import CanTellRestarts
from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import StoreFactory, encoded


class TellingStore(OnlineStore, CanTellRestarts):
    """For annotations."""


class CanTellRestartsConformance(StoreFixtures):
    """Subclass this beside `OnlineStoreConformance` for a store with `CanTellRestarts`."""

    def test_a_restart_token_stays_while_the_store_does(self, store: TellingStore, store_factory: StoreFactory) -> None:
        store.setup(["t"])
        other = store_factory()
        assert isinstance(other, CanTellRestarts)
        before = store.restart_token()
        other.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        assert other.restart_token() == before
        other.close()
        store.close()
        assert store.restart_token() == before
