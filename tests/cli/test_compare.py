"""The command compare: against a server of this package, another repository, and Feast's own server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from feast_assets import FeatureStore
from feast_assets.cli.main import cli

FEAST_PYTHON = os.environ.get("FEAST_PYTHON", "")

DEFINITIONS = """
from datetime import timedelta
from PACKAGE import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from PACKAGE.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats",
    entities=[driver],
    source=FileSource(name="stats_source", path="PATH", timestamp_field="at"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="fare", dtype=Float64),
        Field(name="rate", dtype=Float32),
        Field(name="trips", dtype=Int64),
        Field(name="city", dtype=String),
        Field(name="active", dtype=Bool),
        Field(name="since", dtype=UnixTimestamp),
        Field(name="shares", dtype=Array(Float32)),
    ],
    ttl=timedelta(days=36500),
)
model = FeatureService(name="model", features=[stats])
"""
FEATURES = ["fare", "rate", "trips", "city", "active", "since", "shares"]


def repository(folder: Path, package: str, fares: list[float]) -> Path:
    folder.mkdir()
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    rows = {
        "driver_id": [1, 2, 3],
        "at": [noon, noon, noon],
        "fare": fares,
        "rate": pd.Series([0.1, 0.2, 1 / 3], dtype="float32"),
        "trips": [2**60 + 1, 0, -1],
        "city": ["Bern", "Zürich", ""],
        "active": [True, False, True],
        "since": [noon + timedelta(days=i) for i in range(3)],
        "shares": pd.Series([[0.1, 0.2], [], [1 / 3]]),
    }
    pd.DataFrame(rows).to_parquet(folder / "stats.parquet")
    text = DEFINITIONS.replace("PACKAGE", package).replace("PATH", str(folder / "stats.parquet"))
    (folder / "definitions.py").write_text(text, encoding="utf-8")
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: data/registry.db\n"
        "online_store: {type: sqlite, path: data/online.db}\nentity_key_serialization_version: 3\n",
        encoding="utf-8",
    )
    (folder / "data").mkdir()
    return folder


def served(folder: Path, fares: list[float]) -> Path:
    store = FeatureStore(repo_path=repository(folder, "feast_assets", fares))
    store.apply_repository()
    store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
    store.close()
    return folder


def compare(folder: Path, *options: str, exit_code: int) -> Result:
    result = CliRunner().invoke(cli, ["-c", str(folder), "compare", *options], prog_name="feast-assets")
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result


def test_another_repository_is_compared_value_by_value(tmp_path: Path) -> None:
    ours, theirs = served(tmp_path / "ours", [1.0, 2.0, 3.0]), served(tmp_path / "theirs", [1.0, 2.5, 3.0])
    entities = pd.DataFrame({"driver_id": [1, 2, 3, 4], "note": ["a", "b", "c", "d"]})
    entities.to_csv(tmp_path / "entities.csv", index=False)
    options = ("--repo", str(theirs), "--service", "model", "--entity-file", str(tmp_path / "entities.csv"))
    output = compare(ours, *options, exit_code=1).output
    assert [line.split() for line in output.splitlines() if line.startswith("stats__fare")] == [
        ["stats__fare", "3", "1", "0", "0", "0"],
        ["stats__fare", "driver_id=2", "2.0", "2.5", "PRESENT", "PRESENT"],
    ]
    document = json.loads(compare(ours, *options, "--json", exit_code=1).output)
    assert (document["entities"], document["different"]) == (4, 1)
    assert "All values of 4 entities are equal" in compare(ours, *options, "--tolerance", "0.3", exit_code=0).output
    same = ("--repo", str(ours), "-f", "stats:fare", "-e", "driver_id=1")
    assert "All values of 1 entities are equal" in compare(ours, *same, exit_code=0).output


def test_wrong_usage(tmp_path: Path) -> None:
    ours = served(tmp_path / "ours", [1.0, 2.0, 3.0])
    chosen = ("-f", "stats:fare", "-e", "driver_id=1")
    assert "either --server URL or --repo" in compare(ours, *chosen, exit_code=2).output
    assert "-f VIEW:FEATURE" in compare(ours, "--repo", str(ours), "-e", "driver_id=1", exit_code=2).output
    assert "which entities" in compare(ours, "--repo", str(ours), "-f", "stats:fare", exit_code=2).output
    for url in ("ftp://host", "localhost:6566", "http://me:s3cret-word@host"):
        output = compare(ours, "--server", url, *chosen, exit_code=1).output
        assert "The URL of a feature server" in output
        assert "s3cret-word" not in output


class _Answers(BaseHTTPRequestHandler):
    answer: tuple[int, bytes] = (200, b"")
    asked: list[tuple[str, Any, str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, json.loads(body), self.headers.get("Authorization", "")))
        self.send_response(self.answer[0])
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Answers]]]:
    class Answers(_Answers):
        asked: list[tuple[str, Any, str]] = []

    http = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", Answers
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_server_that_does_not_speak_http_is_named_without_the_bytes_that_it_sent(tmp_path: Path) -> None:
    ours = served(tmp_path / "ours", [1.0, 2.0, 3.0])
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(2**16)
                connection.sendall(b"\x00\x00\x18\x04\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        output = compare(ours, "--server", url, "-f", "stats:fare", "-e", "driver_id=1", exit_code=1).output
        thread.join()
    assert f"The feature server {url} does not speak HTTP" in output


def test_what_a_server_says_wrongly_is_an_error(
    tmp_path: Path, server: tuple[str, type[_Answers]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEAST_ASSETS_COMPARE_TOKEN", "s3cret-word")
    ours = served(tmp_path / "ours", [1.0, 2.0, 3.0])
    url, answers = server
    for answer, said in (
        ((404, b'{"detail": "no view stats"}'), "refuses with status 404: .*no view stats"),
        ((302, b""), "refuses with status 302"),
        ((200, b"<html>"), "does not answer with JSON"),
        ((200, b"[]"), "does not answer as Feast's"),
        ((200, b"{}"), "does not answer as Feast's"),
    ):
        answers.answer = answer
        output = compare(ours, "--server", url, "-f", "stats:fare", "-e", "driver_id=1", exit_code=1).output
        assert re.search(said, output), output
        assert "s3cret-word" not in output
    path, body, authorization = answers.asked[0]
    assert path == "/get-online-features"
    assert body == {"features": ["stats:fare"], "entities": {"driver_id": [1]}, "full_feature_names": True}
    assert authorization == "Bearer s3cret-word"
    assert (
        "does not answer"
        in compare(ours, "--server", "http://127.0.0.1:1", "-f", "stats:fare", "-e", "driver_id=1", exit_code=1).output
    )


@pytest.mark.skipif(not FEAST_PYTHON, reason="FEAST_PYTHON does not name a Python that has Feast")
def test_feasts_own_server_is_compared_and_a_difference_is_seen(tmp_path: Path) -> None:
    theirs = repository(tmp_path / "theirs", "feast", [1.0, 2.0, 3.0])
    ours = served(tmp_path / "ours", [1.0, 2.0, 3.0])
    other = served(tmp_path / "other", [1.0, 2.0, 4.0])
    feast = str(Path(FEAST_PYTHON).parent / "feast")
    environment = {**os.environ, "FEAST_USAGE": "False"}
    for command in (["apply"], ["materialize", "2024-01-01T00:00:00", "2024-01-02T00:00:00"]):
        subprocess.run([feast, *command], cwd=theirs, check=True, capture_output=True, env=environment, timeout=300)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [feast, "serve", "-h", "127.0.0.1", "-p", str(port), "--no-access-log"],
            cwd=theirs,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        url = f"http://127.0.0.1:{port}"
        entities = [word for n in (1, 2, 3, 4) for word in ("-e", f"driver_id={n}")]
        equal = compare(ours, "--server", url, "--service", "model", *entities, exit_code=0).output
        assert "All values of 4 entities are equal" in equal
        features = [word for name in FEATURES for word in ("-f", f"stats:{name}")]
        output = compare(other, "--server", url, *features, *entities, exit_code=1).output
        assert ["stats__fare", "3", "1", "0", "0", "0"] in [line.split() for line in output.splitlines()]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
