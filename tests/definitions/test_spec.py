"""The stored form of definitions reads back as what was written, and is stable."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets import (
    BatchFeatureView,
    CsvFormat,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    LabelView,
    LoggingConfig,
    OnDemandFeatureView,
    ParquetFormat,
    Partitions,
    Project,
    PushSource,
    RequestSource,
    SavedDataset,
    SavedDatasetFileStorage,
    ValueType,
)
from feast_assets.definitions.spec import Spec, digest
from feast_assets.errors import DefinitionError
from feast_assets.types import Array, Float64, Int64, Map, Set, String, Struct

DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, tags={"a": "b"}, owner="me")
SOURCE = FileSource(
    name="stats",
    path="stats.csv",
    timestamp_field="ts",
    created_timestamp_column="created",
    field_mapping={"x": "y"},
    file_format=CsvFormat(),
)
VIEW = FeatureView(
    name="stats_view",
    entities=[DRIVER],
    source=PushSource(name="live", batch_source=SOURCE),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="a", dtype=Struct({"p": Array(Int64), "q": Map})),
        Field(name="b", dtype=Set(String), description="b's", tags={"k": "v"}),
    ],
    ttl=timedelta(hours=3, microseconds=1),
    partitions=Partitions("hourly", datetime(2020, 1, 1, 5)),
)


def _query(stats: str) -> str:
    return f"SELECT * FROM {stats}"


def _double(inputs: dict) -> dict:
    return {"twice": [2 * a for a in inputs["a"]]}


BATCH = BatchFeatureView(
    name="batch",
    mode="sql",
    source=SOURCE,
    udf=_query,
    entities=[DRIVER],
    schema=[Field(name="n", dtype=Int64)],
    offline=True,
    sink_source=FileSource(path="sink", timestamp_field="ts"),
    lookback=timedelta(days=1),
)
ON_DEMAND = OnDemandFeatureView(
    name="twice",
    mode="python",
    sources=[VIEW, RequestSource(name="request", schema=[Field(name="q", dtype=Int64)])],
    schema=[Field(name="twice", dtype=Int64)],
    udf=_double,
)
OBJECTS = [
    Project(name="p-1", description="d"),
    DRIVER,
    SOURCE,
    VIEW,
    BATCH,
    ON_DEMAND,
    LabelView(name="labels", entities=[DRIVER], source=SOURCE, schema=[Field(name="ok", dtype=Int64)]),
    FeatureService(
        name="service",
        features=[VIEW[["b"]].with_name("other"), ON_DEMAND, "late", "late:f"],
        logging_config=LoggingConfig(FileLoggingDestination(path="logs"), 0.5),
    ),
    SavedDataset(
        "set",
        ["a:b"],
        ["driver_id"],
        SavedDatasetFileStorage("x.parquet"),
        min_event_timestamp=datetime(2020, 1, 1, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize("definition", OBJECTS, ids=lambda d: type(d).__name__)
def test_what_is_stored_reads_back_the_same(definition):
    stored = json.dumps(definition.to_spec())
    read = Spec.from_spec(json.loads(stored))
    assert type(read) is type(definition)
    assert read == definition
    assert read.content_hash() == definition.content_hash()
    assert json.dumps(read.to_spec()) == stored


def test_a_view_read_back_has_its_projection():
    read = FeatureView.from_spec(VIEW.to_spec())
    assert read.projection.features == VIEW.features
    assert read[["b"]].projection.name_to_use() == "stats_view"


def test_hash_differs_with_content():
    other = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, tags={"a": "c"}, owner="me")
    assert other.content_hash() != DRIVER.content_hash()
    assert other != DRIVER


_FIELDS = st.builds(
    Field,
    name=st.sampled_from(["a", "b"]),
    dtype=st.sampled_from([Int64, Float64, Array(Int64)]),
    tags=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"]), max_size=1),
    description=st.sampled_from(["", "a", "b", "é"]),
    vector_length=st.sampled_from([0, 1]),
)
_ENTITIES = st.builds(Entity, name=st.sampled_from(["k", "l"]), value_type=st.sampled_from(ValueType))
_SOURCES = st.builds(
    FileSource,
    name=st.just("a"),
    path=st.sampled_from(["a", "b"]),
    file_format=st.sampled_from([None, CsvFormat(), ParquetFormat()]),
    field_mapping=st.sampled_from([{}, {"x": "y"}, {"y": "x"}]),
)
_VIEWS = st.builds(
    FeatureView,
    name=st.just("v"),
    entities=st.lists(_ENTITIES, max_size=1),
    source=_SOURCES,
    schema=st.lists(_FIELDS, max_size=2, unique_by=lambda f: f.name),
    ttl=st.sampled_from([None, timedelta(0), timedelta(microseconds=1)]),
    partitions=st.sampled_from([None, Partitions("daily"), Partitions("daily", datetime(2020, 1, 1))]),
)


@pytest.mark.parametrize("kind", [_FIELDS, _ENTITIES, _SOURCES, _VIEWS], ids=["Field", "Entity", "FileSource", "View"])
@given(data=st.data())
def test_digests_are_equal_where_stored_forms_are(kind, data):
    one, other = data.draw(kind), data.draw(kind)
    assert (digest(one) == digest(other)) == (one.to_spec() == other.to_spec())


@pytest.mark.parametrize("definition", OBJECTS, ids=lambda d: type(d).__name__)
def test_a_digest_is_of_everything_that_is_stored(definition):
    assert digest(Spec.from_spec(definition.to_spec())) == digest(definition)
    for name in definition._spec:
        changed = Spec.from_spec(definition.to_spec())
        setattr(changed, name, "something else")
        assert digest(changed) != digest(definition), name


def test_timestamps_of_the_registry_are_not_part_of_the_definition():
    read = Entity.from_spec(DRIVER.to_spec())
    read.created_timestamp = datetime(2020, 1, 1, tzinfo=UTC)
    assert read == DRIVER


def test_a_form_from_before_an_attribute_existed_reads_with_its_default():
    spec = VIEW.to_spec()
    del spec["partitions"], spec["enabled"]
    read = FeatureView.from_spec(spec)
    assert read.enabled is True
    assert read.partitions == Partitions("daily")


def test_defaults_are_not_shared_between_read_objects():
    spec = DRIVER.to_spec()
    del spec["tags"]
    first, second = Entity.from_spec(spec), Entity.from_spec(spec)
    first.tags["x"] = "y"
    assert second.tags == {}


@pytest.mark.parametrize(
    "change", [{"kind": "Nonsense"}, {"new_attribute": 1}, {"tags": {"$python": "os.system"}}], ids=str
)
def test_unknown_stored_forms_are_refused(change):
    with pytest.raises(DefinitionError, match="newer version"):
        Entity.from_spec({**DRIVER.to_spec(), **change})


def test_a_form_of_another_class_is_refused():
    with pytest.raises(DefinitionError, match="describes a Entity"):
        FeatureView.from_spec(DRIVER.to_spec())


def test_functions_are_stored_as_text_only():
    spec = json.dumps(BATCH.to_spec())
    assert "SELECT * FROM" in spec
    read = BatchFeatureView.from_spec(json.loads(spec))
    assert read.transformation.udf is None
    assert read.transformation.import_path.endswith(":_query")


def test_code_ignores_comments_layout_and_decorators():
    def one(x):
        # a comment
        return x + 1

    first = BatchFeatureView(name="v", mode="python", source=SOURCE, udf=one).transformation
    second = BatchFeatureView(
        name="v", mode="python", source=SOURCE, udf=one, udf_string="@decorated(1)\ndef one(x):\n  return (x+1)\n"
    ).transformation
    third = BatchFeatureView(
        name="v", mode="python", source=SOURCE, udf=one, udf_string="def one(x):\n  return (x+2)\n"
    ).transformation
    assert first.code() == second.code() != third.code()
