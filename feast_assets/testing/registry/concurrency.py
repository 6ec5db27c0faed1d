"""Suite: several writers and readers at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from feast_assets.errors import ConcurrentApplyError
from feast_assets.registry.base import (
    Changes,
    Registry,
)
from feast_assets.testing.registry.objects import DAY, FIRST, RegistryFactory, commit, entity, entry, record
from feast_assets.testing.registry.processes import _increment_carefully, _record_days, commit_entities, in_processes

_Read = TypeVar("_Read")


class Concurrency:
    """Appliers, runs and readers at the same time; the fixtures are those of `RegistryConformance`."""

    def test_changes_worked_out_from_an_old_revision_are_refused(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        commit(registry, entity("rider"))
        with pytest.raises(ConcurrentApplyError, match="revision 2"):
            registry.commit(Changes([entity("late")]), based_on=1)
        assert registry.revision() == 2
        assert registry.commit(Changes([entity("late")]), based_on=2) == 3

    def test_processes_that_apply_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        in_processes(commit_entities, [(registry_factory, worker, 8) for worker in range(3)])
        registry = registry_factory("shop")
        assert registry.revision() == 24
        assert len(registry.snapshot().entities) == 24
        assert [r.number for r in registry.revisions()] == list(range(1, 25))
        registry.close()

    def test_processes_that_read_then_apply_never_overwrite_each_other(self, registry_factory: RegistryFactory) -> None:
        in_processes(_increment_carefully, [(registry_factory, 10)] * 2)
        registry = registry_factory("shop")
        assert registry.snapshot().entity("counter").description == "20"
        registry.close()

    def test_threads_share_one_handle(self, registry: Registry) -> None:
        errors: list[BaseException] = []

        def work(worker: int) -> None:
            try:
                for i in range(5):
                    commit(registry, entity(f"e_{worker}_{i}"))
                    assert registry.snapshot().entity(f"e_{worker}_{i}")
                    record(registry, entry(f"v{worker}", FIRST + i * DAY, FIRST + (i + 1) * DAY))
            except BaseException as error:  # noqa: BLE001 - handed to the test
                errors.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert registry.revision() == 20
        assert len(registry.snapshot().entities) == 20
        assert all(len(registry.ledger(f"v{i}")) == 5 for i in range(4))

    def test_processes_that_record_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        in_processes(_record_days, [(registry_factory, 0, 12), (registry_factory, 8, 12)])
        registry = registry_factory("shop")
        assert [e.window.start for e in registry.ledger("trips")] == [FIRST + i * DAY for i in range(20)]
        registry.close()

    def test_a_reader_sees_the_ledger_before_or_after_a_change_and_never_in_the_middle(
        self, registry: Registry, registry_factory: RegistryFactory
    ) -> None:
        days = [entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(3)]
        record(registry, *days)
        reader = registry_factory("shop")
        with _reading_meanwhile(lambda: reader.ledger("trips")) as ledgers:
            for i in range(12):
                record(registry, *(replace(day, fingerprint=f"f{i % 3}") for day in days))
        reader.close()
        for entries in ledgers:
            assert [e.window for e in entries] == [day.window for day in days]
            assert len({(e.fingerprint, e.settled) for e in entries}) == 1, "all windows of a run change at once"

    def test_a_reader_sees_all_of_a_commit_or_nothing_of_it(
        self, registry: Registry, registry_factory: RegistryFactory
    ) -> None:
        names = ("driver", "rider", "trip")
        commit(registry, *(entity(name, "0") for name in names))
        reader = registry_factory("shop")
        with _reading_meanwhile(reader.snapshot) as snapshots:
            for i in range(1, 13):
                commit(registry, *(entity(name, str(i)) for name in names))
        reader.close()
        for snapshot in snapshots:
            assert len(snapshot.entities) == len(names)
            assert {e.description for e in snapshot.entities} == {str(snapshot.revision - 1)}


@contextmanager
def _reading_meanwhile(read: Callable[[], _Read]) -> Iterator[list[_Read]]:
    """Reads again and again in a thread; gives the list that gets what was read, complete at the end."""
    results: list[_Read] = [read()]
    errors: list[BaseException] = []
    is_over = threading.Event()

    def run() -> None:
        try:
            while not is_over.is_set():
                results.append(read())
            results.append(read())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield results
    finally:
        is_over.set()
        thread.join()
    if errors:
        raise errors[0]
