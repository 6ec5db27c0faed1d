"""Streams, and views of streams: what can and cannot be declared."""

from __future__ import annotations

from datetime import timedelta

import pytest

from feast_assets import (
    AvroFormat,
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Int64,
    JsonFormat,
    KafkaSource,
    KinesisSource,
    ProtoFormat,
    PushSource,
    StreamFeatureView,
    Transformation,
    stream_feature_view,
)
from feast_assets.definitions.base import Definition
from feast_assets.errors import DefinitionError, NotSupportedError

DRIVER = Entity(name="driver", join_keys=["driver_id"])
HISTORY = FileSource(path="a.parquet", timestamp_field="ts")
A = Field(name="a", dtype=Int64)
LIVE = PushSource(name="live", batch_source=HISTORY)
KAFKA = {"name": "k", "timestamp_field": "ts", "message_format": JsonFormat("a integer"), "batch_source": HISTORY}
KINESIS = {"name": "k", "record_format": AvroFormat("{}"), "region": "eu-1", "stream_name": "s"}


def stream(**changes):
    return StreamFeatureView(**{"name": "v", "source": LIVE, "entities": [DRIVER], "schema": [A], **changes})


def test_a_stream_and_its_batch_source_are_told_apart():
    for source in (LIVE, KafkaSource(**KAFKA), KinesisSource(**KINESIS, batch_source=HISTORY)):
        for view in (stream(source=source), FeatureView(name="f", source=source, schema=[A])):
            assert (view.stream_source, view.batch_source) == (source, HISTORY)


@pytest.mark.parametrize(
    "definition",
    [
        KafkaSource(**KAFKA, kafka_bootstrap_servers="a:1", topic="t", watermark_delay_threshold=timedelta(minutes=5)),
        KinesisSource(**KINESIS, field_mapping={"x": "a"}),
        KafkaSource(name="p", timestamp_field="ts", message_format=ProtoFormat("a.B")),
        stream(udf=len, mode="pandas"),
        stream(source=KafkaSource(**KAFKA)),
    ],
)
def test_the_registry_gives_back_what_was_declared(definition):
    assert Definition.from_spec(definition.to_spec()) == definition


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stream(source=HISTORY), "must be a stream"),
        (lambda: stream(source=None), "must be a stream"),
        (lambda: stream(source=PushSource(name="live")), "needs a batch_source"),
        (lambda: stream(source=KafkaSource(**{**KAFKA, "batch_source": None})), "needs a batch_source"),
        (lambda: stream(timestamp_field="other"), "that of its batch source"),
        (lambda: KafkaSource(**{**KAFKA, "message_format": "json"}), "message_format must be"),
        (lambda: KafkaSource(**KAFKA, watermark_delay_threshold=5), "must be a timedelta"),
        (lambda: KinesisSource(**{**KINESIS, "record_format": None}), "record_format must be"),
        (lambda: KinesisSource(**KINESIS, batch_source=LIVE), "must be a source with history"),
        (lambda: AvroFormat(3), "must be text"),
    ],
)
def test_wrong_declarations_are_refused_with_what_would_be_right(make, message):
    with pytest.raises(DefinitionError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: stream(stream_engine={"type": "spark"}),
        lambda: stream(udf=len, mode="ray"),
        lambda: stream(feature_transformation=Transformation("spark", len)),
        lambda: stream_feature_view(source=LIVE, entities=[DRIVER], schema=[A])(len),
    ],
)
def test_what_is_not_supported_says_so(make):
    with pytest.raises(NotSupportedError, match="not supported"):
        make()


def test_the_decorator_names_the_view_after_the_function():
    @stream_feature_view(source=LIVE, entities=[DRIVER], schema=[A], mode="python", timestamp_field="ts")
    def trips(rows):
        return rows

    assert (trips.name, trips.ttl, trips.online, trips.offline) == ("trips", None, True, False)


SINK = FileSource(name="sink", path="sink.parquet", timestamp_field="ts")
KEPT = BatchFeatureView(
    name="kept", source=HISTORY, entities=[DRIVER], schema=[A], udf=len, sink_source=SINK, offline=True
)


def of(source, **changes):
    return BatchFeatureView(name="top", source=source, entities=[DRIVER], schema=[A], udf=len, **changes)


def test_a_view_of_views_reads_where_their_rows_are_kept():
    assert of(KEPT, sink_source=HISTORY).sources == [SINK]
    plain = FeatureView(name="plain", source=LIVE, schema=[A])
    assert of([KEPT, plain], sink_source=HISTORY).sources == [SINK, HISTORY]


def test_a_view_of_views_needs_a_sink_and_rows_that_are_kept():
    with pytest.raises(DefinitionError, match="must specify a sink_source"):
        of([KEPT])
    with pytest.raises(DefinitionError, match="not both"):
        of([KEPT, HISTORY], sink_source=SINK)
    with pytest.raises(NotSupportedError, match="computed whenever it is read"):
        of(BatchFeatureView(name="b", source=HISTORY, schema=[A], udf=len), sink_source=SINK)
    with pytest.raises(DefinitionError, match="without history"):
        of(FeatureView(name="f", schema=[A]), sink_source=SINK)
