"""Requests to a feature server over HTTP, from ``wrk`` with eight connections, beside a bare ASGI route.

Each side's server is a process of its own with one worker, over the benchmark's own Redis.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bare_server import VARIABLE
from benchmarks.datasets import Shape, feature_names
from benchmarks.feature_repository import materialized
from benchmarks.jobs import Job, Workplace, library_of, redis_database
from benchmarks.libraries import BARE, FEAST, SIDES
from benchmarks.measuring import Metrics
from benchmarks.paths.materialization import workspace
from benchmarks.paths.online_reads import filled_by_hand
from benchmarks.shapes import narrow
from benchmarks.sizes import Size

BATCHES = (1, 10, 100)
CONNECTIONS = 8
_STORE = "redis"
_START_SECONDS = 60.0
_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

# What wrk sends: other entities each time.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
math.randomseed(7)
function request()
  local ids = {{}}
  for i = 1, {batch} do ids[i] = math.random(0, {last}) end
  return wrk.format(nil, "/get-online-features", nil,
    '{{"features":{features},"entities":{{"{key}":[' .. table.concat(ids, ",") .. ']}}}}')
end
"""


def jobs(size: Size) -> Iterator[Job]:
    if shutil.which("wrk") is None:
        return
    shape = narrow(size)
    for side in SIDES:
        yield Job("serving", side, {"store": _STORE}, shape, workspace=workspace(_STORE, shape), verbs=1 + len(BATCHES))


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape = job.shape
    assert shape is not None
    with server(job, place, shape) as (url, pid):
        for batch in BATCHES:
            yield {"entities": batch, **load(url, pid, shape, batch, place.directory, place.size.read_seconds)}


@contextlib.contextmanager
def server(job: Job, place: Workplace, shape: Shape) -> Iterator[tuple[str, int]]:
    """Yields the URL and the process id of a side's server, once it answers."""
    port = _free_port()
    environment = dict(os.environ)
    if job.side == BARE:
        filled_by_hand(_STORE, place, shape)
        about = {
            "redis": place.redis,
            "database": redis_database(BARE),
            "prefix": shape.name,
            "views": list(shape.names),
            "features": shape.features,
            "key": shape.key,
        }
        environment |= {VARIABLE: json.dumps(about), "PYTHONPATH": str(_ROOT)}
        words = ["-m", "uvicorn", "--factory", "benchmarks.bare_server:application", "--no-access-log"]
        command = [sys.executable, *words, "--log-level", "error", "--host", "127.0.0.1", "--port", str(port)]
    else:
        store = materialized(library_of(job), place.directory, shape, place.data, place.online_store(_STORE, job.side))
        if job.side != FEAST:
            store.close()
        name = "feast" if job.side == FEAST else "feast-assets"
        program = str(Path(sys.executable).with_name(name))
        command = [program, "-c", str(place.directory), "serve", "--port", str(port), "--no-access-log"]
    # A group of its own, since Feast's server is several processes.
    with subprocess.Popen(  # noqa: S603
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _await_answer(url, process)
            yield url, process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def load(url: str, pid: int, shape: Shape, batch: int, directory: Path, seconds: float) -> Metrics:
    """Sends requests for so many entities as fast as they are answered.

    Args:
        pid: the server's, whose processor time is measured.
    """
    references = [f"{view}:{name}" for view in shape.names for name in feature_names(shape.features)]
    script = directory / f"serving-{batch}.lua"
    script.write_text(
        _SCRIPT.format(batch=batch, last=shape.entities - 1, features=json.dumps(references), key=shape.key),
        encoding="utf-8",
    )
    _wrk(url, script, 1)
    before = processor_seconds(pid)
    told = _wrk(url, script, max(1, round(2 * seconds)))
    used = processor_seconds(pid) - before
    requests = int(_found(r"(\d+) requests in", told))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    return {
        "requests_per_second": float(_found(r"Requests/sec:\s+([\d.]+)", told)),
        "requests": requests,
        "not_ok": int(failed[1]) if failed else 0,
        "cpu": used / requests,
        "p50": _latency("50", told),
        "p99": _latency("99", told),
    }


def _wrk(url: str, script: Path, seconds: int) -> str:
    words = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "30", "--latency", "-s", str(script), url]
    return subprocess.run(["wrk", *words], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said something else than expected: {text}")
    return match[1]


def _latency(share: str, text: str) -> float:
    value = _found(rf"{share}%\s+([\d.]+(?:us|ms|s|m))", text)
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", value).groups()  # type: ignore[union-attr]
    return float(number) * _SECONDS[unit]


def processor_seconds(pid: int) -> float:
    """Returns the processor seconds that a process and its children have used so far."""
    ticks = 0
    for each in (pid, *_children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> Iterator[int]:
    for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(text)
        yield from _children(int(text))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url + "/health", timeout=5):  # noqa: S310 - the benchmark's own server
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start at {url}.") from None
            time.sleep(0.05)
