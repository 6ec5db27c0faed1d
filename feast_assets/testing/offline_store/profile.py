"""What an offline store that profiles values does, as tests."""

from __future__ import annotations

import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.field_checks import Checks
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.abilities import CanProfile
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.offline_stores.profile import ColumnProfile
from feast_assets.testing.offline_store.cases import Put, StoreFixtures, history, hour, trips
from feast_assets.types import Float64, String


class CanProfileConformance(StoreFixtures):
    """The contract of `CanProfile` as tests."""

    @pytest.fixture
    def profiling(self, store: OfflineStore) -> CanProfile:
        """The store."""
        assert isinstance(store, CanProfile)
        return store

    def test_profiles_are_of_each_window(self, profiling: CanProfile, put: Put) -> None:
        rows = [(1, hour(0), 1.0, "a"), (2, hour(0), 4.0, "b"), (2, hour(1), None, "a"), (3, hour(9), 7.0, None)]
        windows = [Window(hour(5), hour(6)), Window(hour(0), hour(2)), Window(hour(9), hour(10))]
        empty, first, last = profiling.profile(history(put(trips(rows))), windows)
        assert [p.window for p in (empty, first, last)] == windows
        assert (empty.rows, empty.entities, empty.columns) == (0, 0, {"fare": ColumnProfile(), "city": ColumnProfile()})
        assert (first.rows, first.entities, last.rows, last.entities) == (3, 2, 1, 1)
        fare, city = first.columns["fare"], first.columns["city"]
        assert (fare.nulls, fare.minimum, fare.mean, fare.maximum) == (1, 1.0, 2.5, 4.0)
        assert (fare.histogram, dict(fare.top_values)) == ((1, *[0] * 14, 1), {})
        assert (city.nulls, city.minimum, city.mean, city.histogram) == (0, None, None, ())
        assert list(city.top_values.items()) == [("a", 2), ("b", 1)]
        assert (last.columns["fare"].histogram, last.columns["city"].nulls) == ((1, *[0] * 15), 1)
        assert profiling.profile(history(put(trips(rows))), []) == []

    def test_profiles_count_what_breaks_a_rule(self, profiling: CanProfile, put: Put) -> None:
        rows = [(i, hour(i), v, c) for i, (v, c) in enumerate([(0.5, "a"), (2.0, "b"), (2.0, "b"), (None, None)])]
        rows.append((9, hour(9), float("nan"), "c"))
        fare = Field(name="fare", dtype=Float64, checks=Checks(minimum=1, maximum=2, unique=True))
        city = Field(name="city", dtype=String, checks=Checks(allowed=["a", "c'"]))
        (profile,) = profiling.profile(history(put(trips(rows)), features=(fare, city)), [ALWAYS])
        assert profile.columns["fare"].broken == {"minimum": 2, "maximum": 1, "unique": 1}
        assert profile.columns["city"].broken == {"allowed": 3}
        assert (profile.columns["fare"].minimum, profile.columns["fare"].maximum) == (0.5, 2.0)
