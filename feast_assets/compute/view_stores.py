"""One view, with the stores that its rows are read from and put into."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.compute.online_rows import OnlineRows
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.kept_results import kept_result
from feast_assets.definitions.spec import content_hash
from feast_assets.offline_stores.base import computation_of, history_of

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.compute.source_statistics import SourceStatistics
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.definitions.window import Window
    from feast_assets.offline_stores.base import History, OfflineStore
    from feast_assets.offline_stores.parts import Part
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.base import Registry


def history_read(view: FeatureView) -> History:
    """Returns what materialization reads of a view: the inputs, where it computes a result and keeps it."""
    return computation_of(view) if isinstance(view, BatchFeatureView) and view.keeps_result else history_of(view)


def ledger_hash(view: FeatureView, table: str, identity: str) -> str:
    """Returns the hash (hex) that the ledger keeps: of what decides the rows, and of the table that they went to.

    Args:
        table: the view's online table.
        identity: which table of that name it is, see `OnlineStore.identity`; "" where rows do not go online. What the
            ledger says of a table that was lost or exchanged does not count.
    """
    return content_hash([definition_hash(view), table, identity])


@dataclass(frozen=True)
class ViewStores:
    """One view, with the stores that its rows are read from and put into.

    Attributes:
        project: as the registry and the online store know it, the deployment included.
        view: with its transformation's function attached.
        online_store: None where the project has none; then only kept results are made.
        revision: of the registry, that the view was read at.
    """

    project: str
    view: FeatureView
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore | None
    revision: int = 0

    @cached_property
    def table(self) -> str:
        """The view's online table."""
        return self.view.online_table(self.project)

    @cached_property
    def read(self) -> History:
        """What is read to materialize: the inputs, where the view computes a result and keeps it."""
        return history_read(self.view)

    @cached_property
    def made(self) -> History:
        """The rows of the view itself: of its source, its kept result, or its transformation over the sources."""
        return history_of(self.view)

    @cached_property
    def rows(self) -> OnlineRows:
        """Encodes the view's rows for the online store."""
        return OnlineRows(self.view)

    @cached_property
    def statistics(self) -> SourceStatistics:
        """The statistics of what is read to materialize, of which parts of sources are read once."""
        from feast_assets.compute.source_statistics import SourceStatistics

        return SourceStatistics(self.offline_store, self.registry, self.read, self.view.partitions)

    @property
    def online(self) -> OnlineStore | None:
        """The store that the view's rows go to; None where they do not go online."""
        return self.online_store if self.view.online else None

    @property
    def sink(self) -> DataSource | None:
        """The source that keeps the view's result; None where it is not kept."""
        return kept_result(self.view)

    def newest_rows(
        self, window: Window, parts: tuple[Part, ...] | None = None
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yields the newest row of each entity in a window.

        Args:
            parts: of the source that hold the window's rows; all of them with None. Not for views that compute rows.
        """
        made = self.made if parts is None else replace(self.made, only=parts)
        yield from self.offline_store.latest(made, [window])
