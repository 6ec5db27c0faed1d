"""Putting one batch of rows: each row is compared with the stored one and written in the same statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from operator import lt

from psycopg import Connection
from psycopg.rows import TupleRow

from feast_assets.online_stores.abilities import RowStamps
from feast_assets.online_stores.base import NOTHING_PUT, EncodedRows, PutResult
from feast_assets.online_stores.postgres.arrays import ByteArray, IntegerArray
from feast_assets.online_stores.postgres.statements import TableStatements

# What one statement takes; a message of the protocol is at most 1 GB, and the server holds all of it.
_MOST_BYTES = 64_000_000


def put(connection: Connection[TupleRow], table: TableStatements, batch: EncodedRows, *, existing: bool) -> PutResult:
    """Puts a batch, whole or not at all.

    Args:
        existing: whether only keys are written that the table has.
    """
    result = NOTHING_PUT
    pieces = list(_pieces(_in_order(batch)))
    with connection.transaction() if len(pieces) > 1 else nullcontext():
        for piece in pieces:
            result += _put_existing(connection, table, piece) if existing else _put(connection, table, piece)
    return result


def row_arrays(rows: EncodedRows) -> list[ByteArray | IntegerArray]:
    """Returns rows as the parameters of a statement."""
    return [*stamp_arrays(RowStamps.of(rows)), ByteArray(rows.payloads)]


def stamp_arrays(rows: RowStamps) -> list[ByteArray | IntegerArray]:
    """Returns rows without payloads as the parameters of a statement."""
    times = (rows.event_timestamps, rows.created_timestamps, rows.versions)
    return [ByteArray(rows.keys), *map(IntegerArray, times)]


def _put(connection: Connection[TupleRow], table: TableStatements, rows: EncodedRows) -> PutResult:
    written = connection.execute(table.put, row_arrays(rows)).rowcount
    return PutResult(written, len(rows) - written)


def _put_existing(connection: Connection[TupleRow], table: TableStatements, rows: EncodedRows) -> PutResult:
    answers = connection.execute(table.put_existing, row_arrays(rows), binary=True).fetchall()
    absent = tuple(key for key, is_written in answers if not is_written)
    written = len(answers) - len(absent)
    return PutResult(written, len(rows) - written, absent)


def _in_order(rows: EncodedRows) -> EncodedRows:
    """Returns rows in the order of their keys. Writers that lock rows in one order never wait for each other."""
    keys = rows.keys
    if all(map(lt, keys, islice(keys, 1, None))):
        return rows
    return rows.take(sorted(range(len(keys)), key=keys.__getitem__))


def _pieces(rows: EncodedRows) -> Iterator[EncodedRows]:
    if sum(map(len, rows.payloads)) <= _MOST_BYTES:
        yield rows
        return
    piece: list[int] = []
    size = 0
    for index, payload in enumerate(rows.payloads):
        if piece and size + len(payload) > _MOST_BYTES:
            yield rows.take(piece)
            piece, size = [], 0
        piece.append(index)
        size += len(payload)
    yield rows.take(piece)
