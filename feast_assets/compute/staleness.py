"""Which windows of a view are missing or stale, and why: the present statistics of its source against the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import Window
from feast_assets.definitions.window_columns import met
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.statistics_columns import StatisticsColumns
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger_columns import LedgerColumns

if TYPE_CHECKING:
    import numpy.typing as npt

Staleness = Literal["missing", "unsettled", "changed", "redefined", "restored"]
"""Why a window is stale: it was never run; nobody knows what the store holds of it; its source has changed since; the
view's definition has; or the online store, or the registry, was put back to an earlier state."""


REASONS: tuple[Staleness, ...] = ("missing", "unsettled", "changed", "redefined", "restored")
_MISSING, _UNSETTLED, _CHANGED, _REDEFINED, _RESTORED = range(1, len(REASONS) + 1)


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
    columns = StatisticsColumns.of(statistics)
    return columns.some(reasons(columns, LedgerColumns.of_mapping(ledger), definition_hash) > 0)


def reasons(now: StatisticsColumns, ledger: LedgerColumns, definition_hash: str) -> npt.NDArray[np.int8]:
    """Returns for each window why it is stale: a position in `REASONS`, counted from 1; 0 where it is not stale."""
    positions = ledger.positions(now.starts, now.ends)
    has_entry = positions >= 0
    in_part = np.zeros(len(now), np.bool_)
    if not has_entry.all():
        # Part of such a window may be in the store, as another grid or a cut window left it.
        held = ledger.held()
        in_part = ~has_entry & met(now.starts, now.ends, held.starts, held.ends)
    if not len(ledger):
        return np.where(now.have_rows, _MISSING, 0).astype(np.int8)
    same_definition = ledger.definitions.is_in([definition_hash])[positions]
    redefined = ~same_definition & ledger.have_fingerprint[positions] & now.have_rows
    return np.select(
        [
            ~has_entry & now.have_rows,
            ~has_entry,
            ledger.doubted[positions],
            ~ledger.settled[positions],
            # Fingerprints cover what the definition reads, so they tell nothing about the source here.
            redefined,
            now.differ_from(ledger.fingerprints[positions]),
        ],
        [_MISSING, np.where(in_part, _UNSETTLED, 0), _RESTORED, _UNSETTLED, _REDEFINED, _CHANGED],
        0,
    ).astype(np.int8)
