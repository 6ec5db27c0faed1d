"""The number of the format of the rows in a Redis database, under the key ``fa:format``.

A database without the key has rows of format 1, which was never noted. A version of this package that writes another
format notes its number there, before it writes the first row.
"""

from __future__ import annotations

from feast_assets.online_stores.redis.commands import command
from feast_assets.stored_formats import REDIS_ROWS

KEY = b"fa:format"
ASK = command([b"GET", KEY])
"""The command whose answer `check` takes."""


def check(answer: bytes | None, server: str) -> None:
    """Checks that this version reads the rows of a database.

    Raises:
        StoredFormatError: a newer version of this package wrote them.
    """
    # What is no number, others have written.
    number = int(answer) if answer is not None and answer.isdigit() else 1
    REDIS_ROWS.check(number, f"The online store in Redis at {server}")
