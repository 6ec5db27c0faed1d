"""Training data: features joined to given rows as of their times, into Arrow and into pandas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.bare_engines import duckdb_connection, point_in_time_sql
from benchmarks.datasets import stage_spine
from benchmarks.feature_repository import SERVICE, applied
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import BARE, SIDES
from benchmarks.measuring import Metrics, fastest
from benchmarks.shapes import narrow, shallow, wide
from benchmarks.sizes import Size


def jobs(size: Size) -> Iterator[Job]:
    for shape in (narrow(size), wide(size), shallow(size)):
        for rows in size.spines[: 1 if shape == shallow(size) else None]:
            for into in ("arrow", "pandas"):
                for side in SIDES:
                    told = {"shape": shape.name, "spine": rows, "into": into}
                    # What took too long into Arrow does so into pandas as well.
                    after = {**told, "into": "arrow"} if into == "pandas" else None
                    yield Job(
                        "historical",
                        side,
                        told,
                        shape,
                        spine=rows,
                        workspace=f"historical-{shape.name}-{rows}-{into}",
                        after=after,
                    )


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    import pandas as pd

    shape, into = job.shape, job.parameters["into"]
    assert shape is not None
    # Both libraries take a DataFrame; reading it is not part of the measurement.
    spine: Any = pd.read_parquet(stage_spine(place.data, shape, job.spine))
    if job.side == BARE:
        connection = duckdb_connection()
        connection.register("spine", spine)
        sql = point_in_time_sql(shape, place.data, "spine")

        def verb() -> Any:
            result = connection.sql(sql)
            return result.to_arrow_table() if into == "arrow" else result.df()
    else:
        store = applied(library_of(job), place.directory, shape, place.data, place.online_store("sqlite", job.side))
        service = store.get_feature_service(SERVICE)

        def verb() -> Any:
            retrieval = store.get_historical_features(entity_df=spine, features=service, full_feature_names=True)
            return retrieval.to_arrow() if into == "arrow" else retrieval.to_df()

    def answer(result: Any) -> float:
        last = f"{shape.names[-1]}__f{shape.features - 1}"
        table = result.select([last]).to_pandas() if into == "arrow" else result
        assert len(table) == job.spine
        return float(table[last].sum())

    # The first run of any of them finds colder files and memory than the others.
    metrics = fastest(verb, place.size.attempts, place.size.limit / 12, answer, at_least=min(2, place.size.attempts))
    yield {**metrics, "rows_per_second": job.spine / metrics["seconds"]}
