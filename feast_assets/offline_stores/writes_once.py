"""The ability of an offline store to write rows at most once, however often it is asked to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from feast_assets.definitions.sources.data_source import DataSource

if TYPE_CHECKING:
    import pyarrow as pa


class WritesOnce(ABC):
    """An offline store that recognises rows that it has written before.

    A push that was killed half-way can be completed, and repeated, only in history that does. Of a store without this
    ability a repeated push appends its rows again. A backend passes `feast_assets.testing.WritesOnceConformance`.
    """

    @abstractmethod
    def check_write(self, source: DataSource, rows: pa.Table) -> None:
        """Raises the error that `write_once` would raise because of the rows or the source's kind; writes nothing.

        Raises:
            InputError: the columns are not the source's own, or a value does not fit.
            NotSupportedError: the source cannot be appended to.
        """

    @abstractmethod
    def write_once(self, source: DataSource, rows: pa.Table, key: str) -> None:
        """Appends rows, whole or not at all, unless they have been written before under the same key.

        Several processes may do so at once; the rows are then there once. A store may go by the key, or by the rows:
        leaving out those of which the source has one that is equal in all columns.

        Args:
            rows: with the source's own columns.
            key: letters and digits that are the same for the same rows, and for these only.
        """

    @abstractmethod
    def has_written(self, source: DataSource, rows: pa.Table, key: str) -> bool:
        """Says whether `write_once` would find nothing to write; false where there is no such source."""
