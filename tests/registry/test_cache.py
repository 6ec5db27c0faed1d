"""Definitions in memory: refreshed when they are old, off the path of requests unless asked otherwise."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from feast_assets import Entity
from feast_assets.errors import StoreUnavailableError
from feast_assets.registry.base import Changes
from feast_assets.registry.cache import SnapshotCache
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry


@pytest.fixture
def registry(tmp_path):
    made = SqlRegistry(SqlRegistryConfig(path="registry.db"), tmp_path, "p")
    made.commit(Changes([Entity(name="a")]))
    yield made
    made.close()


def names(snapshot):
    return [e.name for e in snapshot.entities]


def wait_for_refresh():
    for thread in threading.enumerate():
        if thread.name == "feast-assets-registry":
            thread.join(10)


def test_a_cached_snapshot_is_kept_until_it_is_old(registry):
    cache = SnapshotCache(registry, 3600)
    assert names(cache.get()) == ["a"]
    registry.commit(Changes([Entity(name="b")]))
    assert names(cache.get()) == ["a"]
    assert names(cache.fresh()) == ["a", "b"]
    assert names(cache.get()) == ["a", "b"]


def test_an_old_snapshot_answers_while_the_new_one_is_read(registry):
    cache = SnapshotCache(registry, 1e-9)
    cache.get()
    registry.commit(Changes([Entity(name="b")]))
    assert names(cache.get()) == ["a"]
    wait_for_refresh()
    assert names(cache.get()) == ["a", "b"]


def test_a_request_can_wait_for_the_new_one(registry):
    cache = SnapshotCache(registry, 1e-9, wait=True)
    cache.get()
    registry.commit(Changes([Entity(name="b")]))
    assert names(cache.get()) == ["a", "b"]


def test_what_is_read_at_once_does_not_take_the_place_of_what_was_read_later(registry, monkeypatch):
    cache = SnapshotCache(registry, 3600)
    cache.fresh()
    threads = []

    def commit_and_refresh():
        registry.commit(Changes([Entity(name="b")]))
        cache.fresh()

    @contextmanager
    def begun():
        with SqlRegistry.reading_at_once(registry):
            threads.append(threading.Thread(target=commit_and_refresh))
            threads[0].start()
            threads[0].join(0.3)  # as far as it gets
            yield

    monkeypatch.setattr(registry, "reading_at_once", begun)
    assert cache.fresh_with(names) == ["a"]
    threads[0].join(10)
    assert names(cache.get()) == ["a", "b"]


def test_no_limit(registry):
    cache = SnapshotCache(registry, 0, wait=True)
    cache.get()
    registry.commit(Changes([Entity(name="b")]))
    assert names(cache.get()) == ["a"]


def test_a_registry_that_is_down_leaves_the_old_snapshot(registry, monkeypatch):
    cache = SnapshotCache(registry, 1e-9, wait=True)
    cache.get()

    def down(_):
        raise StoreUnavailableError("down")

    monkeypatch.setattr(registry, "refreshed", down)
    with pytest.warns(UserWarning, match="could not be refreshed"):
        assert names(cache.get()) == ["a"]
    with pytest.raises(StoreUnavailableError):
        cache.fresh()
