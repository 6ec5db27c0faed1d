"""A row dated long before all others: what it costs, what the ledger says of the time between, and what apply says."""

from __future__ import annotations

import time
import warnings
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_project import DRIVER, SCHEMA, START, SmallProject, hours, row

from feast_assets import BatchFeatureView, Field, FileSource, Int64, Partitions
from feast_assets.compute.early_rows import EarlyRows, early_rows
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.source_changes import grid_change_tokens
from feast_assets.registry.base import WindowContent

LONG_AGO = (datetime(1970, 1, 1, tzinfo=UTC) - START) / timedelta(hours=1)
MONTH = [row(driver, hour + 0.5, hour) for hour in range(24 * 30) for driver in range(3)]
END = hours(24 * 30)
HOURLY = Partitions("hourly", datetime(1970, 1, 1, tzinfo=UTC))


@pytest.fixture
def stray(project: SmallProject) -> SmallProject:
    """A month of rows on an hourly grid, and one of 1970; up to date."""
    project.write([row(5, LONG_AGO, 7), *MONTH])
    project.apply(partitions=HOURLY)
    project.store.materialize_incremental(END)
    return project


def test_what_has_nothing_to_do_costs_rows_and_not_the_time_between_them(stray):
    def incremental():
        began = time.process_time()
        assert stray.store.materialize_incremental(END)[0].windows == ()
        return time.process_time() - began

    assert min(incremental() for _ in range(4)) < 0.2
    assert stray.store.stale_windows("stats", END) == []


def test_the_ledger_holds_the_windows_with_rows_and_the_time_between_as_one(stray):
    ledger = stray.store.registry.ledger("stats")
    assert len(ledger) == 1 + 1 + 24 * 30 + 1
    first, between, *_, last = sorted(e.window for e in ledger)
    assert between == Window(first.end, START)
    assert last == Window(END, END + timedelta(microseconds=1))
    assert stray.store.materialization_intervals("stats") == [(HOURLY.start, END + timedelta(microseconds=1))]
    assert stray.trips([0, 1, 5]) == [719, 719, 7]


def test_rows_that_come_into_the_time_between_are_found_and_divide_it(stray):
    late = [row(5, LONG_AGO / 2, 8), row(4, -3, 9)]
    stray.write([row(5, LONG_AGO, 7), *late, *MONTH])
    expected = [HOURLY.floor(each["ts"]) for each in late]
    assert [(s.window.start, s.reason, s.behind) for s in stray.store.stale_windows("stats", END)] == [
        (start, "missing", True) for start in expected
    ]
    (result,) = stray.store.materialize_incremental(END)
    assert [w.window.start for w in result.windows] == expected
    assert stray.trips([4, 5]) == [9, 8]
    assert stray.store.materialization_intervals("stats") == [(HOURLY.start, END + timedelta(microseconds=1))]
    stray.write([row(5, LONG_AGO, 7), *MONTH])
    assert [s.reason for s in stray.store.stale_windows("stats", END)] == ["changed", "changed"]
    stray.store.materialize_incremental(END)
    assert stray.trips([4, 5]) == [None, 7]


def test_an_end_in_the_far_future_costs_nothing_and_hides_nothing(stray):
    far = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    began = time.process_time()
    stray.store.materialize_incremental(far)
    stray.store.materialize(datetime(1, 1, 1, tzinfo=UTC), far)
    assert time.process_time() - began < 3
    stray.write([row(5, LONG_AGO, 7), *MONTH, row(1, 24 * 365 * 200, 3), row(2, 24 * 365 * 7970, 4)])
    stray.store.materialize_incremental(far)
    assert stray.trips([0, 1, 2]) == [719, 3, 4]


def test_what_an_interrupted_run_of_another_grid_left_is_run_again_as_few_windows(stray):
    whole = Window(datetime(1980, 1, 1, tzinfo=UTC), datetime(1990, 1, 1, tzinfo=UTC))
    stray.store.registry.forget("stats")
    stray.store.registry.claim("stats", [WindowContent(whole, "f", "d")])
    stale = [s for s in stray.store.stale_windows("stats", END) if s.reason == "unsettled"]
    assert len(stale) == 3
    assert (stale[0].window.start, stale[-1].window.end) == (whole.start, whole.end)
    (result,) = stray.store.materialize_incremental(END)
    assert len(result.windows) == 3 + 1 + 24 * 30
    assert stray.store.stale_windows("stats", END) == []


def test_the_lookback_of_a_transformation_reaches_over_windows_without_rows(project):
    """Each row counts in the hours after it, and in no other."""

    def shifted(stats):
        return f"SELECT driver_id, ts + INTERVAL 3 HOUR AS ts, trips FROM {stats}"

    project.write([row(5, LONG_AGO, 7), row(1, 0.5, 1), row(1, 200.5, 2)])
    view = BatchFeatureView(
        name="stats",
        mode="sql",
        source=FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts"),
        entities=[DRIVER],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        udf=shifted,
        lookback=timedelta(hours=4),
        partitions=HOURLY,
        online=True,
    )
    project.store.apply([DRIVER, view])
    (result,) = project.store.materialize_incremental(END)
    # An hour that begins four hours after a row does not see it any more, but the one half an hour before does.
    assert [w.window.start for w in result.windows] == [
        hours(at + shift) for at, count in ((LONG_AGO, 5), (0, 5), (200, 5)) for shift in range(count)
    ]
    assert project.online("trips", drivers=[1, 5]) == {"trips": [2, 7]}
    assert project.store.materialize_incremental(END)[0].windows == ()


# --- what apply says


def warned(project: SmallProject, **changes) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        project.apply(**changes)
    return [str(w.message) for w in said]


@pytest.mark.parametrize("year", [1, 1900, 1970, 2022])
def test_apply_warns_of_one_row_that_fixes_the_start_and_says_what_to_declare(project, year):
    stray = datetime(year, 1, 1, tzinfo=UTC)
    project.write([{**row(5, 0, 7), "ts": stray}, *MONTH[3:]])
    (said,) = warned(project, partitions=Partitions("hourly"))
    assert f"1 row lies long before the other 2,157, at {stray.isoformat()}" in said
    assert 'declare the start: Partitions("hourly", start=datetime(2024, 1, 1, tzinfo=UTC)).' in said
    assert project.store.get_feature_view("stats").partitions.start == stray
    assert warned(project, partitions=Partitions("hourly")) == []  # the start is what it is, and stays
    assert warned(project, partitions=Partitions("hourly", START)) == []
    assert project.store.get_feature_view("stats").partitions.start == START


def test_apply_is_silent_where_rows_have_gaps_but_are_not_few(project):
    project.write([row(5, -24 * 800, 7), row(5, -24 * 799, 7), *MONTH[:5]])
    assert warned(project, partitions=Partitions("daily")) == []
    project.write([row(5, -24 * 300, 7), *MONTH])
    assert warned(project, partitions=Partitions("daily"), name="other") == []


def test_apply_warns_of_a_grid_that_begins_in_the_future(project):
    project.write([{**row(5, 0, 7), "ts": datetime(9999, 12, 31, tzinfo=UTC)}])
    (said,) = warned(project, partitions=Partitions("daily"))
    assert "its earliest event is at 9999-12-31T00:00:00+00:00, in the future" in said


def test_apply_reads_no_rows_where_footers_say_that_all_lie_close_together(project, monkeypatch):
    project.write(MONTH)
    monkeypatch.setattr(project.store.offline_store, "survey_grid", None)
    assert warned(project, partitions=Partitions("daily")) == []


def test_apply_looks_at_the_inputs_of_a_transformation_and_at_csv(project):
    def same(stats):
        return f"SELECT driver_id, ts, trips FROM {stats}"

    lines = ["driver_id,ts,trips", "1,1970-01-01T00:00:00Z,1", *(f"1,2024-01-0{d}T00:00:00Z,{d}" for d in range(1, 9))]
    (project.root / "stats.csv").write_text("\n".join(lines) + "\n")
    view = BatchFeatureView(
        name="computed",
        mode="sql",
        source=FileSource(name="csv", path="stats.csv", timestamp_field="ts"),
        entities=[DRIVER],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        udf=same,
        partitions=Partitions("weekly"),
    )
    with pytest.warns(UserWarning, match=r"1 row lies long before the other 8, .* start=datetime\(2023, 12, 31"):
        project.store.apply([DRIVER, view])


def test_few_rows_are_one_or_one_in_a_thousand():
    def month(year: int, rows: int) -> WindowStatistics:
        begin = datetime(year, 1, 1, tzinfo=UTC)
        return WindowStatistics(Window(begin, begin), rows, begin, begin, None, "f")

    assert early_rows([]) is early_rows([month(2024, 5)]) is None
    assert early_rows([month(1970, 1), month(2024, 1)]) is None
    assert early_rows([month(1970, 2), month(2024, 100)]) is None
    assert early_rows([month(1900, 1), month(1970, 2), month(2024, 5000)]) == EarlyRows(
        3, datetime(1900, 1, 1, tzinfo=UTC), 5000, datetime(2024, 1, 1, tzinfo=UTC)
    )


def test_a_stray_row_in_a_file_of_its_own_costs_no_more(project):
    folder = project.root / "parts"
    folder.mkdir()
    for name, rows in (("old", [row(5, LONG_AGO, 7)]), ("new", MONTH)):
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"{name}.parquet")
    source = FileSource(name="parts", path="parts", timestamp_field="ts")
    project.apply(source=source, partitions=HOURLY)
    began = time.process_time()
    versions = grid_change_tokens(project.store.offline_store, source, HOURLY, Window(HOURLY.start, END))
    assert time.process_time() - began < 1
    assert len(versions) == 1 + 24 * 30
