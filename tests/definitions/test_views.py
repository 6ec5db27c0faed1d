"""What can and cannot be declared."""

from datetime import UTC, datetime, timedelta

import pytest

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    LabelView,
    OnDemandFeatureView,
    Partitions,
    Project,
    PushSource,
    RequestSource,
    ValueType,
    batch_feature_view,
    on_demand_feature_view,
)
from feast_assets.definitions.window import Window
from feast_assets.errors import DefinitionError, NotSupportedError
from feast_assets.types import Array, Int32, Int64, Set, String, Struct, parse_type

DRIVER = Entity(name="driver", join_keys=["driver_id"])
SOURCE = FileSource(path="a.parquet", timestamp_field="ts", field_mapping={"raw": "cooked"})
A = Field(name="a", dtype=Int64)


def view(**changes):
    return FeatureView(**{"name": "v", "source": SOURCE, "entities": [DRIVER], "schema": [A], **changes})


def test_join_key_fields_are_entity_columns_and_not_features():
    made = view(schema=[Field(name="driver_id", dtype=Int64), A])
    assert [f.name for f in made.entity_columns] == ["driver_id"]
    assert [f.name for f in made.features] == ["a"]
    assert [f.name for f in made.schema] == ["driver_id", "a"]


def test_a_view_without_entities_has_the_dummy_key():
    made = view(entities=[])
    assert made.entityless
    assert made.join_keys == ["__dummy_id"]


def test_an_entity_is_its_own_join_key_by_default():
    assert Entity(name="driver").join_key == "driver"
    assert Entity(name="driver", join_keys=["x"]).join_keys == ["x"]


def test_projections_are_copies():
    made = view(schema=[A, Field(name="b", dtype=String)])
    some = made[["b"]].with_name("alias").with_join_key_map({"driver_id": "x"})
    assert made.projection.name_to_use() == "v"
    assert [f.name for f in made.projection.features] == ["a", "b"]
    assert some.projection.name_to_use() == "alias"
    assert [f.name for f in some.projection.features] == ["b"]
    assert some.projection.join_key_map == {"driver_id": "x"}
    assert some.name == "v"


def test_a_projection_of_a_view_without_schema_waits_for_it():
    assert view(schema=None)[["x"]].projection.desired_features == ["x"]


def test_a_push_source_brings_its_batch_source():
    made = view(source=PushSource(name="p", batch_source=SOURCE))
    assert made.batch_source == SOURCE
    assert made.stream_source.name == "p"


def test_label_views_are_never_materialized():
    assert not LabelView(name="l", source=SOURCE, entities=[DRIVER], schema=[A]).materializable
    assert view().materializable


def test_decorators_name_views_after_functions():
    @on_demand_feature_view(sources=[view()], schema=[A])
    def made(inputs):
        return inputs

    @batch_feature_view(mode="sql", source=SOURCE, entities=[DRIVER], schema=[A])
    def computed(source):
        return f"SELECT * FROM {source}"

    assert isinstance(made, OnDemandFeatureView)
    assert made.name == "made"
    assert made.source_projections[0].name == "v"
    assert isinstance(computed, BatchFeatureView)
    assert computed.name == "computed"
    assert not computed.keeps_result


REFUSED = {
    "two join keys": (lambda: Entity(name="e", join_keys=["a", "b"]), "list of one column"),
    "join keys as text": (lambda: Entity(name="e", join_keys="ab"), "list of one column"),
    "value type as text": (lambda: Entity(name="e", value_type="INT64"), "must be a ValueType"),
    "no name": (lambda: Entity(name=""), "needs a name"),
    "name with colon": (lambda: view(name="a:b"), "may not contain"),
    "name with at": (lambda: view(name="a@b"), "may not contain"),
    "project name": (lambda: Project(name="_x"), "not valid"),
    "dtype class": (lambda: Field(name="a", dtype=int), "feast_assets.types"),
    "value type as dtype": (lambda: Field(name="a", dtype=ValueType.INT64), "feast_assets.types"),
    "field twice": (lambda: view(schema=[A, A]), "two fields named 'a'"),
    "field not a field": (lambda: view(schema=["a"]), "list of Field"),
    "mapped name": (lambda: view(schema=[Field(name="raw", dtype=Int64)]), "call it 'cooked'"),
    "two entities, one key": (
        lambda: view(entities=[DRIVER, Entity(name="other", join_keys=["driver_id"])]),
        "two of its entities",
    ),
    "entity as text": (lambda: view(entities=["driver"]), "list of Entity"),
    "key of another type": (
        lambda: view(
            entities=[Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.STRING)],
            schema=[Field(name="driver_id", dtype=Int64)],
        ),
        "says STRING",
    ),
    "ttl a number": (lambda: view(ttl=5), "ttl must be a timedelta"),
    "ttl negative": (lambda: view(ttl=timedelta(-1)), "ttl must be a timedelta"),
    "source as text": (lambda: view(source="x.parquet"), "must be a data source"),
    "request source": (lambda: view(source=RequestSource(name="r", schema=[A])), "must be a data source"),
    "push without batch": (lambda: view(source=PushSource(name="p")), "needs a batch_source"),
    "empty path": (lambda: FileSource(path=""), "path must be"),
    "format as text": (lambda: FileSource(path="a", file_format="csv"), "CsvFormat"),
    "same two times": (
        lambda: FileSource(path="a", timestamp_field="t", created_timestamp_column="t"),
        "cannot be both",
    ),
    "two columns, one name": (lambda: FileSource(path="a", field_mapping={"a": "c", "b": "c"}), "two columns"),
    "unknown grain": (lambda: Partitions("minutely"), "hourly, daily"),
    "start off the grid": (lambda: Partitions("daily", datetime(2020, 1, 1, 3)), "use 2020-01-01T00:00:00"),
    "end off the grid": (lambda: Partitions("hourly", end=datetime(2020, 1, 1, 3, 5)), "use 2020-01-01T03:00:00"),
    "end before start": (
        lambda: Partitions("daily", datetime(2020, 1, 2), datetime(2020, 1, 1)),
        "must be before the end",
    ),
    "start a text": (lambda: Partitions("daily", "2020-01-01"), "must be a datetime"),
    "unknown feature": (lambda: view()[["b"]], "no feature 'b'"),
    "odfv without function": (
        lambda: OnDemandFeatureView(name="o", sources=[view()], schema=[A]),
        "one of udf and feature_transformation",
    ),
    "odfv singleton in pandas": (
        lambda: OnDemandFeatureView(name="o", sources=[view()], schema=[A], udf=len, singleton=True),
        "singleton is for mode 'python'",
    ),
    "stored odfv without entities": (
        lambda: OnDemandFeatureView(name="o", sources=[view()], schema=[A], udf=len, write_to_online_store=True),
        "write_to_online_store=True needs entities",
    ),
    "odfv of a name": (
        lambda: OnDemandFeatureView(name="o", sources=[view()], entities=["driver"], schema=[A], udf=len),
        "must be a list of Entity objects",
    ),
    "odfv without sources": (lambda: OnDemandFeatureView(name="o", schema=[A], udf=len), "sources must name"),
    "unknown mode": (
        lambda: BatchFeatureView(name="b", source=SOURCE, udf=len, mode="cobol"),
        "not one of python, pandas",
    ),
    "kept without a sink": (
        lambda: BatchFeatureView(name="b", source=SOURCE, udf=len, mode="sql", offline=True),
        "needs a sink_source",
    ),
    "service of nonsense": (lambda: FeatureService(name="s", features=[3]), "views or references"),
    "service of one text": (lambda: FeatureService(name="s", features="v:a"), "must be a list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_declarations_are_refused_with_what_would_be_right(case):
    make, message = REFUSED[case]
    with pytest.raises(DefinitionError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: view(source=view()),
        lambda: BatchFeatureView(name="b", source=SOURCE, udf=len, mode="spark"),
        lambda: BatchFeatureView(name="b", source=SOURCE, udf=len, mode="sql", batch_engine={"a": 1}),
        lambda: OnDemandFeatureView(name="o", sources=[view()], schema=[A], udf=len, mode="substrait"),
        lambda: OnDemandFeatureView(name="o", sources=[view()], schema=[A], udf=len, aggregations=[1]),
        lambda: on_demand_feature_view(sources=[view()], schema=[A], explode=True)(len),
    ],
)
def test_what_is_not_supported_says_so(make):
    with pytest.raises(NotSupportedError, match="not supported"):
        make()


def test_only_the_arguments_that_were_given_are_said_not_to_be_supported():
    with pytest.raises(NotSupportedError, match=r"'b': batch_engine is not supported yet; leave it out\.$"):
        BatchFeatureView(name="b", source=SOURCE, udf=len, mode="sql", batch_engine={"a": 1})


@pytest.mark.parametrize("make", [lambda: Array(int), lambda: Struct({}), lambda: Set(Struct({"a": Int32}))])
def test_wrong_types_are_refused(make):
    with pytest.raises((TypeError, ValueError)):
        make()


@pytest.mark.parametrize("text", ["", "Int", "Array(Int64", "Struct({a Int64})", "Int64 Int64", "__import__('os')"])
def test_texts_that_are_no_types_are_refused(text):
    with pytest.raises(ValueError, match="is not a type"):
        parse_type(text)


@pytest.mark.parametrize(
    ("grain", "moment", "start", "end"),
    [
        ("hourly", "2020-02-29T23:59:59", "2020-02-29T23:00", "2020-03-01T00:00"),
        ("daily", "2020-02-29T23:59:59", "2020-02-29T00:00", "2020-03-01T00:00"),
        ("weekly", "2020-02-29T23:59:59", "2020-02-23T00:00", "2020-03-01T00:00"),
        ("weekly", "2020-03-01T00:00:00", "2020-03-01T00:00", "2020-03-08T00:00"),
        ("monthly", "2020-12-31T23:59:59", "2020-12-01T00:00", "2021-01-01T00:00"),
    ],
)
def test_the_grid(grain, moment, start, end):
    def utc(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    partitions = Partitions(grain)
    assert partitions.floor(utc(moment)) == utc(start)
    assert partitions.next(utc(start)) == utc(end)
    just_after = utc(moment) + timedelta(microseconds=1)
    assert list(partitions.windows(utc(moment), just_after)) == [Window(utc(start), utc(end))]


def test_windows_of_zoned_moments_are_utc_windows():
    moment = datetime.fromisoformat("2020-01-01T23:30:00-05:00")
    assert Partitions("daily").floor(moment) == datetime(2020, 1, 2, tzinfo=UTC)
