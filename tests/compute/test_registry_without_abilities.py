"""A registry with none of the abilities beside the interface: materialization and pushes work as with any other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from small_project import SmallProject, hours, row

import feast_assets.feature_store
from feast_assets.config import RepoConfig
from feast_assets.registry.base import Changes, Claim, LedgerEntry, OnlineTable, Registry, Revision, WindowContent
from feast_assets.registry.marks import KeepsMarks
from feast_assets.registry.noted_pushes import NotesPushes
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing import RegistryConformance
from feast_assets.testing.registry import RegistryFactory


class PlainRegistry(Registry):
    """The abstract methods of a registry, and no more; what it keeps is in a SQL registry."""

    config_class = SqlRegistryConfig

    def __init__(self, config: SqlRegistryConfig, root: Path, project: str):
        self._kept = SqlRegistry(config, root, project)

    def revision(self) -> int:
        return self._kept.revision()

    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        return self._kept.snapshot(revision)

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        return self._kept.commit(changes, based_on=based_on, by=by)

    def revisions(self) -> list[Revision]:
        return self._kept.revisions()

    def ledger(self, view: str) -> list[LedgerEntry]:
        return self._kept.ledger(view)

    def claim(
        self,
        view: str,
        contents: Sequence[WindowContent],
        *,
        empty: Sequence[WindowContent] = (),
        run_id: str = "",
        table: OnlineTable | None = None,
    ) -> Claim:
        return self._kept.claim(view, contents, empty=empty, run_id=run_id)

    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        self._kept.settle(claim, entries)

    def forget(self, view: str) -> None:
        self._kept.forget(view)

    def teardown(self) -> None:
        self._kept.teardown()


class TestPlainRegistry(RegistryConformance):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path) -> RegistryFactory:
        return partial(PlainRegistry, SqlRegistryConfig(path="registry.db"), tmp_path)

    # By default a registry lists one project, its own.
    test_the_projects_of_a_registry_are_listed_by_name = None  # type: ignore[assignment]
    # These start processes, which takes long, and test the SQL registry that is underneath.
    test_processes_that_apply_at_once_lose_nothing = None  # type: ignore[assignment]
    test_processes_that_record_at_once_lose_nothing = None  # type: ignore[assignment]
    test_processes_that_read_then_apply_never_overwrite_each_other = None  # type: ignore[assignment]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallProject]:
    def make(config: RepoConfig, root: Path) -> Registry:
        return PlainRegistry(SqlRegistryConfig(path="registry.db"), root, config.project)

    monkeypatch.setattr(feast_assets.feature_store, "make_registry", make)
    project = SmallProject(tmp_path)
    assert not isinstance(project.store.registry, KeepsMarks | NotesPushes)
    yield project
    project.close()


def test_windows_are_materialized_once_and_again_when_they_change(project: SmallProject) -> None:
    project.write([row(0, 1, 10), row(1, 2, 11), row(0, 30, 20)])
    project.apply()
    (first,) = project.store.materialize_incremental(hours(72))
    assert first.written == 2
    assert project.trips() == [20, 11, None, None, None, None]
    assert project.store.stale_windows("stats", hours(72)) == []
    project.write([row(0, 1, 10), row(0, 30, 21)])
    (second,) = project.store.materialize_incremental(hours(72))
    assert len(second.windows) == 2
    assert project.trips() == [21, None, None, None, None, None], "a corrected row, and one that was withdrawn"
    assert all(entry.settled for entry in project.store.registry.ledger("stats"))


def test_a_table_that_was_dropped_is_filled_again(project: SmallProject) -> None:
    project.write([row(0, 1, 10)])
    project.apply()
    project.store.materialize_incremental(hours(48))
    project.store.online_store.drop([project.store.get_feature_view("stats").online_table("small")])
    project.store.materialize_incremental(hours(48))
    assert project.trips()[0] == 10


def test_a_restored_store_is_not_noticed_and_a_newer_row_still_wins(project: SmallProject) -> None:
    project.write([row(0, 1, 10)])
    project.apply()
    project.store.materialize_incremental(hours(48))
    file = next(project.root.rglob("online.db"))
    project.store.online_store.close()
    shutil.copy(file, project.root / "backup.db")
    project.write([row(0, 1, 10), row(0, 30, 20)])
    project.store.materialize_incremental(hours(72))
    assert project.trips()[0] == 20
    project.store.online_store.close()
    for log in file.parent.glob("online.db-*"):
        log.unlink()
    shutil.copy(project.root / "backup.db", file)
    assert all(result.windows == () for result in project.store.materialize_incremental(hours(72)))
    assert project.trips()[0] == 10, "as the documentation of KeepsMarks says"
    project.store.materialize(hours(0), hours(72))
    assert project.trips()[0] == 20
