"""Sensor ticks in tests: evaluated as the daemon does, their runs run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.definitions.window import Window

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass
class Daemon:
    """One sensor and its cursor, on an instance.

    Attributes:
        reloads: whether the code is loaded anew for each tick and run.
        keys: run keys that were launched; as in Dagster, none is launched twice.
    """

    root: Path
    instance: dg.DagsterInstance
    sensor: str
    deployment: str = ""
    reloads: bool = True
    cursor: str | None = None
    keys: set[str] = field(default_factory=set)
    _loaded: dg.Definitions | None = None

    def definitions(self) -> dg.Definitions:
        if self._loaded is None or self.reloads:
            self._loaded = definitions_for({"feature_store": self._feature_store()})
        return self._loaded

    def _feature_store(self) -> FeatureStoreResource:
        return FeatureStoreResource(repo_path=str(self.root), deployment=self.deployment)

    def tick(self, *, dies: bool = False) -> list[dg.RunRequest]:
        """Evaluates the sensor.

        Args:
            dies: whether the daemon does before it has kept the cursor.

        Returns:
            the requests that are to be launched.
        """
        data = evaluated(self.definitions(), self._feature_store(), self.instance, self.sensor, self.cursor)
        if not dies:
            self.cursor = data.cursor
        return [r for r in data.run_requests or [] if r.run_key not in self.keys]

    def run(self, requests: Sequence[dg.RunRequest]) -> list[bool]:
        """Runs requests, one after the other, and says which succeeded."""
        defs = self.definitions()
        succeeded = []
        for request in requests:
            assert request.run_key is not None and request.job_name is not None
            self.keys.add(request.run_key)
            # The request's tags hold the partition's already, as they come from an evaluated tick.
            result = defs.resolve_job_def(request.job_name).execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                tags={**request.tags, "dagster/run_key": request.run_key},
                asset_selection=list(request.asset_selection or []),
                raise_on_error=False,
            )
            succeeded.append(result.success)
        return succeeded

    def settle(self, most: int = 10) -> list[dg.RunRequest]:
        """Ticks and runs until a tick asks for nothing; returns all that was asked for."""
        asked: list[dg.RunRequest] = []
        for _ in range(most):
            requests = self.tick()
            if not requests:
                return asked
            asked += requests
            self.run(requests)
        raise AssertionError(f"still asking after {most} ticks: {asked}")


def evaluated(
    defs: dg.Definitions,
    feature_store: FeatureStoreResource,
    instance: dg.DagsterInstance,
    sensor: str,
    cursor: str | None = None,
) -> Any:
    """Returns what a sensor's tick comes to."""
    resources = {"feature_store": feature_store}
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, sensor_name=sensor, resources=resources
    ) as context:
        return defs.get_repository_def().get_sensor_def(sensor).evaluate_tick(context)


def days(first: int, last: int) -> list[Window]:
    """Returns days of January 2024, both included."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [Window(start + timedelta(days=d - 1), start + timedelta(days=d)) for d in range(first, last + 1)]


def spans(requests: Sequence[dg.RunRequest]) -> dict[str, set[str]]:
    """Returns for each range of partitions the assets asked for, by the last part of their keys."""
    found: dict[str, set[str]] = {}
    for request in requests:
        first, last = (request.tags.get(t, request.partition_key) for t in RANGE)
        span = "whole" if first is None else str(first) if first == last else f"{first}...{last}"
        found.setdefault(span, set()).update(k.path[-1] for k in request.asset_selection or [])
    return found
