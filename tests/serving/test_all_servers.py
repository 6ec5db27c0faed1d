"""A client that has nothing but the addresses of three servers: features, registry and history."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from feast_assets.data_source import PushMode
from served_project import DEFINITIONS, EVENT_MICROS, made

from feast_assets import FeatureStore
from feast_assets.errors import StoreUnavailableError

sys.path.insert(0, str(Path(__file__).parents[1] / "remote"))

from failing_proxy import FailingProxy


class Process:
    """A server in a process of its own, on a free port.

    Attributes:
        address: where it listens.
    """

    def __init__(self, repository: Path, *words: str) -> None:
        command = [sys.executable, "-m", "feast_assets.cli", "-c", str(repository), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert self.process.stderr is not None
        self.output = []
        self.address = ""
        for line in self.process.stderr:
            self.output.append(line)
            if match := re.search(r"Serving \w+(?: \w+)? on (\S+)", line):
                self.address = match[1]
                break
        assert self.address, "".join(self.output)
        self._reader = threading.Thread(target=lambda: self.output.extend(self.process.stderr or ()))
        self._reader.start()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(60)
        self._reader.join(60)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for each in started:
        each.stop()


def test_a_client_of_three_servers_does_all_that_a_feature_store_does(tmp_path: Path, processes: list[Process]) -> None:
    root = made(tmp_path / "served")
    commands = (["serve", "--port", "0"], ["serve_registry", "--rest-port", "0"], ["serve_offline", "--port", "0"])
    for words in commands:
        processes.append(Process(root, *words))
    features, registry, history = processes
    # The address that the client knows stays the same when the server has another one.
    proxy = FailingProxy(history.address)
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(
        "project: served\n"
        f"registry: {{registry_type: remote, path: '{registry.address}'}}\n"
        f"online_store: {{type: remote, path: '{features.address}'}}\n"
        f"offline_store: {{type: remote, host: 127.0.0.1, port: {proxy.url.rpartition(':')[2]}, timeout_seconds: 60}}\n"
    )
    (folder / "definitions.py").write_text(DEFINITIONS)
    client = FeatureStore(folder)
    assert {each.action.value for each in client.apply_repository().objects} == {"Unchanged"}

    moment = datetime.fromtimestamp(EVENT_MICROS / 1e6, UTC)
    spine = pd.DataFrame({"driver_id": [1, 2, 3, 77_777], "event_timestamp": [moment + timedelta(days=1)] * 4})
    rows = client.get_historical_features(spine, ["stats:trips", "stats:city"]).to_df()
    assert rows["trips"].tolist()[:3] == [1, 2, 3] and pd.isna(rows["trips"][3])
    query = f"SELECT 5 AS driver_id, TIMESTAMPTZ '{(moment + timedelta(days=1)).isoformat()}' AS event_timestamp"
    assert client.get_historical_features(query, ["stats:trips"]).to_df()["trips"].tolist() == [5]
    every = client.get_historical_features(
        None, ["stats:trips"], start_date=moment, end_date=moment + timedelta(days=1)
    )
    assert len(every.to_df()) == 10_000

    pushed = pd.DataFrame(
        {"driver_id": [3], "trips": [300], "rate": [1.0], "city": ["new"], "ts": [moment + timedelta(days=2)]}
    )
    for _ in range(2):
        client.push("live", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    assert client.get_online_features(["stats:trips"], {"driver_id": [2, 3]}).to_dict()["trips"] == [2, 300]
    spine["event_timestamp"] += timedelta(days=2)
    assert client.get_historical_features(spine, ["stats:trips"]).to_df()["trips"].tolist()[:3] == [1, 2, 300]
    server = FeatureStore(root)
    whole = server.get_historical_features(
        None, ["stats:trips"], start_date=moment + timedelta(days=2), end_date=moment + timedelta(days=2)
    )
    assert len(whole.to_df()) == 1, "history has the pushed row, and has it once"

    (result,) = client.materialize_incremental(moment + timedelta(days=3))
    assert result.windows
    report = client.audit()
    assert not report.mismatches and report.views[0].online_sampled
    assert not client.materialize_incremental(moment + timedelta(days=3))[0].windows

    # A server that is gone is an error at once, and the next call finds it when it is back.
    history.stop(signal.SIGKILL)
    proxy.is_down = True
    with pytest.raises(StoreUnavailableError, match="offline server at .*cannot be used"):
        client.get_historical_features(spine, ["stats:trips"]).to_df()
    again = Process(root, "serve_offline", "--port", "0")
    processes.append(again)
    proxy.lead_to(again.address)
    proxy.is_down = False
    assert client.get_historical_features(spine, ["stats:trips"]).to_df()["trips"].tolist()[:3] == [1, 2, 300]
    client.close()
    server.close()
    proxy.close()
    assert [each.stop() for each in (features, registry, again)] == [0, 0, 0]


def test_wrong_settings_of_servers_are_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: p\n")
    for words, said in (
        (["serve_offline", "--key", "nope.pem"], "TLS needs both"),
        (["serve_offline", "--client-ca", "nope.pem"], "only checked with TLS"),
        (["serve_offline", "--host", "256.0.0.1", "--port", "0"], "Cannot listen on 256.0.0.1"),
        (["serve_registry", "--cert", "nope.pem"], "TLS needs both"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "feast_assets.cli", "-c", str(tmp_path), *words],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 1 and said in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
