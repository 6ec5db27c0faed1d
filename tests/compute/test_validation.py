"""Windows that break what fields declare are left as they are; the others are run."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_project import DRIVER, START, hours, row

from feast_assets import BatchFeatureView, Checks, Field, FileSource, Int64, Partitions, String
from feast_assets.apply.diff import property_diffs
from feast_assets.compute.schema_problems import schema_problems
from feast_assets.definitions.window import Window
from feast_assets.errors import BrokenChecksError, MaterializationError
from feast_assets.testing.online_store import remove_rows

DAYS = [Window(hours(24 * day), hours(24 * day + 24)) for day in range(4)]


def schema(**checks) -> list[Field]:
    return [
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64, checks=Checks(**checks)),
        Field(name="city", dtype=String),
    ]


def rows(**changed: int | None) -> list[dict]:
    """One row a day and driver; ``d1=7`` makes the trips of driver 2 on day 1 seven."""
    return [
        row(driver, 24 * day + 1, changed.get(f"d{day}", day) if driver == 2 else day)
        for day in range(4)
        for driver in range(3)
    ]


def test_bad_windows_are_left_alone_and_found_again(project):
    project.write(rows(d1=-1, d3=-5))
    project.apply(schema=schema(minimum=0))
    with pytest.raises(BrokenChecksError, match=r"2 windows break.*trips minimum=0: 1 of 3 rows") as caught:
        project.store.materialize_incremental(hours(95))
    assert [w.window for w in caught.value.result.windows] == [DAYS[0], DAYS[2]]
    assert [(b.feature, b.rule, b.rows, b.of) for b in caught.value.broken] == [("trips", "minimum", 1, 3)] * 2
    assert {b.window.start for b in caught.value.broken} == {DAYS[1].start, DAYS[3].start}
    assert project.trips(range(3)) == [2, 2, 2]
    assert [e.window for e in project.store.registry.ledger("stats")] == [DAYS[0], DAYS[2]]
    with pytest.raises(BrokenChecksError):
        project.store.materialize_incremental(hours(95))
    project.write(rows(d1=1, d3=-5))
    with pytest.raises(BrokenChecksError, match="1 window breaks"):
        project.store.materialize_incremental(hours(95))
    project.write(rows())
    project.store.materialize_incremental(hours(95))
    assert project.trips(range(3)) == [3, 3, 3]


def test_who_asks_decides(project):
    project.write(rows(d3=-5))
    project.apply(schema=schema(minimum=0), enable_validation=False)
    result = project.store.materialize_windows("stats", DAYS)
    assert project.trips(range(3)) == [3, 3, -5]
    assert all(w.profile is None for w in result.windows)
    with pytest.raises(BrokenChecksError):
        project.store.materialize_windows("stats", DAYS, validate=True)
    project.apply(schema=schema(minimum=0))
    assert len(project.store.materialize_windows("stats", DAYS, validate=False).windows) == 4


def test_warnings_are_told_and_do_not_refuse(project):
    project.write(rows(d3=None))
    project.apply(schema=schema(nullable=False, severity="warn"))
    result = project.store.materialize_windows("stats", DAYS, profile=True)
    assert [w.profile.columns["trips"].nulls for w in result.windows if w.profile] == [0, 0, 0, 1]
    assert project.trips(range(3)) == [3, 3, None]


@pytest.mark.parametrize(("share", "refused"), [(0.3, True), (1 / 3, False), (0.4, False)])
def test_a_share_of_nulls_may_be_reached_and_not_passed(project, share, refused):
    project.write(rows(d3=None))
    project.apply(schema=schema(max_null_share=share))
    if refused:
        with pytest.raises(BrokenChecksError, match=r"max_null_share=0\.3: 1 of 3 rows"):
            project.store.materialize_windows("stats", DAYS)
    else:
        assert len(project.store.materialize_windows("stats", DAYS).windows) == 4


def test_other_views_are_run_when_one_is_refused(project):
    project.write(rows(d3=-5))
    other = project.view(name="other")
    project.store.apply([DRIVER, project.view(schema=schema(minimum=0)), other])
    with pytest.raises(BrokenChecksError):
        project.store.materialize_incremental(hours(95))
    assert project.store.registry.ledger("other")
    project.store.apply([project.view(name="third", schema=schema(maximum=0))])
    with pytest.raises(MaterializationError) as caught:
        project.store.materialize_incremental(hours(95))
    assert set(caught.value.failed) == {"stats", "third"}


@pytest.mark.parametrize("offline", [True, False])
def test_computed_rows_are_validated_before_they_are_kept(project, offline):
    project.write(rows(d3=-5))

    def same(table):
        return table

    sink = FileSource(name="kept", path="kept", timestamp_field="ts")
    view = BatchFeatureView(
        name="stats",
        mode="pandas",
        udf=same,
        source=project.view().batch_source,
        entities=[DRIVER],
        schema=schema(minimum=0),
        partitions=Partitions("daily", START),
        online=True,
        **({"offline": True, "sink_source": sink} if offline else {}),
    )
    project.store.apply([DRIVER, view])
    with pytest.raises(BrokenChecksError):
        project.store.materialize_windows("stats", DAYS)
    assert project.trips(range(3)) == [2, 2, 2]
    if offline:
        assert min(pq.read_table(project.root / "kept")["trips"].to_pylist()) == 0
        result = project.store.materialize_windows("stats", DAYS[:2], validate=False, profile=True)
        assert [w.profile.rows for w in result.windows if w.profile] == [3, 3]


def test_a_view_without_partitions_is_refused_whole(project):
    project.write(rows())
    project.apply(schema=schema(minimum=0), partitions=None)
    project.store.materialize_windows("stats", None)
    project.write(rows(d3=-5))
    with pytest.raises(BrokenChecksError):
        project.store.materialize_windows("stats", None)
    assert project.trips(range(3)) == [3, 3, 3]


def test_plans_show_checks_and_nothing_becomes_stale(project):
    project.write(rows())
    project.apply(schema=schema(minimum=0))
    project.store.materialize_incremental(hours(95))
    before = project.store.get_feature_view("stats")
    project.apply(schema=schema(minimum=1, allowed=[1, 2], nullable=False))
    after = project.store.get_feature_view("stats")
    assert {d.property: (d.old, d.new) for d in property_diffs(before, after)} == {
        "features.trips.checks.allowed": ("", "[1, 2]"),
        "features.trips.checks.minimum": ("0", "1"),
        "features.trips.checks.nullable": ("", "False"),
    }
    assert project.store.stale_windows("stats", hours(95)) == []


def test_schemas_are_compared_by_what_fits(project):
    project.write(rows())
    view = project.view()
    assert schema_problems(view, pq.read_schema(project.path)) == []
    other = pa.schema([("driver_id", pa.int8()), ("trips", pa.string()), ("more", pa.int64())])
    problems = schema_problems(view, other)
    assert {(p.column, p.declared, p.actual) for p in problems} == {
        ("ts", "timestamp_field", "missing"),
        ("trips", "Int64", "string"),
        ("city", "String", "missing"),
    }


def test_rows_that_are_refused_do_not_take_the_place_of_a_lost_row(project):
    project.write([row(1, 1, 10), row(1, 25, 11)])
    project.apply(schema=schema(minimum=0))
    project.store.materialize_incremental(hours(95))
    project.write([row(1, 1, 10), row(2, 2, 20), row(1, 25, -5)])
    _lose_all(project)
    with pytest.raises(BrokenChecksError):
        project.store.materialize_incremental(hours(95))
    # Driver 1's newest row is refused, and an older one is not served either.
    assert project.trips(range(1, 3)) == [None, 20]
    project.write([row(1, 1, 10), row(2, 2, 20), row(1, 25, 5)])
    project.store.materialize_incremental(hours(95))
    assert project.trips(range(1, 3)) == [5, 20]


def test_rows_that_are_refused_do_not_take_the_place_of_a_withdrawn_row(project):
    project.write([row(1, 1, 10), row(2, 2, 20), row(2, 25, 21)])
    project.apply(schema=schema(minimum=0))
    project.store.materialize_incremental(hours(95))
    project.write([row(2, 2, 20), row(2, 25, 21), row(1, 26, -5)])
    with pytest.raises(BrokenChecksError):
        project.store.materialize_incremental(hours(95))
    assert project.trips(range(1, 3)) == [None, 21]
    # Who does not validate gets what history holds.
    project.store.materialize_windows("stats", DAYS[:2], validate=False)
    assert project.trips(range(1, 3)) == [-5, 21]


def test_rows_of_a_changed_window_that_fits_take_the_place_of_a_lost_row(project):
    project.write([row(1, 1, 10), row(1, 25, 11)])
    project.apply(schema=schema(minimum=0))
    project.store.materialize_incremental(hours(95))
    project.write([row(1, 1, 10), row(1, 25, 12)])
    _lose_all(project)
    project.store.materialize(hours(0), hours(23))
    assert project.trips([1]) == [12]
    assert [w.window for w in project.store.stale_windows("stats", hours(95))] == DAYS[:2]


def _lose_all(project) -> None:
    """Removes all online rows behind everybody's back."""
    online, table = project.store.online_store, project.store.get_feature_view("stats").online_table("small")
    remove_rows(online, table, online.sample_keys(table, 1000, 0))
