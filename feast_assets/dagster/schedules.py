"""Schedules: each group of partitioned views, when a window has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg


def feature_view_schedules(
    assets: Sequence[dg.AssetsDefinition],
    jobs: Sequence[Any],
    *,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> list[Any]:
    """Returns a schedule for each group of views with partitions.

    At the end of every window, it materializes that window. Views without partitions have no time at which they are
    due, so they get none.

    Args:
        assets: what `build_feature_view_assets` or `feature_view_assets` made.
        jobs: what `feature_view_jobs` made of them.
        default_status: whether the schedules run before somebody switches them on.
    """
    return [
        dg.build_schedule_from_partitioned_job(job, default_status=default_status)
        for group, job in zip(assets, jobs, strict=True)
        if group.partitions_def is not None
    ]
