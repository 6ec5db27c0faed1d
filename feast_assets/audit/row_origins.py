"""Where the values of an online answer come from: which row of which view, and which run or push wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.compute.versions import is_push
from feast_assets.definitions.spec import from_micros
from feast_assets.online_stores.base import NO_CREATED_TIME

if TYPE_CHECKING:
    from feast_assets.registry.base import LedgerEntry, Registry
    from feast_assets.registry.ledger_columns import LedgerColumns
    from feast_assets.retrieval.response import OnlineResponse

RUN = "run"
HANDED_IN = "push"


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """The stored row that some values of an answer come from.

    Attributes:
        feature_view: the view whose row it is.
        row: which entity row of the answer it was read for, counted from 0.
        columns: the names of the answer's columns with its values. A feature that only a function takes is not among
            them.
        event_timestamp: of the row, UTC.
        created_timestamp: when the source says it was written, UTC; None where the source does not say.
        version: UTC microseconds at which the row's content became known; orders rows whose times are equal.
        written_by: ``"run"``: a materialization; ``"push"``: the row was handed in, by a push, a write or a stream.
        window: the partition that the row's event time lies in, ``[start, end)``; None where nothing of it was
            materialized.
        run_id: the run that has settled the window's present content, if that is what the row is of; "" where another
            run wrote the row, or none.
        materialized_at: when that run settled the window, UTC; None where ``run_id`` says nothing of the row.
    """

    feature_view: str
    row: int
    columns: tuple[str, ...]
    event_timestamp: datetime
    created_timestamp: datetime | None
    version: int
    written_by: str
    window: tuple[datetime, datetime] | None
    run_id: str
    materialized_at: datetime | None

    def to_json(self) -> dict[str, object]:
        """Returns the same as data that ``json.dumps`` takes; times are ISO 8601."""
        return {
            "feature_view": self.feature_view,
            "row": self.row,
            "columns": list(self.columns),
            "event_timestamp": _text(self.event_timestamp),
            "created_timestamp": _text(self.created_timestamp),
            "version": self.version,
            "written_by": self.written_by,
            "window": None if self.window is None else [_text(edge) for edge in self.window],
            "run_id": self.run_id,
            "materialized_at": _text(self.materialized_at),
        }


def row_origins(response: OnlineResponse, registry: Registry) -> list[RowOrigin]:
    """Returns where the stored rows of an answer come from, view by view, and row by row.

    Entities without a row, and join keys, request data and computed features have none; what a function computes from
    are features of the stored rows. The registry is asked once for each view.
    """
    ledgers: dict[str, LedgerColumns] = {}
    origins: list[RowOrigin] = []
    for view, (names, _), read in zip(response.shape.views, response.shape.of_reads, response.reads, strict=True):
        for row, (event, created, version) in enumerate(read.stored_times()):
            if not version and not event:
                continue
            if view not in ledgers:
                ledgers[view] = registry.ledger_columns(view)
            entry = _entry(ledgers[view], event)
            pushed = is_push(version)
            is_of_run = entry is not None and not pushed and entry.settled and entry.version == version
            origins.append(
                RowOrigin(
                    feature_view=view,
                    row=row,
                    columns=tuple(names),
                    event_timestamp=from_micros(event),
                    created_timestamp=None if created == NO_CREATED_TIME else from_micros(created),
                    version=version,
                    written_by=HANDED_IN if pushed else RUN,
                    window=None if entry is None else (entry.window.start, entry.window.end),
                    run_id=entry.run_id if is_of_run and entry is not None else "",
                    materialized_at=entry.at if is_of_run and entry is not None else None,
                )
            )
    return origins


def _entry(ledger: LedgerColumns, event: int) -> LedgerEntry | None:
    """Returns the entry of the window that an event time (UTC microseconds) lies in."""
    positions = ledger.overlapping(event, event + 1)
    return ledger.entry(positions.start) if positions.start < positions.stop else None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
