"""`feast-assets listen` as users run it: signals, workers, TLS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_clients import GET, Answered, asked
from holding_proxy import HoldingProxy
from served_project import made

sys.path.insert(0, str(Path(__file__).parents[1]))

from self_signed import self_signed

from feast_assets import FeatureStore, RepoConfig
from feast_assets.errors import ConfigError
from feast_assets.serving.grpc.options import GrpcOptions
from feast_assets.serving.grpc.server import listen

Start = Any


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("served") / "repository")


def address(url: str) -> str:
    return url.partition("://")[2]


def trips(channel: grpc.Channel, driver: int) -> int:
    request = asked("stats:trips", driver_id=[driver])
    answer = channel.unary_unary(GET)(request, timeout=60, wait_for_ready=True)
    return Answered.of(answer).values["trips"][0]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_serves_and_ends_in_peace(repository: Path, start_server: Start, how: signal.Signals) -> None:
    server = start_server(repository, command="listen")
    with grpc.insecure_channel(address(server.url)) as channel:
        assert trips(channel, 5) == 5
        assert server.stop(how) == 0


def test_a_call_in_hand_is_finished_when_the_server_is_told_to_end(
    redis_server: tuple[str, int], tmp_path: Path, start_server: Start
) -> None:
    proxy = HoldingProxy(redis_server)
    try:
        store = f"{{type: redis, connection_string: '127.0.0.1:{proxy.port}'}}"
        server = start_server(made(tmp_path / "repository", online_store=store), command="listen")
        with grpc.insecure_channel(address(server.url)) as channel:
            assert trips(channel, 1) == 1
            proxy.hold()
            call = channel.unary_unary(GET).future(asked("stats:trips", driver_id=[7]), timeout=60)
            assert proxy.asked.wait(60)
            server.process.send_signal(signal.SIGTERM)
            assert not call.done()
            proxy.release()
            assert Answered.of(call.result()).values["trips"] == [7]
        assert server.process.wait(60) == 0
    finally:
        proxy.close()


def test_a_worker_that_is_killed_is_replaced_and_calls_go_on(repository: Path, start_server: Start) -> None:
    server = start_server(repository, "--processes", "2", command="listen")
    killed = workers_of(server.process.pid)
    assert len(killed) == 2
    for driver, worker in enumerate(killed):
        os.kill(worker, signal.SIGKILL)
        while len(workers_of(server.process.pid) - killed) <= driver:
            assert server.process.poll() is None
            threading.Event().wait(0.05)
        # Both of the workers that it had may be gone: what is answered, a replacement answers.
        with grpc.insecure_channel(address(server.url)) as channel:
            assert trips(channel, 5) == 5
    assert server.stop() == 0
    assert workers_of(server.process.pid) == set()


def test_workers_end_with_a_supervisor_that_is_killed(repository: Path, start_server: Start) -> None:
    server = start_server(repository, "--processes", "2", command="listen")
    workers = workers_of(server.process.pid)
    server.stop(signal.SIGKILL)
    while any(map(lives, workers)):
        threading.Event().wait(0.05)


def lives(process: int) -> bool:
    try:
        # One that ended stays, in the state Z, until somebody asks how.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(supervisor: int) -> set[int]:
    """Returns the process ids of the workers that live."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent == supervisor and b"spawn_main" in words:
                found.add(int(folder.name))
    return found


def test_tls_is_served_with_a_key_and_a_certificate(repository: Path, tmp_path: Path, start_server: Start) -> None:
    key, certificate = self_signed(tmp_path)
    server = start_server(repository, "--tls-key", str(key), "--tls-cert", str(certificate), command="listen")
    assert server.url.startswith("grpcs://")
    trusting = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(address(server.url), trusting) as channel:
        assert trips(channel, 5) == 5
    with grpc.insecure_channel(address(server.url)) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(GET)(asked("stats:trips", driver_id=[5]), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_what_cannot_be_served_is_told_in_a_line(repository: Path, tmp_path: Path, start_server: Start) -> None:
    server = start_server(repository, command="listen")
    _, certificate = self_signed(tmp_path)
    for options, told in (
        (["--tls-key", str(certificate), "--tls-cert", str(certificate)], "cannot be used"),
        (["--address", address(server.url)], "Cannot listen on 127.0.0.1:"),
        (["--address", address(server.url), "--processes", "2"], "Cannot listen on 127.0.0.1"),
        (["--address", "127.0.0.1"], "is not host:port"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "feast_assets.cli", "-c", str(repository), "listen", *options],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 1, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_server_whose_registry_cannot_be_read_at_the_start_ends_and_says_why(processes: str, tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: served\nregistry: registry.db\nonline_store: sqlite\n")
    (tmp_path / "registry.db").write_text("This is no database, and it is long enough to be taken for one." * 20)
    words = ["listen", "--address", "127.0.0.1:0", "--processes", processes]
    done = subprocess.run(
        [sys.executable, "-m", "feast_assets.cli", "-c", str(tmp_path), *words],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert "The server cannot start: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"address": "localhost"}, "is not host:port"),
        ({"address": ":50051"}, "is not host:port"),
        ({"address": "localhost:99999"}, "is not host:port"),
        ({"workers": 0}, "workers is 0"),
        ({"running_calls": -1}, "running_calls is -1"),
        ({"calls_in_hand": 0}, "calls_in_hand is 0"),
        ({"request_seconds": 0}, "request_seconds is 0"),
        ({"metrics_port": 70000}, "Port 70000"),
        ({"tls_key_path": "x"}, "TLS needs both"),
        ({"tls_key_path": "x", "tls_cert_path": "y"}, "There is no TLS file x"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        GrpcOptions(**settings)


def test_an_address_is_a_host_and_a_port() -> None:
    options = GrpcOptions(address="[::1]:0")
    assert (options.host, options.port, options.is_loopback) == ("::1", 0, True)
    assert not GrpcOptions(address="0.0.0.0:50051").is_loopback


def test_workers_need_settings_that_they_can_read(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, RepoConfig(project="inline", registry="registry.db"))
    with pytest.raises(ConfigError, match="feature_store.yaml"):
        listen(store, GrpcOptions(workers=2))
    store.close()
