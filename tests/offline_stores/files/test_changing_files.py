"""Reading files that a writer replaces meanwhile: one state of them, again if needed, and nobody is blamed."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import InputError, SourceChangedError, SourceError, printable
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.files import changing_files
from feast_assets.offline_stores.files.changing_files import ReadFiles, again, changed_error
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import history, hour, joined, spine, trips

OLD = trips([(i, hour(i % 48), float(i), "old") for i in range(20_000)])
NEW = trips([(i, hour(i % 48), -float(i), f"new {i}") for i in range(25_000)])
WINDOWS = [Window(hour(0), hour(24)), Window(hour(24), hour(48))]


@pytest.fixture
def store(tmp_path: Path) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


def source(path: str) -> FileSource:
    return FileSource(path=path, timestamp_field="event_timestamp")


def replace_file(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    if path.suffix == ".csv":
        table.to_pandas().to_csv(temporary, index=False)
    else:
        pq.write_table(table, temporary)
    os.replace(temporary, path)


def features(store: DuckDBOfflineStore, src: FileSource) -> pa.Table:
    asked = spine([(i, hour(100)) for i in range(0, 20_000, 97)])
    return joined(store, asked, [PointInTimeJoin(history(src), {}, {})])


def scanned(store: DuckDBOfflineStore, src: FileSource) -> pa.Table:
    return store.scan(history(src), ALWAYS).read_all().sort_by("driver")


def newest(store: DuckDBOfflineStore, src: FileSource) -> pa.Table:
    return store.latest(history(src), [ALWAYS]).read_all().sort_by("driver")


READINGS: dict[str, Callable[[DuckDBOfflineStore, FileSource], Any]] = {
    "schema": lambda store, src: store.schema(src),
    "statistics": lambda store, src: store.statistics(history(src), WINDOWS),
    "profile": lambda store, src: [p.rows for p in store.profile(history(src), WINDOWS)],
    "latest": newest,
    "scan": scanned,
    "join": features,
    "oldest": lambda store, src: store.oldest_event(history(src)),
}


@pytest.fixture
def replaced_again_and_again(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Replaces files with the old and the new content in turn, until the test ends."""
    stop, writers = threading.Event(), []

    def begin(path: str) -> None:
        def write() -> None:
            turn = 0
            while not stop.wait(0.02):
                turn += 1
                replace_file(tmp_path / path, (OLD, NEW)[turn % 2])

        writers.append(threading.Thread(target=write))
        writers[-1].start()

    yield begin
    stop.set()
    for writer in writers:
        writer.join()


@pytest.mark.parametrize("path", ["t.parquet", "folder/1.parquet"])
def test_every_reading_is_of_one_state_while_a_file_is_replaced(
    store: DuckDBOfflineStore, tmp_path: Path, replaced_again_and_again: Callable[[str], None], path: str
) -> None:
    src = source(path.split("/")[0])
    states: dict[str, list[Any]] = {name: [] for name in READINGS}
    for table in (OLD, NEW):
        replace_file(tmp_path / path, table)
        for name, reading in READINGS.items():
            states[name].append(reading(store, src))
    replaced_again_and_again(path)
    for _ in range(4):
        for name, reading in READINGS.items():
            found = reading(store, src)
            assert any(found == state for state in states[name]), name


def test_files_of_key_value_folders_are_read_again_where_they_change(
    store: DuckDBOfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_assets.offline_stores.duckdb import survey as duckdb_survey

    path = tmp_path / "t" / "zone=a" / "x.parquet"
    replace_file(path, OLD)
    expected = {}
    for table in (NEW, OLD):
        replace_file(path, table)
        expected[table is NEW] = store.statistics(history(source("t")), WINDOWS)
    summarize, calls = duckdb_survey.summarize, []

    def replaced_before(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            replace_file(path, NEW)
        return summarize(*arguments)

    monkeypatch.setattr(duckdb_survey, "summarize", replaced_before)
    assert store.statistics(history(source("t")), WINDOWS) == expected[True]
    assert len(calls) == 2


def test_damage_is_still_blamed_on_a_file_that_did_not_change(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    pq.write_table(OLD, tmp_path / "t.parquet")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[4:2000] = bytes(range(256))[:200] * 9 + bytes(196)
    (tmp_path / "t.parquet").write_bytes(data)
    for reading in ("statistics", "latest", "scan", "join"):
        with pytest.raises(SourceError) as caught:
            READINGS[reading](store, source("t.parquet"))
        assert not isinstance(caught.value, SourceChangedError)
        assert "t.parquet" in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_file_that_is_overwritten_while_it_is_read_is_not_blamed(
    store: DuckDBOfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_assets.offline_stores.duckdb import survey as duckdb_survey

    path, calls = tmp_path / "t.parquet", []

    def truncated(*arguments: Any) -> Any:
        calls.append(1)
        pq.write_table(OLD.slice(len(calls)), path)
        raise OSError("Could not read enough bytes\x0e")

    pq.write_table(OLD, path)
    monkeypatch.setattr(duckdb_survey, "summarize", truncated)
    with pytest.raises(SourceError, match="was changed while it was read") as caught:
        store.statistics(history(source("t.parquet")), WINDOWS)
    assert "\x0e" not in str(caught.value)


def test_what_was_handed_out_cannot_be_read_again(
    store: DuckDBOfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_assets.offline_stores.duckdb import engine as duckdb_engine

    path = tmp_path / "t" / "zone=a" / "x.parquet"
    replace_file(path, OLD)

    def fails_half_way(cursor: Any, sql: str) -> Iterator[pa.RecordBatch]:
        yield cursor.sql(sql).to_arrow_table().to_batches()[0]
        replace_file(path, NEW)
        raise OSError("TProtocolException: Invalid data")

    monkeypatch.setattr(duckdb_engine, "stream", fails_half_way)
    reader = store.scan(history(source("t")), ALWAYS)
    assert reader.read_next_batch().num_rows
    with pytest.raises(SourceChangedError, match=r"Source 't' was changed while it was read"):
        reader.read_next_batch()


def test_an_entity_query_is_run_again_where_it_fails_to_read_a_file(
    store: DuckDBOfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    from feast_assets.offline_stores.duckdb import engine as duckdb_engine

    replace_file(tmp_path / "t.parquet", OLD)
    query = f"SELECT driver, event_timestamp FROM '{tmp_path}/t.parquet'"
    read, calls = duckdb_engine.read_all, []

    def failing_once(cursor: Any, sql: str) -> pa.Table:
        calls.append(sql)
        if len(calls) == 1:
            raise duckdb.IOException("don't know what type: \x0e")
        return read(cursor, sql)

    monkeypatch.setattr(duckdb_engine, "read_all", failing_once)
    assert store.read_query(query, []).num_rows == OLD.num_rows
    calls[:] = ["failed before"]
    with pytest.raises(InputError, match="entity query fails"):
        store.read_query("SELECT no_such_column FROM 't.parquet'", [])
    assert len(calls) == 2


has_descriptors = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="the system gives no access to files by their descriptors"
)


class TestReadFiles:
    @has_descriptors
    def test_pinned_files_keep_their_content(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_text("old")
        files = ReadFiles([str(path)], pinned=True)
        other = tmp_path / "b"
        other.write_text("new")
        os.replace(other, path)
        assert Path(files.readable[0]).read_text() == "old"
        assert not files.have_changed()
        assert files.in_words(f"bad: {files.readable[0]}, and /proc/self/fd/99999") == (
            f"bad: {path}, and /proc/self/fd/99999"
        )

    @has_descriptors
    def test_descriptors_are_closed_and_their_number_is_bounded(self, tmp_path: Path) -> None:
        for i in range(changing_files._MOST_OF_A_SOURCE + 1):
            (tmp_path / str(i)).touch()
        paths = [str(p) for p in tmp_path.iterdir()]
        assert ReadFiles(paths, pinned=True).readable == tuple(paths)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        held = [ReadFiles(paths[:-1], pinned=True) for _ in range(10)]
        assert len(os.listdir("/proc/self/fd")) - before <= changing_files._MOST_AT_ONCE
        assert held[-1].readable == tuple(paths[:-1])
        del held
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before

    @pytest.mark.parametrize("pinned", [True, False])
    def test_changes_are_seen(self, tmp_path: Path, pinned: bool) -> None:
        path = tmp_path / "a"
        path.write_text("old")
        files = ReadFiles([str(path)], pinned=pinned)
        assert not files.have_changed()
        path.write_text("longer")
        assert files.have_changed()
        assert files.may_be_mixed()

    def test_a_file_that_went_may_have_been_put_together_with_another(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a", tmp_path / "b"]
        for path in paths:
            path.write_text("x")
        files = ReadFiles([str(path) for path in paths], pinned=True)
        (tmp_path / "new").write_text("other")
        (tmp_path / "new").replace(paths[0])
        assert not files.may_be_mixed()
        paths[1].unlink()
        assert files.may_be_mixed()

    def test_a_file_that_went_before_it_was_opened_has_changed(self, tmp_path: Path) -> None:
        assert ReadFiles([str(tmp_path / "gone")], pinned=True).have_changed()

    def test_a_change_of_a_log_is_no_mixture(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.touch()
        files = ReadFiles([], pinned=False, watched=[str(log)])
        log.write_text("more")
        assert files.have_changed()
        assert not files.may_be_mixed()


class TestAgain:
    def test_reads_until_nothing_changes(self) -> None:
        calls: list[bool] = []

        def read(is_last: bool) -> int:
            calls.append(is_last)
            if len(calls) < 4:
                raise changed_error("It")
            return 7

        assert again(read) == 7
        assert calls == [False] * 4

    def test_gives_up_at_last(self) -> None:
        calls: list[bool] = []

        def read(is_last: bool) -> int:
            calls.append(is_last)
            raise changed_error("It")

        with pytest.raises(SourceChangedError):
            again(read)
        assert calls[-1]
        assert not any(calls[:-1])

    def test_what_takes_long_is_read_twice_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[bool] = []
        monkeypatch.setattr(changing_files, "_PATIENT_SECONDS", -1.0)

        def read(is_last: bool) -> int:
            calls.append(is_last)
            raise changed_error("It")

        with pytest.raises(SourceChangedError):
            again(read)
        assert calls == [False, True]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("don't know what type: \x0e", r"don't know what type: \x0e"),
        ("a\n\nb\tc  d", "a b c d"),
        ("\x1b[31mred\u202e\ud800", r"\x1b[31mred\u202e\ud800"),
        ("naïve ☃", "naïve ☃"),
    ],
)
def test_messages_have_no_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_messages_have_a_bounded_length() -> None:
    assert len(printable("x" * 10_000_000)) == 600
    assert printable("x" * 700).endswith(" ...")
