"""Names: what is refused, and that every name that is not can be asked for, everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int64,
    OnDemandFeatureView,
    RequestSource,
)
from feast_assets.cli.main import cli
from feast_assets.dagster import FeatureRepository, FeatureStoreResource, build_feature_view_assets, definitions_for
from feast_assets.errors import DefinitionError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 1, 2, tzinfo=UTC)
ENTITY = Entity(name="e", join_keys=["id"])
SOURCE = FileSource(name="s", path="s.parquet", timestamp_field="ts")


def view(name="v", feature="f"):
    fields = [Field(name="id", dtype=Int64), Field(name=feature, dtype=Int64)]
    return FeatureView(name=name, entities=[ENTITY], source=SOURCE, schema=fields)


UNWRITABLE = ["", "a\nb", "a\tb", "a\x1f", "a\u2028", "a\u00a0b", "a\ud800", None, 7, b"a"]
MAKERS = {
    "view": lambda name: view(name),
    "entity": lambda name: Entity(name=name, join_keys=["id"]),
    "service": lambda name: FeatureService(name=name, features=[view()]),
    "source": lambda name: FileSource(name=name, path="s.parquet", timestamp_field="ts"),
    "on-demand view": lambda name: OnDemandFeatureView(
        name=name,
        sources=[RequestSource(name="r", schema=[Field(name="x", dtype=Int64)])],
        schema=[Field(name="y", dtype=Int64)],
        udf=lambda inputs: inputs,
        mode="python",
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", [" a", "a ", " ", *UNWRITABLE[1:]], ids=repr)
def test_a_name_that_cannot_be_written_is_refused_with_a_message_that_can(kind, name):
    if kind == "source" and name != "a\ud800":
        return  # Sources may be named by their paths.
    with pytest.raises(DefinitionError, match="name") as raised:
        MAKERS[kind](name)
    str(raised.value).encode()
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("name", UNWRITABLE, ids=repr)
def test_a_field_has_a_name_that_can_be_written(name):
    with pytest.raises(DefinitionError, match="name"):
        Field(name=name, dtype=Int64)


@pytest.mark.parametrize("name", ["a:b", "a@b"])
@pytest.mark.parametrize("kind", ["view", "on-demand view"])
def test_a_view_has_no_name_that_references_cannot_hold(kind, name):
    with pytest.raises(DefinitionError, match="references use them"):
        MAKERS[kind](name)


def test_a_feature_that_could_never_be_asked_for_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match=r"'a:b' may not contain ':'.*field_mapping"):
        view(feature="a:b")
    pq.write_table(pa.table({"id": [1], "ts": pa.array([NOON]), "a:b": [1]}), tmp_path / "s.parquet")
    (tmp_path / "feature_store.yaml").write_text("project: p\nregistry: registry.db\nonline_store: sqlite\n")
    inferred = FeatureView(name="v", entities=[ENTITY], source=SOURCE)
    with pytest.raises(DefinitionError, match=r"'a:b' may not contain ':'.*field_mapping"):
        FeatureStore(tmp_path).apply([ENTITY, inferred])


def test_a_join_key_and_a_request_field_may_hold_a_colon():
    key = Entity(name="e", join_keys=["a:b"])
    FeatureView(name="v", entities=[key], schema=[Field(name="a:b", dtype=Int64), Field(name="f", dtype=Int64)])
    RequestSource(name="r", schema=[Field(name="a:b", dtype=Int64)])


@pytest.fixture(params=["sqlite", "redis"])
def online_store(request):
    if request.param == "sqlite":
        return "{type: sqlite, path: online.db}"
    host, port = request.getfixturevalue("redis_server")
    return f'{{type: redis, connection_string: "{host}:{port}"}}'


VIEW, FEATURE, SERVICE = "My stats (2024)", " a@b é ", "all of it"

DEFINITIONS = f"""
from datetime import UTC, datetime
from feast_assets import Entity, FeatureService, FeatureView, Field, FileSource, Int64, Partitions

entity = Entity(name="an entity", join_keys=["the id"])
source = FileSource(name="a source", path="s.parquet", timestamp_field="ts")
view = FeatureView(
    name={VIEW!r}, entities=[entity], source=source,
    schema=[Field(name="the id", dtype=Int64), Field(name={FEATURE!r}, dtype=Int64)],
    partitions=Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC)),
)
service = FeatureService(name={SERVICE!r}, features=[view])
"""


def test_names_with_spaces_work_in_the_store_on_the_command_line_and_in_dagster(tmp_path, online_store):
    pq.write_table(pa.table({"the id": [1], "ts": pa.array([NOON]), FEATURE: [5]}), tmp_path / "s.parquet")
    config = f"project: spaces_{tmp_path.name[-1]}\nregistry: registry.db\nonline_store: {online_store}\n"
    (tmp_path / "feature_store.yaml").write_text(config)
    (tmp_path / "definitions.py").write_text(DEFINITIONS)

    def run(*arguments):
        found = CliRunner().invoke(cli, ["-c", str(tmp_path), *arguments])
        assert found.exit_code == 0, found.output
        return found.stdout

    run("apply")
    run("materialize", "2024-01-01", "2024-01-02", "--views", VIEW)
    reference = f"{VIEW}:{FEATURE}"
    assert json.loads(run("get-online-features", "-e", "the id=1", "-f", reference))[FEATURE] == [5]
    assert json.loads(run("get-online-features", "-e", "the id=1", "-s", SERVICE))[FEATURE] == [5]
    assert VIEW in run("feature-views", "describe", VIEW)
    store = FeatureStore(tmp_path)
    table = pa.table({"the id": [1], "event_timestamp": pa.array([LATER])})
    joined = store.get_historical_features(table, [reference], full_feature_names=True).to_arrow()
    assert joined.column(f"{VIEW}__{FEATURE}").to_pylist() == [5]

    resource = FeatureStoreResource(repo_path=str(tmp_path))
    defs = definitions_for({"feature_store": resource})
    (key,) = [key for key in defs.resolve_asset_graph().materializable_asset_keys if key.path[-1] == "My_stats__2024_"]
    assets = build_feature_view_assets(FeatureRepository.load(resource))
    result = dg.materialize(assets, resources={"feature_store": resource}, partition_key="2024-01-01", selection=[key])
    assert result.success
    store.teardown()
