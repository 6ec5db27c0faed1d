"""The online store of a feature server, for clients whose online store is ``remote``: rows by table and key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.feature_view import FeatureView
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

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.online_stores.base import EncodedRows, OnlineStore
    from feast_assets.registry.snapshot import RegistrySnapshot


class OnlineRowsApi:
    """The methods of an online store. Only tables of the feature store's own project may be named.

    They block, except `get`.
    """

    def __init__(self, store: FeatureStore):
        self._feature_store = store

    @property
    def _store(self) -> OnlineStore:
        return self._feature_store.online_store

    def check_tables(self, *tables: str, action: AuthzedAction = AuthzedAction.READ_ONLINE) -> None:
        """Checks that tables are of the project that is served, and that the caller may use them.

        Raises:
            InputError: one of them is of another project.
            FeastPermissionError: the acting identity may not do the action to the view of one of them.
        """
        project = self._feature_store.project
        for table in tables:
            if not table.startswith(f"{project}:"):
                raise InputError(
                    f"This server serves the online tables of project {project!r}, and {shown(table)} is none of them: "
                    "the client's feature_store.yaml needs the same project and deployment."
                )
        access = self._feature_store.access
        if not access.is_open:
            snapshot = self._feature_store.snapshot()
            of_table = {view.online_table(project): view for view in _views_with_tables(snapshot)}
            access.check(snapshot, [of_table.get(table) or _unknown(table) for table in tables], action)

    async def get(self, request: Reads) -> list[RowColumns]:
        """See `OnlineStore.get_many`."""
        reads = request.online_reads()
        self.check_tables(*(read.table for read in reads))
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
        self.check_tables(*request.tables)
        return [MarkMessage(mark.identity, mark.number) for mark in self._store.marks(request.tables)]

    def advance(self, request: Advance) -> MarkMessage:
        """See `OnlineStore.advance`."""
        self.check_tables(request.table, action=AuthzedAction.WRITE_ONLINE)
        mark = self._store.advance(request.table, request.expected, request.new)
        return MarkMessage(mark.identity, mark.number)

    def scan(self, request: Scan) -> Iterator[Stamps]:
        """See `CanReplace.scan`."""
        self.check_tables(request.table)
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
        self.check_tables(request.table)
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


def _views_with_tables(snapshot: RegistrySnapshot) -> list[FeatureView]:
    return [*snapshot.views_with_history, *snapshot.label_views]


def _unknown(table: str) -> FeatureView:
    """Returns what stands for a table that no registered view has: a view of the name that the table's name tells."""
    view = FeatureView.__new__(FeatureView)
    view.name, view.tags = table.split(":")[1], {}
    return view


def _rows(request: PutRows) -> Iterator[EncodedRows]:
    # All are checked before the first is put.
    return iter([_checked_rows(batch) for batch in request.batches])


def _checked_rows(batch: Batch) -> EncodedRows:
    try:
        return batch.rows()
    except ValueError as error:
        raise InputError(f"Rows cannot be used: {error}.") from None
