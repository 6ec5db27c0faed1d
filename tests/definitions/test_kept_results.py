"""Views that read what others keep: found, and put behind them."""

from __future__ import annotations

from itertools import permutations

import pytest

from feast_assets import BatchFeatureView, Entity, FeatureView, Field, FileSource, Int64
from feast_assets.definitions.kept_results import in_order, kept_result, reads_result, with_readers
from feast_assets.errors import DefinitionError

DRIVER = Entity(name="driver", join_keys=["driver_id"])


def source(name: str) -> FileSource:
    return FileSource(name=name, path=f"{name}.parquet", timestamp_field="ts")


def computed(name: str, reads: str, keeps: str | None) -> BatchFeatureView:
    return BatchFeatureView(
        name=name,
        entities=[DRIVER],
        source=source(reads),
        sink_source=source(keeps) if keeps else None,
        offline=keeps is not None,
        mode="sql",
        udf=lambda rows: f"SELECT * FROM {rows}",
        udf_string="SELECT 1",
        schema=[Field(name="n", dtype=Int64)],
    )


def plain(name: str, reads: str) -> FeatureView:
    return FeatureView(name=name, entities=[DRIVER], source=source(reads), schema=[Field(name="n", dtype=Int64)])


CHAIN = [
    computed("b", "raw", "kept_b"),
    computed("a", "kept_b", "kept_a"),
    plain("last", "kept_a"),
    plain("alone", "x"),
]


@pytest.mark.parametrize("views", list(permutations(CHAIN)), ids=lambda views: "-".join(v.name for v in views))
def test_what_is_read_comes_before_what_reads_it(views: tuple[FeatureView, ...]) -> None:
    names = [v.name for v in in_order(views)]
    assert sorted(names) == ["a", "alone", "b", "last"]
    assert names.index("b") < names.index("a") < names.index("last")


def test_views_that_do_not_read_each_other_stay_in_the_order_given() -> None:
    views = [plain("c", "x"), computed("a", "x", None), plain("b", "y")]
    assert in_order(views) == views


def test_a_circle_is_told() -> None:
    with pytest.raises(DefinitionError, match="in a circle: .*one.*two"):
        in_order([computed("one", "kept_two", "kept_one"), computed("two", "kept_one", "kept_two")])


def test_readers_are_found_through_others() -> None:
    assert with_readers(["b"], CHAIN) == {"b", "a", "last"}
    assert with_readers(["a"], CHAIN) == {"a", "last"}
    assert with_readers(["alone"], CHAIN) == {"alone"}
    assert reads_result(CHAIN[1], CHAIN[0])
    assert not reads_result(CHAIN[2], CHAIN[0])


def test_a_view_that_is_not_offline_keeps_nothing() -> None:
    assert kept_result(computed("a", "x", None)) is None
    assert kept_result(plain("a", "x")) is None
    kept = kept_result(CHAIN[0])
    assert kept is not None
    assert kept.name == "kept_b"
