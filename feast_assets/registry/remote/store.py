"""The remote registry: the one that a registry server has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from feast_assets.auth.client_tokens import ClientTokens, SendsTokens
from feast_assets.definitions.field import Field
from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Window
from feast_assets.errors import StoreUnavailableError
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
from feast_assets.registry.current_user import current_user
from feast_assets.registry.marks import KeepsMarks
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.registry.part_statistics import KeepsPartStatistics, Segment
from feast_assets.registry.remote.config import RemoteRegistryConfig
from feast_assets.registry.remote.messages import (
    PREFIX,
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
from feast_assets.remote.http_client import HttpClient
from feast_assets.remote.message_client import MessageClient

if TYPE_CHECKING:
    from feast_assets.registry.ledger_columns import LedgerColumns

_FieldSpecs = Mapping[str, list[list[dict[str, Any]]]]


class RemoteRegistry(Registry, KeepsMarks, KeepsPartStatistics, NotesPushes, SendsTokens):
    """Definitions and ledger of a project, as a registry server's own registry has them.

    Each method is one request, and one transaction of that registry, so two appliers cannot lose each other's change.
    A request whose connection failed is sent again if that has no further effect. `commit`, `claim`, `distrust` and
    `keep_part_statistics` are not: their error says that it is not known whether they took effect.
    """

    config_class: ClassVar[type[RemoteRegistryConfig]] = RemoteRegistryConfig

    def __init__(self, config: RemoteRegistryConfig, root: Path, project: str):
        """Creates the registry without connecting.

        Args:
            config: names the server.
            root: not used.
            project: whose definitions these are.
        """
        self.project = project
        self._config = config
        self._http = HttpClient(config, "The registry server")
        self._server = MessageClient(self._http, PREFIX, "a registry")

    def send_tokens(self, tokens: ClientTokens) -> None:
        self._http.send_tokens(tokens)

    def __repr__(self) -> str:
        return f"RemoteRegistry({str(self._config.address)!r}, project={self.project!r})"

    # --- definitions

    def revision(self) -> int:
        return self._int("revision", OfProject(self.project))

    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        return self._snapshot_of(self._call("snapshot", SnapshotRequest(self.project, revision), SnapshotMessage))

    def refreshed(self, snapshot: RegistrySnapshot) -> RegistrySnapshot:
        known = KnownState(self.project, snapshot.revision, snapshot.committed, snapshot.has_noted_pushes)
        news: SnapshotMessage | None = self._call("refreshed", known, SnapshotMessage | None)
        if news is None:
            return snapshot
        if news.is_whole:
            return self._snapshot_of(news)
        return snapshot.with_changes(
            news.revision,
            news.committed,
            map(_object_of, news.objects),
            [*news.went, *((o.object_type, o.name) for o in news.objects)],
            _FeatureLists(news.feature_lists),
        ).with_noted_pushes(news.has_noted_pushes)

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        message = CommitMessage(
            self.project,
            [definition.to_spec() for definition in changes.upserts],
            list(changes.deletes),
            [(kind, name, text) for (kind, name), text in changes.inputs.items()],
            list(changes.renamed_ledgers),
            based_on,
            by or current_user(),
        )
        return self._int("commit", message, repeatable=False)

    def projects(self) -> list[Project]:
        messages: list[ProjectMessage] = self._call("projects", OfProject(self.project), list[ProjectMessage])
        return [_project_of(message) for message in messages]

    def inputs(self) -> Mapping[tuple[str, str], str]:
        inputs: list[tuple[str, str, str]] = self._call("inputs", OfProject(self.project), list[tuple[str, str, str]])
        return {(kind, name): text for kind, name, text in inputs}

    def revisions(self) -> list[Revision]:
        revisions: list[Revision] = self._call("revisions", OfProject(self.project), list[Revision])
        return revisions

    # --- the ledger

    def ledger(self, view: str) -> list[LedgerEntry]:
        return self.ledger_columns(view).entries()

    def materialization_intervals(self, view: str) -> list[tuple[datetime, datetime]]:
        return self.ledger_columns(view).intervals()

    def ledger_columns(self, view: str) -> LedgerColumns:
        from feast_assets.registry.remote.ledger_message import columns_of

        message = self._call("ledger", OfView(self.project, view), LedgerMessage)
        try:
            return columns_of(view, message)
        except ValueError as error:
            raise StoreUnavailableError(f"{self._http.name} sent a malformed answer: {error}.") from None

    def ledger_change_tokens(self, views: Sequence[str]) -> dict[str, str]:
        tokens: dict[str, str] = self._call("ledger-change-tokens", OfViews(self.project, list(views)), dict[str, str])
        return tokens

    def claim(
        self,
        view: str,
        contents: Sequence[WindowContent],
        *,
        empty: Sequence[WindowContent] = (),
        run_id: str = "",
        table: OnlineTable | None = None,
    ) -> Claim:
        message = ClaimRequest(self.project, view, list(contents), list(empty), run_id, table)
        claim: Claim = self._call("claim", message, Claim, repeatable=False)
        return claim

    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        if entries:
            self._call("settle", Settle(self.project, claim, list(entries)), None)

    def forget(self, view: str) -> None:
        self._call("forget", OfView(self.project, view), None)

    # --- marks

    def draw_marks(self, view: str, table: OnlineTable) -> tuple[int, int]:
        drawn: tuple[int, int] = self._call("draw-marks", DrawMarks(self.project, view, table), tuple[int, int])
        return drawn

    def known_marks(self, view: str, identity: str) -> list[DrawnMark]:
        marks: list[DrawnMark] = self._call("known-marks", OfTable(self.project, view, identity), list[DrawnMark])
        return marks

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
        message = Distrust(self.project, view, identity, doubt, newest, list(gaps), above)
        return bool(self._call("distrust", message, bool, repeatable=False))

    # --- what was read of the parts of sources

    def part_statistics(self, digest: str) -> list[Segment]:
        segments: list[Segment] = self._call("part-statistics", OfDigest(self.project, digest), list[Segment])
        return segments

    def keep_part_statistics(
        self, digest: str, source: str, content: bytes, *, instead_of: Collection[int] = ()
    ) -> None:
        message = KeepStatistics(self.project, digest, source, content, list(instead_of))
        self._call("keep-part-statistics", message, None, repeatable=False)

    def forget_part_statistics(self, digest: str) -> None:
        self._call("forget-part-statistics", OfDigest(self.project, digest), None)

    # --- pushes that were begun

    def note_push(self, push: NotedPush, rows: bytes) -> NotedPush:
        noted: NotedPush = self._call("note-push", NotePush(self.project, push, rows), NotedPush)
        return noted

    def noted_pushes(self) -> list[NotedPush]:
        pushes: list[NotedPush] = self._call("noted-pushes", OfProject(self.project), list[NotedPush])
        return pushes

    def rows_of_push(self, push: NotedPush) -> bytes | None:
        rows: bytes | None = self._call("rows-of-push", OfPush(self.project, push), bytes | None)
        return rows

    def forget_push(self, push: NotedPush) -> None:
        self._call("forget-push", OfPush(self.project, push), None)

    def teardown(self) -> None:
        self._call("teardown", OfProject(self.project), None)

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, message: object, answer: Any, *, repeatable: bool = True) -> Any:
        return self._server.call(method, message, answer, repeatable=repeatable)

    def _int(self, method: str, message: object, *, repeatable: bool = True) -> int:
        return int(self._call(method, message, int, repeatable=repeatable))

    def _snapshot_of(self, message: SnapshotMessage) -> RegistrySnapshot:
        return RegistrySnapshot(
            self.project,
            message.revision,
            map(_object_of, message.objects),
            _FeatureLists(message.feature_lists),
            committed=message.committed,
            has_noted_pushes=message.has_noted_pushes,
        )


class _FeatureLists(Mapping[str, tuple[tuple[Field, ...], ...]]):
    """The lists of features that views have had, which become fields when they are asked for."""

    def __init__(self, specs: _FieldSpecs):
        self._specs = specs

    def __len__(self) -> int:
        return len(self._specs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __getitem__(self, view: str) -> tuple[tuple[Field, ...], ...]:
        return tuple(tuple(map(Field.from_spec, fields)) for fields in self._specs[view])


def _object_of(message: ObjectMessage) -> StoredObject:
    return StoredObject(
        message.object_type, message.name, message.content_hash, message.spec, message.created, message.updated
    )


def _project_of(message: ProjectMessage) -> Project:
    project = Project.from_spec(message.spec)
    project.created_timestamp = from_micros(message.created) if message.created else None
    project.last_updated_timestamp = from_micros(message.updated) if message.updated else None
    return project
