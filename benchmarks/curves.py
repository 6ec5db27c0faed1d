"""The curves of the document: what grows, what it costs, where they bend and why.

What a curve does is read from its figures; why it does so is said in words that no run can make untrue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

from benchmarks.costs import redis_told
from benchmarks.figures import plain
from benchmarks.libraries import FEAST, OURS
from benchmarks.paths import long_spines
from benchmarks.results import Record, Results, processor_seconds
from benchmarks.sizes import SIZES

FLAT = 0.2
"""Of the slope on logarithmic axes; below it, a line counts as flat."""
LESS, MORE = 0.8, 1.2
"""Of the slope; between them, a line grows in proportion."""
NOISE = 1.25
"""Two neighbouring figures that differ by less than this factor are not told apart: a machine is never quite still."""
_STORES = {"sqlite": "SQLite", "redis": "Redis"}


@dataclass(frozen=True)
class Line:
    """One line of a plot: points in order of x."""

    label: str
    points: tuple[tuple[float, float], ...]
    feast: bool = False

    @property
    def name(self) -> str:
        """What it has in common with the line of the other side."""
        return self.label.removesuffix(" (Feast)")


@dataclass(frozen=True)
class Curve:
    """A plot and what is said below it.

    Attributes:
        name: of the picture's file.
        x: what is counted, in the plural.
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
        return [f"{line.label}: {course(line.points, self.unit, self.x)}" for line in self.lines if not line.feast]


Point = tuple[float, float]


def course(points: Sequence[Point], unit: str, x: str = "it") -> str:
    """Says what a line does, stretch by stretch; a bend is where one ends and the next begins.

    Args:
        x: what grows along the line, in the plural.
    """
    if len(points) < 2:
        return f"{plain(points[0][1])} {unit}." if points else "not measured."
    stretches = [list(steps) for _, steps in groupby(pairwise(points), key=lambda step: _kind(*step))]
    return "; then ".join(_stretch(steps[0][0], steps[-1][1], unit, x) for steps in stretches) + "."


def _kind(a: Point, b: Point) -> str:
    if 1 / NOISE < b[1] / a[1] < NOISE:
        return "is flat"
    slope = math.log(b[1] / a[1]) / math.log(b[0] / a[0])
    if slope < -FLAT:
        return "falls"
    if slope < FLAT:
        return "is flat"
    if slope < LESS:
        return "grows less than in proportion"
    return "grows in proportion" if slope <= MORE else "grows more than in proportion"


def _stretch(a: Point, b: Point, unit: str, x: str) -> str:
    """Says what a stretch does from its first point to its last: many steps that are flat may be a rise together."""
    kind, times, most = _kind(a, b), b[1] / a[1], 10**FLAT
    told = f"from {plain(a[0])} to {plain(b[0])} ({plain(a[1])} to {plain(b[1])} {unit})"
    if kind != "is flat" or 1 / most <= times <= most:
        return f"{kind} {told}"
    changed = f"grows {times:.2g}x" if times > 1 else f"falls to 1/{1 / times:.2g}"
    return f"{changed} while {x} grow {plain(b[0] / a[0])}x, {told}"


def curves(results: Results) -> Iterator[Curve]:
    """Yields the curves whose figures are among the results."""
    drawn = (_reads, _materialization, _long_histories, _registry, _costs)
    for curve in (curve for of_kind in drawn for curve in of_kind(results)):
        if any(len(line.points) > 1 for line in curve.lines):
            yield curve


def _line(
    results: Results,
    label: str,
    side: str,
    path: str,
    metric: str,
    x: str,
    scale: float = 1.0,
    value: Callable[[Record], float] | None = None,
    **about: Any,
) -> Line:
    """Returns the line of a metric, of several attempts the best.

    Args:
        value: of a record that has the metric; the metric itself when left out.
    """
    best = max if metric == "rows_per_second" else min
    known: dict[float, float] = {}
    for record in results.found(path, side, **about):
        if metric in record and "stopped" not in record:
            y = (record[metric] if value is None else value(record)) * scale
            known[record[x]] = best(known.get(record[x], y), y)
    return Line(f"{label} (Feast)" if side == FEAST else label, tuple(sorted(known.items())), side == FEAST)


def _drawn(*lines: Line) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.points)


def _read_lines(
    results: Results,
    axis: str,
    stores: Sequence[str],
    metric: str = "p50",
    scale: float = 1e3,
    value: Callable[[Record], float] | None = None,
) -> tuple[Line, ...]:
    return _drawn(
        *(
            _line(
                results,
                f"{_STORES[store]}, {batch} {'entity' if batch == 1 else 'entities'}",
                side,
                "scale_reads",
                metric,
                "x",
                scale,
                value,
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
        "A read looks its keys up in a B-tree (SQLite) or a hash table (Redis), and reads no other rows. A larger "
        "store has a deeper tree and more pages than SQLite keeps in its cache, or a table of more memory than the "
        "processor's caches hold, and a request for many entities meets that once for each of them.",
        _read_lines(results, "entities", ("sqlite", "redis")),
    )
    yield Curve(
        "reads-features",
        "Online reads against features per view",
        "features of the view",
        "p50, ms",
        "ms",
        "A row is one value in the store whatever its features, so a request with few features costs what a request "
        "costs without any. What grows is a Python value for each feature and entity, which `to_dict()` owes. Rows of "
        "some hundred features are also longer than SQLite keeps in one page, and the rest of them is read from "
        "overflow pages.",
        _read_lines(results, "features", ("sqlite",)),
    )
    yield Curve(
        "reads-views",
        "Online reads against views per service",
        "views of the service",
        "p50, ms",
        "ms",
        "Keys are encoded once for all views that share them. What each view adds is a statement (SQLite) and the "
        "decoding of its own rows; `to_dict()` owes a Python value for each feature, view and entity. Redis is asked "
        "once for all, and answers with one reply of a value for each view and entity, which the request waits "
        f"for.{_waiting(results)}",
        _read_lines(results, "views", ("sqlite", "redis")),
    )


def _waiting(results: Results) -> str:
    """Says how much of the longest request of Redis is work of the process that asks."""
    found = [r for r in results.found("scale_reads", OURS, axis="views", store="redis", entities=100) if "cpu" in r]
    if not found:
        return ""
    most = max(found, key=lambda r: float(r["x"]))
    return (
        f" With {most['x']} views and 100 entities, {plain(most['cpu'] * 1e3)} of {plain(most['mean'] * 1e3)} ms "
        "(mean) are processor time of the process that asks; the rest is waiting for the server."
    )


def _materialization(results: Results) -> Iterator[Curve]:
    def line(label: str, side: str, metric: str, axis: str) -> Line:
        return _line(results, label, side, "scale_materialization", metric, "x", axis=axis)

    size = SIZES[results.size]
    window = (
        f"Each point is a window from the start of one file of {size.big_rows:,} rows, sorted by time, of "
        f"{min(size.big_entities, 10_000):,} entities. Row groups outside of the window are not read, and what is "
        "written is at most one row per entity, so from some size on it is the same."
    )
    yield Curve(
        "materialization-rows",
        "Materialization against rows of the source",
        "rows",
        "seconds",
        "s",
        f"{window} Few rows cost what a call costs: opening the source, the ledger, one transaction. With more, it is "
        "DuckDB that reads: once for the windows' statistics, once for the newest row per entity.",
        _drawn(*(line("SQLite", side, "seconds", "rows") for side in (OURS, FEAST))),
    )
    yield Curve(
        "materialization-memory",
        "Peak memory of materialization against rows of the source",
        "rows",
        "MiB",
        "MiB",
        "The windows are those of the curve above. Memory holds the newest row per entity, and what DuckDB buffers "
        "while it scans: the row groups that its threads have in hand, not the rows that it has passed.",
        _drawn(*(line("SQLite", side, "peak_mib", "rows") for side in (OURS, FEAST))),
    )
    yield Curve(
        "materialization-partitions",
        "Materialization of the same rows against partitions",
        "partitions",
        "seconds",
        "s",
        "Neighbouring partitions are read and written in one pass. What each adds is its line of statistics and its "
        "entry in the ledger.",
        _drawn(line("SQLite", OURS, "seconds", "partitions")),
    )
    yield Curve(
        "materialization-cores",
        "Materialization against threads and processes",
        "threads or processes",
        "rows/s",
        "rows/s",
        "Several views of one source, into Redis. The threads are those of a query of DuckDB; a view's statistics, its "
        "newest rows and the writing of the view before are under way at once, so two cores are busy with one thread "
        "and one process already. Encoding and writing stay one after another. Processes share the views: each reads, "
        "encodes and writes its own. All write to one server, which takes one command after another and has no core "
        "of its own. Where there are more threads or processes than cores, they share them.",
        _drawn(*(line(axis, OURS, "rows_per_second", axis) for axis in ("threads", "processes"))),
    )


def _long_histories(results: Results) -> Iterator[Curve]:
    size = SIZES[results.size]
    short = f"Files of {size.file_rows:,} rows, one for each day."

    def incremental(label: str, side: str, metric: str, x: str, **about: Any) -> Line:
        return _line(results, label, side, "incremental", metric, x, verb="incremental", **about)

    def against_history(metric: str) -> tuple[Line, ...]:
        of_files = {"rows": size.file_rows}
        labels = (("nothing new", 0), ("one new file", 1))
        return _drawn(
            *(
                incremental(label, side, metric, "files", new=new, **of_files)
                for side in (OURS, FEAST)
                for label, new in labels
            )
        )

    yield Curve(
        "incremental-history",
        "An incremental run against files of the history",
        "files",
        "seconds",
        "s",
        f"{short} What stays the same is known by what the files say of themselves and is not read; each of them is "
        "looked up in the file system.",
        against_history("seconds"),
    )
    yield Curve(
        "incremental-bytes",
        "What an incremental run reads against files of the history",
        "files",
        "MiB read",
        "MiB",
        f"{short} Counted are all bytes that the process reads, the registry and the online store included.",
        against_history("read_mib"),
    )
    yield Curve(
        "incremental-changes",
        "An incremental run against new files",
        "new files",
        "seconds",
        "s",
        f"After {size.day_files} files of {size.day_rows:,} rows, one for each day. The rows of new files are read, "
        "and the newest of each entity are put.",
        _drawn(
            *(
                _positive(incremental("one view", side, "seconds", "new", files=size.day_files, rows=size.day_rows))
                for side in (OURS, FEAST)
            )
        ),
    )
    for metric, name, y, unit in (
        ("seconds", "spines", "seconds", "s"),
        ("read_mib", "spines-bytes", "MiB read", "MiB"),
    ):
        yield Curve(
            name,
            f"Training data of {long_spines.ROWS:,} rows against files of the history"
            + ("" if metric == "seconds" else ", in bytes read"),
            "files",
            y,
            unit,
            f"{short} The rows are of the last day. Keys and times are read newest first, and no more once each moment "
            "has its row; where an entity has none, those of all files are read. Features are read only of files and "
            "row groups that hold rows of the result.",
            _drawn(
                *(
                    _line(results, spine, side, "long_spines", metric, "files", spine=spine, rows=size.file_rows)
                    for side in (OURS, FEAST)
                    for spine in (long_spines.RECENT, long_spines.UNSEEN)
                )
            ),
        )


def _positive(line: Line) -> Line:
    """Returns a line without the point at zero, which logarithmic axes do not have."""
    return replace(line, points=tuple(point for point in line.points if point[0] > 0))


def _registry(results: Results) -> Iterator[Curve]:
    def lines(*verbs: str) -> tuple[Line, ...]:
        return _drawn(
            *(
                _line(results, verb, side, "registry", "seconds", "views", 1e3, verb=verb)
                for side in (OURS, FEAST)
                for verb in verbs
            )
        )

    yield Curve(
        "registry-apply",
        "Applying definitions against views in the registry",
        "views",
        "ms",
        "ms",
        "The first apply loads SQLAlchemy and makes the registry's tables, whatever the number of views; then it "
        "infers and writes every view. Every later one compares each definition with what is registered, and writes "
        "what changed; one service of all views is compared with each of them as well, and Python's garbage collector "
        "has more objects to look through, the more views there are.",
        lines("apply", "apply unchanged", "apply one changed"),
    )
    yield Curve(
        "registry-reads",
        "Reading definitions against views in the registry",
        "views",
        "ms",
        "ms",
        "A load opens the store and asks for one view; a refresh that is asked for reads one revision whole. Resolving "
        "is what the first request for certain features of three views costs more than the next: it reads the "
        "definitions of its views, unless an earlier request did, checks names, and makes what decodes their rows.",
        lines("load", "refresh", "resolve"),
    )


def _costs(results: Results) -> Iterator[Curve]:
    for axis, x, stores in (
        ("entities", "entities in the store", ("sqlite", "redis")),
        ("features", "features of the view", ("sqlite",)),
        ("views", "views of the service", ("sqlite", "redis")),
    ):
        yield Curve(
            f"cost-{axis}",
            f"Processor seconds of a million reads against {x}",
            x,
            "processor seconds per million reads",
            "s",
            f"Processor time of the process that asks, {redis_told(results, 'scale_reads')}. Unlike the times above, "
            "it leaves out what a request waits for.",
            _read_lines(results, axis, stores, "cpu", 1e6, processor_seconds),
        )
    yield Curve(
        "cost-rows",
        "Processor seconds of a million materialized rows against rows of the source",
        "rows",
        "processor seconds per million rows",
        "s",
        "The windows are those of materialization against rows. What a call costs is shared by more rows, until it is "
        "the reading of each that counts.",
        _drawn(
            *(
                _line(
                    results,
                    "SQLite",
                    side,
                    "scale_materialization",
                    "cpu",
                    "x",
                    1e6,
                    lambda r: processor_seconds(r) / float(r["rows"]),
                    axis="rows",
                )
                for side in (OURS, FEAST)
            )
        ),
    )
