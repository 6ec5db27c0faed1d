"""Appending what was read of a stream to the history that its batch source holds.

Of each partition a stretch of offsets is appended as a whole. What is there already, because a consumer was killed
before it noted its position, or because another one has the partition, is left out.
"""

from __future__ import annotations

import hashlib
import logging
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from feast_assets.compute.row_digest import rows_digest
from feast_assets.errors import FeastAssetsError, NotSupportedError
from feast_assets.offline_stores.abilities import AppendsRanges, WritesOnce
from feast_assets.offline_stores.base import OfflineStore

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.sources.data_source import DataSource

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")
_IDENTITY = 12
_LONGEST_NAME = 60
_COMPACT_EVERY = 32
"""Stretches of a partition after which small files are put together."""
_SETTLED_SECONDS = 600.0
_LOG = logging.getLogger(__name__)


class StreamHistory:
    """Appends rows of one stream.

    Args:
        stream: the name of the topic, of the stream or of the stream source.
        identity: of the stream; see `feast_assets.streams.base.StreamReader.identity`.

    Raises:
        NotSupportedError: the store cannot append rows at most once.
    """

    def __init__(self, store: OfflineStore, source: DataSource, stream: str, identity: str):
        self._source = source
        self._stream = f"{_UNSAFE.sub('-', stream)[:100]}-{identity[:_IDENTITY]}"
        self._ranges = store if isinstance(store, AppendsRanges) and store.takes_ranges(source) else None
        self._once = WritesOnce.of(store, f"Appending a stream to source {source.name!r}", "Use to=PushMode.ONLINE.")
        self._appended: dict[str, int] = {}
        if self._ranges is None and not isinstance(store, WritesOnce):
            raise NotSupportedError(f"Source {source.name!r} cannot be appended to.")

    def append(self, partition: str, start: int, end: int, offsets: Sequence[int], rows: pa.Table) -> int:
        """Appends the rows of the messages from ``start`` to before ``end``; returns how many were missing.

        Args:
            offsets: of the rows, ascending.
            rows: with the source's own columns.
        """
        if self._ranges is None:
            if rows.num_rows:
                self._once.write_once(self._source, rows, rows_digest(rows))
            return int(rows.num_rows)
        stream = f"{self._stream}_{_safe(partition)}"
        added = 0
        position = start
        while position < end:
            covered = self._ranges.covered_ranges(self._source, stream, position, end)
            if covered and covered[0][0] <= position:
                position = covered[0][1]
                continue
            until = min(end, covered[0][0]) if covered else end
            first, last = bisect_left(offsets, position), bisect_left(offsets, until)
            # Also without rows: another consumer, which begins here, has to find that this stretch is done.
            if self._ranges.append_range(self._source, stream, position, until, rows.slice(first, last - first)):
                added += last - first
                position = until
        self._appended[stream] = self._appended.get(stream, 0) + 1
        if self._appended[stream] % _COMPACT_EVERY == 0:
            self._compact(stream)
        return added

    def _compact(self, stream: str) -> None:
        """Puts small files together. The rows are there in any case, so a failure only makes reading slower."""
        import pyarrow as pa

        assert self._ranges is not None
        try:
            self._ranges.compact_ranges(self._source, stream, _SETTLED_SECONDS)
        except (FeastAssetsError, pa.ArrowException, OSError) as error:
            _LOG.warning("The small files of stream %s in source %r stay: %s", stream, self._source.name, error)


def _safe(partition: str) -> str:
    """Returns a name of a partition for names of files. No two partitions have the same."""
    safe = _UNSAFE.sub("-", partition)
    if safe == partition and len(safe) <= _LONGEST_NAME:
        return safe
    return f"{safe[:24]}-{hashlib.blake2b(partition.encode(), digest_size=16).hexdigest()}"
