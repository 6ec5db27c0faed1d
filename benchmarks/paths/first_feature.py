"""How soon a process that has just been started serves its first feature, and what importing the library costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.datasets import Shape
from benchmarks.feature_repository import SERVICE, materialized
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import BARE, SIDES
from benchmarks.measuring import Metrics
from benchmarks.paths.online_reads import filled_by_hand
from benchmarks.shapes import narrow
from benchmarks.sizes import Size

_SERVE = """
import time
begun = time.perf_counter()
from {library} import FeatureStore
imported = time.perf_counter()
store = FeatureStore(repo_path={directory!r})
found = store.get_online_features(features={features!r}, entity_rows=[{{"entity_id": 1}}]).to_dict()
assert found["f0"][0] is not None
print(imported - begun, flush=True)
"""
_SERVE_BY_HAND = """
import time
begun = time.perf_counter()
import sqlite3
imported = time.perf_counter()
connection = sqlite3.connect({path!r})
row = connection.execute("SELECT {columns} FROM view_0 WHERE id = 1").fetchone()
assert row[0] is not None
print(imported - begun, flush=True)
"""
_IMPORT = "import time; begun = time.perf_counter(); import {library}; print(time.perf_counter() - begun)"


def jobs(size: Size) -> Iterator[Job]:
    # Each side's own file of the online reads' workspace would do as well, but a run may be of this path only.
    for side in SIDES:
        yield Job("first_feature", side, {}, narrow(size), workspace="first-feature", verbs=3)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    assert job.shape is not None
    program = _by_hand(place, job.shape) if job.side == BARE else _by_library(job, place, job.shape)
    attempts = place.size.attempts + 2
    runs = [_run(program) for _ in range(attempts)]
    # The first may read files that nobody has read yet.
    served, imported = (sorted(of)[len(runs) // 2] for of in zip(*runs, strict=True))
    yield {"verb": "serve", "seconds": served, "import_of_store": imported, "runs": len(runs)}
    library = "sqlite3" if job.side == BARE else job.side
    yield {"verb": "import", "seconds": min(_run(_IMPORT.format(library=library))[1] for _ in range(attempts))}


def _by_library(job: Job, place: Workplace, shape: Shape) -> str:
    online_store = place.online_store("sqlite", job.side)
    library = library_of(job)
    store = materialized(library, place.directory, shape, place.data, online_store)
    assert store.get_feature_service(SERVICE)
    features = [f"view_0:f{i}" for i in range(shape.features)]
    return _SERVE.format(library=job.side, directory=str(place.directory), features=features)


def _by_hand(place: Workplace, shape: Shape) -> str:
    filled_by_hand("sqlite", place, shape)
    columns = ", ".join(f"f{i}" for i in range(shape.features))
    return _SERVE_BY_HAND.format(path=str(place.directory / "bare.db"), columns=columns)


def _run(program: str) -> tuple[float, float]:
    """Returns the seconds from the start of a process to its answer, and what it answered."""
    begun = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    passed = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(done.stderr)
    return passed, float(done.stdout.strip().splitlines()[-1])
