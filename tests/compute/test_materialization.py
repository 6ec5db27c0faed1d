"""Windows commute, the ledger finds what is missing or changed, and online equals offline."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import START, SmallProject, hours, row

from feast_assets import Entity, FeatureView, Field, Int64, Partitions, String
from feast_assets.definitions.window import Window
from feast_assets.errors import FeatureViewNotFoundException, InputError, SourceError

DAY = timedelta(days=1)
END = START + 4 * DAY


def days(*numbers: int) -> list[Window]:
    return [Window(START + n * DAY, START + (n + 1) * DAY) for n in numbers]


def latest(rows, drivers=range(6), until=END):
    """The newest trips per driver, worked out by hand."""
    found = {}
    for each in sorted((r for r in rows if r["ts"] <= until), key=lambda r: r["ts"]):
        found[each["driver_id"]] = each["trips"]
    return [found.get(d) for d in drivers]


ROWS = [
    row(1, 1, 10),
    row(1, 5, 11),
    row(2, 30, 20),
    row(1, 50, 12),
    row(3, 51, None),
    row(2, 73, 21),
]


def test_the_newest_row_of_each_entity_is_served(project):
    project.write(ROWS)
    project.apply()
    (result,) = project.store.materialize(START, END)
    assert project.trips() == latest(ROWS)
    assert result.rows == len(ROWS)
    assert result.entities == 3
    assert (result.written, result.ignored) == (3, 0)
    assert [w.window for w in result.windows] == days(0, 1, 2, 3)
    assert [w.rows for w in result.windows] == [2, 1, 2, 1]
    assert [w.entities for w in result.windows] == [0, 0, 2, 1]


def test_running_again_changes_nothing(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize(START, END)
    before = project.store.registry.ledger("stats")
    (again,) = project.store.materialize(START, END)
    assert (again.written, again.ignored) == (0, 3)
    assert [(e.window, e.version, e.fingerprint) for e in project.store.registry.ledger("stats")] == [
        (e.window, e.version, e.fingerprint) for e in before
    ]


def test_both_ends_of_materialize_are_inclusive(project):
    project.write([row(1, 1, 1), row(2, 2, 2), row(3, 3, 3), row(4, 4, 4)])
    project.apply()
    project.store.materialize(hours(2), hours(3))
    assert project.trips(range(1, 5)) == [None, 2, 3, None]


def test_incremental_does_each_window_once(project):
    project.write(ROWS)
    project.apply()
    (first,) = project.store.materialize_incremental(END)
    (second,) = project.store.materialize_incremental(END)
    assert len(first.windows) == 4
    assert second.windows == ()
    assert project.trips() == latest(ROWS)


def test_incremental_finds_late_rows_in_old_windows_only_where_they_are(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(END)
    late = [*ROWS, row(4, 3, 40)]
    project.write(late)
    (result,) = project.store.materialize_incremental(END)
    assert [w.window for w in result.windows] == days(0)
    assert project.trips() == latest(late)


@pytest.mark.parametrize("created", [False, True], ids=["no created column", "created column"])
def test_a_value_corrected_in_place_wins(tmp_path, created):
    """Also where neither time says so, and whichever of the two values is the larger."""
    for name, (old, new) in {"up": (1, 2), "down": (2, 1)}.items():
        root = tmp_path / name
        root.mkdir()
        project = SmallProject(root, created=created)
        more = {"created": hours(9)} if created else {}
        project.write([row(1, 1, old, **more)])
        project.apply()
        project.store.materialize_incremental(END)
        project.write([row(1, 1, new, **more)])
        project.store.materialize_incremental(END)
        assert project.trips([1]) == [new]
        project.close()


def test_a_gap_is_found_and_filled(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_windows("stats", days(0, 3))
    (result,) = project.store.materialize_incremental(END)
    assert [w.window for w in result.windows] == days(1, 2)
    assert project.trips() == latest(ROWS)


def test_an_apply_does_not_reset_the_ledger(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(END)
    project.apply(description="another", ttl=timedelta(days=900), tags={"a": "b"})
    (result,) = project.store.materialize_incremental(END)
    assert result.windows == ()


def test_a_changed_feature_list_makes_all_windows_stale(project):
    project.write(ROWS)
    project.apply(schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)])
    project.store.materialize_incremental(END)
    assert project.trips([1, 2]) == [12, 21]
    project.apply()
    assert project.online("trips", "city", drivers=[1]) == {"trips": [12], "city": [None]}, "old rows still read"
    (result,) = project.store.materialize_incremental(END)
    assert len(result.windows) == 4
    assert project.online("trips", "city", drivers=[1]) == {"trips": [12], "city": ["x"]}


def test_a_changed_source_column_is_materialized_under_equal_timestamps(tmp_path):
    project = SmallProject(tmp_path, created=True)
    project.write([row(1, 1, 10, "b", created=hours(2))])
    project.apply(schema=[Field(name="driver_id", dtype=Int64), Field(name="city", dtype=String)])
    project.store.materialize_incremental(END)
    project.apply(schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)])
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [10]
    project.close()


def test_a_future_end_does_not_poison_what_comes(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(datetime(2199, 1, 1, tzinfo=UTC))
    more = [*ROWS, row(1, 95, 99)]
    project.write(more)
    project.store.materialize_incremental(END)
    assert project.trips() == latest(more)


def test_a_future_end_is_as_cheap_as_the_present(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(datetime(9000, 1, 1, tzinfo=UTC))
    assert len(project.store.registry.ledger("stats")) < 10
    assert project.trips() == latest(ROWS)
    project.store.materialize(datetime(1, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC))
    assert len(project.store.registry.ledger("stats")) < 10


def test_rows_after_the_end_wait(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(hours(60))
    assert project.trips() == latest(ROWS, until=hours(60))
    project.store.materialize_incremental(END)
    assert project.trips() == latest(ROWS)


def test_an_earlier_end_finds_a_complete_window_done(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(END)
    (again,) = project.store.materialize_incremental(hours(60))
    assert again.windows == ()
    (result,) = project.store.materialize_incremental(hours(4))
    assert result.windows == ()


def test_repeated_ends_within_a_window_leave_one_entry(project):
    project.write(ROWS)
    project.apply()
    for hour in (2, 3, 6, 7):
        project.store.materialize_incremental(hours(hour))
    assert len(project.store.registry.ledger("stats")) == 1
    project.store.materialize_incremental(END)
    assert [e.window for e in project.store.registry.ledger("stats") if e.rows] == days(0, 1, 2, 3)


def test_the_ledger_says_what_is_materialized(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_windows("stats", days(0, 1, 3), run_id="run-7")
    assert project.store.materialization_intervals("stats") == [
        (START, START + 2 * DAY),
        (START + 3 * DAY, START + 4 * DAY),
    ]
    entries = project.store.registry.ledger("stats")
    assert [e.rows for e in entries] == [2, 1, 1]
    assert {e.run_id for e in entries} == {"run-7"}


def test_a_failing_window_records_nothing_and_is_filled_later(project):
    project.write(ROWS)
    project.apply()
    whole = project.path.read_bytes()
    project.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="stats"):
        project.store.materialize_incremental(END)
    assert project.store.registry.ledger("stats") == []
    assert project.trips() == [None] * 6
    project.path.write_bytes(whole)
    project.store.materialize_incremental(END)
    assert project.trips() == latest(ROWS)


def test_a_source_without_rows_is_no_error(project):
    project.write([])
    project.apply()
    (incremental,) = project.store.materialize_incremental(END)
    (explicit,) = project.store.materialize(START, END)
    assert incremental.windows == explicit.windows == ()
    assert project.store.materialization_intervals("stats") == [(START, END + timedelta(microseconds=1))]
    project.write(ROWS)
    project.store.materialize_incremental(END)
    assert project.trips() == latest(ROWS)


def test_the_first_window_is_fixed_by_the_first_apply(project):
    project.write(ROWS[2:])
    project.apply(partitions=Partitions("daily"))
    assert project.store.get_feature_view("stats").partitions.start == START + DAY
    project.write(ROWS)
    project.apply(partitions=Partitions("daily"))
    assert project.store.get_feature_view("stats").partitions.start == START + DAY


def test_a_grid_that_ends_takes_no_rows_beyond(project):
    project.write(ROWS)
    project.apply(partitions=Partitions("daily", START, START + 2 * DAY))
    project.store.materialize_incremental(END)
    assert project.trips() == latest(ROWS, until=hours(48))
    project.store.materialize(START, datetime(9000, 1, 1, tzinfo=UTC))
    assert project.trips() == latest(ROWS, until=hours(48))
    (nothing,) = project.store.materialize(hours(60), END)
    assert nothing.windows == ()


def test_a_view_without_partitions_is_materialized_whole(project):
    project.write(ROWS)
    project.apply(partitions=None)
    (first,) = project.store.materialize_incremental(hours(1))
    (second,) = project.store.materialize_incremental(hours(1))
    assert len(first.windows) == 1
    assert second.windows == ()
    assert project.trips() == latest(ROWS)
    changed = [*ROWS, row(5, 2, 50)]
    project.write(changed)
    project.store.materialize_incremental(hours(1))
    assert project.trips() == latest(changed)


def test_a_view_without_entities_has_one_row(project):
    project.write(ROWS)
    project.store.apply(
        FeatureView(
            name="overall",
            source=project.view().batch_source,
            schema=[Field(name="trips", dtype=Int64)],
            partitions=project.view().partitions,
        )
    )
    project.store.materialize_incremental(END)
    assert project.store.get_online_features(["overall:trips"], [{}, {}]).to_dict() == {"trips": [21, 21]}


def test_progress_is_told(project):
    project.write(ROWS)
    project.apply()
    told = []
    project.store.materialize(START, END, progress=lambda *each: told.append(each))
    assert told[0] == ("stats", 0, 4)
    assert told[-1] == ("stats", 4, 4)


def test_bad_calls_change_nothing(project):
    project.write(ROWS)
    project.apply()
    with pytest.raises(InputError, match="is after end_date"):
        project.store.materialize(END, START)
    with pytest.raises(FeatureViewNotFoundException, match="Did you mean 'stats'"):
        project.store.materialize(START, END, ["stat"])
    with pytest.raises(InputError, match="list of names"):
        project.store.materialize(START, END, "stats")
    project.apply(online=False)
    with pytest.raises(InputError, match="not online"):
        project.store.materialize(START, END, ["stats"])
    assert project.store.registry.ledger("stats") == []


def test_a_view_that_comes_back_does_not_serve_its_old_rows(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(END)
    project.store.apply([], objects_to_delete=[project.store.get_feature_view("stats")], partial=False)
    project.apply()
    assert project.trips() == [None] * 6
    project.store.materialize_incremental(END)
    assert project.trips() == latest(ROWS)


def test_other_join_keys_do_not_find_rows_of_the_old_ones(project):
    project.write([{**r, "trips": i} for i, r in enumerate(ROWS)])
    project.apply()
    project.store.materialize_incremental(END)
    trips = Entity(name="trip", join_keys=["trips"])
    project.store.apply(
        [
            trips,
            project.view(
                entities=[trips],
                schema=[Field(name="trips", dtype=Int64), Field(name="city", dtype=String)],
            ),
        ]
    )
    read = project.store.get_online_features(["stats:city"], {"trips": [1, 2]}).to_dict()
    assert read["city"] == [None, None]


moments = st.integers(min_value=0, max_value=4 * 24 * 4 - 1).map(lambda quarter: quarter / 4)
some_rows = st.lists(
    st.builds(
        lambda driver, hour, trips, made: row(driver, hour, trips, created=hours(made)),
        st.integers(0, 5),
        moments,
        st.one_of(st.none(), st.integers(0, 3)),
        st.integers(0, 2),
    ),
    max_size=25,
)


def offline_as_of(project, moment):
    spine = pa.table({"driver_id": list(range(6)), "event_timestamp": [moment] * 6})
    table = project.store.get_historical_features(spine, ["stats:trips", "stats:city"]).to_arrow()
    return {n: table.column(n).to_pylist() for n in ("trips", "city")}


@given(first=some_rows, second=some_rows, created=st.booleans(), seed=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_any_order_of_windows_ends_with_online_equal_to_offline(first, second, created, seed: random.Random):
    """Windows one by one, shuffled, some twice; then rows arrive; then windows again in another order."""
    with tempfile.TemporaryDirectory() as folder:
        project = SmallProject(Path(folder), created=created)
        keep = (lambda r: r) if created else (lambda r: {k: v for k, v in r.items() if k != "created"})
        project.write([keep(r) for r in first])
        project.apply()
        order = [*days(0, 1, 2, 3), *seed.sample(days(0, 1, 2, 3), 2)]
        seed.shuffle(order)
        for window in order:
            project.store.materialize_windows("stats", [window])
        just_before = END - timedelta(microseconds=1)
        assert project.online() == offline_as_of(project, just_before)

        project.write([keep(r) for r in [*first, *second]])
        if seed.random() < 0.5:
            project.store.materialize_incremental(END)
        else:
            order = days(0, 1, 2, 3)
            seed.shuffle(order)
            for window in order:
                project.store.materialize_windows("stats", [window])
        assert project.online() == offline_as_of(project, just_before)
        project.close()
