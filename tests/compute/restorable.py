"""Online stores and registries of tests that can be put back to an earlier state, as after a crash or a mistake."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest


class Restorable(Protocol):
    def snapshot(self) -> Path:
        """Copies the present state."""

    def restore(self, snapshot: Path) -> None:
        """Puts a copy in the place of the present state."""


class SqliteDatabase:
    """A SQLite file, and copies of it."""

    def __init__(self, path: Path):
        self.path = path
        self._copies = 0

    def snapshot(self) -> Path:
        self._copies += 1
        copy = self.path.with_name(f"{self.path.name}.{self._copies}.copy")
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy

    def restore(self, snapshot: Path) -> None:
        """Replaces the file, as one does with a backup; who has the old one open keeps the old one."""
        new = self.path.with_name(self.path.name + ".new")
        shutil.copy(snapshot, new)
        for end in ("-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        os.replace(new, self.path)


class RedisServer:
    """A Redis server that keeps snapshots only when it is told to, and can be started from one."""

    def __init__(self, directory: Path, *arguments: str):
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed")
        self.directory = directory
        self.arguments = arguments
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._copies = 0
        self.start()

    @property
    def settings(self) -> dict[str, Any]:
        """The ``online_store`` section of a project on this server."""
        return {"type": "redis", "connection_string": f"127.0.0.1:{self.port}"}

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*command, "--dir", str(self.directory), *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        import redis

        deadline = time.monotonic() + 20
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except (ConnectionError, redis.exceptions.RedisError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server did not start") from None
                time.sleep(0.005)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def snapshot(self) -> Path:
        with self.client() as client:
            client.save()
        self._copies += 1
        copy = self.directory / f"{self._copies}.rdb"
        shutil.copy(self.directory / "dump.rdb", copy)
        return copy

    def restore(self, snapshot: Path) -> None:
        self.stop()
        shutil.copy(snapshot, self.directory / "dump.rdb")
        self.start()
