"""Connections that no slow client can hold: limits on the time and the size of what comes in, and on what goes out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_UPGRADE = re.compile(rb"(?i)(?<=\r\n)upgrade(?=[ \t]*:)")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may take.

    Attributes:
        receive_seconds: by which a request must have come in whole after its first byte, or a new connection have
            sent one.
        header_bytes: the largest head of a request, and the most that may follow its body or stand between parts of it.
    """

    receive_seconds: float
    header_bytes: int


class LimitedConfig(Config):
    """uvicorn's configuration, with limits of connections."""

    limits: ConnectionLimits

    def with_limits(self, limits: ConnectionLimits) -> LimitedConfig:
        """Sets the limits, and returns itself."""
        self.limits = limits
        return self


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection, which is closed where a request does not come in whole in time, or has too long a head.

    A request that comes in one piece, as nearly all do, costs no timer.
    """

    def __init__(self, config: LimitedConfig, *arguments: Any, **keywords: Any):
        super().__init__(config, *arguments, **keywords)
        self._limits = config.limits
        self._is_receiving = False
        # What came in since the connection, the last request or the last part of a body: a head, or a trailer.
        self._head_bytes = 0
        self._receive_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Gives a client that does not read its answers as long as an idle one."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if not self._is_receiving:
            data = without_upgrade(data)
        self._head_bytes += len(data)
        self._is_receiving = True
        super().data_received(data)
        if not self._is_receiving:
            if self._receive_timer is not None:
                self._stop_timer()
        elif self._receive_timer is None:
            self._start_timer()
        if self._head_bytes > self._limits.header_bytes:
            self._refuse(431, b"The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_receiving = True

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # The parser does not read its body, which must not be taken for the next request.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_receiving = False
        self._head_bytes = 0

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection; at once, if the client has not read its answer either."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _start_timer(self) -> None:
        self._receive_timer = self.loop.call_later(self._limits.receive_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    @property
    def _is_answering_a_whole_request(self) -> bool:
        """Whether what comes in now belongs to a later request than the one that is being answered."""
        cycle = self.cycle
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete and not cycle.more_body)

    def _too_slow(self) -> None:
        self._receive_timer = None
        if self._is_answering_a_whole_request:
            # The next request may be late because nothing is read of it meanwhile.
            self._start_timer()
            return
        self._refuse(408, b"The request did not come in whole in time.")

    def _refuse(self, status: int, text: bytes) -> None:
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._is_answering_a_whole_request:
            # A refusal would be taken for that request's answer. The connection is closed after it.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        is_answering = cycle is not None and not cycle.response_complete
        if is_answering:
            # Its application waits for the rest of the body, and learns that there is none.
            cycle.disconnected = True
            cycle.message_event.set()
        if not (is_answering and cycle.response_started):
            head = (
                STATUS_LINE[status],
                b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(text),
            )
            self.transport.write(b"".join(head) + b"connection: close\r\n\r\n" + text)
        self.transport.close()


def without_upgrade(data: bytes) -> bytes:
    """Returns the beginning of a request in which a wish for another protocol is renamed, so that it is ignored.

    Java's HTTP client has it in every request, and the parser would not read their bodies.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return _UPGRADE.sub(b"x-grade", head) + data[len(head) :] if _UPGRADE.search(head) else data
