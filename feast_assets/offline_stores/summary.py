"""What stores say of some rows without showing them; sums of parts are summaries of the whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import WindowStatistics


@dataclass(slots=True)
class Summary:
    """What is said of some rows.

    Attributes:
        oldest, newest, created: UTC microseconds; None where there are none.
        total, mix: the sum and the exclusive or of the rows' hashes.
        null_keys: rows that lack a join key; nothing else is said of them.
    """

    rows: int = 0
    oldest: int | None = None
    newest: int | None = None
    created: int | None = None
    total: int = 0
    mix: int = 0
    null_keys: int = 0

    def add(self, other: Summary) -> None:
        """Takes in other rows."""
        self.rows += other.rows
        self.oldest = min((v for v in (self.oldest, other.oldest) if v is not None), default=None)
        self.newest = max((v for v in (self.newest, other.newest) if v is not None), default=None)
        self.created = max((v for v in (self.created, other.created) if v is not None), default=None)
        self.total += other.total
        self.mix ^= other.mix
        self.null_keys += other.null_keys

    @property
    def text(self) -> str:
        """A text that changes when rows are added, removed or changed, whatever their order."""
        return f"{self.rows}:{self.total:x}:{self.mix:x}"


def whole_of(parts: Sequence[Summary]) -> Summary:
    """Returns the summary of all parts, which stay as they are; mostly there is one."""
    if len(parts) == 1:
        return parts[0]
    whole = Summary()
    for part in parts:
        whole.add(part)
    return whole


def statistics_of(window: Window, inputs: Sequence[Summary], *, of_source: bool = False) -> WindowStatistics:
    """Returns a window's statistics over the summaries of everything that goes into it.

    The inputs count one by one: rows that move from one to another are a change.

    Args:
        of_source: whether they are of a whole source, and the fingerprint is that of DuckDB's data versions.
    """
    whole = whole_of(inputs)
    text = "|".join(each.text for each in inputs)
    if of_source:
        # Data versions that Dagster has recorded of sources are hashes of the text as JSON.
        text = json.dumps(text)
    return WindowStatistics(
        window=window,
        rows=whole.rows,
        oldest_event=None if whole.oldest is None else from_micros(whole.oldest),
        newest_event=None if whole.newest is None else from_micros(whole.newest),
        newest_created=None if whole.created is None else from_micros(whole.created),
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:32] if whole.rows else "",
        null_keys=whole.null_keys,
    )
