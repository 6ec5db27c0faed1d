"""The statements for noted pushes in a SQL registry; see `feast_assets.registry.sql.transaction`."""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

import json
from typing import Any

from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.errors import reason_of
from feast_assets.registry.noted_pushes import NotedPush
from feast_assets.registry.sql.schema import PUSH_ROWS, PUSHES
from feast_assets.registry.sql.transaction import Query, Transaction, Value

PIECE_BYTES = 4 << 20
"""How much of a push's rows one row of the database holds; servers and drivers dislike values of hundreds of MB."""

_COLUMNS = 'id, "call", online_views, offline_view, version, "at", "by"'
_ALL = f'SELECT {_COLUMNS} FROM {PUSHES} WHERE project = :project ORDER BY "at", id'
_ONE = f"SELECT {_COLUMNS} FROM {PUSHES} WHERE project = :project AND id = :id"
_ROWS = f"SELECT content FROM {PUSH_ROWS} WHERE project = :project AND id = :id AND version = :version ORDER BY piece"
_NOTE_ROWS = (
    f"INSERT INTO {PUSH_ROWS} (project, id, version, piece, content) VALUES (:project, :id, :version, :piece, :content)"
)
_FORGET = tuple(
    f"DELETE FROM {table} WHERE project = :project AND id = :id AND version = :version" for table in (PUSH_ROWS, PUSHES)
)


def noted(query: Query, project: str) -> list[NotedPush]:
    """Returns a project's noted pushes, oldest first."""
    return [_push(*row) for row in query(_ALL, project=project)]


def noted_rows(query: Query, project: str, push: NotedPush) -> bytes | None:
    """Returns the rows of a push; None where it is not noted."""
    pieces = query(_ROWS, project=project, id=push.id, version=push.version)
    # A piece that is not bytes is damaged; without it, the digest of the rows does not match.
    return b"".join(bytes(p) for (p,) in pieces if isinstance(p, (bytes, memoryview))) if pieces else None


def note(transaction: Transaction, project: str, push: NotedPush, rows: bytes) -> NotedPush | None:
    """Notes a push, and returns the one that is noted; None if another process removed that at the same time."""
    row: dict[str, Value] = {
        "project": project,
        "id": push.id,
        "call": push.call,
        "online_views": json.dumps(push.online_views),
        "offline_view": push.offline_view,
        "version": push.version,
        "at": to_micros(push.at),
        "by": push.by,
    }
    if not transaction.insert_new(PUSHES, row):
        standing = transaction(_ONE, project=project, id=push.id)
        return _push(*standing[0]) if standing else None
    key: dict[str, Value] = {"project": project, "id": push.id, "version": push.version}
    starts = range(0, max(len(rows), 1), PIECE_BYTES)
    transaction.each(
        _NOTE_ROWS, ({**key, "piece": i, "content": rows[at : at + PIECE_BYTES]} for i, at in enumerate(starts))
    )
    return push


def forget(transaction: Transaction, project: str, push: NotedPush) -> None:
    """Removes a noted push."""
    for statement in _FORGET:
        transaction.each(statement, [{"project": project, "id": push.id, "version": push.version}])


def _push(push_id: Any, call: Any, online_views: Any, offline_view: Any, version: Any, at: Any, by: Any) -> NotedPush:
    """Returns the push of a database row. A damaged one says so in `NotedPush.damage`, so that others can be read."""
    views: Any = ()
    begun = from_micros(0)
    damage = ""
    try:
        views = json.loads(online_views)
        begun = from_micros(at)
        texts = [push_id, call, offline_view, by, *views]
        if not isinstance(views, list) or not isinstance(version, int) or not all(isinstance(t, str) for t in texts):
            raise ValueError("a value is of another type")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        views, offline_view, damage = (), "", f"its note in the registry is damaged: {reason_of(error)}"
    return NotedPush(push_id, str(call), tuple(views), offline_view, version, begun, str(by), damage)
