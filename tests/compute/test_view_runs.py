"""Views are run in turn; only looking through the next one's source happens while one is written."""

from __future__ import annotations

import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_project import DRIVER, SCHEMA, START, SmallProject, hours, row

from feast_assets import Field, FileSource, Int64
from feast_assets.compute.materialization import Materialization, Planned
from feast_assets.compute.results import MaterializationResult
from feast_assets.compute.view_runs import run_views
from feast_assets.errors import MaterializationError, SourceError, StoreUnavailableError
from feast_assets.offline_stores.source_changes import HistoryState

END = hours(24 * 4)
PATIENCE = 20


class Views:
    """Materializations that only say what is asked of them, and fail where they are told to."""

    def __init__(self, project: SmallProject, failing: dict[tuple[str, str], Exception] | None = None):
        self.said: list[tuple[str, str]] = []
        self.views = [project.view(name=name) for name in "abc"]
        self.outdated: set[str] = set()
        self.open: list[str] = []
        self._failing = failing or {}

    def say(self, verb: str, name: str) -> None:
        self.said.append((verb, name))
        if (verb, name) in self._failing:
            raise self._failing[verb, name]

    def run(self, views=None) -> list[str]:
        def made(view):
            self.say("make", view.name)
            return Run(self, view.name)

        try:
            return [result.view for result in run_views(views or self.views, made, lambda run: run.plan())]
        finally:
            # What is planned for nothing is closed in its own time.
            wait_until(lambda: not self.open)


def wait_until(reached) -> None:
    give_up = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.01)


class Run:
    def __init__(self, views: Views, name: str):
        self._views, self._name = views, name

    def plan(self) -> Planned:
        self._views.say("plan", self._name)
        self._views.open.append(self._name)
        return Planned((), {}, (), HistoryState(frozenset({self._name})), self)

    def close(self) -> None:
        """As of what a plan has begun to read."""
        self._views.open.remove(self._name)
        self._views.say("close", self._name)

    def is_current(self, planned: Planned) -> bool:
        return self._name not in self._views.outdated

    def run(self, planned: Planned) -> MaterializationResult:
        assert planned.state.parts == {self._name}
        self._views.say("run", self._name)
        return MaterializationResult(self._name, (), 0, 0, 0.0)


def test_the_next_view_is_planned_while_one_is_written(project):
    views = Views(project)
    reached = threading.Event()
    say = views.say

    def waiting(verb, name):
        if (verb, name) == ("plan", "b"):
            reached.set()
        if (verb, name) == ("run", "a"):
            assert reached.wait(PATIENCE)
            assert ("plan", "c") not in views.said  # one ahead, no more
        say(verb, name)

    views.say = waiting
    assert views.run() == ["a", "b", "c"]


def test_one_view_is_planned_in_the_callers_thread(project):
    views = Views(project)
    threads = set()
    say = views.say
    views.say = lambda verb, name: (threads.add(threading.get_ident()), say(verb, name))
    assert views.run(views.views[:1]) == ["a"]
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("verb", ["make", "plan", "run"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_what_fails_is_told_after_the_others_were_run(project, verb, name):
    views = Views(project, {(verb, name): SourceError("lost")})
    with pytest.raises(SourceError, match="lost"):
        views.run()
    ran = [n for said, n in views.said if said == "run"]
    assert [n for n in ran if n != name] == [n for n in "abc" if n != name]


def test_all_that_fails_is_told(project):
    views = Views(project, {("plan", "b"): SourceError("lost"), ("run", "c"): SourceError("broken")})
    with pytest.raises(MaterializationError, match=r"\[b\].*lost.*\[c\].*broken"):
        views.run()


@pytest.mark.parametrize("verb", ["make", "plan", "run"])
def test_a_store_that_cannot_be_reached_ends_it(project, verb):
    views = Views(project, {(verb, "b"): StoreUnavailableError("down")})
    with pytest.raises(StoreUnavailableError):
        views.run()
    assert ("run", "a") in views.said
    assert ("run", "c") not in views.said


def test_nobody_waits_for_a_plan_that_is_not_run(project):
    views = Views(project, {("run", "a"): StoreUnavailableError("down")})
    say, planning, over = views.say, threading.Event(), threading.Event()

    def slow(verb, name):
        if (verb, name) == ("plan", "b"):
            planning.set()
            assert over.wait(PATIENCE)
        if (verb, name) == ("run", "a"):
            assert planning.wait(PATIENCE)
        say(verb, name)

    views.say = slow
    with pytest.raises(StoreUnavailableError):
        views.run()
    assert ("plan", "b") not in views.said
    over.set()
    wait_until(lambda: ("close", "b") in views.said)


def test_what_was_planned_ahead_of_a_change_is_planned_again(project):
    views = Views(project)
    views.outdated = {"b"}
    assert views.run() == ["a", "b", "c"]
    assert [views.said.count(("plan", name)) for name in "abc"] == [1, 2, 1]


def test_rows_that_come_while_the_view_before_is_written_are_written_too(project, monkeypatch):
    """A file more in the folder, after the second view was looked through and before its turn."""
    folder = project.root / "folder"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist([row(1, 1, 10)], SCHEMA), folder / "1.parquet")
    source = FileSource(name="folder", path=str(folder), timestamp_field="ts")
    project.write([row(1, 1, 10)])
    project.store.apply([DRIVER, project.view(name="a"), project.view(name="b", source=source)])
    run, planned = Materialization.run, threading.Event()
    plan = Materialization.plan_between

    def planning(this, *arguments):
        found = plan(this, *arguments)
        if this.view.name == "b":
            planned.set()
        return found

    def running(this, found):
        if this.view.name == "a":
            assert planned.wait(PATIENCE)
            pq.write_table(pa.Table.from_pylist([row(1, 49, 12)], SCHEMA), folder / "2.parquet")
        return run(this, found)

    monkeypatch.setattr(Materialization, "plan_between", planning)
    monkeypatch.setattr(Materialization, "run", running)
    project.store.materialize(START, END, ["a", "b"])
    assert project.store.get_online_features(["b:trips"], {"driver_id": [1]}).to_dict()["trips"] == [12]
    assert all(entry.settled for entry in project.store.registry.ledger("b"))


def test_a_view_that_reads_what_another_keeps_sees_it(project):
    project.write([row(1, 11, 10)])
    keeping = project.keeping_view(name="a_keeping")
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    reading = project.view(name="b_reading", source=keeping.sink_source, schema=schema)
    project.store.apply([DRIVER, keeping, reading])
    project.store.materialize(START, END, ["a_keeping", "b_reading"])
    found = project.store.get_online_features(["b_reading:trips"], {"driver_id": [1]}).to_dict()
    assert found["trips"] == [10]
