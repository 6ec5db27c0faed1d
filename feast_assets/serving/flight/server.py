"""The offline server itself: calls, their limits, and what clients are told when they fail."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.flight as flight

from feast_assets.auth.authentication import make_authenticator
from feast_assets.auth.identity import acting_as
from feast_assets.errors import ConfigError, FeastError, InputError, printable
from feast_assets.offline_stores.remote.messages import LAST, MESSAGE_FORMAT, Command
from feast_assets.serving.failures import failure_of
from feast_assets.serving.flight.feast_commands import FeastCommands
from feast_assets.serving.flight.known_sources import KnownSources
from feast_assets.serving.flight.methods import Method, OfflineApi
from feast_assets.serving.flight.options import OfflineServerOptions
from feast_assets.serving.http.message_routes import own_detail
from feast_assets.serving.listening import check_tls, is_loopback, warn_if_open_to_all

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore

_ROWS_A_BATCH = 65_536
_BYTES_A_BATCH = 32 * 2**20
_NO_COLUMNS = pa.schema([])


class OfflineServer(flight.FlightServerBase):  # type: ignore[misc]
    """Serves the offline store of a feature store by Arrow Flight.

    Results are streams of batches: neither side holds all rows unless a store does. A client that goes away ends its
    call with the next batch.
    """

    def __init__(self, store: FeatureStore, options: OfflineServerOptions | None = None):
        """Starts to listen.

        Raises:
            ConfigError: the address or the TLS files cannot be used.
        """
        self.options = options = options or OfflineServerOptions()
        sources = KnownSources(store, any_source=options.any_source)
        api = OfflineApi(store, sources)
        self._actions, self._exchanges = api.actions(), api.exchanges()
        self._feast = FeastCommands(store, sources)
        self._authenticator = make_authenticator(store.config.auth)
        if self._authenticator is not None:
            store.access.require_identity()
        self._places = threading.BoundedSemaphore(options.calls)
        host = f"[{options.host}]" if ":" in options.host else options.host
        scheme = "grpc+tls" if options.tls_key_path else "grpc+tcp"
        try:
            super().__init__(
                f"{scheme}://{host}:{options.port}", middleware={"caller": _CallerFactory()}, **_tls(options)
            )
        except (flight.FlightError, pa.ArrowException, OSError) as error:
            raise ConfigError(
                f"Cannot listen on {options.host}, port {options.port}: {printable(error)}. Choose another address "
                "with --host and --port; port 0 is any free one."
            ) from None

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"{'grpc+tls' if self.options.tls_key_path else 'grpc'}://{host}:{self.port}"

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> list[flight.Result]:
        """Answers a method that takes and returns a message."""
        with self._call(context):
            method, arguments = _method(action.body.to_pybytes(), self._actions)
            return [flight.Result(msgspec.msgpack.encode(method.run(arguments)))]

    def do_exchange(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.MetadataRecordBatchWriter,
    ) -> None:
        """Answers a method that takes rows, and returns rows or a truth value; Feast's commands too."""
        command = bytes(descriptor.command or b"")
        if self._feast.is_command(command):
            with self._call(context, for_feast=True):
                _send(self._feast.read(command, self._rows_of_feast(reader)), writer, context)
            return
        with self._call(context):
            method, arguments = _method(command, self._exchanges)
            upload = _Upload(reader, self.options.upload_bytes)
            result = method.run(arguments, upload.rows())
            upload.expect_end()
            if isinstance(result, bool):
                writer.begin(_NO_COLUMNS)
                writer.write_metadata(b"true" if result else b"false")
            else:
                _send(result, writer, context)
            writer.write_metadata(LAST)

    def do_put(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.FlightMetadataWriter,
    ) -> None:
        """Answers Feast's commands that write."""
        with self._call(context, for_feast=True):
            self._feast.write(bytes(descriptor.command or b""), self._rows_of_feast(reader))

    def _rows_of_feast(self, reader: flight.MetadataRecordBatchReader) -> pa.Table:
        """Returns the rows that come with a command of Feast, whose streams say nothing of their end."""
        return _Upload(reader, self.options.upload_bytes, marks_end=False).rows().read_all()

    @contextmanager
    def _acting_for_caller(self, context: flight.ServerCallContext) -> Iterator[None]:
        if self._authenticator is None:
            yield
            return
        authorization = context.get_middleware("caller").authorization
        with acting_as(self._authenticator.identify(authorization)):
            yield

    @contextmanager
    def _call(self, context: flight.ServerCallContext, *, for_feast: bool = False) -> Iterator[None]:
        """Counts a call as long as it lasts, has it act for its caller, and tells the client what goes wrong."""
        if not self._places.acquire(blocking=False):
            raise flight.FlightUnavailableError(f"The server has {self.options.calls} calls in hand; try again.")
        try:
            with self._acting_for_caller(context):
                yield
        except flight.FlightError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            failure = failure_of(error)
            if for_feast:
                detail = error.to_error_detail() if isinstance(error, FeastError) else json.dumps(failure.detail())
                raise flight.FlightError(detail) from None
            detail = json.dumps(own_detail(error))
            raise flight.FlightServerError(failure.message, extra_info=detail.encode()) from None
        finally:
            self._places.release()


class _CallerFactory(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Keeps the header that says who calls."""

    def start_call(self, info: flight.CallInfo, headers: Mapping[str, list[str | bytes]]) -> _CallerMiddleware:
        given = [value for name, values in headers.items() if name.lower() == "authorization" for value in values]
        return _CallerMiddleware(given[0] if given else None)


class _CallerMiddleware(flight.ServerMiddleware):  # type: ignore[misc]
    def __init__(self, authorization: str | bytes | None):
        self.authorization = authorization


class _Upload:
    """The rows that a client sends with a call."""

    def __init__(self, reader: flight.MetadataRecordBatchReader, most_bytes: int, *, marks_end: bool = True):
        self._reader = reader
        self._marks_end = marks_end
        self._left = most_bytes
        self._most = most_bytes
        self._is_whole = False

    def rows(self) -> pa.RecordBatchReader:
        """Returns what reads the rows as they come; it fails where the client broke off or sends too much."""
        return pa.RecordBatchReader.from_batches(self._reader.schema, self._batches())

    def expect_end(self) -> None:
        """Raises InputError if the client did not say that these were all rows."""
        for _ in self._batches():
            pass

    def _batches(self) -> Iterator[pa.RecordBatch]:
        while not self._is_whole:
            try:
                chunk = self._reader.read_chunk()
            except StopIteration:
                if not self._marks_end:
                    return
                raise InputError("The client broke off before it had sent all rows; nothing was done.") from None
            if chunk.app_metadata is not None and chunk.app_metadata.to_pybytes() == LAST:
                self._is_whole = True
            elif chunk.data is not None:
                self._left -= chunk.data.nbytes
                if self._left < 0:
                    raise InputError(
                        f"The client sends more than {self._most} bytes with one call; divide it, or start the server "
                        "with a larger --max-upload-bytes."
                    )
                yield chunk.data


def _method(content: bytes, methods: Any) -> tuple[Method, Any]:
    """Returns the method that a command names, and its arguments.

    Raises:
        InputError: there is no such method, or its arguments are malformed.
        flight.FlightServerError: the command has another format.
    """
    try:
        command = msgspec.json.decode(content, type=Command)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"The command is malformed: {printable(error)}.") from None
    if command.feast_assets_format != MESSAGE_FORMAT:
        detail = json.dumps({"format": MESSAGE_FORMAT}).encode()
        raise flight.FlightServerError(
            f"The command has format {command.feast_assets_format}; this server speaks {MESSAGE_FORMAT}.",
            extra_info=detail,
        )
    method = methods.get(command.method)
    if method is None:
        raise InputError(f"There is no method {printable(command.method, 40)!r}.")
    try:
        return method, msgspec.json.decode(command.arguments, type=method.arguments)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"The arguments of {command.method} are malformed: {printable(error)}.") from None


def _send(
    rows: pa.RecordBatchReader, writer: flight.MetadataRecordBatchWriter, context: flight.ServerCallContext
) -> None:
    """Sends rows in batches of bounded size, as long as the client is there."""
    writer.begin(rows.schema)
    for batch in rows:
        for part in _bounded(batch):
            if context.is_cancelled():
                raise flight.FlightCancelledError("The client went away.")
            writer.write_batch(part)


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    rows = batch.num_rows
    if rows <= 1 or (rows <= _ROWS_A_BATCH and batch.nbytes <= _BYTES_A_BATCH):
        yield batch
        return
    middle = rows // 2
    yield from _bounded(batch.slice(0, middle))
    yield from _bounded(batch.slice(middle))


def _tls(options: OfflineServerOptions) -> dict[str, Any]:
    if not options.tls_key_path:
        return {}
    # A key that needs a password, or is of another certificate, would fail at the first call.
    check_tls(options.tls_key_path, options.tls_cert_path)
    files = (Path(path).read_bytes() for path in (options.tls_cert_path, options.tls_key_path))
    arguments: dict[str, Any] = {"tls_certificates": [tuple(files)]}
    if options.client_ca_path:
        arguments |= {"verify_client": True, "root_certificates": Path(options.client_ca_path).read_bytes()}
    return arguments


def serve_offline(
    store: FeatureStore, options: OfflineServerOptions, ready: Callable[[str], None] | None = None
) -> None:
    """Serves until the process is told to end (SIGTERM or SIGINT); calls in hand are finished first.

    Args:
        ready: called with the address once the server listens; left out, it is printed to standard error.

    Raises:
        ConfigError: the address or the TLS files cannot be used.
    """
    if not is_loopback(options.host):
        warn_if_open_to_all(store, options.host, "history")
    server = OfflineServer(store, options)
    told_to_end = threading.Event()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda *_: told_to_end.set()) for number in _ENDING}
    try:
        if ready is None:
            print(f"Serving history on {server.url}", file=sys.stderr, flush=True)
        else:
            ready(server.url)
        told_to_end.wait()
        server.shutdown()  # waits for calls in hand
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDING = (signal.SIGTERM, signal.SIGINT)
