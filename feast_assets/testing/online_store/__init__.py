"""What every online store must do, and what each ability adds, as tests.

The test module of a store subclasses the suites of what the store can do, and says how the store is made::

    class TestMyStore(OnlineStoreConformance, CanReplaceConformance, CanSampleConformance):
        @pytest.fixture
        def store_factory(self, tmp_path):
            return functools.partial(MyStore, MyStoreConfig(...), tmp_path)

        @pytest.fixture
        def rows_examined(self, store):  # see CanSampleConformance
            return lambda: ...

Each call of the factory makes a new handle on one and the same store. It must pickle (an importable class or function,
or a ``functools.partial`` of one), because some tests hand it to other processes. Each test needs a store of its own.

`feast_assets.online_stores.abilities` says what the abilities are. If the test class lacks the suite of one that the
store has, a test fails.
"""

from feast_assets.testing.online_store.base import OnlineStoreConformance
from feast_assets.testing.online_store.can_evict import CanEvictConformance
from feast_assets.testing.online_store.can_expire import CanExpireConformance
from feast_assets.testing.online_store.can_hold_foreign_values import CanHoldForeignValuesConformance
from feast_assets.testing.online_store.can_replace import CanReplaceConformance
from feast_assets.testing.online_store.can_sample import CanSampleConformance
from feast_assets.testing.online_store.can_tell_restarts import CanTellRestartsConformance
from feast_assets.testing.online_store.rows import (
    Content,
    Row,
    StoreFactory,
    encoded,
    newest,
    random_rows,
    read_rows,
    remove_rows,
    scanned,
    stamps,
)

__all__ = [
    "CanEvictConformance",
    "CanExpireConformance",
    "CanHoldForeignValuesConformance",
    "CanReplaceConformance",
    "CanSampleConformance",
    "CanTellRestartsConformance",
    "Content",
    "OnlineStoreConformance",
    "Row",
    "StoreFactory",
    "encoded",
    "newest",
    "random_rows",
    "read_rows",
    "remove_rows",
    "scanned",
    "stamps",
]
