"""Consuming topics of a real broker."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from rides import DRIVER, NOON, SCHEMA, as_history, newest, ride

from feast_assets import Checks, Field, Float64, Int64, PushMode, StreamFeatureView
from feast_assets.errors import ConfigError, InputError, StoreUnavailableError
from feast_assets.streams.dead_letters import DeadLetters

DRIVERS = range(6)


def double_fares(rows):
    return {**rows, "double": [2 * fare for fare in rows["fare"]]}


def doubled(rides, **changes):
    schema = [SCHEMA[0], Field(name="double", dtype=Float64)]
    given = {"name": "doubled", "entities": [DRIVER], "source": rides.source(), "schema": schema, "mode": "python"}
    return StreamFeatureView(**{**given, "udf": double_fares, **changes})


def dead_letters(rides):
    return list(DeadLetters(rides.root / "data" / "dead_letters", "live").read())


def test_messages_are_served_and_become_history(rides):
    sent = [ride(d, m, fare=d + m / 10) for m in range(20) for d in range(4)]
    rides.apply()
    rides.send(*sent[:40], partition=0)
    rides.send(*sent[40:], partition=1)
    progress = rides.consume()
    assert (progress.messages, progress.history_rows, progress.dead_letters) == (80, 80, 0)
    assert progress.lag == {"0": 0, "1": 0}
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert rides.history() == as_history(sent)
    assert rides.point_in_time([0, 1, 5], NOON.replace(hour=13))[:2] == [1.9, 2.9]
    again = rides.consume()
    assert (again.messages, again.rows, again.history_rows) == (0, 0, 0)
    assert rides.history() == as_history(sent)
    files = sorted(path.name for path in (rides.root / "rides").iterdir())
    assert [name.split("_")[-2:] for name in files] == [[p, "00000000000000000000.parquet"] for p in "01"]


def test_a_replay_from_the_beginning_changes_nothing(rides):
    sent = [ride(d, m) for m in (5, 3, 9) for d in range(3)]
    rides.apply()
    rides.send(*sent[:6])
    rides.consume()
    rides.send(*sent[6:])
    rides.consume()
    before = rides.served(DRIVERS), rides.history()
    progress = rides.consume(start="beginning")
    assert (progress.messages, progress.history_rows) == (9, 0)
    assert (rides.served(DRIVERS), rides.history()) == before == (newest(sent, DRIVERS), as_history(sent))


def test_where_times_tie_the_message_that_was_written_later_is_served_in_any_order(rides):
    rides.apply()
    rides.send(ride(1, 5, fare=2.0), time=2_000_000_000_000)
    rides.send(ride(1, 5, fare=9.0), time=1_000_000_000_000)
    rides.consume()
    assert rides.served([1])[0][0] == 2.0
    rides.consume(start="beginning")
    assert rides.served([1])[0][0] == 2.0


def test_a_batch_run_heals_what_the_stream_missed_and_what_it_says_otherwise(rides):
    sent = [ride(d, 5) for d in range(3)]
    rides.apply()
    rides.send(*sent)
    rides.consume(to=PushMode.OFFLINE)
    assert rides.served(DRIVERS) == newest([], DRIVERS)
    rides.store.materialize_incremental(NOON + timedelta(days=1))
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    rides.send(ride(0, 7, fare=8.0))
    rides.consume()
    assert rides.served([0])[0][0] == 8.0
    rides.store.materialize_incremental(NOON + timedelta(days=1))
    assert rides.served([0])[0][0] == 8.0 == rides.point_in_time([0], NOON + timedelta(hours=1))[0]
    assert rides.store.audit(at=NOON + timedelta(days=1)).causes == {}


def test_messages_that_cannot_be_taken_are_dead_letters_with_reason_and_offset(rides):
    good = [ride(1, 1), ride(2, 2)]
    no_key, no_time, wrong = ride(1, 3), ride(1, 4), ride(1, 5, fare="much")
    del no_key["driver_id"], no_time["at"]
    rides.apply()
    rides.send(b"{", good[0], b"[]", None, no_key, no_time, wrong, good[1], b'{"driver_id": 1.5, "at": "2024-06-01"}')
    progress = rides.consume()
    assert rides.served(DRIVERS) == newest(good, DRIVERS)
    assert rides.history() == as_history(good)
    letters = {letter.offset: letter for letter in dead_letters(rides)}
    assert sorted(letters) == [0, 2, 3, 4, 5, 6, 8]
    assert progress.dead_letters == 7
    for offset, reason in {
        0: "it is not JSON",
        2: "no object",
        3: "it has no value",
        4: "it lacks 'driver_id', the join key",
        5: "it lacks 'at', the event time",
        6: "field 'fare'",
        8: "field 'driver_id'",
    }.items():
        assert reason in letters[offset].reason
    assert letters[0].value == b"{"


def test_one_poisoned_message_among_many_costs_only_itself(rides):
    sent = [ride(i % 5, i) for i in range(1000)]
    rides.apply()
    rides.send(*sent[:700], b"poison", *sent[700:])
    rides.consume()
    assert [letter.offset for letter in dead_letters(rides)] == [700]
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert len(rides.history()) == 1000


def test_what_breaks_a_check_is_a_dead_letter_and_a_warning_is_not(rides):
    fare = Field(name="fare", dtype=Float64, checks=Checks(minimum=0, nullable=False))
    trips = Field(name="trips", dtype=Int64, checks=Checks(maximum=5, severity="warn"))
    rides.apply(rides.view(schema=[SCHEMA[0], fare, trips, SCHEMA[3]], enable_validation=True))
    rides.send(ride(1, 1), ride(1, 9, fare=-1.0), ride(2, 8, fare=None), ride(3, 9))
    rides.consume()
    assert {letter.offset: letter.view for letter in dead_letters(rides)} == {1: "latest", 2: "latest"}
    assert rides.served([1, 2, 3]) == newest([ride(1, 1), ride(3, 9)], [1, 2, 3])
    assert rides.history() == as_history([ride(1, 1), ride(3, 9)])


def test_several_views_read_one_topic_in_one_pass_and_fail_each_for_itself(rides):
    rides.apply(rides.view(), doubled(rides))
    sent = [ride(1, 1, fare=4.0), ride(2, 1, fare=None), ride(3, 1, fare=0.5)]
    rides.send(*sent)
    progress = rides.consume()
    assert progress.views == ("latest", "doubled")
    assert progress.messages == 3
    assert rides.served([1, 2, 3]) == newest(sent, [1, 2, 3])
    read = rides.store.get_online_features(["doubled:double"], {"driver_id": [1, 2, 3]}).to_dict()
    assert read["double"] == [8.0, None, 1.0]
    (letter,) = dead_letters(rides)
    assert (letter.view, letter.offset) == ("doubled", 1)
    assert "TypeError" in letter.reason
    assert rides.history() == as_history(sent), "one of the views has taken it"


def test_a_view_that_comes_later_reads_the_topic_from_its_beginning(rides):
    sent = [ride(1, 1, fare=4.0)]
    rides.apply()
    rides.send(*sent)
    rides.consume()
    rides.apply(rides.view(), doubled(rides))
    progress = rides.consume()
    assert (progress.messages, progress.history_rows) == (1, 0)
    assert rides.store.get_online_features(["doubled:double"], {"driver_id": [1]}).to_dict()["double"] == [8.0]
    assert rides.history() == as_history(sent)


def test_a_topic_that_was_made_anew_begins_anew(rides, topic):
    from confluent_kafka.admin import AdminClient

    first = [ride(1, 5), ride(2, 6)]
    rides.apply()
    rides.send(*first)
    rides.consume()
    admin = AdminClient({"bootstrap.servers": rides.address})
    admin.delete_topics([rides.topic])[rides.topic].result(30)
    for _ in range(100):
        if rides.topic not in admin.list_topics(timeout=10).topics:
            break
    topic(2, rides.topic)
    second = [ride(1, 7), ride(3, 1)]
    rides.producer = type(rides.producer)({"bootstrap.servers": rides.address})
    rides.send(*second)
    progress = rides.consume()
    assert progress.messages == 2
    assert rides.served(DRIVERS) == newest(first + second, DRIVERS)
    assert rides.history() == as_history(first + second)


def test_consuming_can_start_at_a_time(rides):
    rides.apply()
    for i, minute in enumerate((1, 2, 3)):
        rides.send(ride(minute, minute), time=1_700_000_000_000 + 1000 * i)
    from datetime import UTC, datetime

    progress = rides.consume(start=datetime.fromtimestamp(1_700_000_001, UTC))
    assert progress.messages == 2
    assert rides.served([1, 2, 3]) == newest([ride(2, 2), ride(3, 3)], [1, 2, 3])
    assert rides.history() == as_history([ride(2, 2), ride(3, 3)])


def test_members_of_a_group_divide_the_partitions_and_take_over_from_each_other(rides):
    rides.apply()
    stop, others = threading.Event(), threading.Event()
    seen = []

    def consume(event):
        seen.extend(rides.store.consume("latest", group="shared", stop=event, flush_seconds=0.05))

    threads = [threading.Thread(target=consume, args=(event,)) for event in (stop, others)]
    sent = []
    try:
        for thread in threads:
            thread.start()
        for minute in range(30):
            batch = [ride(d, minute) for d in range(4)]
            sent += batch
            rides.send(*batch, partition=minute % 2)
        others.set()
        threads[1].join(60)
        batch = [ride(5, 99)]
        sent += batch
        rides.send(*batch, partition=0)
        rides.send(*batch, partition=1)
        sent += batch
    finally:
        stop.set()
        others.set()
        for thread in threads:
            thread.join(60)
    rides.consume(group="shared")
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert rides.history() == as_history(sent)
    assert len(seen) == 2


def test_while_a_store_does_not_answer_the_consumer_waits(rides, monkeypatch, caplog):
    sent = [ride(d, m) for m in range(3) for d in range(4)]
    rides.apply()
    rides.send(*sent)
    failures = {"put_many": 2, "append_range": 2, "keep_checkpoints": 2}

    def failing(owner, name):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            if failures[name]:
                failures[name] -= 1
                raise StoreUnavailableError(f"{name} is away.")
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    failing(rides.store.online_store, "put_many")
    failing(rides.store.offline_store, "append_range")
    failing(rides.store.registry, "keep_checkpoints")
    rides.consume()
    assert set(failures.values()) == {0}
    assert "waits for a store: append_range is away." in caplog.text
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert rides.history() == as_history(sent)


def test_a_consumer_that_fails_before_it_notes_its_position_appends_nothing_twice(rides, monkeypatch):
    sent = [ride(d, 1) for d in range(4)]
    rides.apply()
    rides.send(*sent[:2])

    def crash(*_):
        raise RuntimeError("crashed")

    with monkeypatch.context() as patch:
        patch.setattr(rides.store.registry, "keep_checkpoints", crash)
        with pytest.raises(RuntimeError, match="crashed"):
            rides.consume()
    assert rides.history() == as_history(sent[:2])
    rides.send(*sent[2:])
    rides.consume()
    assert rides.history() == as_history(sent)
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)


def test_with_a_registry_that_keeps_no_positions_the_broker_keeps_them(rides, monkeypatch):
    class Nothing:
        """What no registry is."""

    monkeypatch.setattr("feast_assets.streams.positions.KeepsCheckpoints", Nothing)
    sent = [ride(d, 1) for d in range(4)]
    rides.apply()
    rides.send(*sent[:2])
    assert rides.consume().messages == 2
    rides.send(*sent[2:])
    assert rides.consume().messages == 2
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert rides.history() == as_history(sent)


def test_messages_whose_times_are_absurd_are_taken(rides):
    sent = [ride(1, 1, fare=1.0), ride(2, 1), ride(3, 1)]
    rides.apply()
    rides.send(sent[0], time=2**62)
    rides.send(sent[1], time=1)
    rides.send(b"poison", time=2**62)
    rides.send(sent[2])
    rides.consume()
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert rides.history() == as_history(sent)
    assert len(dead_letters(rides)) == 1


def test_late_rows_are_counted_and_taken(rides):
    rides.apply(rides.view(rides.source(watermark_delay_threshold=timedelta(minutes=5))))
    sent = [ride(1, 10), ride(2, 6), ride(3, 4), ride(1, 11), ride(4, 1)]
    rides.send(*sent)
    assert rides.consume().late == 2
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)


def test_what_cannot_be_consumed_is_refused(rides):
    rides.apply()
    with pytest.raises(InputError, match="start must be"):
        rides.consume(start="yesterday")
    with pytest.raises(InputError, match="flush_seconds must be a positive number"):
        rides.consume(flush_seconds=0)
    rides.apply(rides.view(rides.source(topic="missing")))
    with pytest.raises(InputError, match="there is no topic 'missing'"):
        rides.consume()
    rides.apply(rides.view(rides.source(topic="")))
    with pytest.raises(ConfigError, match="must name kafka_bootstrap_servers and a topic"):
        rides.consume()
    rides.apply(rides.view(rides.history_source))
    with pytest.raises(InputError, match="it has no stream source"):
        rides.consume("latest")
    with pytest.raises(InputError, match="no enabled feature view has a stream"):
        rides.consume()


def test_a_broker_that_crashes_is_waited_for(rides, kafka_broker):
    rides.apply()
    stop, seen = threading.Event(), threading.Event()
    sent = [ride(d, 1) for d in range(4)]
    wanted = [len(sent)]

    def told(progress):
        if progress.positions.get("0", 0) >= wanted[0]:  # at first it has no partitions
            seen.set()

    options = {"stop": stop, "flush_seconds": 0.1, "progress": told}
    thread = threading.Thread(target=rides.store.consume, args=("latest",), kwargs=options)
    thread.start()
    try:
        rides.send(*sent)
        assert seen.wait(120)
        kafka_broker.kill()
        kafka_broker.start()
        more = [ride(d, 2) for d in range(4)]
        sent += more
        wanted[0] = len(sent)
        seen.clear()
        rides.send(*more)
        assert seen.wait(120)
    finally:
        stop.set()
        thread.join(120)
    assert not thread.is_alive()
    assert rides.served(DRIVERS) == newest(sent, DRIVERS)
    assert rides.history() == as_history(sent)


def test_the_lag_is_told_without_joining_the_group(rides):
    rides.apply()
    rides.send(ride(1, 1), ride(2, 2), partition=0)
    rides.send(ride(3, 3), partition=1)
    (lag,) = rides.store.stream_lags()
    assert {name: end for name, end in lag.ends.items() if end} == {"0": 2, "1": 1} and lag.total == 3
    rides.consume()
    rides.send(ride(1, 9), partition=1)
    (lag,) = rides.store.stream_lags()
    assert {name: behind for name, behind in lag.of_view("latest").items() if behind} == {"1": 1}


def test_the_lag_of_a_topic_that_is_not_there_is_an_error(rides):
    rides.apply(rides.view(rides.source(topic="no-such-topic")))
    with pytest.raises(InputError, match="there is no topic 'no-such-topic'"):
        rides.store.stream_lags()
