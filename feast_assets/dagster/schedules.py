"""Schedules: each group of partitioned views, when a window has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg


def feature_view_schedules(
    jobs: Sequence[Any], *, default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED
) -> list[Any]:
    """Returns a schedule for each job whose views have partitions: at the end of every window, it materializes that window.

    Views without partitions have no time at which they are due, so their jobs get none.

    Args:
        jobs: what `feature_view_jobs` returned.
        default_status: whether the schedules run before somebody switches them on.
    """
    return [
        dg.build_schedule_from_partitioned_job(job, default_status=default_status)
        for job in jobs
        if job.partitions_def is not None
    ]
