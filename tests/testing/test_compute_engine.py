"""The suite of compute engines fails on engines that break the contract, each in its own way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from feast_assets.compute.engines.base import ComputeEngine, WindowDone, WindowTask
from feast_assets.compute.engines.local import LocalEngine
from feast_assets.errors import ComputeEngineError
from feast_assets.testing import ComputeEngineConformance
from feast_assets.testing.compute_engine import EngineProject


class InParts(LocalEngine):
    """A sound engine whose tasks have two windows each."""

    tasks_at_once: ClassVar[int | None] = None
    windows_per_task: ClassVar[int | None] = 2


class LeavesOutATask(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        return super().run(list(tasks)[:-1])


class AnswersWithoutWriting(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        return (WindowDone(task.id, (0,) * len(task.windows), 0, 0, 0, (), is_sure=True) for task in tasks)


class EndsWithTheFirstError(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        for done in super().run(tasks):
            if done.error is not None:
                raise done.error
            yield done


class HidesErrors(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        return (replace(done, error=None) for done in super().run(tasks))


class LosesTheClassOfErrors(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        for done in super().run(tasks):
            yield done if done.error is None else replace(done, error=ComputeEngineError(str(done.error)))


class RunsUnderOtherVersions(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        self._runs = getattr(self, "_runs", 0) + 2
        return super().run([replace(t, versions=tuple(v + self._runs for v in t.versions)) for t in tasks])


class CountsNoEntities(InParts):
    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        return (replace(done, entities=(0,) * len(done.entities)) for done in super().run(tasks))


AS_LOCAL = "test_several_views_and_windows_end_as_the_local_engine_leaves_them"
OTHERS_GO_ON = "test_a_task_that_fails_does_not_keep_the_others_from_being_run"
ERRORS = "test_an_error_arrives_as_the_class_that_it_is_with_its_message"
BROKEN = {
    LeavesOutATask: OTHERS_GO_ON,
    AnswersWithoutWriting: AS_LOCAL,
    EndsWithTheFirstError: OTHERS_GO_ON,
    HidesErrors: ERRORS,
    LosesTheClassOfErrors: ERRORS,
    RunsUnderOtherVersions: "test_tasks_can_be_run_in_any_order_and_twice",
    CountsNoEntities: OTHERS_GO_ON,
}
"""Engines, and a case that must fail on each."""


def run(engine: ComputeEngine, case: str, root: Path) -> None:
    """Runs one case of the suite."""
    project, local = EngineProject(root / "engine", engine), EngineProject(root / "local", LocalEngine())
    fixtures = {"project": project, "local": local}
    test = getattr(ComputeEngineConformance(), case)
    try:
        test(**{name: fixtures[name] for name in test.__code__.co_varnames[1 : test.__code__.co_argcount]})
    finally:
        for each in (project, local):
            each.store.close()


@pytest.mark.parametrize(("engine", "case"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_suite_fails_on_a_broken_engine(tmp_path: Path, engine: type[ComputeEngine], case: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the case meets is a failure
        run(engine(), case, tmp_path)


@pytest.mark.parametrize("case", sorted(set(BROKEN.values())))
def test_the_same_cases_pass_on_a_sound_engine(tmp_path: Path, case: str) -> None:
    run(InParts(), case, tmp_path)
