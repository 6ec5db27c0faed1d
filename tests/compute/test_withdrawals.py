"""After rows are deleted or moved in the source, both stores end as a full recompute would leave them."""

from __future__ import annotations

import random
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import DRIVER, START, SmallProject, hours, row

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Int64,
    Partitions,
    PushMode,
    PushSource,
)
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore

DAY = timedelta(days=1)
END = START + 4 * DAY - timedelta(microseconds=1)
DRIVERS = range(6)
ROWS = [row(1, 1, 10), row(1, 30, 11), row(2, 31, 20), row(3, 5, 30), row(3, 50, 31), row(4, 75, 40)]


def newest(rows, drivers=DRIVERS, inside=lambda moment: True):
    """The newest trips per driver, worked out by hand; rows have distinct times."""
    found = {}
    for each in sorted((r for r in rows if inside(r["ts"])), key=lambda r: r["ts"]):
        found[each["driver_id"]] = each["trips"]
    return [found.get(d) for d in drivers]


def day(number):
    return Window(START + number * DAY, START + (number + 1) * DAY)


def without(*trips):
    return [r for r in ROWS if r["trips"] not in trips]


def moved(trips, hour):
    return [{**r, "ts": hours(hour)} if r["trips"] == trips else r for r in ROWS]


@pytest.fixture
def filled(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(END)
    assert project.trips() == newest(ROWS)
    return project


def up_to_date(project):
    return all(not r.windows for r in project.store.materialize_incremental(END))


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the stores: scans of the online store, and entities looked for in history."""
    told = {"scans": 0, "entities": [], "replaced": 0}
    scan, latest, replace_many = SqliteOnlineStore.scan, DuckDBOfflineStore.latest, SqliteOnlineStore.replace_many

    def counted_scan(self, *args, **kwargs):
        told["scans"] += 1
        return scan(self, *args, **kwargs)

    def counted_latest(self, history, windows, keys=None):
        told["entities"] += [] if keys is None else keys.column(0).to_pylist()
        return latest(self, history, windows, keys)

    def counted_replace(self, table, held, rows):
        told["replaced"] += len(held)
        return replace_many(self, table, held, rows)

    monkeypatch.setattr(SqliteOnlineStore, "scan", counted_scan)
    monkeypatch.setattr(DuckDBOfflineStore, "latest", counted_latest)
    monkeypatch.setattr(SqliteOnlineStore, "replace_many", counted_replace)
    return told


@pytest.mark.parametrize(
    ("rows", "ran", "withdrawn"),
    [
        (without(11), 1, 1),
        (without(40), 1, 1),
        (without(11, 20), 1, 2),
        (without(10), 1, 0),
        (moved(31, 6), 2, 1),
        (moved(31, 52), 1, 0),
        (moved(30, 60), 2, 0),
        (moved(11, 29), 1, 1),
        (moved(40, 2), 2, 1),
        ([], 4, 4),
    ],
    ids=[
        "the newest of two",
        "the only one",
        "a whole day",
        "an older one",
        "to an earlier day",
        "to later in the day",
        "an older one to be the newest",
        "to earlier in the day",
        "the only one to an earlier day",
        "everything",
    ],
)
def test_rows_that_go_are_replaced_by_what_remains(filled, rows, ran, withdrawn):
    filled.write(rows)
    (result,) = filled.store.materialize_incremental(END)
    assert filled.trips() == newest(rows)
    assert len(result.windows) == ran
    assert result.withdrawn == withdrawn
    assert up_to_date(filled)


def test_the_work_is_that_of_what_changed(filled, calls):
    assert calls == {"scans": 0, "entities": [], "replaced": 0}
    filled.write(without(11, 40))
    (result,) = filled.store.materialize_incremental(END)
    assert [w.window for w in result.windows] == [day(1), day(3)]
    assert calls["scans"] == 1, "one pass for all windows that changed"
    assert sorted(calls["entities"]) == [1, 4], "no other entities are looked for"
    assert calls["replaced"] == 2
    filled.store.materialize(START, END)
    assert calls["scans"] == 1, "nothing can be withdrawn by the same content"


def test_nothing_is_scanned_where_rows_only_come(project, calls):
    project.write(ROWS)
    project.apply()
    project.store.materialize(START, START + DAY)
    for hour in (30, 31, 52, 80):
        project.store.materialize_incremental(hours(hour))
    project.store.materialize_incremental(END)
    assert project.trips() == newest(ROWS)
    assert calls["scans"] == 0


def test_a_window_that_grew_may_have_lost_rows_as_well(project, calls):
    project.write(ROWS)
    project.apply()
    project.store.materialize_incremental(hours(30))
    project.write(without(11))
    project.store.materialize_incremental(hours(40))
    assert project.trips() == newest(without(11, 31, 40))
    assert calls["scans"] == 1


def test_what_takes_a_place_carries_the_version_of_its_window(filled):
    """So that it is found when it is withdrawn in turn, and anybody can tell what wrote it."""
    filled.write(without(11, 20, 40))
    filled.store.materialize_incremental(END)
    versions = {e.window: e.version for e in filled.store.registry.ledger("stats")}
    table = filled.store.get_feature_view("stats").online_table("small")
    (rows,) = filled.store.online_store.scan(table, -(2**62), 2**62)
    for event, version in zip(rows.event_timestamps.tolist(), rows.versions.tolist(), strict=True):
        moment = datetime.fromtimestamp(event / 1_000_000, UTC)
        assert version == next(v for w, v in versions.items() if w.start <= moment < w.end)
    assert sorted(rows.event_timestamps.tolist()) == [int(hours(h).timestamp()) * 1_000_000 for h in (1, 50)]


def test_a_correction_in_place_withdraws_nothing(filled):
    corrected = [{**r, "trips": r["trips"] + 100} for r in ROWS]
    filled.write(corrected)
    (result,) = filled.store.materialize_incremental(END)
    assert filled.trips() == newest(corrected)
    assert result.withdrawn == 0


def test_a_source_that_is_emptied_by_dates_is_empty_online(filled):
    filled.write([])
    filled.store.materialize(START, END)
    assert filled.trips() == [None] * 6


def test_what_is_not_materialized_is_not_brought_in(project):
    project.write(ROWS)
    project.apply()
    project.store.materialize_windows("stats", [day(1), day(3)])
    project.write(without(11, 20))
    project.store.materialize_windows("stats", [day(1)])
    assert project.trips() == [None, None, None, None, 40, None]
    project.store.materialize_incremental(END)
    assert project.trips() == newest(without(11, 20))


def test_a_window_that_was_run_in_part_is_not_forgotten(filled):
    filled.store.materialize(hours(30), hours(30))
    filled.write(without(11, 20))
    filled.store.materialize_incremental(END)
    assert filled.trips() == newest(without(11, 20))
    assert up_to_date(filled)


def test_what_remains_of_a_window_is_not_forgotten_with_the_part_that_was_emptied(filled):
    filled.write(without(11))
    filled.store.materialize(hours(30), hours(30))
    assert filled.trips() == newest(without(11))
    filled.write(without(11, 20))
    filled.store.materialize_incremental(END)
    assert filled.trips() == newest(without(11, 20))
    assert up_to_date(filled)


@pytest.mark.parametrize("grain", ["hourly", "weekly", None])
def test_rows_that_go_while_the_grid_changes(filled, grain):
    rows = without(11, 20, 40)
    filled.write(rows)
    filled.apply(partitions=Partitions(grain, Partitions(grain).floor(START)) if grain else None)
    filled.store.materialize_incremental(END)
    assert filled.trips() == newest(rows)
    assert up_to_date(filled)


def test_views_without_partitions(tmp_path, calls):
    project = SmallProject(tmp_path)
    project.write(ROWS)
    project.apply(partitions=None)
    project.store.materialize_incremental(END)
    assert calls["scans"] == 0
    for rows in (without(11, 40), moved(11, 0), []):
        project.write(rows)
        project.store.materialize_incremental(END)
        assert project.trips() == newest(rows)
    project.close()


def test_views_without_entities(project):
    project.write(ROWS)
    project.store.apply(
        FeatureView(
            name="overall",
            source=project.view().batch_source,
            schema=[Field(name="trips", dtype=Int64)],
            partitions=Partitions("daily", START),
        )
    )
    for rows in (ROWS, without(40), without(40, 31, 11), []):
        project.write(rows)
        project.store.materialize_incremental(END)
        read = project.store.get_online_features(["overall:trips"], [{}]).to_dict()["trips"]
        assert read == [max(rows, key=lambda r: r["ts"])["trips"] if rows else None]


def test_keys_of_several_columns(tmp_path):
    project = SmallProject(tmp_path)
    city = Entity(name="city", join_keys=["city"])
    rows = [row(1, 1, 10, "a"), row(1, 2, 11, "b"), row(1, 30, 12, "a"), row(12, 30, 13, ""), row(1, 31, 14, "b")]
    view = project.view(entities=[city, DRIVER], schema=[Field(name="trips", dtype=Int64)])
    project.write(rows)
    project.store.apply([DRIVER, city, view])
    for now in (rows, rows[:2], rows[1:2]):
        project.write(now)
        project.store.materialize_incremental(END)
        asked = {"driver_id": [1, 1, 12], "city": ["a", "b", ""]}
        read = project.store.get_online_features(["stats:trips"], asked).to_dict()["trips"]
        found = {(r["driver_id"], r["city"]): r["trips"] for r in now}
        assert read == [found.get(key) for key in zip(*asked.values(), strict=True)]
    project.close()


def transformed(project, code, keep):
    """A view of rows with fewer trips than the code says, whose result is kept or not."""
    view = BatchFeatureView(
        name="few",
        mode="sql",
        source=project.view().batch_source,
        sink_source=FileSource(name="kept", path="kept", timestamp_field="ts") if keep else None,
        offline=keep,
        online=True,
        entities=[DRIVER],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        udf=lambda stats: f"SELECT driver_id, ts, trips FROM {stats} WHERE {code}",
        udf_string=f"def few(stats):\n    return {code!r}\n",
        partitions=Partitions("daily", START),
    )
    project.store.apply([DRIVER, view])


def both(project, moment=END):
    """What the view `few` says online and in history."""
    online = project.store.get_online_features(["few:trips"], {"driver_id": list(DRIVERS)}).to_dict()["trips"]
    spine = pa.table({"driver_id": list(DRIVERS), "event_timestamp": [moment] * len(DRIVERS)})
    history = project.store.get_historical_features(spine, ["few:trips"]).to_arrow()["trips"].to_pylist()
    return online, history


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed"])
def test_rows_that_a_changed_transformation_does_not_have(project, keep):
    project.write(ROWS)
    for limit in (100, 31, 11, 100, 20):
        transformed(project, f"trips < {limit}", keep)
        project.store.materialize_incremental(END)
        expected = newest([r for r in ROWS if r["trips"] < limit])
        assert both(project) == (expected, expected)
    project.write(without(10))
    project.store.materialize_incremental(END)
    assert both(project) == (newest([row(1, 30, 11)]),) * 2


def test_a_row_that_comes_back(filled):
    for rows in (without(11), ROWS, without(11, 10), ROWS, [], ROWS):
        filled.write(rows)
        filled.store.materialize_incremental(END)
        assert filled.trips() == newest(rows)


def test_a_late_row_that_was_served_early_goes_if_it_goes_before_its_window_is_run(filled):
    """The content of its window is then what the ledger says, though a row of another content was put."""
    filled.write([*without(11), row(1, 20, 99)])
    filled.store.materialize_windows("stats", [day(1)])
    assert filled.trips([1]) == [99]
    filled.write(without(11))
    filled.store.materialize_incremental(END)
    assert filled.trips([1]) == [10]
    assert up_to_date(filled)


@pytest.fixture
def pushed(project):
    project.write(ROWS)
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
    project.store.materialize_incremental(END)
    return project


def push(project, driver, hour, trips, to=PushMode.ONLINE):
    project.store.push("live", {"driver_id": [driver], "trips": [trips], "city": ["p"], "ts": [hours(hour)]}, to=to)


def test_rows_that_were_pushed_are_never_withdrawn(pushed):
    push(pushed, 1, 40, 111)
    push(pushed, 5, 41, 500)
    rows = without(11, 20)
    pushed.write(rows)
    pushed.store.materialize_incremental(END)
    assert pushed.trips() == [None, 111, None, 31, 40, 500]
    pushed.write([])
    pushed.store.materialize_incremental(END)
    assert pushed.trips() == [None, 111, None, None, None, 500]


def test_a_push_that_reached_the_source_is_withdrawn_with_it(pushed):
    push(pushed, 1, 40, 111, to=PushMode.ONLINE_AND_OFFLINE)
    pushed.store.materialize_incremental(END)
    assert pushed.trips([1]) == [111]
    pushed.write(ROWS)
    pushed.store.materialize_incremental(END)
    assert pushed.trips([1]) == [11]


def test_a_push_that_comes_while_rows_are_withdrawn_wins(pushed):
    push(pushed, 2, 10, 1)
    replace = pushed.store.online_store.replace_many

    def with_a_push_between(*args):
        push(pushed, 1, 35, 111)
        return replace(*args)

    pushed.store.online_store.replace_many = with_a_push_between
    pushed.write(without(11, 40))
    pushed.store.materialize_incremental(END)
    assert pushed.trips() == [None, 111, 20, 31, None, None]


@pytest.mark.parametrize("point", ["scan", "latest", "replace_many", "after", "settle"])
def test_a_run_that_breaks_off_is_finished_by_the_next(filled, monkeypatch, point):
    class Break(BaseException):
        pass

    def broken(*args, **kwargs):
        if point == "latest" and len(args) < 3:
            return latest(*args)
        raise Break

    def after(*args):
        replace(*args)
        raise Break

    store = filled.store
    replace, latest = store.online_store.replace_many, store.offline_store.latest
    owner = {"latest": store.offline_store, "settle": store.registry}.get(point, store.online_store)
    rows = moved(31, 6)[1:]
    filled.write(rows)
    with monkeypatch.context() as patch:
        patch.setattr(owner, "replace_many" if point == "after" else point, after if point == "after" else broken)
        with pytest.raises(Break):
            store.materialize_incremental(END)
    assert any(not e.settled for e in store.registry.ledger("stats"))
    store.materialize_incremental(END)
    assert filled.trips() == newest(rows)
    assert up_to_date(filled)


def test_a_failing_store_leaves_the_windows_to_be_run_again(filled, monkeypatch):
    def failing(*args):
        raise RuntimeError("down")

    with monkeypatch.context() as patch:
        patch.setattr(filled.store.online_store, "replace_many", failing)
        filled.write(without(11))
        with pytest.raises(Exception, match="down"):
            filled.store.materialize_incremental(END)
    filled.store.materialize_incremental(END)
    assert filled.trips() == newest(without(11))


@pytest.mark.parametrize("step", ["scan", "latest", "replace_many"])
def test_another_run_in_the_middle_of_a_withdrawal(filled, step):
    """The other puts rows that the withdrawn ones still hide, in windows that the ledger did not hold."""
    gone = row(5, 76, 52)
    filled.write([*ROWS, row(5, 32, 50), row(5, 55, 51), gone])
    filled.store.registry.forget("stats")
    filled.store.materialize_windows("stats", [day(1), day(3)])
    rows = [*without(11), row(5, 32, 50), row(5, 55, 51)]
    filled.write(rows)
    other = SmallProject(filled.root)
    owner = filled.store.offline_store if step == "latest" else filled.store.online_store
    original = getattr(owner, step)

    def interrupted(*args, **kwargs):
        if step == "latest" and len(args) < 3:
            return original(*args, **kwargs)  # not of the entities whose rows were withdrawn
        setattr(owner, step, original)
        running = threading.Thread(target=other.store.materialize_windows, args=("stats", [day(0), day(2)]))
        running.start()
        running.join(60)
        return original(*args, **kwargs)

    setattr(owner, step, interrupted)
    filled.store.materialize_windows("stats", [day(1), day(3)])
    assert filled.trips() == newest(rows)
    other.close()
    filled.store.materialize_incremental(END)
    assert filled.trips() == newest(rows)


def test_what_takes_a_place_may_be_withdrawn_itself_meanwhile(filled):
    """Another run takes a row out of a window before it is put in the place of a row of another."""
    rows = without(10, 11)
    filled.write(without(11))
    other = SmallProject(filled.root)
    replace = filled.store.online_store.replace_many

    def overtaken(*args):
        filled.store.online_store.replace_many = replace
        filled.write(rows)
        running = threading.Thread(target=other.store.materialize_windows, args=("stats", [day(0)]))
        running.start()
        running.join(60)
        return replace(*args)

    filled.store.online_store.replace_many = overtaken
    with pytest.warns(UserWarning, match="was changed while it was read"):
        filled.store.materialize_windows("stats", [day(1)])
    assert filled.trips() == newest(rows)
    other.close()
    filled.store.materialize_incremental(END)
    assert filled.trips() == newest(rows)
    assert up_to_date(filled)


def test_rows_of_a_run_that_was_overtaken_and_killed_go_when_the_window_is_run(filled, monkeypatch):
    """It dies after it has put an older content of a window that another run has settled meanwhile."""

    class Killed(BaseException):
        pass

    store = filled.store
    late = SmallProject(filled.root)
    put = late.store.online_store.put_existing

    def overtaken(table, batches):
        made = list(batches)
        filled.write(without(20))
        store.materialize_incremental(END)
        put(table, made)
        raise Killed

    monkeypatch.setattr(late.store.online_store, "put_existing", overtaken)
    filled.write([*without(20), row(2, 33, 22)])
    with pytest.raises(Killed):
        late.store.materialize_incremental(END)
    filled.write([*without(20), row(5, 34, 50)])
    store.materialize_incremental(END)
    assert filled.trips() == newest([*without(20), row(5, 34, 50)])
    late.close()


def test_rows_go_from_redis(tmp_path, redis_server):
    host, port = redis_server
    project = SmallProject(tmp_path, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
    rng = random.Random(3)
    rows = [row(d, rng.randrange(96 * 60) / 60, d * 100 + i) for d in range(500) for i in range(3)]
    rows = list({(r["driver_id"], r["ts"]): r for r in rows}.values())
    project.write(rows)
    project.apply()
    project.store.materialize_incremental(END)
    kept = [r for r in rows if rng.random() < 0.5]
    project.write(kept)
    (result,) = project.store.materialize_incremental(END)
    gone = sum(a != b for a, b in zip(newest(rows, range(500)), newest(kept, range(500)), strict=True))
    assert project.trips(range(500)) == newest(kept, range(500))
    assert 0 < result.withdrawn <= gone
    project.store.teardown()
    project.close()


# --- any order of edits, runs, pushes, restarts and breaks

quarters = st.integers(0, 4 * 24 * 4 - 1)
places = st.integers(0, 99)
edits = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 3), quarters, st.integers(0, 2)),
    st.tuples(st.just("correct"), places, st.booleans()),
    st.tuples(st.just("delete"), places),
    st.tuples(st.just("move"), places, quarters),
    st.tuples(st.just("clear"), st.integers(0, 3)),
)
runs = st.one_of(
    st.tuples(st.just("windows"), st.sets(st.integers(0, 3), min_size=1)),
    st.tuples(st.just("between"), quarters, quarters),
    st.tuples(st.just("incremental"), quarters),
    st.tuples(
        st.just("break"),
        st.sampled_from(["put_many", "put_existing", "scan", "latest", "replace_many", "claim", "settle"]),
    ),
)
others = st.one_of(st.tuples(st.just("push"), st.integers(0, 4), quarters), st.just(("restart",)))
steps = st.lists(st.one_of(edits, edits, edits, runs, runs, others), max_size=14)


class Broken(BaseException):
    pass


class Story:
    """A small project to which things happen, and what its source holds."""

    def __init__(self, root: Path, kind: str):
        self.kind = kind
        self.root = root
        self.rows = []
        self.count = 0
        self.pushed = {}
        self.open()

    def open(self):
        self.project = SmallProject(self.root, created=self.kind == "created")
        self.write()
        if self.kind in ("kept", "computed"):
            self.view = "few"
            transformed(self.project, "trips >= 0", self.kind == "kept")
        else:
            self.view = "stats"
            source = PushSource(name="live", batch_source=self.project.view().batch_source)
            self.project.apply(source=source, **({"partitions": None} if self.kind == "whole" else {}))

    def write(self):
        keep = (lambda r: r) if self.kind == "created" else (lambda r: {k: v for k, v in r.items() if k != "created"})
        self.project.write([keep(r) for r in self.rows])

    def value(self):
        self.count += 1
        return self.count

    def edit(self, subject, *how):
        if subject == "add":
            driver, quarter, made = how
            self.rows.append(row(driver, quarter / 4, self.value(), created=hours(made)))
        elif subject == "clear":
            self.rows = [r for r in self.rows if not day(how[0]).start <= r["ts"] < day(how[0]).end]
        elif self.rows:
            place = how[0] % len(self.rows)
            old = self.rows.pop(place)
            if subject == "correct":
                made = old["created"] + timedelta(hours=1) if how[1] else old["created"]
                self.rows.insert(place, {**old, "trips": self.value(), "created": made})
            elif subject == "move":
                self.rows.insert(place, {**old, "ts": hours(how[1] / 4)})
        self.write()

    def run(self, subject, *how):
        store = self.project.store
        if subject == "windows":
            windows = [ALWAYS] if self.kind == "whole" else [day(d) for d in sorted(how[0])]
            store.materialize_windows(self.view, windows)
        elif subject == "between":
            store.materialize(hours(min(how) / 4), hours(max(how) / 4))
        elif subject == "incremental":
            store.materialize_incremental(hours(how[0] / 4))
        else:
            self.break_off(how[0])

    def break_off(self, point):
        store = self.project.store
        owners = {"latest": store.offline_store, "claim": store.registry, "settle": store.registry}
        owner = owners.get(point, store.online_store)
        method = getattr(owner, point)

        def broken(*args, **kwargs):
            if point == "latest" and len(args) < 3:
                return method(*args)  # not of the entities whose rows were withdrawn
            if self.count % 2:
                method(*args, **kwargs)
            raise Broken

        setattr(owner, point, broken)
        try:
            store.materialize_incremental(END)
        except Broken:
            pass
        finally:
            setattr(owner, point, method)
        self.restart()

    def restart(self):
        self.project.close()
        self.open()

    def online(self):
        asked = {"driver_id": list(DRIVERS)}
        return self.project.store.get_online_features([f"{self.view}:trips"], asked).to_dict()["trips"]

    def push(self, driver, quarter):
        if self.view != "stats":
            return
        trips = self.value()
        # No other row has just this time.
        hour = quarter / 4 + 0.1 + self.count / 10_000
        push(self.project, driver, hour, trips)
        self.pushed[trips] = row(driver, hour, trips)

    def expected(self, rows):
        found = {}
        for each in sorted(rows, key=lambda r: (r["ts"], r.get("created", START), r["trips"])):
            found[each["driver_id"]] = each["trips"]
        return [found.get(d) for d in DRIVERS]

    def order(self):
        return (lambda r: r) if self.kind == "created" else (lambda r: {k: v for k, v in r.items() if k != "created"})

    def check(self):
        """Runs what is stale, and compares with a full recompute."""
        standing = [self.pushed[trips] for trips in self.online() if trips in self.pushed]
        (result,) = self.project.store.materialize_incremental(END)
        rows = [self.order()(r) for r in self.rows]
        assert self.online() == self.expected([*rows, *standing])
        spine = pa.table({"driver_id": list(DRIVERS), "event_timestamp": [END] * len(DRIVERS)})
        history = self.project.store.get_historical_features(spine, [f"{self.view}:trips"]).to_arrow()
        assert history["trips"].to_pylist() == self.expected(rows)
        return [w.window for w in result.windows]


@pytest.mark.parametrize("kind", ["plain", "created", "whole", "kept", "computed"])
@given(happened=steps, after=st.lists(edits, min_size=1, max_size=3))
@settings(max_examples=12, deadline=None)
def test_whatever_happens_both_stores_end_as_a_full_recompute(kind, happened, after):
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder), kind)
        for subject, *how in happened:
            method = {"push": story.push, "restart": story.restart}.get(subject)
            if method is not None:
                method(*how)
            elif subject in ("windows", "between", "incremental", "break"):
                story.run(subject, *how)
            else:
                story.edit(subject, *how)
        story.check()
        assert story.check() == []
        before = [story.order()(r) for r in story.rows]
        for subject, *how in after:
            story.edit(subject, *how)
        ran = story.check()
        if kind != "whole":
            now = [story.order()(r) for r in story.rows]
            changed = {r["ts"].date() for r in [*before, *now] if before.count(r) != now.count(r)}
            assert {w.start.date() for w in ran} == changed, "just the windows whose content changed are run"
        story.project.close()
