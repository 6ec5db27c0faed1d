"""Consuming data streams of Kinesis, from moto's server."""

from __future__ import annotations

import json
import logging
import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer
from rides import NOON, RidesProject, as_history, newest, ride

from feast_assets import JsonFormat, KinesisSource
from feast_assets.errors import InputError

DRIVERS = range(6)


@pytest.fixture(scope="module")
def moto_url():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


class KinesisRides(RidesProject):
    """A project whose stream is a data stream of two shards."""

    def __init__(self, root, url):
        super().__init__(root, "nowhere:1", "")
        (root / "feature_store.yaml").write_text(
            json.dumps({"project": "rides", "registry": "registry.db", "streams": {"kinesis_endpoint": url}})
        )
        self.store.close()
        self.store = type(self.store)(root)
        self.client = boto3.client("kinesis", region_name="eu-west-1", endpoint_url=url)
        self.name = f"rides-{uuid.uuid4().hex[:8]}"
        self.create()

    def create(self):
        self.client.create_stream(StreamName=self.name, ShardCount=2)
        self.client.get_waiter("stream_exists").wait(StreamName=self.name, WaiterConfig={"Delay": 1})

    def source(self, **changes):
        given = {"name": "live", "region": "eu-west-1", "stream_name": self.name, "timestamp_field": "at"}
        declared = JsonFormat("driver_id bigint, at timestamp, fare double, trips bigint, city string")
        return KinesisSource(**{**given, "record_format": declared, "batch_source": self.history_source, **changes})

    def put(self, *messages):
        for each in messages:
            data = json.dumps(each).encode() if isinstance(each, dict) else each
            self.client.put_record(StreamName=self.name, Data=data, PartitionKey=uuid.uuid4().hex)


@pytest.fixture
def kinesis(tmp_path, moto_url, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    project = KinesisRides(tmp_path, moto_url)
    yield project
    project.close()


def test_records_are_served_and_become_history_and_nothing_is_read_twice(kinesis):
    sent = [ride(d, m) for m in range(5) for d in range(4)]
    kinesis.apply()
    kinesis.put(*sent, b"garbage")
    progress = kinesis.consume()
    assert (progress.messages, progress.dead_letters) == (21, 1)
    assert kinesis.served(DRIVERS) == newest(sent, DRIVERS)
    assert kinesis.history() == as_history(sent)
    more = [ride(d, 9) for d in range(6)]
    kinesis.put(*more)
    assert kinesis.consume().messages == 6
    assert kinesis.history() == as_history([*sent, *more])
    again = kinesis.consume(start="beginning")
    assert (again.messages, again.history_rows) == (27, 0)
    assert kinesis.served(DRIVERS) == newest([*sent, *more], DRIVERS)
    assert len(kinesis.store.list_dead_letters("live")) == 1


def test_a_consumer_that_fails_before_it_notes_its_position_appends_nothing_twice(kinesis, monkeypatch):
    sent = [ride(d, 1) for d in range(6)]
    kinesis.apply()
    kinesis.put(*sent[:3])

    def crash(*_):
        raise RuntimeError("crashed")

    with monkeypatch.context() as patch:
        patch.setattr(kinesis.store.registry, "keep_checkpoints", crash)
        with pytest.raises(RuntimeError, match="crashed"):
            kinesis.consume()
    kinesis.put(*sent[3:])
    kinesis.consume()
    assert kinesis.history() == as_history(sent)


def test_shards_that_come_with_resharding_are_read(kinesis):
    first = [ride(d, 1) for d in range(6)]
    kinesis.apply()
    kinesis.put(*first)
    kinesis.consume()
    kinesis.client.update_shard_count(StreamName=kinesis.name, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    kinesis.client.get_waiter("stream_exists").wait(StreamName=kinesis.name, WaiterConfig={"Delay": 1})
    second = [ride(d, 2) for d in range(6)]
    kinesis.put(*second)
    progress = kinesis.consume()
    assert len(progress.positions) > 2
    assert kinesis.served(DRIVERS) == newest([*first, *second], DRIVERS)
    assert kinesis.store.list_dead_letters("live") == []


def test_a_data_stream_that_was_made_anew_begins_anew(kinesis):
    kinesis.apply()
    kinesis.put(ride(1, 1))
    kinesis.consume()
    kinesis.client.delete_stream(StreamName=kinesis.name)
    kinesis.client.get_waiter("stream_not_exists").wait(StreamName=kinesis.name, WaiterConfig={"Delay": 1})
    kinesis.create()
    kinesis.put(ride(2, 1))
    kinesis.consume()
    assert kinesis.history() == as_history([ride(1, 1), ride(2, 1)])


def test_what_cannot_be_done_is_refused(kinesis):
    kinesis.apply()
    with pytest.raises(InputError, match="cannot be consumed from a time"):
        kinesis.consume(start=NOON)
    kinesis.apply(kinesis.view(kinesis.source(stream_name="missing")))
    with pytest.raises(InputError, match="there is no data stream 'missing'"):
        kinesis.consume()


def test_a_data_stream_does_not_tell_its_lag(kinesis):
    kinesis.apply()
    kinesis.put(ride(1, 1))
    (lag,) = kinesis.store.stream_lags()
    assert lag.ends is None and lag.of_view("latest") == {} and lag.total == 0
    assert len(lag.positions["latest"]) == 2
