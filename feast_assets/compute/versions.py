"""Versions: UTC microseconds at which content became known. They order rows whose times are equal.

Those of a window's content, which the ledger gives, are even; those of rows that are pushed, or read from a stream, are
odd. So each row of an online store says who wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_assets.definitions.spec import to_micros

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_CLOCKS_DIFFER_MICROS = 3600 * 1_000_000
"""By how much the clock of whoever writes messages may be ahead."""


def push_version() -> int:
    """Returns the version of rows that are handed in now."""
    return to_micros(datetime.now(UTC)) | 1


def message_versions(times: Sequence[int | None]) -> npt.NDArray[np.int64]:
    """Returns the versions of rows of a stream: when their messages were written, so that a replay gives the same.

    Args:
        times: UTC microseconds; None where the stream does not say. Such rows have the lowest version.
    """
    import numpy as np

    micros = np.fromiter((0 if time is None or time < 0 else time for time in times), np.int64, len(times))
    return micros | 1


def not_from_the_future(versions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the versions of rows of a stream, none much later than now.

    Whoever writes a message says when. A time far ahead would have its row win over every later correction of it.
    """
    import numpy as np

    return np.minimum(versions, (to_micros(datetime.now(UTC)) + _CLOCKS_DIFFER_MICROS) | 1)


def tiles_version(least: int) -> int:
    """Returns the version of rows that are made of what the source holds now.

    Args:
        least: of a window's content; the version is not smaller.
    """
    return max(to_micros(datetime.now(UTC)) & ~1, least)


def is_push(version: int) -> bool:
    """Whether a version is of a row that was handed in."""
    return version % 2 == 1


def of_windows(versions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Returns which of some versions are of a window's content, and not of rows that were handed in."""
    even: npt.NDArray[np.bool_] = versions % 2 == 0
    return even
