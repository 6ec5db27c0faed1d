"""Feature servers as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers import ServerProcess

_FREE_PORT = {
    "serve": ["--port", "0"],
    "serve_registry": ["--rest-port", "0"],
    "listen": ["--address", "127.0.0.1:0"],
}


@pytest.fixture
def start_server() -> Iterator[Any]:
    """Starts servers, and ends them with the test."""
    started: list[ServerProcess] = []
    readers: list[threading.Thread] = []

    def start(repository: Path, *options: str, script: str | None = None, command: str = "serve") -> ServerProcess:
        words = ["-c", script] if script else ["-m", "feast_assets.cli"]
        address = _FREE_PORT[command]
        words += ["-c", str(repository), command, *address, *options]
        process = subprocess.Popen(
            [sys.executable, *words],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        server = ServerProcess(process)
        started.append(server)
        assert process.stderr is not None
        for line in process.stderr:
            server.output.append(line)
            if found := re.search(r"Serving \D+ on (\S+)", line):
                server.url = found[1]
                break
        assert server.url, "".join(server.output)
        reader = threading.Thread(target=lambda: server.output.extend(process.stderr or ()))
        reader.start()
        readers.append(reader)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
    for server in started:
        try:
            server.process.wait(60)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
    for reader in readers:
        reader.join(60)
    for server in started:
        if server.process.stderr is not None:
            server.process.stderr.close()
