"""An offline store that lets DuckDB read history, and keeps a log of what it was asked for.

It has the six verbs of an offline store and no more: none of the abilities that DuckDB's store has besides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.offline_stores.base import History, OfflineStore, WindowStatistics
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.settings.model import PlainPath, Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.definitions.window import Window
    from feast_assets.offline_stores.spine import PointInTimeJoin, Spine


class LoggedOfflineStoreConfig(Settings):
    """The ``offline_store`` section.

    Attributes:
        log: the file, relative to the repository.
    """

    type: str = "logged"
    log: PlainPath = "data/queries.log"


class LoggedOfflineStore(OfflineStore):
    """DuckDB, with one line of JSON for each call: when, which verb, of what."""

    config_class = LoggedOfflineStoreConfig

    def __init__(self, config: LoggedOfflineStoreConfig, root: Path):
        self._store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(), root)
        self._log = Path(root) / config.log

    def schema(self, source: DataSource) -> pa.Schema:
        self._note("schema", source.name)
        return self._store.schema(source)

    def join(
        self, spine: Spine, joins: Sequence[PointInTimeJoin], *, filter_by_created_timestamp: bool = False
    ) -> pa.RecordBatchReader:
        self._note("join", *(join.history.view for join in joins))
        return self._store.join(spine, joins, filter_by_created_timestamp=filter_by_created_timestamp)

    def latest(self, history: History, windows: Sequence[Window], keys: pa.Table | None = None) -> pa.RecordBatchReader:
        self._note("latest", history.view)
        return self._store.latest(history, windows, keys)

    def scan(self, history: History, window: Window) -> pa.RecordBatchReader:
        self._note("scan", history.view)
        return self._store.scan(history, window)

    def statistics(self, history: History, windows: Sequence[Window]) -> list[WindowStatistics]:
        self._note("statistics", history.view)
        return self._store.statistics(history, windows)

    def write(self, source: DataSource, rows: pa.Table) -> None:
        self._note("write", source.name)
        self._store.write(source, rows)

    def _note(self, verb: str, *names: str) -> None:
        entry = {"at": datetime.now(UTC).isoformat(), "verb": verb, "of": names}
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(entry) + "\n")
