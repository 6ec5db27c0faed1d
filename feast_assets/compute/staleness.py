"""What of a view's materialization is out of date, and a text by which a watcher knows when to look again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from feast_assets.compute.definition_hash import materialization_hash
from feast_assets.compute.validation import refusal_hash
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import Window, meeting
from feast_assets.offline_stores.base import WindowStatistics, computation_of, history_of
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger import held

if TYPE_CHECKING:
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.offline_stores.base import History, OfflineStore
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.base import Registry


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
        content: a text (hex) that the source's content in the window and the view's definition decide, the checks of
            its fields included, and what the store has lost of it.
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
    found = []
    in_part = meeting(held(ledger), [s.window for s in statistics if s.window not in ledger])
    for each in statistics:
        reason = staleness(each, ledger.get(each.window), definition_hash)
        if reason is None and each.window in in_part:
            reason = "unsettled"
        if reason is not None:
            found.append((each, reason))
    return found


def staleness(now: WindowStatistics, entry: LedgerEntry | None, definition_hash: str) -> Staleness | None:
    """Returns why a window is stale; None where it is not, as far as its own entry tells."""
    if entry is None:
        return "missing" if now.rows > 0 else None
    if not entry.settled:
        return "restored" if entry.doubt else "unsettled"
    if entry.definition_hash != definition_hash and entry.fingerprint and now.rows:
        return "redefined"  # fingerprints cover what the definition reads, so they tell nothing about the source here
    return "changed" if entry.fingerprint != now.fingerprint else None


def history_read(view: FeatureView) -> History:
    """Returns what materialization reads of a view: the inputs, where it computes a result and keeps it."""
    return computation_of(view) if isinstance(view, BatchFeatureView) and view.keeps_result else history_of(view)


def materialization_states(
    project: str,
    views: Sequence[FeatureView],
    registry: Registry,
    offline_store: OfflineStore,
    online_store: OnlineStore | None,
) -> dict[str, str]:
    """Returns for each view a text that stays while nothing happens that could make a window stale, or settle it.

    No data are read: the text tells of the files of its sources, its definition, the mark of its online table and its
    ledger. It is ``""`` where the offline store cannot tell whether a source has changed.
    """
    ledger = registry.ledger_states([v.name for v in views])
    tables = {v.name: v.online_table(project) for v in views}
    online = [v.name for v in views if v.online and online_store is not None]
    marks = (
        {}
        if online_store is None
        else dict(zip(online, online_store.marks([tables[name] for name in online]), strict=True))
    )
    stored: dict[tuple[str, ...], str] = {}
    states = {}
    for view in views:
        history = history_read(view)
        key = tuple(s.content_hash() for s in history.sources)
        if key not in stored:
            found = offline_store.state(history)
            stored[key] = content_hash(sorted(found)) if found else ""
        mark = marks.get(view.name)
        table = [tables[view.name], *(() if mark is None else (mark.identity, mark.number))]
        known = [materialization_hash(view), table, _grid(view), ledger[view.name], stored[key]]
        known += filter(None, [refusal_hash(view)])
        states[view.name] = content_hash(known) if stored[key] else ""
    return states


def _grid(view: FeatureView) -> dict[str, object] | None:
    return None if view.partitions is None else view.partitions.to_spec()
