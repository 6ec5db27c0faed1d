"""What every compute engine must do, as tests.

An engine's test module subclasses the suite and gives an engine::

    class TestMyEngine(ComputeEngineConformance):
        @pytest.fixture
        def engine(self):
            return MyEngine(MyEngineConfig(...))

Each test has a feature repository of its own in ``tmp_path``, with a SQLite online store and Parquet files; the
engine's workers must see that folder. Results are compared with those of the local engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets.compute.engines.base import ComputeEngine, WindowDone, WindowTask
from feast_assets.compute.engines.local import LocalEngine
from feast_assets.errors import ComputeEngineError, FeastAssetsError, SourceError
from feast_assets.feature_store import FeatureStore
from feast_assets.repository.loading import load_repository

_START = datetime(2024, 1, 1, tzinfo=UTC)
_END = _START + timedelta(days=12)
_DRIVERS = list(range(6))
_VIEWS = ("plain", "kept", "whole")

_SETTINGS = """
project: engines
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
"""

_DEFINITIONS = """
from datetime import UTC, datetime, timedelta

from feast_assets import (
    BatchFeatureView, Checks, Entity, FeatureView, Field, FileSource, Int64, Partitions, String,
)

driver = Entity(name="driver", join_keys=["driver_id"])
trips = FileSource(name="trips", path="trips.parquet", timestamp_field="ts")
days = Partitions("daily", datetime(2024, 1, 1, tzinfo=UTC))
fields = [
    Field(name="driver_id", dtype=Int64),
    Field(name="trips", dtype=Int64, checks=Checks(minimum=0)),
    Field(name="city", dtype=String),
]


def doubled(trips):
    return f"SELECT driver_id, ts, 2 * trips AS trips, city FROM {trips}"


plain = FeatureView(
    name="plain", entities=[driver], source=trips, schema=fields, partitions=days, enable_validation=True
)
whole = FeatureView(name="whole", entities=[driver], source=trips, schema=fields, partitions=None)
kept = BatchFeatureView(
    name="kept", entities=[driver], source=trips, schema=fields, partitions=days, mode="sql", udf=doubled,
    sink_source=FileSource(name="doubled", path="doubled", timestamp_field="ts"), offline=True, online=True,
)
"""

_SCHEMA = pa.schema(
    [("driver_id", pa.int64()), ("trips", pa.int64()), ("city", pa.string()), ("ts", pa.timestamp("us", "UTC"))]
)

_ROWS = [(driver, day, 10 * driver + day, "x") for day in (0, 1, 2, 5, 6, 9) for driver in _DRIVERS if driver <= day]


class EngineProject:
    """A feature repository, and a store that materializes it with an engine.

    Attributes:
        root: the repository's folder.
    """

    def __init__(self, root: Path, engine: ComputeEngine):
        root.mkdir(exist_ok=True)
        self.root = root
        (root / "feature_store.yaml").write_text(_SETTINGS)
        (root / "engine_features.py").write_text(_DEFINITIONS)
        self.write(_ROWS)
        self.store = FeatureStore(root)
        self.use(engine)
        self.store.apply(load_repository(root).objects())

    def use(self, engine: ComputeEngine) -> None:
        """Has another engine run what is materialized from now on."""
        self.store._compute_engine = engine

    def write(self, rows: list[tuple[int, int, int, str]]) -> None:
        """Makes the source hold just these rows: driver, day, trips, city."""
        columns = list(zip(*rows, strict=True))
        times = [_START + timedelta(days=day, hours=1) for day in columns[1]]
        arrays = [pa.array(c, t) for c, t in zip([columns[0], *columns[2:], times], _SCHEMA.types, strict=True)]
        table = pa.table(arrays, _SCHEMA)
        writing = self.root / "trips.writing"
        pq.write_table(table, writing)
        writing.replace(self.root / "trips.parquet")

    def online(self) -> dict[str, list[object]]:
        """Returns what is served of every view and driver."""
        features = [f"{view}:{name}" for view in _VIEWS for name in ("trips", "city")]
        response = self.store.get_online_features(features, {"driver_id": _DRIVERS}, full_feature_names=True)
        return response.to_dict()

    def ledger(self) -> dict[str, list[tuple[object, ...]]]:
        """Returns what the ledger says of every view, without what differs by the order of tasks."""
        return {
            view: [(e.window, e.fingerprint, e.rows, e.settled) for e in self.store.registry.ledger(view)]
            for view in _VIEWS
        }

    def stale(self, view: str) -> list[str]:
        """Returns why which windows of a view are stale."""
        return [f"{s.window} {s.reason}" for s in self.store.stale_windows(view, _END)]

    def tasks(self, view: str) -> list[WindowTask]:
        """Returns the tasks of a run, claimed and not begun."""
        taken: list[WindowTask] = []

        class Taking(LocalEngine):
            tasks_at_once: ClassVar[int | None] = None
            windows_per_task: ClassVar[int | None] = 2
            uses_context: ClassVar[bool] = False

            def run(self, tasks: Any) -> Iterator[WindowDone]:
                taken.extend(tasks)
                raise ComputeEngineError("not begun")

        before = self.store.compute_engine
        self.use(Taking())
        with pytest.raises(ComputeEngineError, match="not begun"):
            self.store.materialize(_START, _END, [view])
        self.use(before)
        return taken


class ComputeEngineConformance:
    """The contract of `ComputeEngine` as tests."""

    @pytest.fixture
    def engine(self) -> Iterator[ComputeEngine]:
        """The engine under test."""
        raise NotImplementedError("a subclass gives its engine")

    @pytest.fixture
    def project(self, engine: ComputeEngine, tmp_path: Path) -> Iterator[EngineProject]:
        """A project that the engine under test materializes."""
        made = EngineProject(tmp_path / "engine", engine)
        yield made
        made.store._compute_engine = None  # the engine belongs to its fixture
        made.store.close()

    @pytest.fixture
    def local(self, tmp_path: Path) -> Iterator[EngineProject]:
        """The same project, materialized by the local engine."""
        made = EngineProject(tmp_path / "local", LocalEngine())
        yield made
        made.store.close()

    def test_several_views_and_windows_end_as_the_local_engine_leaves_them(
        self, project: EngineProject, local: EngineProject
    ) -> None:
        for each in (project, local):
            each.store.materialize(_START, _END)
        assert project.online() == local.online()
        assert project.ledger() == local.ledger()
        for view in _VIEWS:
            assert project.stale(view) == []
        assert pq.read_table(project.root / "doubled").num_rows == len(_ROWS)
        # Late, changed and removed rows, and those of a new window: what lies between stays.
        rows = [(d, day, t + (day == 5), c) for d, day, t, c in _ROWS if (d, day) != (2, 9)]
        for each in (project, local):
            each.write([*rows, (5, 3, 7, "late"), (0, 11, 8, "new")])
            results = each.store.materialize_incremental(_END)
            assert sum(r.withdrawn for r in results) > 0
        assert project.online() == local.online()
        for view in _VIEWS:
            assert project.stale(view) == []
            assert [r.windows for r in project.store.materialize_incremental(_END, [view])] == [()]

    def test_windows_are_profiled_as_the_local_engine_profiles_them(
        self, project: EngineProject, local: EngineProject
    ) -> None:
        windows = [s.window for s in local.store.stale_windows("plain", _END)]
        of = [each.store.materialize_windows("plain", windows, profile=True) for each in (project, local)]
        ours, expected = (
            {w.window: (w.rows, w.newest_event, w.profile, w.made) for w in result.windows} for result in of
        )
        assert ours == expected
        for window in of[0].windows:
            assert window.written is None or 0 <= window.written <= window.entities

    def test_rows_that_break_their_checks_are_not_written(self, project: EngineProject) -> None:
        project.write([*_ROWS, (3, 10, -1, "broken")])
        with pytest.raises(FeastAssetsError, match="minimum"):
            project.store.materialize(_START, _END, ["plain"])
        assert project.online()["plain__trips"][3] == 39
        assert len(project.stale("plain")) == 1

    def test_an_error_arrives_as_the_class_that_it_is_with_its_message(self, project: EngineProject) -> None:
        project.store.materialize(_START, _END, ["kept"])
        before = project.online()
        tasks = project.tasks("kept")
        (project.root / "trips.parquet").write_bytes(b"no table")
        answers = list(project.store.compute_engine.run(self._opened(project, tasks)))
        assert sorted(done.task for done in answers) == sorted(task.id for task in tasks)
        for done in answers:
            assert isinstance(done.error, SourceError)
            assert "trips" in str(done.error)
        assert project.online() == before
        project.write(_ROWS)
        assert project.stale("kept"), "what was claimed and not settled is run again"
        project.store.materialize_incremental(_END, ["kept"])
        assert project.stale("kept") == []
        assert project.online() == before

    def test_a_task_that_fails_does_not_keep_the_others_from_being_run(self, project: EngineProject) -> None:
        first, *others = self._opened(project, project.tasks("plain"))
        broken = replace(first, id="broken", view="no_such_view", context=None)
        answers = {done.task: done for done in project.store.compute_engine.run([broken, *others])}
        assert answers.keys() == {"broken", *(task.id for task in others)}
        assert isinstance(answers["broken"].error, FeastAssetsError)
        for task in others:
            done = answers[task.id]
            assert done.error is None
            assert len(done.entities) == len(task.windows)
            assert done.written is not None
            assert done.ignored is not None
            assert done.written + done.ignored == sum(done.entities) > 0
        project.store.materialize_incremental(_END, ["plain"])
        assert project.stale("plain") == []

    def test_tasks_can_be_run_in_any_order_and_twice(self, project: EngineProject, local: EngineProject) -> None:
        local.store.materialize(_START, _END, ["plain"])
        tasks = self._opened(project, project.tasks("plain"))
        assert len(tasks) > 1
        first = list(project.store.compute_engine.run(tasks[::-1]))
        again = list(project.store.compute_engine.run(tasks))
        assert all(done.error is None and done.is_sure for done in [*first, *again])
        assert [done.written for done in again] == [0] * len(tasks)
        for name in ("plain__trips", "plain__city"):
            assert project.online()[name] == local.online()[name]

    def _opened(self, project: EngineProject, tasks: list[WindowTask]) -> list[WindowTask]:
        """Returns tasks as a run gives them to the engine."""
        if not project.store.compute_engine.uses_context:
            return tasks
        from feast_assets.compute.engines.context import TaskContext
        from feast_assets.compute.ledger_rows import LedgerRows

        opened = []
        for task in tasks:
            stores = project.store._stores_of_task(task)
            context = TaskContext(stores, LedgerRows(stores, task.definition_hash, {}))
            opened.append(replace(task, context=context))
        return opened
