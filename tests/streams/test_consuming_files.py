"""Consuming files as streams, where no broker is needed; and what does not depend on the kind of stream."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rides import DRIVER, NOON, SCHEMA, RidesProject, as_history, newest, ride

from feast_assets import (
    Aggregation,
    BatchFeatureView,
    Checks,
    CustomFormat,
    DuckDBSource,
    Field,
    FileSource,
    FileStreamSource,
    Float64,
    JsonFormat,
    Partitions,
    PushMode,
    StreamFeatureView,
)
from feast_assets.errors import DefinitionError, InputError, StoreUnavailableError
from feast_assets.streams.dead_letters import DeadLetter, DeadLetters
from feast_assets.streams.files.reader import FileReader

DRIVERS = range(6)
DECLARED = JsonFormat("driver_id bigint, at timestamp, fare double, trips bigint, city string")


class FileRides(RidesProject):
    """A project whose stream is a folder of files."""

    def __init__(self, root: Path, **options):
        super().__init__(root, "nowhere:1", "", **options)
        self.stream = root / "stream"
        self.stream.mkdir()

    def source(self, **changes):
        given = {"name": "live", "path": "stream", "timestamp_field": "at", "message_format": DECLARED}
        return FileStreamSource(**{**given, "batch_source": self.history_source, **changes})

    def write(self, *messages, file="a.jsonl", end="\n"):
        lines = [json.dumps(each) if isinstance(each, dict) else each for each in messages]
        with (self.stream / file).open("a") as out:
            out.write("\n".join(lines) + end)


@pytest.fixture
def files(tmp_path):
    project = FileRides(tmp_path)
    yield project
    project.close()


def test_lines_are_served_and_become_history(files):
    sent = [ride(d, m) for m in range(9) for d in range(4)]
    files.apply()
    files.write(*sent[:20])
    files.write(*sent[20:], file="b.ndjson")
    (files.stream / "notes.txt").write_text("no messages\n")
    (files.stream / ".hidden.jsonl").write_text("{}\n")
    progress = files.consume()
    assert (progress.messages, progress.history_rows, progress.dead_letters) == (36, 36, 0)
    assert files.served(DRIVERS) == newest(sent, DRIVERS)
    assert files.history() == as_history(sent)
    more = [ride(5, 99)]
    files.write(*more)
    files.write(*more, file="c.jsonl")
    assert files.consume().messages == 2
    assert files.history() == as_history([*sent, *more, *more])
    assert files.consume(start="beginning").history_rows == 0
    assert files.history() == as_history([*sent, *more, *more])


def test_a_line_counts_once_its_line_feed_is_there(files):
    files.apply()
    text = json.dumps(ride(1, 1))
    files.write(ride(0, 1), "", text[:10], end="")
    assert files.consume().messages == 1
    files.write(text[10:])
    assert files.consume().messages == 1
    assert files.history() == as_history([ride(0, 1), ride(1, 1)])


def test_a_file_of_the_same_name_with_other_lines_is_read_anew(files):
    files.apply()
    files.write(ride(1, 1), ride(1, 2))
    files.consume()
    (files.stream / "a.jsonl").unlink()
    files.write(ride(2, 1))
    files.consume()
    assert files.history() == as_history([ride(1, 1), ride(1, 2), ride(2, 1)])


def test_a_single_file_that_grows_is_followed(files):
    files.apply(files.view(files.source(path="stream/a.jsonl")))
    files.write(ride(1, 1))
    seen = threading.Event()
    stop = threading.Event()

    def told(progress):
        if progress.messages == 3:
            seen.set()

    options = {"stop": stop, "flush_seconds": 0.02, "progress": told}
    thread = threading.Thread(target=files.store.consume, args=("latest",), kwargs=options)
    thread.start()
    files.write(ride(2, 1), ride(3, 1))
    assert seen.wait(60)
    stop.set()
    thread.join(60)
    assert files.history() == as_history([ride(1, 1), ride(2, 1), ride(3, 1)])


def test_a_consumer_ends_when_its_view_is_changed_or_disabled(files):
    files.apply()
    files.write(ride(1, 1))
    unchanged = []

    def materialize(progress):
        unchanged.append(progress.ended_by_change)
        if len(unchanged) == 1:
            files.apply(files.view(description="other words"))
            files.store.materialize_incremental(NOON)

    stop = threading.Event()

    def twice(progress):
        materialize(progress)
        if len(unchanged) == 3:
            stop.set()

    (progress,) = files.store.consume("latest", flush_seconds=0.02, progress=twice, stop=stop)
    assert not progress.ended_by_change
    changes = [
        lambda: files.apply(files.view(schema=SCHEMA[:2])),
        lambda: files.store.disable_feature_view("latest"),
    ]
    for change in changes:
        flushes = []

        def told(progress, flushes=flushes, change=change):
            flushes.append(progress.flushes)
            if len(flushes) == 2:
                change()

        (progress,) = files.store.consume("latest", flush_seconds=0.02, progress=told)
        assert progress.ended_by_change
        assert list(progress.lag.values()) == [0]
    with pytest.raises(InputError, match="is disabled"):
        files.consume("latest")


def test_several_streams_of_another_project_are_consumed_for_that_project(files):
    files.write(ride(1, 1))
    views = [files.view(files.source(name=f"live of {name}"), name=name) for name in ("one", "two")]
    with files.store.in_project("elsewhere"):
        files.apply(*views)
        done = files.store.consume(stop_at_end=True, flush_bytes=1)
        assert [(each.messages, each.ended_by_change) for each in done] == [(1, False), (1, False)]
        assert files.served([1], "one") == files.served([1], "two") == newest([ride(1, 1)], [1])


def test_a_missing_folder_and_a_start_at_a_time_are_refused(files):
    files.apply()
    files.write(ride(1, 1))
    with pytest.raises(InputError, match="do not say when they were written"):
        files.consume(start=NOON)
    files.apply(files.view(files.source(path="nowhere")))
    with pytest.raises(InputError, match="there is no .*nowhere"):
        files.consume()
    with pytest.raises(DefinitionError, match="message_format must be JsonFormat or CustomFormat"):
        files.source(message_format=5)
    with pytest.raises(DefinitionError, match="path must be a non-empty text"):
        files.source(path="")


def test_a_source_of_files_is_stored_whole(files):
    source = files.source(watermark_delay_threshold=timedelta(minutes=1), field_mapping={"a": "b"})
    files.apply(files.view(source))
    assert files.store.get_data_source("live") == source
    assert FileStreamSource.from_spec(source.to_spec()) == source


def test_names_of_a_message_are_mapped_to_those_of_the_batch_source(files):
    history = FileSource(name="history", path="rides", timestamp_field="when", field_mapping={"price": "fare"})
    source = files.source(
        batch_source=history,
        timestamp_field="at",
        field_mapping={"cost": "fare"},
        message_format=JsonFormat("driver_id bigint, at timestamp, cost double, trips bigint, city string"),
    )
    files.apply(files.view(source))
    files.write({"driver_id": 1, "at": NOON.isoformat(), "cost": 2.5, "trips": 3, "city": "x"})
    files.consume()
    assert files.served([1]) == [(2.5, 3, "x")]
    assert files.history() == [{"driver_id": 1, "when": NOON, "price": 2.5, "trips": 3, "city": "x"}]


def test_a_created_time_that_a_message_lacks_is_filled_in_both_places(files):
    history = FileSource(name="history", path="rides", timestamp_field="at", created_timestamp_column="made")
    declared = JsonFormat(f"{DECLARED.schema_json}, made timestamp")
    files.apply(files.view(files.source(batch_source=history, message_format=declared)))
    late = (NOON + timedelta(hours=1)).isoformat()
    files.write(ride(1, 0, fare=1.0), ride(1, 0, fare=2.0, made=late), ride(1, 0, fare=3.0))
    files.consume()
    assert files.served([1])[0][0] == 2.0 == files.point_in_time([1], NOON)[0]
    assert sorted(row["made"] for row in files.history()) == [NOON, NOON, NOON + timedelta(hours=1)]


def double(rows):
    if any(fare is None for fare in rows["fare"]):
        raise ValueError("no fare")
    return {**rows, "double": [2 * fare for fare in rows["fare"]]}


def doubled_frame(frame):
    return frame.assign(double=2 * frame["fare"])


def doubled_query(rides):
    return f"SELECT *, 2 * fare AS double FROM {rides}"


@pytest.mark.parametrize(("udf", "mode"), [(double, "python"), (doubled_frame, "pandas"), (doubled_query, "sql")])
def test_a_function_runs_over_messages_as_over_history(files, udf, mode):
    schema = [SCHEMA[0], Field(name="double", dtype=Float64)]
    view = StreamFeatureView(
        name="doubled", entities=[DRIVER], source=files.source(), schema=schema, mode=mode, udf=udf
    )
    files.apply(view)
    files.write(ride(1, 1, fare=2.0), ride(2, 1, fare=4.0))
    files.consume()
    assert files.history() == as_history([ride(1, 1, fare=2.0), ride(2, 1, fare=4.0)])
    read = files.store.get_online_features(["doubled:double"], {"driver_id": [1, 2]}).to_dict()["double"]
    files.store.materialize_incremental(NOON + timedelta(days=1))
    assert read == [4.0, 8.0]
    assert files.store.audit(at=NOON + timedelta(days=1)).causes == {}


def test_windows_of_time_are_computed_of_the_history_that_a_stream_becomes(files):
    view = BatchFeatureView(
        name="sums",
        entities=[DRIVER],
        source=files.source(),
        aggregations=[Aggregation("fare", "sum", timedelta(hours=1))],
        partitions=Partitions("daily", NOON.replace(hour=0)),
        online=True,
    )
    (files.root / "rides").mkdir()
    first = pa.Table.from_pylist([{**ride(9, 0), "at": NOON}])
    pq.write_table(first, files.root / "rides" / "first.parquet")
    files.apply(view)
    files.write(ride(1, 1, fare=2.0), ride(1, 30, fare=4.0), ride(2, 90, fare=1.0), "garbage")
    progress = files.consume()
    assert (progress.history_rows, progress.dead_letters) == (3, 1)
    files.store.materialize_incremental(NOON + timedelta(days=1))
    moments = [NOON + timedelta(minutes=minute) for minute in (10, 50, 95)]
    entities = pd.DataFrame({"driver_id": [1, 1, 2], "event_timestamp": moments})
    sums = files.store.get_historical_features(entities, ["sums:sum_fare_3600s"]).to_df()
    assert sums.sort_values("event_timestamp")["sum_fare_3600s"].to_list() == [2.0, 6.0, 1.0]


def test_history_is_also_read_by_the_time_of_arrival(files):
    history = FileSource(name="history", path="rides", timestamp_field="at", created_timestamp_column="made")
    declared = JsonFormat(f"{DECLARED.schema_json}, made timestamp")
    files.apply(files.view(files.source(batch_source=history, message_format=declared)))
    hour = timedelta(hours=1)
    files.write(ride(1, 0, fare=1.0, made=NOON.isoformat()), ride(1, 30, fare=2.0, made=(NOON + 2 * hour).isoformat()))
    files.consume()
    entities = pd.DataFrame({"driver_id": [1, 1], "event_timestamp": [NOON + hour, NOON + 3 * hour]})

    def fares(by_arrival):
        job = files.store.get_historical_features(entities, ["latest:fare"], filter_by_created_timestamp=by_arrival)
        return job.to_df().sort_values("event_timestamp")["fare"].to_list()

    assert fares(False) == [2.0, 2.0]
    assert fares(True) == [1.0, 2.0]


def test_a_value_that_does_not_fit_into_history_is_a_dead_letter(files):
    narrow = _table_of_rides(files.root)
    narrow = narrow.set_column(narrow.schema.get_field_index("trips"), "trips", pa.array([], pa.int16()))
    (files.root / "rides").mkdir()
    pq.write_table(narrow, files.root / "rides" / "first.parquet")
    files.apply()
    files.write(ride(1, 1), {**ride(2, 1), "trips": 40_000}, ride(3, 1))
    assert files.consume().dead_letters == 1
    assert files.history() == as_history([ride(1, 1), ride(3, 1)])
    assert files.served([1, 2, 3])[1] == (None, None, None)
    (letter,) = files.store.list_dead_letters("live")
    assert "column 'trips' holds int16" in letter.reason


def test_dead_letters_are_listed_replayed_and_dropped(files):
    schema = [SCHEMA[0], Field(name="double", dtype=Float64)]
    computed = StreamFeatureView(
        name="doubled", entities=[DRIVER], source=files.source(), schema=schema, mode="python", udf=double
    )
    files.apply(files.view(), computed)
    (files.root / "rides").mkdir()
    files.write(ride(1, 1), ride(2, 2, fare=None), "garbage", ride(3, 3, fare="4.5 euros"))
    files.consume()
    letters = {letter.view or "all": letter.reason for letter in files.store.list_dead_letters("live")}
    assert "no fare" in letters["doubled"]
    assert len(files.store.list_dead_letters("live")) == 3
    assert files.history() == as_history([ride(1, 1), ride(2, 2, fare=None)])
    assert files.store.replay_dead_letters("live").taken == 0
    assert len(files.store.list_dead_letters("live")) == 3

    def forgiving(rows):
        return {**rows, "double": [2 * (fare or 0.0) for fare in rows["fare"]]}

    (files.root / "forgiving_format_for_tests.py").write_text(
        "import json\n"
        "def decode(value):\n"
        "    ride = json.loads(value)\n"
        "    return {**ride, 'fare': float(str(ride['fare']).split()[0]) if ride['fare'] is not None else None}\n"
    )
    computed = StreamFeatureView(
        name="doubled",
        entities=[DRIVER],
        source=(source := files.source(message_format=CustomFormat("forgiving_format_for_tests.decode"))),
        schema=schema,
        mode="python",
        udf=forgiving,
    )
    files.apply(files.view(source), computed)
    for _ in range(2):
        files.store.replay_dead_letters("live")
        (left,) = files.store.list_dead_letters("live")
        assert left.value == b"garbage"
        assert files.history() == as_history([ride(1, 1), ride(2, 2, fare=None), ride(3, 3, fare=4.5)])
        assert files.served([2, 3]) == newest([ride(2, 2, fare=None), ride(3, 3, fare=4.5)], [2, 3])
        read = files.store.get_online_features(["doubled:double"], {"driver_id": [2, 3]}).to_dict()["double"]
        assert read == [0.0, 9.0]
    assert files.store.drop_dead_letters("live") == 1
    assert files.store.list_dead_letters("live") == []
    with pytest.raises(InputError, match="no stream source 'lives'"):
        files.store.list_dead_letters("lives")


def _table_of_rides(source_path: Path) -> pa.Table:
    return pa.table(
        {
            "driver_id": pa.array([], pa.int64()),
            "at": pa.array([], pa.timestamp("us", "UTC")),
            "fare": pa.array([], pa.float64()),
            "trips": pa.array([], pa.int64()),
            "city": pa.array([], pa.string()),
        }
    )


@pytest.mark.parametrize("kind", ["file", "duckdb"])
def test_history_that_is_no_folder_holds_each_row_once(files, kind, monkeypatch):
    if kind == "file":
        history = FileSource(name="history", path="rides.parquet", timestamp_field="at")
        pq.write_table(_table_of_rides(files.root), files.root / "rides.parquet")
    else:
        history = DuckDBSource(name="history", database="rides.duckdb", table="rides", timestamp_field="at")
        with duckdb.connect(str(files.root / "rides.duckdb")) as connection:
            connection.register("empty", _table_of_rides(files.root))
            connection.execute("CREATE TABLE rides AS SELECT * FROM empty")
    files.apply(files.view(files.source(batch_source=history)))
    files.write(*[ride(d, 1) for d in range(3)])

    def crash(*_):
        raise RuntimeError("crashed")

    with monkeypatch.context() as patch:
        patch.setattr(files.store.registry, "keep_checkpoints", crash)
        with pytest.raises(RuntimeError, match="crashed"):
            files.consume()
    files.write(ride(9, 1))
    files.consume()
    if kind == "file":
        rows = ds.dataset(files.root / "rides.parquet").to_table().num_rows
    else:
        with duckdb.connect(str(files.root / "rides.duckdb")) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM rides").fetchone()
    assert rows == 4


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_rows_go_to_other_online_stores(tmp_path, kind, request):
    if kind == "redis":
        host, port = request.getfixturevalue("redis_server")
        online = f"redis://{host}:{port}/0"
    else:
        online = request.getfixturevalue("postgres_url")
    files = FileRides(tmp_path, online_store=online)
    sent = [ride(d, m) for m in (5, 3, 9, 1) for d in range(3)]
    files.apply()
    files.write(*sent, "garbage")
    files.consume(flush_bytes=1)
    assert files.served(DRIVERS) == newest(sent, DRIVERS)
    files.consume(start="beginning")
    assert files.served(DRIVERS) == newest(sent, DRIVERS)
    files.close()


def test_only_history_or_only_online(files):
    files.apply()
    files.write(ride(1, 1))
    files.consume(to=PushMode.ONLINE)
    assert (files.served([1]), files.history()) == (newest([ride(1, 1)], [1]), [])
    files.write(ride(1, 2))
    files.consume(to=PushMode.OFFLINE)
    assert files.served([1]) == newest([ride(1, 1)], [1])
    assert files.history() == as_history([ride(1, 1), ride(1, 2)])
    files.consume(to=PushMode.ONLINE)
    assert files.served([1]) == newest([ride(1, 2)], [1])


def test_two_streams_are_consumed_at_once_and_an_error_of_one_ends_both(files):
    other = FileStreamSource(
        name="other",
        path="other",
        timestamp_field="at",
        message_format=DECLARED,
        batch_source=FileSource(name="other_history", path="other_rides", timestamp_field="at"),
    )
    files.apply(files.view(), files.view(other, name="second"))
    files.write(ride(1, 1))
    with pytest.raises(InputError, match="there is no .*other"):
        files.store.consume()
    (files.root / "other").mkdir()
    (files.root / "other" / "x.jsonl").write_text(json.dumps(ride(2, 1)) + "\n")
    done = {each.source: each.messages for each in files.store.consume(stop_at_end=True)}
    assert done == {"live": 1, "other": 1}
    assert files.served([2], "second") == newest([ride(2, 1)], [2])


def test_memory_stays_bounded_as_small_batches_are_joined(files, monkeypatch):
    """Ten thousand polls of one row each would otherwise hold ten thousand tables."""
    files.apply()
    files.write(*[ride(i % 5, i) for i in range(700)])
    held = []
    real = FileReader.poll

    def poll(self, seconds, most):
        return real(self, seconds, 1)

    monkeypatch.setattr(FileReader, "poll", poll)
    from feast_assets.streams.consumer import StreamConsumer

    hold = StreamConsumer._hold

    def counted(self, *args):
        hold(self, *args)
        held.append(max(len(part.pieces) for part in self._partitions.values()))

    monkeypatch.setattr(StreamConsumer, "_hold", counted)
    files.consume()
    assert max(held) <= 128
    assert len(files.history()) == 700


def test_the_command_consumes_and_shows_dead_letters(files):
    from feast_assets.cli.main import cli

    files.apply()
    files.write(ride(1, 1), "garbage")

    def run(*words):
        done = CliRunner().invoke(cli, ["-c", str(files.root), *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    told = run("consume", "latest", "--stop-at-end")
    assert told.count("live: 2 messages, 1 rows online, 1 to history, 1 dead letters") == 1
    assert "it is not JSON" in run("dead-letters", "list", "live")
    assert "0 taken, 1 left." in run("dead-letters", "replay", "live")
    assert "1 removed." in run("dead-letters", "drop", "live", "--yes")
    wrong = CliRunner().invoke(cli, ["-c", str(files.root), "consume", "--from-beginning", "--from-time", "2024-01-01"])
    assert wrong.exit_code == 2 and "not both" in wrong.output


def test_a_signal_ends_the_command_after_what_is_in_hand(files):
    files.apply()
    files.write(ride(1, 1))
    command = [sys.executable, "-m", "feast_assets.cli", "-c", str(files.root), "consume", "--flush-seconds", "0.05"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    files.write(ride(2, 1))
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert "1 messages" in first
    files.consume()
    assert files.history() == as_history([ride(1, 1), ride(2, 1)])


class _MemberOfAGroup(FileReader):
    """Gets its files when it polls, as a member of a group does, and has trouble once before it has read anything."""

    trouble = ""

    def open(self, assigned, revoked):
        self._assigned, self._revoked = assigned, revoked

    def poll(self, seconds, most):
        if not self._files:
            self._find()
            trouble, type(self).trouble = self.trouble, ""
            if trouble == "unreachable":
                raise StoreUnavailableError("The brokers are away.")
            if trouble == "divided anew":
                self.close()
                return []
        return super().poll(0.01, 2)


@pytest.mark.parametrize("trouble", ["unreachable", "divided anew"])
def test_the_end_is_not_reached_while_a_consumer_has_no_partitions(files, monkeypatch, trouble):
    sent = [ride(d, 1) for d in range(5)]
    files.apply()
    files.write(*sent)
    monkeypatch.setattr("feast_assets.streams.files.reader.FileReader", _MemberOfAGroup)
    monkeypatch.setattr(_MemberOfAGroup, "trouble", trouble)
    assert files.consume().messages == 5
    assert files.history() == as_history(sent)


def _letter(offset, view="latest", partition="a", value=b"{}", **changes):
    given = ("live", "files", partition, offset, view, "it cannot be taken.", None, None, value)
    return DeadLetter(*given, **changes)


def test_dead_letters_of_other_messages_are_kept_beside_each_other(tmp_path):
    """Long names of views and partitions, and as many letters between the same offsets, are no reason to lose one."""
    views = [f"view_{i}_{'x' * 60}" for i in range(5)]
    letters = DeadLetters(tmp_path, "live")
    groups = [[_letter(i, view, name) for i in (1, 5, 9) for view in views] for name in ("a" * 255, "b" * 255)]
    groups += [[_letter(1), _letter(5), _letter(9)], [_letter(1), _letter(7), _letter(9)]]
    for group in [*groups, *groups]:
        letters.add(group)
    assert len(letters.files()) == 4
    assert {letter.origin for letter in letters.read()} == {letter.origin for group in groups for letter in group}


def test_a_message_that_two_views_could_not_take_becomes_one_row_of_history(files):
    high = Field(name="fare", dtype=Float64, checks=Checks(minimum=5))
    low = Field(name="fare", dtype=Float64, checks=Checks(minimum=3))
    views = [
        files.view(name=name, schema=[SCHEMA[0], field, *SCHEMA[2:]], enable_validation=True)
        for name, field in (("first", high), ("second", low))
    ]
    files.apply(*views)
    (files.root / "rides").mkdir()
    sent = [ride(1, 1, fare=1.0), ride(2, 1, fare=4.0), ride(3, 1, fare=2.0)]
    files.write(*sent)
    assert files.consume().dead_letters == 5
    for least in (2, 0):  # the second view takes two of them at first, and the first view none
        checks = [Checks(minimum=5 if least else 0), Checks(minimum=least)]
        views = [
            files.view(
                name=name,
                schema=[SCHEMA[0], Field(name="fare", dtype=Float64, checks=each), *SCHEMA[2:]],
                enable_validation=True,
            )
            for name, each in zip(("first", "second"), checks, strict=True)
        ]
        files.apply(*views)
        files.store.replay_dead_letters("live")
    assert files.store.list_dead_letters("live") == []
    assert files.history() == as_history(sent)


def test_a_letter_that_a_killed_consumer_has_kept_twice_is_replayed_once(files):
    files.apply()
    (files.root / "rides").mkdir()
    letters = DeadLetters(files.root / "data" / "dead_letters", "live")
    values = [json.dumps(ride(d, 1)).encode() for d in range(3)]
    letters.add([_letter(0, value=values[0]), _letter(1, value=values[1])])
    letters.add([_letter(d, value=value) for d, value in enumerate(values)])
    replayed = files.store.replay_dead_letters("live")
    assert (replayed.taken, replayed.left) == (3, 0)
    assert letters.files() == []
    assert files.history() == as_history([ride(d, 1) for d in range(3)])


def test_files_whose_names_are_long_or_alike_are_all_read(files):
    names = ["day 1.jsonl", "day_1.jsonl", "day-1.jsonl", f"{'long' * 50}-1.jsonl", f"{'long' * 50}-2.jsonl"]
    files.apply()
    for name in names:
        files.write(ride(1, 1), file=name)
    files.consume()
    assert files.history() == as_history([ride(1, 1)] * 5)


def test_a_file_that_is_removed_after_it_was_read_ends_no_consumer(files):
    sent = [ride(1, 1), ride(2, 1)]
    files.apply()
    files.write(sent[0])
    stop = threading.Event()
    real = FileReader.ends
    removed = []

    def ends(reader, partitions):
        if not removed:
            removed.append((files.stream / "a.jsonl").unlink())
            files.write(sent[1], file="b.jsonl")
        return real(reader, partitions)

    def told(progress):
        if progress.messages == 2:
            stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileReader, "ends", ends)
        files.store.consume("latest", flush_seconds=0.02, stop=stop, progress=told)
    assert files.history() == as_history(sent)


def test_new_files_are_found_while_another_one_never_ends(files, monkeypatch):
    monkeypatch.setattr("feast_assets.streams.files.reader._LOOK_WHILE_BUSY_SECONDS", 0)
    files.write(*[ride(1, m) for m in range(9)])
    reader = FileReader(files.source(), files.root)
    reader.open(lambda names: dict.fromkeys(names, 0), lambda names, lost: None)
    assert [part.partition.split("-")[0] for part in reader.poll(0, 2)] == ["a.jsonl"]
    files.write(ride(2, 1), file="b.jsonl")
    assert sorted(part.partition.split("-")[0] for part in reader.poll(0, 20)) == ["a.jsonl", "b.jsonl"]
    reader.close()


def test_the_lag_of_each_view_is_told_without_consuming(files):
    files.apply(files.view(), files.view(name="other"))
    files.write(ride(1, 1), ride(2, 2))
    end = (files.stream / "a.jsonl").stat().st_size
    (lag,) = files.store.stream_lags()
    (name,) = lag.ends
    assert lag.source == "live" and lag.ends == {name: end} and lag.total == end
    files.consume("latest")
    files.write(ride(3, 3), ride(4, 4), end="")
    grown = (files.stream / "a.jsonl").read_bytes().rfind(b"\n") + 1
    (lag,) = files.store.stream_lags()
    assert lag.of_view("latest") == {name: grown - end} and lag.of_view("other") == {name: grown}
    assert lag.total == grown
    assert files.store.stream_lags() == [lag]


def test_the_lag_counts_the_positions_of_where_rows_go(files):
    files.apply()
    files.write(ride(1, 1))
    files.consume(to=PushMode.ONLINE)
    (lag,) = files.store.stream_lags(to=PushMode.ONLINE)
    assert lag.total == 0
    (lag,) = files.store.stream_lags()
    assert lag.total > 0
    with pytest.raises(InputError, match="stream_lags: to='both'"):
        files.store.stream_lags(to="both")


def test_a_lost_online_table_is_behind_by_the_whole_stream(files):
    files.apply()
    files.write(ride(1, 1))
    files.consume()
    files.store.online_store.drop([files.store.get_feature_view("latest").online_table("rides")])
    (lag,) = files.store.stream_lags()
    assert lag.total == (files.stream / "a.jsonl").stat().st_size
