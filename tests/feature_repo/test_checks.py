"""The example's declared checks hold for a year of real data."""

from __future__ import annotations

from pathlib import Path

from feast_assets import FeatureStore
from feast_assets.compute.validation import broken_rules
from feast_assets.definitions.window import ALWAYS
from feast_assets.offline_stores.base import history_of


def test_a_year_of_real_data_is_as_declared(example: Path) -> None:
    store = FeatureStore(example)
    store.apply_repository()
    checked = [v for v in store.snapshot().feature_views if v.enable_validation]
    assert {v.name for v in checked} == {"origin_weather", "plane"}
    for view in checked:
        profiles = store.offline_store.profile(history_of(view), [ALWAYS])
        assert profiles[0].rows > 3000
        assert broken_rules(view.features, profiles) == []
