"""The windows of a grid that have rows, found by grouping them, are those that asking for every window finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import FileSource, Int64
from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import GRAINS, Partitions
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores import window_numbers
from feast_assets.offline_stores.base import History, OfflineStore, Survey
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.source_changes import grid_change_tokens, window_change_tokens

TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema([("driver", pa.int64()), ("ts", TIME), ("fare", pa.int64())])
BEGIN = datetime(2024, 2, 20, tzinfo=UTC)
HOURS = 24 * 45
KEY, FARE = Field(name="driver", dtype=Int64), Field(name="fare", dtype=Int64)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), tmp_path_factory.mktemp("survey"))


def at(hour: float) -> datetime:
    return BEGIN + timedelta(hours=hour)


def put(store: DuckDBOfflineStore, name: str, rows: list[tuple[int | None, float | None, int]]) -> FileSource:
    """Writes rows of (driver, hour, fare); in two files, so that one's times need not be the other's."""
    folder = Path(store._root) / name
    folder.mkdir(exist_ok=True)
    for i in range(2):
        part = [(key, None if hour is None else at(hour), fare) for key, hour, fare in rows[i::2]]
        columns = list(zip(*part, strict=True)) if part else [(), (), ()]
        table = pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)
        pq.write_table(table, folder / f"{i}.parquet")
    return FileSource(name=name, path=name, timestamp_field="ts")


def history(*sources: FileSource, lookback: timedelta | None = None) -> History:
    computed = None if lookback is None else Transformation(mode="pandas", udf=lambda *frames: frames[0])
    return History("trips", sources, (KEY,), (FARE,), "ts", transformation=computed, lookback=lookback or timedelta(0))


def dense(store: OfflineStore, wanted: History, grid: Partitions, span: Window) -> Survey:
    """Returns what asking for each window finds."""
    survey = store.survey(wanted, list(grid.windows_cut_to(span)))
    return Survey([s for s in survey.windows if s.rows or s.null_keys], survey.null_times)


rows_of_files = st.lists(
    st.tuples(
        st.sampled_from([1, 2, None]),
        st.one_of(st.none(), st.integers(0, HOURS).map(lambda hour: hour / 2)),
        st.integers(0, 3),
    ),
    max_size=8,
)
grids = st.builds(
    lambda grain, end: Partitions(grain, end=None if end is None else Partitions(grain).floor(at(end))),
    st.sampled_from(GRAINS),
    st.one_of(st.none(), st.integers(HOURS // 2, HOURS)),
)
spans = st.tuples(st.integers(-900, HOURS), st.integers(1, 900), st.booleans()).map(
    lambda drawn: Window(at(drawn[0]), at(drawn[0] + drawn[1]) + timedelta(microseconds=drawn[2]))
)


@settings(max_examples=50, deadline=None)
@given(rows=rows_of_files, grid=grids, span=spans)
def test_a_grids_windows_with_rows_are_those_that_have_some(store, rows, grid, span):
    wanted = history(put(store, "plain", rows))
    assert store.survey_grid(wanted, grid, span) == dense(store, wanted, grid, span)


@settings(max_examples=50, deadline=None)
@given(
    rows=rows_of_files,
    more=rows_of_files,
    grid=grids,
    span=spans,
    lookback=st.sampled_from([0, 1, 24, 25, 24 * 35]),
    untimed=st.booleans(),
)
def test_of_a_transformation_the_lookback_counts_in_every_window(store, rows, more, grid, span, lookback, untimed):
    one, other = put(store, "one", rows), put(store, "other", more)
    if untimed:
        other = FileSource(name="other", path="other")
    wanted = history(one, other, lookback=timedelta(hours=lookback))
    assert store.survey_grid(wanted, grid, span) == dense(store, wanted, grid, span)


@settings(max_examples=25, deadline=None)
@given(rows=rows_of_files, grid=grids, span=spans)
def test_a_store_that_only_has_statistics_finds_the_same(store, rows, grid, span):
    wanted = history(put(store, "given", rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feast_assets.offline_stores.occupied._FEW", 20)
        found = OfflineStore.survey_grid(store, wanted, grid, span)
    assert found.windows == dense(store, wanted, grid, span).windows


@settings(max_examples=40, deadline=None)
@given(rows=rows_of_files, grid=grids, span=spans, csv=st.booleans())
def test_versions_of_the_windows_with_rows_are_those_of_every_window(store, rows, grid, span, csv):
    source = put(store, "versioned", rows)
    if csv:
        table = pq.read_table(Path(store._root) / "versioned")
        pc.write_csv(table, Path(store._root) / "versioned.csv")
        source = FileSource(name="versioned", path="versioned.csv", timestamp_field="ts")
    windows = list(grid.windows_cut_to(span))
    every = dict(zip(windows, window_change_tokens(store, source, windows), strict=True))
    last = windows[-1].end if windows else span.start
    found = grid_change_tokens(store, source, grid, Window(span.start, max(span.start, last)))
    assert found == {window: version for window, version in every.items() if version}


@pytest.mark.parametrize("grain", GRAINS)
def test_the_first_and_the_last_moment_of_all_lie_in_windows(store, grain):
    folder = Path(store._root) / f"ends_{grain}"
    folder.mkdir()
    times = [ALWAYS.start, datetime(1, 1, 9, tzinfo=UTC), at(0), datetime(9999, 12, 31, 23, 59, tzinfo=UTC), ALWAYS.end]
    table = pa.table([pa.array([1] * 5), pa.array(times, TIME), pa.array(range(5))], schema=SCHEMA)
    pq.write_table(table, folder / "0.parquet")
    wanted = history(FileSource(name="ends", path=folder.name, timestamp_field="ts"))
    found = store.survey_grid(wanted, Partitions(grain), ALWAYS).windows
    assert sum(s.rows for s in found) == 5
    assert found[0].window.start == ALWAYS.start
    assert found[-1].window.end == ALWAYS.end
    for s in found[1:-1]:
        assert (Partitions(grain).floor(s.window.start), Partitions(grain).next(s.window.start)) == (
            s.window.start,
            s.window.end,
        )
    assert OfflineStore.survey_grid(store, wanted, Partitions("monthly"), ALWAYS).windows == (
        store.survey_grid(wanted, Partitions("monthly"), ALWAYS).windows
    )


def test_where_a_source_without_times_is_in_every_window_very_many_count_as_one(store, monkeypatch):
    monkeypatch.setattr(window_numbers, "_MANY_WINDOWS", 50)
    timed = put(store, "timed", [(1, 100, 1), (1, 130, 2)])
    put(store, "names", [(1, 1, 1)])
    wanted = history(timed, FileSource(name="names", path="names"), lookback=timedelta(hours=2))
    found = store.survey_grid(wanted, Partitions("hourly"), Window(at(0), at(5000))).windows
    assert [s.window for s in found] == [
        Window(at(0), at(100)),
        *(Window(at(hour), at(hour + 1)) for hour in range(100, 133)),
        Window(at(133), at(5000)),
    ]
    assert all(s.rows for s in found)
    assert found == store.survey(wanted, [s.window for s in found]).windows
    none = history(put(store, "empty", []), FileSource(name="names", path="names"), lookback=timedelta(hours=2))
    assert [s.window for s in store.survey_grid(none, Partitions("hourly"), Window(at(0), at(5000))).windows] == [
        Window(at(0), at(5000))
    ]
