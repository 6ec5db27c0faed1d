"""The fixtures that all suites of online stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from feast_assets.online_stores.base import OnlineStore
from feast_assets.testing.online_store.rows import StoreFactory


class StoreFixtures:
    """Makes the store of a test by the ``store_factory`` that the test class of a store gives."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError("The test class of a store has a fixture store_factory.")

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Iterator[OnlineStore]:
        store = store_factory()
        yield store
        store.close()
