"""Object stores that the tests start themselves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_LOGIN = {"key": "anybody", "secret": "s3cret-word"}


@contextmanager
def _server(command: Sequence[str | os.PathLike[str]], port: int, log: Path) -> Iterator[None]:
    """Runs a server on a port of this machine."""
    with log.open("wb") as written:
        server = subprocess.Popen([str(word) for word in command], stdout=written, stderr=written)
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()}")
            time.sleep(0.02)
        yield
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that speaks S3 (moto)."""
    binary = Path(sys.executable).parent / "moto_server"
    if not binary.exists():
        pytest.skip("moto_server is not installed")
    port = _free_port()
    folder = tmp_path_factory.mktemp("moto")
    with _server([binary, "-H", "127.0.0.1", "-p", str(port)], port, folder / "log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def s3_registry(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The section ``registry`` of an empty registry in a bucket of S3."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    import fsspec

    options = {**_LOGIN, "endpoint_url": s3_endpoint}
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3", skip_instance_cache=True, **options).mkdir(bucket)
    return {"registry_type": "file", "path": f"s3://{bucket}/features/registry.db", "storage_options": options}
