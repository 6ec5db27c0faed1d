"""The suite of every online store."""

from __future__ import annotations

from feast_assets.online_stores import abilities
from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.can_evict import CanEvictConformance
from feast_assets.testing.online_store.can_expire import CanExpireConformance
from feast_assets.testing.online_store.can_hold_foreign_values import CanHoldForeignValuesConformance
from feast_assets.testing.online_store.can_replace import CanReplaceConformance
from feast_assets.testing.online_store.can_sample import CanSampleConformance
from feast_assets.testing.online_store.can_tell_restarts import CanTellRestartsConformance
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.newest_wins import NewestWinsCases
from feast_assets.testing.online_store.reads import ReadingCases
from feast_assets.testing.online_store.sharing import SharingCases
from feast_assets.testing.online_store.tables import TableCases

_SUITES: dict[type, type[StoreFixtures]] = {
    abilities.CanEvict: CanEvictConformance,
    abilities.CanExpire: CanExpireConformance,
    abilities.CanHoldForeignValues: CanHoldForeignValuesConformance,
    abilities.CanReplace: CanReplaceConformance,
    abilities.CanSample: CanSampleConformance,
    abilities.CanTellRestarts: CanTellRestartsConformance,
}


class OnlineStoreConformance(ReadingCases, NewestWinsCases, TableCases, SharingCases):
    """Subclass this with a ``store_factory`` fixture, beside the suites of the store's abilities."""

    def test_each_ability_of_the_store_is_tested(self, store: OnlineStore) -> None:
        for ability, suite in _SUITES.items():
            assert isinstance(self, suite) == isinstance(store, ability), (
                f"{type(store).__name__} and {type(self).__name__}: a store with {ability.__name__} is tested with "
                f"{suite.__name__}, and others are not"
            )
