"""The online store of a feature server, for clients whose online store is ``remote``: rows by table and key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.project import Project
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.errors import InputError, NotSupportedError, shown
from feast_assets.online_stores.abilities import CanEvict, CanExpire, CanReplace, CanSample, CanTellRestarts
from feast_assets.online_stores.remote.messages import (
    Advance,
    Batch,
    MarkMessage,
    Nothing,
    PutCounts,
    PutRows,
    Reads,
    Replace,
    RowColumns,
    Sample,
    Scan,
    Stamps,
    StoreState,
    Tables,
)
from feast_assets.registry.snapshot import TYPES_WITH_ROWS, RegistrySnapshot

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.online_stores.base import EncodedRows, OnlineStore


class OnlineRowsApi:
    """The methods of an online store. Only tables of the feature store's own project may be named.

    They block, except `get`.
    """

    def __init__(self, store: FeatureStore):
        self._feature_store = store
        self._tables: tuple[tuple[int, int], dict[str, Definition]] | None = None

    @property
    def _store(self) -> OnlineStore:
        return self._feature_store.online_store

    def check_tables(self, *tables: str, action: AuthzedAction | None) -> None:
        """Checks that tables are of the project that is served, and that the caller may do something to their views.

        Whoever may UPDATE the project may also use tables that no view has: apply makes tables before it registers
        their views, and drops them afterwards.

        Args:
            action: what is done to the rows; None for what tells nothing of them.

        Raises:
            InputError: a table is another project's.
            FeastPermissionError: the caller may not.
        """
        project = self._feature_store.project
        for table in tables:
            if not table.startswith(f"{project}:"):
                raise InputError(
                    f"This server serves the online tables of project {project!r}, and {shown(table)} is none of them: "
                    "the client's feature_store.yaml needs the same project and deployment."
                )
        store = self._feature_store
        if action is None or store.access.is_open:
            return
        snapshot = store.snapshot()
        views = self._views_of_tables(snapshot)
        for table in tables:
            if table in views:
                store.access.check(snapshot, [views[table]], action)
            else:
                of_project = snapshot.project_object() or Project(name=project)
                store.access.check(snapshot, [of_project], AuthzedAction.UPDATE)

    def _views_of_tables(self, snapshot: RegistrySnapshot) -> dict[str, Definition]:
        """Returns the views of online tables, those of versions included."""
        key = (snapshot.revision, snapshot.committed)
        if self._tables is None or self._tables[0] != key:
            project = self._feature_store.project
            versions = [cast(ViewVersion, d).as_view() for d in snapshot.shared(ViewVersion.object_type)]
            views = [d for d in (*versions, *snapshot.shared(*TYPES_WITH_ROWS)) if isinstance(d, FeatureView)]
            self._tables = (key, {view.online_table(project): view for view in views})
        return self._tables[1]

    async def get(self, request: Reads) -> list[RowColumns]:
        """See `OnlineStore.get_many`."""
        reads = request.online_reads()
        self.check_tables(*(read.table for read in reads), action=AuthzedAction.READ_ONLINE)
        return [RowColumns.of(rows) for rows in await self._store.get_many_async(reads)]

    def put(self, request: PutRows) -> PutCounts:
        """See `OnlineStore.put_many`."""
        self.check_tables(request.table, action=AuthzedAction.WRITE_ONLINE)
        return PutCounts.of(self._store.put_many(request.table, _rows(request)))

    def put_existing(self, request: PutRows) -> PutCounts:
        """See `CanReplace.put_existing`."""
        self.check_tables(request.table, action=AuthzedAction.WRITE_ONLINE)
        return PutCounts.of(self._replacing().put_existing(request.table, _rows(request)))

    def setup(self, request: Tables) -> Nothing:
        """See `OnlineStore.setup`."""
        self.check_tables(*request.tables, action=AuthzedAction.WRITE_ONLINE)
        self._store.setup(request.tables)
        return Nothing()

    def drop(self, request: Tables) -> Nothing:
        """See `OnlineStore.drop`."""
        self.check_tables(*request.tables, action=AuthzedAction.WRITE_ONLINE)
        self._store.drop(request.tables)
        return Nothing()

    def marks(self, request: Tables) -> list[MarkMessage]:
        """See `OnlineStore.marks`."""
        self.check_tables(*request.tables, action=None)
        return [MarkMessage(mark.identity, mark.number) for mark in self._store.marks(request.tables)]

    def advance(self, request: Advance) -> MarkMessage:
        """See `OnlineStore.advance`."""
        self.check_tables(request.table, action=AuthzedAction.WRITE_ONLINE)
        mark = self._store.advance(request.table, request.expected, request.new)
        return MarkMessage(mark.identity, mark.number)

    def scan(self, request: Scan) -> Iterator[Stamps]:
        """See `CanReplace.scan`."""
        self.check_tables(request.table, action=AuthzedAction.WRITE_ONLINE)
        stamps = self._replacing().scan(request.table, request.start, request.end, version_below=request.version_below)
        return (Stamps.of(each) for each in stamps)

    def replace(self, request: Replace) -> int:
        """See `CanReplace.replace_many`."""
        self.check_tables(request.table, action=AuthzedAction.WRITE_ONLINE)
        try:
            held = request.held.stamps()
        except ValueError as error:
            raise InputError(f"Rows cannot be used: {error}.") from None
        rows = _checked_rows(request.rows)
        return self._replacing().replace_many(request.table, held, rows)

    def sample(self, request: Sample) -> list[bytes]:
        """See `CanSample.sample_keys`; none where the store cannot sample."""
        self.check_tables(request.table, action=AuthzedAction.READ_ONLINE)
        store = self._store
        return store.sample_keys(request.table, request.count, request.seed) if isinstance(store, CanSample) else []

    def state(self, request: Nothing) -> StoreState:
        """Returns what the store can tell of itself."""
        store = self._store
        ttl = store.key_ttl if isinstance(store, CanExpire) else None
        return StoreState(
            restart_token=store.restart_token() if isinstance(store, CanTellRestarts) else "",
            evicts=store.evicts() if isinstance(store, CanEvict) else "",
            evicts_marks=isinstance(store, CanEvict) and store.evicts_marks(),
            key_ttl_seconds=None if ttl is None else ttl.total_seconds(),
        )

    def _replacing(self) -> CanReplace:
        store = self._store
        if not isinstance(store, CanReplace):
            raise NotSupportedError(
                f"The server's online store, {type(store).__name__}, cannot replace rows, so windows whose rows have "
                "changed cannot be written again through it."
            )
        return store


def _rows(request: PutRows) -> Iterator[EncodedRows]:
    # All are checked before the first is put.
    return iter([_checked_rows(batch) for batch in request.batches])


def _checked_rows(batch: Batch) -> EncodedRows:
    try:
        return batch.rows()
    except ValueError as error:
        raise InputError(f"Rows cannot be used: {error}.") from None
