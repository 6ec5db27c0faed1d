"""A client of an HTTP server: a pool of connections, deadlines, and retries of what may safely be repeated."""

from __future__ import annotations

import os
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import random
from time import monotonic, sleep

from feast_assets.errors import ConfigError, StoreUnavailableError, printable
from feast_assets.remote.http_connection import DeadlineError, HttpConnection, MalformedAnswerError
from feast_assets.remote.settings import HttpClientSettings

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_TOO_BUSY = 503


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server answered.

    Attributes:
        headers: names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpStream:
    """An answer whose body has no end in sight.

    Attributes:
        headers: names in lower case.
        pieces: of the body.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class HttpClient:
    """Asks one server. Safe to share between threads; a forked child opens connections of its own.

    All methods raise `StoreUnavailableError` if the server cannot be reached, is too slow, or does not speak HTTP.
    """

    def __init__(self, settings: HttpClientSettings, server: str = "The feature server"):
        """Creates a client without connecting.

        Args:
            server: what the server is, for messages.
        """
        self._settings = settings
        self._name = f"{server} at {settings.address}"
        self._tls: ssl.SSLContext | None = None
        self._forget()

    def __repr__(self) -> str:
        return f"HttpClient({str(self._settings.address)!r})"

    @property
    def name(self) -> str:
        """What messages call the server."""
        return self._name

    def close(self) -> None:
        """Closes idle connections. The client may be used again; it reconnects."""
        if self._process != os.getpid():
            self._forget()
        while self._idle:
            self._idle.pop().close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool,
    ) -> HttpAnswer:
        """Sends a request and returns its answer.

        Args:
            path: with the query; it is put behind the prefix of the server's address.
            headers: beside those that say who asks.
            repeatable: whether sending it twice has the effect of sending it once. Others are only sent again if the
                connection could not be made, so that nothing was sent.
        """
        deadline = monotonic() + self._settings.timeout_seconds
        request = self._request(method, path, body, headers)
        left = self._settings.connection_retries
        pause = _FIRST_PAUSE
        while True:
            try:
                with self._connection(deadline) as connection:
                    head = connection.connection.ask(request, deadline)
                    whole = b"".join(connection.connection.body(head, deadline))
                    connection.keep = head.stays_open
                if head.status != _TOO_BUSY or not repeatable or left <= 0:
                    return HttpAnswer(head.status, head.headers, whole)
                pause = max(pause, _seconds(head.headers.get("retry-after", "")))
                if monotonic() + pause >= deadline:
                    return HttpAnswer(head.status, head.headers, whole)
            except DeadlineError:
                raise self._too_slow() from None
            except MalformedAnswerError as error:
                raise StoreUnavailableError(
                    f"{self._name} cannot be understood: {error}. Is it a feature server, and path its address?"
                ) from None
            except _NotSentError as error:
                self._give_up_if(left <= 0 or monotonic() + pause >= deadline, error.reason, repeatable=True)
            except OSError as error:
                self._give_up_if(
                    not repeatable or left <= 0 or monotonic() + pause >= deadline, error, repeatable=repeatable
                )
            left -= 1
            sleep(pause * (0.5 + random() / 2))  # noqa: S311 - protects nothing
            pause = min(2 * pause, _LONGEST_PAUSE)

    @contextmanager
    def stream(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Iterator[HttpStream]:
        """Sends a request, and yields an answer whose body is read piece by piece; never sends it again."""
        seconds = self._settings.timeout_seconds
        deadline = monotonic() + seconds
        try:
            with self._connection(deadline) as connection:
                head = connection.connection.ask(self._request(method, path, body, headers), deadline)
                pieces = connection.connection.body(head, deadline, each_seconds=seconds)
                yield HttpStream(head.status, head.headers, pieces)
                # What is left of it is not read, and so the connection is closed.
                connection.keep = head.stays_open and next(pieces, None) is None
        except DeadlineError:
            raise self._too_slow() from None
        except MalformedAnswerError as error:
            raise StoreUnavailableError(f"{self._name} cannot be understood: {error}.") from None
        except _NotSentError as error:
            raise self._unavailable(error.reason) from None
        except OSError as error:
            if isinstance(error, StoreUnavailableError):
                raise
            raise self._unavailable(error) from None

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None) -> bytes:
        address = self._settings.address
        lines = [
            f"{method} {address.prefix}{path} HTTP/1.1",
            f"Host: {address.authority}",
            f"Content-Length: {len(body)}",
        ]
        for name, value in {**(headers or {}), **self._settings.request_headers()}.items():
            if "\r" in value or "\n" in value:
                raise ConfigError(f"The header {name} for {self._name} holds a line break.")
            lines.append(f"{name}: {value}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    @contextmanager
    def _connection(self, deadline: float) -> Iterator[_HeldConnection]:
        """Yields a connection that nobody else uses; it is closed afterwards unless it is said to be kept."""
        if self._process != os.getpid():
            self._forget()
        places = self._places
        if not places.acquire(timeout=max(deadline - monotonic(), 0)):
            raise StoreUnavailableError(
                f"{self._name}: all {self._settings.connection_pool_size} connections are in use, and none became free "
                f"within {self._settings.timeout_seconds:g} seconds; raise connection_pool_size."
            )
        held = None
        try:
            held = _HeldConnection(self._idle_connection() or self._opened(deadline))
            yield held
        finally:
            if held is not None:
                if held.keep and self._process == os.getpid():
                    held.connection.idle_since = monotonic()
                    self._idle.append(held.connection)
                else:
                    held.connection.close()
            places.release()

    def _idle_connection(self) -> HttpConnection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_usable(self._settings.connection_idle_timeout):
                return connection
            connection.close()

    def _opened(self, deadline: float) -> HttpConnection:
        address, settings = self._settings.address, self._settings
        if address.is_tls and self._tls is None:
            self._tls = self._tls_context()
        seconds = min(settings.connect_timeout_seconds, max(deadline - monotonic(), 0.001))
        try:
            return HttpConnection.opened(address.host, address.port, self._tls, seconds, settings.max_answer_bytes)
        except OSError as error:
            raise _NotSentError(error) from None

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._settings.cert or None)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"cert {self._settings.cert} of {self._name} cannot be read ({printable(error)}): give a PEM file."
            ) from None

    def _give_up_if(self, is_hopeless: bool, error: BaseException, *, repeatable: bool) -> None:
        if isinstance(error, StoreUnavailableError):
            raise error
        if is_hopeless:
            raise self._unavailable(error, repeatable=repeatable) from None

    def _unavailable(self, error: BaseException, *, repeatable: bool = True) -> StoreUnavailableError:
        doubt = "" if repeatable else " It is not known whether the request took effect."
        hint = ""
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = " Set cert to a PEM file with the certificate that signed the server's."
        return StoreUnavailableError(f"{self._name} cannot be used: {printable(error).rstrip('.')}.{doubt}{hint}")

    def _too_slow(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"{self._name} did not answer within {self._settings.timeout_seconds:g} seconds (timeout_seconds)."
        )

    def _forget(self) -> None:
        """Begins without connections: those of a parent process are its own."""
        self._process = os.getpid()
        self._idle: deque[HttpConnection] = deque()
        self._places = threading.BoundedSemaphore(self._settings.connection_pool_size)


class _NotSentError(Exception):
    """The connection could not be made."""

    def __init__(self, reason: OSError):
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class _HeldConnection:
    connection: HttpConnection
    keep: bool = False


def _seconds(retry_after: str) -> float:
    return min(float(retry_after), _LONGEST_PAUSE) if retry_after.isdecimal() else 0.0
