"""The statements for checkpoints in a SQL registry; see `feast_assets.registry.sql.transaction`."""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

from collections.abc import Sequence

from feast_assets.definitions.spec import content_hash, from_micros, to_micros
from feast_assets.registry.checkpoints import Checkpoint
from feast_assets.registry.sql.schema import CHECKPOINTS
from feast_assets.registry.sql.transaction import Query, Row, Transaction

_ALL = (
    f'SELECT reader, source, "partition", "identity", "position", "at" FROM {CHECKPOINTS} '
    'WHERE project = :project AND source = :source ORDER BY reader, "partition"'
)
_FORGET = f"DELETE FROM {CHECKPOINTS} WHERE project = :project AND source = :source AND reader = :reader"


def checkpoints(query: Query, project: str, source: str) -> list[Checkpoint]:
    """Returns the checkpoints of a stream source."""
    rows = query(_ALL, project=project, source=source)
    return [
        Checkpoint(reader, of, partition, identity, int(position), from_micros(at))
        for reader, of, partition, identity, position, at in rows
    ]


def keep(transaction: Transaction, project: str, given: Sequence[Checkpoint]) -> None:
    """Keeps those checkpoints that are farther than what is there, or of another stream."""
    for source in dict.fromkeys(each.source for each in given):
        standing = {(c.reader, c.partition): c for c in checkpoints(transaction, project, source)}
        rows: list[Row] = []
        for each in given:
            known = standing.get((each.reader, each.partition))
            is_behind = known is not None and known.identity == each.identity and known.position >= each.position
            if each.source == source and not is_behind:
                rows.append(
                    {
                        "project": project,
                        "reader_hash": content_hash([each.reader, each.partition]),
                        "reader": each.reader,
                        "source": each.source,
                        "partition": each.partition,
                        "identity": each.identity,
                        "position": str(each.position),
                        "at": to_micros(each.at),
                    }
                )
        transaction.upsert(CHECKPOINTS, rows)


def forget(transaction: Transaction, project: str, source: str, readers: Sequence[str]) -> None:
    """Removes the checkpoints of some readers."""
    transaction.each(_FORGET, [{"project": project, "source": source, "reader": reader} for reader in readers])
