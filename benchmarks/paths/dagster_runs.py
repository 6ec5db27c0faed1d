"""Dagster: what a run of many partitions costs beside the library's own call, definitions that load, sensors that tick.

Feast has no such thing. Runs are recorded in a Dagster instance of their own on SQLite, as `dagster dev` has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.datasets import START, Shape
from benchmarks.feature_repository import applied, silence
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import OURS
from benchmarks.measuring import Metrics, timed
from benchmarks.sizes import Size

_DEFINITIONS = """
from pathlib import Path

from benchmarks.datasets import START, Shape
from benchmarks.feature_repository import definitions
from benchmarks.libraries import OURS, Library

library = Library(OURS)
shape = Shape(**{shape!r})
partitions = library.Partitions("daily", START, shape.end)
for definition in definitions(library, shape, Path({data!r}), partitions=partitions):
    globals()[definition.name] = definition
"""


def jobs(size: Size) -> Iterator[Job]:
    year = Shape("year", 1, 10, size.rows, size.entities, size.dagster_partitions)
    # By turns, so that whatever else the machine does meets all alike.
    for attempt in range(size.attempts):
        for verb in ("library", "empty asset", "run", "run without profiles"):
            yield Job(
                "dagster_runs",
                OURS,
                {"verb": verb, "partitions": size.dagster_partitions, "attempt": attempt},
                year,
                workspace=f"dagster-{verb.replace(' ', '-')}-{attempt}",
            )
    many = Shape("many", size.dagster_views, 10, 10 * size.sensor_partitions, 100, size.sensor_partitions, shared=True)
    yield Job("dagster_runs", OURS, {"views": size.dagster_views}, many, workspace="dagster-many")


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    # What a code location server has done long before it is asked for anything.
    import dagster  # noqa: F401

    shape, verb = job.shape, job.parameters.get("verb")
    assert shape is not None
    if verb == "empty asset":
        yield _empty_asset(place, shape)
        return
    store = _repository(job, place, shape)
    if verb == "library":
        yield _library(job, place, shape)
    elif verb is not None:
        yield _run(place, shape, profile=verb == "run")
    else:
        yield from _many_views(store, place, shape)


def _repository(job: Job, place: Workplace, shape: Shape) -> Any:
    library = library_of(job)
    partitions = library.Partitions("daily", START, shape.end)
    online_store = place.online_store("sqlite", job.side)
    store = applied(library, place.directory, shape, place.data, online_store, of_views={"partitions": partitions})
    text = _DEFINITIONS.format(shape=vars(shape), data=str(place.data))
    (place.directory / "features.py").write_text(text, encoding="utf-8")
    return store


def _library(job: Job, place: Workplace, shape: Shape) -> Metrics:
    store = library_of(job).FeatureStore(repo_path=str(place.directory))
    with silence():
        return timed(lambda: store.materialize(START, shape.end - timedelta(microseconds=1)))[0]


def _run(place: Workplace, shape: Shape, *, profile: bool) -> Metrics:
    from feast_assets.dagster import FeatureRepository, FeatureStoreResource, build_feature_view_assets

    resource = FeatureStoreResource(repo_path=str(place.directory))
    (assets,) = build_feature_view_assets(FeatureRepository.load(resource), profile=profile)
    return _in_one_run(place.directory, assets, shape, {"feature_store": resource})


def _empty_asset(place: Workplace, shape: Shape) -> Metrics:
    import dagster as dg

    days = dg.DailyPartitionsDefinition(START, START + timedelta(days=shape.days))

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def nothing() -> None:
        pass

    return _in_one_run(place.directory, nothing, shape, {})


def _in_one_run(directory: Path, assets: Any, shape: Shape, resources: dict[str, Any]) -> Metrics:
    import dagster as dg

    home = directory / "dagster_home"
    home.mkdir()
    last = START + timedelta(days=shape.days - 1)
    tags = {
        "dagster/asset_partition_range_start": f"{START:%Y-%m-%d}",
        "dagster/asset_partition_range_end": f"{last:%Y-%m-%d}",
    }
    with dg.DagsterInstance.local_temp(str(home)) as instance, silence():
        metrics, result = timed(lambda: dg.materialize([assets], instance=instance, resources=resources, tags=tags))
        key = next(iter(assets.keys))
        written = len(instance.get_materialized_partitions(key))
    assert result.success
    assert written == shape.days, written
    return metrics


def _many_views(store: Any, place: Workplace, shape: Shape) -> Iterator[Metrics]:
    """Times what a code location does to load a repository, importing dagster aside; then ticks of its sensors."""
    import dagster as dg

    begun = time.perf_counter()
    from feast_assets.dagster import FeatureStoreResource, definitions_for

    resource = FeatureStoreResource(repo_path=str(place.directory))
    definitions = definitions_for({"feature_store": resource})
    repository = definitions.get_repository_def()
    yield {"verb": "load", "seconds": time.perf_counter() - begun}
    assert len(repository.assets_defs_by_key) >= shape.views
    with silence():
        store.materialize(START, shape.end - timedelta(microseconds=1))
    home = place.directory / "dagster_home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        for sensor in repository.sensor_defs:
            cursor = None
            for which in ("first tick", "tick"):
                with dg.build_sensor_context(
                    instance=instance,
                    cursor=cursor,
                    definitions=definitions,
                    sensor_name=sensor.name,
                    resources={"feature_store": resource},
                ) as context:
                    metrics, ticked = timed(lambda s=sensor, c=context: s.evaluate_tick(c))  # type: ignore[misc]
                assert not ticked.run_requests, "the sensor asked for runs though nothing had changed"
                cursor = ticked.cursor
                yield {"verb": which, "sensor": sensor.name, "partitions": shape.days, **metrics}
