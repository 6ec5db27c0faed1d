"""What sources without a history of their own share."""

from __future__ import annotations

from datetime import timedelta

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, shown


class StreamSource(DataSource):
    """Base of sources whose rows arrive one after the other, and whose history another source holds.

    Attributes:
        batch_source: that other source; None if there is no history, so that no view can use the source.
    """

    _spec = {**DataSource._spec, "batch_source": None}
    holds_history = False

    batch_source: DataSource | None

    def _init_batch_source(self, batch_source: DataSource | None, name: str) -> None:
        if batch_source is not None and not (isinstance(batch_source, DataSource) and batch_source.holds_history):
            raise DefinitionError(
                f"{type(self).__name__} {name!r}: batch_source must be a source with history, not "
                f"{shown(batch_source)}."
            )
        self.batch_source = batch_source

    def _check_watermark(self, watermark_delay_threshold: timedelta | None, subject: str) -> None:
        if watermark_delay_threshold is not None and not isinstance(watermark_delay_threshold, timedelta):
            raise DefinitionError(
                f"{subject}: watermark_delay_threshold must be a timedelta, not {shown(watermark_delay_threshold)}."
            )
