"""The curves of the document: what grows, what it costs, where they bend and why.

What a curve does is read from its figures; why it does so is said here in words, without any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.libraries import FEAST, OURS
from benchmarks.results import Results

FLAT = 0.2
"""Of the slope on logarithmic axes; below it, a line counts as flat."""
_LESS, _MORE = 0.8, 1.2
_STORES = {"sqlite": "SQLite", "redis": "Redis"}


@dataclass(frozen=True)
class Line:
    """One line of a plot: points in order of x."""

    label: str
    points: tuple[tuple[float, float], ...]
    feast: bool = False


@dataclass(frozen=True)
class Curve:
    """A plot and what is said below it.

    Attributes:
        name: of the picture's file.
        unit: of y, "ms", "s", "rows/s" or "MiB".
        why: where it bends, why it does.
    """

    name: str
    title: str
    x: str
    y: str
    unit: str
    why: str
    lines: tuple[Line, ...] = field(default=())

    def told(self) -> list[str]:
        """Returns a sentence for each of our lines: where it is flat, and where and how it grows."""
        return [f"{line.label}: {course(line.points, self.unit)}" for line in self.lines if not line.feast]


def course(points: Sequence[tuple[float, float]], unit: str) -> str:
    """Says what a line does, stretch by stretch; a bend is where one ends and the next begins."""
    if len(points) < 2:
        return f"{_number(points[0][1])} {unit}." if points else "not measured."
    stretches: list[tuple[str, int, int]] = []
    for i in range(1, len(points)):
        kind = _kind(points[i - 1], points[i])
        if stretches and stretches[-1][0] == kind:
            stretches[-1] = (kind, stretches[-1][1], i)
        else:
            stretches.append((kind, i - 1, i))
    return "; then ".join(_stretch(kind, points[a], points[b], unit) for kind, a, b in stretches) + "."


def _kind(a: tuple[float, float], b: tuple[float, float]) -> str:
    slope = math.log(b[1] / a[1]) / math.log(b[0] / a[0])
    if slope < -FLAT:
        return "falls"
    if slope < FLAT:
        return "is flat"
    if slope < _LESS:
        return "grows less than in proportion"
    return "grows in proportion" if slope <= _MORE else "grows more than in proportion"


def _stretch(kind: str, a: tuple[float, float], b: tuple[float, float], unit: str) -> str:
    return f"{kind} from {_number(a[0])} to {_number(b[0])} ({_number(a[1])} to {_number(b[1])} {unit})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def curves(results: Results) -> Iterator[Curve]:
    """Yields the curves whose figures are among the results."""
    for curve in (*_reads(results), *_materialization(results), _registry(results)):
        if any(len(line.points) > 1 for line in curve.lines):
            yield curve


def _line(
    results: Results, label: str, side: str, path: str, metric: str, x: str, scale: float = 1.0, **about: object
) -> Line:
    known: dict[float, float] = {}
    for record in results.found(path, side, **about):
        if metric in record and "stopped" not in record:
            known[record[x]] = min(known.get(record[x], math.inf), record[metric] * scale)
    return Line(f"{label} (Feast)" if side == FEAST else label, tuple(sorted(known.items())), side == FEAST)


def _drawn(*lines: Line) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.points)


def _read_lines(results: Results, axis: str, stores: Sequence[str]) -> tuple[Line, ...]:
    return _drawn(
        *(
            _line(
                results,
                f"{_STORES[store]}, {batch} {'entity' if batch == 1 else 'entities'}",
                side,
                "scale_reads",
                "p50",
                "x",
                1e3,
                axis=axis,
                store=store,
                entities=batch,
            )
            for side in (OURS, FEAST)
            for store in stores
            for batch in (1, 100)
        )
    )


def _reads(results: Results) -> Iterator[Curve]:
    yield Curve(
        "reads-entities",
        "Online reads against entities in the store",
        "entities in the store",
        "p50, ms",
        "ms",
        "A read looks its keys up in a B-tree (SQLite) or a hash table (Redis) and touches nothing else, so it is "
        "flat. What it still grows by, with many keys in one request first, is pages that SQLite no longer has in "
        "its own cache, and rows of Redis that the processor's caches no longer hold.",
        _read_lines(results, "entities", ("sqlite", "redis")),
    )
    yield Curve(
        "reads-features",
        "Online reads against features per view",
        "features of the view",
        "p50, ms",
        "ms",
        "One row is one value whatever its features, so few of them disappear behind the request itself. From where "
        "it bends on, the time is that of making Python values, which `to_dict()` owes for each feature and entity.",
        _read_lines(results, "features", ("sqlite",)),
    )
    yield Curve(
        "reads-views",
        "Online reads against views per service",
        "views of the service",
        "p50, ms",
        "ms",
        "Keys are encoded once for all views that share them, and Redis is asked once for all. What each view adds "
        "is a statement (SQLite) and the decoding of its own rows. Responses of tens of thousands of values also "
        "outgrow the processor's caches, which bends the lines of many entities upwards.",
        _read_lines(results, "views", ("sqlite", "redis")),
    )


def _materialization(results: Results) -> Iterator[Curve]:
    def line(label: str, side: str, metric: str, axis: str) -> Line:
        return _line(results, label, side, "scale_materialization", metric, "x", axis=axis)

    yield Curve(
        "materialization-rows",
        "Materialization against rows of the source",
        "rows",
        "seconds",
        "s",
        "Few rows cost what a call costs: opening the source, the ledger, one transaction. From the bend on it is "
        "DuckDB that reads: once for the windows' statistics, once for the newest row per entity.",
        _drawn(*(line("SQLite", side, "seconds", "rows") for side in (OURS, FEAST))),
    )
    yield Curve(
        "materialization-memory",
        "Peak memory of materialization against rows of the source",
        "rows",
        "MiB",
        "MiB",
        "Memory holds one row per entity and what DuckDB buffers while it scans, not the rows themselves.",
        _drawn(*(line("SQLite", side, "peak_mib", "rows") for side in (OURS, FEAST))),
    )
    yield Curve(
        "materialization-partitions",
        "Materialization of the same rows against partitions",
        "partitions",
        "seconds",
        "s",
        "Neighbouring partitions are read and written in one pass. What each adds is its line of statistics and its "
        "entry in the ledger, which show once there are very many.",
        _drawn(line("SQLite", OURS, "seconds", "partitions")),
    )
    yield Curve(
        "materialization-cores",
        "Materialization against threads and processes",
        "threads, or processes",
        "rows/s",
        "rows/s",
        "Threads share the reading, which DuckDB divides; encoding and writing stay one after the other, so the line "
        "bends before the cores are used up. Processes share everything, but each brings its own start; beyond the "
        "machine's cores neither gains.",
        _drawn(
            line("threads, SQLite", OURS, "rows_per_second", "threads"),
            line("processes, Redis", OURS, "rows_per_second", "processes"),
        ),
    )


def _registry(results: Results) -> Curve:
    verbs = ("apply", "apply unchanged", "apply one changed", "load", "refresh", "resolve")
    lines = [
        _line(results, verb, side, "registry", "seconds", "views", 1e3, verb=verb)
        for side in (OURS, FEAST)
        for verb in (verbs if side == OURS else verbs[:4])
    ]
    return Curve(
        "registry-views",
        "Definitions against views in the registry",
        "views",
        "ms",
        "ms",
        "Applying compares every definition with what is registered, so it follows their number; here one service of "
        "all views is compared with each of them as well, and Python's garbage collector looks through more objects, "
        "which bends the line upwards. What is written, and what a request resolves, follows what changed and what is "
        "asked for. Loading reads one revision whole, and so does a refresh that is asked for.",
        _drawn(*lines),
    )
