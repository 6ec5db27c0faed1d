"""Where the online store has lost a row, no older one takes its place: served is what history says, or nothing."""

from __future__ import annotations

import random
import tempfile
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import START, SmallProject, hours, row

from feast_assets.compute.absent_rows import AbsentRows
from feast_assets.definitions.window import Window
from feast_assets.errors import ForeignValueWarning
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.testing.online_store import remove_rows

DAY = timedelta(days=1)
DRIVERS = range(6)


def end_of(days: int) -> Any:
    return START + days * DAY - timedelta(microseconds=1)


def window(day: int) -> Window:
    return Window(START + day * DAY, START + (day + 1) * DAY)


def newest(rows: list[dict[str, Any]], days: set[int] | None = None) -> list[int | None]:
    """The newest trips per driver, of some days or all; rows have distinct times."""
    found: dict[int, int] = {}
    for each in sorted(rows, key=lambda r: r["ts"]):
        if days is None or (each["ts"] - START) // DAY in days:
            found[each["driver_id"]] = each["trips"]
    return [found.get(driver) for driver in DRIVERS]


def lose(project: SmallProject, *drivers: int) -> None:
    """Removes rows of drivers behind everybody's back."""
    online, table = project.store.online_store, project.store.get_feature_view("stats").online_table("small")
    keys = {}
    for key in online.sample_keys(table, 1000, 0):
        keys[int.from_bytes(key[-8:], "big", signed=True)] = key
    remove_rows(online, table, [keys[driver] for driver in drivers if driver in keys])


ROWS = [row(1, 1, 10), row(2, 2, 20), row(1, 30, 11), row(3, 31, 30), row(1, 80, 12), row(4, 81, 40)]


@pytest.fixture
def filled(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(end_of(4))
    assert project.trips() == newest(ROWS)
    return project


@pytest.fixture
def calls(monkeypatch):
    """How often history is searched for entities, and how many rows are put at each time."""
    told: dict[str, Any] = {"searched": [], "put": []}
    latest = DuckDBOfflineStore.latest

    def counted_latest(self, history, windows, keys=None):
        if keys is None:
            return latest(self, history, windows)
        told["searched"].append((len(windows), sorted(keys.column(0).to_pylist())))
        return latest(self, history, windows, keys)

    def counted(put):
        def counted_put(self, table, batches):
            result = put(self, table, batches)
            told["put"].append((result.written, len(result.absent)))
            return result

        return counted_put

    monkeypatch.setattr(DuckDBOfflineStore, "latest", counted_latest)
    for verb in ("put_many", "put_existing"):
        monkeypatch.setattr(SqliteOnlineStore, verb, counted(getattr(SqliteOnlineStore, verb)))
    return told


def test_an_older_window_is_run_after_the_newest_row_was_lost(filled):
    lose(filled, 1, 3, 4)
    assert filled.trips() == [None, None, 20, None, None, None]
    filled.store.materialize(START, end_of(1))
    # Of those that have no row in the window nothing is put.
    assert filled.trips() == [None, 12, 20, None, None, None]


def test_late_rows_of_an_older_window_bring_back_the_newest_row(filled):
    lose(filled, 1, 3)
    rows = [*ROWS, row(5, 3, 50), row(3, 4, 33)]
    filled.write(rows)
    filled.store.materialize_incremental(end_of(4))
    assert filled.trips() == newest(rows)


def test_the_newest_row_may_be_of_the_window_that_is_run(filled):
    lose(filled, 2)
    filled.store.materialize(START, end_of(1))
    assert filled.trips() == newest(ROWS)


def test_a_range_in_the_middle_of_what_is_held(filled):
    for start, end in ((hours(25), hours(40)), (hours(0), hours(30.5)), (hours(30), hours(30))):
        lose(filled, *DRIVERS)
        filled.store.materialize(start, end)
        inside = {r["driver_id"] for r in ROWS if start <= r["ts"] <= end}
        assert filled.trips() == [v if d in inside else None for d, v in enumerate(newest(ROWS))]
    lose(filled, *DRIVERS)
    filled.store.materialize_incremental(end_of(4))
    # What was run in part was unsettled, so it is run again.
    assert filled.trips()[1] == 12


def test_several_windows_in_several_passes(filled):
    lose(filled, *DRIVERS)
    filled.store.materialize_windows("stats", [window(0), window(3)])
    assert filled.trips() == [None, 12, 20, None, 40, None]
    lose(filled, *DRIVERS)
    filled.store.materialize_windows("stats", [window(0), window(1)])
    assert filled.trips() == [None, 12, 20, 30, None, None]


def test_a_later_window_whose_run_was_killed_counts_as_held(filled):
    """Its rows may have been in the store before they were lost."""
    from feast_assets.registry.base import WindowContent

    filled.store.registry.claim("stats", [WindowContent(window(3), "another", "hash")])
    lose(filled, 1)
    filled.store.materialize(START, end_of(1))
    assert filled.trips()[1] == 12


def test_what_is_served_is_never_newer_than_what_is_materialized(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_windows("stats", [window(0), window(1)])
    lose(project, 1)
    project.store.materialize_windows("stats", [window(0)])
    assert project.trips() == newest(ROWS, {0, 1})


def test_a_view_without_partitions_is_read_whole(project):
    project.write(ROWS)
    project.apply(partitions=None)
    project.store.materialize_incremental(end_of(4))
    lose(project, 1)
    project.store.materialize(START, end_of(1))
    assert project.trips() == newest(ROWS)


def test_a_kept_result_is_where_later_rows_come_from(project):
    from small_project import DRIVER

    project.write(ROWS)
    view = project.keeping_view(name="stats")
    project.store.apply([DRIVER, view])
    project.store.materialize_incremental(end_of(4))
    lose(project, 1)
    project.store.materialize_windows("stats", [window(0)])
    assert project.trips() == newest(ROWS)


def test_a_later_window_whose_source_has_changed_is_run_again(filled):
    """The row that is brought back is of its present content, which the ledger does not know."""
    rows = [{**r, "trips": 99} if r["trips"] == 12 else r for r in ROWS]
    filled.write(rows)
    lose(filled, 1)
    filled.store.materialize_windows("stats", [window(0)])
    assert filled.trips()[1] == 99
    assert [e.settled for e in filled.store.registry.ledger("stats")] == [True, True, True, False]
    filled.write(ROWS)
    filled.store.materialize_incremental(end_of(4))
    assert filled.trips() == newest(ROWS)


def test_another_run_claims_a_later_window_while_rows_are_brought_back(filled, monkeypatch):
    """Its rows of the earlier version are put after that run has looked for them; they do not stay."""
    lose(filled, 1)
    gone = [r for r in ROWS if r["trips"] != 12]
    real, done = AbsentRows.put, []

    def put(self, keys, own, claim):
        newest = self.ledger_rows.newest

        def overtaken(*args):
            found = list(newest(*args))
            if not done:
                done.append(True)
                filled.write(gone)
                SmallProjectRun(filled).materialize()
            yield from found

        self.ledger_rows.newest = overtaken
        return real(self, keys, own, claim)

    monkeypatch.setattr(AbsentRows, "put", put)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled.store.materialize_windows("stats", [window(0)])
        assert done and filled.trips()[1] == 11
        filled.store.materialize_incremental(end_of(4))
    assert filled.trips() == newest(gone)


class SmallProjectRun:
    """Another process that materializes the same project."""

    def __init__(self, project: SmallProject):
        self.root = project.root

    def materialize(self) -> None:
        other = SmallProject(self.root)
        other.store.materialize_windows("stats", [window(3)])
        other.close()


# --- what it costs


def test_nothing_is_searched_where_windows_ascend(project, calls):
    for days in (1, 2, 4):
        project.write([r for r in ROWS if r["ts"] < START + days * DAY])
        if days == 1:
            project.apply()
        project.store.materialize_incremental(end_of(days))
    # The newest window again, though its rows are lost.
    lose(project, *DRIVERS)
    project.store.materialize(START + 3 * DAY, end_of(4))
    assert calls["searched"] == []
    assert {absent for _, absent in calls["put"]} == {0}


def test_nothing_is_searched_where_late_rows_meet_no_lost_row(filled, calls):
    rows = [*ROWS, row(2, 5, 22), row(1, 6, 13)]
    filled.write(rows)
    filled.store.materialize_incremental(end_of(4))
    assert filled.trips() == newest(rows)
    assert calls == {"searched": [], "put": [(1, 0)]}


def test_windows_out_of_order_are_one_search_whatever_their_number(project, calls):
    rows = [row(day % 5, 24 * day + 1, day) for day in range(60)]
    project.write(rows)
    project.apply()
    project.store.materialize_windows("stats", [window(59)])
    assert calls["searched"] == []
    project.store.materialize_windows("stats", [window(day) for day in range(59)])
    assert calls["searched"] == [(1, [0, 1, 2, 3])], "neighbouring windows are searched as one"
    assert project.trips() == newest(rows)


def test_a_reader_never_sees_an_older_value_meanwhile(filled, monkeypatch):
    lose(filled, 1)
    seen = []

    def watched(put):
        def watched_put(self, table, batches):
            result = put(self, table, batches)
            seen.append(filled.trips([1])[0])
            return result

        return watched_put

    for verb in ("put_many", "put_existing"):
        monkeypatch.setattr(SqliteOnlineStore, verb, watched(getattr(SqliteOnlineStore, verb)))
    filled.store.materialize(START, end_of(1))
    assert seen == [None, 12]


def test_results_count_each_row_once(filled):
    lose(filled, 1, 2)
    (result,) = filled.store.materialize(START, end_of(1))
    # Driver 2's row is of the window; driver 1's is of a later one, so that its own row is ignored.
    assert (result.written, result.ignored) == (2, 1)
    lose(filled, 1, 2)
    result = filled.store.materialize_windows("stats", [window(0)], profile=True)
    assert [w.written for w in result.windows] == [1]


# --- random histories, losses and runs


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("lose"), st.sets(st.sampled_from(DRIVERS), min_size=1)),
        st.tuples(st.just("run"), st.sets(st.integers(0, 4), min_size=1, max_size=3)),
        st.tuples(st.just("range"), st.tuples(st.integers(0, 119), st.integers(0, 119))),
        st.tuples(st.just("incremental"), st.integers(1, 5)),
        st.tuples(st.just("late"), st.tuples(st.sampled_from(DRIVERS), st.integers(0, 119))),
        st.tuples(st.just("correct"), st.integers(0, 1000)),
        st.tuples(st.just("delete"), st.integers(0, 1000)),
    ),
    min_size=3,
    max_size=9,
)


def check_random_losses(project: SmallProject, seed: int, steps: list[tuple[str, Any]], take_away: Any) -> None:
    """Checks after each run that each entity is served what history says of the windows that are held, or nothing.

    Nothing may be served only of an entity whose row was taken away before.
    """
    chosen = random.Random(seed)
    hours_used = chosen.sample(range(120), 14)
    rows = [row(chosen.choice(DRIVERS), hour, 100 + i) for i, hour in enumerate(hours_used)]
    project.write(rows)
    project.apply()
    project.store.materialize_windows(
        "stats", [window(day) for day in range(5) if chosen.random() < 0.6] or [window(0)]
    )
    lost: set[int] = set()
    changed: set[int] = set()  # days whose source has changed since they were run

    def check(known: list[int | None]) -> None:
        for driver, (served, said) in enumerate(zip(project.trips(), known, strict=True)):
            assert served == said or (served is None and driver in lost), (driver, served, said)

    for trips, (step, subject) in enumerate(steps, start=1000):
        if step == "lose":
            take_away(subject)
            lost |= subject
        elif step == "late" and subject[1] not in hours_used:
            hours_used.append(subject[1])
            rows.append(row(subject[0], subject[1], trips))
            changed.add(subject[1] // 24)
        elif step in ("correct", "delete") and len(rows) > 3:
            at = subject % len(rows)
            changed.add((rows[at]["ts"] - START) // DAY)
            rows[at : at + 1] = [{**rows[at], "trips": trips}] if step == "correct" else []
        if step in ("late", "correct", "delete"):
            project.write(rows)
            continue
        if step == "run":
            project.store.materialize_windows("stats", [window(day) for day in subject])
            changed -= subject
        elif step == "range":
            project.store.materialize(hours(min(subject)), hours(max(subject)))
        elif step == "incremental":
            project.store.materialize_incremental(end_of(subject))
            changed -= set(range(subject))
        ledger = project.store.registry.ledger("stats")
        if not changed and all(e.settled for e in ledger):
            check(newest([r for r in rows if any(e.window.start <= r["ts"] < e.window.end for e in ledger)]))
    project.store.materialize_incremental(end_of(5))
    check(newest(rows))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), STEPS)
def test_random_losses_between_random_runs_never_show_an_older_value(seed, steps):
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        project = SmallProject(Path(name))
        check_random_losses(project, seed, steps, lambda drivers: lose(project, *drivers))
        project.close()


def plant(client: redis.Redis, key: bytes, chosen: random.Random) -> None:
    """Lets a row expire, or puts a value of random shape in its place."""
    kind = chosen.randrange(6)
    if kind == 0:
        client.pexpire(key, 1)
        time.sleep(0.005)
        return
    client.delete(key)
    if kind == 1:
        client.set(key, chosen.randbytes(chosen.randrange(28)))
    elif kind == 2:
        # Longer, but not of the codec: what follows the two timestamps is no version.
        client.set(key, chosen.randbytes(16) + b"\x01" + chosen.randbytes(chosen.randrange(11, 90)))
    elif kind == 3:
        client.rpush(key, chosen.randbytes(9))
    elif kind == 4:
        client.hset(key, chosen.randbytes(3), chosen.randbytes(9))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), STEPS)
def test_random_values_under_random_keys_and_rows_that_expire_block_nothing(redis_process, seed, steps):
    chosen = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as name,
        redis.Redis(*redis_process) as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        client.flushall()
        host, port = redis_process
        section = {"type": "redis", "connection_string": f"{host}:{port}"}
        if chosen.random() < 0.5:
            section["key_ttl_seconds"] = 1000
        project = SmallProject(Path(name), online_store=section)

        def take_away(drivers: set[int]) -> None:
            prefix = f"small.{project.store.get_feature_view('stats').online_table('small')}"
            for key in [k for k in client.keys("fa:*") if not k.startswith((b"fa:id:", b"fa:mark:"))] or [
                prefix.encode()
            ]:
                if int.from_bytes(key[-8:], "big") & 0xFF in drivers:
                    plant(client, key, chosen)

        check_random_losses(project, seed, steps, take_away)
        project.store.audit()
        project.store.teardown()
        project.close()


def test_a_foreign_value_is_named_by_reads_and_the_audit_and_the_next_run_overwrites_it(tmp_path, redis_server):
    with redis.Redis(*redis_server) as client:
        client.flushall()
        host, port = redis_server
        project = SmallProject(tmp_path, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
        project.write(ROWS)
        project.apply()
        project.store.materialize_incremental(end_of(4))
        keys = {
            int.from_bytes(k[-8:], "big") & 0xFF: k
            for k in client.keys("fa:*")
            if not k.startswith((b"fa:id:", b"fa:mark:"))
        }
        client.set(keys[1], b"short")
        client.delete(keys[3])
        client.sadd(keys[3], "a set")
        client.set(keys[4], client.get(keys[4])[:-2])
        with pytest.warns(ForeignValueWarning) as warned:
            served = [project.trips() for _ in range(3)]
        assert served == [[None, None, 20, None, None, None]] * 3
        assert sorted("has 5 bytes" in str(w.message) for w in warned) == [False, True]
        assert project.store.get_online_features(["stats:trips"], {"driver_id": [1, 4]}).statuses() == {
            "driver_id": ["PRESENT"] * 2,
            "trips": ["NOT_FOUND"] * 2,
        }
        report = project.store.audit()
        assert {m.entity["driver_id"] for m in report.mismatches if m.cause == "damaged"} == {1, 3, 4}
        assert set(report.causes) == {"damaged"}
        # Older windows bring back the newest rows, in the place of what is there.
        project.store.materialize(START, end_of(2))
        assert project.trips() == [None, 12, 20, 30, None, None]
        # Of the row that was cut off, the times are still believed; run again, its window makes it whole.
        project.store.materialize(START, end_of(4))
        assert project.trips() == newest(ROWS)
        assert project.store.audit().mismatches == ()
        project.store.teardown()
        project.close()
