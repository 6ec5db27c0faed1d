"""What an apply changes, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from feast_assets.apply.diff import Action, diff
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import Entity, dummy_entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.registry.base import Changes
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import Float64, Int64


def view(**options: Any) -> FeatureView:
    schema = [Field(name="fare", dtype=Float64), Field(name="tip", dtype=Float64)]
    source = FileSource(name="trips", path="x.parquet", timestamp_field="at")
    return FeatureView(**{"name": "rides", "source": source, "schema": schema, **options})


def lines(before: Definition, after: Definition) -> list[str]:
    """Returns what an update of one object says, without the heading."""
    found = str(diff(RegistrySnapshot.of("shop", [before]), Changes([after]))).splitlines()
    return [line.strip() for line in found[1:]]


def test_what_happens_is_said_as_feast_says_it() -> None:
    before = RegistrySnapshot.of("shop", [Entity(name="gone"), Entity(name="same"), view(), dummy_entity()])
    changed = Changes(
        [Entity(name="new"), Entity(name="same"), view(ttl=timedelta(days=2)), dummy_entity()], [("entity", "gone")]
    )
    found = diff(before, changed)
    assert str(found) == (
        "Deleted entity gone\nCreated entity new\nUpdated feature view rides\n\tttl: 0:00:00 -> 2 days, 0:00:00"
    )
    assert [o.action for o in found.changed] == [Action.DELETE, Action.CREATE, Action.UPDATE]
    assert {o.name for o in found if o.action is Action.UNCHANGED} == {"same", "__dummy"}


def test_nothing_is_said_to_be_nothing() -> None:
    before = RegistrySnapshot.of("shop", [Entity(name="same")])
    assert str(diff(before, Changes([Entity(name="same")], [("entity", "nobody")]))) == "No changes to registry"
    assert str(diff(before, Changes([dummy_entity()]))) == "No changes to registry"
    assert diff(before, Changes()).changed == ()


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            {"schema": [Field(name="fare", dtype=Int64), Field(name="tip", dtype=Float64)]},
            ["features.fare: Float64 -> Int64"],
        ),
        ({"schema": [Field(name="fare", dtype=Float64)]}, ["features.tip: Float64 -> (none)"]),
        (
            {"schema": [Field(name="tip", dtype=Float64), Field(name="fare", dtype=Float64)]},
            ['features (order): ["fare", "tip"] -> ["tip", "fare"]'],
        ),
        (
            {"schema": [Field(name="fare", dtype=Float64, description="paid"), Field(name="tip", dtype=Float64)]},
            ["features.fare.description: (none) -> paid"],
        ),
        ({"tags": {"team": "a"}}, ["tags.team: (none) -> a"]),
        ({"online": False}, ["online: True -> False"]),
        ({"ttl": None}, ["ttl: 0:00:00 -> (none)"]),
        (
            {"partitions": Partitions("daily", datetime(2024, 1, 1, tzinfo=UTC))},
            ["partitions.start: (none) -> 2024-01-01T00:00:00+00:00"],
        ),
        (
            {"source": FileSource(name="trips", path="y.parquet", timestamp_field="at")},
            ["batch_source.path: x.parquet -> y.parquet"],
        ),
    ],
)
def test_an_update_says_which_property_changes(after: dict[str, Any], said: list[str]) -> None:
    assert lines(view(), view(**after)) == said


def _on_demand(code: str) -> OnDemandFeatureView:
    request = RequestSource(name="r", schema=[Field(name="x", dtype=Int64)])
    return OnDemandFeatureView(
        name="more", sources=[request], schema=[Field(name="y", dtype=Int64)], udf=abs, udf_string=code
    )


def test_changed_code_is_not_printed() -> None:
    assert lines(_on_demand("one line\n" * 50), _on_demand("another")) == ["feature_transformation: code changed"]
