"""Suite of the ability to note pushes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.testing.registry.objects import FIRST, RegistryFactory, commit, entity
from feast_assets.testing.registry.processes import in_processes


def _pushed(push_id: str = "p", version: int = 7, hour: int = 0) -> NotedPush:
    return NotedPush(
        id=push_id,
        call="push to 'live'",
        online_views=("trips", 'odd "name"'),
        offline_view="trips",
        version=version,
        at=FIRST + timedelta(hours=hour, microseconds=1),
        by="someone@somewhere",
    )


def _note_many(factory: RegistryFactory, worker: int, count: int) -> None:
    registry = factory("shop")
    assert isinstance(registry, NotesPushes)
    for i in range(count):
        # Half of them are noted by two workers at once.
        push = _pushed(f"{i}" if i % 2 else f"{worker}-{i}", version=2 * worker + 1)
        noted = registry.note_push(push, f"rows of {push.id} as {push.version}".encode())
        kept = registry.rows_of_push(noted)
        assert kept is None or kept == f"rows of {noted.id} as {noted.version}".encode()
        if i % 4 == 0:
            registry.forget_push(noted)
    registry.close()


class NotesPushesConformance:
    """What a registry that notes pushes must do. Subclasses give `registry_factory` as for `RegistryConformance`."""

    @pytest.fixture
    def notes(self, registry_factory: RegistryFactory) -> Iterator[NotesPushes]:
        """A handle on an empty registry."""
        registry = registry_factory("shop")
        assert isinstance(registry, NotesPushes)
        yield registry
        registry.close()

    def test_nothing_is_noted_in_a_new_registry(self, notes: NotesPushes) -> None:
        assert notes.noted_pushes() == []
        assert notes.rows_of_push(_pushed()) is None
        notes.forget_push(_pushed())

    @pytest.mark.parametrize("size", [0, 1, 9_000_000])
    def test_a_noted_push_comes_back_as_it_was(
        self, notes: NotesPushes, registry_factory: RegistryFactory, size: int
    ) -> None:
        rows = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert notes.note_push(_pushed(), rows) == _pushed()
        other = registry_factory("shop")
        assert isinstance(other, NotesPushes)
        assert other.noted_pushes() == [_pushed()]
        assert other.rows_of_push(_pushed()) == rows
        other.close()

    def test_pushes_come_in_the_order_in_which_they_were_begun(self, notes: NotesPushes) -> None:
        for push_id, hour in (("b", 2), ("c", 1), ("a", 3)):
            notes.note_push(_pushed(push_id, hour=hour), b"rows")
        assert [push.id for push in notes.noted_pushes()] == ["c", "b", "a"]

    def test_a_push_that_is_noted_again_stays_as_it_was(self, notes: NotesPushes) -> None:
        first = notes.note_push(_pushed(version=7), b"first")
        assert notes.note_push(_pushed(version=9, hour=1), b"second") == first
        assert notes.noted_pushes() == [first]
        assert notes.rows_of_push(first) == b"first"

    def test_what_is_forgotten_is_gone_and_may_be_noted_anew(self, notes: NotesPushes) -> None:
        first = notes.note_push(_pushed(version=7), b"first")
        notes.forget_push(first)
        assert notes.noted_pushes() == []
        assert notes.rows_of_push(first) is None
        second = notes.note_push(_pushed(version=9), b"second")
        notes.forget_push(first)
        assert notes.noted_pushes() == [second], "of another version, so it is not the one that was completed"
        assert notes.rows_of_push(second) == b"second"

    def test_snapshots_say_whether_pushes_are_noted(
        self, notes: NotesPushes, registry_factory: RegistryFactory
    ) -> None:
        registry = registry_factory("shop")
        commit(registry, entity("driver"))
        before = registry.snapshot()
        assert not before.has_noted_pushes
        notes.note_push(_pushed(), b"rows")
        after = registry.refreshed(before)
        assert after.has_noted_pushes
        assert registry.snapshot().has_noted_pushes
        assert (after.revision, after.entities) == (before.revision, before.entities)
        commit(registry, entity("rider"))
        assert registry.refreshed(before).has_noted_pushes
        notes.forget_push(_pushed())
        assert not registry.refreshed(after).has_noted_pushes
        assert not registry.snapshot().has_noted_pushes
        registry.close()

    def test_projects_have_their_own_notes(self, notes: NotesPushes, registry_factory: RegistryFactory) -> None:
        other = registry_factory("other")
        assert isinstance(other, NotesPushes)
        notes.note_push(_pushed(), b"rows")
        assert other.noted_pushes() == []
        assert other.rows_of_push(_pushed()) is None
        other.note_push(_pushed(), b"other rows")
        notes.forget_push(_pushed())
        assert other.rows_of_push(_pushed()) == b"other rows"
        other.teardown()
        assert other.noted_pushes() == []
        other.close()

    def test_processes_that_note_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        in_processes(_note_many, [(registry_factory, worker, 12) for worker in range(3)])
        registry = registry_factory("shop")
        assert isinstance(registry, NotesPushes)
        kept = {push.id for push in registry.noted_pushes()}
        assert kept == {f"{i}" for i in range(1, 12, 2)} | {f"{w}-{i}" for w in range(3) for i in (2, 6, 10)}
        registry.close()
