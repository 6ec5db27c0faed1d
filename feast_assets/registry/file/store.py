"""The registry in files: on local disk, S3, GCS or Azure."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import quote, unquote

from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.definitions.window import MICROSECOND, Window
from feast_assets.errors import ConfigError, StoreUnavailableError
from feast_assets.registry.base import (
    Changes,
    Claim,
    DrawnMark,
    LedgerEntry,
    MarkDoubt,
    OnlineTable,
    Registry,
    Revision,
    WindowContent,
)
from feast_assets.registry.changes import Key, check_revision, distinct, refuse_other_base
from feast_assets.registry.checkpoints import Checkpoint, KeepsCheckpoints
from feast_assets.registry.current_user import current_user
from feast_assets.registry.file.blobs import BlobLostError, Blobs
from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.definitions import (
    Definitions,
    add_revision,
    definitions_as_of,
    pack,
    revisions_of,
    unpack,
)
from feast_assets.registry.file.draft import Draft, WrittenBlobs
from feast_assets.registry.file.objects import objects_at
from feast_assets.registry.file.roots import (
    TRUSTED_SECONDS,
    RevisionState,
    Root,
    Roots,
    StoredBlob,
    is_time_to_prune,
    is_time_to_sweep,
    now_seconds,
    pause,
    revision_blobs,
)
from feast_assets.registry.foreign_file import MOST_BYTES, is_feast_registry
from feast_assets.registry.ledger import claimed, doubted, settled
from feast_assets.registry.marks import KeepsMarks
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.registry.part_statistics import UNUSED, KeepsPartStatistics, Segment
from feast_assets.registry.snapshot import TYPES_WITH_ROWS, RegistrySnapshot

if TYPE_CHECKING:
    from feast_assets.registry.ledger_columns import LedgerColumns

_T = TypeVar("_T")

_CONFLICT = "conflict"
"""The claim of windows that two runs wrote at the same time; no run has it as its id."""
_PROJECTS = "projects"
_SLOW_SECONDS = TRUSTED_SECONDS / 5
_ATTEMPTS = 1000


class FileRegistry(Registry, KeepsMarks, KeepsPartStatistics, NotesPushes, KeepsCheckpoints):
    """Definitions by revision, and the ledger, in objects that are never changed; several projects may share a folder.

    Every change is a *root*, an object with the next number, created only if nobody else has: see
    `feast_assets.registry.file.roots`. Reading asks for one object that is mostly not there, and for what is new. Safe
    to share between threads and processes.
    """

    config_class: ClassVar[type[FileRegistryConfig]] = FileRegistryConfig

    def __init__(self, config: FileRegistryConfig, root: Path, project: str):
        """Creates the registry without touching disk or network.

        Args:
            config: names the place.
            root: the directory that a relative path starts from.
            project: whose definitions these are.
        """
        self.project = project
        self._objects = objects_at(config, root)
        self._roots = self._roots_of(project)
        self._blobs = Blobs(self._objects)
        self._writing = threading.Lock()
        self._reading = threading.local()
        self._is_own: bool = False
        self._definitions: tuple[str, int, Definitions] = ("", 0, Definitions())

    def __repr__(self) -> str:
        return f"FileRegistry({self._objects.title!r}, project={self.project!r})"

    def begin(self) -> None:
        """Begins the project if there is none, although a registry file of Feast is at the path."""
        self._is_own = True
        if not self._newest()[0].number:
            self._roots.create(replace(Root(), number=1, id=uuid.uuid4().hex, life=uuid.uuid4().hex))

    @contextmanager
    def reading_at_once(self) -> Iterator[None]:
        if hasattr(self._reading, "root"):
            yield
            return
        self._reading.root = self._newest()[0]
        try:
            yield
        finally:
            del self._reading.root

    # --- definitions

    def revision(self) -> int:
        return _revision(self._read(lambda root, _: root))

    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        def read(root: Root, _: bool) -> RegistrySnapshot:
            newest = _revision(root)
            number = newest if revision is None else revision
            check_revision(self.project, number, newest)
            noted = bool(root.pushes)
            if number == 0:
                return RegistrySnapshot(self.project, number, (), has_noted_pushes=noted)
            standing = definitions = self._newest_definitions(root)
            committed = _committed(root)
            if number < newest:
                definitions = definitions_as_of(root, number, self._blobs)
                (committed,) = (each.at for each in revisions_of(root, self._blobs) if each.number == number)
            return RegistrySnapshot(
                self.project,
                number,
                definitions.stored(),
                standing.feature_lists(),
                committed=committed,
                has_noted_pushes=noted,
            )

        return self._read(read)

    def refreshed(self, snapshot: RegistrySnapshot) -> RegistrySnapshot:
        def read(root: Root, _: bool) -> RegistrySnapshot | None:
            newest, since = _revision(root), snapshot.revision
            if (newest, _committed(root)) == (since, snapshot.committed):
                return snapshot.with_noted_pushes(bool(root.pushes))
            committed = {each.number: each.at for each in root.revisions}
            # A project that was removed and applied anew counts from 1 again.
            if not 0 < since < newest or committed.get(since) != snapshot.committed:
                return None
            changed: set[Key] = set()
            for content in self._blobs.read_all([each.delta for each in root.revisions if each.number > since]):
                delta = unpack(content)
                changed |= {(row[0], row[1]) for row in delta["objects"]}
                changed |= {(kind, name) for kind, name in delta["removed"]}
            definitions = self._newest_definitions(root)
            return snapshot.with_changes(
                newest, committed[newest], definitions.stored(changed), changed, definitions.feature_lists()
            ).with_noted_pushes(bool(root.pushes))

        return self._read(read) or self.snapshot()

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        upserts = distinct(changes.upserts)
        deletes = set(changes.deletes) - set(upserts)
        if not upserts and not deletes and not changes.inputs:
            newest = self.revision()
            refuse_other_base(self.project, based_on, newest)
            return newest
        user = by or current_user()

        def change(draft: Draft) -> int:
            refuse_other_base(self.project, based_on, _revision(draft.root))
            self._rename_ledgers(draft, changes.renamed_ledgers)
            if changes.inputs:
                self._set_inputs(draft, changes.inputs)
            standing = self._newest_definitions(draft.base)
            removed = add_revision(draft, standing, upserts, deletes, user, _now())
            for kind, name in removed:
                if kind in (*TYPES_WITH_ROWS, ViewVersion.object_type):
                    self._drop_ledger(draft, name)
            return _revision(draft.root)

        return self._change(change)

    def projects(self) -> list[Project]:
        projects = []
        for folder in self._objects.folders(_PROJECTS):
            registry = self if unquote(folder) == self.project else self._sibling(unquote(folder))
            projects += Registry.projects(registry)
        return sorted(projects, key=lambda project: project.name)

    def inputs(self) -> Mapping[Key, str]:
        return self._read(lambda root, _: self._inputs_of(root))

    def revisions(self) -> list[Revision]:
        states = self._read(lambda root, _: revisions_of(root, self._blobs))
        return [Revision(each.number, from_micros(each.at), each.by, each.summary) for each in states]

    def _newest_definitions(self, root: Root) -> Definitions:
        """Returns the definitions of a root's newest revision, from those read last as far as these are its."""
        newest = _revision(root)
        life, number, definitions = self._definitions
        known = {each.number for each in root.revisions}
        if life != root.life or number > newest or (number != newest and number + 1 not in known):
            number, definitions = newest, definitions_as_of(root, newest, self._blobs)
        elif number < newest:
            deltas = [each.delta for each in root.revisions if each.number > number]
            for content in self._blobs.read_all(deltas):
                definitions = definitions.after(unpack(content))
            number = newest
        self._definitions = root.life, number, definitions
        return definitions

    def _inputs_of(self, root: Root) -> dict[Key, str]:
        if root.inputs is None:
            return {}
        return {(kind, name): text for kind, name, text in unpack(self._blobs.read(root.inputs))}

    def _set_inputs(self, draft: Draft, inputs: Mapping[Key, str]) -> None:
        before = self._inputs_of(draft.base)
        after = {**before, **inputs}
        if after == before:
            return
        if draft.base.inputs is not None:
            draft.drop(draft.base.inputs.name)
        draft.change(inputs=draft.write(pack([[*key, text] for key, text in after.items()])))

    # --- the ledger

    def ledger(self, view: str) -> list[LedgerEntry]:
        columns = self._ledger(view)
        return [] if columns is None else columns.entries()

    def materialization_intervals(self, view: str) -> list[tuple[datetime, datetime]]:
        columns = self._ledger(view)
        return [] if columns is None else columns.intervals()

    def ledger_columns(self, view: str) -> LedgerColumns:
        from feast_assets.registry.ledger_columns import LedgerColumns

        columns = self._ledger(view)
        return LedgerColumns.of(view, []) if columns is None else columns

    def _ledger(self, view: str) -> LedgerColumns | None:
        """Returns a view's entries; None where there are none, which is told without loading numpy."""

        def read(root: Root, lost_are_damaged: bool) -> LedgerColumns | None:
            state = root.ledgers.get(view)
            if state is None or not state.token:
                return None
            from feast_assets.registry.file.ledgers import StoredLedger

            stored = StoredLedger.of(root, view, self._blobs)
            return stored.columns(view, self._blobs, lost_are_damaged=lost_are_damaged)

        return self._read(read)

    def ledger_change_tokens(self, views: Sequence[str]) -> dict[str, str]:
        ledgers = self._read(lambda root, _: root.ledgers)
        return {view: ledgers[view].token if view in ledgers else "" for view in views}

    def claim(
        self,
        view: str,
        contents: Sequence[WindowContent],
        *,
        empty: Sequence[WindowContent] = (),
        run_id: str = "",
        table: OnlineTable | None = None,
    ) -> Claim:
        from feast_assets.registry.file.ledgers import LedgerDraft

        claim_id, now = uuid.uuid4().hex, _now()

        def change(draft: Draft) -> Claim:
            ledger = LedgerDraft(draft, view)
            standing = ledger.entries.overlapping(content.window for content in (*contents, *empty))
            made = claimed(standing, view, contents, empty, now, run_id)
            ledger.entries.exchange(made, claim_id)
            begins, settles = (0, 0) if table is None else ledger.draw_marks(table, now)
            ledger.save()
            return Claim(view, claim_id, made.versions, made.replaced, begins, settles)

        return self._change(change)

    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        from feast_assets.registry.file.ledgers import LedgerDraft

        if not entries:
            return

        def change(draft: Draft) -> None:
            ledger = LedgerDraft(draft, claim.view)
            standing, own = ledger.entries.overlapping_and_own([e.window for e in entries], claim.id)
            ledger.entries.exchange(settled(standing, entries, own), _CONFLICT)
            ledger.save()

        self._change(change)

    def draw_marks(self, view: str, table: OnlineTable) -> tuple[int, int]:
        from feast_assets.registry.file.ledgers import LedgerDraft

        def change(draft: Draft) -> tuple[int, int]:
            ledger = LedgerDraft(draft, view)
            drawn = ledger.draw_marks(table, _now())
            ledger.save()
            return drawn

        return self._change(change)

    def known_marks(self, view: str, identity: str) -> list[DrawnMark]:
        def read(root: Root, _: bool) -> list[DrawnMark]:
            if view not in root.ledgers:
                return []
            from feast_assets.registry.file.ledgers import StoredLedger

            return StoredLedger.of(root, view, self._blobs).known_marks(identity)

        return self._read(read)

    def distrust(
        self,
        view: str,
        identity: str,
        doubt: MarkDoubt,
        *,
        newest: int,
        gaps: Sequence[Window] = (),
        above: int = 0,
    ) -> bool:
        from feast_assets.registry.file.ledgers import LedgerDraft

        now = _now()

        def change(draft: Draft) -> bool:
            ledger = LedgerDraft(draft, view)
            if ledger.newest_mark(identity) != newest:
                return False
            ledger.entries.exchange(doubted(ledger.entries.entries(), view, doubt, gaps, above, now), "")
            if doubt.kind == "unknown":
                ledger.note_marks(identity, [DrawnMark(doubt.number_in_store, 0, "found")])
            if doubt.kind == "missing":
                ledger.note_missing(identity, now)
            ledger.save()
            return True

        return self._change(change)

    def forget(self, view: str) -> None:
        self._change(lambda draft: self._drop_ledger(draft, view))

    def _drop_ledger(self, draft: Draft, view: str) -> None:
        if view in draft.root.ledgers:
            from feast_assets.registry.file.ledgers import drop_ledger

            drop_ledger(draft, view)

    def _rename_ledgers(self, draft: Draft, renamed: Sequence[tuple[str, str]]) -> None:
        for old, new in renamed:
            self._drop_ledger(draft, new)
            state = draft.root.ledgers.get(old)
            draft.set_ledger(old, None)
            draft.set_ledger(new, state)

    # --- what was read of the parts of sources

    def part_statistics(self, digest: str) -> list[Segment]:
        def read(root: Root, _: bool) -> list[Segment]:
            kept = root.statistics.get(digest, {"segments": ()})["segments"]
            contents = self._blobs.read_if_there([StoredBlob(*blob) for _, blob, _ in kept])
            # Without what is lost or damaged the parts are read again.
            return [
                Segment(number, content)
                for (number, *_), content in zip(kept, contents, strict=True)
                if content is not None
            ]

        return self._read(read)

    def keep_part_statistics(
        self, digest: str, source: str, content: bytes, *, instead_of: Collection[int] = ()
    ) -> None:
        now = _now()

        def change(draft: Draft) -> None:
            statistics = dict(draft.root.statistics)
            kept = statistics.get(digest, {"source": source, "next": 1, "segments": []})
            segments = [each for each in kept["segments"] if each[0] not in instead_of]
            draft.drop(*(blob[0] for number, blob, _ in kept["segments"] if number in instead_of))
            number = kept["next"]
            segments = [*segments, [number, list(draft.write(content)), now]]
            statistics[digest] = {"source": source, "next": number + 1, "segments": segments}
            oldest = now - UNUSED // MICROSECOND
            for other, of_other in list(statistics.items()):
                newest = max((at for *_, at in of_other["segments"]), default=0)
                if other != digest and of_other["source"] == source and newest < oldest:
                    draft.drop(*(blob[0] for _, blob, _ in statistics.pop(other)["segments"]))
            draft.change(statistics=statistics)

        self._change(change)

    def forget_part_statistics(self, digest: str) -> None:
        def change(draft: Draft) -> None:
            statistics = dict(draft.root.statistics)
            for _, blob, _ in statistics.pop(digest, {"segments": ()})["segments"]:
                draft.drop(blob[0])
            draft.change(statistics=statistics)

        self._change(change)

    # --- how far streams have been consumed

    def checkpoints(self, source: str) -> list[Checkpoint]:
        kept = self._read(lambda root, _: root.checkpoints.get(source, ()))
        return [
            Checkpoint(reader, source, partition, identity, position, from_micros(at))
            for reader, partition, identity, position, at in kept
        ]

    def keep_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        def change(draft: Draft) -> None:
            by_source = dict(draft.root.checkpoints)
            for source in {each.source for each in checkpoints}:
                standing = {(kept[0], kept[1]): kept for kept in by_source.get(source, ())}
                for each in checkpoints:
                    kept = standing.get((each.reader, each.partition))
                    is_behind = kept is not None and kept[2] == each.identity and kept[3] >= each.position
                    if each.source == source and not is_behind:
                        new = [each.reader, each.partition, each.identity, each.position, to_micros(each.at)]
                        standing[each.reader, each.partition] = new
                by_source[source] = [standing[key] for key in sorted(standing)]
            draft.change(checkpoints=by_source)

        self._change(change)

    def forget_checkpoints(self, source: str, readers: Sequence[str]) -> None:
        def change(draft: Draft) -> None:
            kept = [each for each in draft.root.checkpoints.get(source, ()) if each[0] not in readers]
            others = {of: listed for of, listed in draft.root.checkpoints.items() if of != source}
            draft.change(checkpoints={**others, source: kept} if kept else others)

        self._change(change)

    # --- pushes that were begun

    def note_push(self, push: NotedPush, rows: bytes) -> NotedPush:
        def change(draft: Draft) -> NotedPush:
            for noted in draft.root.pushes:
                if noted["id"] == push.id:
                    return _push(noted)
            note = {
                "id": push.id,
                "call": push.call,
                "online_views": list(push.online_views),
                "offline_view": push.offline_view,
                "version": push.version,
                "at": to_micros(push.at),
                "by": push.by,
                "rows": list(draft.write(rows)),
            }
            draft.change(pushes=tuple(sorted((*draft.root.pushes, note), key=lambda each: (each["at"], each["id"]))))
            return push

        return self._change(change)

    def noted_pushes(self) -> list[NotedPush]:
        return [_push(noted) for noted in self._read(lambda root, _: root.pushes)]

    def rows_of_push(self, push: NotedPush) -> bytes | None:
        def read(root: Root, lost_are_damaged: bool) -> bytes | None:
            for noted in root.pushes:
                if (noted["id"], noted["version"]) == (push.id, push.version):
                    blob = StoredBlob(*noted["rows"])
                    # Rows that are not what was noted do not match the digest in them.
                    return (self._blobs.read_if_there([blob])[0] or b"") if lost_are_damaged else self._blobs.read(blob)
            return None

        return self._read(read)

    def forget_push(self, push: NotedPush) -> None:
        def change(draft: Draft) -> None:
            forgotten = [n for n in draft.root.pushes if (n["id"], n["version"]) == (push.id, push.version)]
            draft.drop(*(noted["rows"][0] for noted in forgotten))
            draft.change(pushes=tuple(noted for noted in draft.root.pushes if noted not in forgotten))

        self._change(change)

    # --- the objects

    def teardown(self) -> None:
        # What others write from here on is theirs: if this change is faster, they write it anew.
        blobs = self._roots.blobs()

        def change(draft: Draft) -> Root:
            draft.root = replace(Root(), number=draft.root.number, id=draft.root.id, life=uuid.uuid4().hex)
            return draft.root

        made = self._change(change)
        if made.number == self._newest()[0].number:
            self._roots.remove_others(made, blobs)

    def _read(self, read: Callable[[Root, bool], _T]) -> _T:
        """Returns what a function reads of the newest root.

        Args:
            read: is also given whether what is lost counts as damaged: it was not removed meanwhile.
        """
        pinned = getattr(self._reading, "root", None)
        root = self._newest()[0] if pinned is None else pinned
        while True:
            try:
                return read(root, False)
            except BlobLostError:
                newer = self._newest()[0]
                if newer.number == root.number:
                    return read(root, True)
                root = newer

    def _change(self, change: Callable[[Draft], _T]) -> _T:
        """Makes a change in one transaction, and returns what the function returned that made the draft of it."""
        written = WrittenBlobs(self._objects, self._roots)
        named: set[str] = set()
        life = ""
        try:
            with self._writing:
                for attempt in range(_ATTEMPTS):
                    root, known_at = self._newest()
                    if root.life != life:
                        written.forget()
                        life = root.life
                    draft = Draft(root, self._blobs, written)
                    result = change(draft)
                    if not draft.has_changes:
                        return result
                    draft.write_blobs()
                    made = draft.finish()
                    if now_seconds() - known_at > _SLOW_SECONDS:
                        continue  # writing took long; what was written is not written again
                    named = draft.named  # they stay if nobody can tell whether the root was created
                    if self._roots.create(made):
                        if now_seconds() - known_at > TRUSTED_SECONDS:
                            raise StoreUnavailableError(
                                f"Registry {self._objects.title} took minutes to answer; it is not known whether the "
                                "change was recorded. Run it again."
                            )
                        # The change is made, whatever comes of this; the next time finds what is left.
                        with suppress(StoreUnavailableError):
                            self._keep_house(made)
                        return result
                    named = set()
                    pause(attempt)
        finally:
            with suppress(StoreUnavailableError):  # a sweep removes what is left
                written.remove_all_but(named)
        raise StoreUnavailableError(
            f"Registry {self._objects.title}: others changed it {_ATTEMPTS} times while this change was made. Nothing "
            "was changed; run it again."
        )

    def _keep_house(self, root: Root) -> None:
        if is_time_to_prune(root):
            self._roots.prune(root)
        if is_time_to_sweep(root):
            self._roots.sweep(root, self._named_blobs)

    def _named_blobs(self, root: Root) -> set[str]:
        """Returns the names of all blobs that belong to a root."""
        from feast_assets.registry.file.ledgers import ledger_blobs

        of_revisions = {name for each in revisions_of(root, self._blobs) for name in revision_blobs(each)}
        return {*root.named_blobs(), *of_revisions, *ledger_blobs(root, self._blobs)}

    def _newest(self) -> tuple[Root, float]:
        try:
            root, known_at = self._roots.newest()
        except ConfigError:
            self._refuse_feast_file()  # where a folder was expected
            raise
        if not root.number and not self._is_own:
            self._refuse_feast_file()
        self._is_own = True
        return root, known_at

    def _refuse_feast_file(self) -> None:
        if is_feast_registry(self._objects.beginning_at_path(MOST_BYTES)):
            raise ConfigError(
                f"{self._objects.title} is a registry file that Feast wrote. It is left as it is. Import it with "
                "`feast-assets migrate REPOSITORY --import-registry`, or name another path and run apply, which fills "
                "a new registry from the definition files."
            )

    def _roots_of(self, project: str) -> Roots:
        return Roots(self._objects, f"{_PROJECTS}/{quote(project, safe='')}")

    def _sibling(self, project: str) -> FileRegistry:
        """Returns the registry of another project in the same place."""
        other = object.__new__(FileRegistry)
        vars(other).update(
            project=project,
            _objects=self._objects,
            _blobs=self._blobs,
            _writing=threading.Lock(),
            _reading=threading.local(),
            _is_own=True,
            _definitions=("", 0, Definitions()),
        )
        other._roots = other._roots_of(project)
        return other


def _revision(root: Root) -> int:
    return root.revisions[-1].number if root.revisions else 0


def _committed(root: Root) -> int:
    """Returns when the newest revision was committed, in UTC microseconds; 0 without one."""
    newest: RevisionState | None = root.revisions[-1] if root.revisions else None
    return newest.at if newest else 0


def _push(noted: Mapping[str, Any]) -> NotedPush:
    return NotedPush(
        noted["id"],
        noted["call"],
        tuple(noted["online_views"]),
        noted["offline_view"],
        noted["version"],
        from_micros(noted["at"]),
        noted["by"],
    )


def _now() -> int:
    return to_micros(datetime.now(UTC))
