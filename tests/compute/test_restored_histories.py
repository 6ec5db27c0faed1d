"""Random histories in which stores and registries are put back: one incremental run makes online what history says."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from restorable import RedisServer, Restorable, SqliteDatabase
from small_project import SmallProject, hours, row

from feast_assets import PushMode, PushSource
from feast_assets.definitions.window import Window
from feast_assets.errors import SourceError

DAYS = 4
END = hours(24 * DAYS)
DRIVERS = (1, 2, 3)
PUSHED = 9
"""A driver that history knows nothing of."""


class Killed(BaseException):
    """Ends a call as a kill would: nothing of ours handles it."""


class World:
    """A project whose stores can be put back, and what its source holds."""

    def __init__(self, root: Path, online: Restorable, settings: Any):
        self.root, self.settings = root, settings
        self.rows: dict[tuple[int, int], int] = {(1, 1): 1, (2, 1): 1}
        self.projects: list[SmallProject] = []
        self.stores = {"online": online, "registry": SqliteDatabase(root / "registry.db")}
        self.snapshots: dict[str, list[Path]] = {"online": [], "registry": []}
        self.pushes = 0
        self.pushed: int | None = None
        project = self.project()
        self.write()
        project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
        for which in self.stores:
            self.snapshot(which)

    def project(self) -> SmallProject:
        """Returns a handle of its own, as another process would have."""
        made = SmallProject(self.root, online_store=self.settings)
        self.projects.append(made)
        return made

    def close(self) -> None:
        for project in self.projects:
            project.close()

    def write(self) -> None:
        project = self.projects[0]
        project.write([row(driver, hour, trips) for (driver, hour), trips in sorted(self.rows.items())])

    # --- steps

    def edit(self, driver: int, day: int, half: int, trips: int) -> None:
        """Puts, corrects or (0) deletes a row."""
        place = (driver, 24 * day + 12 * half)
        self.rows.pop(place, None)
        if trips:
            self.rows[place] = trips
        self.write()

    def incremental(self) -> list[Window]:
        return [w.window for w in self.project().store.materialize_incremental(END)[0].windows]

    def windows(self, first: int, count: int) -> None:
        self.project().store.materialize(hours(24 * first), hours(24 * min(first + count, DAYS) - 1))

    def push(self, trips: int) -> None:
        self.pushes += trips
        self.pushed = self.pushes
        rows = {"driver_id": [PUSHED], "trips": [self.pushed], "city": ["p"], "ts": [hours(self.pushed)]}
        self.project().store.push("live", rows, to=PushMode.ONLINE)

    def snapshot(self, which: str) -> None:
        self.snapshots[which].append(self.stores[which].snapshot())

    def restore(self, which: str, number: int) -> None:
        known = self.snapshots[which]
        self.stores[which].restore(known[number % len(known)])
        if which == "online":
            self.pushed = None  # lost, unless the snapshot has it

    def interrupted(self, verb: str, before: bool, call: int, happens: Callable[[], None]) -> None:
        """Runs incrementally; something happens before or after a verb is called for the so manyth time."""
        project = self.project()
        # A source that is exchanged while it is read may fail the run, which then settles nothing.
        with at(project, verb, before, call, happens), suppress(Killed, SourceError):
            project.store.materialize_incremental(END)

    # --- what must hold

    def expected(self) -> list[int | None]:
        newest = {}
        for (driver, hour), trips in sorted(self.rows.items(), key=lambda item: item[0][1]):
            newest[driver] = trips
            assert hour < 24 * DAYS
        return [newest.get(driver) for driver in DRIVERS]

    def check(self) -> list[Window]:
        """Runs incrementally, once; returns the windows that it ran."""
        reader = self.project().store
        stale = [s.window for s in reader.stale_windows("stats", END)]
        assert [s.window for s in reader.stale_windows("stats", END)] == stale, "reading changes nothing"
        ran = self.incremental()
        assert ran == stale, "a run does what the reading verb says"
        after = self.project()
        assert after.trips(DRIVERS) == self.expected()
        assert after.store.stale_windows("stats", END) == []
        assert self.incremental() == []
        if self.pushed is not None:
            assert after.trips([PUSHED]) == [self.pushed]
        return ran


@contextmanager
def at(project: SmallProject, verb: str, before: bool, call: int, happens: Callable[[], None]) -> Iterator[None]:
    """Makes something happen once, when a verb of the project's stores is called for the so manyth time."""
    where, name = verb.split(".")
    target = getattr(project.store, where if where == "registry" else f"{where}_store")
    real = getattr(target, name)
    calls = 0

    def calling(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        if verb == "offline.latest" and len(arguments) < 3:
            return real(*arguments, **named)  # it counts where rows of some entities are looked for
        calls += 1
        if calls == call and before:
            happens()
        result = real(*arguments, **named)
        if calls == call and not before:
            happens()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, calling)
        yield


VERBS = [
    "registry.claim",
    "registry.settle",
    "registry.distrust",
    "registry.draw_marks",
    "registry.ledger",
    "online.marks",
    "online.advance",
    "online.put_many",
    "online.put_existing",
    "online.replace_many",
]
EDIT = st.tuples(
    st.just("edit"),
    st.sampled_from(DRIVERS),
    st.integers(0, DAYS - 1),
    st.integers(0, 1),
    st.integers(0, 2),
)
SNAPSHOT = st.tuples(st.just("snapshot"), st.sampled_from(["online", "online", "registry"]))
RESTORE = st.tuples(st.just("restore"), st.sampled_from(["online", "online", "registry"]), st.integers(0, 9))
RUN = st.one_of(
    st.tuples(st.just("incremental")),
    st.tuples(st.just("windows"), st.integers(0, DAYS - 1), st.integers(1, 2)),
)
PUSH = st.tuples(st.just("push"), st.integers(1, 5))
SIMPLE = st.one_of(EDIT, EDIT, RUN, RUN, SNAPSHOT, RESTORE, PUSH)
INTERRUPTED = st.tuples(
    st.just("interrupted"),
    st.sampled_from(VERBS),
    st.booleans(),
    st.integers(1, 2),
    st.one_of(st.just([("kill",)]), st.lists(SIMPLE, min_size=1, max_size=3)),
)
STEPS = st.lists(st.one_of(SIMPLE, SIMPLE, SIMPLE, INTERRUPTED), min_size=3, max_size=12)


def do(world: World, steps: list[Any]) -> None:
    for verb, *arguments in steps:
        if verb == "kill":
            raise Killed
        if verb == "interrupted":
            name, before, call, then = arguments
            world.interrupted(name, before, call, lambda then=then: do(world, then))
        else:
            getattr(world, verb)(*arguments)


def live(root: Path, online: Restorable, settings: Any, steps: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        world = World(root, online, settings)
        try:
            do(world, steps)
            world.check()
        finally:
            world.close()


# Smaller failing histories would take minutes to find.
SETTINGS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],
}


@settings(max_examples=18, **SETTINGS)
@given(steps=STEPS)
def test_after_any_history_of_an_embedded_store_one_run_makes_it_right(tmp_path_factory, steps):
    root = tmp_path_factory.mktemp("world")
    (root / "data").mkdir()
    live(root, SqliteDatabase(root / "data" / "online.db"), "sqlite", steps)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@settings(max_examples=5, **SETTINGS)
@given(steps=STEPS)
def test_after_any_history_of_a_server_one_run_makes_it_right(server, tmp_path_factory, steps):
    with server.client() as client:
        client.flushall()
    live(tmp_path_factory.mktemp("world"), server, server.settings, steps)
