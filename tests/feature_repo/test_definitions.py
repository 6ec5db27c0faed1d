"""What the example declares is whole, described, and owned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from feast_assets import BatchFeatureView, FeatureStore
from feast_assets.repository.loading import load_repository

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = load_repository(ROOT / "feature_repo")
OBJECTS = [
    *CONTENTS.entities,
    *CONTENTS.data_sources,
    *CONTENTS.feature_views,
    *CONTENTS.on_demand_feature_views,
    *CONTENTS.feature_services,
]


def test_the_example_declares_what_its_readme_says() -> None:
    assert {e.name: e.join_key for e in CONTENTS.entities} == {
        "aircraft": "tailnum",
        "airport": "origin",
        "carrier": "carrier",
    }
    assert sorted(v.name for v in CONTENTS.feature_views) == ["carrier_delays", "origin_weather", "plane"]
    assert [v.name for v in CONTENTS.on_demand_feature_views] == ["departure_conditions"]
    assert [s.name for s in CONTENTS.feature_services] == ["departure_delay"]


@pytest.mark.parametrize("declared", OBJECTS, ids=lambda o: f"{o.object_type} {o.name}")
def test_everything_is_described_and_has_an_owner(declared: Any) -> None:
    assert declared.description.endswith(".")
    assert "@" in declared.owner


@pytest.mark.parametrize("view", [*CONTENTS.feature_views, *CONTENTS.on_demand_feature_views], ids=lambda v: v.name)
def test_every_column_is_described(view: Any) -> None:
    fields = [*view.features, *getattr(view, "entity_columns", [])]
    assert {*getattr(view, "join_keys", [])} <= {f.name for f in fields}
    assert [f.name for f in fields if not f.description.endswith(".")] == []


def test_delays_look_back_exactly_as_far_as_their_features_reach() -> None:
    view = next(v for v in CONTENTS.feature_views if v.name == "carrier_delays")
    assert isinstance(view, BatchFeatureView)
    assert view.lookback == timedelta(hours=24)
    assert all(f.name.endswith("_24h") for f in view.features)


def test_applying_twice_changes_nothing_the_second_time(example: Path) -> None:
    store = FeatureStore(example)
    assert "Created feature service departure_delay" in str(store.apply_repository())
    revision = store.snapshot().revision
    assert str(store.apply_repository()) == "No changes to registry"
    assert store.snapshot().revision == revision
    store.close()


def _conditions() -> Callable[..., dict[str, list[Any]]]:
    function = CONTENTS.on_demand_feature_views[0].feature_transformation.udf
    assert function is not None
    return function


def _weather(**given: list[Any]) -> dict[str, list[Any]]:
    rows = len(next(iter(given.values())))
    names = ("temperature_f", "precipitation_inches", "visibility_miles", "wind_speed_mph", "wind_gust_mph")
    return {name: [None] * rows for name in (*names, "scheduled_hour")} | given


def test_icing_needs_frost_and_something_that_falls() -> None:
    made = _conditions()(
        _weather(temperature_f=[32.0, 32.1, 20.0, 20.0, None], precipitation_inches=[0.01, 0.01, 0.0, None, 0.01])
    )
    assert made["icing"] == [True, False, False, None, None]


def test_the_strongest_wind_is_the_gust_if_there_is_one() -> None:
    made = _conditions()(_weather(wind_speed_mph=[10.0, 12.0, None], wind_gust_mph=[25.0, None, None]))
    assert made["strongest_wind_mph"] == [25.0, 12.0, None]


def test_visibility_is_low_below_three_miles_and_the_rush_is_from_four_to_eight() -> None:
    made = _conditions()(_weather(visibility_miles=[2.99, 3.0, None, 10.0], scheduled_hour=[15, 16, 19, 20]))
    assert made["low_visibility"] == [True, False, None, False]
    assert made["evening_rush"] == [False, True, True, False]
