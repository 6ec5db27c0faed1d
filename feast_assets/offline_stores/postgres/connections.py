"""The connections of a store to its Postgres server."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc

from feast_assets.errors import StoreUnavailableError
from feast_assets.offline_stores.postgres.driver import close, literal, quoted, text_of
from feast_assets.offline_stores.postgres.engine import PostgresEngine
from feast_assets.offline_stores.sql.engine import SqlEngineError

if TYPE_CHECKING:
    from feast_assets.offline_stores.postgres.config import PostgresOfflineStoreConfig

_SETTINGS = {"timezone": "UTC", "datestyle": "ISO", "standard_conforming_strings": "on", "extra_float_digits": "1"}

OLDEST_VERSION = 140_000
"""The first version that can hash whole rows."""


class PostgresConnections:
    """The connections of a store; those that are not in use are kept for the next call.

    Args:
        config: how to connect.
    """

    def __init__(self, config: PostgresOfflineStoreConfig):
        self._config = config
        self._lock = threading.Lock()
        self._idle: list[adbc.Connection] = []
        self._abandoned: list[adbc.Connection] = []
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._idle, self._pid)

    def session(self) -> PostgresEngine:
        """Returns a session of its own.

        Raises:
            StoreUnavailableError: the server cannot be reached, or refuses the login.
        """
        while (connection := self._taken()) is not None:
            try:
                return PostgresEngine(connection, self._give_back)
            except (SqlEngineError, StoreUnavailableError):
                # The server has closed it meanwhile.
                close(connection)
        return PostgresEngine(self._opened(), self._give_back)

    def _taken(self) -> adbc.Connection | None:
        with self._lock:
            if self._pid != os.getpid():
                # A forked process must not use its parent's connections, nor close them.
                self._abandoned += self._idle
                self._idle, self._pid = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: adbc.Connection) -> None:
        with self._lock:
            if self._pid == os.getpid() and len(self._idle) < self._config.max_conn:
                self._idle.append(connection)
                return
        close(connection)

    def _opened(self) -> adbc.Connection:
        config = self._config
        try:
            connection = adbc.connect(config.uri(), autocommit=True)
        except adbc_driver_manager.Error as error:
            raise StoreUnavailableError(
                f"The Postgres server {config.display_name} cannot be used: {text_of(error)}"
            ) from error
        settings = {**_SETTINGS, "search_path": quoted(config.db_schema)}
        calls = ", ".join(f"set_config('{name}', {literal(value)}, false)" for name, value in settings.items())
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT current_setting('server_version_num')::int, {calls}")
            (version, *_) = cursor.fetchone()
        if version < OLDEST_VERSION:
            close(connection)
            raise StoreUnavailableError(
                f"The Postgres server {config.display_name} is of version {version // 10_000}; the offline store "
                f"needs {OLDEST_VERSION // 10_000} or newer."
            )
        return connection


def _close_all(connections: list[adbc.Connection], pid: int) -> None:
    if os.getpid() == pid:
        for connection in connections:
            close(connection)
