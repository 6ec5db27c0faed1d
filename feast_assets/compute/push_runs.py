"""Storing handed-in rows as one unit: after the next use of the store, all of a push is stored, or nothing of it.

A push that one store writes atomically is simply stored. One of several parts (history and online, several views, more
rows than the online store puts at once) is first noted in the registry, with its rows and the version that orders
them. Then the rows are appended to history and put into the online tables, and the note is removed. Each step can be
repeated by any process without a further effect: history recognises rows that it has, and a put recognises the version.
So any process that finds the note can complete the push (`feast_assets.compute.unfinished_pushes`).
"""

from __future__ import annotations

import getpass
import hashlib
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from feast_assets.compute.row_digest import digest_of
from feast_assets.compute.writes import Write
from feast_assets.errors import (
    DataFrameSerializationError,
    FeastAssetsError,
    InputError,
    UnfinishedPushError,
    printable,
)
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.stored_formats import NOTED_PUSHES

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BYTES = 512 << 20
"""How large the rows of a noted push may be, compressed."""

_DIGEST_BYTES = 16
_FORMAT = b"feast_assets.noted_push"
"""Key of the schema's metadata: the number of the format."""
HOLDS_FEATURES = b"feast_assets.holds_features"
"""Key of the schema's metadata of rows over which no function is to run any more."""


@dataclass
class _Note:
    """What the registry holds of a push that is being stored.

    Attributes:
        is_new: whether this process noted it, and not another one that began the same push.
        is_kept: whether it is still noted.
    """

    push: NotedPush
    is_new: bool
    is_kept: bool = True


def run(write: Write) -> None:
    """Stores rows: history first, then online.

    Raises:
        UnfinishedPushError: a store failed when some may have been stored already; the rest is noted.
        StoreUnavailableError: a store failed; nothing was stored.
        InputError: the rows are too many for one push; nothing was stored.
    """
    if write.is_one_unit:
        write.append()
        write.put()
        return
    note = _note(write)
    _append(write, note)
    with _telling(write, note):
        write.put()
    _forget(write, note)


async def run_async(write: Write) -> None:
    """As `run`; puts do not block the event loop, all else runs in a thread."""
    import asyncio

    if write.is_one_unit:
        if write.history is not None:
            await asyncio.to_thread(write.append)
        await write.put_async()
        return
    note = await asyncio.to_thread(_note, write)
    await asyncio.to_thread(_append, write, note)
    with _telling(write, note):
        await write.put_async()
    await asyncio.to_thread(_forget, write, note)


def rows_to_bytes(rows: pa.Table) -> bytes:
    """Returns rows as a compressed Arrow IPC stream, with a digest before it by which damage is noticed."""
    import pyarrow as pa

    schema = rows.schema.with_metadata({**(rows.schema.metadata or {}), _FORMAT: b"%d" % NOTED_PUSHES.number})
    sink = pa.BufferOutputStream()
    codec = "zstd" if pa.Codec.is_available("zstd") else None
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(rows.replace_schema_metadata(schema.metadata))
    content = memoryview(sink.getvalue())
    return _digest(content) + content


def rows_from_bytes(content: bytes) -> pa.Table:
    """Returns the rows of `rows_to_bytes`.

    Raises:
        DataFrameSerializationError: the bytes are damaged.
        StoredFormatError: a newer version of this package wrote them.
    """
    import pyarrow as pa

    # Arrow trusts lengths and offsets, and may crash over wrong ones.
    stream = memoryview(content)[_DIGEST_BYTES:]
    if content[:_DIGEST_BYTES] != _digest(stream):
        raise DataFrameSerializationError("The registry's copy of the rows is damaged: its digest does not match.")
    try:
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            rows = reader.read_all()
        rows.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataFrameSerializationError(f"The registry's copy of the rows is damaged: {printable(error)}") from error
    metadata = dict(rows.schema.metadata or {})
    # The first versions that noted pushes wrote no number.
    NOTED_PUSHES.check(metadata.pop(_FORMAT, b"1").decode(), "The registry's copy of the rows")
    return rows.replace_schema_metadata(metadata or None)


def _digest(content: Any) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def key_of(push: NotedPush) -> str:
    """Returns the key of a noted push's rows; see `Write.key`."""
    return push.id.partition("-")[0]


def _note(write: Write) -> _Note | None:
    """Notes a push that is about to begin; None with a registry that keeps no notes."""
    registry = write.stores.registry
    if not isinstance(registry, NotesPushes):
        warnings.warn(
            f"A {type(registry).__name__} keeps no notes of pushes: if {write.call} is interrupted, it may stay half "
            "done until the same rows are pushed again.",
            stacklevel=2,
        )
        return None
    rows, other = write.rows, ""
    if not write.transforms:
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), HOLDS_FEATURES: b"1"})
        other = HOLDS_FEATURES.decode()
    content = rows_to_bytes(rows)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{write.call}: the rows take {len(content) >> 20} MB compressed, and one push may have "
            f"{MOST_BYTES >> 20} MB. Push them in parts, or append them with write_to_offline_store and materialize."
        )
    online = tuple(view.name for view, _ in write.online)
    offline = write.history.view.name if write.history is not None else ""
    push = NotedPush(
        id=f"{write.key}-{digest_of(offline, *online, *([other] if other else []))[:16]}",
        call=write.call,
        online_views=online,
        offline_view=offline,
        version=write.version,
        at=datetime.now(UTC),
        by=_here(),
    )
    noted = registry.note_push(push, content)
    # Where the same push was begun before, its rows go on under the version that they have.
    write.set_version(noted.version)
    return _Note(noted, is_new=noted == push)


def _append(write: Write, note: _Note | None) -> None:
    with _telling(write, note):
        try:
            write.append()
        except FeastAssetsError:
            if note is None or not (note.is_new and _is_surely_not_in_history(write)):
                raise
            _forget(write, note)
            note.is_kept = False
            raise


def _is_surely_not_in_history(write: Write) -> bool:
    try:
        return not write.is_in_history()
    except FeastAssetsError:
        return False


@contextmanager
def _telling(write: Write, note: _Note | None) -> Iterator[None]:
    """Says with an error of a store that the push is noted, where it is."""
    try:
        yield
    except FeastAssetsError as error:
        if note is None or not note.is_kept:
            raise
        raise UnfinishedPushError(note.push.id, write.call, error) from error


def _forget(write: Write, note: _Note | None) -> None:
    registry = write.stores.registry
    if note is None or not isinstance(registry, NotesPushes):
        return
    try:
        registry.forget_push(note.push)
    except FeastAssetsError as error:
        warnings.warn(
            f"{write.call}: all rows are stored, but the registry still notes the push as unfinished, so the next use "
            f"of the store writes the same rows again: {error}",
            stacklevel=2,
        )


def _here() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
