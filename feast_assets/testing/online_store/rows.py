"""Rows for tests of online stores: making, reading, scanning and removing them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from feast_assets.online_stores.abilities import CanReplace, RowStamps
from feast_assets.online_stores.base import EncodedRows, OnlineRead, OnlineStore, PutResult, StoredRows

StoreFactory = Callable[[], OnlineStore]

Row = tuple[bytes, int, int, int, bytes]
"""Key, event timestamp, created timestamp, version, payload."""

Content = tuple[int, int, int, bytes]
"""The same without the key."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
# The years 1 and 9999.
FAR_PAST = -62_135_596_800_000_000
FAR_FUTURE = 253_402_300_799_999_999
TIMES = (INT64_MIN, FAR_PAST, -1, 0, 1, 2**53, 2**53 + 1, 1_700_000_000_000_000, FAR_FUTURE, INT64_MAX)
VERSIONS = (0, 1, 2**32 - 1, 2**32, 1_700_000_000_000_000, INT64_MAX)


def encoded(rows: Sequence[Row]) -> EncodedRows:
    """Returns rows as a batch."""
    return EncodedRows(
        keys=[row[0] for row in rows],
        event_timestamps=np.array([row[1] for row in rows], np.int64),
        created_timestamps=np.array([row[2] for row in rows], np.int64),
        versions=np.array([row[3] for row in rows], np.int64),
        payloads=[row[4] for row in rows],
    )


def stamps(rows: Sequence[Row]) -> RowStamps:
    """Returns rows as a scan yields them."""
    return RowStamps.of(encoded(rows))


def read_rows(store: OnlineStore, table: str, keys: Sequence[bytes]) -> list[Content | None]:
    """Returns (event, created, version, payload) per key, or None where there is no row."""
    (stored,) = store.get_many([OnlineRead(table, keys)])
    return contents(stored)


def contents(stored: StoredRows) -> list[Content | None]:
    """Returns the rows of one read as `read_rows` does; fails where they are not as `StoredRows` says."""
    columns = (stored.event_timestamps, stored.created_timestamps, stored.versions)
    assert {type(value) for column in columns for value in column} <= {int}
    assert len({len(column) for column in (*columns, stored.payloads)}) == 1
    rows: list[Content | None] = []
    for event, created, version, payload in zip(*columns, stored.payloads, strict=True):
        if payload is None:
            assert (event, created, version) == (0, 0, 0)
            rows.append(None)
        else:
            assert type(payload) is bytes
            rows.append((event, created, version, payload))
    return rows


def scanned(
    store: CanReplace, table: str, start: int, end: int, version_below: int | None = None
) -> set[tuple[bytes, int, int, int]]:
    """Returns (key, event, created, version) of the rows that a scan yields."""
    rows: set[tuple[bytes, int, int, int]] = set()
    for some in store.scan(table, start, end, version_below=version_below):
        columns = (some.event_timestamps, some.created_timestamps, some.versions)
        assert {column.dtype for column in columns} == {np.dtype(np.int64)}
        assert len(some) > 0
        rows.update(zip(some.keys, *(column.tolist() for column in columns), strict=True))
    return rows


def remove_rows(store: OnlineStore, table: str, keys: Sequence[bytes]) -> None:
    """Removes rows behind everybody's back."""
    assert isinstance(store, CanReplace)
    rows = zip(keys, read_rows(store, table, keys), strict=True)
    store.replace_many(table, stamps([(key, *content) for key, content in rows if content is not None]), encoded([]))


def newest(rows: Sequence[Row]) -> dict[bytes, Content]:
    """Returns the row per key that must be stored after these were put in any order."""
    result: dict[bytes, Content] = {}
    for key, event, created, version, payload in rows:
        row = (event, created, version, payload)
        result[key] = max(result.get(key, row), row)
    return result


def random_rows(seed: int, count: int, keys: int) -> list[Row]:
    """Returns rows with many equal keys, timestamps and versions, some of them equal altogether."""
    rng = random.Random(seed)
    # Few of them, so that rows often differ in their payloads alone.
    events, created, versions = rng.sample(TIMES, 4), rng.sample(TIMES, 3), rng.sample(VERSIONS, 3)
    return [
        (
            b"key-%d" % rng.randrange(keys),
            rng.choice(events),
            rng.choice(created),
            rng.choice(versions),
            bytes(rng.choices([0, 1, 127, 128, 255], k=rng.randrange(4))),
        )
        for _ in range(count)
    ]


def assert_counts(put: PutResult, written: int, ignored: int) -> None:
    """Fails where a put says that it wrote or ignored other numbers of rows; it may say that it does not know."""
    assert put.written in (written, None)
    assert put.ignored in (ignored, None)
