"""Two objects of one name are refused at apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from applied_trips import driver, run, trips, trips_source

from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import (
    ConflictingFeatureViewNames,
    DataSourceRepeatNamesException,
    DefinitionError,
)
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import Int64


def test_one_object_given_twice_counts_once() -> None:
    entity, view = driver(), trips()
    assert run(entity, view, entity, view)


def test_two_equal_objects_are_two() -> None:
    with pytest.raises(DefinitionError, match="Two objects declare entity 'driver'"):
        run(driver(), driver())
    with pytest.raises(ConflictingFeatureViewNames):
        run(driver(), trips(), trips())
    with pytest.raises(DataSourceRepeatNamesException):
        run(trips_source(), trips_source())


@pytest.mark.parametrize("other", ["rides", "RIDES"])
def test_views_of_different_kinds_may_not_share_a_name(other: str) -> None:
    view = trips()
    on_demand = OnDemandFeatureView(
        name=other, sources=[view], schema=[Field(name="y", dtype=Int64)], udf=lambda df: df
    )
    with pytest.raises(ConflictingFeatureViewNames, match=r"feature view 'rides'.*on-demand"):
        run(driver(), view, on_demand)
    with pytest.raises(ConflictingFeatureViewNames, match="in the registry"):
        run(on_demand, snapshot=RegistrySnapshot.of("shop", run(driver(), view).values()))


def test_two_sources_may_not_differ_by_letter_case_only() -> None:
    with pytest.raises(DataSourceRepeatNamesException, match=r"'Trips' and 'trips'"):
        run(driver(), trips(), FileSource(name="Trips", path="x", timestamp_field="at"))
    stored = RegistrySnapshot.of("shop", [FileSource(name="TRIPS", path="x", timestamp_field="at")])
    with pytest.raises(DataSourceRepeatNamesException, match=r"'TRIPS' in the registry"):
        run(driver(), trips(), snapshot=stored)


def test_two_different_sources_with_one_name_are_refused() -> None:
    other = FileSource(name="trips", path="elsewhere", timestamp_field="at")
    with pytest.raises(DataSourceRepeatNamesException, match="Two different data sources"):
        run(driver(), trips("a"), trips("b", source=other))


def test_two_sources_of_one_name_are_named_once() -> None:
    one, other = (FileSource(name="trips", path=f"{p}.parquet", timestamp_field="at") for p in "ab")
    with pytest.raises(DataSourceRepeatNamesException, match="are named 'trips'; "):
        run(one, other)


def test_two_declarations_of_one_name_are_told_apart_by_their_places(tmp_path: Path) -> None:
    declared = []
    for name in ("entities.py", "users/entities.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        namespace: dict[str, Any] = {"__name__": "declared"}
        code = "from feast_assets import Entity\ndriver = Entity(name='driver')\n"
        exec(compile(code, str(file), "exec"), namespace)
        declared.append(namespace["driver"])
    with pytest.raises(DefinitionError, match=r"'driver' \(entities\.py:2 and users/entities\.py:2\); declare it once"):
        run(*declared)
