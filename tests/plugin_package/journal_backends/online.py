"""An online store in journals: of each table a file to which every batch adds one line of JSON.

A line that was not written to its end is not there, so a batch is whole or not at all, even after ``kill -9``. Readers
keep the newest rows in memory, and read what was added since. Nothing is ever compacted: it is an example.
"""

from __future__ import annotations

import fcntl
import json
import threading
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.base import (
    NEVER_ADVANCED,
    NOTHING_PUT,
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    PutResult,
    StoredRows,
    closing_source,
)
from feast_assets.settings.model import PlainPath, Settings

_BEGINNING = 50
_NO_ROW = (0, 0, 0, None)
_Stored = tuple[int, int, int, bytes | None]


class JournalOnlineStoreConfig(Settings):
    """The ``online_store`` section.

    Attributes:
        path: the folder of the journals, relative to the repository.
    """

    type: str = "journal"
    path: PlainPath = "data/journal"


class JournalOnlineStore(OnlineStore):
    """The newest row per key, in files of one machine; safe for many threads and processes."""

    config_class = JournalOnlineStoreConfig
    rows_put_whole = None

    def __init__(self, config: JournalOnlineStoreConfig, root: Path):
        self._folder = Path(root) / config.path
        self._journals: dict[str, _Journal] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"JournalOnlineStore({str(self._folder)!r})"

    def setup(self, tables: Iterable[str]) -> None:
        with self._writing():
            for table in tables:
                self._set_up(table)

    def drop(self, tables: Iterable[str]) -> None:
        with self._writing():
            for table in tables:
                self._journal(table).file.unlink(missing_ok=True)

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        with self._lock:
            return [self._read(table).mark for table in tables]

    def advance(self, table: str, expected: int, new: int) -> Mark:
        with self._writing():
            journal = self._read(table)
            if journal.mark.identity and journal.mark.number == expected:
                journal.add({"number": new})
            return self._read(table).mark

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        result = NOTHING_PUT
        with closing_source(batches) as remaining:
            for batch in remaining:
                columns = (batch.event_timestamps.tolist(), batch.created_timestamps.tolist(), batch.versions.tolist())
                rows = dict(zip(batch.keys, zip(*columns, batch.payloads, strict=True), strict=True))
                if rows:
                    with self._writing():
                        self._set_up(table)
                        newer = self._read(table).newer(rows)
                        if newer:
                            self._read(table).add({"rows": [_encoded(key, row) for key, row in newer.items()]})
                    result += PutResult(len(newer), len(rows) - len(newer))
        return result

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        with self._lock:
            found = [[self._read(read.table).rows.get(key, _NO_ROW) for key in read.keys] for read in reads]
        return [StoredRows(*zip(*rows, strict=True)) if rows else StoredRows((), (), (), ()) for rows in found]

    def _set_up(self, table: str) -> None:
        if not self._read(table).mark.identity:
            self._journal(table).add({"identity": uuid.uuid4().hex, "number": NEVER_ADVANCED})

    def _journal(self, table: str) -> _Journal:
        if table not in self._journals:
            name = table.encode("utf-8", "surrogatepass").hex()
            # File names are short; a long name of a table is a path of several folders.
            parts = [name[at : at + 200] for at in range(0, len(name), 200)]
            self._journals[table] = _Journal(self._folder.joinpath(*parts[:-1], f"t{parts[-1] if parts else ''}.jsonl"))
        return self._journals[table]

    def _read(self, table: str) -> _Journal:
        journal = self._journal(table)
        try:
            journal.read()
        except OSError as error:
            raise StoreUnavailableError(f"{self!r} cannot be read: {error}") from error
        return journal

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keeps other threads and processes from writing."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._lock, (self._folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StoreUnavailableError(f"{self!r} cannot be written: {error}") from error


class _Journal:
    """One table's file, and what has been read of it.

    Attributes:
        mark: as the last lines say.
        rows: the newest of each key.
    """

    def __init__(self, file: Path):
        self.file = file
        self._forget()

    def _forget(self) -> None:
        self.mark = Mark("", 0)
        self.rows: dict[bytes, _Stored] = {}
        self._beginning = b""
        self._end = 0

    def read(self) -> None:
        """Reads what was added since the last time; all of it where the file is another one."""
        try:
            opened = self.file.open("rb")
        except FileNotFoundError:
            self._forget()
            return
        with opened:
            # It begins with the identity of its table.
            if (beginning := opened.read(_BEGINNING)) != self._beginning:
                self._forget()
                self._beginning = beginning
            opened.seek(self._end)
            added = opened.read()
        whole, newline, _ = added.rpartition(b"\n")
        self._end += len(whole) + len(newline)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def newer(self, rows: dict[bytes, _Stored]) -> dict[bytes, _Stored]:
        """Returns those rows that are newer than the ones that are there."""
        return {key: row for key, row in rows.items() if key not in self.rows or row > self.rows[key]}

    def add(self, entry: dict[str, Any]) -> None:
        """Adds a line, in place of one that was not written to its end."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as opened:
            opened.truncate(self._end)
            opened.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def _take(self, entry: dict[str, Any]) -> None:
        if "number" in entry:
            self.mark = Mark(entry.get("identity", self.mark.identity), entry["number"])
        for key, event, created, version, payload in entry.get("rows", ()):
            self.rows[b64decode(key)] = (event, created, version, b64decode(payload))


def _encoded(key: bytes, row: _Stored) -> list[Any]:
    *stamps, payload = row
    return [b64encode(key).decode(), *stamps, b64encode(payload).decode()]
