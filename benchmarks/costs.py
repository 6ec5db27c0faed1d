"""What a million reads, or a million rows, take of processors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.libraries import SIDES
from benchmarks.results import Results, processor_seconds


@dataclass(frozen=True)
class Cost:
    """One row of the document's table of costs.

    Attributes:
        subject: there are a million of.
        seconds: side -> of processors.
    """

    subject: str
    seconds: dict[str, float]


def costs(results: Results) -> Iterator[Cost]:
    """Yields the costs whose figures are among the results."""
    for subject, path, about, per in _COSTED:
        known = {side: _seconds(results, path, side, about, per) for side in SIDES}
        seconds = {side: of_side for side, of_side in known.items() if of_side is not None}
        if seconds:
            yield Cost(subject, seconds)


def redis_told(results: Results, *paths: str) -> str:
    """Says whether the processor time of some paths is that of the Redis server as well."""
    asked = [r for r in results.records if r["path"] in paths and r.get("store") == "redis" and "cpu" in r]
    counted = ["redis_cpu" in r for r in asked]
    if asked and all(counted):
        return "that of the Redis server included"
    return "that of the Redis server included where it was measured" if any(counted) else "Redis' own aside"


def _seconds(results: Results, path: str, side: str, about: dict[str, Any], per: int | None) -> float | None:
    found = [r for r in results.found(path, side, **about) if "cpu" in r]
    if not found:
        return None
    best = min(found, key=processor_seconds)
    # What is materialized is counted in rows of the source.
    count = per if per is not None else best["rows_per_second"] * best["seconds"]
    return processor_seconds(best) / float(count) * 1e6


def _read(store: str, shape: str, entities: int) -> dict[str, Any]:
    return {"store": store, "shape": shape, "entities": entities}


_COSTED: list[tuple[str, str, dict[str, Any], int | None]] = [
    ("reads of one entity, SQLite, narrow", "online_reads", _read("sqlite", "narrow", 1), 1),
    ("reads of one entity, Redis, narrow", "online_reads", _read("redis", "narrow", 1), 1),
    ("entities, 100 a read, SQLite, narrow", "online_reads", _read("sqlite", "narrow", 100), 100),
    ("entities, 100 a read, SQLite, wide", "online_reads", _read("sqlite", "wide", 100), 100),
    ("entities, 100 a read, Redis, wide", "online_reads", _read("redis", "wide", 100), 100),
    ("materialized source rows, SQLite, narrow", "materialization", {"store": "sqlite", "shape": "narrow"}, None),
    ("materialized source rows, Redis, narrow", "materialization", {"store": "redis", "shape": "narrow"}, None),
    ("materialized source rows, SQLite, wide", "materialization", {"store": "sqlite", "shape": "wide"}, None),
    ("materialized source rows, Redis, wide", "materialization", {"store": "redis", "shape": "wide"}, None),
]
