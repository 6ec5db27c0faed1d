"""Rows as Redis holds them: one value for each, of event timestamp, created timestamp, version and payload.

The first three are 8 bytes each, big-endian, the timestamps with the sign bit flipped: so values compare as rows do.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from feast_assets.online_stores.abilities import RowStamps
from feast_assets.online_stores.base import EncodedRows, StoredRows

HEADER = struct.Struct(">QQQ")
HEADER_WIDTH = HEADER.size
# What somebody else wrote may be any number, and versions are signed where they are read as an array, too.
_SIGNED_VERSION = struct.Struct(">QQq")
SIGN = 1 << 63
_FEW_ROWS = 16
"""Rows that take less time one by one than arrays take to be made."""
# Two timestamps and a version that are 0.
_NO_STAMPS = (SIGN, SIGN, 0)


def headers(rows: EncodedRows | RowStamps) -> list[bytes]:
    """Returns the first `HEADER_WIDTH` bytes of the value of each row."""
    import numpy as np  # Serving, which only reads by key, does not load numpy.

    columns = [rows.event_timestamps, rows.created_timestamps, rows.versions]
    if len(rows.keys) <= _FEW_ROWS:
        stamps_of_rows = zip(*(column.tolist() for column in columns), strict=True)
        return [
            HEADER.pack(event + SIGN, created + SIGN, version % 2**64) for event, created, version in stamps_of_rows
        ]
    stamps = np.stack(columns, axis=1).astype(np.int64).view(np.uint64) ^ np.array([SIGN, SIGN, 0], np.uint64)
    values: list[bytes] = stamps.astype(">u8").view(f"V{HEADER_WIDTH}").ravel().tolist()
    return values


def stamps_of(keys: Sequence[bytes], values: Sequence[bytes]) -> RowStamps:
    """Returns rows by their keys, and the first `HEADER_WIDTH` bytes of the value of each."""
    import numpy as np

    numbers = np.frombuffer(b"".join(values), ">u8").astype(np.uint64).reshape(-1, 3)
    events, created, versions = (numbers ^ np.array([SIGN, SIGN, 0], np.uint64)).view(np.int64).T
    return RowStamps(keys, events, created, versions)


class StampedRows(StoredRows):
    """Rows whose stored values are taken apart only when a part is asked for.

    A value shorter than `HEADER_WIDTH` counts as missing.

    Args:
        values: n stored values; None where there is no row.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[bytes | None]):
        self._values = values

    @property
    def stored_values(self) -> tuple[Sequence[bytes | None], int]:
        return self._values, HEADER_WIDTH

    @property
    def event_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return [event - SIGN for event, _, _ in self._stamps()]

    @property
    def created_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return [created - SIGN for _, created, _ in self._stamps()]

    @property
    def versions(self) -> Sequence[int]:  # type: ignore[override]
        return [version for _, _, version in self._stamps()]

    @property
    def payloads(self) -> Sequence[bytes | None]:  # type: ignore[override]
        return [None if value is None or len(value) < HEADER_WIDTH else value[HEADER_WIDTH:] for value in self._values]

    def foreign(self) -> Mapping[int, str]:
        return {
            index: reason
            for index, value in enumerate(self._values)
            if value is not None and (reason := foreign_value(value))
        }

    def older_than(self, oldest: int) -> list[int]:
        if oldest <= -SIGN:
            return []
        # Values compare as their times do, and a longer value is larger than its beginning.
        bound = (oldest + SIGN).to_bytes(8, "big")
        try:
            if min(self._values) >= bound:  # type: ignore[type-var, operator]
                return []
        except (TypeError, ValueError):
            pass  # Some rows are missing, or all.
        return [index for index, value in enumerate(self._values) if value is not None and value < bound]

    def _stamps(self) -> list[tuple[int, int, int]]:
        values = self._values
        try:
            return [_NO_STAMPS if value is None else _SIGNED_VERSION.unpack_from(value) for value in values]
        except struct.error:
            return [
                _NO_STAMPS if value is None or len(value) < HEADER_WIDTH else _SIGNED_VERSION.unpack_from(value)
                for value in values
            ]


def foreign_value(value: bytes) -> str:
    """Returns why a stored value cannot be a row, whatever its payload; ``""`` where it can."""
    if len(value) < HEADER_WIDTH:
        return f"it has {len(value)} bytes, fewer than the timestamps and the version of a row"
    return ""
