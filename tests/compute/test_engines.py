"""Compute engines: that of this process, and one of processes that get nothing but the JSON form of tasks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from small_project import START
from subprocess_engine import SubprocessEngine, SubprocessEngineConfig

from feast_assets import FeatureStore, RepoConfig
from feast_assets.compute.engines.base import (
    FORMAT,
    ComputeEngine,
    RepositoryReference,
    WindowDone,
    WindowTask,
    error_named,
)
from feast_assets.compute.engines.local import LocalEngine
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import (
    ComputeEngineError,
    ConfigError,
    FeastAssetsError,
    InputError,
    SourceError,
)
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.task_worker import TaskWorker
from feast_assets.testing import ComputeEngineConformance
from feast_assets.testing.compute_engine import EngineProject

DAY = timedelta(days=1)
END = START + 12 * DAY
FIRST, SECOND = Window(START, START + DAY), Window(START + DAY, START + 2 * DAY)
TASK = WindowTask(
    id="a.0",
    project="shop",
    view="stats",
    windows=(FIRST, SECOND),
    versions=(1_700_000_000_000_000, 1_700_000_000_000_002),
    definition_hash="d",
    revision=3,
    claim="a",
    run_id="me",
    reference=RepositoryReference("/repository", "/repository/feature_store.yaml"),
    only_replaces=True,
    validates=True,
)
DONE = WindowDone(
    "a.0",
    (3, 0),
    2,
    1,
    None,
    (WindowStatistics(FIRST, 4, START, START, None, "f", 1), WindowStatistics(ALWAYS, 0, None, None, None, "")),
    is_sure=False,
)


class TestLocalEngine(ComputeEngineConformance):
    @pytest.fixture
    def engine(self) -> ComputeEngine:
        return LocalEngine()


@pytest.fixture(scope="module")
def processes() -> Iterator[SubprocessEngine]:
    engine = SubprocessEngine()
    yield engine
    engine.close()


class TestSubprocessEngine(ComputeEngineConformance):
    @pytest.fixture
    def engine(self, processes: SubprocessEngine) -> ComputeEngine:
        return processes

    def test_each_task_is_run_by_a_worker(self, project: EngineProject, processes: SubprocessEngine) -> None:
        before = processes.tasks_run
        project.store.materialize(START, END, ["plain"])
        # Six days with rows, those without any between them bridged, and two days a task.
        assert processes.tasks_run - before == 3


@pytest.fixture
def project(tmp_path: Path) -> Iterator[EngineProject]:
    made = EngineProject(tmp_path / "project", LocalEngine())
    yield made
    made.store._compute_engine = None
    made.store.close()


def dying(point: str, workers: int = 1) -> SubprocessEngine:
    script = Path(__file__).with_name("dying_worker.py")
    return SubprocessEngine(SubprocessEngineConfig(workers=workers), command=[sys.executable, str(script), point])


@pytest.mark.parametrize(
    ("view", "point"), [("plain", "in put"), ("plain", "after put"), ("kept", "after replace"), ("kept", "before put")]
)
def test_a_killed_worker_leaves_nothing_torn_and_a_rerun_completes(
    project: EngineProject, view: str, point: str
) -> None:
    project.use(dying(point))
    with pytest.raises(ComputeEngineError, match=f"'{view}' ended with code -9 before it answered"):
        project.store.materialize(START, END, [view])
    entries = project.store.registry.ledger(view)
    assert not any(e.settled for e in entries if e.fingerprint), "no window is settled that a worker did not finish"
    project.use(LocalEngine())
    seen = project.online()[f"{view}__trips"]
    project.store.materialize_incremental(END, [view])
    whole = project.online()[f"{view}__trips"]
    assert project.stale(view) == []
    assert None not in whole
    # Every value that was served in between is one of history, put whole.
    factor = 2 if view == "kept" else 1
    history = [{factor * (10 * driver + day) for day in (0, 1, 2, 5, 6, 9)} for driver in range(6)]
    assert all(value is None or value in known for value, known in zip(seen, history, strict=True))
    assert whole == [factor * (10 * driver + 9) for driver in range(6)]


def test_what_other_workers_finished_stays_settled(project: EngineProject) -> None:
    """One task of three dies with its worker; it is the first that this worker is given."""

    class OneDies(SubprocessEngine):
        windows_per_task = 2

        def _ask(self, task: WindowTask, text: str) -> WindowDone:
            if task.windows[0].start == START:
                self._command = dying("in put")._command
                try:
                    return super()._ask(task, text)
                finally:
                    self._command = SubprocessEngine()._command
            return super()._ask(task, text)

    engine = OneDies(SubprocessEngineConfig(workers=1))
    project.use(engine)
    with pytest.raises(ComputeEngineError, match="ended with code -9"):
        project.store.materialize(START, END, ["plain"])
    engine.close()
    settled = {e.window: e.settled for e in project.store.registry.ledger("plain") if e.fingerprint}
    assert [settled[w] for w in sorted(settled)] == [False, False, True, True, True, True]
    assert [s.partition(") ")[2] for s in project.stale("plain")] == ["unsettled", "unsettled"]
    project.use(LocalEngine())
    (result,) = project.store.materialize_incremental(END, ["plain"])
    assert len(result.windows) == 2
    assert project.online()["plain__trips"] == [10 * driver + 9 for driver in range(6)]


def test_an_engine_that_forgets_a_task_leaves_its_windows_unsettled(project: EngineProject) -> None:
    class Forgetful(LocalEngine):
        tasks_at_once = None
        windows_per_task = 2

        def run(self, tasks):
            yield from super().run(tasks[1:])

    project.use(Forgetful())
    with pytest.raises(ComputeEngineError, match="gave no answer for some windows of feature view 'plain'"):
        project.store.materialize(START, END, ["plain"])
    assert len(project.stale("plain")) == 2


def test_an_engine_that_answers_for_a_task_that_it_was_not_given_is_refused(project: EngineProject) -> None:
    class Confused(LocalEngine):
        def run(self, tasks):
            for done in super().run(tasks):
                yield replace(done, task="another")

    project.use(Confused())
    with pytest.raises(ComputeEngineError, match="answered for task 'another', which it was not given"):
        project.store.materialize(START, END, ["plain"])
    assert project.stale("plain")


def test_an_answer_for_another_number_of_windows_is_refused(project: EngineProject) -> None:
    class Short(LocalEngine):
        def run(self, tasks):
            for done in super().run(tasks):
                yield replace(done, entities=done.entities[1:])

    project.use(Short())
    with pytest.raises(ComputeEngineError, match="answered for 5 windows of a task that has 6"):
        project.store.materialize(START, END, ["plain"])
    assert len(project.stale("plain")) == 6


# --- the JSON form


def test_a_task_and_an_answer_are_the_same_after_their_json_form() -> None:
    assert WindowTask.from_json(TASK.to_json()) == TASK
    assert WindowTask.from_json(replace(TASK, windows=(ALWAYS,), versions=(2,)).to_json()).windows == (ALWAYS,)
    assert WindowDone.from_json(DONE.to_json()) == DONE
    unknown = replace(DONE, written=None, ignored=None)
    assert WindowDone.from_json(unknown.to_json()) == unknown


def test_the_json_form_has_no_settings_in_it(project: EngineProject) -> None:
    (project.root / "feature_store.yaml").write_text(
        "project: engines\nprovider: local\nregistry: registry.db\n"
        "online_store: {type: redis, connection_string: 'localhost:1', password: hunter2}\n"
    )
    store = FeatureStore(project.root)
    form = replace(TASK, reference=store._reference()).to_json()
    assert "hunter2" not in form
    assert json.loads(form)["config"] == str(project.root / "feature_store.yaml")
    assert "hunter2" not in repr(store._reference())


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"format": "1"}', "{}", json.dumps({"format": FORMAT})])
def test_what_is_no_task_is_refused(text: str) -> None:
    for kind in (WindowTask, WindowDone):
        with pytest.raises(InputError, match="JSON form"):
            kind.from_json(text)


@pytest.mark.parametrize(
    "changes", [{"windows": []}, {"versions": [2]}, {"windows": [[0]]}, {"versions": ["x", "y"]}, {"windows": None}]
)
def test_a_damaged_task_is_refused(changes: dict[str, object]) -> None:
    damaged = json.dumps({**json.loads(TASK.to_json()), **changes})
    with pytest.raises(InputError, match="The JSON form of a window task is damaged"):
        WindowTask.from_json(damaged)


def test_a_newer_format_is_refused_with_a_remedy() -> None:
    newer = json.dumps({**json.loads(TASK.to_json()), "format": FORMAT + 1})
    with pytest.raises(InputError, match="Install the same version of feast-assets on both sides"):
        WindowTask.from_json(newer)


def test_settings_that_were_given_in_python_cannot_be_sent(project: EngineProject, processes: SubprocessEngine) -> None:
    config = project.store.config.with_sections(batch_engine={"type": "local"})
    assert project.store.config.file == project.root / "feature_store.yaml"
    store = FeatureStore(project.root, config)
    store._compute_engine = processes
    with pytest.raises(ConfigError, match="the settings were given in Python. Write them to feature_store.yaml"):
        store.materialize(START, END, ["plain"])
    store._compute_engine = LocalEngine()
    store.materialize_incremental(END, ["plain"])
    assert store.stale_windows("plain", END) == []
    store.close()


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("SourceError", "lost", SourceError),
        ("FeatureViewNotFoundException", "no view", FeastAssetsError),
        ("BrokenChecksError", "broken", FeastAssetsError),
        ("KeyError", "x", ComputeEngineError),
        ("shown", "x", ComputeEngineError),
    ],
)
def test_an_error_is_made_again_from_its_name(name: str, message: str, expected: type[Exception]) -> None:
    error = error_named(name, message)
    assert isinstance(error, expected)
    assert message in str(error)
    again = WindowDone.from_json(WindowDone("t", error=error).to_json()).error
    assert type(again) is type(error)
    assert str(again) == str(error)


# --- the worker


@pytest.fixture
def worker() -> Iterator[TaskWorker]:
    made = TaskWorker()
    yield made
    made.close()


def test_a_worker_refuses_another_project_or_definition(project: EngineProject, worker: TaskWorker) -> None:
    task = project.tasks("plain")[0]
    for changed, said in (
        (replace(task, project="other"), "is of project 'other', and the settings here are of 'engines'"),
        (replace(task, definition_hash="other"), "was planned for another definition"),
    ):
        done = WindowDone.from_json(worker.run(changed.to_json()))
        assert isinstance(done.error, ComputeEngineError)
        assert said in str(done.error)
    assert project.online()["plain__trips"] == [None] * 6
    assert WindowDone.from_json(worker.run(task.to_json())).written > 0


def test_a_worker_says_what_it_cannot_load(project: EngineProject, worker: TaskWorker) -> None:
    task = project.tasks("plain")[0]
    nowhere = RepositoryReference(str(project.root / "gone"), str(project.root / "gone" / "feature_store.yaml"))
    answers = [worker.run(t.to_json()) for t in (replace(task, reference=nowhere), replace(task, view="lost"))]
    config, view = (WindowDone.from_json(a).error for a in answers)
    assert isinstance(config, ConfigError)
    assert view is not None and "lost" in str(view)


def test_an_unexpected_error_of_a_task_is_named(project: EngineProject) -> None:
    task = project.tasks("plain")[0]
    project.store.offline_store.latest = lambda *_: 1 / 0  # type: ignore[method-assign]
    done = project.store.run_window_task(task)
    assert isinstance(done.error, ComputeEngineError)
    assert "ZeroDivisionError: division by zero" in str(done.error)


# --- the settings


def test_the_engine_is_chosen_by_the_settings(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, RepoConfig(project="p", batch_engine={"type": "local"}))
    assert isinstance(store.compute_engine, LocalEngine)
    assert store.compute_engine is store.compute_engine
    assert isinstance(FeatureStore(tmp_path, RepoConfig(project="p")).compute_engine, LocalEngine)


def test_an_engine_of_the_repository_is_found_by_the_path_of_its_class(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(
        "project: p\nbatch_engine: {type: my_engines.PatientEngine, patience: 3}\n"
    )
    (tmp_path / "my_engines.py").write_text(
        "from feast_assets.compute.engines.local import LocalEngine\n"
        "from feast_assets.settings.model import Settings\n\n\n"
        "class PatientEngineConfig(Settings):\n    type: str\n    patience: int = 1\n\n\n"
        "class PatientEngine(LocalEngine):\n"
        "    config_class = PatientEngineConfig\n\n"
        "    def __init__(self, config, root):\n        self.config, self.root = config, root\n"
    )
    engine = FeatureStore(tmp_path).compute_engine
    assert type(engine).__name__ == "PatientEngine"
    assert (engine.config.patience, engine.root) == (3, tmp_path)  # type: ignore[attr-defined]


def test_a_class_that_is_no_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: p\nbatch_engine: {type: my_engines.NoEngine}\n")
    (tmp_path / "my_engines.py").write_text("class NoEngine:\n    pass\n")
    with pytest.raises(ConfigError, match=r"my_engines\.NoEngine"):
        _ = FeatureStore(tmp_path).compute_engine


def test_an_unknown_setting_of_the_engine_is_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, RepoConfig(project="p", batch_engine={"type": "local", "wrokers": 2}))
    with pytest.raises(ConfigError, match="unknown key 'wrokers' in batch_engine"):
        _ = store.compute_engine
