"""Putting one batch of rows: each row is compared with the stored one and written in the same statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from operator import lt
from typing import Any

from psycopg import Connection

from feast_assets.online_stores.base import EncodedRows, PutResult, counted
from feast_assets.online_stores.postgres.arrays import ByteArray, IntegerArray
from feast_assets.online_stores.postgres.statements import TableStatements

# What one statement takes; a message of the protocol is at most 1 GB, and the server holds all of it.
_MOST_BYTES = 64_000_000


def put(connection: Connection[Any], table: TableStatements, batch: EncodedRows) -> tuple[PutResult, list[bytes]]:
    """Puts a batch, whole or not at all.

    Returns:
        what became of the rows, and keys of rows that were written over values that cannot be rows.
    """
    result, overwritten = PutResult(0, 0), []
    pieces = list(_pieces(_in_order(batch)))
    with connection.transaction() if len(pieces) > 1 else nullcontext():
        for piece in pieces:
            if piece.only_replaces:
                result += _replace_older(connection, table, piece)
            else:
                done, keys = _upsert(connection, table, piece)
                result += done
                overwritten += keys
    return result, overwritten


def arrays_of(rows: EncodedRows) -> list[ByteArray | IntegerArray]:
    """Returns rows as the parameters of a statement."""
    return [
        ByteArray(rows.keys),
        IntegerArray(rows.event_timestamps),
        IntegerArray(rows.created_timestamps),
        ByteArray(rows.payloads),
    ]


def _upsert(connection: Connection[Any], table: TableStatements, rows: EncodedRows) -> tuple[PutResult, list[bytes]]:
    sql = table.put(of_codec=rows.of_codec)
    parameters = [*arrays_of(rows), rows.groups is not None]
    ((written, keys, noted),) = connection.execute(sql, parameters, binary=True).fetchall()
    by_group = _by_group(rows, keys or [])
    overwritten = [bytes.fromhex(key) for key in (noted or "").split()]
    return PutResult(written, len(rows) - written, by_group), overwritten


def _replace_older(connection: Connection[Any], table: TableStatements, rows: EncodedRows) -> PutResult:
    sql = table.replace_older(of_codec=rows.of_codec)
    found = connection.execute(sql, arrays_of(rows), binary=True).fetchall()
    written = [key for key, is_written in found if is_written]
    absent = tuple(key for key, is_written in found if not is_written)
    return PutResult(len(written), len(rows) - len(written), _by_group(rows, written), absent)


def _by_group(rows: EncodedRows, written: list[bytes]) -> tuple[int, ...]:
    if rows.groups is None:
        return ()
    group_of = dict(zip(rows.keys, rows.groups.tolist(), strict=True))
    return counted(group_of[key] for key in written)


def _in_order(rows: EncodedRows) -> EncodedRows:
    """Returns rows in the order of their keys: those who lock rows in one order never wait for each other in a ring."""
    keys = rows.keys
    if all(map(lt, keys, islice(keys, 1, None))):
        return rows
    return rows.taken(sorted(range(len(keys)), key=keys.__getitem__))


def _pieces(rows: EncodedRows) -> Iterator[EncodedRows]:
    if sum(map(len, rows.payloads)) <= _MOST_BYTES:
        yield rows
        return
    piece: list[int] = []
    size = 0
    for at, payload in enumerate(rows.payloads):
        if piece and size + len(payload) > _MOST_BYTES:
            yield rows.taken(piece)
            piece, size = [], 0
        piece.append(at)
        size += len(payload)
    yield rows.taken(piece)
