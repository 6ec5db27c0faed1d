"""Views are run in turn; only looking through the next one's source happens while one is written."""

from __future__ import annotations

import threading

import pytest
from small_project import DRIVER, START, SmallProject, hours, row

from feast_assets import BatchFeatureView, Field, FileSource, Int64, Partitions
from feast_assets.compute.materialization import Planned
from feast_assets.compute.results import MaterializationResult
from feast_assets.compute.view_runs import run_views
from feast_assets.errors import MaterializationError, SourceError, StoreUnavailableError

END = hours(24 * 4)
PATIENCE = 20


class Views:
    """Materializations that only say what is asked of them, and fail where they are told to."""

    def __init__(self, project: SmallProject, failing: dict[tuple[str, str], Exception] | None = None):
        self.said: list[tuple[str, str]] = []
        self.views = [project.view(name=name) for name in "abc"]
        self._failing = failing or {}

    def say(self, verb: str, name: str) -> None:
        self.said.append((verb, name))
        if (verb, name) in self._failing:
            raise self._failing[verb, name]

    def run(self, views=None) -> list[str]:
        def made(view):
            self.say("make", view.name)
            return Run(self, view.name)

        return [result.view for result in run_views(views or self.views, made, lambda run: run.plan())]


class Run:
    def __init__(self, views: Views, name: str):
        self._views, self._name = views, name

    def plan(self) -> Planned:
        self._views.say("plan", self._name)
        return Planned((), {}, (), frozenset({self._name}))

    def run(self, planned: Planned) -> MaterializationResult:
        assert planned.state == {self._name}
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


def test_a_view_that_reads_what_another_keeps_sees_it(project):
    project.write([row(1, 11, 10)])
    kept = FileSource(name="kept", path="kept", timestamp_field="ts")
    arguments = {
        "entities": [DRIVER],
        "schema": [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        "partitions": Partitions("daily", START),
    }
    keeping = BatchFeatureView(
        name="a_keeping",
        mode="sql",
        source=project.view().batch_source,
        sink_source=kept,
        offline=True,
        online=True,
        udf=_same,
        **arguments,
    )
    project.store.apply([DRIVER, keeping, project.view(name="b_reading", source=kept, schema=arguments["schema"])])
    project.store.materialize(START, END, ["a_keeping", "b_reading"])
    found = project.store.get_online_features(["b_reading:trips"], {"driver_id": [1]}).to_dict()
    assert found["trips"] == [10]


def _same(stats):
    return f"SELECT driver_id, ts, trips FROM {stats}"
