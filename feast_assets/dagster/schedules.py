"""Schedules: each group of partitioned views, when a window has ended; and the observation of sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from feast_assets.dagster.jobs import run_selection
from feast_assets.dagster.materialization import VIEW
from feast_assets.dagster.repository import FeatureRepository


def feature_view_schedules(
    assets: Sequence[dg.AssetsDefinition],
    jobs: Sequence[Any],
    *,
    repository: FeatureRepository | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> list[Any]:
    """Returns a schedule for each group of views with partitions.

    At the end of every window, it materializes that window. Views without partitions have no time at which they are
    due, so they get none.

    Args:
        assets: what `build_feature_view_assets` or `feature_view_assets` made.
        jobs: what `feature_view_jobs` made of them.
        repository: where it is given, views that have an automation of their own are left out.
        default_status: whether the schedules run before somebody switches them on.
    """
    automated = {v.name for v in repository.views if v.automation is not None} if repository is not None else set()
    schedules = []
    for group, job in zip(assets, jobs, strict=True):
        scheduled = [key for key, metadata in group.metadata_by_key.items() if metadata[VIEW] not in automated]
        if group.partitions_def is None or not scheduled:
            continue
        if len(scheduled) < len(list(group.keys)):
            of_schedule = dg.define_asset_job(
                f"{job.name}_on_schedule",
                selection=run_selection(group, scheduled),
                description="The views of the group that have no automation of their own.",
            )
        else:
            of_schedule = job
        schedules.append(
            dg.build_schedule_from_partitioned_job(
                of_schedule, name=f"{job.name}_schedule", default_status=default_status
            )
        )
    return schedules


def observation_schedules(
    jobs: Sequence[Any],
    *,
    cron_schedule: str = "0 * * * *",
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> list[dg.ScheduleDefinition]:
    """Returns a schedule for each job of `observe_jobs`: of use where views are automated eagerly.

    Args:
        cron_schedule: how often to look; every hour when left out.
    """
    return [dg.ScheduleDefinition(job=job, cron_schedule=cron_schedule, default_status=default_status) for job in jobs]
