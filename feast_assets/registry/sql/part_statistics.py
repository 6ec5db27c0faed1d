"""The statements for part statistics in a SQL registry; see `feast_assets.registry.sql.transaction`."""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from feast_assets.definitions.window import MICROSECOND
from feast_assets.registry.part_statistics import UNUSED, Segment
from feast_assets.registry.sql.pushes import PIECE_BYTES
from feast_assets.registry.sql.schema import PART_STATISTICS
from feast_assets.registry.sql.transaction import Query, Transaction, Value

_SEGMENTS = (
    f"SELECT segment, content FROM {PART_STATISTICS} WHERE project = :project AND digest = :digest "
    "ORDER BY segment, piece"
)
_NEWEST = f"SELECT max(segment) FROM {PART_STATISTICS} WHERE project = :project AND digest = :digest"
_ADD = (
    f'INSERT INTO {PART_STATISTICS} (project, digest, segment, piece, source, "at", content) '
    "VALUES (:project, :digest, :segment, :piece, :source, :at, :content)"
)
_REMOVE = f"DELETE FROM {PART_STATISTICS} WHERE project = :project AND digest = :digest AND segment = :segment"
_FORGET = f"DELETE FROM {PART_STATISTICS} WHERE project = :project AND digest = :digest"
_OTHERS = (
    f'SELECT digest, max("at") FROM {PART_STATISTICS} WHERE project = :project AND source = :source GROUP BY digest'
)


def segments(query: Query, project: str, digest: str) -> list[Segment]:
    """Returns what is kept under a digest; a piece that is not bytes is damaged and left out."""
    rows = query(_SEGMENTS, project=project, digest=digest)
    return [
        Segment(number, b"".join(bytes(piece) for _, piece in pieces if isinstance(piece, (bytes, memoryview))))
        for number, pieces in groupby(rows, key=lambda row: int(row[0]))
    ]


def keep(
    transaction: Transaction,
    project: str,
    digest: str,
    source: str,
    content: bytes,
    instead_of: Collection[int],
    now: int,
) -> None:
    """Adds a segment, and removes those that it takes the place of, and what is not used any more.

    Args:
        now: UTC microseconds.
    """
    (newest,) = transaction(_NEWEST, project=project, digest=digest)[0]
    key: dict[str, Value] = {"project": project, "digest": digest}
    transaction.each(_REMOVE, [{**key, "segment": number} for number in instead_of])
    row: dict[str, Value] = {**key, "segment": int(newest or 0) + 1, "source": source, "at": now}
    starts = range(0, max(len(content), 1), PIECE_BYTES)
    transaction.each(
        _ADD, ({**row, "piece": i, "content": content[at : at + PIECE_BYTES]} for i, at in enumerate(starts))
    )
    oldest = now - UNUSED // MICROSECOND
    others = transaction(_OTHERS, project=project, source=source)
    transaction.each(
        _FORGET, [{"project": project, "digest": other} for other, at in others if other != digest and at < oldest]
    )


def forget(transaction: Transaction, project: str, digest: str) -> None:
    """Removes what is kept under a digest."""
    transaction.each(_FORGET, [{"project": project, "digest": digest}])
