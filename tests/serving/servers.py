"""Feature servers for tests: in this process without a network, and as processes of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from dataclasses import dataclass, field
from typing import Any

from feast_assets.serving.http.app import FeatureServer


@dataclass
class Answered:
    """An answer of the application.

    Attributes:
        status, headers, body: as it was sent.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        """The error detail, which is JSON in JSON."""
        return json.loads(self.json())


async def ask(
    app: FeatureServer,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    pieces: list[bytes] | None = None,
) -> Answered:
    """Sends a request to the application as an ASGI server does.

    Args:
        body: bytes, or what becomes JSON.
        pieces: the body in several messages instead; the last may be followed by nothing, as a slow client's is.
    """
    if pieces is None:
        pieces = [body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()]
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
    }
    left = list(pieces)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    return Answered(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(each["body"] for each in bodies),
    )


@dataclass
class ServerProcess:
    """`feast-assets serve` in a process of its own, on a free port.

    Attributes:
        process: the supervisor, or the only process.
        url: where it listens.
        output: what it printed on standard error so far.
    """

    process: subprocess.Popen[str]
    url: str = ""
    output: list[str] = field(default_factory=list)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(60)
