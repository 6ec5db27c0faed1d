"""`feast-assets serve` as users run it: signals, workers, slow clients, TLS."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from holding_proxy import HoldingProxy
from served_project import READ, asked, made
from servers import ServerProcess

sys.path.insert(0, str(Path(__file__).parents[1]))

from self_signed import self_signed

from feast_assets import FeatureStore

Start = Any
BROKEN_OFF = (urllib.error.URLError, ConnectionError, http.client.HTTPException)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("served") / "repository")


def post(url: str, body: Any, path: str = READ, context: ssl.SSLContext | None = None) -> Any:
    request = urllib.request.Request(url + path, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def trips(url: str, driver: int, context: ssl.SSLContext | None = None) -> Any:
    return post(url, asked(driver), context=context)["results"][1]["values"][0]


def get(url: str, path: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        return answer.status, answer.read()


def address(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_a_server_serves_and_ends_in_peace(repository: Path, start_server: Start) -> None:
    server = start_server(repository)
    assert trips(server.url, 5) == 5
    assert get(server.url, "/health") == (200, b"")
    assert json.loads(get(server.url, "/ready")[1])["ready"] is True
    assert server.stop() == 0


def test_a_feature_store_serves_itself(repository: Path, start_server: Start) -> None:
    script = "import sys; from feast_assets import FeatureStore; FeatureStore(sys.argv[2]).serve(port=0)"
    server = start_server(repository, script=script)
    assert trips(server.url, 5) == 5
    assert server.stop(signal.SIGINT) == 0


def test_a_request_in_hand_is_finished_when_the_server_is_told_to_end(
    redis_server: tuple[str, int], tmp_path: Path, start_server: Start
) -> None:
    proxy = HoldingProxy(redis_server)
    try:
        store = f'{{type: redis, connection_string: "127.0.0.1:{proxy.port}"}}'
        server = start_server(made(tmp_path / "repository", online_store=store))
        assert trips(server.url, 5) == 5
        proxy.hold()
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(trips(server.url, 6)))
        asking.start()
        assert proxy.asked.wait(60)
        server.process.send_signal(signal.SIGTERM)
        while is_listening(server):
            time.sleep(0.05)
        assert answers == []
        proxy.release()
        asking.join(60)
        assert answers == [6]
        assert server.process.wait(60) == 0
    finally:
        proxy.close()


def is_listening(server: ServerProcess) -> bool:
    try:
        socket.create_connection(address(server.url), timeout=60).close()
    except OSError:
        return False
    return True


def children(pid: int) -> set[int]:
    """Returns the workers of a supervisor: its child processes that serve."""
    found: set[int] = set()
    for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            command = Path(f"/proc/{text}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in command:
            found.add(int(text))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="workers are found in /proc")
def test_a_worker_that_is_killed_is_replaced_and_requests_go_on(repository: Path, start_server: Start) -> None:
    server = start_server(repository, "--workers", "2")
    assert trips(server.url, 1) == 1
    workers = children(server.process.pid)
    while len(workers) < 2:
        time.sleep(0.05)
        workers = children(server.process.pid)
    killed = min(workers)
    os.kill(killed, signal.SIGKILL)
    number = 0
    while len(now := children(server.process.pid) - {killed}) < 2:
        with contextlib.suppress(*BROKEN_OFF):  # it was in the hands of the killed worker
            assert trips(server.url, number % 1000) == number % 1000
        number += 1
    assert len(now - workers) == 1
    assert [trips(server.url, driver) for driver in range(50)] == list(range(50))
    counted = 'feast_feature_server_request_total{endpoint="/get-online-features",status="success"} '
    total = 0.0
    while total < 50:  # one worker answers for all, which hand over what they counted several times a second
        lines = get(server.url, "/metrics")[1].decode().splitlines()
        total = sum(float(line.removeprefix(counted)) for line in lines if line.startswith(counted))
        time.sleep(0.05)
    assert server.stop() == 0


def until_closed(client: socket.socket) -> bytes:
    """Returns what is sent until the server closes the connection; fails by the test's time limit if it never does."""
    parts = []
    while data := client.recv(65536):
        parts.append(data)
    return b"".join(parts)


def test_slow_clients_are_cut_off_while_others_are_served(repository: Path, start_server: Start) -> None:
    server = start_server(repository, "--receive-timeout", "3")
    host, _ = address(server.url)
    head = f"POST {READ} HTTP/1.1\r\nhost: {host}\r\n".encode()
    body = json.dumps(asked(1)).encode()
    beginnings = {
        "nothing at all": b"",
        "a part of the head": head[:10],
        "a head without its end": head,
        "a part of the body": head + b"content-length: %d\r\n\r\n" % len(body) + body[:5],
    }
    clients = {}
    for name, beginning in beginnings.items():
        clients[name] = socket.create_connection(address(server.url), timeout=60)
        clients[name].sendall(beginning)
    # One piece after another, each in time: the whole still has to be.
    dripping = socket.create_connection(address(server.url), timeout=60)
    stopped = threading.Event()

    def drip() -> None:
        try:
            dripping.sendall(head)
            while not stopped.wait(0.05):
                dripping.sendall(b"x-more: 1\r\n")
        except OSError:
            pass

    dripper = threading.Thread(target=drip)
    dripper.start()
    assert trips(server.url, 3) == 3
    for name, client in clients.items():
        assert b" 408 " in until_closed(client).split(b"\r\n")[0], name
        client.close()
    with contextlib.suppress(ConnectionError):
        until_closed(dripping)
    stopped.set()
    dripper.join(60)
    dripping.close()
    assert trips(server.url, 4) == 4


def test_what_is_no_http_and_heads_that_are_too_large_are_refused(repository: Path, start_server: Start) -> None:
    server = start_server(repository)
    with socket.create_connection(address(server.url), timeout=60) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert b" 400 " in until_closed(client).split(b"\r\n")[0]
    with socket.create_connection(address(server.url), timeout=60) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nx-large: " + b"a" * 100_000)
        with contextlib.suppress(ConnectionError):  # it may be closed while more is being sent
            assert b" 431 " in until_closed(client).split(b"\r\n")[0]
    assert trips(server.url, 4) == 4


def test_many_requests_of_one_connection_are_answered_in_order(repository: Path, start_server: Start) -> None:
    server = start_server(repository)
    connection = http.client.HTTPConnection(*address(server.url), timeout=60)
    for driver in range(100):
        connection.request("POST", READ, json.dumps(asked(driver)))
        assert json.loads(connection.getresponse().read())["results"][1]["values"] == [driver]
    connection.close()
    bodies = [json.dumps(asked(driver)).encode() for driver in range(20)]
    with socket.create_connection(address(server.url), timeout=60) as client:
        client.sendall(
            b"".join(b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (READ.encode(), len(b), b) for b in bodies)
        )
        reader = client.makefile("rb")
        for driver in range(20):
            length = 0
            while line := reader.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert json.loads(reader.read(length))["results"][1]["values"] == [driver]
        reader.close()


def test_tls_is_served_with_a_key_and_a_certificate(repository: Path, tmp_path: Path, start_server: Start) -> None:
    key, certificate = self_signed(tmp_path)
    server = start_server(repository, "--tls-key", str(key), "--tls-cert", str(certificate))
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate))
    assert trips(server.url, 7, context) == 7


DYING = """
import os, signal, sys
from feast_assets.{module} import {cls}

method = {cls}.{name}

def dying(self, *args, **keywords):
    if {after}:
        method(self, *args, **keywords)
    os.kill(os.getpid(), signal.SIGKILL)

{cls}.{name} = dying
from feast_assets.cli.main import cli

cli(sys.argv[1:], prog_name="feast-assets")
"""
OFFLINE = {"module": "offline_stores.duckdb.store", "cls": "DuckDBOfflineStore", "name": "write_once"}
ONLINE = {"module": "online_stores.sqlite.store", "cls": "SqliteOnlineStore", "name": "put_many"}
NOTES = {"module": "registry.sql.store", "cls": "SqlRegistry", "name": "note_push"}


@pytest.mark.parametrize(
    ("point", "after", "is_online"),
    [(NOTES, False, False), (NOTES, True, False), (OFFLINE, True, True), (ONLINE, False, True), (ONLINE, True, True)],
    ids=["before the note", "after the note", "after history", "before online", "after online"],
)
def test_a_push_that_is_killed_is_stored_once_by_the_next_server_or_not_at_all(
    point: dict[str, str], after: bool, is_online: bool, tmp_path: Path, start_server: Start
) -> None:
    repository = made(tmp_path / "repository")
    server = start_server(repository, script=DYING.format(**point, after=after))
    rows = {
        "driver_id": [1, 2],
        "trips": [100, 200],
        "rate": [0.5, 0.5],
        "city": ["x", "y"],
        "ts": ["2024-06-01T00:00:00", "2024-06-01T00:00:00"],
    }
    push = {"push_source_name": "live", "df": rows, "to": "online_and_offline"}
    with pytest.raises(BROKEN_OFF):
        post(server.url, push, "/push")
    assert server.process.wait(60) == -signal.SIGKILL
    again = start_server(repository)
    # History comes first, and is completed by the next use of it: here the same push.
    assert trips(again.url, 2) == (200 if is_online else 2)
    for _ in range(2):
        post(again.url, push, "/push")
    assert (trips(again.url, 1), trips(again.url, 2)) == (100, 200)
    assert again.stop() == 0
    store = FeatureStore(repository)
    assert store.list_unfinished_pushes() == []
    found = store.get_historical_features(
        None, ["stats:trips"], start_date=moment("2024-05-31"), end_date=moment("2024-06-02")
    ).to_df()
    assert sorted(found["trips"].tolist()) == [100, 200]
    store.close()


def moment(text: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_address_in_use_and_a_missing_certificate_are_told_in_a_line(
    repository: Path, tmp_path: Path, start_server: Start
) -> None:
    server = start_server(repository)
    _, port = address(server.url)
    key, certificate = self_signed(tmp_path)
    for options, told in (
        (["--tls-key", str(certificate), "--tls-cert", str(certificate)], "cannot be used"),
        (["--workers", "2", "--tls-key", str(key), "--tls-cert", str(key)], "cannot be used"),
        (["--port", str(port)], "Cannot listen on 127.0.0.1"),
        (["--tls-key", "nope.pem"], "TLS needs both"),
        (["--tls-key", "nope.pem", "--tls-cert", "nope.pem"], "There is no TLS file nope.pem"),
        (["--workers", "0"], "workers is 0"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "feast_assets.cli", "-c", str(repository), "serve", *options],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 1, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_whose_registry_cannot_be_read_at_the_start_ends_and_says_why(workers: str, tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    # Nobody listens on a port that is bound only.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        url = f"postgresql://user:s3cret@127.0.0.1:{holder.getsockname()[1]}/registry"
        (tmp_path / "feature_store.yaml").write_text(
            f"project: served\nregistry: {{registry_type: sql, path: '{url}'}}\nonline_store: sqlite\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "feast_assets.cli", "-c", str(tmp_path), "serve", "--port", "0", "-w", workers],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 3
    assert "cannot be used" in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_granian_serves_the_same_application(repository: Path, start_server: Start) -> None:
    pytest.importorskip("granian")
    server = start_server(repository, "--server", "granian")
    while not is_listening(server):  # granian's workers listen themselves
        assert server.process.poll() is None, server.output
        time.sleep(0.05)
    assert [trips(server.url, driver) for driver in range(5)] == list(range(5))
    assert get(server.url, "/health") == (200, b"")
    assert json.loads(get(server.url, "/ready")[1])["ready"] is True
    assert server.stop() == 0
