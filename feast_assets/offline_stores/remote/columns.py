"""Columns of numbers as messages, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.part_summaries import COLUMNS, Contributions, PartSummaries
from feast_assets.offline_stores.remote.messages import StatisticsMessage, SummariesMessage
from feast_assets.offline_stores.statistics_columns import StatisticsColumns

_NUMBERS = ("starts", "ends", "rows", "oldest", "newest", "created", "null_keys")


def micros_of(windows: Sequence[Window]) -> tuple[list[int], list[int]]:
    """Returns starts and ends of windows in UTC microseconds, from which `windows_of` makes the same windows."""
    return [to_micros(window.start) for window in windows], [to_micros(window.end) for window in windows]


def windows_of(starts: Sequence[int], ends: Sequence[int]) -> list[Window]:
    """Returns windows from their starts and ends.

    Raises:
        ValueError: there are not as many of both.
    """
    return [Window(from_micros(start), from_micros(end)) for start, end in zip(starts, ends, strict=True)]


def statistics_message(statistics: Sequence[WindowStatistics], null_times: int = 0) -> StatisticsMessage:
    """Returns statistics of windows as a message."""
    columns = StatisticsColumns.of(statistics)
    return StatisticsMessage(
        [_bytes(getattr(columns, name)) for name in _NUMBERS], columns.fingerprints.tolist(), null_times
    )


def statistics_of_message(message: StatisticsMessage) -> StatisticsColumns:
    """Returns the statistics that a message describes.

    Raises:
        ValueError: its columns have different lengths, or one is missing.
    """
    numbers = {name: _int64(column) for name, column in zip(_NUMBERS, message.numbers, strict=True)}
    if {len(column) for column in numbers.values()} != {len(message.fingerprints)}:
        raise ValueError("columns have different lengths")
    texts = np.array(message.fingerprints, np.bytes_) if message.fingerprints else np.zeros(0, "S1")
    return StatisticsColumns(fingerprints=texts, **numbers)


def summaries_message(summaries: PartSummaries) -> SummariesMessage:
    """Returns what was read of some parts as a message."""
    return SummariesMessage([_bytes(column) for column in summaries.contributions.columns], [*summaries.null_times])


def summaries_of_message(message: SummariesMessage) -> PartSummaries:
    """Returns what a message says of some parts.

    Raises:
        ValueError: its columns have different lengths, or one is missing.
    """
    columns = [_int64(column) for _, column in zip(COLUMNS, message.columns, strict=True)]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("columns have different lengths")
    return PartSummaries(Contributions(*columns), message.null_times)


def _bytes(numbers: npt.NDArray[np.int64]) -> bytes:
    return np.ascontiguousarray(numbers, "<i8").tobytes()


def _int64(column: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(column, "<i8").astype(np.int64)
