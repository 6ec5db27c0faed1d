"""The log of a run whose events are written together is that of one whose events are written one by one."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from checked_visits import DAYS, KEY, Project, checked_project
from dagster._core.storage.event_log import SqliteEventLogStorage

from feast_assets.dagster import event_batches, materialization
from feast_assets.dagster.event_batches import written_together

CHECKS = ("nulls", "ranges", "allowed_values", "uniqueness", "row_count", "keys_and_times", "schema")
EVERY_DAY = {f"2024-01-{day:02}" for day in range(1, DAYS + 1)}


@pytest.fixture
def project(write_repository: Callable[..., Path], instance: dg.DagsterInstance) -> Project:
    made = checked_project(write_repository, instance, "")
    made.change(10, 3, score=1000.0)
    return made


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose log is in files, or one whose events are always written as they come."""
    if request.param == "memory":
        with dg.DagsterInstance.ephemeral() as made:
            yield made
        return
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def told(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """Returns what Dagster knows after a run, without times and numbers that differ from run to run."""
    storage = instance.event_log_storage
    log = [each.event_log_entry for each in storage.get_records_for_run(run_id).records]
    made = instance.fetch_materializations(KEY, limit=100).records
    return {
        "log": [
            (e.dagster_event_type, e.dagster_event.partition)
            for e in log
            if e.dagster_event and not e.dagster_event_type.value.endswith("PLANNED")
        ],
        "materialized": [(r.partition_key, sorted(r.asset_materialization.metadata)) for r in made],
        "latest": instance.get_latest_materialization_event(KEY).asset_materialization.partition,
        "checks": {
            name: [
                (r.partition, r.status.value, getattr(r.evaluation, "description", None))
                for r in storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, name), limit=100)
            ]
            for name in CHECKS
        },
    }


@contextmanager
def one_by_one(instance: dg.DagsterInstance) -> Iterator[Callable[[], None]]:
    yield lambda: None


def test_together_and_one_by_one_the_same_is_told(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    connect = SqliteEventLogStorage._connect
    monkeypatch.setattr(
        SqliteEventLogStorage, "_connect", lambda self, shard: opened.append(shard) or connect(self, shard)
    )
    logs, counts = [], []
    for name, write in (("together", written_together), ("one by one", one_by_one)):
        monkeypatch.setattr(materialization, "written_together", write)
        (tmp_path / name / "home").mkdir(parents=True)
        root = shutil.copytree(project.root, tmp_path / name / "repository")
        with dg.DagsterInstance.local_temp(str(tmp_path / name / "home")) as instance:
            opened.clear()
            result = Project(root, instance).run()
            counts.append(len(opened))
            assert not result.success
            logs.append(told(instance, result.run_id))
    assert logs[0] == logs[1]
    assert {partition for partition, _ in logs[0]["materialized"]} == EVERY_DAY - {"2024-01-11"}
    assert ("2024-01-11", "FAILED") in {(partition, status) for partition, status, _ in logs[0]["checks"]["ranges"]}
    # For each of 11 materializations two files are opened, and for each of 48 verdicts three times one.
    assert counts[1] - counts[0] > 11 * 2 + 48 * 3 - 30


def _event(partition: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(KEY, partition=partition)


def _run(instance: dg.DagsterInstance, compute: Callable[[Any], Iterator[Any]]) -> dg.ExecuteInProcessResult:
    """Runs an op that yields events, all of which may be written together."""

    @dg.op(out=dg.Out(dg.Nothing))
    def step(context) -> Iterator[Any]:  # Dagster reads annotations, and cannot where they are text.
        with written_together(context.instance):
            yield from compute(context)
        yield dg.Output(None)

    @dg.job
    def job() -> None:
        step()

    return job.execute_in_process(instance=instance, raise_on_error=False)


def partitions(log: dg.DagsterInstance) -> set[str]:
    return set(log.get_materialized_partitions(KEY))


def test_what_was_told_is_there_when_it_is_read(log: dg.DagsterInstance) -> None:
    seen: list[set[str]] = []

    def compute(context: Any) -> Iterator[Any]:
        yield _event("a")
        yield _event("b")
        seen.append(partitions(context.instance))
        yield _event("c")

    assert _run(log, compute).success
    assert seen == [{"a", "b"}]
    assert partitions(log) == {"a", "b", "c"}


def test_before_something_that_takes_long_others_see_what_was_told(tmp_path: Path) -> None:
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.DagsterInstance.local_temp(str(tmp_path)) as other,
    ):
        seen = []

        @dg.op(out=dg.Out(dg.Nothing))
        def step(context) -> Iterator[Any]:
            with written_together(context.instance) as write:
                yield _event("a")
                yield _event("b")
                seen.append(partitions(other))
                write()
                seen.append(partitions(other))
            yield dg.Output(None)

        @dg.job
        def job() -> None:
            step()

        assert job.execute_in_process(instance=instance).success
        assert seen == [set(), {"a", "b"}]


def test_other_events_come_after_those_before_them(log: dg.DagsterInstance) -> None:
    def compute(context: Any) -> Iterator[Any]:
        yield _event("a")
        context.log.info("between")
        yield _event("b")

    run = _run(log, compute)
    assert run.success
    entries = [each.event_log_entry for each in log.event_log_storage.get_records_for_run(run.run_id).records]
    told = [
        e.user_message if e.dagster_event is None else e.dagster_event.partition
        for e in entries
        if e.dagster_event is None or e.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    assert told == ["a", "between", "b"]


def test_an_error_leaves_what_was_told_before_it(log: dg.DagsterInstance) -> None:
    def compute(context: Any) -> Iterator[Any]:
        yield _event("a")
        yield _event("b")
        raise dg.Failure("no more")

    assert not _run(log, compute).success
    assert partitions(log) == {"a", "b"}


def test_more_events_than_one_transaction_holds_are_all_written(
    log: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_batches, "_MOST", 3)
    names = {f"p{i}" for i in range(8)}
    assert _run(log, lambda context: map(_event, sorted(names))).success
    assert partitions(log) == names


def test_another_thread_reads_and_writes_the_same_log(log: dg.DagsterInstance) -> None:
    others = {f"other {i}" for i in range(20)}
    seen: list[bool] = []

    def beside() -> None:
        for name in sorted(others):
            log.report_runless_asset_event(_event(name))
            seen.append(name in partitions(log))

    def compute(context: Any) -> Iterator[Any]:
        thread = threading.Thread(target=beside)
        thread.start()
        yield from (_event(f"own {i}") for i in range(100))
        thread.join()

    assert _run(log, compute).success
    assert seen == [True] * len(others)
    assert partitions(log) == others | {f"own {i}" for i in range(100)}


@pytest.mark.parametrize("connection", ["run_connection", "index_connection"])
def test_what_cannot_be_written_at_once_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    connect = getattr(SqliteEventLogStorage, connection)
    failing: list[str] = []

    def held(self, *arguments):
        if failing:
            raise RuntimeError(failing.pop())
        return connect(self, *arguments)

    monkeypatch.setattr(SqliteEventLogStorage, connection, held)

    def compute(context: Any) -> Iterator[Any]:
        yield _event("a")
        yield _event("b")
        failing.append("held by somebody else")
        with pytest.raises(RuntimeError, match="held"):
            partitions(context.instance)
        yield _event("c")

    with dg.DagsterInstance.local_temp(str(tmp_path)) as log:
        run = _run(log, compute)
        assert run.success
        assert partitions(log) == {"a", "b", "c"}
        made = log.event_log_storage.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        assert [each.event_log_entry.dagster_event.partition for each in made] == ["a", "b", "c"]


def test_an_event_that_comes_just_after_the_end_is_written(log: dg.DagsterInstance) -> None:
    late: list[Callable[[], None]] = []

    def compute(context: Any) -> Iterator[Any]:
        store = context.instance.event_log_storage.store_event
        yield _event("a")
        (record,) = context.instance.fetch_materializations(KEY, limit=1).records
        event = record.event_log_entry
        late.append(lambda: store(event))

    assert _run(log, compute).success
    late[0]()
    assert len(log.fetch_materializations(KEY, limit=10).records) == 2


def test_a_storage_is_left_as_it_was(log: dg.DagsterInstance) -> None:
    before = dict(vars(log.event_log_storage))
    with written_together(log), written_together(log):
        pass
    with pytest.raises(ZeroDivisionError), written_together(log):
        raise ZeroDivisionError
    assert vars(log.event_log_storage) == before
