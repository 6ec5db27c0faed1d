"""What a task needs of the process that it runs in."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.compute.ledger_rows import LedgerRows
    from feast_assets.compute.source_statistics import Statistics
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.definitions.window import Window
    from feast_assets.offline_stores.parts import Part


@dataclass
class TaskContext:
    """What a task needs of the process that it runs in.

    Attributes:
        stores: of the task's view.
        ledger_rows: gives the newest rows of the windows in the ledger, for entities that the online store lacks.
        statistics: from which the task's windows were planned; they know which parts of the source hold rows of them.
        begun: the newest rows of all that the run writes, where they are being read already; taken by the first task.
        added: the parts that were added to the task's windows since they were settled last, where nothing else has
            become of them. Then the store holds the rows of the other parts, or newer ones.
    """

    stores: ViewStores
    ledger_rows: LedgerRows
    begun: Iterable[pa.RecordBatch] | None = None
    statistics: Statistics | None = None
    added: tuple[Part, ...] | None = None

    @contextmanager
    def newest_rows(self, span: Window) -> Generator[Iterable[pa.RecordBatch], None, None]:
        """Gives the newest row of each entity in a task's windows, and closes what it has opened for them."""
        begun, self.begun = self.begun, None
        if begun is not None:
            yield begun  # closed by the caller that began it
            return
        parts = self.added
        if parts is None and self.statistics is not None:
            parts = self.statistics.parts_of(span)
        rows = self.stores.newest_rows(span, parts)
        try:
            yield rows
        finally:
            rows.close()
