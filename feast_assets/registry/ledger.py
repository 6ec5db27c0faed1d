"""The rules of the ledger, for every backend: entries never overlap, and an entry is settled only if it is true."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Window, overlapped, union
from feast_assets.registry.base import LedgerEntry, MarkDoubt, WindowContent


@dataclass(frozen=True, slots=True)
class Exchange:
    """Entries to remove, and those to add in their place.

    Attributes:
        versions: of the windows that were claimed.
        replaced: for each of these, the entries that it overlapped.
    """

    removed: tuple[LedgerEntry, ...]
    added: tuple[LedgerEntry, ...]
    versions: tuple[int, ...]
    replaced: tuple[tuple[LedgerEntry, ...], ...] = ()


def may_have_rows(entry: LedgerEntry) -> bool:
    """Whether the store has, or may have, rows of an entry's window."""
    return bool(entry.fingerprint) or not entry.settled


def held(ledger: Mapping[Window, LedgerEntry]) -> set[Window]:
    """Returns the windows that have, or may have, rows in the store."""
    return {w for w, e in ledger.items() if may_have_rows(e)}


def intervals(ledger: Iterable[LedgerEntry]) -> list[tuple[datetime, datetime]]:
    """Returns the times that are materialized, as the fewest ``[start, end)`` intervals, in order."""
    return [(window.start, window.end) for window in union(e.window for e in ledger if e.settled)]


def window_version(lower_bounds: Iterable[int]) -> int:
    """Returns the lowest version that a window's content can have and that is not below any of some numbers.

    It is even. Versions of rows that are pushed are odd, so one can tell who wrote a row.
    """
    lowest = max(lower_bounds)
    return lowest + lowest % 2


def claimed(
    standing: Sequence[LedgerEntry],
    view: str,
    contents: Sequence[WindowContent],
    empty: Sequence[WindowContent],
    now: int,
    run_id: str,
) -> Exchange:
    """Returns how a claim changes the ledger; see `Registry.claim`.

    Args:
        standing: the view's entries, by window.
        now: UTC microseconds.
    """
    order = sorted(range(len(contents)), key=lambda i: contents[i].window)
    removed: dict[Window, LedgerEntry] = {}
    versions = [0] * len(contents)
    replaced: list[tuple[LedgerEntry, ...]] = [()] * len(contents)
    added = []
    for i, under in zip(order, _under(standing, [contents[i].window for i in order]), strict=True):
        content = contents[i]
        same = len(under) == 1 and under[0].settled and _same(under[0], content)
        versions[i] = under[0].version if same else window_version([now, *(e.version + 1 for e in under)])
        replaced[i] = tuple(under)
        removed |= {e.window: e for e in under}
        added.append(_noted(view, content, versions[i], now, run_id, settled=False))
    kept = _without(removed.values(), [c.window for c in contents])
    # The store keeps the rows of the parts that are not run again, so these parts are not forgotten.
    added += [e if _empty(e) else replace(e, settled=False) for e in kept]
    if empty:
        there = sorted([*(e.window for e in standing if e.window not in removed), *(e.window for e in added)])
        looked_at = sorted(empty, key=lambda c: c.window)
        for content, (first, last) in zip(looked_at, overlapped(there, [c.window for c in looked_at]), strict=True):
            if first == last:
                added.append(_noted(view, content, 0, now, run_id, settled=True))
    return Exchange(tuple(removed.values()), tuple(added), tuple(versions), tuple(replaced))


def settled(standing: Sequence[LedgerEntry], entries: Sequence[LedgerEntry], own: Collection[Window]) -> Exchange:
    """Returns how settling changes the ledger; see `Registry.settle`.

    Args:
        own: windows whose claim still stands.
    """
    ordered = sorted(entries, key=lambda e: e.window)
    removed: dict[Window, LedgerEntry] = {}
    added: dict[Window, LedgerEntry] = {}
    for entry, under in zip(ordered, _under(standing, [e.window for e in ordered]), strict=True):
        for other in under:
            if entry.window in own:
                removed[other.window], added[entry.window] = other, entry
            elif not (entry.settled and _same(other, entry)):
                version = max(other.version, entry.version, added.get(other.window, other).version)
                removed[other.window] = other
                added[other.window] = replace(other, settled=False, version=version)
    return Exchange(tuple(removed.values()), tuple(added.values()), ())


def doubted(
    standing: Sequence[LedgerEntry], view: str, doubt: MarkDoubt, gaps: Sequence[Window], above: int, now: int
) -> Exchange:
    """Returns how a doubt about the online table changes the ledger; see `KeepsMarks.distrust`.

    Args:
        now: UTC microseconds.
    """
    everything = doubt.kind != "restored"
    changed: dict[Window, LedgerEntry] = {}
    # A window without rows can lose none. If the store holds rows of it all the same, it is among the gaps.
    empty = [e for e in standing if everything and _empty(e)]
    others = [e for e in standing if not (everything and _empty(e))]
    for entry in others:
        version = max(entry.version, above)
        if not entry.settled and not entry.doubt:
            # A run is under way, or was killed. Which of its rows the store has lost is not known.
            at = from_micros(now)
            changed[entry.window] = replace(entry, version=version, mark=0, doubt=doubt.kind, at=at)
        elif entry.settled and (everything or entry.mark in doubt.lost):
            changed[entry.window] = replace(entry, version=version, settled=False, doubt=doubt.kind)
    unknown = [
        replace(_noted(view, WindowContent(w, "", ""), above, now, "", settled=False), doubt=doubt.kind) for w in gaps
    ]
    opened = _without(unknown, [e.window for e in others])
    cut = [e for e in empty if any(e.window.overlaps(o.window) for o in opened)]
    removed = [*(e for e in others if e.window in changed), *cut]
    added = [*changed.values(), *opened, *_without(cut, [o.window for o in opened])]
    return Exchange(tuple(removed), tuple(added), ())


def _noted(view: str, content: WindowContent, version: int, now: int, run_id: str, *, settled: bool) -> LedgerEntry:
    return LedgerEntry(
        view,
        content.window,
        content.fingerprint,
        version,
        content.definition_hash,
        rows=0,
        written=0,
        at=from_micros(now),
        run_id=run_id,
        settled=settled,
    )


def _same(entry: LedgerEntry, content: WindowContent | LedgerEntry) -> bool:
    """Whether an entry is of the same window and content; if so, it does not matter which run's rows the store has."""
    return (
        entry.window == content.window
        and entry.fingerprint == content.fingerprint
        and entry.definition_hash == content.definition_hash
    )


def _empty(entry: LedgerEntry) -> bool:
    return entry.settled and not entry.fingerprint


def _under(standing: Sequence[LedgerEntry], windows: Sequence[Window]) -> Iterator[list[LedgerEntry]]:
    """Yields for each window, in order of time, the entries that it overlaps."""
    for first, last in overlapped([e.window for e in standing], windows):
        yield list(standing[first:last])


def _without(entries: Iterable[LedgerEntry], windows: Sequence[Window]) -> list[LedgerEntry]:
    """Returns the parts of some entries that lie outside all windows."""
    entries, windows = sorted(entries, key=lambda e: e.window), sorted(windows)
    kept = []
    for entry, (first, last) in zip(entries, overlapped(windows, [e.window for e in entries]), strict=True):
        edges: list[datetime] = [entry.window.start]
        for window in windows[first:last]:
            edges += [window.start, window.end]
        edges.append(entry.window.end)
        kept += [
            replace(entry, window=Window(start, end))
            for start, end in zip(edges[::2], edges[1::2], strict=True)
            if start < end
        ]
    return kept
