"""Clocks and memory: how often a verb is run, and which figures are kept of it."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Metrics = dict[str, Any]
_WARM_SECONDS = 0.5
_LOOK_SECONDS = 0.1


def peak_memory() -> float:
    """Returns this process's peak resident memory so far, in MiB."""
    # Not ru_maxrss, which begins with what the parent process had when it started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not say what the peak memory was; the benchmark needs Linux.")


def bytes_read() -> int:
    """Returns how many bytes this process has read so far, from files or from the system's cache of them."""
    return int(Path("/proc/self/io").read_text().split()[1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the value that a share of the ordered samples does not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def summary(seconds: Sequence[float], cpu_seconds: float) -> Metrics:
    """Returns the figures of samples of one verb, all in seconds."""
    ordered = sorted(seconds)
    return {
        "samples": len(ordered),
        "p50": percentile(ordered, 0.50),
        "p99": percentile(ordered, 0.99),
        "mean": sum(ordered) / len(ordered),
        "best": ordered[0],
        "cpu": cpu_seconds / len(ordered),
    }


def sampled(
    verb: Callable[[Any], Any], inputs: Sequence[Any], at_least: int, seconds: float, at_most: int = 10**9
) -> Metrics:
    """Times a verb, once for each input by turns, until there are samples enough and the time is over.

    A few untimed calls come first, so that connections and caches are there.
    """
    warm = time.perf_counter() + _WARM_SECONDS
    for each in inputs[:3]:
        if time.perf_counter() < warm:
            verb(each)
    gc.collect()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    before = time.process_time()
    while len(times) < at_least or (time.perf_counter() < deadline and len(times) < at_most):
        given = inputs[len(times) % len(inputs)]
        start = time.perf_counter()
        verb(given)
        times.append(time.perf_counter() - start)
    return summary(times, time.process_time() - before)


def timed(verb: Callable[[], Any]) -> tuple[Metrics, Any]:
    """Runs a verb once; returns its seconds, its processor seconds and its result."""
    gc.collect()
    cpu, start = time.process_time(), time.perf_counter()
    result = verb()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}, result


def fastest(
    verb: Callable[[], Any],
    at_most: int,
    seconds: float,
    answer: Callable[[Any], float] | None = None,
    at_least: int = 1,
) -> Metrics:
    """Runs a verb until it was run often enough or long enough; returns the figures of the fastest run.

    Args:
        answer: says a result in one number, by which it is compared with those of other sides.

    The peak memory is that of the first run.
    """
    first, result = timed(verb)
    first["peak_mib"] = peak_memory()
    told = {} if answer is None else {"answer": answer(result)}
    del result
    runs = [first]
    while len(runs) < at_least or (len(runs) < at_most and sum(run["seconds"] for run in runs) < seconds):
        run, result = timed(verb)
        del result
        runs.append(run)
    best = min(runs, key=lambda run: run["seconds"])
    return {**best, **told, "runs": len(runs), "first": first["seconds"], "peak_mib": first["peak_mib"]}


@contextlib.contextmanager
def watched(directory: Path) -> Iterator[list[float]]:
    """Gives the most MiB that the files below a directory are seen to take while the block runs."""
    most, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            sizes = []
            for file in directory.rglob("*"):
                with contextlib.suppress(OSError):
                    sizes.append(file.stat().st_size)
            most[0] = max(most[0], sum(sizes) / 2**20)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


async def concurrently(verb: Callable[[int], Awaitable[Any]], at_once: int, seconds: float) -> Metrics:
    """Keeps so many requests under way on the running event loop; returns requests per second."""
    import asyncio

    await asyncio.gather(*(verb(i) for i in range(at_once)))
    done = 0
    cpu, start = time.process_time(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        await asyncio.gather(*(verb(done + i) for i in range(at_once)))
        done += at_once
    passed = time.perf_counter() - start
    return {"requests_per_second": done / passed, "requests": done, "cpu": (time.process_time() - cpu) / done}
