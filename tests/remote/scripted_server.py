"""A server that answers with given bytes, for what no real server sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Script = Sequence[bytes | float]
"""What is sent after a request was read: bytes, and pauses in seconds. At the end the connection is closed."""


def answer(body: bytes, status: int = 200, *headers: str) -> bytes:
    """Returns an answer that keeps the connection open."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Scripted:
    """What happened so far.

    Attributes:
        url: where the server is.
        requests: the heads of all requests.
        connections: how many were accepted.
    """

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextmanager
def scripted(*scripts: Script) -> Iterator[Scripted]:
    """Runs a server whose n-th connection follows the n-th script, and further ones the last."""
    state = Scripted()
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def follow(connection: socket.socket, script: Script) -> None:
        with connection, suppress(OSError):
            _read_request(connection, state)
            for step in script:
                if isinstance(step, float):
                    ended.wait(step)
                elif step == b"NEXT":
                    _read_request(connection, state)
                else:
                    connection.sendall(step)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            script = scripts[min(state.connections, len(scripts) - 1)]
            state.connections += 1
            thread = threading.Thread(target=follow, args=(connection, script))
            thread.start()
            threads.append(thread)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        state.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        try:
            yield state
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(30)
            for thread in threads:
                thread.join(30)


def _read_request(connection: socket.socket, state: Scripted) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    state.requests.append(head)
    (length,) = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < length:
        body += connection.recv(65536)


__all__ = ["Scripted", "answer", "scripted"]
