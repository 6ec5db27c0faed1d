"""Recognising a file at the registry's path that another program wrote."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 1 << 20
"""How much of a file is looked at."""

# Numbers of Feast's Registry message: all its fields, and those that every registry file has (its version, its id).
_FEAST_FIELDS = frozenset(range(1, 32))
_FEAST_ALWAYS = frozenset((3, 4))
_LENGTH_DELIMITED = 2


def is_feast_registry_file(file: Path) -> bool:
    """Returns whether a file is one that Feast's file registry wrote: one protobuf message, which is not decoded."""
    with file.open("rb") as opened:
        return is_feast_registry(opened.read(MOST_BYTES))


def is_feast_registry(data: bytes) -> bool:
    """Returns whether some bytes, or the first `MOST_BYTES` of more, are a registry that Feast wrote."""
    whole = len(data) < MOST_BYTES
    seen: set[int] = set()
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        length, at = _varint(data, at)
        number = key >> 3
        if key & 7 != _LENGTH_DELIMITED or number not in _FEAST_FIELDS or length < 0 or at < 0:
            return False
        seen.add(number)
        at += length
    return seen >= _FEAST_ALWAYS and (at == len(data) or not whole)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number at a position, and the position after it; -1 for both where there is none."""
    value = 0
    for index in range(at, min(at + 5, len(data))) if at >= 0 else ():
        value |= (data[index] & 0x7F) << (7 * (index - at))
        if data[index] < 0x80:
            return value, index + 1
    return -1, -1
