"""Streams in Dagster: observed sources, the job that consumes, and the sensor that asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from ticks import Daemon

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for

MORE = """
    from feast_assets import FileStreamSource, JsonFormat

    history = FileSource(name="history", path="data/history", timestamp_field="at")
    live = FileStreamSource(
        name="live", path="data/live", message_format=JsonFormat("driver_id bigint, fare double, at timestamp"),
        batch_source=history,
    )
    FARE = [Field(name="driver_id", dtype=Int64), Field(name="fare", dtype=Float64)]
    live_fare = FeatureView(
        name="live_fare", entities=[driver], source=live, schema=FARE, partitions=Partitions("daily", start=NEW_YEAR)
    )
    whole_fare = FeatureView(name="whole_fare", entities=[driver], source=live, schema=FARE, partitions=None)
"""
LIVE = dg.AssetKey(["taxi", "sources", "live"])
FARES = [dg.AssetKey(["taxi", "live_fare"]), dg.AssetKey(["taxi", "whole_fare"])]
JOB, SENSOR = "consume_taxi", "streams_taxi"


@pytest.fixture
def root(write_repository: Callable[..., Path]) -> Path:
    """An applied repository whose stream is an empty folder."""
    root = write_repository(MORE)
    (root / "data" / "live").mkdir()
    FeatureStore(root).apply_repository()
    return root


def send(root: Path, *drivers: int, day: int = 1, file: str = "a.jsonl", text: str = "") -> None:
    lines = [json.dumps({"driver_id": d, "fare": 10.0 * d + day, "at": f"2024-01-{day:02}T12:00:00Z"}) for d in drivers]
    with (root / "data" / "live" / file).open("a") as stream:
        stream.write("".join(f"{line}\n" for line in [*lines, *([text] if text else [])]))


def definitions(root: Path) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})


def run(root: Path, instance: dg.DagsterInstance, views: list[str] | None = None) -> dg.ExecuteInProcessResult:
    config = {"ops": {"consume_taxi_streams": {"config": {"views": views}}}} if views else {}
    return (
        definitions(root)
        .resolve_job_def(JOB)
        .execute_in_process(instance=instance, run_config=config, raise_on_error=False)
    )


def observe(root: Path, instance: dg.DagsterInstance) -> dg.AssetObservation:
    assert definitions(root).resolve_job_def("observe_taxi_streams").execute_in_process(instance=instance).success
    (record,) = instance.fetch_observations(LIVE, limit=1).records
    assert record.asset_observation is not None
    return record.asset_observation


def values(event: Any) -> dict[str, Any]:
    return {name.removeprefix("feast_assets/"): value.value for name, value in event.metadata.items()}


def materializations(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[dict[str, Any]]:
    """Returns the metadata of an asset's materializations, oldest first."""
    records = instance.fetch_materializations(key, limit=100).records
    return [values(r.asset_materialization) for r in reversed(records)]


def served(root: Path, *drivers: int, view: str = "live_fare") -> list[Any]:
    read = FeatureStore(root).get_online_features([f"{view}:fare"], {"driver_id": list(drivers)}).to_dict()
    return list(read["fare"])


def launch(daemon: Daemon) -> list[dg.RunRequest]:
    """Ticks, and runs what is asked for."""
    requests = daemon.tick()
    for request in requests:
        assert request.run_key is not None
        daemon.keys.add(request.run_key)
        daemon.definitions().resolve_job_def(JOB).execute_in_process(
            instance=daemon.instance,
            run_config=request.run_config,
            tags={**request.tags, "dagster/run_key": request.run_key},
            raise_on_error=False,
        )
    return requests


def test_without_streams_there_is_no_job_and_no_sensor(applied_root: Path) -> None:
    found = definitions(applied_root)
    assert not [j for j in found.resolve_all_job_defs() if "consume" in j.name or "streams" in j.name]
    assert not [s for s in found.sensors or [] if "streams" in s.name]


def test_the_version_of_a_stream_follows_its_ends_and_its_lag_what_was_consumed(
    root: Path, instance: dg.DagsterInstance
) -> None:
    send(root, 1, 2)
    size = (root / "data" / "live" / "a.jsonl").stat().st_size
    first = observe(root, instance)
    (name,) = values(first)["end_offsets"]
    assert values(first)["end_offsets"] == {name: size}
    assert values(first)["lag"] == size
    assert values(first)["lag_of_views"] == {"live_fare": {name: size}, "whole_fare": {name: size}}
    assert run(root, instance, ["live_fare"]).success
    half = observe(root, instance)
    assert values(half)["lag_of_views"] == {"live_fare": {name: 0}, "whole_fare": {name: size}}
    assert run(root, instance).success
    consumed = observe(root, instance)
    assert values(consumed)["lag"] == 0
    assert (
        consumed.tags["dagster/data_version"] == half.tags["dagster/data_version"] == first.tags["dagster/data_version"]
    )
    send(root, 3)
    more = observe(root, instance)
    assert more.tags["dagster/data_version"] != first.tags["dagster/data_version"]
    assert values(more)["lag"] == (root / "data" / "live" / "a.jsonl").stat().st_size - size


def test_a_run_consumes_up_to_the_end_and_tells_the_range_once_for_each_view(
    root: Path, instance: dg.DagsterInstance
) -> None:
    send(root, 1, 2)
    assert run(root, instance).success
    assert served(root, 1, 2) == served(root, 1, 2, view="whole_fare") == [11.0, 21.0]
    end = (root / "data" / "live" / "a.jsonl").stat().st_size
    for key in FARES:
        (told,) = materializations(instance, key)
        (offsets,) = told.pop("offsets").values()
        assert offsets == [0, end]
        assert told == {
            "stream": "live", "messages": 2, "rows_online": 4, "rows_of_history": 2, "dead_letters": 0
        }  # fmt: skip
    # Without new messages a run has nothing to tell.
    assert run(root, instance).success
    assert [len(materializations(instance, key)) for key in FARES] == [1, 1]
    send(root, 1, day=2, text="no ride")
    assert run(root, instance).success
    for key in FARES:
        _, told = materializations(instance, key)
        (offsets,) = told["offsets"].values()
        assert offsets == [end, (root / "data" / "live" / "a.jsonl").stat().st_size]
        assert (told["messages"], told["rows_of_history"], told["dead_letters"]) == (2, 1, 1)
    assert served(root, 1, 2) == [12.0, 21.0]


def test_what_was_consumed_marks_no_partition_as_materialized(root: Path, instance: dg.DagsterInstance) -> None:
    send(root, 1)
    assert run(root, instance).success
    assert instance.get_materialized_partitions(FARES[0]) == set()


def test_a_run_for_a_view_without_a_stream_fails_and_names_those_that_have_one(
    root: Path, instance: dg.DagsterInstance
) -> None:
    result = run(root, instance, ["ride"])
    failure = next(e for e in result.all_events if e.is_step_failure)
    assert not result.success
    assert "'ride' is no feature view that has been applied and has a stream" in str(failure.event_specific_data)
    assert "live_fare, whole_fare" in str(failure.event_specific_data)


def test_a_stream_that_is_not_there_fails_the_run_and_its_observation(root: Path, instance: dg.DagsterInstance) -> None:
    (root / "data" / "live").rmdir()
    assert not run(root, instance).success
    job = definitions(root).resolve_job_def("observe_taxi_streams")
    assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    assert Daemon(root, instance, SENSOR).tick() == []


def test_the_sensor_asks_for_what_has_arrived_until_it_is_consumed(root: Path, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(root, instance, SENSOR)
    assert daemon.tick() == []
    send(root, 1)
    send(root, 2, file="b.jsonl")
    (request,) = launch(daemon)
    assert request.run_config == {"ops": {"consume_taxi_streams": {"config": {"views": ["live_fare", "whole_fare"]}}}}
    assert served(root, 1, 2) == [11.0, 21.0]
    assert daemon.tick() == []
    send(root, 1, day=2, file="b.jsonl")
    assert len(launch(daemon)) == 1
    assert served(root, 1, 2) == [12.0, 21.0]
    assert daemon.tick() == []


def test_two_ticks_that_see_the_same_ask_for_one_run(root: Path, instance: dg.DagsterInstance) -> None:
    send(root, 1)
    (one,) = Daemon(root, instance, SENSOR).tick()
    (other,) = Daemon(root, instance, SENSOR).tick()
    assert one.run_key == other.run_key
    send(root, 2)
    (later,) = Daemon(root, instance, SENSOR).tick()
    assert later.run_key != one.run_key


def test_one_run_at_a_time_is_asked_for(root: Path, instance: dg.DagsterInstance) -> None:
    send(root, 1)
    daemon = Daemon(root, instance, SENSOR)
    (request,) = daemon.tick()
    job = daemon.definitions().resolve_job_def(JOB)
    started = instance.create_run_for_job(
        job, run_config=request.run_config, tags=request.tags, status=dg.DagsterRunStatus.STARTED
    )
    send(root, 2)
    assert daemon.tick() == []
    instance.report_run_canceled(started)
    assert len(launch(daemon)) == 1
    assert served(root, 1, 2) == [11.0, 21.0]


def test_a_failed_run_is_asked_for_again_later(root: Path, instance: dg.DagsterInstance) -> None:
    send(root, 1)
    daemon = Daemon(root, instance, SENSOR)
    (request,) = daemon.tick()
    job = daemon.definitions().resolve_job_def(JOB)
    failed = instance.create_run_for_job(
        job, run_config=request.run_config, tags=request.tags, status=dg.DagsterRunStatus.STARTED
    )
    instance.report_run_failed(failed)
    assert daemon.tick() == []
    # Other offsets are another attempt.
    send(root, 2)
    assert len(launch(daemon)) == 1


def test_a_view_that_was_changed_and_not_applied_is_not_consumed(
    root: Path, write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    send(root, 1)
    write_repository(
        MORE.replace(
            'name="live_fare", entities=[driver], source=live, schema=FARE,',
            'name="live_fare", entities=[driver], source=live, schema=[Field(name="fare", dtype=Int64)],',
        )
    )
    assert Daemon(root, instance, SENSOR).tick() == []
    assert not run(root, instance).success
    assert served(root, 1) == [None]
