"""A TCP proxy whose answers a test can hold back, so that a request is surely in hand when something happens."""

from __future__ import annotations

import contextlib
import socket
import threading


class HoldingProxy:
    """Passes bytes between clients and a server; answers wait while it holds.

    Attributes:
        port: where it listens.
        asked: set when a client asked something while it holds.
    """

    def __init__(self, server: tuple[str, int]):
        self._server = server
        self._may_answer = threading.Event()
        self._may_answer.set()
        self.asked = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self.asked.clear()
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def close(self) -> None:
        self.release()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_answer:
                    self._may_answer.wait()
                elif not self._may_answer.is_set():
                    self.asked.set()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
