"""The library's grid of windows as Dagster's time-window partitions; both cut time in UTC and begin weeks on Sunday."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

import dagster as dg

from feast_assets.definitions.partitions import Grain, Partitions
from feast_assets.definitions.window import Window
from feast_assets.errors import DefinitionError

_DEFINITIONS: dict[Grain, type[dg.TimeWindowPartitionsDefinition]] = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
}

_FIRST_YEAR = 1000


def partitions_definition(partitions: Partitions) -> dg.TimeWindowPartitionsDefinition:
    """Returns the partitions whose windows are those of a grid. A window becomes a partition when it has ended.

    Raises:
        DefinitionError: the grid has no start, so the keys would not be fixed.
    """
    if partitions.start is None:
        raise DefinitionError(
            f"A {partitions.grain} grid without a start has no partition keys. The first apply fixes the start; "
            f'or declare it: Partitions("{partitions.grain}", start=...).'
        )
    made: dg.TimeWindowPartitionsDefinition = _DEFINITIONS[partitions.grain](  # type: ignore[call-arg]
        start_date=partitions.start, end_date=partitions.end, timezone="UTC"
    )
    return made


def windows_of(partitions_def: dg.TimeWindowPartitionsDefinition, keys: Iterable[str]) -> dict[Window, str]:
    """Returns the window of each partition key, in the keys' order."""
    bounds = ((key, partitions_def.time_window_for_partition_key(key)) for key in keys)
    return {Window(b.start.astimezone(UTC), b.end.astimezone(UTC)): key for key, b in bounds}


def is_partition(partitions_def: dg.TimeWindowPartitionsDefinition, key: str) -> bool:
    """Whether a key is that of a partition; not so where it cannot be read at all."""
    try:
        return partitions_def.has_partition_key(key)
    except (dg.DagsterError, ValueError):
        return False


def described(partitions_def: dg.TimeWindowPartitionsDefinition) -> str:
    """Returns in words which partitions there are at present."""
    first, last = partitions_def.get_first_partition_key(), partitions_def.get_last_partition_key()
    if first is None:
        return "there are none yet"
    return f"they go from {first!r} to {last!r}"


def partition_key(partitions_def: dg.TimeWindowPartitionsDefinition, window: Window) -> str:
    """Returns the key of the partition that begins where a window does."""
    return window.start.strftime(partitions_def.fmt)


def has_partition_key(window: Window) -> bool:
    """Whether Dagster knows a window's partition: it writes years before 1000 without zeros, and cannot read them."""
    return window.start.year >= _FIRST_YEAR
