"""Sources whose rows arrive one after the other: declared, applied, and materialized from their history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    AvroFormat,
    ConnectionRef,
    Entity,
    Feature,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    JsonFormat,
    KafkaSource,
    KinesisSource,
    PostgreSQLSource,
    ProtoFormat,
    PushSource,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, NotSupportedError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
HISTORY = FileSource(name="history", path="history.parquet", timestamp_field="at")
FIELDS = [Field(name="fare", dtype=Float64)]


def kafka(**arguments: Any) -> KafkaSource:
    given = {
        "name": "rides",
        "timestamp_field": "at",
        "message_format": JsonFormat("fare double, at timestamp"),
        "kafka_bootstrap_servers": "broker:9092",
        "topic": "rides",
        "batch_source": HISTORY,
    }
    return KafkaSource(**{**given, **arguments})


def kinesis(**arguments: Any) -> KinesisSource:
    given = {
        "name": "rides",
        "record_format": AvroFormat("{}"),
        "region": "eu-west-1",
        "stream_name": "rides",
        "batch_source": HISTORY,
    }
    return KinesisSource(**{**given, **arguments})


def view(source: DataSource) -> FeatureView:
    return FeatureView(name="rides", entities=[DRIVER], source=source, schema=FIELDS)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    rows = {"driver_id": [1], "at": pa.array([NOON], pa.timestamp("us", "UTC")), "fare": [2.5]}
    pq.write_table(pa.table(rows), tmp_path / "history.parquet")
    return FeatureStore(tmp_path, RepoConfig(project="shop", registry="registry.db"))


@pytest.mark.parametrize("source", [kafka(), kinesis()], ids=lambda source: type(source).__name__)
def test_a_view_over_a_stream_is_materialized_from_its_history_and_takes_written_rows(
    store: FeatureStore, source: DataSource
) -> None:
    store.apply([DRIVER, view(source)])
    assert store.get_data_source("rides") == store.get_feature_view("rides").stream_source
    assert store.get_feature_view("rides").batch_source == store.get_data_source("history")
    store.materialize_incremental(NOON + timedelta(days=1))
    read = {"features": ["rides:fare"], "entity_rows": {"driver_id": [1, 2]}}
    assert store.get_online_features(**read).to_dict()["fare"] == [2.5, None]
    later = {"driver_id": [2], "at": [NOON + timedelta(hours=1)], "fare": [9.5]}
    store.write_to_online_store("rides", later)
    assert store.get_online_features(**read).to_dict()["fare"] == [2.5, 9.5]
    with pytest.raises(NotSupportedError, match="and not a PushSource"):
        store.push("rides", later)


@pytest.mark.parametrize("source", [kafka(), kinesis(timestamp_field="at", created_timestamp_column="written")])
def test_a_stream_source_is_stored_whole(source: DataSource) -> None:
    assert type(source).from_spec(source.to_spec()) == source


def test_streams_without_history_cannot_be_used_by_views() -> None:
    with pytest.raises(DefinitionError, match="its source 'rides' is a stream, and needs a batch_source"):
        view(kafka(batch_source=None))
    with pytest.raises(DefinitionError, match="its source 'rides' is a stream, and needs a batch_source"):
        view(PushSource(name="rides"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"message_format": "json"}, "message_format must be a StreamFormat such as JsonFormat"),
        ({"topic": 5}, "topic must be text, not 5"),
        ({"kafka_bootstrap_servers": ["a:1"]}, "kafka_bootstrap_servers must be text"),
        ({"batch_source": RequestSource(name="r", schema=FIELDS)}, "batch_source must be a source with history"),
        ({"watermark_delay_threshold": 5}, "watermark_delay_threshold must be a timedelta"),
        ({"created_timestamp_column": "at"}, "cannot be both"),
    ],
)
def test_wrong_arguments_of_kafka_sources_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        kafka(**arguments)


@pytest.mark.parametrize("arguments", [{"record_format": None}, {"region": ""}, {"stream_name": 5}])
def test_wrong_arguments_of_kinesis_sources_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=next(iter(arguments))):
        kinesis(**arguments)


def test_feasts_older_name_of_the_brokers_works() -> None:
    with pytest.warns(DeprecationWarning, match="old name of kafka_bootstrap_servers"):
        source = kafka(kafka_bootstrap_servers=None, bootstrap_servers="old:9092")
    assert source.kafka_bootstrap_servers == "old:9092"


def test_formats_take_text() -> None:
    for make in (AvroFormat, JsonFormat, ProtoFormat):
        assert make("x") == make("x")
        with pytest.raises(DefinitionError, match="must be text"):
            make(5)  # type: ignore[arg-type]


# --- references to credentials, and older features


def test_a_connection_reference_is_told_by_tags_as_in_feast() -> None:
    reference = ConnectionRef("vault", "shop/db", connection_type="postgres", params={"host": "db"})
    assert reference.to_tags() == {
        "feast.connection-ref.provider": "vault",
        "feast.connection-ref.name": "shop/db",
        "feast.connection-ref.connection-type": "postgres",
        "feast.connection-ref.param.host": "db",
    }
    assert ConnectionRef.from_tags({**reference.to_tags(), "team": "rides"}) == reference
    assert ConnectionRef.from_tags({"team": "rides"}) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda reference: FileSource(path="x.parquet", connection_ref=reference),
        lambda reference: PostgreSQLSource(table="rides", connection_ref=reference),
    ],
)
def test_a_source_that_is_given_a_connection_reference_is_refused(make: Any) -> None:
    with pytest.raises(NotSupportedError, match="connection_ref is not supported yet"):
        make(ConnectionRef("vault", "shop/db"))


def test_an_older_feature_becomes_a_field() -> None:
    feature = Feature("fare", ValueType.INT64_LIST, "what was paid", {"unit": "EUR"})
    field = Field.from_feature(feature)
    assert (field.name, str(field.dtype), field.description) == ("fare", "Array(Int64)", "what was paid")
    assert field.tags == {"unit": "EUR"}
    with pytest.raises(DefinitionError, match="must be a ValueType"):
        Feature("fare", Int64)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="schema must be a list of Field"):
        FeatureView(name="v", source=HISTORY, schema=[feature])  # type: ignore[list-item]
