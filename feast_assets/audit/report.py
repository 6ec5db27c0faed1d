"""What an audit found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.audit.causes import CAUSES, Cause

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One feature of one entity whose served value differs from history.

    Attributes:
        entity: join key -> value, JSON-able.
        online, offline: the values, JSON-able; None for null.
        status: the online value's status, such as "NOT_FOUND".
        online_event_timestamp, offline_event_timestamp: of the rows that the values come from, UTC; None where there is
            no row. The online one is given also where the value is withheld.
        cause: why; see `feast_assets.audit.causes.CAUSES`.
    """

    feature_view: str
    entity: Mapping[str, object]
    feature: str
    online: object
    offline: object
    status: str
    online_event_timestamp: datetime | None
    offline_event_timestamp: datetime | None
    cause: Cause


@dataclass(frozen=True, slots=True)
class ViewAudit:
    """What was compared for one view.

    Attributes:
        entities: how many were compared.
        values: how many values were compared: one for each entity and feature.
        causes: cause -> values that differ for it; only those that occur.
        online_sampled: whether some entities were taken from the online store. If not, the store cannot sample its
            keys: all entities come from history, and a row that only the online store has is not seen.
    """

    feature_view: str
    entities: int
    values: int
    causes: Mapping[str, int]
    online_sampled: bool = True


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `FeatureStore.audit` found; as text, a table of the views.

    Attributes:
        at: the moment as of which both sides were read, UTC.
        views: by name.
        mismatches: every value that differs, by view.
    """

    at: datetime
    views: tuple[ViewAudit, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def causes(self) -> dict[str, int]:
        """Cause -> values that differ for it, over all views; only those that occur."""
        total: Counter[str] = Counter()
        for view in self.views:
            total.update(view.causes)
        return {cause: total[cause] for cause in CAUSES if total[cause]}

    @property
    def unexplained(self) -> int:
        """How many values differ for no reason that the audit knows."""
        return self.causes.get("unexplained", 0)

    @property
    def limits(self) -> list[str]:
        """What the audit could not compare, in sentences; empty if it compared everything."""
        names = [view.feature_view for view in self.views if not view.online_sampled]
        if not names:
            return []
        return [
            "The online store cannot sample its keys, so all entities were taken from history; rows that only the "
            f"online store has are not seen. Feature views: {', '.join(names)}."
        ]

    def to_dict(self) -> dict[str, object]:
        """Returns the report as JSON-able data; times are ISO 8601, UTC."""
        return {
            "at": self.at.isoformat(),
            "limits": self.limits,
            "views": [asdict(view) for view in self.views],
            "mismatches": [{k: _readable(v) for k, v in asdict(m).items()} for m in self.mismatches],
        }

    def to_df(self) -> pd.DataFrame:
        """Returns the mismatches, one row each; columns as the attributes of `Mismatch`."""
        import pandas as pd

        return pd.DataFrame([asdict(m) for m in self.mismatches], columns=list(Mismatch.__slots__))

    def table(self) -> tuple[list[str], list[list[str | int]]]:
        """Returns headers, and a row for each view: what was compared, what is equal, and what differs by cause."""
        causes = list(self.causes)
        headers = ["VIEW", "ENTITIES", "VALUES", "EQUAL", *(cause.upper().replace("_", " ") for cause in causes)]
        return headers, [
            [
                view.feature_view,
                view.entities,
                view.values,
                view.values - sum(view.causes.values()),
                *(view.causes.get(cause, 0) for cause in causes),
            ]
            for view in self.views
        ]

    def __str__(self) -> str:
        headers, rows = self.table()
        lines = [headers, *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([*table, *self.limits])


def _readable(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
