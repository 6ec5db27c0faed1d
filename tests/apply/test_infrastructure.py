"""Which online tables an apply makes and drops, and when a view gets an empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from applied_trips import driver, run, trips, trips_source

from feast_assets.apply.infrastructure import drop_tables, set_generations, set_up_tables
from feast_assets.apply.plan import InfraDiff
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.errors import DefinitionError
from feast_assets.online_stores.base import OnlineStore
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import Array, Float64, Int64, String

EMPTY = RegistrySnapshot("shop", 0, ())


def registered(view: FeatureView, generation: str = "first") -> RegistrySnapshot:
    view.online_generation = generation
    return RegistrySnapshot.of("shop", [view])


def prepared(**options: Any) -> FeatureView:
    view = trips(**options)
    return cast(FeatureView, run(driver(), view)[view.name])


def test_a_new_view_gets_a_generation_and_all_views_of_an_apply_the_same() -> None:
    one, other, offline = prepared(), prepared(name="others"), prepared(online=False)
    set_generations([one, driver(), other, offline], EMPTY)
    assert one.online_generation == other.online_generation != ""
    assert offline.online_generation == ""


@pytest.mark.parametrize(
    ("options", "keeps"),
    [
        ({}, True),
        ({"schema": [Field(name="fare", dtype=Float64)]}, True),
        ({"source": trips_source(timestamp_field="at", description="moved")}, True),
        ({"source": trips_source(timestamp_field="at", created_timestamp_column="created")}, False),
        ({"source": trips_source(timestamp_field="created")}, False),
        ({"entities": [Entity(name="driver", join_keys=["kind"])]}, False),
        ({"schema": [Field(name="driver_id", dtype=String), Field(name="fare", dtype=Float64)]}, False),
    ],
    ids=["nothing", "features", "description", "created column", "time column", "join key", "type of the key"],
)
def test_a_view_gets_an_empty_table_where_its_rows_could_be_mistaken(options: dict[str, Any], keeps: bool) -> None:
    columns = {"check_sources": False}
    before = cast(FeatureView, run(driver(), trips(), **columns)["rides"])
    entity = options.get("entities", [driver()])[0]
    after = cast(FeatureView, run(entity, trips(**options), **columns)["rides"])
    set_generations([after], registered(before))
    assert (after.online_generation == "first") is keeps


def test_a_view_that_comes_online_again_gets_an_empty_table() -> None:
    after = prepared()
    set_generations([after], registered(prepared(online=False)))
    assert after.online_generation not in ("", "first")


def test_a_key_of_a_type_that_cannot_be_one_is_refused() -> None:
    view = prepared()
    view.entity_columns = [Field(name="driver_id", dtype=Array(Int64))]
    with pytest.raises(DefinitionError, match="driver_id"):
        set_generations([view], EMPTY)


def test_the_difference_of_tables_is_listed_by_their_names_for_people() -> None:
    before = {"t1": "shop.b", "t2": "shop.a", "t3": "shop.c"}
    after = {"t3": "shop.c", "t4": "shop.a", "t5": "shop.d"}
    assert InfraDiff.between(before, after) == InfraDiff(("shop.a", "shop.d"), ("shop.a", "shop.b"))
    assert str(InfraDiff.between(after, after)) == "No changes to infrastructure"
    assert str(InfraDiff.between({}, {"t": "shop.a"})) == "Created online table shop.a"


def test_tables_are_set_up_and_dropped_where_there_is_an_online_store() -> None:
    calls: list[tuple[str, list[str]]] = []

    class Store:
        def setup(self, tables: Iterable[str]) -> None:
            calls.append(("setup", list(tables)))

        def drop(self, tables: Iterable[str]) -> None:
            calls.append(("drop", list(tables)))

    store = cast(OnlineStore, Store())
    change: Callable[[OnlineStore | None, Iterable[str]], None]
    for change in (set_up_tables, drop_tables):
        change(store, ["t"])
        change(None, ["t"])
    drop_tables(store, [])
    assert calls == [("setup", ["t"]), ("drop", ["t"])]
