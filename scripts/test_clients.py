"""Runs the tests of the clients in Go and Java against servers, over gRPC and HTTP, with TLS and without.

    python scripts/test_clients.py [go] [java]

Needs Go for the one, Java 17 and Maven for the other; scripts/install-test-servers installs them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "go": ["go", "test", "-count=1", "./..."],
    "java": ["mvn", "--batch-mode", "--no-transfer-progress", "--quiet", "test"],
}
DEFINITIONS = """
from feast_assets import *
from feast_assets.on_demand_feature_view import on_demand_feature_view

driver = Entity(name="driver", join_keys=["driver_id"])
source = FileSource(name="history", path="history", timestamp_field="at")
live = PushSource(name="live", batch_source=source)
stats = FeatureView(
    name="stats",
    entities=[driver],
    source=live,
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64),
        Field(name="few", dtype=Int32),
        Field(name="rate", dtype=Float32),
        Field(name="exact", dtype=Float64),
        Field(name="city", dtype=String),
        Field(name="active", dtype=Bool),
        Field(name="since", dtype=UnixTimestamp),
        Field(name="marks", dtype=Array(Int64)),
        Field(name="words", dtype=Array(String)),
        Field(name="photo", dtype=Bytes),
    ],
)

@on_demand_feature_view(
    sources=[stats, RequestSource(name="asked", schema=[Field(name="bonus", dtype=Float64)])],
    schema=[Field(name="total", dtype=Float64)],
    mode="python",
)
def totals(inputs):
    return {"total": [trips + bonus for trips, bonus in zip(inputs["trips"], inputs["bonus"])]}

service = FeatureService(name="service", features=[stats[["trips"]], totals])
"""
# What the tests of every client expect: a driver with all values, one with one value only, one with unusual ones.
_NEW_YEAR = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROWS: dict[str, list[object]] = {
    "driver_id": [1, 2, 3],
    "trips": [10, 9007199254740993, -20],
    "few": [1, None, -1],
    "rate": [0.5, None, float("nan")],
    "exact": [0.1, None, float("inf")],
    "city": ["Köln", None, ""],
    "active": [True, None, False],
    "since": [_NEW_YEAR, None, dt.datetime(1960, 1, 1, tzinfo=dt.UTC)],
    "marks": [[1, 2], None, []],
    "words": [["a", "ü"], None, []],
    "photo": [b"\x00\xff", None, b""],
    "at": [_NEW_YEAR + dt.timedelta(hours=12, milliseconds=250)] * 3,
}


def made(repository: Path) -> Path:
    """Writes a repository, applies it, and writes the rows to its online store."""
    from feast_assets import FeatureStore

    repository.mkdir()
    (repository / "feature_store.yaml").write_text("project: clients\nregistry: registry.db\nonline_store: sqlite\n")
    (repository / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    store = FeatureStore(repository)
    store.apply_repository()
    store.write_to_online_store("stats", ROWS)
    store.close()
    return repository


@contextlib.contextmanager
def server(repository: Path, log: Path, *words: str) -> Iterator[str]:
    """Runs a server; yields where it says that it serves."""
    command = [sys.executable, "-m", "feast_assets.cli", "-c", str(repository), *words]
    with log.open("wb") as told, subprocess.Popen(command, stderr=told, stdout=told) as process:  # noqa: S603
        try:
            deadline = time.monotonic() + 120
            while not (said := re.search(r"Serving features on (\S+)\n", log.read_text())):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"The server did not start: {log.read_text()}")
                time.sleep(0.05)
            yield said[1]
        finally:
            process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def servers(directory: Path) -> Iterator[dict[str, str]]:
    """Runs a server of each protocol, with TLS and without; yields what tells tests of them, for the environment."""
    repository = made(directory / "repository")
    sys.path.insert(0, str(ROOT / "tests"))
    from self_signed import self_signed

    key, certificate = self_signed(directory)
    tls = ("--tls-key", str(key), "--tls-cert", str(certificate))
    http, grpc = ("serve", "--port", "0", "--no-access-log"), ("listen", "--address", "127.0.0.1:0")
    with (
        server(repository, directory / "http.log", *http) as over_http,
        server(repository, directory / "https.log", *http, *tls) as over_https,
        server(repository, directory / "grpc.log", *grpc) as over_grpc,
        server(repository, directory / "grpcs.log", *grpc, *tls) as over_grpcs,
    ):
        yield {
            "FEAST_ASSETS_HTTP": over_http,
            "FEAST_ASSETS_HTTP_TLS": over_https,
            "FEAST_ASSETS_GRPC": over_grpc.removeprefix("grpc://"),
            "FEAST_ASSETS_GRPC_TLS": over_grpcs.removeprefix("grpcs://"),
            "FEAST_ASSETS_CERTIFICATE": str(certificate),
        }


def main(languages: list[str]) -> int:
    """Returns 0 if the tests of all clients passed."""
    missing = [COMMANDS[language][0] for language in languages if shutil.which(COMMANDS[language][0]) is None]
    if missing:
        print(f"{', '.join(missing)} is not installed: scripts/install-test-servers installs it.", file=sys.stderr)
        return 1
    failed = []
    with tempfile.TemporaryDirectory(prefix="feast-assets-clients-") as folder, servers(Path(folder)) as told:
        for language in languages:
            begin = time.monotonic()
            done = subprocess.run(  # noqa: S603
                COMMANDS[language], cwd=ROOT / "clients" / language, env={**os.environ, **told}, check=False
            )
            print(f"The tests of the {language} client took {time.monotonic() - begin:.0f} s.")
            if done.returncode:
                failed.append(language)
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(COMMANDS)))
