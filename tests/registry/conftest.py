"""A Postgres server, and registries on it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_postgres() -> list[str]:
    """Returns what comes before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres server of this test session's own: the URL of its first database, without the database's name."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("postgres is not installed")
    directory = tmp_path_factory.mktemp("postgres")
    if os.geteuid() == 0:
        for parent in (directory, *directory.parents[:2]):
            parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(directory, "postgres", "postgres")
    data, port = directory / "data", _free_port()
    environment = {**os.environ, "HOME": str(directory)}
    subprocess.run(
        [*_as_postgres(), "initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        env=environment,
        cwd=directory,
    )
    settings = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(directory)]
    log = (directory / "log").open("wb")
    server = subprocess.Popen(
        [*_as_postgres(), "postgres", "-D", str(data), "-p", str(port), *settings],
        stdout=log,
        stderr=log,
        env=environment,
        cwd=directory,
    )
    try:
        _wait_until_ready(server, port, directory / "log")
        yield f"postgresql://postgres:s3cret-word@127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown; it does not wait for clients
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start: {log.read_text()}") from None
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgres_server}/{name}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
