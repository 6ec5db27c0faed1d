"""What was aimed at, and whether it was met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.libraries import BARE, FEAST, OURS, SIDES
from benchmarks.paths import long_spines, pushes
from benchmarks.paths.materialization import PULL_LATEST, TWO_STEPS
from benchmarks.paths.online_reads import BATCHES
from benchmarks.results import DEFAULT, Figure, Results
from benchmarks.shapes import narrow, wide
from benchmarks.sizes import SIZES

# How many times faster than Feast, by entities of a request.
_READS = {
    ("sqlite", "narrow"): dict(zip(BATCHES, (3, 8, 20, 25), strict=True)),
    ("redis", "narrow"): dict(zip(BATCHES, (2, 5, 20, 25), strict=True)),
    ("sqlite", "wide"): dict(zip(BATCHES, (8, 20, 25, 30), strict=True)),
    ("redis", "wide"): dict(zip(BATCHES, (8, 20, 25, 30), strict=True)),
}
_READS_BESIDE_BARE = 2.0
_ASYNC = 10.0
# How many times the requests per second of Feast's server, by entities of a request; 0.8 of a bare route's.
_SERVING = {1: 10.0, 10: 12.0, 100: 25.0}
_SERVING_BESIDE_BARE = 1 / 0.8
# What part of the requests per second over HTTP gRPC answers, by entities of a request.
_GRPC_BESIDE_HTTP = {1: 0.4, 100: 0.8}
_MATERIALIZE = {"narrow": 10.0, "wide": 15.0}
_MATERIALIZE_BESIDE_BARE = 1.5
_HISTORICAL = {"narrow": 5.0, "wide": 8.0, "shallow": 8.0}
_HISTORICAL_BESIDE_BARE = 1.3
_PUSH = 3.0
_PUSH_BESIDE_BARE = 3.0
_PUSHES_BESIDE_BARE = 1.5
_INCREMENTAL = 30.0
_NOTHING_NEW_SECONDS = 0.06
_NOTHING_NEW_MIB = 1.0
_READ_BESIDE_NEW = 1.3
_LONG_HISTORY = 1.5
_SPINE_BESIDE_BARE = 1.3
_SPINE_MIB = 10.0
_LEDGER_SECONDS = 0.3
_LEDGER_TICK_SECONDS = 0.5
_LEDGER_MIB = 120.0
_DEFINITIONS = 1.0
_MEMORY = {"narrow": 2.0, "wide": 3.0}
_APPLY = 10.0
_FIRST_FEATURE = 8.0
_IMPORT_SECONDS = 0.25
_DAGSTER_RUN = 1.15
_DAGSTER_LOAD_SECONDS = 1.0
_TICK_SECONDS = 2.0


@dataclass(frozen=True)
class Goal:
    """One row of the document's tables.

    Attributes:
        group: the table.
        unit: "s", "MiB" or "/s"; of the figures.
        feast_goal: how many times better than Feast; None where that is no goal.
        bare_goal: how many times worse than the bare engine at most.
        most: an absolute goal.
        completes: whether the goal is that it comes to its end at all.
        second: side -> another figure of the same measurement, of what `SECOND` names for the group.
    """

    group: str
    subject: str
    unit: str
    ours: Figure
    feast: Figure | None = None
    feast_goal: float | None = None
    bare: Figure | None = None
    bare_goal: float | None = None
    most: float | None = None
    completes: bool = False
    second: dict[str, float] = field(default_factory=dict)

    @property
    def beside_feast(self) -> float | None:
        """How many times better than Feast; None where it took all memory, so that its time is unknown."""
        if self.feast is None or (self.feast.stopped == "memory" and self.unit != "MiB"):
            return None
        return self.ours.value / self.feast.value if self.unit == "/s" else self.feast.value / self.ours.value

    @property
    def beside_bare(self) -> float | None:
        """How many times worse than the bare engine."""
        if self.bare is None:
            return None
        return self.bare.value / self.ours.value if self.unit == "/s" else self.ours.value / self.bare.value

    @property
    def met(self) -> bool | None:
        """Whether all that was aimed at and measured was met; None where nothing was."""
        met = []
        if self.feast_goal is not None and self.beside_feast is not None:
            met.append(self.beside_feast >= self.feast_goal)
        if self.bare_goal is not None and self.beside_bare is not None:
            met.append(self.beside_bare <= self.bare_goal)
        if self.completes:
            met.append(True)
        if self.most is not None:
            met.append(self.ours.value <= self.most)
        return all(met) if met else None


READS = "Online reads"
SERVING = "Feature server"
MATERIALIZATION = "Materialization"
PUSHES = "Pushes"
HISTORICAL = "Training data"
HISTORIES = "Long histories"
MEMORY = "Peak memory"
REGISTRY = "Definitions and first use"
DAGSTER = "Dagster runs"
DAGSTER_LOADING = "Dagster's loading and ticks"
SECOND = {READS: "p99", SERVING: "p99", PUSHES: "p99", MATERIALIZATION: "rows/s", HISTORICAL: "rows/s"}
"""What the second figure of each side is, by table."""


def goals(results: Results) -> Iterator[Goal]:
    """Yields the goals whose figures are among the results."""
    yield from _reads(results)
    yield from _serving(results)
    yield from _serving_grpc(results)
    yield from _materialization(results)
    yield from _pushes(results)
    yield from _historical(results)
    yield from _long_histories(results)
    yield from _memory(results)
    yield from _registry(results)
    yield from _dagster(results)
    yield from _dagster_loading(results)


def _tails(results: Results, path: str, **about: Any) -> dict[str, float]:
    known = {side: results.tail(path, side, **about) for side in SIDES}
    return {side: tail for side, tail in known.items() if tail is not None}


def _rates(results: Results, path: str, setting: str = DEFAULT, **about: Any) -> dict[str, float]:
    """Returns rows per second of each side that came to its end, of the fastest attempt.

    Args:
        setting: of Feast.
    """
    rates = {}
    for side in SIDES:
        found = results.found(path, side, setting=setting if side == FEAST else DEFAULT, **about)
        of_side = [r["rows_per_second"] for r in found if "rows_per_second" in r and "stopped" not in r]
        if of_side:
            rates[side] = max(of_side)
    return rates


def _reads(results: Results) -> Iterator[Goal]:
    for (store, shape), aims in _READS.items():
        for batch, aim in aims.items():
            about = {"store": store, "shape": shape, "entities": batch}
            if ours := results.figure("online_reads", OURS, "p50", **about):
                yield Goal(
                    READS,
                    f"{_STORES[store]}, {shape}, {batch}",
                    "s",
                    ours,
                    results.figure("online_reads", FEAST, "p50", **about),
                    aim,
                    results.figure("online_reads", BARE, "p50", **about),
                    _READS_BESIDE_BARE,
                    second=_tails(results, "online_reads", **about),
                )
    for store in ("redis", "sqlite"):
        if ours := results.figure("async_reads", OURS, "requests_per_second", store=store):
            feast, bare = (
                results.figure("async_reads", side, "requests_per_second", store=store) for side in (FEAST, BARE)
            )
            yield Goal(READS, f"{_STORES[store]}, narrow, 64 requests at once", "/s", ours, feast, _ASYNC, bare)


def _serving(results: Results) -> Iterator[Goal]:
    for batch, aim in _SERVING.items():
        about: dict[str, Any] = {"store": "redis", "entities": batch}
        if ours := results.figure("serving", OURS, "requests_per_second", **about):
            feast, bare = (results.figure("serving", side, "requests_per_second", **about) for side in (FEAST, BARE))
            subject = f"Redis, narrow, {batch} {'entity' if batch == 1 else 'entities'}, 8 connections"
            yield Goal(
                SERVING,
                subject,
                "/s",
                ours,
                feast,
                aim,
                bare,
                _SERVING_BESIDE_BARE,
                second=_tails(results, "serving", **about),
            )


def _serving_grpc(results: Results) -> Iterator[Goal]:
    for batch, part in _GRPC_BESIDE_HTTP.items():
        about: dict[str, Any] = {"store": "redis", "entities": batch}
        if ours := results.figure("serving_grpc", OURS, "requests_per_second", **about):
            over_http = results.figure("serving_grpc", OURS, "http_requests_per_second", **about)
            subject = f"gRPC, {batch} {'entity' if batch == 1 else 'entities'}; bare: our server over HTTP"
            yield Goal(SERVING, subject, "/s", ours, bare=over_http, bare_goal=1 / part)


def _materialization(results: Results) -> Iterator[Goal]:
    for shape, aim in _MATERIALIZE.items():
        for store, told in _STORES.items():
            about: dict[str, Any] = {"store": store, "shape": shape}
            if ours := results.figure("materialization", OURS, "seconds", **about):
                feast, bare = (results.figure("materialization", s, "seconds", **about) for s in (FEAST, BARE))
                yield Goal(
                    MATERIALIZATION,
                    f"{told}, {shape}",
                    "s",
                    ours,
                    feast,
                    aim,
                    bare,
                    _MATERIALIZE_BESIDE_BARE,
                    second=_rates(results, "materialization", **about),
                )
                if other := results.figure("materialization", FEAST, "seconds", setting=PULL_LATEST, **about):
                    rates = _rates(results, "materialization", PULL_LATEST, **about)
                    yield Goal(MATERIALIZATION, _with_setting(f"{told}, {shape}"), "s", ours, other, second=rates)
                if by_hand := results.figure("materialization", BARE, "seconds", setting=TWO_STEPS, **about):
                    yield Goal(MATERIALIZATION, f"{told}, {shape}, bare in {TWO_STEPS}", "s", ours, bare=by_hand)


def _with_setting(subject: str) -> str:
    return f"{subject}, Feast with {PULL_LATEST}"


def _pushes(results: Results) -> Iterator[Goal]:
    for store, told in _STORES.items():
        for verb, given, rows in pushes.CASES:
            about = {"store": store, "verb": verb, "given": given, "rows": rows}
            if ours := results.figure("pushes", OURS, "p50", **about):
                feast, bare = (results.figure("pushes", side, "p50", **about) for side in (FEAST, BARE))
                tails = _tails(results, "pushes", **about)
                subject = f"{told}, {verb} of {'one row' if rows == 1 else f'{rows:,} rows'}, {given}"
                at_most = _PUSH_BESIDE_BARE if rows == 1 else _PUSHES_BESIDE_BARE
                yield Goal(PUSHES, subject, "s", ours, feast, _PUSH if rows == 1 else None, bare, at_most, second=tails)


def _long_histories(results: Results) -> Iterator[Goal]:
    size = SIZES[results.size]
    of_files = {"files": size.day_files, "rows": size.day_rows}
    history = f"{size.day_files} files of {size.day_rows:,} rows"
    about: dict[str, Any] = {**of_files, "verb": "incremental", "new": 0}
    if ours := results.figure("incremental", OURS, "seconds", **about):
        feast = results.figure("incremental", FEAST, "seconds", **about)
        told = f"{history}, incremental, nothing new"
        yield Goal(HISTORIES, told, "s", ours, feast, most=_NOTHING_NEW_SECONDS)
        if read := results.figure("incremental", OURS, "read_mib", **about):
            of_feast = results.figure("incremental", FEAST, "read_mib", **about)
            yield Goal(HISTORIES, f"{told}: read", "MiB", read, of_feast, most=_NOTHING_NEW_MIB)
    about["new"] = 1
    if ours := results.figure("incremental", OURS, "seconds", **about):
        feast = results.figure("incremental", FEAST, "seconds", **about)
        told = f"{history}, incremental, one new file"
        yield Goal(HISTORIES, told, "s", ours, feast, _INCREMENTAL)
        read, new = (results.figure("incremental", OURS, metric, **about) for metric in ("read_mib", "new_mib"))
        if read and new:
            of_feast = results.figure("incremental", FEAST, "read_mib", **about)
            subject = f"{told} of {new.value:.1f} MiB: read, beside the file"
            yield Goal(HISTORIES, subject, "MiB", read, of_feast, bare=new, bare_goal=_READ_BESIDE_NEW)
    longest = max(size.file_counts)
    ends = [files for files in size.file_counts if files * 10 <= longest]
    if ends:
        curve: dict[str, Any] = {"rows": size.file_rows, "verb": "incremental", "new": 1}
        ours, shorter = (
            results.figure("incremental", OURS, "seconds", **curve, files=files) for files in (longest, max(ends))
        )
        if ours and shorter:
            subject = f"one new file after {longest:,} files, beside after {max(ends):,}"
            yield Goal(HISTORIES, subject, "s", ours, bare=shorter, bare_goal=_LONG_HISTORY)
    for spine in (long_spines.RECENT, long_spines.UNSEEN):
        asked: dict[str, Any] = {**of_files, "spine": spine}
        if ours := results.figure("long_spines", OURS, "seconds", **asked):
            feast, bare = (results.figure("long_spines", side, "seconds", **asked) for side in (FEAST, BARE))
            told = f"{history}, {long_spines.ROWS:,} rows of the last day, {spine}"
            yield Goal(HISTORIES, told, "s", ours, feast, None, bare, _SPINE_BESIDE_BARE)
            read, of_feast, of_bare = (
                results.figure("long_spines", side, "read_mib", **asked) for side in (OURS, FEAST, BARE)
            )
            if read:
                is_recent = spine == long_spines.RECENT
                most, at_most = (_SPINE_MIB, None) if is_recent else (None, _SPINE_BESIDE_BARE)
                yield Goal(HISTORIES, f"{told}: read", "MiB", read, of_feast, None, of_bare, at_most, most)
    ledger = f"ledger of {size.ledger_views} views x {size.ledger_windows:,} windows"
    for verb in ("nothing new", "one day"):
        if ours := results.figure("ledgers", OURS, "seconds", verb=verb):
            yield Goal(HISTORIES, f"{ledger}, one view, {verb}", "s", ours, most=_LEDGER_SECONDS)
    if ours := results.figure("ledgers", OURS, "cpu", verb="tick"):
        yield Goal(HISTORIES, f"{ledger}, a tick over all, processor time", "s", ours, most=_LEDGER_TICK_SECONDS)
    if ours := results.figure("ledgers", OURS, "mib", verb="registry"):
        yield Goal(HISTORIES, f"{ledger}: the registry", "MiB", ours, most=_LEDGER_MIB)


def _historical(results: Results) -> Iterator[Goal]:
    for shape, aim in _HISTORICAL.items():
        for spine in SIZES[results.size].spines:
            for into in ("arrow", "pandas"):
                about: dict[str, Any] = {"shape": shape, "spine": spine, "into": into}
                if ours := results.figure("historical", OURS, "seconds", **about):
                    feast, bare = (results.figure("historical", s, "seconds", **about) for s in (FEAST, BARE))
                    told = f"{shape}, {spine:,} rows, {_INTO[into]}"
                    rates = _rates(results, "historical", **about)
                    yield Goal(HISTORICAL, told, "s", ours, feast, aim, bare, _HISTORICAL_BESIDE_BARE, second=rates)
    size = SIZES[results.size]
    if ours := results.figure("bounded_memory", OURS, "seconds", verb="historical"):
        bare = results.figure("bounded_memory", BARE, "seconds", verb="historical")
        told = f"narrow, {size.big_spine:,} rows on as many, memory_limit {size.memory_limit}"
        rates = {
            side: size.big_spine / figure.value for side, figure in ((OURS, ours), (BARE, bare)) if figure is not None
        }
        yield Goal(HISTORICAL, told, "s", ours, bare=bare, bare_goal=_HISTORICAL_BESIDE_BARE, second=rates)


def _memory(results: Results) -> Iterator[Goal]:
    for shape, aim in _MEMORY.items():
        for store in _STORES:
            yield from _memory_of_materialization(results, store, shape, aim if store == "sqlite" else None)
        for spine in SIZES[results.size].spines:
            about = {"shape": shape, "spine": spine, "into": "pandas"}
            if ours := results.figure("historical", OURS, "peak_mib", **about):
                feast, bare = (results.figure("historical", side, "peak_mib", **about) for side in (FEAST, BARE))
                yield Goal(MEMORY, f"training data, {shape}, {spine:,} rows, pandas", "MiB", ours, feast, aim, bare)
    size = SIZES[results.size]
    for verb, told in (
        ("historical", f"training data, {size.big_spine:,} rows on as many, memory_limit {size.memory_limit}"),
        ("window", f"one window of {size.big_rows:,} rows, memory_limit {size.memory_limit}"),
    ):
        if ours := results.figure("bounded_memory", OURS, "peak_mib", verb=verb):
            bare = results.figure("bounded_memory", BARE, "peak_mib", verb=verb)
            yield Goal(MEMORY, told + _spilled(results, verb), "MiB", ours, bare=bare, completes=True)


def _spilled(results: Results, verb: str) -> str:
    """Says how much of our work was on disk instead; "" where that was not watched."""
    spilled = results.figure("bounded_memory", OURS, "spilled_mib", verb=verb)
    return f", {spilled.value:,.0f} MiB spilled by us" if spilled else ""


def _memory_of_materialization(results: Results, store: str, shape: str, aim: float | None) -> Iterator[Goal]:
    about: dict[str, Any] = {"store": store, "shape": shape}
    if ours := results.figure("materialization", OURS, "peak_mib", **about):
        feast, bare = (results.figure("materialization", side, "peak_mib", **about) for side in (FEAST, BARE))
        subject = f"materialize, {_STORES[store]}, {shape}"
        yield Goal(MEMORY, subject, "MiB", ours, feast, aim, bare)
        if other := results.figure("materialization", FEAST, "peak_mib", setting=PULL_LATEST, **about):
            yield Goal(MEMORY, _with_setting(subject), "MiB", ours, other)


def _registry(results: Results) -> Iterator[Goal]:
    views = SIZES[results.size].deployed_views
    for verb, told in (("apply unchanged", "unchanged"), ("apply one changed", "one changed")):
        if ours := results.figure("registry", OURS, "seconds", verb=verb, views=views):
            feast = results.figure("registry", FEAST, "seconds", verb=verb, views=views)
            yield Goal(REGISTRY, f"apply of {views} views, {told}", "s", ours, feast, _APPLY)
    for verb in ("load", "refresh"):
        if ours := results.figure("registry", OURS, "seconds", verb=verb, views=views):
            feast = results.figure("registry", FEAST, "seconds", verb=verb, views=views)
            yield Goal(REGISTRY, f"{verb} of {views} views", "s", ours, feast, _DEFINITIONS)
    if ours := results.figure("first_feature", OURS, "seconds", verb="serve"):
        feast, bare = (results.figure("first_feature", side, "seconds", verb="serve") for side in (FEAST, BARE))
        yield Goal(REGISTRY, "first feature served by a fresh process", "s", ours, feast, _FIRST_FEATURE, bare)
    if ours := results.figure("first_feature", OURS, "seconds", verb="import"):
        feast = results.figure("first_feature", FEAST, "seconds", verb="import")
        yield Goal(REGISTRY, "import of the package", "s", ours, feast, most=_IMPORT_SECONDS)


def _dagster(results: Results) -> Iterator[Goal]:
    library, empty = (results.figure("dagster_runs", OURS, "seconds", verb=v) for v in ("library", "empty asset"))
    for verb, told in (("run", ""), ("run without profiles", ", profile=False")):
        ours = results.figure("dagster_runs", OURS, "seconds", verb=verb)
        if ours and library and empty:
            both = Figure(library.value + empty.value)
            (first, *_) = results.found("dagster_runs", OURS, verb=verb)
            subject = f"{first['partitions']} daily partitions in one run{told}"
            yield Goal(DAGSTER, subject, "s", ours, bare=both, bare_goal=_DAGSTER_RUN)


def _dagster_loading(results: Results) -> Iterator[Goal]:
    size = SIZES[results.size]
    if ours := results.figure("dagster_runs", OURS, "seconds", verb="load"):
        subject = f"definitions of {size.dagster_views} views load, beyond importing dagster"
        yield Goal(DAGSTER_LOADING, subject, "s", ours, most=_DAGSTER_LOAD_SECONDS)
    ticks = [r for verb in ("first tick", "tick") for r in results.found("dagster_runs", OURS, verb=verb)]
    for record in sorted(ticks, key=lambda r: str(r["sensor"])):
        of = f"of {record['sensor']}: {size.dagster_views} views of {record['partitions']} partitions, no change"
        first = record["verb"] == "first tick"
        subject = f"first tick {of}" if first else f"later tick {of}"
        yield Goal(DAGSTER_LOADING, subject, "s", Figure(record["seconds"]), most=None if first else _TICK_SECONDS)


_STORES = {"sqlite": "SQLite", "redis": "Redis"}
_INTO = {"arrow": "Arrow", "pandas": "pandas"}


def shapes_told(size: str) -> str:
    """Returns what narrow and wide mean, in words."""
    one, many = narrow(SIZES[size]), wide(SIZES[size])
    return (
        f"*Narrow* is one view of {one.features} features, *wide* is {many.views} views of {many.features} features; "
        f"each view has a Parquet file of {one.rows:,} rows for {one.entities:,} entities over {one.days} days, which "
        "are as many partitions."
    )
