"""One line of JSON for each request, written some at a time so that no request waits for the disk."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import BinaryIO

from feast_assets.serving.http.messages import to_json

_LINES_AT_ONCE = 1000


class AccessLog:
    """Lines ``{"time", "client", "method", "path", "status", "seconds", "bytes"}``; the time is in Unix seconds.

    Queries and bodies are never logged, as they hold what identifies entities.
    """

    def __init__(self, stream: BinaryIO | None = None):
        """Creates a log on a stream; on standard output when left out."""
        self._stream = sys.stdout.buffer if stream is None else stream
        self._lines: list[tuple[float, str, str, str, int, float, int]] = []

    def add(self, client: str, method: str, path: str, status: int, seconds: float, size: int) -> None:
        """Notes a request that was answered."""
        self._lines.append((time.time(), client, method, path, status, seconds, size))
        if len(self._lines) >= _LINES_AT_ONCE:
            # Where the log cannot be written, which `flush` tells its other caller, requests are answered all the same.
            with contextlib.suppress(OSError, ValueError):
                self.flush()

    def flush(self) -> None:
        """Writes what was noted."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        names = ("time", "client", "method", "path", "status", "seconds", "bytes")
        text = b"".join(
            to_json(dict(zip(names, (round(line[0], 6), *line[1:5], round(line[5], 6), line[6]), strict=True))) + b"\n"
            for line in lines
        )
        self._stream.write(text)
        self._stream.flush()
