"""A store, or a registry, that is put back to an earlier state: just the windows since are run again.

`test_restored_histories` does so at random; here each situation stands by itself.
"""

from __future__ import annotations

import sqlite3
import threading
import warnings
from contextlib import closing
from datetime import timedelta

import pytest
from restorable import RedisServer, SqliteDatabase
from small_project import DRIVER, START, SmallProject, hours, row
from test_restored_histories import at

from feast_assets.compute import table_mark
from feast_assets.definitions.window import Window
from tests.registry.format_1 import turn_into_format_1

END = hours(24 * 6) - timedelta(microseconds=1)
RESTORED = "the online store was restored from before"


def day(number: int) -> Window:
    return Window(START + timedelta(days=number), START + timedelta(days=number + 1))


def ran(project: SmallProject) -> list[int]:
    """Runs incrementally; returns the days that were run."""
    return [w.window.start.toordinal() - START.toordinal() for w in incremental(project).windows]


def incremental(project: SmallProject):
    return project.store.materialize_incremental(END)[0]


def stale(project: SmallProject) -> dict[int, str]:
    found = project.store.stale_windows("stats", END)
    return {s.window.start.toordinal() - START.toordinal(): s.reason for s in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "redis"])
def world(request, tmp_path):
    """A project of which four days are materialized, and its online store."""
    if request.param == "redis":
        online = request.getfixturevalue("server")
        with online.client() as client:
            client.flushall()
            client.config_set("maxmemory", 0)
        project = SmallProject(tmp_path, online_store=online.settings)
    else:
        (tmp_path / "data").mkdir()
        online = SqliteDatabase(tmp_path / "data" / "online.db")
        project = SmallProject(tmp_path)
    project.write([row(d, 24 * d + 1, d) for d in range(4)])
    project.apply()
    assert ran(project) == [0, 1, 2, 3]
    yield project, online
    project.close()


def remove_mark(project: SmallProject, online) -> None:
    table = project.store.get_feature_view("stats").online_table("small")
    if isinstance(online, RedisServer):
        with online.client() as client:
            assert client.delete(f"fa:mark:{table}") == 1
    else:
        with closing(sqlite3.connect(online.path)) as connection:
            assert connection.execute("DELETE FROM feast_assets_marks").rowcount == 1
            connection.commit()


# --- the store is put back


def test_just_the_windows_since_are_run_again(world):
    project, online = world
    before = online.snapshot()
    project.write([row(0, 1, 100), row(1, 25, 1), row(3, 73, 3), row(4, 97, 4)])
    assert ran(project) == [0, 2, 4]
    assert project.trips() == [100, 1, None, 3, 4, None]
    token = project.store.change_tokens()["stats"]
    online.restore(before)
    assert project.trips() == [0, 1, 2, 3, None, None]
    assert project.store.change_tokens()["stats"] != token, "a watcher looks again"
    for _ in range(2):
        found = project.store.stale_windows("stats", END)
        assert [(s.window, s.reason) for s in found] == [(day(d), "restored") for d in (0, 2, 4)]
        assert all(s.because.startswith(RESTORED) for s in found)
    with pytest.warns(UserWarning, match=rf"'stats': {RESTORED} 20..-.*3 windows are run again"):
        assert ran(project) == [0, 2, 4]
    assert project.trips() == [100, 1, None, 3, 4, None], "what was withdrawn goes again"
    assert stale(project) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ran(project) == []


def test_what_was_unsettled_stays_explained_until_it_is_run(world):
    project, online = world
    before = online.snapshot()
    project.write([row(0, 1, 100), row(1, 25, 1), row(2, 49, 2), row(3, 73, 3)])
    assert ran(project) == [0]
    content = project.store.stale_windows("stats", END)
    online.restore(before)
    project.write([row(0, 1, 100), row(1, 25, 101), row(2, 49, 2), row(3, 73, 3)])
    with pytest.warns(UserWarning, match=RESTORED):
        project.store.materialize_windows("stats", [day(1)])  # another day, by hand
    assert content == []
    (found,) = project.store.stale_windows("stats", END)
    assert (found.window, found.reason) == (day(0), "restored")
    assert found.because.startswith(RESTORED)
    assert ran(project) == [0]


def test_a_store_that_goes_back_and_forth_is_right_after_each(world):
    project, online = world
    snapshots = []
    for trips in (10, 20, 30):
        project.write([row(d, 24 * d + 1, d) for d in range(3)] + [row(3, 73, trips)])
        assert ran(project) == [3]
        snapshots.append(online.snapshot())
    for which in (0, 2, 1, 2, 0):
        online.restore(snapshots[which])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            again = ran(project)
        assert set(again) <= {3}
        assert project.trips() == [0, 1, 2, 30, None, None]


def test_a_snapshot_of_before_the_first_run_is_noticed(tmp_path):
    (tmp_path / "data").mkdir()
    project, online = SmallProject(tmp_path), SqliteDatabase(tmp_path / "data" / "online.db")
    project.write([row(1, 1, 1)])
    project.apply()
    empty = online.snapshot()
    for _ in range(2):
        assert ran(project) == [0]
        online.restore(empty)
    assert ran(project) == [0]
    assert project.trips([1]) == [1]
    project.close()


@pytest.mark.parametrize("verb", ["online.put_many", "online.advance"])
def test_rows_that_the_store_loses_while_a_run_is_under_way_are_not_settled(world, verb):
    """The snapshot has the number that the run began with, so only the store's new restart_token tells."""
    project, online = world
    project.write([row(d, 24 * d + 1, d) for d in range(4)] + [row(4, 97, 4)])
    snapshots = []
    with at(project, "online.put_many", True, 1, lambda: snapshots.append(online.snapshot())):
        call = {"online.put_many": (False, 1), "online.advance": (True, 2)}[verb]
        told = pytest.warns(UserWarning, match="online store .* was put back to an earlier state while")
        with at(project, verb, *call, lambda: online.restore(snapshots[0])), told:
            incremental(project)
    assert project.trips([4]) == [None]
    assert ran(project) == [4]
    assert project.trips([4]) == [4]
    assert ran(project) == []


def test_rows_that_the_store_loses_between_acknowledgement_and_settling_are_not_settled(world):
    project, online = world
    before = online.snapshot()
    project.write([row(d, 24 * d + 1, d) for d in range(4)] + [row(4, 97, 4)])
    with at(project, "registry.settle", True, 1, lambda: online.restore(before)):
        incremental(project)
    with pytest.warns(UserWarning, match=RESTORED):
        assert ran(project) == [4]
    assert project.trips([4]) == [4]


@pytest.mark.parametrize("verb", ["registry.claim", "online.advance"])
def test_a_paused_run_does_not_hide_that_the_store_went_back(world, verb):
    """It read the mark before another run settled; when it goes on, the store has that mark again."""
    project, online = world
    other = SmallProject(project.root, online_store=project.store.config.online_store)
    before = online.snapshot()
    project.write([row(0, 1, 0), row(1, 25, 1), row(2, 49, 2), row(3, 73, 33), row(4, 97, 4)])

    def meanwhile():
        other.store.materialize_windows("stats", [day(3)])
        online.restore(before)

    with at(project, verb, True, 1, meanwhile), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        project.store.materialize_windows("stats", [day(4)])
    assert other.trips([3]) == [3]
    assert [d for d in stale(project) if d == 3] == [3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ran(project)
    assert project.trips() == [0, 1, 2, 33, 4, None]
    other.close()


def test_a_run_whose_rows_were_lost_sees_it_by_what_a_colleague_made_of_the_mark(world, monkeypatch):
    """Also where the store cannot tell that it was started anew."""
    project, online = world
    monkeypatch.setattr(type(project.store.online_store), "restart_token", lambda store: "")
    other = SmallProject(project.root, online_store=project.store.config.online_store)
    before = online.snapshot()
    project.write([*(row(d, 24 * d + 1, d) for d in range(3)), row(3, 73, 33), row(4, 97, 4)])

    def meanwhile():
        online.restore(before)
        other.store.materialize_windows("stats", [day(3)])

    told = pytest.warns(UserWarning, match="online store .* was put back to an earlier state while")
    with at(project, "online.put_many", False, 1, meanwhile), told:
        project.store.materialize_windows("stats", [day(4)])
    assert ran(project) == [4]
    assert project.trips() == [0, 1, 2, 33, 4, None]
    other.close()


def test_a_file_that_is_exchanged_while_others_hold_it_open_is_noticed(tmp_path):
    (tmp_path / "data").mkdir()
    online = SqliteDatabase(tmp_path / "data" / "online.db")
    project = SmallProject(tmp_path)
    project.write([row(1, 1, 1)])
    project.apply()
    ran(project)
    before = online.snapshot()
    project.write([row(1, 1, 2)])
    ran(project)
    reader = SmallProject(tmp_path)
    assert reader.trips([1]) == [2]
    online.restore(before)
    assert reader.trips([1]) == [1]
    with pytest.warns(UserWarning, match=RESTORED):
        assert ran(reader) == [0]
    assert [reader.trips([1]), project.trips([1])] == [[2], [2]]
    for each in (reader, project):
        each.close()


# --- the registry is put back


def test_a_registry_that_is_put_back_runs_all_of_the_view_again(world):
    project, _ = world
    registry = SqliteDatabase(project.root / "registry.db")
    before = registry.snapshot()
    # A new day, and a value that is taken back: the registry of before knows neither.
    project.write([row(0, 1, 100), *(row(d, 24 * d + 1, d) for d in range(1, 6))])
    assert ran(project) == [0, 4, 5]
    registry.restore(before)
    project.write([row(d, 24 * d + 1, d) for d in range(4)])
    found = project.store.stale_windows("stats", END)
    assert [s.window for s in found] == [day(d) for d in range(6)]
    assert {s.reason for s in found} == {"restored"}
    assert {"put back" in s.because for s in found} == {True}
    with pytest.warns(UserWarning, match="not of this registry"):
        assert ran(project) == [0, 1, 2, 3, 4, 5]
    assert project.trips() == [0, 1, 2, 3, None, None]
    assert ran(project) == []


def test_a_registry_from_before_a_run_that_was_killed_is_noticed(world):
    """The run had put rows, and settled nothing."""
    project, _ = world
    registry = SqliteDatabase(project.root / "registry.db")
    before = registry.snapshot()
    project.write([row(0, 1, 100), *(row(d, 24 * d + 1, d) for d in range(1, 4))])

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    with at(project, "online.put_existing", False, 1, kill), pytest.raises(Killed):
        incremental(project)
    registry.restore(before)
    project.write([row(d, 24 * d + 1, d) for d in range(4)])
    assert project.trips([0]) == [100]
    with pytest.warns(UserWarning, match="not of this registry"):
        ran(project)
    assert project.trips([0]) == [0]


# --- several runs at once


def test_a_colleague_who_advances_the_mark_is_not_taken_for_a_restore(world):
    project, _ = world
    project.write([row(d, 24 * d + 1, 10 * d + 1) for d in range(4)])
    projects = [
        project,
        *(SmallProject(project.root, online_store=project.store.config.online_store) for _ in range(2)),
    ]
    failed: list[BaseException] = []
    start = threading.Barrier(3)

    def work(each: SmallProject, first: int) -> None:
        try:
            start.wait(30)
            for _ in range(3):
                each.store.materialize_windows("stats", [day(first)])
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failed.append(error)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        threads = [threading.Thread(target=work, args=(each, i)) for i, each in enumerate(projects)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
    assert [str(w.message) for w in said if issubclass(w.category, UserWarning)] == []
    assert ran(project) == [3]
    assert project.trips() == [1, 11, 21, 31, None, None]
    for each in projects[1:]:
        each.close()


@pytest.mark.parametrize(("verb", "before", "call"), [("online.advance", True, 1), ("online.advance", True, 2)])
def test_a_colleague_between_claim_and_settling_costs_nothing(world, verb, before, call):
    project, _ = world
    other = SmallProject(project.root, online_store=project.store.config.online_store)
    project.write([row(d, 24 * d + 1, 10 * d + 1) for d in range(2)] + [row(d, 24 * d + 1, d) for d in (2, 3)])

    def run():
        other.store.materialize_windows("stats", [day(1)])

    with at(project, verb, before, call, run), warnings.catch_warnings():
        warnings.simplefilter("error")
        project.store.materialize_windows("stats", [day(0)])
    assert ran(project) == []
    assert project.trips() == [1, 11, 2, 3, None, None]
    other.close()


def test_two_registries_on_one_table_are_told_of_each_other(world, tmp_path):
    project, _ = world
    known = SqliteDatabase(project.root / "registry.db")
    copy = known.snapshot()
    assert ran(project) == []
    project.store.materialize_windows("stats", [day(0)])
    known.restore(copy)
    with pytest.warns(UserWarning, match="another registry writes the same table"):
        assert ran(project) == [0, 1, 2, 3]


# --- a mark that is missing


def test_a_mark_that_was_removed_runs_all_again_once_and_then_is_only_reported(world, monkeypatch):
    project, online = world
    remove_mark(project, online)
    with pytest.warns(UserWarning, match="the mark of its online table .* is missing"):
        assert stale(project) == dict.fromkeys(range(4), "restored")
    with pytest.warns(UserWarning, match="4 windows are run again"):
        assert ran(project) == [0, 1, 2, 3]
    for _ in range(2):
        remove_mark(project, online)
        with pytest.warns(UserWarning, match="is missing"):
            assert stale(project) == {}
        with pytest.warns(UserWarning, match="is missing"):
            assert ran(project) == []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert ran(project) == [], "it was set anew"
    monkeypatch.setattr(table_mark, "_REFILL_AT_MOST_EVERY", timedelta(0))
    remove_mark(project, online)
    with pytest.warns(UserWarning, match="4 windows are run again"):
        assert ran(project) == [0, 1, 2, 3]


def test_an_identity_that_was_removed_while_the_mark_stayed_runs_all_again_once(world):
    project, online = world
    if isinstance(online, RedisServer):
        with online.client() as client:
            assert client.delete(*client.keys("fa:id:*")) == 1
    else:
        with closing(sqlite3.connect(online.path)) as connection:
            connection.execute("UPDATE feast_assets_tables SET identity = 'another'")
            connection.commit()
    with pytest.warns(UserWarning, match="not of this registry"):
        assert ran(project) == [0, 1, 2, 3]
    assert ran(project) == []


def test_a_mark_that_the_server_may_have_evicted_is_reported_and_set_anew(tmp_path, server):
    with server.client() as client:
        client.flushall()
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        project = SmallProject(tmp_path, online_store=server.settings)
        project.write([row(d, 24 * d + 1, d) for d in range(4)])
        project.apply()
        assert ran(project) == [0, 1, 2, 3]
        remove_mark(project, server)
        with pytest.warns(UserWarning, match="evicted it for lack of memory"):
            project.store.audit()
        with pytest.warns(UserWarning, match="evicted it for lack of memory"):
            assert ran(project) == []
        before = server.snapshot()
        project.write([row(d, 24 * d + 1, d) for d in range(5)])
        assert ran(project) == [4]
        server.restore(before)
        with pytest.warns(UserWarning, match=RESTORED):
            assert ran(project) == [4]
        client.config_set("maxmemory", 0)
    project.close()


@pytest.mark.parametrize("value", [b"x", b"", b"-5", b"007", b"9" * 19, b"9" * 40, ["a", "list"]])
def test_a_foreign_value_in_the_place_of_a_mark_counts_as_none(tmp_path, server, value):
    with server.client() as client:
        client.flushall()
        project = SmallProject(tmp_path, online_store=server.settings)
        project.write([row(1, 1, 1)])
        project.apply()
        ran(project)
        key = next(iter(client.keys("fa:mark:*")))
        client.delete(key)
        client.rpush(key, *value) if isinstance(value, list) else client.set(key, value)
        with pytest.warns(UserWarning, match="is missing"):
            assert ran(project) == [0]
        assert int(client.get(key)) > 2**50
        assert ran(project) == []
    project.close()


def test_a_user_who_may_not_ask_for_the_servers_run_can_materialize(tmp_path, server):
    with server.client() as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "+@all", "-info", "-config")
        section = {"type": "redis", "connection_string": f"127.0.0.1:{server.port},username=plain,password=word"}
        project = SmallProject(tmp_path, online_store=section)
        project.write([row(1, 1, 1)])
        project.apply()
        assert ran(project) == [0]
        before = server.snapshot()
        project.write([row(1, 1, 2)])
        assert ran(project) == [0]
        server.restore(before)
        client.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "+@all", "-info", "-config")
        with pytest.warns(UserWarning, match=RESTORED):
            assert ran(project) == [0]
    project.close()


# --- stores of before


def without_marks(project: SmallProject, online) -> None:
    """Makes the store and the registry what a version without marks wrote."""
    remove_mark(project, online)
    project.close()
    turn_into_format_1(project.store.registry, "stats", has_marks=False)
    if isinstance(online, SqliteDatabase):
        with closing(sqlite3.connect(online.path)) as connection:
            connection.execute("DROP TABLE feast_assets_marks")
            connection.commit()


def test_a_store_of_before_marks_is_taken_as_it_is(world):
    project, online = world
    without_marks(project, online)
    old = online.snapshot()
    again = SmallProject(project.root, online_store=project.store.config.online_store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stale(again) == {}
        assert ran(again) == []
        again.write([row(0, 1, 100), *(row(d, 24 * d + 1, d) for d in range(1, 4))])
        assert ran(again) == [0]
    new = online.snapshot()
    again.write([row(0, 1, 100), *(row(d, 24 * d + 1, d) for d in range(1, 5))])
    assert ran(again) == [4]
    online.restore(new)
    with pytest.warns(UserWarning, match=RESTORED):
        assert ran(again) == [4]
    online.restore(old)
    with pytest.warns(UserWarning, match="5 windows are run again"):
        assert ran(again) == [0, 1, 2, 3, 4]
    assert again.trips() == [100, 1, 2, 3, 4, None]
    again.close()


def test_another_store_is_told_from_one_that_was_put_back(world):
    project, online = world
    if isinstance(online, RedisServer):
        with online.client() as client:
            client.flushall()
    else:
        project.store.online_store.drop([project.store.get_feature_view("stats").online_table("small")])
    assert stale(project) == dict.fromkeys(range(4), "redefined")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ran(project) == [0, 1, 2, 3]


# --- what it costs, and what is told


def test_a_run_asks_for_its_marks_a_few_times_whatever_the_windows(tmp_path, server):
    with server.client() as client:
        client.flushall()
        project = SmallProject(tmp_path, online_store=server.settings)
        project.write([row(d % 3, 24 * d + 1, d) for d in range(60)])
        project.apply()
        client.config_resetstat()
        project.store.materialize(START, hours(24 * 60))
        calls = {name: entry["calls"] for name, entry in client.info("commandstats").items()}
        assert calls["cmdstat_evalsha"] <= 4
        assert calls["cmdstat_info"] - 1 <= 4
        client.config_resetstat()
        assert project.store.stale_windows("stats", hours(24 * 60)) == []
        calls = {name: entry["calls"] for name, entry in client.info("commandstats").items()}
        assert calls == {"cmdstat_mget": 2, "cmdstat_config|resetstat": 1}
    project.close()


def test_a_tick_reads_the_marks_of_all_views_at_once(tmp_path, server):
    with server.client() as client:
        client.flushall()
        project = SmallProject(tmp_path, online_store=server.settings)
        project.write([row(1, 1, 1)])
        project.store.apply([DRIVER, *(project.view(name=f"stats_{i}") for i in range(20))])
        client.config_resetstat()
        assert len(project.store.change_tokens()) == 20
        calls = {name: entry["calls"] for name, entry in client.info("commandstats").items()}
        assert calls["cmdstat_mget"] == 1
        assert "cmdstat_get" not in calls
    project.close()


def test_the_audit_names_the_cause(world):
    project, online = world
    before = online.snapshot()
    project.write([row(0, 1, 100), row(1, 25, 1), row(3, 73, 3), row(4, 97, 4)])
    ran(project)
    assert project.store.audit().causes == {}
    online.restore(before)
    report = project.store.audit()
    assert report.causes == {"restored": 5}, "two features of drivers 2 and 4, one of driver 0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ran(project)
    assert project.store.audit().causes == {}


def test_a_number_is_never_drawn_for_a_table_without_one(tmp_path):
    """A view that only keeps its result has no online table."""
    project = SmallProject(tmp_path, online_store=None)
    project.write([row(1, 1, 1)])
    project.store.apply([DRIVER, project.keeping_view(online=False)])
    project.store.materialize(START, hours(24))
    assert {e.mark for e in project.store.registry.ledger("kept_view")} == {0}
    assert project.store.registry.known_marks("kept_view", "") == []
    project.close()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE feast_assets_ledger_segments SET stamp = :value", [0, 1, 2, 3, 4, 5]),
        ("UPDATE feast_assets_ledger_segments SET content = :value", [0, 1, 2, 3, 4, 5]),
        ("UPDATE feast_assets_marks SET previous = :value", [0, 1, 2, 3]),
        ("UPDATE feast_assets_marks SET kind = :value", []),
        (
            "UPDATE feast_assets_marks SET number = :value WHERE number = (SELECT max(number) FROM feast_assets_marks)",
            [0, 1, 2, 3],
        ),
    ],
)
@pytest.mark.parametrize("value", ["x", b"\xff", 1.5])
def test_odd_values_in_the_registry_cost_a_run_at_most(tmp_path, statement, expected, value):
    project = SmallProject(tmp_path)
    project.write([row(d, 24 * d + 1, d) for d in range(4)])
    project.apply()
    assert ran(project) == [0, 1, 2, 3]
    with project.store.registry._writing() as writing:
        writing.transaction.each(statement, [{"value": value}])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert set(stale(project)) <= set(expected)
        assert set(ran(project)) <= set(expected)
        assert ran(project) == []
    assert project.trips() == [0, 1, 2, 3, None, None]
    project.close()
