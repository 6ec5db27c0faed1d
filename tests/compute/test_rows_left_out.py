"""Rows without a join key or an event time are in no result; how many there are is counted and told."""

from __future__ import annotations

import warnings
from datetime import timedelta

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import DRIVER, SCHEMA, START, SmallProject, hours, row

from feast_assets import BatchFeatureView, Field, FileSource, Int64, Partitions
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.base import history_of
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

DAYS = 6
END = hours(24 * DAYS)


def day(number: int) -> Window:
    return Window(hours(24 * number), hours(24 * number + 24))


def keyless(hour: float) -> dict:
    return row(0, hour, 1) | {"driver_id": None}


def timeless(driver: int | None = 0) -> dict:
    return row(0, 0, 1) | {"driver_id": driver, "ts": None}


def silently(call, *arguments, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call(*arguments, **more)


ROWS = st.lists(
    st.tuples(st.sampled_from([0, 1, None]), st.one_of(st.none(), st.integers(-30, 24 * DAYS + 30))), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    grid=st.sampled_from([None, Partitions("daily", START), Partitions("hourly", START)]),
    how=st.sampled_from(["all", "some", "incremental"]),
    csv=st.booleans(),
)
def test_counts_are_those_of_the_rows(tmp_path_factory, rows, grid, how, csv):
    project = SmallProject(tmp_path_factory.mktemp("left_out"))
    given_rows = [row(0, hour or 0, 1) | {"driver_id": key} for key, hour in rows]
    given_rows = [r if hour is not None else r | {"ts": None} for r, (_, hour) in zip(given_rows, rows, strict=True)]
    project.write(given_rows)
    source = FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts")
    if csv:
        pcsv.write_csv(pq.read_table(project.path), project.root / "stats.csv")
        source = FileSource(name="stats_csv", path="stats.csv", timestamp_field="ts")
    silently(project.apply, partitions=grid, source=source)
    if grid is None:
        result = silently(project.store.materialize_windows, "stats", None)
        seen = ALWAYS
    elif how == "some":
        result = silently(project.store.materialize_windows, "stats", [day(1), day(3)])
        seen = None
    else:
        verb = (END,) if how == "incremental" else (START, END)
        call = project.store.materialize_incremental if how == "incremental" else project.store.materialize
        (result,) = silently(call, *verb)
        seen = Window(START, END + timedelta(microseconds=1))
    windows = [day(1), day(3)] if seen is None else [seen]

    def within(window, key_is_null):
        return sum(
            hour is not None and window.start <= hours(hour) < window.end and (key is None) == key_is_null
            for key, hour in rows
        )

    assert result.null_times == sum(hour is None for _, hour in rows)
    assert result.null_keys == sum(within(window, True) for window in windows)
    assert result.rows == sum(within(window, False) for window in windows)
    for window in result.windows:
        assert (window.rows, window.null_keys) == (within(window.window, False), within(window.window, True))
    project.close()


@pytest.fixture
def project(tmp_path):
    made = SmallProject(tmp_path)
    made.write([row(0, 1, 1), keyless(2), keyless(3), keyless(30), timeless(), timeless(None)])
    made.apply()
    yield made
    made.close()


def test_a_warning_tells_of_them_at_every_run_also_where_nothing_is_to_be_done(project):
    told = "'stats': left out 3 rows without a join key and 2 rows without an event time; such rows are in no result"
    for _ in range(2):
        with pytest.warns(UserWarning, match=told):
            (result,) = project.store.materialize_incremental(END)
    assert (result.windows, result.null_keys, result.null_times) == ((), 3, 2)
    with pytest.warns(UserWarning, match="left out 1 row without a join key and 2 rows without an event time"):
        project.store.materialize_windows("stats", [day(1)])


def test_without_such_rows_nothing_is_told(project):
    project.write([row(0, 1, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = project.store.materialize_incremental(END)
    assert (result.left_out, result.null_keys, result.null_times) == ("", 0, 0)


def test_they_are_counted_in_the_pass_that_the_statistics_take(project, monkeypatch):
    from feast_assets.offline_stores.duckdb import row_parts

    passes = []
    read = row_parts.read_all
    monkeypatch.setattr(row_parts, "read_all", lambda *given: passes.append(given) or read(*given))
    silently(project.store.materialize_incremental, END)
    assert len(passes) == 1


def test_they_change_no_fingerprint_and_make_nothing_stale(project):
    silently(project.store.materialize_incremental, END)
    before = project.store.registry.ledger("stats")
    project.write([row(0, 1, 1), timeless()])
    silently(project.store.materialize_incremental, END)
    assert project.store.stale_windows("stats", END) == []
    assert project.store.registry.ledger("stats") == before


def test_fingerprints_are_what_they_were_before_such_rows_were_counted(tmp_path):
    """Else every window would be run again after an upgrade; the text is one that the version before made."""
    store = DuckDBOfflineStore(DuckDBOfflineStore.config_class(), tmp_path)
    rows = [row(1, 1, 5, "a"), row(2, 2, None, None), row(3, 25, 7, "b")]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "stats.parquet")
    view = SmallProject(tmp_path).view()
    view.entity_columns = [Field(name="driver_id", dtype=Int64)]
    found = store.survey_grid(history_of(view), Partitions("daily"), Window(START, END)).windows
    assert [s.fingerprint for s in found] == ["3d313a8e5a366e01b6679d327f084abd", "3932b8df587b01dc296ff1a4bd70ebb2"]


def test_of_a_transformation_rows_of_its_inputs_without_a_time_are_counted(project):
    def same(stats):
        return f"SELECT driver_id, ts, trips FROM {stats}"

    view = BatchFeatureView(
        name="computed",
        mode="sql",
        source=project.view().batch_source,
        entities=[DRIVER],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        udf=same,
        partitions=Partitions("daily", START),
        online=True,
    )
    project.store.apply([DRIVER, view])
    (result,) = silently(project.store.materialize_incremental, END, ["computed"])
    assert (result.null_times, result.null_keys) == (2, 0)


def test_what_lies_in_other_folders_than_are_read_is_not_looked_for(tmp_path):
    made = SmallProject(tmp_path)
    for number in range(3):
        folder = tmp_path / "days" / f"day=2024-01-0{number + 1}"
        folder.mkdir(parents=True)
        rows = [row(number, 24 * number + 1, 1), timeless(number)]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "0.parquet")
    source = FileSource(name="days", path="days", timestamp_field="ts", date_partition_column="day")
    silently(made.apply, source=source)
    (result,) = silently(made.store.materialize_incremental, END)
    assert result.null_times == 3
    assert silently(made.store.materialize_windows, "stats", [day(1)]).null_times in (1, 2, 3)
    made.close()
