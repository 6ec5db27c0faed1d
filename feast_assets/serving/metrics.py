"""What a feature server counts, for Prometheus, under Feast's names.

Of several workers, each keeps its numbers in files of one directory (`DIRECTORY_VARIABLE`), from which any of them
answers for all. That variable must be set before this module is imported.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    start_http_server,
)

from feast_assets.online_stores.rows.codec import PRESENT
from feast_assets.retrieval.response import STATUS_NAMES

if TYPE_CHECKING:
    from feast_assets.retrieval.response import OnlineResponse

_Key = TypeVar("_Key")

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_READS = (0.001, *_LATENCIES)
_ENTITIES = (1, 5, 10, 25, 50, 100, 250, 500, 1000)
_RUNS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_FEATURE_BINS = (10, 50, 200)


class ServerMetrics:
    """The metrics of one process. Each instance has a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "feast_feature_server_request_total",
            "Requests to the feature server",
            ["endpoint", "status"],
            registry=registry,
        )
        self.latencies = Histogram(
            "feast_feature_server_request_latency_seconds",
            "Time from the request to its answer, in seconds",
            ["endpoint", "feature_count", "feature_view_count"],
            buckets=_LATENCIES,
            registry=registry,
        )
        self.refused = Counter(
            "feast_assets_server_refused_total",
            "Requests that were answered 503 because the server had as much in hand as it takes",
            registry=registry,
        )
        self.in_hand = Gauge(
            "feast_assets_server_requests_in_hand",
            "Requests that are being answered",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.online_requests = Counter(
            "feast_online_features_request_total", "Requests for online features", registry=registry
        )
        self.entities = Histogram(
            "feast_online_features_entity_count",
            "Entities of a request for online features",
            buckets=_ENTITIES,
            registry=registry,
        )
        self.statuses = Counter(
            "feast_online_features_status_total",
            "Feature values by their status and feature view",
            ["feature_view", "status"],
            registry=registry,
        )
        self.reads = Histogram(
            "feast_feature_server_online_store_read_duration_seconds",
            "Time of online reads: the store's answer, and decoding it",
            buckets=_READS,
            registry=registry,
        )
        self.pushes = Counter("feast_push_request_total", "Pushes", ["push_source", "mode"], registry=registry)
        self.materializations = Counter(
            "feast_materialization_result_total",
            "Materializations by feature view and outcome",
            ["feature_view", "status"],
            registry=registry,
        )
        self.materialization_seconds = Histogram(
            "feast_materialization_duration_seconds",
            "Duration of a materialization, in seconds",
            ["feature_view"],
            buckets=_RUNS,
            registry=registry,
        )
        self.logged = Counter(
            "feast_assets_logged_answers_total",
            "Answers that were drawn for the log of a feature service, by what has become of them",
            ["outcome"],
            registry=registry,
        )
        self.registry_revision = Gauge(
            "feast_assets_registry_revision",
            "Revision of the definitions in memory, the lowest of all workers",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.registry_age = Gauge(
            "feast_assets_registry_age_seconds",
            "Seconds since the registry last answered, the most of all workers",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.cpu = Gauge(
            "feast_feature_server_cpu_usage",
            "Processor time of the process, in percent of one processor",
            registry=registry,
            multiprocess_mode="liveall",
        )
        self.memory = Gauge(
            "feast_feature_server_memory_usage",
            "Memory of the process, in percent of the machine's",
            registry=registry,
            multiprocess_mode="liveall",
        )
        self._processor = _ProcessorShare()
        # What was counted since `flush`: counting here costs a tenth of what it does in Prometheus's own metrics.
        self._request_counts: dict[tuple[str, str], int] = {}
        self._latency_tallies: dict[tuple[str, int, int], _Tally] = {}
        self._status_counts: dict[tuple[str, int], int] = {}
        self._entity_tally = _Tally(_ENTITIES)
        self._read_tally = _Tally(_READS)

    def request(self, endpoint: str, ok: bool, seconds: float, features: int = 0, views: int = 0) -> None:
        """Counts a request that was answered."""
        counted = (endpoint, "success" if ok else "error")
        self._request_counts[counted] = self._request_counts.get(counted, 0) + 1
        tally = self._latency_tallies.get((endpoint, features, views))
        if tally is None:
            tally = self._latency_tallies[endpoint, features, views] = _Tally(_LATENCIES)
        tally.add(seconds)

    def online_features(self, response: OnlineResponse, seconds: float) -> None:
        """Counts an online read: its entities, and its values by view and status.

        Args:
            seconds: how long the read took.
        """
        rows = len(response)
        self._entity_tally.add(rows)
        self._read_tally.add(seconds)
        shape = response.shape
        for view, (names, positions), read in zip(shape.views, shape.of_reads, response.reads, strict=True):
            features = read.features
            if features.all_present:
                self._values(view, PRESENT, rows * len(names))
                continue
            counts = [0] * len(STATUS_NAMES)
            for index in range(len(names)) if positions is None else positions:
                of_feature = features.statuses(index)
                for status in set(of_feature):
                    counts[status] += of_feature.count(status)
            for status, count in enumerate(counts):
                if count:
                    self._values(view, status, count)

    def materialized(self, view: str, outcome: str, seconds: float) -> None:
        """Counts a run of one view, which was a ``success`` or a ``failure``."""
        self.materializations.labels(view, outcome).inc()
        self.materialization_seconds.labels(view).observe(seconds)

    def answers_logged(self, outcome: str, answers: int) -> None:
        """Counts answers that were to be logged, and what has become of them."""
        self.logged.labels(outcome).inc(answers)

    def measure_process(self) -> None:
        """Takes the processor time and the memory of this process."""
        self.cpu.set(self._processor.percent())
        self.memory.set(_memory_percent())

    def text(self) -> bytes:
        """Returns all metrics in Prometheus's text format, those of all workers together; `flush` comes first."""
        if DIRECTORY_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        return generate_latest(_of_all_workers())

    def flush(self) -> None:
        """Hands over what was counted to Prometheus's metrics."""
        for (endpoint, status), count in self._taken(self._request_counts):
            self.requests.labels(endpoint, status).inc(count)
        for (view, number), count in self._taken(self._status_counts):
            self.statuses.labels(view, STATUS_NAMES[number].lower()).inc(count)
        latencies, self._latency_tallies = self._latency_tallies, {}
        for (endpoint, features, views), tally in latencies.items():
            labels = (endpoint, _binned(features), str(views)) if views else (endpoint, "", "")
            tally.hand_over(self.latencies.labels(*labels))
        self.online_requests.inc(self._entity_tally.count)
        self._entity_tally.hand_over(self.entities)
        self._read_tally.hand_over(self.reads)

    @staticmethod
    def _taken(counts: dict[_Key, int]) -> list[tuple[_Key, int]]:
        taken = list(counts.items())
        counts.clear()
        return taken

    def _values(self, view: str, status: int, count: int) -> None:
        self._status_counts[view, status] = self._status_counts.get((view, status), 0) + count


class _Tally:
    """Observations of a histogram, by bucket, until they are handed over.

    Attributes:
        count: how many there are.
    """

    __slots__ = ("_bounds", "_counts", "_sum", "count")

    def __init__(self, bounds: Sequence[float]):
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self.count += 1

    def hand_over(self, histogram: Histogram) -> None:
        """Adds the observations to a histogram with the same buckets, and begins anew."""
        if self.count:
            # As its `observe` does, which takes one at a time.
            histogram._sum.inc(self._sum)
            for bucket, count in zip(histogram._buckets, self._counts, strict=True):
                if count:
                    bucket.inc(count)
        self._counts = [0] * len(self._counts)
        self._sum = 0.0
        self.count = 0


def start_listener(host: str, port: int, metrics: ServerMetrics | None) -> tuple[int, Callable[[], None]]:
    """Serves metrics by HTTP in a thread.

    Args:
        metrics: what is served; None for those of all workers.

    Returns:
        the port, and what ends it.

    Raises:
        OSError: the address cannot be used.
    """
    registry = _of_all_workers() if metrics is None else metrics.registry
    server, thread = start_http_server(port, host, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, stop


class _LiveWorkers(multiprocess.MultiProcessCollector):
    """The metrics of all workers. What a worker has in hand, and how fresh it is, ends with it."""

    def collect(self) -> Any:
        directory = Path(os.environ[DIRECTORY_VARIABLE])
        for pid in {file.stem.rpartition("_")[2] for file in directory.glob("gauge_live*_*.db")}:
            if pid.isdecimal() and not _is_running(int(pid)):
                # Another worker may be doing the same.
                with contextlib.suppress(FileNotFoundError):
                    multiprocess.mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        return super().collect()  # type: ignore[no-untyped-call]


def _of_all_workers() -> CollectorRegistry:
    registry = CollectorRegistry()
    _LiveWorkers(registry)  # type: ignore[no-untyped-call]
    return registry


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _binned(count: int) -> str:
    """Returns the range that a number of features is in, as Feast labels it."""
    lowest = 1
    for highest in _FEATURE_BINS:
        if count <= highest:
            return f"{lowest}-{highest}"
        lowest = highest + 1
    return f"{lowest}+"


class _ProcessorShare:
    """How much of one processor this process used since it was last asked."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), time.process_time())

    def percent(self) -> float:
        now = (time.monotonic(), time.process_time())
        elapsed, used = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return 100 * used / elapsed if elapsed > 0 else 0.0


def _memory_percent() -> float:
    page = resource.getpagesize()
    total = os.sysconf("SC_PHYS_PAGES") * page
    try:
        with open("/proc/self/statm", encoding="ascii") as statistics:
            used = int(statistics.read().split()[1]) * page
    except OSError:  # not Linux: the most that it had
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 100 * used / total
