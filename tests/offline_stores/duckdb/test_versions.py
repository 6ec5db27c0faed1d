"""Versions of a source's windows: they change with the rows, and rows are read only where files do not say enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import SourceError
from feast_assets.offline_stores.duckdb import versions as duckdb_versions
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = [Window(START + timedelta(days=d), START + timedelta(days=d + 1)) for d in range(4)]
FOLDER = FileSource(name="rides", path="rides", timestamp_field="at")


@pytest.fixture
def store(tmp_path):
    (tmp_path / "rides").mkdir()
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """Returns the windows that were read, by call."""
    calls: list[list[Window]] = []
    real = duckdb_versions._read

    def read(cursor, source, root, windows):
        if windows:
            calls.append(list(windows))
        return real(cursor, source, root, windows)

    monkeypatch.setattr(duckdb_versions, "_read", read)
    return calls


def write(path: Path, hours: list[float], values: list[int] | None = None, kind=None) -> None:
    at = pa.array([START + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC"))
    table = pa.table({"at": at.cast(kind) if kind else at, "fare": values or list(range(len(hours)))})
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=2)


def test_day_files_are_told_by_what_they_are_without_reading_them(store, tmp_path, reads):
    for d in range(3):
        write(tmp_path / "rides" / f"{d}.parquet", [24 * d, 24 * d + 5, 24 * d + 23])
    before = store.source_versions(FOLDER, DAYS)
    assert len(set(before)) == 4
    assert before[3] == ""
    write(tmp_path / "rides" / "1.parquet", [24, 29, 30, 31])
    write(tmp_path / "rides" / "late.parquet", [50])
    after = store.source_versions(FOLDER, DAYS)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, True]
    (tmp_path / "rides" / "late.parquet").unlink()
    assert store.source_versions(FOLDER, DAYS)[2] == before[2]
    assert reads == []


def test_only_windows_that_share_a_file_are_read(store, tmp_path, reads):
    write(tmp_path / "rides" / "0.parquet", [1, 2])
    write(tmp_path / "rides" / "12.parquet", [30, 60], [1, 2])
    before = store.source_versions(FOLDER, DAYS)
    assert reads == [DAYS[1:3]]
    write(tmp_path / "rides" / "12.parquet", [30, 60], [1, 3])
    after = store.source_versions(FOLDER, DAYS)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("ms", "UTC"), pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.timestamp("ns"), pa.date32()],
    ids=str,
)
def test_times_of_every_kind_are_read_from_footers(store, tmp_path, reads, kind):
    write(tmp_path / "rides" / "0.parquet", [0, 0], kind=kind)
    write(tmp_path / "rides" / "2.parquet", [48], kind=kind)
    found = store.source_versions(FOLDER, DAYS)
    assert [bool(v) for v in found] == [True, False, True, False]
    assert reads == []


def test_files_without_rows_or_without_times_belong_to_no_window(store, tmp_path, reads):
    write(tmp_path / "rides" / "none.parquet", [])
    table = pa.table({"at": pa.array([None, None], pa.timestamp("us", "UTC")), "fare": [1, 2]})
    pq.write_table(table, tmp_path / "rides" / "nulls.parquet")
    assert store.source_versions(FOLDER, DAYS) == [""] * 4
    assert reads == []


def test_files_without_statistics_are_read(store, tmp_path, reads):
    table = pa.table({"at": pa.array([START], pa.timestamp("us", "UTC")), "fare": [1]})
    pq.write_table(table, tmp_path / "rides" / "0.parquet", write_statistics=False)
    write(tmp_path / "rides.csv", [0, 30])
    for source in (FOLDER, FileSource(name="texts", path="rides.csv", timestamp_field="at")):
        found = store.source_versions(source, DAYS)
        assert [bool(v) for v in found] == [True, source is not FOLDER, False, False]
    assert reads == [DAYS, DAYS]


def test_a_source_without_partitions_is_told_by_its_files(store, tmp_path, reads):
    source = FileSource(name="plates", path="plates.csv")
    write(tmp_path / "plates.csv", [0, 30])
    (before,) = store.source_versions(source, [ALWAYS])
    write(tmp_path / "plates.csv", [0, 31])
    (after,) = store.source_versions(source, [ALWAYS])
    assert before != after
    assert reads == []


def test_a_damaged_file_is_named(store, tmp_path):
    (tmp_path / "rides" / "0.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(SourceError, match=r"0\.parquet"):
        store.source_versions(FOLDER, DAYS)


files = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(-5, 4 * 24 + 5), min_size=1, max_size=4), max_size=4
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files, st.sampled_from("abcd"), st.lists(st.integers(0, 95), min_size=1, max_size=3))
def test_a_window_keeps_its_version_only_if_its_rows_stay(tmp_path_factory, held, name, hours):
    root = tmp_path_factory.mktemp("versions")
    (root / "rides").mkdir()
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), root)

    def rows_in(window: Window) -> list[tuple[str, int]]:
        return sorted(
            (n, h) for n, hs in held.items() for h in hs if window.start <= START + timedelta(hours=h) < window.end
        )

    for n, hs in held.items():
        write(root / "rides" / f"{n}.parquet", hs, hs)
    before, rows_before = store.source_versions(FOLDER, DAYS), [rows_in(w) for w in DAYS]
    held = {**held, name: hours}
    write(root / "rides" / f"{name}.parquet", hours, hours)
    after, rows_after = store.source_versions(FOLDER, DAYS), [rows_in(w) for w in DAYS]
    for old, new, was, now in zip(before, after, rows_before, rows_after, strict=True):
        assert bool(new) == bool(now)
        if [h for _, h in was] != [h for _, h in now]:
            assert old != new
