"""Takes the measurements and keeps the figures: ``python -m benchmarks.run [--size small] [--only PATH ...]``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.datasets import stage, stage_spine
from benchmarks.jobs import Job
from benchmarks.libraries import FEAST, SIDES
from benchmarks.machine import commit_of, described, feast_versions
from benchmarks.results import Provenance, Results
from benchmarks.sizes import SIZES, Size
from benchmarks.supervision import redis_server, supervised

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".bench"
PATHS = (
    "materialization",
    "online_reads",
    "async_reads",
    "serving",
    "serving_grpc",
    "historical",
    "long_spines",
    "incremental",
    "ledgers",
    "pushes",
    "registry",
    "first_feature",
    "bounded_memory",
    "scale_reads",
    "scale_materialization",
    "dagster_runs",
)
_LONGEST = 900.0


class Benchmark:
    """One run over some paths; results are kept in a file that later runs add to.

    Args:
        work: where data, stores and results go.
        feast_python: of Feast's environment; None to measure without Feast.
    """

    def __init__(self, size: Size, work: Path, feast_python: str | None):
        self._size = size
        self._data = work / "data"
        self._stores = work / "stores"
        self._feast_python = feast_python
        self._stopped: list[dict[str, Any]] = []

    def records(self, paths: Sequence[str], sides: Sequence[str] = SIDES) -> Iterator[dict[str, Any]]:
        """Yields a record of every measurement of some paths, while they are taken."""
        jobs = [job for path in paths for job in _jobs(path, self._size) if job.side in sides]
        if self._feast_python is None:
            jobs = [job for job in jobs if job.side != FEAST]
        shutil.rmtree(self._stores, ignore_errors=True)
        try:
            with redis_server() as redis:
                for number, job in enumerate(jobs, 1):
                    print(f"[{number}/{len(jobs)}] {job.title}", end="", flush=True)
                    started = time.monotonic()
                    records = self._taken(job, redis)
                    print(f"  {time.monotonic() - started:.1f} s{_brief(records)}", flush=True)
                    yield from records
        finally:
            shutil.rmtree(self._stores, ignore_errors=True)

    def _taken(self, job: Job, redis: str) -> list[dict[str, Any]]:
        about = {"path": job.path, "side": job.side}
        if not redis and job.parameters.get("store") == "redis":
            return [{**about, **job.parameters, "failed": "redis-server is not installed"}]
        if job.after is not None:
            before = {**about, **job.after}
            for stopped in self._stopped:
                if before.items() <= stopped.items():
                    # It needs no less than the one before it, and would be stopped at the same limit.
                    reached = {k: stopped[k] for k in ("stopped", "seconds", "peak_mib")}
                    record = {**about, **job.parameters, **reached}
                    self._stopped.append(record)
                    return [record]
        if job.shape is not None:
            stage(self._data, job.shape)
            if job.spine:
                stage_spine(self._data, job.shape, job.spine)
        directory = self._stores / job.side / job.workspace
        directory.mkdir(parents=True, exist_ok=True)
        place = {"size": self._size.name, "data": str(self._data), "directory": str(directory), "redis": redis}
        output = self._stores / "figures.jsonl"
        output.unlink(missing_ok=True)
        limit = self._size.limit * job.verbs if job.side == FEAST else _LONGEST
        python = self._feast_python if job.side == FEAST else sys.executable
        command = [str(python), "-m", "benchmarks.worker", job.to_json(), json.dumps(place), str(output)]
        ended = supervised(command, ROOT, _environment(), limit)
        if ended.errors:
            print(f"\n{ended.errors}", file=sys.stderr, flush=True)
        figures = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
        records = [{**about, **job.parameters, **each} for each in figures]
        if ended.stopped:
            told = {"stopped": ended.stopped, "seconds": ended.seconds, "peak_mib": ended.peak_mib}
            records.append({**about, **job.parameters, **told})
            self._stopped.append(records[-1])
        elif ended.errors:
            records.append({**about, **job.parameters, "failed": ended.errors.splitlines()[-1]})
        return records


def _jobs(path: str, size: Size) -> Iterator[Job]:
    yield from importlib.import_module(f"benchmarks.paths.{path}").jobs(size)


def _environment() -> dict[str, str]:
    # Neither library may tell anybody that it was used, nor colour what it says.
    quiet = {"FEAST_USAGE": "False", "DAGSTER_DISABLE_TELEMETRY": "1", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **quiet, "PYTHONPATH": str(ROOT)}


def _brief(records: Sequence[dict[str, Any]]) -> str:
    told = []
    for record in records:
        if "failed" in record:
            told.append(f"FAILED: {record['failed']}")
        elif "stopped" in record:
            told.append(f"stopped: {record['stopped']}")
        else:
            told += [f"{record[k] * 1e3:.3g} ms" for k in ("p50", "seconds") if k in record]
            told += [f"{record['requests_per_second']:.0f}/s"] if "requests_per_second" in record else []
    return ": " + ", ".join(told) if told else ""


def results_file(work: Path, size: str) -> Path:
    return work / "results" / f"{size}.json"


def keep(
    file: Path,
    size: str,
    path: str,
    records: list[dict[str, Any]],
    *,
    commit: str = "",
    seconds: float = 0.0,
    feast: dict[str, str] | None = None,
) -> None:
    """Writes the results of a path; those of other paths stay, and say where they come from.

    Args:
        commit: that the path was measured at.
        seconds: that measuring it took.
        feast: the versions in Feast's environment; None to leave those that are known.
    """
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    machine = described()
    measured = Provenance(commit, f"{datetime.now(UTC):%Y-%m-%d}", round(seconds, 1), machine)
    results = {
        "size": size,
        "machine": machine,
        "feast": known.get("feast", {}) if feast is None else feast,
        "measured": {**known.get("measured", {}), path: asdict(measured)},
        "records": [r for r in known.get("records", []) if r["path"] != path] + records,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", choices=sorted(SIZES), default="full")
    arguments.add_argument(
        "--only", nargs="+", choices=PATHS, default=list(PATHS), metavar="PATH", help=", ".join(PATHS)
    )
    arguments.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    arguments.add_argument("--work", type=Path, default=WORK, help="where data, stores and results go")
    arguments.add_argument(
        "--feast-python", default=os.environ.get("BENCH_FEAST_PYTHON"), help="of Feast's environment"
    )
    given = arguments.parse_args()
    # So that workers and Redis are stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not given.feast_python:
        print("No Feast environment was named (--feast-python): measuring without it.", flush=True)
    benchmark = Benchmark(SIZES[given.size], given.work, given.feast_python)
    # Asked before anything is measured: the tree may change meanwhile.
    commit = commit_of(ROOT)
    feast = feast_versions(given.feast_python) if given.feast_python else None
    started = begun = time.monotonic()
    file = results_file(given.work, given.size)
    records: list[dict[str, Any]] = []
    for path, of_path in groupby(benchmark.records(given.only, given.sides), key=lambda record: record["path"]):
        taken = list(of_path)
        # An interrupted run leaves what it has measured.
        ended = time.monotonic()
        keep(file, given.size, path, taken, commit=commit, seconds=ended - begun, feast=feast)
        begun = ended
        records += taken
    print(f"{len(records)} results in {time.monotonic() - started:.0f} s, kept in {file}")
    for record in (wrong := Results.read(file).disagreements()):
        print(f"Another answer than ours: {record}", file=sys.stderr)
    if wrong or any("failed" in record for record in records):
        raise SystemExit("Some measurements failed; see above.")


if __name__ == "__main__":
    main()
