"""Why a served value differs from history."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from feast_assets.compute.versions import is_push
from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry

Cause = Literal[
    "late_row",
    "lag",
    "restored",
    "ttl",
    "expired",
    "evicted",
    "damaged",
    "code_changed",
    "pushed",
    "ahead",
    "unexplained",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)
"""Why a value differs.

``late_row``: the source's rows of the window have changed since it was materialized. ``lag``: the window is not
materialized yet, or a run of it has not come to its end. ``restored``: the online store, or the registry, was put back
to an earlier state, and the window has not been run again. ``ttl``: the row is older than the view's ttl, which online
reads do not enforce. ``expired``: the online store lacks the row, and the time that it keeps rows has passed since it
was written. ``evicted``: the online store lacks the row, and removes rows when its memory is full. ``damaged``: what
the online store holds under the entity's key is not a row: it is foreign or damaged. ``code_changed``:
the view's definition, or its online table, has changed since the window was materialized. ``pushed``: the row was
pushed or written directly, and is newer than history. ``ahead``: the row's event time lies after the moment of the
audit. ``unexplained``: none of these, so the values should be equal.
"""


class EntriesByTime:
    """The entries of one view's ledger, by the event times that they cover."""

    def __init__(self, entries: Sequence[LedgerEntry]):
        self._entries = sorted(entries, key=lambda e: e.window)
        self._starts = [e.window.start for e in self._entries]

    def at(self, event: datetime | None) -> LedgerEntry | None:
        """Returns the entry whose window holds an event time; None where there is none."""
        if event is None:
            return None
        index = bisect_right(self._starts, event) - 1
        if index < 0 or event >= self._entries[index].window.end:
            return None
        return self._entries[index]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a view when causes are determined.

    Attributes:
        at: the moment of the audit.
        entries: the ledger.
        changed: windows of the ledger whose source has another fingerprint now.
        definition_hash: the hash that the ledger would keep now.
        ttl: the view's; None for ever.
        key_ttl: how long the online store keeps a row after it was written; None for ever.
        evicts: whether the online store removes rows when its memory is full.
    """

    at: datetime
    entries: EntriesByTime
    changed: Collection[Window]
    definition_hash: str
    ttl: timedelta | None = None
    key_ttl: timedelta | None = None
    evicts: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rows that the two sides take one entity's values from.

    Attributes:
        online_event: event time of the row in the online store, whether it is served or withheld; None for no row.
        version: of that row; see `feast_assets.compute.versions`.
        offline_event: event time of the row in history that counts; None for none.
        damaged: whether the online store holds something under the entity's key that is not a row.
    """

    online_event: datetime | None
    version: int
    offline_event: datetime | None
    damaged: bool = False

    def cause(self, known: Known) -> Cause:
        """Returns why the two differ."""
        if self.damaged:
            return "damaged"
        online, offline = self.online_event, self.offline_event
        # The newer row is the one that the other side lacks, or holds otherwise.
        online_is_newer = online is not None and (offline is None or online >= offline)
        if online_is_newer and is_push(self.version):
            return "pushed"
        if online is not None and online > known.at:
            return "ahead"
        if known.ttl is not None and online is not None and online < known.at - known.ttl and offline is None:
            return "ttl"
        entry = known.entries.at(online if online_is_newer else offline)
        if online_is_newer and entry is None:
            return "unexplained"
        if entry is None or not entry.settled:
            return "restored" if entry is not None and entry.doubt else "lag"
        if entry.definition_hash != known.definition_hash:
            return "code_changed"
        if entry.window in known.changed:
            return "late_row"
        if online is None:
            # A row was written when its version began, or later if a run found it missing; running the same content
            # again leaves it as it is.
            if known.key_ttl is not None and from_micros(entry.version) + known.key_ttl <= known.at:
                return "expired"
            if known.evicts:
                return "evicted"
        return "unexplained"
