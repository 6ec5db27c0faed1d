"""What an object is made from, and when that lets the registered one stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from applied_trips import driver, run, trips, trips_source

from feast_assets.apply.digests import InputDigests, sources_of
from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject
from feast_assets.types import Float64, Int32, Int64, ValueType

FARE = [Field(name="fare", dtype=Float64)]


class Registered:
    """A registry after one apply: its snapshot, and the digests that it remembers."""

    def __init__(self, *declared: Definition, state: str = "as it was"):
        self.state = state
        self.made: dict[str, Any] = run(*declared)
        self.snapshot = RegistrySnapshot.of("shop", self.made.values())
        digests = self.digests({})
        for definition in declared:
            if isinstance(definition, FeatureView):
                digests.unchanged_view(definition, [driver()])
            elif isinstance(definition, (FeatureService, OnDemandFeatureView)):
                digests.unchanged(definition, self.views)
        made = {(o.object_type, o.name): o for o in self.made.values()}
        self.remembered = digests.to_remember(made, {key: o.content_hash() for key, o in made.items()})

    @property
    def views(self) -> dict[str, Any]:
        return {name: o for name, o in self.made.items() if isinstance(o, (FeatureView, OnDemandFeatureView))}

    def digests(self, remembered: dict[tuple[str, str], str] | None = None) -> InputDigests:
        known = self.remembered if remembered is None else remembered
        return InputDigests(self.snapshot, known, lambda source: frozenset([self.state] if self.state else ()))

    def unchanged_view(self, declared: FeatureView, entity: Any = None) -> StoredObject | FeatureView | None:
        return self.digests().unchanged_view(declared, [entity or driver()])


def test_a_view_with_the_same_inputs_is_the_registered_object_itself() -> None:
    registered = Registered(driver(), trips())
    unchanged = registered.unchanged_view(trips())
    assert unchanged is registered.snapshot.stored("feature view", "rides")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("description", "what was paid"),
        ("tags", {"team": "pricing"}),
        ("owner", "ann"),
        ("org", "shop"),
        ("ttl", timedelta(days=3)),
        ("enabled", False),
    ],
)
def test_an_attribute_that_does_not_concern_rows_is_taken_over_without_reading_sources(
    attribute: str, value: Any
) -> None:
    registered = Registered(driver(), trips())
    declared = trips(**{attribute: value})
    told = registered.unchanged_view(declared)
    assert isinstance(told, FeatureView)
    assert getattr(told, attribute) == value
    assert told.features == registered.made["rides"].features, "what was inferred is kept"
    assert told.partitions == registered.made["rides"].partitions
    assert getattr(registered.made["rides"], attribute) != value, "the registered view is not changed"
    if attribute == "tags":
        told.tags["later"] = "x"
        assert declared.tags == value


@pytest.mark.parametrize(
    "declared",
    [
        lambda: trips(schema=FARE),
        lambda: trips(source=trips_source(timestamp_field="at", created_timestamp_column="kind")),
        lambda: trips(source=trips_source(timestamp_field="at", description="another source object")),
        lambda: trips(partitions=Partitions("hourly")),
        lambda: trips(online=False),
        lambda: trips("others"),
        lambda: BatchFeatureView(name="rides", entities=[driver()], source=trips_source(timestamp_field="at")),
    ],
    ids=["schema", "created column", "source's description", "grain", "online", "name", "class"],
)
def test_a_view_with_other_inputs_is_made(declared: Callable[[], FeatureView]) -> None:
    assert Registered(driver(), trips()).unchanged_view(declared()) is None


def test_a_view_is_made_when_its_entity_changes() -> None:
    registered = Registered(driver(), trips())
    assert registered.unchanged_view(trips(), driver(value_type=ValueType.INT32)) is None


def test_a_view_is_made_when_its_source_is_in_another_state_or_in_none_that_can_be_told() -> None:
    registered = Registered(driver(), trips())
    for state in ("another file", ""):
        registered.state = state
        assert registered.unchanged_view(trips()) is None
    registered.state = "as it was"
    assert registered.unchanged_view(trips()) is not None


def test_a_view_is_made_when_a_source_was_registered_anew_by_itself() -> None:
    registered = Registered(driver(), trips())
    others = [o for o in registered.made.values() if o.name != "trips"]
    changed = run(trips_source(timestamp_field="at", owner="bob"))["trips"]
    registered.snapshot = RegistrySnapshot.of("shop", [*others, changed])
    assert registered.unchanged_view(trips()) is None


def test_digests_of_an_object_that_was_replaced_by_another_apply_are_not_used() -> None:
    registered = Registered(driver(), trips())
    replaced = run(driver(), trips(ttl=timedelta(days=9)))
    registered.snapshot = RegistrySnapshot.of("shop", replaced.values())
    assert registered.unchanged_view(trips(ttl=timedelta(days=9))) is None


@pytest.mark.parametrize("text", ["", "[]", '["one"]', '{"made": 1}', "[1,2,3,4,5,6,7,8,9]"])
def test_digests_in_the_form_of_another_version_are_not_used(text: str) -> None:
    registered = Registered(driver(), trips())
    registered.remembered = {("feature view", "rides"): text}
    assert registered.unchanged_view(trips()) is None
    assert registered.digests().table(registered.snapshot.stored("feature view", "rides")) == registered.made[  # type: ignore[arg-type]
        "rides"
    ].online_table("shop")


def test_only_what_the_registry_does_not_remember_yet_is_to_be_remembered() -> None:
    registered = Registered(driver(), trips())
    assert set(registered.remembered) == {("feature view", "rides")}
    made = {("feature view", "rides"): registered.made["rides"]}
    hashes = {(o.object_type, o.name): o.content_hash() for o in registered.made.values()}
    digests = registered.digests()
    digests.unchanged_view(trips(), [driver()])
    assert digests.to_remember(made, hashes) == {}
    assert digests.to_remember({}, hashes) == {}
    content_hash, *_, sources, table = json.loads(registered.remembered["feature view", "rides"])
    assert content_hash == registered.made["rides"].content_hash()
    assert sources == [registered.made["trips"].content_hash()]
    assert table == registered.made["rides"].online_table("shop")


def test_a_service_stands_while_the_features_it_takes_do() -> None:
    service = FeatureService(name="model", features=["rides:fare"])
    registered = Registered(driver(), trips(), service)
    stored = registered.snapshot.stored("feature service", "model")
    assert registered.digests().unchanged(service, registered.views) is stored
    described = {"rides": run(driver(), trips(description="paid"))["rides"]}
    assert registered.digests().unchanged(service, described) is stored
    retyped = {"rides": run(driver(), trips(schema=[Field(name="fare", dtype=Int64)]), check_sources=False)["rides"]}
    assert registered.digests().unchanged(service, retyped) is None
    assert registered.digests().unchanged(service, {}) is None, "the view is gone"
    for other in (["rides"], ["rides:kind"], [trips()[["fare"]].with_name("r")]):
        assert registered.digests().unchanged(FeatureService(name="model", features=other), registered.views) is None


def test_an_on_demand_view_is_made_when_its_code_changes() -> None:
    def declared(udf: Callable[..., Any]) -> OnDemandFeatureView:
        return OnDemandFeatureView(
            name="more", sources=[trips(schema=FARE)], schema=[Field(name="y", dtype=Int64)], udf=udf
        )

    def one(df: Any) -> Any:
        return df

    def other(df: Any) -> Any:
        return df.copy()

    registered = Registered(driver(), trips(schema=FARE), declared(one))
    assert registered.digests().unchanged(declared(one), registered.views) is not None
    assert registered.digests().unchanged(declared(other), registered.views) is None


def test_the_interface_of_a_view_is_the_same_read_or_remembered() -> None:
    registered = Registered(driver(), trips())
    stored = registered.snapshot.stored("feature view", "rides")
    assert stored is not None
    remembered = registered.digests().interface(stored)
    assert (
        remembered
        == registered.digests({}).interface(stored)
        == registered.digests({}).interface(registered.made["rides"])
    )
    same_features = [
        run(driver(join_keys=[key]), trips(schema=FARE, entities=[driver(join_keys=[key])]))["rides"]
        for key in ("driver_id", "kind")
    ]
    assert len({registered.digests().interface(view) for view in same_features} | {remembered}) == 3


def test_the_table_of_a_view_is_remembered_and_none_where_it_is_not_online() -> None:
    registered = Registered(driver(), trips(), trips("offline", online=False))
    for read in (registered.digests(), registered.digests({})):
        for name, table in (("rides", registered.made["rides"].online_table("shop")), ("offline", "")):
            stored = registered.snapshot.stored("feature view", name)
            assert stored is not None
            assert read.table(stored) == table


def test_the_sources_of_a_view_are_all_it_reads_or_keeps() -> None:
    rows, sink = trips_source(timestamp_field="at"), FileSource(name="kept", path="k", timestamp_field="at")
    live = PushSource(name="live", batch_source=rows)
    assert [s.name for s in sources_of(trips(source=live))] == ["trips", "live", "trips"]
    kept = BatchFeatureView(
        name="kept_view",
        entities=[driver()],
        source=[rows],
        sink_source=sink,
        offline=True,
        schema=[Field(name="driver_id", dtype=Int32), *FARE],
        udf=lambda rows: rows,
    )
    assert [s.name for s in sources_of(kept)] == ["kept", "trips", "kept"]
