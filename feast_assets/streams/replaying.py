"""Replaying dead letters: those that can be taken now become rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from feast_assets.compute.row_digest import rows_digest
from feast_assets.offline_stores.abilities import WritesOnce
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.streams.dead_letters import DeadLetter
from feast_assets.streams.intake import rows_of_messages
from feast_assets.streams.parts import StreamParts


@dataclass(frozen=True, slots=True)
class ReplayedLetters:
    """What became of dead letters.

    Attributes:
        taken: how many became rows, and are no dead letters any more.
        left: how many still cannot be taken.
    """

    taken: int
    left: int


def replay(parts: StreamParts, offline: OfflineStore | None) -> ReplayedLetters:
    """Takes the dead letters of a stream that can be taken now; the others stay, with the present reasons.

    A replay that is killed may be repeated: what it has stored is not stored twice.

    Args:
        parts: of all views of the stream.
        offline: where rows become history that are not in it; None where they only go online.
    """
    taken = left = 0
    seen: set[tuple[str, str, int, str]] = set()
    for path in parts.dead_letters.files():
        held = parts.dead_letters.read_file(path)
        # A consumer that was killed may have kept a letter in two files.
        letters = [letter for letter in held if letter.origin not in seen]
        seen |= {letter.origin for letter in letters}
        remaining = _replayed(parts, offline, letters)
        taken += len(letters) - len(remaining)
        left += len(remaining)
        if len(remaining) < len(held):
            # In this order: a letter may be there twice, which is noticed, and never be lost.
            parts.dead_letters.add(remaining)
            parts.dead_letters.remove(path)
    return ReplayedLetters(taken, left)


def _replayed(parts: StreamParts, offline: OfflineStore | None, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Stores the rows of those letters that can be taken, and returns the others."""
    remaining: list[DeadLetter] = []
    in_history = {_message(letter) for letter in letters if letter.in_history}
    for view in dict.fromkeys(letter.view for letter in letters):
        of_view = [letter for letter in letters if letter.view == view]
        values, times = [letter.value for letter in of_view], [letter.time for letter in of_view]
        decoded = rows_of_messages(parts.decoder, parts.columns, values, times)
        reasons = {each.index: each.reason for each in decoded.rejected}
        for intake, table in parts.views:
            if view not in ("", intake.view.name):
                continue
            encoded, refused, _ = intake.encoded(decoded)
            if encoded and table:
                parts.online.put_many(table, encoded)
            for each in refused:
                reasons.setdefault(each.index, each.reason)
        taken = [(i, m) for i, m in enumerate(decoded.messages.tolist()) if m not in reasons]
        # What several views could not take is a letter of each, and one row of history.
        new = [i for i, m in taken if _message(of_view[m]) not in in_history]
        source = parts.stream.batch_source
        if new and offline is not None and source is not None:
            rows = decoded.take(new).rows
            store = WritesOnce.of(offline, f"Replaying dead letters of {parts.stream.name!r}")
            store.write_once(source, rows, rows_digest(rows))
            in_history |= {_message(of_view[m]) for _, m in taken}
        remaining += [replace(of_view[i], reason=reason) for i, reason in sorted(reasons.items())]
    return [replace(letter, in_history=_message(letter) in in_history) for letter in remaining]


def _message(letter: DeadLetter) -> tuple[str, str, int]:
    return letter.identity, letter.partition, letter.offset
