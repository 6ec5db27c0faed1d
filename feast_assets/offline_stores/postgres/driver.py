"""Statements by the driver, and what its errors mean."""

from __future__ import annotations

import contextlib

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from feast_assets.errors import StoreUnavailableError, printable
from feast_assets.offline_stores.sql.engine import SqlEngineError

_UNREACHABLE = ("08", "57P", "53")
"""How SQLSTATEs begin of a server that is not to be reached, shuts down, or lacks memory or space."""

_SIGNS_OF_LOSS = ("server closed the connection", "terminating connection", "no connection to the server")

_MISSING, _CANCELLED = "42P01", "57014"


def run(connection: adbc.Connection, sql: str) -> None:
    """Runs a statement that returns nothing.

    Raises:
        SqlEngineError, StoreUnavailableError: it fails.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    except adbc_driver_manager.Error as error:
        raise translated(error) from error


def close(connection: adbc.Connection) -> None:
    """Closes a connection, whatever state it is in."""
    with contextlib.suppress(adbc_driver_manager.Error):
        connection.close()


def translated(error: BaseException) -> BaseException:
    """Returns the error to raise for one of the driver; others are returned as they are."""
    if not isinstance(error, (adbc_driver_manager.Error, pa.ArrowException, OSError)):
        return error
    # While rows are read, there is only a text.
    state = getattr(error, "sqlstate", None) or ""
    text = text_of(error)
    if state.startswith(_UNREACHABLE) or (not state and any(sign in text for sign in _SIGNS_OF_LOSS)):
        return StoreUnavailableError(f"The Postgres server cannot be used: {text}")
    is_timeout = state == _CANCELLED or "statement timeout" in text
    return SqlEngineError(text, is_missing=state == _MISSING, is_timeout=is_timeout)


def text_of(error: BaseException) -> str:
    """Returns what the server says, without the statement."""
    details = dict(getattr(error, "details", None) or ())
    message = details.get(b"PG_DIAG_MESSAGE_PRIMARY")
    if message is not None:
        return printable(message.decode(errors="replace"))
    text = str(error).split("Query was:")[0].split("\nLINE ")[0]
    return printable(text.partition("ERROR:")[2] or text)


def quoted(name: str) -> str:
    """Returns an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Returns an SQL text literal."""
    return "'" + text.replace("'", "''") + "'"
