"""What sources of rows that arrive one by one have in common."""

from __future__ import annotations

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, shown


class StreamSource(DataSource):
    """A source whose rows arrive one by one. History is read from its batch source.

    Attributes:
        batch_source: where the history is; required by feature views that use the source.
    """

    _spec = {**DataSource._spec, "batch_source": None}
    holds_history = False

    batch_source: DataSource | None

    def _init_batch_source(self, batch_source: DataSource | None) -> None:
        if batch_source is not None and not (isinstance(batch_source, DataSource) and batch_source.holds_history):
            raise DefinitionError(
                f"{type(self).__name__} {self.name!r}: batch_source must be a source with history, not "
                f"{shown(batch_source)}."
            )
        self.batch_source = batch_source
