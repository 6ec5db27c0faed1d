"""Reads messages in protobuf's wire format by the numbers of their fields, without code generated for them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_SECONDS = 10**11


class WireFormatError(ValueError):
    """Some bytes are not a message."""


class Message:
    """A message. What is asked for and not there has the default of its type, as in protobuf.

    All methods take the number of a field.
    """

    def __init__(self, data: bytes = b""):
        """Divides a message into its fields; those inside of messages in it are not looked at.

        Raises:
            WireFormatError: it is not a message.
        """
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _fields(data):
            self._fields.setdefault(number, []).append(value)

    def has(self, number: int) -> bool:
        """Says whether a field is there."""
        return number in self._fields

    def message(self, number: int) -> Message:
        """Returns a message in the message; an empty one if it is not there."""
        return Message(self.content(number))

    def messages(self, number: int) -> list[Message]:
        """Returns repeated messages."""
        return [Message(content) for content in self.contents(number)]

    def content(self, number: int) -> bytes:
        """Returns bytes."""
        contents = self.contents(number)
        return contents[-1] if contents else b""

    def contents(self, number: int) -> list[bytes]:
        """Returns repeated bytes."""
        values = self._fields.get(number, [])
        if not all(isinstance(value, bytes) for value in values):
            raise WireFormatError(f"field {number} has another type than expected")
        return [value for value in values if isinstance(value, bytes)]

    def text(self, number: int) -> str:
        """Returns a text."""
        return _text(self.content(number))

    def texts(self, number: int) -> list[str]:
        """Returns repeated texts."""
        return [_text(content) for content in self.contents(number)]

    def number(self, number: int) -> int:
        """Returns an integer, the number of an enum's value, or a truth value as 0 or 1."""
        value = self._fields.get(number, [0])[-1]
        if not isinstance(value, int):
            raise WireFormatError(f"field {number} has another type than expected")
        return value - 2**64 if value >= 2**63 else value

    def numbers(self, number: int) -> list[int]:
        """Returns repeated integers, one by one or packed."""
        values: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                values.append(value)
                continue
            at = 0
            while at < len(value):
                packed, at = _varint(value, at)
                values.append(packed)
        return values

    def flag(self, number: int) -> bool:
        """Returns a truth value."""
        return bool(self.number(number))

    def float(self, number: int) -> float:
        """Returns a number of four bytes."""
        content = self.content(number)
        return float(struct.unpack("<f", content)[0]) if len(content) == 4 else 0.0

    def mapping(self, number: int) -> dict[str, str]:
        """Returns a map of texts."""
        return {entry.text(1): entry.text(2) for entry in self.messages(number)}

    def moment(self, number: int) -> datetime | None:
        """Returns a Timestamp, in UTC; None if it is not there, or not a year from 1 to 9999."""
        if not self.has(number):
            return None
        try:
            return datetime.fromtimestamp(0, UTC) + self.duration(number)
        except OverflowError:
            return None

    def duration(self, number: int) -> timedelta:
        """Returns a Duration, to the microsecond."""
        value = self.message(number)
        seconds = max(-_MOST_SECONDS, min(_MOST_SECONDS, value.number(1)))
        return timedelta(seconds=seconds, microseconds=value.number(2) // 1000)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not number:
            raise WireFormatError("a field has no number")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise WireFormatError(f"a field has the unknown type {kind}")
        if at + length > len(data):
            raise WireFormatError("it ends in the middle of a field")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Returns the number at a position, and the position after it."""
    value = 0
    for index in range(at, min(at + 10, len(data))):
        value |= (data[index] & 0x7F) << (7 * (index - at))
        if data[index] < 0x80:
            return value & (2**64 - 1), index + 1
    raise WireFormatError("it ends in the middle of a number")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise WireFormatError("a text is not UTF-8") from error
