"""Rows as Redis holds them: their times, then their payloads, in one value that stays as it came until it is needed."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast_assets.online_stores.base import StoredRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER = struct.Struct(">QQ")
HEADER_WIDTH = HEADER.size
SIGN = 1 << 63
# Of timestamps that are 0.
_NO_STAMPS = (SIGN, SIGN)


def headers(event: NDArray[np.int64], created: NDArray[np.int64]) -> list[bytes]:
    """Returns what the values of n rows begin with; values compare as their times do."""
    import numpy as np  # Reading needs none.

    stamps = np.stack([event, created], axis=1).astype(np.int64).view(np.uint64) ^ np.uint64(SIGN)
    values: list[bytes] = stamps.astype(">u8").view(f"V{HEADER_WIDTH}").ravel().tolist()
    return values


class StampedRows(StoredRows):
    """Rows whose stored values begin with their times, which are taken apart only for who asks for a part.

    A value too short to have times counts as not there.

    Args:
        values: n stored values; None where there is no row.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[bytes | None]):
        self._values = values

    @property
    def values(self) -> tuple[Sequence[bytes | None], int]:
        return self._values, HEADER_WIDTH

    @property
    def event_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return [event - SIGN for event, _ in self._stamps()]

    @property
    def created_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return [created - SIGN for _, created in self._stamps()]

    @property
    def payloads(self) -> Sequence[bytes | None]:  # type: ignore[override]
        return [None if value is None or len(value) < HEADER_WIDTH else value[HEADER_WIDTH:] for value in self._values]

    def foreign(self) -> Mapping[int, str]:
        return {
            place: reason
            for place, value in enumerate(self._values)
            if value is not None and (reason := foreign_value(value))
        }

    def before(self, oldest: int) -> list[int]:
        if oldest <= -SIGN:
            return []
        # Values compare as their times do, and a longer one comes after what it begins with.
        bound = (oldest + SIGN).to_bytes(8, "big")
        try:
            if min(self._values) >= bound:  # type: ignore[type-var, operator]
                return []
        except (TypeError, ValueError):
            pass  # Some are not there, or all.
        return [place for place, value in enumerate(self._values) if value is not None and value < bound]

    def _stamps(self) -> list[tuple[int, int]]:
        values = self._values
        try:
            return [_NO_STAMPS if value is None else HEADER.unpack_from(value) for value in values]
        except struct.error:
            return [
                _NO_STAMPS if value is None or len(value) < HEADER_WIDTH else HEADER.unpack_from(value)
                for value in values
            ]


def foreign_value(value: bytes) -> str:
    """Returns why a stored value cannot be a row, whatever its payload; ``""`` where it can."""
    if len(value) < HEADER_WIDTH:
        return f"it has {len(value)} bytes, fewer than its two timestamps"
    return ""
