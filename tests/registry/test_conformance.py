"""The suites for registries fail on registries that break one promise."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from feast_assets.definitions.base import Definition
from feast_assets.registry.base import Changes, Claim, DrawnMark, LedgerEntry, OnlineTable, WindowContent
from feast_assets.registry.checkpoints import Checkpoint
from feast_assets.registry.noted_pushes import NotedPush
from feast_assets.registry.part_statistics import Segment
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing import (
    KeepsCheckpointsConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    RegistryConformance,
)
from feast_assets.testing.registry import RegistryFactory

_A_MOMENT = 0.05
"""Seconds in the middle of a change that ought to be one transaction."""


_WRITING = threading.Lock()


class IgnoresWhatChangesAreBasedOn(SqlRegistry):
    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        return super().commit(changes, by=by)


class WritesBackWhatItRead(SqlRegistry):
    """Two appliers that read the same revision: the second removes what the first has added."""

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        read = self.snapshot()
        time.sleep(_A_MOMENT)
        kept = {*read.known(), *((type(o).object_type, o.name) for o in changes.upserts)}
        with _WRITING:
            others = set(self.snapshot().known()) - kept
            return super().commit(replace(changes, deletes=[*changes.deletes, *others]), by=by)


class CommitsObjectByObject(SqlRegistry):
    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        revision = self.revision()
        for definition in changes.upserts:
            revision = super().commit(Changes([definition]), by=by)
            time.sleep(_A_MOMENT / 10)
        return super().commit(Changes(deletes=changes.deletes, inputs=changes.inputs), by=by) or revision


class ReadsObjectByObject(SqlRegistry):
    """Its snapshots are put together from several states of the database."""

    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        objects: list[Definition] = []
        for key in super().snapshot(revision).known():
            found = super().snapshot(revision).get(*key)
            objects += [found] if found is not None else []
            time.sleep(_A_MOMENT / 10)
        newest = super().snapshot(revision)
        return RegistrySnapshot.of(self.project, objects, revision=newest.revision)


class ForgetsToSettle(SqlRegistry):
    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        pass


class SettlesWhatOthersClaimed(SqlRegistry):
    """The last to settle is believed, though another run may have written the rows."""

    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        again = self.claim(claim.view, [WindowContent(e.window, e.fingerprint, e.definition_hash) for e in entries])
        super().settle(again, entries)


class ClaimsInTwoTransactions(SqlRegistry):
    """A reader in between sees a ledger that has lost its windows."""

    def claim(self, view: str, contents: Sequence[WindowContent], **options: Any) -> Claim:
        standing = {e.window: e for e in self.ledger(view)}
        self.forget(view)
        time.sleep(_A_MOMENT)
        claim = super().claim(view, contents, **options)
        replaced = tuple((standing[c.window],) if c.window in standing else () for c in contents)
        return replace(claim, replaced=replaced)


class GivesTheSameVersionAgain(SqlRegistry):
    def claim(self, view: str, contents: Sequence[WindowContent], **options: Any) -> Claim:
        claim = super().claim(view, contents, **options)
        return replace(claim, versions=tuple(2_000_000_000_000_000 for _ in claim.versions))


class ForgetsWhatNumbersFollow(SqlRegistry):
    def known_marks(self, view: str, identity: str) -> list[DrawnMark]:
        return [replace(mark, previous=0) for mark in super().known_marks(view, identity)]


class DrawsWhatItDrewBefore(SqlRegistry):
    def draw_marks(self, view: str, table: OnlineTable) -> tuple[int, int]:
        return table.number + 1, table.number + 2


class OverwritesNotes(SqlRegistry):
    def note_push(self, push: NotedPush, rows: bytes) -> NotedPush:
        for noted in self.noted_pushes():
            if noted.id == push.id:
                self.forget_push(noted)
        return super().note_push(push, rows)


class KeepsReplacedSegments(SqlRegistry):
    def keep_part_statistics(
        self, digest: str, source: str, content: bytes, *, instead_of: Collection[int] = ()
    ) -> None:
        super().keep_part_statistics(digest, source, content)


class GivesTheNewestSegmentOnly(SqlRegistry):
    def part_statistics(self, digest: str) -> list[Segment]:
        return super().part_statistics(digest)[-1:]


class TakesCheckpointsBack(SqlRegistry):
    def keep_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        for each in checkpoints:
            self.forget_checkpoints(each.source, [each.reader])
        super().keep_checkpoints(checkpoints)


_BROKEN: list[tuple[type[SqlRegistry], type[Any], str, dict[str, Any]]] = [
    (IgnoresWhatChangesAreBasedOn, RegistryConformance, "test_changes_worked_out_from_an_old_revision_are_refused", {}),
    (WritesBackWhatItRead, RegistryConformance, "test_threads_share_one_handle", {}),
    (CommitsObjectByObject, RegistryConformance, "test_a_reader_sees_all_of_a_commit_or_nothing_of_it", {}),
    (ReadsObjectByObject, RegistryConformance, "test_a_reader_sees_all_of_a_commit_or_nothing_of_it", {}),
    (ForgetsToSettle, RegistryConformance, "test_a_claim_is_not_settled_until_it_is", {}),
    (
        SettlesWhatOthersClaimed,
        RegistryConformance,
        "test_two_runs_of_different_content_leave_the_window_open",
        {"first_settles_first": True, "hours": 24},
    ),
    (
        ClaimsInTwoTransactions,
        RegistryConformance,
        "test_a_reader_sees_the_ledger_before_or_after_a_change_and_never_in_the_middle",
        {},
    ),
    (
        GivesTheSameVersionAgain,
        RegistryConformance,
        "test_the_same_content_keeps_its_version_and_another_gets_a_higher_one",
        {},
    ),
    (ForgetsWhatNumbersFollow, KeepsMarksConformance, "test_numbers_are_noted_with_what_they_follow_and_rise", {}),
    (DrawsWhatItDrewBefore, KeepsMarksConformance, "test_two_registries_draw_different_numbers", {}),
    (
        KeepsReplacedSegments,
        KeepsPartStatisticsConformance,
        "test_a_segment_takes_the_place_of_others",
        {},
    ),
    (
        GivesTheNewestSegmentOnly,
        KeepsPartStatisticsConformance,
        "test_segments_come_back_as_they_were_in_order",
        {"size": 1},
    ),
    (TakesCheckpointsBack, KeepsCheckpointsConformance, "test_a_checkpoint_only_moves_forwards", {}),
    (OverwritesNotes, NotesPushesConformance, "test_a_push_that_is_noted_again_stays_as_it_was", {}),
]


@pytest.mark.parametrize(
    ("broken", "suite", "name", "values"), _BROKEN, ids=[f"{b[0].__name__}-{b[2]}" for b in _BROKEN]
)
def test_a_broken_promise_is_noticed(
    tmp_path: Path, broken: type[SqlRegistry], suite: type[Any], name: str, values: dict[str, Any]
) -> None:
    run = partial(_run, getattr(suite(), name), values)
    run(partial(SqlRegistry, SqlRegistryConfig(path="right.db"), tmp_path))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(partial(broken, SqlRegistryConfig(path="broken.db"), tmp_path))


def _run(test: Callable[..., None], values: dict[str, Any], factory: RegistryFactory) -> None:
    registry = factory("shop")
    fixtures = {"registry": registry, "notes": registry, "keeper": registry, "registry_factory": factory}
    try:
        test(**values, **{name: fixtures[name] for name in inspect.signature(test).parameters if name in fixtures})
    finally:
        registry.close()
