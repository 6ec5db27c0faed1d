"""Refreshing a registry in a file asks the file system first; and what is read at once is of one state."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets.registry.base import Changes
from feast_assets.registry.cache import SnapshotCache
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.sqlite_file import SqliteFile
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing.registry import DAY, FIRST, commit, entity, entry, record, view

SECOND = 1_000_000_000


def sqlite(root: Path) -> SqlRegistry:
    return SqlRegistry(SqlRegistryConfig(path="registry.db"), root, "shop")


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """Has the clock say that so much time has passed."""
    now = time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now() + int(seconds * SECOND))
        yield


def await_next_time(root: Path) -> None:
    """Returns when what is written to a file has another time than what the registry's files have."""
    written = max(path.stat().st_mtime_ns for path in root.glob("registry.db*"))
    clock = root / "clock"
    clock.write_bytes(b"")
    while clock.stat().st_mtime_ns <= written:
        clock.write_bytes(b"")


def test_a_file_that_was_not_written_since_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, other = sqlite(tmp_path), sqlite(tmp_path)
    commit(registry, entity("driver"))
    opened = []
    connect = SqliteFile.connect

    def counted(self: SqliteFile, options: str = "") -> object:
        opened.append(options)
        return connect(self, options)

    monkeypatch.setattr(SqliteFile, "connect", counted)
    with later(10):
        snapshot = registry.refreshed(registry.snapshot())
        opened.clear()
        assert registry.refreshed(snapshot) is snapshot
        assert opened == []
        await_next_time(tmp_path)
        commit(other, entity("rider"))
        after = registry.refreshed(snapshot)
        assert after.revision == 2
        assert registry.refreshed(snapshot).revision == 2, "another snapshot than the last is looked up"
        os.replace(tmp_path / "registry.db", tmp_path / "away.db")
        assert registry.refreshed(after).revision == 0
    registry.close()
    other.close()


def test_a_file_that_was_written_just_now_has_no_signature(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    file = SqliteFile(tmp_path / "registry.db")
    assert file.signature() == ()
    commit(registry, entity("driver"))
    with later(-10):
        assert file.signature() is None, "the clock was put back"
    with later(10):
        before = file.signature()
        assert before
        assert file.signature() == before
        await_next_time(tmp_path)
        commit(registry, entity("rider"))
        assert file.signature() != before
    whole = time.time_ns() // SECOND * SECOND
    os.utime(file.path, ns=(whole, whole))
    with later(1):
        assert file.signature() is None, "a file system that keeps whole seconds"
    registry.close()


def test_a_note_of_a_push_is_seen_by_a_refresh(tmp_path: Path) -> None:
    registry, other = sqlite(tmp_path), sqlite(tmp_path)
    commit(registry, entity("driver"))
    with later(10):
        snapshot = registry.refreshed(registry.snapshot())
        await_next_time(tmp_path)
        with other._writing() as writing:
            writing.transaction.each(
                "INSERT INTO feast_assets_pushes VALUES (:p, :id, :t, :t, :t, 1, 1, :t)",
                [{"p": "shop", "id": "1", "t": "[]"}],
            )
        assert registry.refreshed(snapshot).has_noted_pushes
    registry.close()
    other.close()


def test_a_commit_to_a_file_behind_a_link_is_seen_by_a_refresh(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    commit(registry, entity("driver"))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "registry.db").symlink_to(tmp_path / "registry.db")
    linked = sqlite(tmp_path / "project")
    with later(10), registry.reading_at_once():  # so that the commit stays in the log
        snapshot = linked.refreshed(linked.snapshot())
        await_next_time(tmp_path)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(commit, registry, entity("rider")).result() == 2
        assert (tmp_path / "registry.db-wal").stat().st_size
        assert linked.refreshed(snapshot).revision == 2
    registry.close()
    linked.close()


def test_a_commit_after_a_reading_at_once_has_begun_is_seen_by_the_next_refresh(tmp_path: Path) -> None:
    registry, other, reader = sqlite(tmp_path), sqlite(tmp_path), sqlite(tmp_path)
    commit(registry, entity("driver"))
    with later(10), reader.reading_at_once():  # so that the commit stays in the log
        snapshot = registry.snapshot()
        with registry.reading_at_once():
            await_next_time(tmp_path)
            commit(other, entity("rider"))
            old = registry.refreshed(snapshot)
            assert old.revision == 1, "of the state that is read at once"
        assert registry.refreshed(old).revision == 2
    for each in (registry, other, reader):
        each.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["commit", "refresh", "teardown", "ledger"]), max_size=14))
def test_a_refresh_never_misses_a_commit(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    root = tmp_path_factory.mktemp("registry")
    registry, other = sqlite(root), sqlite(root)
    cache = SnapshotCache(registry, 0)
    for number, step in enumerate(steps):
        if step == "commit":
            other.commit(Changes([entity("driver", str(number))]))
        elif step == "teardown":
            other.teardown()
        elif step == "ledger":
            record(other, entry("trips", FIRST + number * DAY, FIRST + (number + 1) * DAY))
        newest = other.snapshot()
        refreshed = cache.fresh()
        assert (refreshed.revision, refreshed.committed) == (newest.revision, newest.committed)
        assert [e.description for e in refreshed.entities] == [e.description for e in newest.entities]
    registry.close()
    other.close()


def test_what_is_read_at_once_is_of_one_state_in_this_thread_only(tmp_path: Path) -> None:
    registry, other = sqlite(tmp_path), sqlite(tmp_path)
    commit(registry, view("trips"))
    with registry.reading_at_once():
        assert registry.revision() == 1
        commit(other, entity("driver"))
        record(other, entry("trips", FIRST, FIRST + DAY))
        with registry.reading_at_once():
            assert registry.revision() == 1
        assert registry.materialization_intervals("trips") == []
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(registry.revision).result() == 2
    assert registry.revision() == 2
    assert registry.materialization_intervals("trips") == [(FIRST, FIRST + DAY)]
    registry.close()
    other.close()


def test_nothing_is_read_at_once_where_there_is_no_registry(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    with registry.reading_at_once():
        assert registry.revision() == 0
        assert registry.ledger("trips") == []
    assert list(tmp_path.iterdir()) == []
