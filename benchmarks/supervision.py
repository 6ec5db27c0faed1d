"""Runs worker processes under a limit of time and memory, and the Redis server that they share."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.05
MEMORY_SHARE = 0.75


@dataclass(frozen=True)
class Ended:
    """How a worker process ended.

    Attributes:
        stopped: "" where it ended by itself, else "time" or "memory": the limit that it was stopped at.
        seconds: how long it ran.
        peak_mib: the most memory that it was seen to have.
        errors: the end of what it said of its errors; empty where it ended well.
    """

    stopped: str
    seconds: float
    peak_mib: float
    errors: str


def supervised(command: Sequence[str], directory: Path, environment: dict[str, str], seconds: float) -> Ended:
    """Runs a command to its end, or until it has run too long or taken most of the machine's memory."""
    allowed = MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    started, peak, stopped = time.monotonic(), 0.0, ""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=said, stderr=said)  # noqa: S603
        try:
            while process.poll() is None:
                peak = max(peak, _resident(process.pid))
                if time.monotonic() - started > seconds:
                    stopped = "time"
                elif peak > allowed:
                    stopped = "memory"
                if stopped:
                    break
                time.sleep(_LOOK_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    errors = "" if stopped or process.returncode == 0 else text[-4000:] or f"exit status {process.returncode}"
    return Ended(stopped, time.monotonic() - started, peak, errors)


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Yields ``host:port`` of a Redis server of its own that writes nothing to disk; "" where none is installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield ""
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as directory:
        server = subprocess.Popen(  # noqa: S603
            [*command, "--dir", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _await_port(port, server)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


def _await_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start.") from None
            time.sleep(0.02)
        else:
            return
