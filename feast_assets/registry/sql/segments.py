"""The segments of a view's ledger in a SQL database; see `feast_assets.registry.segments`."""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from feast_assets.registry.segments import LedgerSegment
from feast_assets.registry.sql.schema import SEGMENTS
from feast_assets.registry.sql.transaction import Row, Transaction, Value

_OF_VIEW = f'FROM {SEGMENTS} WHERE project = :project AND "view" = :view'
_SPANS = f"SELECT first_start, last_end {_OF_VIEW} ORDER BY first_start"
_ONE = f"SELECT first_start, last_end, stamp, content {_OF_VIEW} AND first_start = :first_start"
_LEAVE = f'DELETE FROM {SEGMENTS} WHERE project = :project AND "view" = :view AND first_start = :first_start'


@dataclass(frozen=True, slots=True)
class SqlSegments:
    """The segments of one view, a row each, in a transaction that writes."""

    transaction: Transaction
    project: str
    view: str

    def spans(self) -> Sequence[tuple[int, int]]:
        return [(first, last) for first, last in self._query(_SPANS)]

    def segment(self, first_start: int) -> Sequence[Any]:
        (row,) = self._query(_ONE, first_start=first_start)
        return row

    def exchange(self, left: Sequence[int], came: Iterable[LedgerSegment]) -> None:
        of_view: Row = {"project": self.project, "view": self.view}
        self.transaction.each(_LEAVE, ({**of_view, "first_start": first} for first in left))
        self.transaction.upsert(SEGMENTS, ({**of_view, **segment._asdict()} for segment in came))

    def _query(self, statement: str, **values: Value) -> Sequence[tuple[Any, ...]]:
        return self.transaction(statement, project=self.project, view=self.view, **values)
