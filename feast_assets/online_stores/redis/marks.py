"""Marks of tables in Redis.

The identity of a table is under ``fa:id:<table>``, the number of its mark, in decimal digits, under
``fa:mark:<table>``; neither ever expires, and no row's key begins with either. A snapshot or a replica brings both back
as they were when it was made.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import redis

from feast_assets.online_stores.base import LARGEST_NUMBER, NEVER_ADVANCED, Mark
from feast_assets.online_stores.redis.commands import command, run_all

_WIDTH = len(str(LARGEST_NUMBER))
_NUMBER = re.compile(rb"[1-9][0-9]{0,%d}" % (_WIDTH - 1))
_RUN = re.compile(rb"^(?:run_id|master_replid):([0-9a-f]+)\r$", re.MULTILINE)

# A key of another type, or with anything but a number, counts as none.
_ADVANCE_SCRIPT = f"""
local identity = redis.pcall('GET', KEYS[1])
if type(identity) ~= 'string' then return {{'', '0'}} end
local number = redis.pcall('GET', KEYS[2])
if type(number) ~= 'string' or not string.match(number, '^[1-9]%d*$') then number = '0' end
if #number > {_WIDTH} or (#number == {_WIDTH} and number > '{LARGEST_NUMBER}') then
  number = '0'
end
if number == ARGV[1] then
  redis.call('SET', KEYS[2], ARGV[2])
  number = ARGV[2]
end
return {{identity, number}}
"""


def identity_key(table: str) -> bytes:
    """Returns the key of a table's identity."""
    # No length: all that follows is the name, and rows have a digit where this has a letter.
    return b"fa:id:" + table.encode("utf-8", "surrogatepass")


def mark_key(table: str) -> bytes:
    """Returns the key of the number of a table's mark."""
    return b"fa:mark:" + table.encode("utf-8", "surrogatepass")


def drawn_identity() -> bytes:
    """Returns an identity that no table has had."""
    return uuid.uuid4().hex.encode()


def begin(client: redis.Redis, tables: Sequence[str]) -> None:
    """Draws the identities of tables that have none, and sets the numbers of their marks."""
    identities: Any = client.mget([identity_key(table) for table in tables])
    for table, identity in zip(tables, identities, strict=True):
        if identity:
            continue
        # Both or neither, and another process may be first.
        pair = {identity_key(table): drawn_identity(), mark_key(table): b"%d" % NEVER_ADVANCED}
        if client.msetnx(pair) or client.set(identity_key(table), drawn_identity(), nx=True):
            continue
        # Another program wrote a value there that cannot be an identity.
        if not marks(client, [table])[0].identity:
            client.mset(pair)


def marks(client: redis.Redis, tables: Sequence[str]) -> list[Mark]:
    """Returns the marks of tables, in order, by one ``MGET``."""
    if not tables:
        return []
    values: Any = client.mget([key for table in tables for key in (identity_key(table), mark_key(table))])
    return [_mark(identity, number) for identity, number in zip(values[::2], values[1::2], strict=True)]


def advance(client: redis.Redis, table: str, expected: int, new: int) -> Mark:
    """See `OnlineStore.advance`. It may be sent twice, after a connection broke: the effect is that of once."""
    script = client.register_script(_ADVANCE_SCRIPT)
    identity_and_number: Any = script(keys=[identity_key(table), mark_key(table)], args=[expected, new])
    return _mark(*identity_and_number)


def remove(client: redis.Redis, tables: Iterable[str]) -> None:
    """Removes the marks of tables, each whole."""
    for table in tables:
        client.unlink(identity_key(table), mark_key(table))


def restart_token(pool: redis.ConnectionPool) -> str:
    """Returns the server's run and its replication history.

    The run is another after a restart, and on the replica that takes the server's place; the history also after a
    server became a replica, took another's rows, and was promoted again. ``""`` for a user without the right to ask.
    """
    asked = [command([b"INFO", b"server"]), command([b"INFO", b"replication"])]
    answers = b"".join(text for text in run_all(pool, asked) if isinstance(text, bytes))
    return ":".join(text.decode() for text in _RUN.findall(answers))


def _mark(identity: bytes | None, number: bytes | None) -> Mark:
    if not identity:
        return Mark("", 0)
    value = int(number) if number is not None and _NUMBER.fullmatch(number) else 0
    return Mark(identity.decode("utf-8", "replace"), value if value <= LARGEST_NUMBER else 0)
