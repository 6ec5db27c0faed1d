"""The methods of a registry, for clients whose registry is ``remote``. All of them block."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from feast_assets.apply.permitted import check_changes
from feast_assets.auth.access import Access
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.registry.base import Changes, Claim, DrawnMark, Registry, Revision
from feast_assets.registry.marks import KeepsMarks
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.registry.part_statistics import KeepsPartStatistics, Segment
from feast_assets.registry.remote.messages import (
    ClaimRequest,
    CommitMessage,
    Distrust,
    DrawMarks,
    KeepStatistics,
    KnownState,
    LedgerMessage,
    NotePush,
    ObjectMessage,
    OfDigest,
    OfProject,
    OfPush,
    OfTable,
    OfView,
    OfViews,
    ProjectMessage,
    Settle,
    SnapshotMessage,
    SnapshotRequest,
)
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject

# Each may keep two connections to a database server, which by default takes a hundred or so of all its clients.
_MOST_PROJECTS = 32
_SNAPSHOTS_KEPT = 4


@dataclass(frozen=True, slots=True)
class _Held:
    """What is in hand of a project.

    Attributes:
        registry: of the project.
        snapshots: the newest ones that were read, in order.
    """

    registry: Registry
    snapshots: deque[RegistrySnapshot]


class RegistryApi:
    """The registries of the projects that one database holds.

    A registry without `KeepsMarks`, `KeepsPartStatistics` or `NotesPushes` answers as if it had nothing of these: a
    client then does without, as it does in process.
    """

    def __init__(self, make_registry: Callable[[str], Registry], access_of: Callable[[str], Access] = Access):
        """Creates it.

        Args:
            make_registry: makes the registry of a project.
            access_of: returns what decides for a project what a caller may do.
        """
        self._make_registry = make_registry
        self._access_of = access_of
        # The project that was asked for last comes last.
        self._held: dict[str, _Held] = {}
        self._making = threading.Lock()

    def methods(self) -> Mapping[str, tuple[Any, Callable[[Any], Any]]]:
        """Returns name -> type of the request, and the method."""
        return {
            "revision": (OfProject, self.revision),
            "snapshot": (SnapshotRequest, self.snapshot),
            "refreshed": (KnownState, self.refreshed),
            "commit": (CommitMessage, self.commit),
            "projects": (OfProject, self.projects),
            "inputs": (OfProject, self.inputs),
            "revisions": (OfProject, self.revisions),
            "ledger": (OfView, self.ledger),
            "ledger-change-tokens": (OfViews, self.ledger_change_tokens),
            "claim": (ClaimRequest, self.claim),
            "settle": (Settle, self.settle),
            "forget": (OfView, self.forget),
            "draw-marks": (DrawMarks, self.draw_marks),
            "known-marks": (OfTable, self.known_marks),
            "distrust": (Distrust, self.distrust),
            "part-statistics": (OfDigest, self.part_statistics),
            "keep-part-statistics": (KeepStatistics, self.keep_part_statistics),
            "forget-part-statistics": (OfDigest, self.forget_part_statistics),
            "note-push": (NotePush, self.note_push),
            "noted-pushes": (OfProject, self.noted_pushes),
            "rows-of-push": (OfPush, self.rows_of_push),
            "forget-push": (OfPush, self.forget_push),
            "teardown": (OfProject, self.teardown),
        }

    def registry(self, project: str) -> Registry:
        """Returns the registry of a project."""
        return self._of(project).registry

    def _of(self, project: str) -> _Held:
        # Names of projects are made up easily: none of them may keep the server from the projects that there are.
        longest_unused: _Held | None = None
        with self._making:
            held = self._held.pop(project, None)
            if held is None:
                held = _Held(self._make_registry(project), deque(maxlen=_SNAPSHOTS_KEPT))
                if len(self._held) >= _MOST_PROJECTS:
                    longest_unused = self._held.pop(next(iter(self._held)))
            self._held[project] = held
        if longest_unused is not None:
            longest_unused.registry.close()  # whoever still uses it connects again
        return held

    def close(self) -> None:
        """Releases connections."""
        for held in self._held.values():
            held.registry.close()

    def newest(self, project: str) -> RegistrySnapshot:
        """Returns the newest definitions of a project; what has not changed since the last call is not read again."""
        held = self._of(project)
        registry, kept = held.registry, held.snapshots
        last = kept[-1] if kept else None
        newest = registry.snapshot() if last is None else registry.refreshed(last)
        if newest is not last:
            kept.append(newest)
        return newest

    def revision(self, request: OfProject) -> int:
        """See `Registry.revision`."""
        return self.registry(request.project).revision()

    def snapshot(self, request: SnapshotRequest) -> SnapshotMessage:
        """See `Registry.snapshot`."""
        if request.revision is None:
            return self._whole(self.newest(request.project))
        return self._whole(self.registry(request.project).snapshot(request.revision))

    def refreshed(self, request: KnownState) -> SnapshotMessage | None:
        """See `Registry.refreshed`; None where the client has the newest state."""
        newest = self.newest(request.project)
        state = (request.revision, request.committed)
        if state == (newest.revision, newest.committed) and request.has_noted_pushes == newest.has_noted_pushes:
            return None
        if not self.access(request.project).is_open:
            # What a caller may see changes with permissions and tags too, also where the objects stay as they were.
            return self._whole(newest)
        kept = list(self._of(request.project).snapshots)
        old = next((s for s in reversed(kept) if (s.revision, s.committed) == state), None)
        return self._whole(newest) if old is None else self._difference(old, newest)

    def commit(self, request: CommitMessage) -> int:
        """See `Registry.commit`."""
        changes = Changes(
            [Definition.from_spec(spec) for spec in request.upserts],
            request.deletes,
            {(kind, name): text for kind, name, text in request.inputs},
            request.renamed_ledgers,
        )
        access = self.access(request.project)
        if not access.is_open:
            check_changes(access, self.newest(request.project), changes)
        return self.registry(request.project).commit(changes, based_on=request.based_on, by=request.by)

    def projects(self, request: OfProject) -> list[ProjectMessage]:
        """See `Registry.projects`."""
        snapshot = self.newest(request.project)
        projects = self.registry(request.project).projects()
        return [
            ProjectMessage(
                project.to_spec(),
                0 if project.created_timestamp is None else to_micros(project.created_timestamp),
                0 if project.last_updated_timestamp is None else to_micros(project.last_updated_timestamp),
            )
            for project in self.access(request.project).permitted(snapshot, projects, AuthzedAction.DESCRIBE)
        ]

    def inputs(self, request: OfProject) -> list[tuple[str, str, str]]:
        """See `Registry.inputs`."""
        self.check_all(request.project)
        return [(kind, name, text) for (kind, name), text in self.registry(request.project).inputs().items()]

    def revisions(self, request: OfProject) -> list[Revision]:
        """See `Registry.revisions`."""
        self.check_all(request.project)
        return self.registry(request.project).revisions()

    def ledger(self, request: OfView) -> LedgerMessage:
        """See `Registry.ledger_columns`."""
        self._check_view(request.project, request.view, AuthzedAction.DESCRIBE)
        from feast_assets.registry.remote.ledger_message import message_of

        return message_of(self.registry(request.project).ledger_columns(request.view))

    def ledger_change_tokens(self, request: OfViews) -> dict[str, str]:
        """See `Registry.ledger_change_tokens`."""
        return self.registry(request.project).ledger_change_tokens(request.views)

    def claim(self, request: ClaimRequest) -> Claim:
        """See `Registry.claim`."""
        self._check_write(request.project, request.view)
        return self.registry(request.project).claim(
            request.view, request.contents, empty=request.empty, run_id=request.run_id, table=request.table
        )

    def settle(self, request: Settle) -> None:
        """See `Registry.settle`."""
        self._check_write(request.project, request.claim.view)
        self.registry(request.project).settle(request.claim, request.entries)

    def forget(self, request: OfView) -> None:
        """See `Registry.forget`."""
        self._check_write(request.project, request.view)
        self.registry(request.project).forget(request.view)

    def draw_marks(self, request: DrawMarks) -> tuple[int, int]:
        """See `KeepsMarks.draw_marks`."""
        self._check_write(request.project, request.view)
        registry = self.registry(request.project)
        return registry.draw_marks(request.view, request.table) if isinstance(registry, KeepsMarks) else (0, 0)

    def known_marks(self, request: OfTable) -> list[DrawnMark]:
        """See `KeepsMarks.known_marks`."""
        self._check_view(request.project, request.view, AuthzedAction.DESCRIBE)
        registry = self.registry(request.project)
        return registry.known_marks(request.view, request.identity) if isinstance(registry, KeepsMarks) else []

    def distrust(self, request: Distrust) -> bool:
        """See `KeepsMarks.distrust`."""
        self._check_write(request.project, request.view)
        registry = self.registry(request.project)
        return isinstance(registry, KeepsMarks) and registry.distrust(
            request.view,
            request.identity,
            request.doubt,
            newest=request.newest,
            gaps=request.gaps,
            above=request.above,
        )

    def part_statistics(self, request: OfDigest) -> list[Segment]:
        """See `KeepsPartStatistics.part_statistics`."""
        registry = self.registry(request.project)
        return registry.part_statistics(request.digest) if isinstance(registry, KeepsPartStatistics) else []

    def keep_part_statistics(self, request: KeepStatistics) -> None:
        """See `KeepsPartStatistics.keep_part_statistics`."""
        self.check_all(request.project)
        registry = self.registry(request.project)
        if isinstance(registry, KeepsPartStatistics):
            registry.keep_part_statistics(
                request.digest, request.source, request.content, instead_of=request.instead_of
            )

    def forget_part_statistics(self, request: OfDigest) -> None:
        """See `KeepsPartStatistics.forget_part_statistics`."""
        self.check_all(request.project)
        registry = self.registry(request.project)
        if isinstance(registry, KeepsPartStatistics):
            registry.forget_part_statistics(request.digest)

    def note_push(self, request: NotePush) -> NotedPush:
        """See `NotesPushes.note_push`."""
        self.check_all(request.project)
        registry = self.registry(request.project)
        return registry.note_push(request.push, request.rows) if isinstance(registry, NotesPushes) else request.push

    def noted_pushes(self, request: OfProject) -> list[NotedPush]:
        """See `NotesPushes.noted_pushes`."""
        self.check_all(request.project)
        registry = self.registry(request.project)
        return registry.noted_pushes() if isinstance(registry, NotesPushes) else []

    def rows_of_push(self, request: OfPush) -> bytes | None:
        """See `NotesPushes.rows_of_push`."""
        self.check_all(request.project)
        registry = self.registry(request.project)
        return registry.rows_of_push(request.push) if isinstance(registry, NotesPushes) else None

    def forget_push(self, request: OfPush) -> None:
        """See `NotesPushes.forget_push`."""
        self.check_all(request.project)
        registry = self.registry(request.project)
        if isinstance(registry, NotesPushes):
            registry.forget_push(request.push)

    def teardown(self, request: OfProject) -> None:
        """See `Registry.teardown`."""
        self.check_all(request.project)
        self.registry(request.project).teardown()

    # --- what a caller may do

    def access(self, project: str) -> Access:
        """Returns what decides what a caller may do in a project."""
        return self._access_of(project)

    def _check_view(self, project: str, name: str, *actions: AuthzedAction) -> None:
        access = self.access(project)
        if access.is_open:
            return
        snapshot = self.newest(project)
        views = [view for view in snapshot.shared() if view.name == name and isinstance(view, BaseFeatureView)]
        access.check(snapshot, views or [Project(name=project)], *actions)

    def _check_write(self, project: str, view: str) -> None:
        self._check_view(project, view, AuthzedAction.WRITE_ONLINE)

    def check_all(self, project: str, action: AuthzedAction = AuthzedAction.UPDATE) -> None:
        """Checks that the caller may do something to the project, for what concerns all of its objects."""
        access = self.access(project)
        if not access.is_open:
            snapshot = self.newest(project)
            access.check(snapshot, [snapshot.project_object() or Project(name=project)], action)

    def _whole(self, snapshot: RegistrySnapshot) -> SnapshotMessage:
        message = _message(snapshot, self._seen(snapshot, snapshot.all_stored()), [], is_whole=True)
        if not self.access(snapshot.project).is_open:
            seen = {stored.name for stored in message.objects}
            message.feature_lists = {view: lists for view, lists in message.feature_lists.items() if view in seen}
        return message

    def _difference(self, old: RegistrySnapshot, new: RegistrySnapshot) -> SnapshotMessage:
        came = [o for o in new.all_stored() if _identity(old.stored(o.object_type, o.name)) != _identity(o)]
        went = sorted(set(old.known()) - set(new.known()))
        return _message(new, self._seen(new, came), went, is_whole=False)

    def _seen(self, snapshot: RegistrySnapshot, objects: list[StoredObject]) -> list[StoredObject]:
        """Returns those of some objects that the caller may see."""
        access = self.access(snapshot.project)
        if access.is_open:
            return objects
        definitions = {(o.object_type, o.name): o.definition() for o in objects}
        permitted = access.permitted(snapshot, list(definitions.values()), AuthzedAction.DESCRIBE)
        kept = {(type(definition).object_type, definition.name) for definition in permitted}
        return [o for o in objects if (o.object_type, o.name) in kept]


def _identity(stored: StoredObject | None) -> object:
    return None if stored is None else (stored.content_hash, stored.created, stored.updated)


def _message(
    snapshot: RegistrySnapshot, objects: list[StoredObject], went: list[tuple[str, str]], *, is_whole: bool
) -> SnapshotMessage:
    return SnapshotMessage(
        snapshot.revision,
        snapshot.committed,
        snapshot.has_noted_pushes,
        [ObjectMessage(o.object_type, o.name, o.content_hash, o.spec, o.created, o.updated) for o in objects],
        went,
        is_whole,
        {
            view: [[field.to_spec() for field in fields] for fields in lists]
            for view, lists in snapshot.several_feature_lists().items()
        },
    )
