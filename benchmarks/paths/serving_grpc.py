"""Requests to the feature server over gRPC, beside the same requests over HTTP, eight connections each.

Both servers are processes of their own with one worker, over one store. They are measured by turns, as what else the
machine does changes.
"""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.datasets import Shape, feature_names
from benchmarks.jobs import Job, Workplace
from benchmarks.libraries import OURS
from benchmarks.measuring import Metrics
from benchmarks.paths import serving
from benchmarks.paths.materialization import workspace
from benchmarks.shapes import narrow
from benchmarks.sizes import Size

ROUNDS = 3
_STORE = "redis"
_CLIENT = Path(__file__).resolve().parents[2] / "clients" / "go"


def jobs(size: Size) -> Iterator[Job]:
    if shutil.which("wrk") is None or shutil.which("go") is None:
        return
    shape = narrow(size)
    verbs = 1 + 2 * ROUNDS * len(serving.BATCHES)
    yield Job("serving_grpc", OURS, {"store": _STORE}, shape, workspace=workspace(_STORE, shape), verbs=verbs)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape = job.shape
    assert shape is not None
    load = place.directory / "grpc-load"
    subprocess.run(["go", "build", "-o", str(load), "./internal/load"], cwd=_CLIENT, check=True)  # noqa: S603, S607
    seconds = place.size.read_seconds
    with ExitStack() as stack:
        url, pid_of_http = stack.enter_context(serving.server(replace(job, path="serving"), place, shape))
        target, pid = stack.enter_context(_listening(place))
        for batch in serving.BATCHES:
            over_http, over_grpc = [], []
            for _ in range(ROUNDS):
                over_http.append(serving.load(url, pid_of_http, shape, batch, place.directory, seconds))
                over_grpc.append(_load(load, target, pid, shape, batch, seconds))
            beside = {f"http_{name}": _middle(over_http, name) for name in ("requests_per_second", "cpu", "p50", "p99")}
            own = {name: _middle(over_grpc, name) for name in ("requests_per_second", "cpu", "p50", "p99")}
            yield {"entities": batch, **own, **beside, "not_ok": sum(int(each["not_ok"]) for each in over_grpc)}


def _middle(measured: list[Any], name: str) -> float:
    return float(statistics.median(each[name] for each in measured))


@contextmanager
def _listening(place: Workplace) -> Iterator[tuple[str, int]]:
    """Yields the address and the process id of the gRPC server."""
    program = str(Path(sys.executable).with_name("feast-assets"))
    command = [program, "-c", str(place.directory), "listen", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "Serving features on grpc://" in line:
                    yield line.rpartition("grpc://")[2].strip(), process.pid
                    return
            raise RuntimeError("The gRPC server did not start.")
        finally:
            process.send_signal(signal.SIGTERM)


def _load(program: Path, target: str, pid: int, shape: Shape, batch: int, seconds: float) -> dict[str, Any]:
    references = ",".join(f"{view}:{name}" for view in shape.names for name in feature_names(shape.features))
    words = [str(program), "-target", target, "-connections", str(serving.CONNECTIONS), "-features", references]
    words += ["-key", shape.key, "-batch", str(batch), "-last", str(shape.entities - 1)]

    def run(duration: float) -> dict[str, Any]:
        done = subprocess.run([*words, "-seconds", str(duration)], capture_output=True, text=True, check=True)  # noqa: S603
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    run(1)
    before = serving.processor_seconds(pid)
    told = run(max(1, round(2 * seconds)))
    used = serving.processor_seconds(pid) - before
    return {**told, "requests_per_second": told["requests"] / told["seconds"], "cpu": used / told["requests"]}
