"""One connection to an HTTP server. Every wait has a deadline, however slowly the server sends."""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LARGEST_HEAD = 64 * 2**10
_LARGEST_CHUNK_LINE = 4096
_RECEIVED_AT_ONCE = 256 * 2**10


class MalformedAnswerError(Exception):
    """What came is not HTTP, or is larger than allowed."""


class DeadlineError(Exception):
    """The server did not answer in time."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The beginning of an answer.

    Attributes:
        headers: names in lower case.
        stays_open: whether another request can follow on the connection.
    """

    status: int
    headers: Mapping[str, str]
    stays_open: bool


class HttpConnection:
    """A connection that answers one request at a time.

    All methods raise OSError if the connection fails, `DeadlineError` if the server is too slow, and
    `MalformedAnswerError`. The connection cannot be used afterwards.
    """

    def __init__(self, opened: socket.socket, largest: int):
        """Takes an open socket.

        Args:
            largest: bytes that the body of an answer has at most.
        """
        self._socket = opened
        self._buffer = bytearray()
        self._largest = largest
        self.idle_since = monotonic()

    @classmethod
    def opened(cls, host: str, port: int, tls: ssl.SSLContext | None, seconds: float, largest: int) -> HttpConnection:
        """Connects.

        Args:
            tls: how TLS is spoken; None to speak without it.
            seconds: by which the connection must be there.
        """
        deadline = monotonic() + seconds
        try:
            connection = socket.create_connection((host, port), timeout=seconds)
        except TimeoutError:
            raise OSError(f"no connection within {seconds:g} seconds") from None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                connection.settimeout(max(deadline - monotonic(), 0.001))
                try:
                    connection = tls.wrap_socket(connection, server_hostname=host)
                except TimeoutError:
                    raise OSError(f"no TLS connection within {seconds:g} seconds") from None
        except BaseException:
            connection.close()
            raise
        return cls(connection, largest)

    def is_usable(self, longest_idle: float) -> bool:
        """Whether the server has neither closed the connection nor left it idle for too long."""
        if self._buffer or monotonic() - self.idle_since > longest_idle:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Closes it."""
        self._socket.close()

    def ask(self, request: bytes, deadline: float) -> AnswerHead:
        """Sends a request, and returns the beginning of its answer.

        Args:
            request: head and body.
            deadline: by `time.monotonic`.
        """
        self._set_timeout(deadline)
        try:
            self._socket.sendall(request)
        except TimeoutError:
            raise DeadlineError from None
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a request before it has read all of it answers, and closes.
            try:
                return self._head(deadline)
            except (OSError, MalformedAnswerError):
                raise ConnectionResetError("the server closed the connection while the request was sent") from None
        return self._head(deadline)

    def body(self, head: AnswerHead, deadline: float, *, each_seconds: float | None = None) -> Iterator[bytes]:
        """Yields the pieces of the answer's body.

        Args:
            deadline: of the first piece, by `time.monotonic`; of the whole body if ``each_seconds`` is None.
            each_seconds: how long each following piece may take, for bodies without an end in sight.
        """
        left = self._largest
        for piece in self._pieces(head, deadline, each_seconds):
            if each_seconds is None:
                left -= len(piece)
                if left < 0:
                    raise self._too_large()
            yield piece

    def _pieces(self, head: AnswerHead, deadline: float, each_seconds: float | None) -> Iterator[bytes]:
        if head.status in (204, 304):
            return
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            while size := self._chunk_size(deadline):
                for piece in self._exactly(size, deadline):
                    yield piece
                    deadline = deadline if each_seconds is None else monotonic() + each_seconds
                self._expect_line_end(deadline)
            while self._line(deadline, _LARGEST_HEAD):
                pass  # trailers
            return
        length = head.headers.get("content-length")
        if length is None:
            while True:
                yield bytes(self._buffer)
                self._buffer.clear()
                if not self._receive(deadline):
                    return
        if not length.isdecimal():
            raise MalformedAnswerError(f"the length of the answer is {length[:40]!r}")
        if each_seconds is None and int(length) > self._largest:
            raise self._too_large()
        yield from self._exactly(int(length), deadline)

    def _too_large(self) -> MalformedAnswerError:
        return MalformedAnswerError(f"the answer is larger than max_answer_bytes, {self._largest}")

    def _head(self, deadline: float) -> AnswerHead:
        while True:
            lines = []
            left = _LARGEST_HEAD
            while line := self._line(deadline, left):
                left -= len(line)
                lines.append(line)
            match = _STATUS_LINE.fullmatch(lines[0]) if lines else None
            if match is None:
                raise MalformedAnswerError("the answer does not begin as HTTP does")
            if match[2][0] != ord("1"):
                break
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name or name != name.strip():
                raise MalformedAnswerError("the answer has a header without a name")
            headers[name.lower()] = value.strip()
        said = headers.get("connection", "" if match[1] == b"1" else "close").lower()
        is_framed = "content-length" in headers or "transfer-encoding" in headers or match[2] in (b"204", b"304")
        return AnswerHead(int(match[2]), headers, "close" not in said and is_framed)

    def _chunk_size(self, deadline: float) -> int:
        match = _CHUNK_SIZE.fullmatch(self._line(deadline, _LARGEST_CHUNK_LINE))
        if match is None:
            raise MalformedAnswerError("a piece of the answer does not say how long it is")
        return int(match[1], 16)

    def _expect_line_end(self, deadline: float) -> None:
        if self._line(deadline, 2):
            raise MalformedAnswerError("a piece of the answer is longer than it says")

    def _line(self, deadline: float, longest: int) -> bytes:
        """Returns the next line without its end."""
        searched = 0
        while True:
            end = self._buffer.find(b"\r\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            if len(self._buffer) > longest:
                raise MalformedAnswerError("a line of the answer's head is too long")
            searched = max(len(self._buffer) - 1, 0)
            self._receive_more(deadline)

    def _exactly(self, size: int, deadline: float) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._receive_more(deadline)
            piece = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(piece)
            yield piece

    def _receive_more(self, deadline: float) -> None:
        if not self._receive(deadline):
            raise ConnectionResetError("the server closed the connection before the answer ended")

    def _receive(self, deadline: float) -> bool:
        self._set_timeout(deadline)
        try:
            received = self._socket.recv(_RECEIVED_AT_ONCE)
        except TimeoutError:
            raise DeadlineError from None
        self._buffer += received
        return bool(received)

    def _set_timeout(self, deadline: float) -> None:
        left = deadline - monotonic()
        if left <= 0:
            raise DeadlineError
        self._socket.settimeout(left)
