"""The remote online store: the one that a feature server has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from feast_assets.errors import InputError, StoreUnavailableError
from feast_assets.online_stores.abilities import CanEvict, CanExpire, CanReplace, CanSample, CanTellRestarts, RowStamps
from feast_assets.online_stores.base import (
    NOTHING_PUT,
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    PutResult,
    StoredRows,
    closing_source,
)
from feast_assets.online_stores.remote.config import RemoteOnlineStoreConfig
from feast_assets.online_stores.remote.messages import (
    PREFIX,
    Advance,
    Batch,
    MarkMessage,
    Nothing,
    PutCounts,
    PutRows,
    Reads,
    Replace,
    RowColumns,
    Sample,
    Scan,
    Stamps,
    StoreState,
    Tables,
)
from feast_assets.remote.http_client import HttpClient
from feast_assets.remote.message_client import MessageClient

_ROWS_A_REQUEST = 20_000
_BYTES_A_REQUEST = 8 * 2**20
_KEYS_A_REQUEST = 50_000


class RowsRead(StoredRows):
    """Rows that a server has read."""

    __slots__ = ("_foreign",)

    def __init__(self, columns: RowColumns):
        super().__init__(columns.events, columns.created, columns.versions, columns.payloads)
        self._foreign = columns.foreign

    def foreign(self) -> Mapping[int, str]:
        return self._foreign


class RemoteOnlineStore(OnlineStore, CanReplace, CanSample, CanTellRestarts, CanExpire, CanEvict):
    """The latest row per key, as a feature server's own online store has it.

    Each method is one request, and has the effect that it has in the server's process. All of them may be repeated:
    puts keep the newest row, and a mark's number is never set twice. So a request whose connection failed is sent
    again, and rows that it had put before count as ignored then. A server whose store cannot sample keys gives none;
    one whose store cannot replace rows answers `replace_many`, `scan` and `put_existing` with `NotSupportedError`.
    """

    config_class: ClassVar[type[RemoteOnlineStoreConfig]] = RemoteOnlineStoreConfig

    def __init__(self, config: RemoteOnlineStoreConfig, root: Path):
        """Creates the store without connecting.

        Args:
            config: names the server.
            root: not used.
        """
        self._config = config
        self._http = HttpClient(config)
        self._server = MessageClient(self._http, PREFIX, "an online store")

    def __repr__(self) -> str:
        return f"RemoteOnlineStore({str(self._config.address)!r})"

    def setup(self, tables: Iterable[str]) -> None:
        self._call("setup", Tables(list(tables)), Nothing)

    def drop(self, tables: Iterable[str]) -> None:
        self._call("drop", Tables(list(tables)), Nothing)

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        marks: list[MarkMessage] = self._call("marks", Tables(list(tables)), list[MarkMessage])
        self._check_count(len(marks), len(tables))
        return [mark.mark() for mark in marks]

    def advance(self, table: str, expected: int, new: int) -> Mark:
        mark: MarkMessage = self._call("advance", Advance(table, expected, new), MarkMessage)
        return mark.mark()

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put("put", table, batches)

    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._put("put-existing", table, batches)

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        if sum(len(read.keys) for read in reads) <= _KEYS_A_REQUEST:
            return self._read(reads)
        return [self._read_in_parts(read) for read in reads]

    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[RowStamps]:
        with self._server.stream("scan", Scan(table, start, end, version_below), Stamps) as parts:
            for part in parts:
                yield self._checked(part)

    def replace_many(self, table: str, held: RowStamps, rows: EncodedRows) -> int:
        position = {key: index for index, key in enumerate(rows.keys)}
        replaced = 0
        for at in range(0, len(held), _ROWS_A_REQUEST):
            part = held.slice(at, at + _ROWS_A_REQUEST)
            new = rows.take([position[key] for key in part.keys if key in position])
            replaced += self._call("replace", Replace(table, Stamps.of(part), Batch.of(new)), int)
        return replaced

    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """See `CanSample.sample_keys`; none where the server's store cannot sample."""
        keys: list[bytes] = self._call("sample", Sample(table, count, seed), list[bytes])
        return keys

    def restart_token(self) -> str:
        try:
            return self._state().restart_token
        except StoreUnavailableError:
            return ""

    @property
    def key_ttl(self) -> timedelta | None:
        seconds = self._state().key_ttl_seconds
        return None if seconds is None else timedelta(seconds=seconds)

    def evicts(self) -> str:
        return self._state().evicts

    def evicts_marks(self) -> bool:
        return self._state().evicts_marks

    def close(self) -> None:
        self._http.close()

    def _put(self, method: str, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        result = NOTHING_PUT
        with closing_source(batches) as source:
            for part in _requests(source):
                counts: PutCounts = self._call(method, PutRows(table, part), PutCounts)
                result += counts.result()
        return result

    def _read(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        message = Reads([(read.table, list(read.keys)) for read in reads])
        columns: list[RowColumns] = self._call("get", message, list[RowColumns])
        self._check_count(len(columns), len(reads))
        for read, rows in zip(reads, columns, strict=True):
            for column in (rows.events, rows.created, rows.versions, rows.payloads):
                self._check_count(len(column), len(read.keys))
        return [RowsRead(rows) for rows in columns]

    def _read_in_parts(self, read: OnlineRead) -> StoredRows:
        whole = RowColumns([], [], [], [])
        for at in range(0, len(read.keys), _KEYS_A_REQUEST):
            (part,) = self._read([OnlineRead(read.table, read.keys[at : at + _KEYS_A_REQUEST])])
            whole.foreign |= {index + at: reason for index, reason in part.foreign().items()}
            whole.events += part.event_timestamps
            whole.created += part.created_timestamps
            whole.versions += part.versions
            whole.payloads += part.payloads
        return RowsRead(whole)

    def _state(self) -> StoreState:
        state: StoreState = self._call("state", Nothing(), StoreState)
        return state

    def _call(self, method: str, message: object, answer: Any) -> Any:
        return self._server.call(method, message, answer, repeatable=True)

    def _check_count(self, count: int, expected: int) -> None:
        if count != expected:
            raise StoreUnavailableError(
                f"{self._http.name} sent a malformed answer: {count} rows or columns instead of {expected}."
            )

    def _checked(self, part: Stamps) -> RowStamps:
        try:
            return part.stamps()
        except ValueError as error:
            raise StoreUnavailableError(f"{self._http.name} sent a malformed answer: {error}.") from None


def _requests(batches: Iterator[EncodedRows]) -> Iterator[list[Batch]]:
    """Yields the rows of some batches in lists that each fit one request."""
    gathered: list[Batch] = []
    rows = size = 0
    for batch in batches:
        for part in _parts(batch):
            bytes_of_part = _bytes_of(part)
            if gathered and (rows + len(part) > _ROWS_A_REQUEST or size + bytes_of_part > _BYTES_A_REQUEST):
                yield gathered
                gathered, rows, size = [], 0, 0
            gathered.append(Batch.of(part))
            rows += len(part)
            size += bytes_of_part
    if rows:
        yield gathered


def _parts(batch: EncodedRows) -> Iterator[EncodedRows]:
    """Yields a batch in parts that are not much larger than a request may be."""
    if not len(batch):
        return
    if len(batch) <= _ROWS_A_REQUEST and (len(batch) == 1 or _bytes_of(batch) <= _BYTES_A_REQUEST):
        yield batch
        return
    middle = len(batch) // 2
    yield from _parts(batch.take(range(middle)))
    yield from _parts(batch.take(range(middle, len(batch))))


def _bytes_of(rows: EncodedRows) -> int:
    try:
        return sum(map(len, rows.keys)) + sum(map(len, rows.payloads)) + 40 * len(rows)
    except TypeError:
        raise InputError("Keys and payloads of rows must be bytes.") from None
