"""Metrics of several workers, which each keep theirs in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

WORKER = """
import os, sys, time
from feast_assets.serving.metrics import ServerMetrics

metrics = ServerMetrics()
metrics.in_hand.set(7)
metrics.registry_revision.set(1)
metrics.online_requests.inc(3)
print(metrics.text().decode(), flush=True)
"""


def text_of(directory: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_worker_that_ended_has_counted_but_has_nothing_in_hand(tmp_path: Path) -> None:
    for worker in (1, 2):
        lines = text_of(tmp_path)
        assert "feast_assets_server_requests_in_hand 7.0" in lines
        assert f"feast_online_features_request_total {3.0 * worker}" in lines
