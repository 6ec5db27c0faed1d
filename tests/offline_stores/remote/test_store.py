"""The remote offline store, against an offline server over DuckDB."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.flight as flight
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from feast_assets.auth.access import Access
from feast_assets.config import RepoConfig
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    StoredFormatError,
    StoreUnavailableError,
    TransformationError,
    UnauthenticatedError,
)
from feast_assets.offline_stores.base import History, OfflineStore
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.remote.columns import micros_of
from feast_assets.offline_stores.remote.config import RemoteOfflineStoreConfig
from feast_assets.offline_stores.remote.flight import _command
from feast_assets.offline_stores.remote.messages import HistoryMessage, ReplaceArguments
from feast_assets.offline_stores.remote.store import RemoteOfflineStore
from feast_assets.serving.flight.known_sources import KnownSources
from feast_assets.serving.flight.options import OfflineServerOptions
from feast_assets.serving.flight.server import OfflineServer
from feast_assets.testing.offline_store import (
    CanProfileConformance,
    CanReplaceWindowsConformance,
    OfflineStoreConformance,
    Put,
    ReadsQueriesConformance,
    ReadsTextsConformance,
    RunsTransformationsConformance,
    SummarizesPartsConformance,
    TracksPartsConformance,
    WritesOnceConformance,
    history,
    hour,
    trips,
)


class Served:
    """An offline server of this process whose store each test chooses."""

    def __init__(self, options: OfflineServerOptions) -> None:
        self.holder = SimpleNamespace(offline_store=None, project="shop", access=Access("shop"))
        self.holder.config = RepoConfig(project="shop")
        self.holder.snapshot = lambda: SimpleNamespace(data_sources=[], revision=0, committed=0)
        self.server = OfflineServer(self.holder, options)  # type: ignore[arg-type]


def _client(served: Served, **settings: Any) -> RemoteOfflineStore:
    config = RemoteOfflineStoreConfig(host="127.0.0.1", port=served.server.port, **settings)
    return RemoteOfflineStore(config, Path())


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served(OfflineServerOptions(port=0, any_source=True))
    yield server
    server.server.shutdown()


@pytest.fixture
def behind(served: Served, tmp_path: Path) -> OfflineStore:
    """The store that the server has."""
    served.holder.offline_store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)
    return served.holder.offline_store


def _source(path: str, table: pa.Table) -> FileSource:
    created = "created" if "created" in table.column_names else None
    return FileSource(name=path, path=path, timestamp_field="event_timestamp", created_timestamp_column=created)


class TestRemote(
    OfflineStoreConformance,
    CanProfileConformance,
    CanReplaceWindowsConformance,
    ReadsQueriesConformance,
    ReadsTextsConformance,
    RunsTransformationsConformance,
    SummarizesPartsConformance,
    TracksPartsConformance,
    WritesOnceConformance,
):
    @pytest.fixture
    def store(self, served: Served, behind: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfflineStore]:
        # A function never travels. What the suite makes is in no repository, so the server is given it here.
        functions: list[Transformation] = []
        message_of = HistoryMessage.of

        def noticed(history: History) -> HistoryMessage:
            functions.extend([history.transformation] if history.transformation is not None else [])
            return message_of(history)

        def known(sources: KnownSources, view: str, named: Transformation) -> Transformation:
            return next(each for each in reversed(functions) if each == named)

        monkeypatch.setattr(HistoryMessage, "of", noticed)
        monkeypatch.setattr(KnownSources, "transformation", known)
        store = _client(served)
        yield store
        store.close()

    @pytest.fixture
    def put(self, tmp_path: Path) -> Put:
        numbers = itertools.count()

        def put(table: pa.Table) -> DataSource:
            path = f"trips_{next(numbers)}.parquet"
            pq.write_table(table, tmp_path / path)
            return _source(path, table)

        return put

    @pytest.fixture
    def sink(self) -> DataSource:
        return FileSource(name="sink", path="kept/trips", timestamp_field="event_timestamp")

    @pytest.fixture
    def put_as_text(self, tmp_path: Path) -> Put:
        numbers = itertools.count()

        def put(table: pa.Table) -> DataSource:
            path = f"trips_{next(numbers)}.csv"
            csv.write_csv(table, tmp_path / path)
            return _source(path, table)

        return put

    def test_failures_of_a_transformation_name_the_view(self, store: OfflineStore, put: Put) -> None:
        """As in the suite, but for the cause, which stays in the server."""

        def fails(rows: object) -> object:
            raise KeyError("fair")

        source = put(trips([(1, hour(1), 1.0, "a")]))
        with pytest.raises(TransformationError, match=r"'trips'.*KeyError"):
            store.latest(history(source, transformation=Transformation("python", fails)), [ALWAYS])


def _trips(folder: Path, rows: int = 3) -> FileSource:
    table = trips([(i, hour(i % 100), float(i), f"city {i % 9}") for i in range(rows)])
    pq.write_table(table, folder / "trips.parquet")
    return _source("trips.parquet", table)


def test_rows_are_streamed_and_a_client_that_goes_away_ends_its_call(
    served: Served, behind: OfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _trips(tmp_path)
    ended = threading.Event()
    produced = [0]

    def endless(self: object, history: History, window: Window) -> pa.RecordBatchReader:
        first = store_scan(self, history, window).read_all().combine_chunks().to_batches()[0]
        batch = pa.concat_batches([first] * 20_000)

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                while True:
                    produced[0] += 1
                    yield batch
            finally:
                ended.set()

        return pa.RecordBatchReader.from_batches(batch.schema, batches())

    store_scan = DuckDBOfflineStore.scan
    monkeypatch.setattr(DuckDBOfflineStore, "scan", endless)
    store = _client(served)
    reader = store.scan(history(source), ALWAYS)
    assert [reader.read_next_batch().num_rows for _ in range(2)] == [60_000, 60_000]
    # A server that gathered rows would never have answered.
    reader.close()
    del reader
    gc.collect()
    assert ended.wait(60)
    monkeypatch.undo()
    assert store.scan(history(source), ALWAYS).read_all().num_rows == 3
    store.close()


def test_large_rows_come_in_batches_of_bounded_size(served: Served, behind: OfflineStore, tmp_path: Path) -> None:
    source = _trips(tmp_path, 200_000)
    store = _client(served)
    batches = list(store.scan(history(source), ALWAYS))
    assert max(batch.num_rows for batch in batches) <= 65_536
    assert sum(batch.num_rows for batch in batches) == 200_000
    store.close()


def test_an_upload_that_breaks_off_writes_nothing(served: Served, behind: OfflineStore, tmp_path: Path) -> None:
    source = _trips(tmp_path)
    store = _client(served)
    sink = FileSource(name="sink", path="kept/trips", timestamp_field="event_timestamp")
    rows = store.scan(history(source), ALWAYS)
    store.replace(sink, history(source), [ALWAYS], rows)
    client = flight.FlightClient(f"grpc://127.0.0.1:{served.server.port}")
    table = behind.scan(history(source), ALWAYS).read_all().slice(0, 1)
    arguments = ReplaceArguments(sink.to_spec(), HistoryMessage.of(history(source)), *micros_of([ALWAYS]))
    descriptor = flight.FlightDescriptor.for_command(_command("replace", arguments))
    writer, reader = client.do_exchange(descriptor)
    writer.begin(table.schema)
    writer.write_table(table)
    writer.done_writing()  # without saying that these were all
    with pytest.raises(flight.FlightServerError, match="broke off before it had sent all rows"):
        reader.read_chunk()
    with contextlib.suppress(flight.FlightError):
        writer.close()
    client.close()
    assert store.scan(history(sink, kept=True), ALWAYS).read_all().num_rows == 3
    store.close()


def test_limits_of_the_server_are_told(behind: OfflineStore, served: Served, tmp_path: Path) -> None:
    source = _trips(tmp_path)
    small = Served(OfflineServerOptions(port=0, any_source=True, upload_bytes=1000, calls=1))
    small.holder.offline_store = behind
    store = _client(small, connection_retries=0)
    with pytest.raises(InputError, match="more than 1000 bytes with one call"):
        store.write(source, trips([(i, hour(1), 1.0, "x") for i in range(1000)]))
    small.server._places.acquire()
    with pytest.raises(StoreUnavailableError, match="has 1 calls in hand"):
        store.schema(source)
    with pytest.raises(StoreUnavailableError, match="not known whether the call took effect"):
        store.write(source, trips([]))
    small.server._places.release()
    patient = _client(small, connection_retries=5)
    small.server._places.acquire()
    freed = threading.Timer(0.3, small.server._places.release)
    freed.start()
    assert patient.schema(source).names == ["driver", "event_timestamp", "fare", "city"]
    freed.join()
    store.close()
    patient.close()
    small.server.shutdown()


def _answering(do: Any) -> Any:
    class Answering(flight.FlightServerBase):
        def do_action(self, context: Any, action: Any) -> Any:
            return do(None)

        def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
            # All that the client sends, so that it is sure to get the answer.
            with contextlib.suppress(StopIteration):
                while True:
                    reader.read_chunk()
            do(writer)

    return Answering("grpc://127.0.0.1:0")


def _raises(error: Exception) -> Any:
    def do(writer: Any) -> Any:
        raise error

    return do


def _half(writer: Any) -> Any:
    if writer is None:
        return [flight.Result(b"\xc1")]
    writer.begin(pa.schema({"a": pa.int64()}))
    writer.write_batch(pa.record_batch({"a": [1]}))
    return None


_NEWER = flight.FlightServerError("newer", extra_info=b'{"format": 2}')


@pytest.mark.parametrize(
    ("do", "error", "match"),
    [
        (_raises(_NEWER), StoredFormatError, "speaks format 2 of messages"),
        (_raises(ValueError("secret stack")), StoreUnavailableError, "offline server at .*127.0.0.1"),
        (_raises(flight.FlightUnauthenticatedError("who are you")), UnauthenticatedError, "does not know this client"),
        (_raises(NotImplementedError("no")), NotSupportedError, "has no such method"),
        (_half, StoreUnavailableError, "malformed answer"),
    ],
)
def test_answers_of_other_servers_and_of_newer_ones_are_told(
    do: Any, error: type[Exception], match: str, tmp_path: Path
) -> None:
    server = _answering(do)
    store = RemoteOfflineStore(RemoteOfflineStoreConfig(host="127.0.0.1", port=server.port), Path())
    source = _trips(tmp_path)
    with pytest.raises(error, match=match):
        store.statistics(history(source), [ALWAYS])
    with pytest.raises(error, match=match):
        store.scan(history(source), ALWAYS).read_all()
    store.close()
    server.shutdown()


def test_a_stream_without_its_end_is_an_error(served: Served, behind: OfflineStore, tmp_path: Path) -> None:
    source = _trips(tmp_path)
    schema = behind.scan(history(source), ALWAYS).schema

    def half(writer: Any) -> None:
        writer.begin(schema)
        writer.write_batch(behind.scan(history(source), ALWAYS).read_all().to_batches()[0])

    server = _answering(half)
    store = RemoteOfflineStore(RemoteOfflineStoreConfig(host="127.0.0.1", port=server.port), Path())
    with pytest.raises(StoreUnavailableError, match="it broke off"):
        store.scan(history(source), ALWAYS).read_all()
    store.close()
    server.shutdown()


def test_a_server_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    answer = threading.Event()
    server = _answering(lambda writer: answer.wait(60) and None)
    config = RemoteOfflineStoreConfig(host="127.0.0.1", port=server.port, timeout_seconds=0.3)
    store = RemoteOfflineStore(config, Path())
    source = _trips(tmp_path)
    for call in (
        lambda: store.schema(source),
        lambda: store.scan(history(source), ALWAYS),
        lambda: store.write(source, trips([])),
    ):
        with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.3 seconds"):
            call()
    answer.set()
    store.close()
    server.shutdown()


def test_a_command_of_another_format_and_one_that_is_none_are_refused(served: Served, behind: OfflineStore) -> None:
    client = flight.FlightClient(f"grpc://127.0.0.1:{served.server.port}")
    for body, said in (
        (b'{"feast_assets_format": 2, "method": "schema", "arguments": {}}', "this server speaks 1"),
        (b'{"feast_assets_format": 1, "method": "sehcma", "arguments": {}}', "There is no method 'sehcma'"),
        (b'{"feast_assets_format": 1, "method": "schema", "arguments": []}', "malformed"),
        (b"\xff\x00", "malformed"),
        (b"", "malformed"),
    ):
        with pytest.raises(flight.FlightServerError, match=said):
            list(client.do_action(flight.Action("feast_assets", body)))
        writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(body))
        with pytest.raises(flight.FlightError):
            reader.read_chunk()
        with contextlib.suppress(flight.FlightError):
            writer.close()
    client.close()


def test_settings_are_checked() -> None:
    for values, said in (
        ({"host": "http://h"}, "the name or the address of a machine"),
        ({"host": "h:8815"}, "without scheme, port and login"),
        ({"host": "h", "cert": "/dev/null"}, "scheme: https"),
        ({"host": "h", "port": 0}, "greater than or equal to 1"),
        ({}, "host"),
    ):
        with pytest.raises(ValidationError, match=said):
            RemoteOfflineStoreConfig.model_validate(values)
    assert RemoteOfflineStoreConfig(host="::1").location == "grpc+tcp://[::1]:8815"
    assert RemoteOfflineStoreConfig(host="h", scheme="https", port=1).location == "grpc+tls://h:1"
