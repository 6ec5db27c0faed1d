"""`CanExpire`: rows that are removed some time after they were written."""

from __future__ import annotations

from datetime import timedelta

from feast_assets.online_stores.abilities import CanExpire
from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.fixtures import StoreFixtures
from feast_assets.testing.online_store.rows import encoded, read_rows


class ExpiringStore(OnlineStore, CanExpire):
    """For annotations."""


class CanExpireConformance(StoreFixtures):
    """Subclass this beside `OnlineStoreConformance` for a store with `CanExpire`.

    The factory's stores keep rows for ever, or for at least a minute.
    """

    def test_the_time_to_live_is_none_or_positive(self, store: ExpiringStore) -> None:
        assert store.key_ttl is None or store.key_ttl >= timedelta(minutes=1)

    def test_expiry_counts_from_the_write_and_not_from_the_event(self, store: ExpiringStore) -> None:
        rows = [(b"early", -(10**15), 0, 0, b"x"), (b"late", 10**16, 0, 0, b"x")]
        store.put_many("t", [encoded(rows)])
        assert read_rows(store, "t", [b"early", b"late"]) == [row[1:] for row in rows]
