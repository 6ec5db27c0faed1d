"""Training data for a thousand rows of the last day, against the length of the history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from benchmarks.bare_engines import duckdb_connection, point_in_time_in_two_steps
from benchmarks.daily_files import APART, FEATURES, VIEW, DailyFiles
from benchmarks.datasets import ENTITY, TIME, feature_names
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import BARE, FEAST, SIDES
from benchmarks.measuring import Metrics, bytes_read, fastest
from benchmarks.sizes import Size

ROWS = 1_000
RECENT, UNSEEN = "each with rows of the last days", "one without any row"
"""Which entities the rows are of. For one without any row, the keys and times of the whole history are read."""


def jobs(size: Size) -> Iterator[Job]:
    histories = [(size.day_files, size.day_rows), *((files, size.file_rows) for files in size.file_counts)]
    for files, rows in histories:
        for spine in (RECENT, UNSEEN):
            for side in SIDES:
                if side != FEAST or files <= size.feast_files:
                    told = {"files": files, "rows": rows, "spine": spine}
                    yield Job("long_spines", side, told, workspace=f"long-spines-{files}-{rows}-{spine[:4]}")


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    import pandas as pd

    files, rows, size = job.parameters["files"], job.parameters["rows"], place.size
    history = DailyFiles(place.data, place.directory / "history", rows, size.entities)
    history.add(range(files))
    count = min(ROWS, size.entities)
    ids = [number * size.entities // count * APART for number in range(count)]
    if job.parameters["spine"] == UNSEEN:
        ids[count // 2] += 1
    last = history.end(files)
    times = [last - timedelta(seconds=1 + 80 * number % 86_400) for number in range(count)]
    spine = pd.DataFrame({ENTITY: ids, TIME: pd.to_datetime(times)})
    references = [f"{VIEW}:{name}" for name in feature_names(FEATURES)]
    if job.side == BARE:
        connection = duckdb_connection()
        connection.execute("SET enable_external_file_cache = false")
        connection.register("spine", spine)

        def verb() -> Any:
            return point_in_time_in_two_steps(connection, history.path, "spine", FEATURES)
    else:
        library = library_of(job)
        history.apply(library, place.directory, place.online_store("sqlite", job.side))
        store = library.FeatureStore(repo_path=str(place.directory))

        def verb() -> Any:
            return store.get_historical_features(entity_df=spine, features=references).to_arrow()

    def answer(result: Any) -> float:
        assert result.num_rows == count
        return float(result.select([f"f{FEATURES - 1}"]).to_pandas()[f"f{FEATURES - 1}"].sum())

    before = bytes_read()
    verb()
    read = bytes_read() - before
    metrics = fastest(verb, max(size.attempts, 2), size.limit / 12, answer, at_least=min(2, size.attempts))
    yield {**metrics, "read_mib": read / 2**20}
