"""Views are run in turn, and one that fails does not keep the others from being run."""

from __future__ import annotations

import pytest
from small_project import DRIVER, START, SmallProject, hours, row

from feast_assets import FeatureView, Field, Int64
from feast_assets.compute.results import MaterializationResult
from feast_assets.compute.view_runs import run_views
from feast_assets.errors import MaterializationError, SourceError, StoreUnavailableError

END = hours(24 * 4)


class Runs:
    """Notes which views were run, and fails where it is told to."""

    def __init__(self, failing: dict[str, Exception]):
        self.ran: list[str] = []
        self._failing = failing

    def __call__(self, view: FeatureView) -> MaterializationResult:
        self.ran.append(view.name)
        if view.name in self._failing:
            raise self._failing[view.name]
        return MaterializationResult(view.name, (), 0, 0, 0.0)


@pytest.fixture
def views(project: SmallProject) -> list[FeatureView]:
    return [project.view(name=name) for name in "abc"]


def test_views_are_run_in_the_order_given(views: list[FeatureView]) -> None:
    runs = Runs({})
    assert [result.view for result in run_views(views, runs)] == ["a", "b", "c"] == runs.ran
    assert run_views([], runs) == []


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_what_fails_is_raised_after_the_others_were_run(views: list[FeatureView], name: str) -> None:
    runs = Runs({name: SourceError("lost")})
    with pytest.raises(SourceError, match="lost"):
        run_views(views, runs)
    assert runs.ran == ["a", "b", "c"]


def test_all_that_fails_is_named(views: list[FeatureView]) -> None:
    runs = Runs({"b": SourceError("lost"), "c": SourceError("broken")})
    with pytest.raises(MaterializationError, match=r"\[b\].*lost.*\[c\].*broken"):
        run_views(views, runs)


def test_a_store_that_cannot_be_reached_ends_it(views: list[FeatureView]) -> None:
    runs = Runs({"a": SourceError("lost"), "b": StoreUnavailableError("down")})
    with pytest.raises(StoreUnavailableError, match="down"):
        run_views(views, runs)
    assert runs.ran == ["a", "b"]


def test_an_error_that_is_not_ours_ends_it(views: list[FeatureView]) -> None:
    runs = Runs({"b": ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        run_views(views, runs)
    assert runs.ran == ["a", "b"]


def test_a_view_that_reads_what_another_keeps_sees_it(project: SmallProject) -> None:
    project.write([row(1, 11, 10)])
    keeping = project.keeping_view(name="a_keeping")
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    reading = project.view(name="b_reading", source=keeping.sink_source, schema=schema)
    project.store.apply([DRIVER, keeping, reading])
    project.store.materialize(START, END, ["a_keeping", "b_reading"])
    response = project.store.get_online_features(["b_reading:trips"], {"driver_id": [1]}).to_dict()
    assert response["trips"] == [10]
