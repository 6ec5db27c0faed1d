"""Logs what a feature server serves, without holding up requests.

An answer of a feature service with a ``logging_config`` is drawn by its sample rate and handed to a thread, which turns
answers into log rows and writes them to the service's destination from time to time. Of a server that is killed, what
was not written yet is lost; one that is told to end writes it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from feast_assets.auth.identity import own_work
from feast_assets.definitions.feature_service import FeatureService

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.feature_store import FeatureStore
    from feast_assets.retrieval.logged_features import FeatureLogger
    from feast_assets.retrieval.response import OnlineResponse
    from feast_assets.settings.feature_server import FeatureLoggingSettings

logger = logging.getLogger("feast_assets.serving")

_ROWS_AT_ONCE = 100_000
"""A service's rows are written when they are so many, however short ago the last ones were."""


class ServedFeatures:
    """Logs answers of feature services.

    Args:
        store: whose services they are.
        settings: how often rows are written, and how many answers may wait.
        count: called with a number of answers and what has become of them: ``"logged"``, ``"dropped"`` or ``"failed"``.
    """

    def __init__(
        self, store: FeatureStore, settings: FeatureLoggingSettings, count: Callable[[str, int], None] | None = None
    ):
        self._store = store
        self._settings = settings
        self._count = count or (lambda outcome, answers: None)
        # None says that nothing comes any more.
        self._waiting: queue.Queue[tuple[str, OnlineResponse, datetime] | None] = queue.Queue(settings.queue_capacity)
        self._thread: threading.Thread | None = None
        # Service -> the rows that are to be written, a table for each answer.
        self._rows: dict[str, list[pa.Table]] = {}
        self._loggers: dict[str, tuple[object, FeatureLogger]] = {}

    def offer(self, service: FeatureService, response: OnlineResponse) -> None:
        """Logs an answer, if the service wants that and this one is drawn. Never waits."""
        config = service.logging_config
        if config is None or not config.draws():
            return
        if self._thread is None:
            # Not before the first answer: a server may fork.
            self._thread = threading.Thread(target=self._run, name="feast-assets-served-features", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((service.name, response, datetime.now(UTC)))
        except queue.Full:
            self._count("dropped", 1)

    def close(self) -> None:
        """Writes what waits, and ends."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        due = monotonic() + self._settings.flush_interval_secs
        while True:
            try:
                answer = self._waiting.get(timeout=max(due - monotonic(), 0))
                if answer is None:
                    break
                self._take(*answer)
            except queue.Empty:
                pass
            if monotonic() >= due:
                self._flush()
                due = monotonic() + self._settings.flush_interval_secs
        self._flush()

    def _take(self, name: str, response: OnlineResponse, moment: datetime) -> None:
        try:
            with own_work():
                rows = self._logger(name).rows(response, moment)
        except Exception as error:  # noqa: BLE001 - one answer that cannot be logged must not end the log
            self._failed(name, 1, error)
            return
        waiting = self._rows.setdefault(name, [])
        waiting.append(rows)
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            self._write(name)

    def _logger(self, name: str) -> FeatureLogger:
        snapshot = self._store.snapshot()
        state = (snapshot.revision, snapshot.committed)
        known = self._loggers.get(name)
        if known is None or known[0] != state:
            if name in self._rows:
                self._write(name)  # Rows to come may have other columns.
            known = self._loggers[name] = (state, self._store.feature_logger(snapshot.feature_service(name)))
        return known[1]

    def _flush(self) -> None:
        for name in list(self._rows):
            self._write(name)

    def _write(self, name: str) -> None:
        import pyarrow as pa

        tables = self._rows.pop(name)
        try:
            with own_work():
                service = self._store.snapshot().feature_service(name)
                self._store.write_logged_features(pa.concat_tables(tables), service)
        except Exception as error:  # noqa: BLE001 - rows that cannot be written must not end the log
            self._failed(name, len(tables), error)
        else:
            self._count("logged", len(tables))

    def _failed(self, name: str, answers: int, error: Exception) -> None:
        self._count("failed", answers)
        logger.error("%s answers of feature service %r could not be logged: %s", answers, name, error)
