"""What an incremental run costs: against the history before it, and against the files that are new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from benchmarks.daily_files import DailyFiles
from benchmarks.feature_repository import silence
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import FEAST, OURS
from benchmarks.measuring import Metrics, bytes_read, timed
from benchmarks.sizes import Size


def jobs(size: Size) -> Iterator[Job]:
    """A job materializes a history, then runs again with nothing new, then with new files each time."""
    histories = [
        (size.day_files, size.day_rows, size.new_files),
        *((n, size.file_rows, (1,)) for n in size.file_counts),
    ]
    for files, rows, new in histories:
        for side in (OURS, FEAST):
            if side == OURS or files <= size.feast_files:
                told = {"files": files, "rows": rows}
                yield Job(
                    "incremental",
                    side,
                    {**told, "added": list(new)},
                    workspace=f"incremental-{files}-{rows}",
                    verbs=2 + len(new),
                )


_YOUNG = 2.5
"""Seconds after which a file is not young any more. Runs mostly find older files; young ones are read again."""


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    days, rows = job.parameters["files"], job.parameters["rows"]
    history = DailyFiles(place.data, place.directory / "history", rows, place.size.entities)
    history.add(range(days))
    time.sleep(_YOUNG)
    library = library_of(job)
    history.apply(library, place.directory, place.online_store("sqlite", job.side))

    def run() -> Metrics:
        # A moment later, as Feast runs nothing for a range without length.
        end = history.end(days) + timedelta(seconds=1)
        store = library.FeatureStore(repo_path=str(place.directory))
        before = bytes_read()
        with silence():
            metrics, _ = timed(lambda: store.materialize_incremental(end))
        return {**metrics, "read_mib": (bytes_read() - before) / 2**20}

    store = library.FeatureStore(repo_path=str(place.directory))
    with silence():
        metrics, _ = timed(lambda: store.materialize(history.end(0), history.end(days)))
    yield {"verb": "all", "new": days, **metrics}
    run()
    yield {"verb": "incremental", "new": 0, **run()}
    for new in job.parameters["added"]:
        added = range(days, days + new)
        history.add(added)
        time.sleep(_YOUNG)
        days += new
        file_mib = sum((history.folder / f"day_{day:05}.parquet").stat().st_size for day in added) / 2**20
        yield {"verb": "incremental", "new": new, "new_mib": file_mib, **run()}
