"""Which windows of a view are missing or stale, and why: the present statistics of its source against the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import Window, meeting
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger import held

Staleness = Literal["missing", "unsettled", "changed", "redefined", "restored"]
"""Why a window is stale: it was never run; nobody knows what the store holds of it; its source has changed since; the
view's definition has; or the online store, or the registry, was put back to an earlier state."""


@dataclass(frozen=True, slots=True)
class StaleWindow:
    """A window whose present content, under the present definition, is not surely in the online store.

    Attributes:
        reason: ``"missing"``: it was never run; ``"unsettled"``: a run is under way, was killed, or met another;
            ``"changed"``: its source has changed since; ``"redefined"``: the view's definition has, and maybe the
            source; ``"restored"``: the online store, or the registry, was put back to an earlier state.
        behind: whether a later window has been run, or was seen to be without rows.
        after: where the last window before it ends that has rows, or was run; the start of its own where there is none.
            Windows in between were never run and have nothing to run, so a run of both may as well cover them.
        content: a hash (hex) of the source's content in the window, of the view's definition with the checks of its
            fields, and of what the store has lost of the window.
        because: in words, what was put back to which state; "" for the other reasons.
    """

    window: Window
    reason: Staleness
    behind: bool
    after: datetime
    content: str
    because: str = ""


def whole_if_known(grid: Partitions, cut: Window, ledger: Mapping[Window, LedgerEntry]) -> Window:
    """Returns the grid's window that a cut one is part of if the ledger has it whole, else the cut one."""
    start = grid.floor(cut.start)
    whole = Window(start, grid.next(start))
    return whole if whole in ledger else cut


def stale(
    statistics: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry], definition_hash: str
) -> list[WindowStatistics]:
    """Returns the windows whose present content, under the present definition, is not surely in the online store.

    A window without rows now and before has nothing to write and is not stale.
    """
    return [s for s, _ in with_reasons(statistics, ledger, definition_hash)]


def with_reasons(
    statistics: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry], definition_hash: str
) -> list[tuple[WindowStatistics, Staleness]]:
    """Returns the windows that are stale, each with the reason."""
    stale_windows: list[tuple[WindowStatistics, Staleness]] = []
    in_part = meeting(held(ledger), [s.window for s in statistics if s.window not in ledger])
    for each in statistics:
        reason = staleness(each, ledger.get(each.window), definition_hash)
        if reason is None and each.window in in_part:
            reason = "unsettled"
        if reason is not None:
            stale_windows.append((each, reason))
    return stale_windows


def staleness(now: WindowStatistics, entry: LedgerEntry | None, definition_hash: str) -> Staleness | None:
    """Returns why a window is stale; None where it is not, as far as its own entry tells."""
    if entry is None:
        return "missing" if now.rows > 0 else None
    if not entry.settled:
        return "restored" if entry.doubt else "unsettled"
    if entry.definition_hash != definition_hash and entry.fingerprint and now.rows:
        return "redefined"  # fingerprints cover what the definition reads, so they tell nothing about the source here
    return "changed" if entry.fingerprint != now.fingerprint else None
