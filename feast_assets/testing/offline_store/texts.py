"""What an offline store that reads values stored as text does, as tests."""

from __future__ import annotations

import pyarrow as pa
import pytest

from feast_assets.errors import SourceError
from feast_assets.offline_stores.abilities import ReadsTexts
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.testing.offline_store.cases import Put, StoreFixtures, hour, trips
from feast_assets.types import Float64, Int64
from feast_assets.types.arrow import is_stored_as_text


class ReadsTextsConformance(StoreFixtures):
    """The contract of `ReadsTexts` as tests. Subclasses also give the fixture ``put_as_text``."""

    @pytest.fixture
    def put_as_text(self, store: OfflineStore) -> Put:
        """As ``put``, but the source stores values as text."""
        raise NotImplementedError

    def test_values_that_are_stored_as_text_are_checked_as_declared(
        self, store: OfflineStore, put_as_text: Put
    ) -> None:
        assert isinstance(store, ReadsTexts)
        rows = trips([(1, hour(0), 1.5, "a"), (2, hour(0), 2.5, "b")])
        source = put_as_text(rows)
        schema = store.schema(source)
        assert {field.name for field in schema if is_stored_as_text(field)} >= {"fare", "driver"}
        store.check_texts(source, {"fare": Float64, "driver": Int64})
        text = put_as_text(rows.set_column(2, "fare", pa.array(["1.5", "much"])))
        with pytest.raises(SourceError, match="much"):
            store.check_texts(text, {"fare": Float64})
