"""Calls of an offline server by Arrow Flight."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.flight as flight

from feast_assets.errors import (
    ConfigError,
    FeastError,
    NotSupportedError,
    StoredFormatError,
    StoreUnavailableError,
    UnauthenticatedError,
    printable,
)
from feast_assets.offline_stores.remote.messages import LAST, MESSAGE_FORMAT, Command

if TYPE_CHECKING:
    from feast_assets.offline_stores.remote.config import RemoteOfflineStoreConfig
    from feast_assets.remote.caller import Caller

_ROWS_A_BATCH = 65_536
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_NO_COLUMNS = pa.schema([])
# Another client of the same server does not share its connection, nor how long it waits before it connects again.
_CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]

_Result = TypeVar("_Result")


class FlightCaller:
    """Calls methods of one server. Safe to share between threads; a forked child opens a connection of its own.

    All methods raise `StoreUnavailableError` where the server cannot be reached, is too slow or cannot be understood,
    `StoredFormatError` where it speaks another format, and otherwise the error that the server raised.
    """

    def __init__(self, config: RemoteOfflineStoreConfig, caller: Caller | None = None):
        """Creates it without connecting.

        Args:
            caller: says with each call who asks; None for nobody.
        """
        self._config = config
        self._caller = caller
        self.name = f"The offline server at {config.location}"
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._client: flight.FlightClient | None = None

    def close(self) -> None:
        """Closes the connection. It may be used again; it reconnects."""
        client, self._client = self._client, None
        if client is not None and self._process == os.getpid():
            client.close()

    def ask(self, method: str, arguments: object, answer: Any) -> Any:
        """Calls a method that takes and returns a message; it is called again if the connection failed.

        Args:
            answer: the type of what it returns.
        """

        def call() -> bytes:
            action = flight.Action("feast_assets", _command(method, arguments))
            (result,) = self._connected().do_action(action, self._options())
            return bytes(result.body.to_pybytes())

        content = self._repeated(call, repeatable=True)
        try:
            return msgspec.msgpack.decode(content, type=answer)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise self.malformed(printable(error)) from None

    def rows(self, method: str, arguments: object, given: pa.Table | None = None) -> pa.RecordBatchReader:
        """Calls a method that returns rows; it is called again if the connection failed before any came.

        Args:
            given: rows that it takes.
        """
        exchange = self._repeated(lambda: self._begun(method, arguments, given), repeatable=True)
        return pa.RecordBatchReader.from_batches(exchange.schema, exchange.batches())

    def send(self, method: str, arguments: object, given: pa.Table | pa.RecordBatchReader, *, repeatable: bool) -> bool:
        """Calls a method that takes rows, and returns the truth value that it returns.

        Args:
            repeatable: whether calling it twice has the effect of calling it once; false for rows that can be read only
                once.
        """

        def call() -> bool:
            exchange = self._begun(method, arguments, given)
            (answer,) = exchange.batches(metadata=True)
            return bool(answer == b"true")

        return bool(self._repeated(call, repeatable=repeatable))

    def malformed(self, problem: str) -> StoreUnavailableError:
        """Returns the error for an answer that cannot be understood."""
        return StoreUnavailableError(f"{self.name} sent a malformed answer: {problem}.")

    def _begun(self, method: str, arguments: object, given: pa.Table | pa.RecordBatchReader | None) -> _Exchange:
        descriptor = flight.FlightDescriptor.for_command(_command(method, arguments))
        writer, reader = self._connected().do_exchange(descriptor, self._options())
        exchange = _Exchange(self, writer, reader)
        try:
            exchange.send(given)
            exchange.read_schema()
        except BaseException:
            exchange.give_up()
            raise
        return exchange

    def _repeated(self, call: Callable[[], _Result], *, repeatable: bool) -> _Result:
        left = self._config.connection_retries if repeatable else 0
        pause = _FIRST_PAUSE
        while True:
            try:
                with self.mapped_errors():
                    return call()
            except _Unreachable as error:
                if left <= 0:
                    raise StoreUnavailableError(
                        str(error) if repeatable else f"{error} It is not known whether the call took effect."
                    ) from None
            # Its channel would wait longer and longer before it connects again.
            self._client = None
            left -= 1
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @contextmanager
    def mapped_errors(self) -> Iterator[None]:
        """Turns Flight's errors into those of this package."""
        try:
            yield
        except FeastError:
            raise
        except flight.FlightUnavailableError as error:
            raise _Unreachable(f"{self.name} cannot be used: {_first_line(error)}.") from None
        except flight.FlightTimedOutError:
            raise StoreUnavailableError(
                f"{self.name} did not answer within {self._config.timeout_seconds:g} seconds (timeout_seconds)."
            ) from None
        except (flight.FlightUnauthenticatedError, flight.FlightUnauthorizedError) as error:
            raise self._told(error) or UnauthenticatedError(
                f"{self.name} does not know this client: {_first_line(error)}."
            ) from None
        except flight.FlightError as error:
            raise self._told(error) or self._other(error) from None
        except pa.ArrowException as error:
            if isinstance(error, pa.ArrowNotImplementedError):
                raise NotSupportedError(f"{self.name} has no such method: {_first_line(error)}.") from None
            raise StoreUnavailableError(f"{self.name} failed: {_first_line(error)}.") from None
        except OSError as error:
            raise StoreUnavailableError(f"{self.name} failed: {_first_line(error)}.") from None

    def _told(self, error: flight.FlightError) -> FeastError | None:
        """Returns the error that the server raised; None where it did not say."""
        try:
            detail = json.loads(error.extra_info)
        except (ValueError, RecursionError):
            return None
        spoken = detail.get("format") if isinstance(detail, dict) else None
        if spoken is not None and spoken != MESSAGE_FORMAT:
            return StoredFormatError(
                f"{self.name} speaks format {printable(spoken, 40)} of messages, and this client format "
                f"{MESSAGE_FORMAT}. Install the version of feast-assets that the server has."
            )
        raised = FeastError.from_error_detail(json.dumps(detail))
        return StoreUnavailableError(f"{self.name} failed: {raised}") if type(raised) is FeastError else raised

    def _other(self, error: flight.FlightError) -> FeastError:
        return StoreUnavailableError(
            f"{self.name} failed: {_first_line(error)}. Is it an offline server of this package? Feast's own cannot be "
            "used."
        )

    def _options(self) -> flight.FlightCallOptions:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in ({} if self._caller is None else self._caller.headers()).items()
        ]
        return flight.FlightCallOptions(
            timeout=self._config.timeout_seconds, headers=headers, read_options=_aligned_reading()
        )

    def _connected(self) -> flight.FlightClient:
        if self._process != os.getpid():
            # gRPC's threads do not survive a fork; the parent's client is left alone.
            self._lock, self._client, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._client is None:
                self._client = flight.FlightClient(self._config.location, generic_options=_CHANNEL, **self._tls())
            return self._client

    def _tls(self) -> dict[str, bytes]:
        config = self._config
        files = {"tls_root_certs": config.cert, "cert_chain": config.client_cert, "private_key": config.client_key}
        try:
            return {name: Path(path).read_bytes() for name, path in files.items() if path}
        except OSError as error:
            raise ConfigError(f"The certificates for {self.name} cannot be read: {printable(error)}.") from None


class _Unreachable(Exception):
    """The connection failed."""


class _Exchange:
    """One call with rows in one or both directions."""

    def __init__(self, caller: FlightCaller, writer: flight.FlightStreamWriter, reader: flight.FlightStreamReader):
        self._caller = caller
        self._writer = writer
        self._reader = reader
        self.schema = _NO_COLUMNS

    def send(self, given: pa.Table | pa.RecordBatchReader | None) -> None:
        """Sends the rows that are given, and says that they were all."""
        self._write(self._writer.begin, _NO_COLUMNS if given is None else given.schema)
        if given is not None:
            batches = given.to_batches(_ROWS_A_BATCH) if isinstance(given, pa.Table) else given
            for batch in batches:
                for start in range(0, batch.num_rows, _ROWS_A_BATCH):
                    self._write(self._writer.write_batch, batch.slice(start, _ROWS_A_BATCH))
        self._write(self._writer.write_metadata, LAST)
        self._write(self._writer.done_writing)

    def _write(self, write: Callable[..., None], *arguments: object) -> None:
        try:
            write(*arguments)
        except (flight.FlightError, pa.ArrowException, OSError) as error:
            # The server gave up before it had all; its answer says why.
            with suppress(StopIteration):
                self._reader.read_chunk()
            raise self._caller.malformed(f"it ended the call early ({_first_line(error)})") from None

    def read_schema(self) -> None:
        """Waits for the beginning of the answer."""
        self.schema = self._reader.schema

    def batches(self, *, metadata: bool = False) -> Iterator[Any]:
        """Yields the batches of the answer, or its metadata; what breaks off is an error."""
        is_whole = False
        try:
            while not is_whole:
                with self._mapped():
                    try:
                        chunk = self._reader.read_chunk()
                    except StopIteration:
                        raise self._caller.malformed("it broke off") from None
                said = None if chunk.app_metadata is None else chunk.app_metadata.to_pybytes()
                if said == LAST:
                    is_whole = True
                elif metadata and said is not None:
                    yield said
                elif chunk.data is not None and not metadata:
                    yield chunk.data
        finally:
            if not is_whole:
                self.give_up()
            with suppress(flight.FlightError, pa.ArrowException):
                self._writer.close()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            with self._caller.mapped_errors():
                yield
        except _Unreachable as error:
            raise StoreUnavailableError(str(error)) from None

    def give_up(self) -> None:
        """Tells the server that nobody waits for the answer."""
        with suppress(flight.FlightError, pa.ArrowException):
            self._reader.cancel()
        with suppress(flight.FlightError, pa.ArrowException):
            self._writer.close()


def _aligned_reading() -> pa.ipc.IpcReadOptions | None:
    """Returns how batches are read: each column at an address that suits its type, which joins of Arrow demand.

    None with versions of pyarrow that cannot copy what lies elsewhere.
    """
    alignment = getattr(pa.ipc, "Alignment", None)
    return None if alignment is None else pa.ipc.IpcReadOptions(ensure_alignment=alignment.DataTypeSpecific)


def _command(method: str, arguments: object) -> bytes:
    return msgspec.json.encode(Command(MESSAGE_FORMAT, method, msgspec.Raw(msgspec.json.encode(arguments))))


def _first_line(error: BaseException) -> str:
    """Returns the message of an error without what only developers of gRPC understand."""
    text = str(error).partition(". gRPC client debug context")[0].partition(". Client context")[0]
    return printable(text).rstrip(".")
