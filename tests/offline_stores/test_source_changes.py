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
from plain_store import PlainOfflineStore

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import SourceError
from feast_assets.offline_stores.abilities import TracksParts
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.parts import Extent, Part, SourceParts
from feast_assets.offline_stores.source_changes import (
    UNKNOWN,
    HistoryState,
    extent,
    grid_change_tokens,
    history_state,
    window_change_tokens,
)

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
    statistics = DuckDBOfflineStore.statistics

    def noted(self, history, windows):
        calls.append(list(windows))
        return statistics(self, history, windows)

    monkeypatch.setattr(DuckDBOfflineStore, "statistics", noted)
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
    before = window_change_tokens(store, FOLDER, DAYS)
    assert len(set(before)) == 4
    assert before[3] == ""
    write(tmp_path / "rides" / "1.parquet", [24, 29, 30, 31])
    write(tmp_path / "rides" / "late.parquet", [50])
    after = window_change_tokens(store, FOLDER, DAYS)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, True]
    (tmp_path / "rides" / "late.parquet").unlink()
    assert window_change_tokens(store, FOLDER, DAYS)[2] == before[2]
    assert reads == []


def test_only_windows_that_share_a_file_are_read(store, tmp_path, reads):
    write(tmp_path / "rides" / "0.parquet", [1, 2])
    write(tmp_path / "rides" / "12.parquet", [30, 60], [1, 2])
    before = window_change_tokens(store, FOLDER, DAYS)
    assert reads == [DAYS[1:3]]
    write(tmp_path / "rides" / "12.parquet", [30, 60], [1, 3])
    after = window_change_tokens(store, FOLDER, DAYS)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("ms", "UTC"), pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.timestamp("ns"), pa.date32()],
    ids=str,
)
def test_times_of_every_kind_are_read_from_footers(store, tmp_path, reads, kind):
    write(tmp_path / "rides" / "0.parquet", [0, 0], kind=kind)
    write(tmp_path / "rides" / "2.parquet", [48], kind=kind)
    found = window_change_tokens(store, FOLDER, DAYS)
    assert [bool(v) for v in found] == [True, False, True, False]
    assert reads == []


def test_files_without_rows_or_without_times_belong_to_no_window(store, tmp_path, reads):
    write(tmp_path / "rides" / "none.parquet", [])
    table = pa.table({"at": pa.array([None, None], pa.timestamp("us", "UTC")), "fare": [1, 2]})
    pq.write_table(table, tmp_path / "rides" / "nulls.parquet")
    assert window_change_tokens(store, FOLDER, DAYS) == [""] * 4
    assert reads == []


def test_files_without_statistics_are_read(store, tmp_path, reads):
    table = pa.table({"at": pa.array([START], pa.timestamp("us", "UTC")), "fare": [1]})
    pq.write_table(table, tmp_path / "rides" / "0.parquet", write_statistics=False)
    write(tmp_path / "rides.csv", [0, 30])
    for source in (FOLDER, FileSource(name="texts", path="rides.csv", timestamp_field="at")):
        found = window_change_tokens(store, source, DAYS)
        assert [bool(v) for v in found] == [True, source is not FOLDER, False, False]
    assert reads == [DAYS, DAYS]


def test_a_source_without_partitions_is_told_by_its_files(store, tmp_path, reads):
    source = FileSource(name="plates", path="plates.csv")
    write(tmp_path / "plates.csv", [0, 30])
    (before,) = window_change_tokens(store, source, [ALWAYS])
    write(tmp_path / "plates.csv", [0, 31])
    (after,) = window_change_tokens(store, source, [ALWAYS])
    assert before != after
    assert reads == []


def test_a_damaged_file_is_named(store, tmp_path):
    (tmp_path / "rides" / "0.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(SourceError, match=r"0\.parquet"):
        window_change_tokens(store, FOLDER, DAYS)


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
    before, rows_before = window_change_tokens(store, FOLDER, DAYS), [rows_in(w) for w in DAYS]
    held = {**held, name: hours}
    write(root / "rides" / f"{name}.parquet", hours, hours)
    after, rows_after = window_change_tokens(store, FOLDER, DAYS), [rows_in(w) for w in DAYS]
    for old, new, was, now in zip(before, after, rows_before, rows_after, strict=True):
        assert bool(new) == bool(now)
        if [h for _, h in was] != [h for _, h in now]:
            assert old != new


# --- states


class Tracking(PlainOfflineStore, TracksParts):
    """A store whose parts are what a test says."""

    def __init__(self, parts: dict[str, SourceParts | None]):
        super().__init__()
        self.of_source = parts

    def parts(self, source, *, extents=False):
        return self.of_source[source.name]


OTHER = SourceParts((Part("z", "1"),))


def state_of(first: SourceParts | None, second: SourceParts | None = OTHER) -> HistoryState:
    """Returns the state of a history over two sources."""
    sources = tuple(FileSource(name=name, path=name, timestamp_field="at") for name in "ab")
    return history_state(Tracking({"a": first, "b": second}), History("v", sources, (), (), "at"))


A1, A2, B1 = Part("a", "1"), Part("a", "2"), Part("b", "1")


@pytest.mark.parametrize(
    ("before", "after", "same", "changed", "kept"),
    [
        (SourceParts((A1,)), SourceParts((A1,)), True, False, True),
        (SourceParts((A1, B1)), SourceParts((B1, A1)), True, False, True),
        (SourceParts((A1,)), SourceParts((A2,)), False, True, False),
        (SourceParts((A1,)), SourceParts((A1, B1)), False, True, True),
        (SourceParts((A1, B1)), SourceParts((A1,)), False, True, False),
        (SourceParts(), SourceParts(), True, False, True),
        (SourceParts(), SourceParts(is_gone=True), False, True, True),
        (SourceParts((A1,)), SourceParts(is_gone=True), False, True, False),
        (None, SourceParts((A1,)), False, False, True),
        (SourceParts((A1,)), None, False, True, False),
        (None, None, False, False, True),
    ],
)
def test_what_two_states_say_of_each_other(before, after, same, changed, kept):
    one, other = state_of(before), state_of(after)
    assert (one.is_same(other), one.may_have_changed(other), one.is_kept_in(other)) == (same, changed, kept)
    if one.change_token and other.change_token:
        assert (one.change_token == other.change_token) == same


def test_cannot_tell_empty_and_gone_are_three_answers():
    unknown, empty, gone = state_of(None), state_of(SourceParts()), state_of(SourceParts(is_gone=True))
    assert (unknown.parts, unknown.gone, unknown.change_token) == (None, (), "")
    assert (empty.parts, empty.gone) == (frozenset({"z:1"}), ())
    assert (gone.parts, gone.gone) == (frozenset({"z:1"}), ("a",))
    assert len({unknown.change_token, empty.change_token, gone.change_token}) == 3


def test_of_several_sources_one_that_cannot_be_told_makes_the_whole_unknown():
    assert state_of(SourceParts((A1,)), None) == UNKNOWN


# --- extents


def test_the_extent_is_that_of_all_parts_if_every_one_is_known():
    source = FileSource(name="a", path="a", timestamp_field="at")
    trips = History("v", (source,), (), (), "at")

    def extent_of(*extents: Extent | None):
        parts = tuple(Part(str(i), "1", each) for i, each in enumerate(extents))
        return extent(Tracking({"a": SourceParts(parts)}), trips)

    hour = 3_600_000_000
    assert extent_of(Extent(0, hour), Extent(), Extent(-hour, 0)) == (
        datetime(1969, 12, 31, 23, tzinfo=UTC),
        datetime(1970, 1, 1, 1, tzinfo=UTC),
    )
    assert extent_of(Extent(0, hour), None) is None
    assert extent_of(Extent()) is None
    assert extent(PlainOfflineStore(), trips) is None


# --- sources that hold several windows, or are not there


def test_versions_of_a_file_that_is_not_there_say_so(store):
    with pytest.raises(SourceError, match="no file"):
        window_change_tokens(store, FileSource(name="none", path="none.parquet", timestamp_field="at"), DAYS)


def test_on_a_grid_only_ranges_that_share_a_file_count_from_reading(store, tmp_path, monkeypatch):
    for d in (0, 9):
        write(tmp_path / "rides" / f"{d}.parquet", [24 * d + 1])
    for d in (2, 5):
        write(tmp_path / "rides" / f"{d}{d + 1}.parquet", [24 * d + 1, 24 * d + 30])
    grid, span = Partitions("daily", START), Window(START, START + timedelta(days=10))
    days = list(grid.windows_cut_to(span))
    found = grid_change_tokens(store, FOLDER, grid, span)
    assert sorted(found) == [days[d] for d in (0, 2, 3, 5, 6, 9)]
    assert found == {w: v for w, v in zip(days, window_change_tokens(store, FOLDER, days), strict=True) if v}
    # By another file in a day between, nothing else changes.
    write(tmp_path / "rides" / "4.parquet", [24 * 4 + 1])
    assert {w: v for w, v in grid_change_tokens(store, FOLDER, grid, span).items() if w != days[4]} == found


EARLIER = ["22ffcf6d31d26183e274247d3ce48b30", "62bf9f66bd75b8386ef6771702081166"]


def test_versions_are_those_of_earlier_releases(store, tmp_path):
    """Dagster keeps them as data versions; other ones would make everything downstream look stale."""
    path = tmp_path / "rides" / "0.parquet"
    write(path, [1])
    stat = path.stat()
    token = f"{path}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
    assert window_change_tokens(store, FOLDER, DAYS[:1]) == [content_hash([token])[:32]]
    write(tmp_path / "rides.csv", [1, 30])
    source = FileSource(name="texts", path="rides.csv", timestamp_field="at")
    assert window_change_tokens(store, source, DAYS[:2]) == EARLIER
