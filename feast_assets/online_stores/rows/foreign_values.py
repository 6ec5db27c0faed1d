"""Foreign values: values that are stored under the key of a row and cannot be rows.

Another program wrote them, or they are damaged. They count as missing, so that reads and runs go on. Warnings name
their keys, so that their origin can be looked for.
"""

from __future__ import annotations

import warnings

from feast_assets.errors import ForeignValueWarning

_KEYS_REMEMBERED = 1000
_KEY_CHARACTERS = 120

LEAST_PAYLOAD = 4
"""Each payload of the row codec begins with a schema id of so many bytes."""

NEWEST_VERSION = 2**56 - 1
"""Of a row that this package made: microseconds until the year 4253."""

# Event times from year 1 to 9999, in microseconds.
OLDEST_EVENT, NEWEST_EVENT = -62_135_596_800_000_000, 253_402_300_799_999_999


def foreign_row(version: int, payload: bytes) -> str:
    """Returns why a row cannot be one of the row codec, of any schema; ``""`` where it can."""
    if len(payload) < LEAST_PAYLOAD:
        return f"its payload has {len(payload)} bytes, fewer than {LEAST_PAYLOAD}"
    if not 0 <= version <= NEWEST_VERSION:
        return f"its version, {version}, is no time in microseconds"
    return ""


def shown_key(key: bytes) -> str:
    """Returns a key as text with escapes, of bounded length."""
    shown = repr(key)
    return shown if len(shown) <= _KEY_CHARACTERS else f"{shown[:_KEY_CHARACTERS]}... ({len(key)} bytes)"


class ForeignValues:
    """Warns of foreign values, once for each key. Safe to share between threads.

    Args:
        store: which store holds them, for messages.
    """

    def __init__(self, store: str):
        self._store = store
        self._warned: set[tuple[str, bytes]] = set()

    def warn(self, table: str, key: bytes, reason: str, *, overwritten: bool = False) -> None:
        """Warns of one value, unless it was done before.

        After a thousand keys it says that there are more, and then nothing: a hot path may meet millions.

        Args:
            reason: why it cannot be a row, such as ``"it has 3 bytes"``.
            overwritten: whether a row has overwritten it.
        """
        at = (table, key)
        if at in self._warned or len(self._warned) > _KEYS_REMEMBERED:
            return
        self._warned.add(at)
        if len(self._warned) > _KEYS_REMEMBERED:
            message = f"{self._store}: more than {_KEYS_REMEMBERED} foreign values; further ones are not named."
        else:
            done = "a row has overwritten it" if overwritten else "it counts as missing until a row overwrites it"
            message = (
                f"{self._store}, table {table!r}: the value under key {shown_key(key)} is not a row ({reason}); {done}."
            )
        warnings.warn(message, ForeignValueWarning, stacklevel=2)
