"""The statements that write a SQL registry, in words that SQLite and Postgres share.

Each runs within a transaction that somebody else began, and is sent once for all of its rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.spec import canonical_text, text_hash, to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import Claim, DrawnMark, LedgerEntry, OnlineTable
from feast_assets.registry.ledger import Exchange
from feast_assets.registry.marks import NUMBERS_KEPT, drawn_numbers
from feast_assets.registry.snapshot import bare_fields
from feast_assets.registry.sql.reading import ProjectReading, Query

_MATERIALIZED_TYPES = (FeatureView.object_type, LabelView.object_type)
_SUMMARY_OBJECTS = 50

_NEW_PROJECT = (
    "INSERT INTO feast_assets_projects (project, revision) VALUES (:project, 0) ON CONFLICT (project) DO NOTHING"
)
_LOCK = "SELECT revision FROM feast_assets_projects WHERE project = :project"
_NUMBER = "UPDATE feast_assets_projects SET revision = :number WHERE project = :project"
_REVISION = (
    'INSERT INTO feast_assets_revisions (project, number, "at", "by", summary) '
    "VALUES (:project, :number, :at, :by, :summary)"
)
_STANDING = (
    "SELECT object_type, name, content_hash, created FROM feast_assets_objects "
    "WHERE project = :project AND valid_to IS NULL"
)
_END = (
    "UPDATE feast_assets_objects SET valid_to = :number "
    "WHERE project = :project AND object_type = :object_type AND name = :name AND valid_to IS NULL"
)
_BEGIN = (
    "INSERT INTO feast_assets_objects "
    "(project, object_type, name, valid_from, valid_to, content_hash, spec, created, updated) "
    "VALUES (:project, :object_type, :name, :number, NULL, :content_hash, :spec, :created, :updated)"
)
_LIST = (
    'INSERT INTO feast_assets_feature_lists (project, "view", list_hash, fields, newest_revision) '
    "VALUES (:project, :view, :list_hash, :fields, :number) "
    'ON CONFLICT (project, "view", list_hash) DO UPDATE SET newest_revision = excluded.newest_revision'
)
_INPUTS = (
    "INSERT INTO feast_assets_inputs (project, object_type, name, inputs) "
    "VALUES (:project, :object_type, :name, :inputs) "
    "ON CONFLICT (project, object_type, name) DO UPDATE SET inputs = excluded.inputs"
)
_LEAVE = (
    'DELETE FROM feast_assets_ledger WHERE project = :project AND "view" = :view '
    "AND window_start = :window_start AND window_end = :window_end"
)
_ENTER = (
    'INSERT INTO feast_assets_ledger (project, "view", window_start, window_end, fingerprint, version, '
    'definition_hash, "rows", written, "at", run_id, mark, claim) VALUES (:project, :view, :window_start, :window_end, '
    ":fingerprint, :version, :definition_hash, :rows, :written, :at, :run_id, :mark, :claim) "
    'ON CONFLICT (project, "view", window_start, window_end) DO UPDATE SET fingerprint = excluded.fingerprint, '
    "version = excluded.version, definition_hash = excluded.definition_hash, "
    '"rows" = excluded."rows", written = excluded.written, "at" = excluded."at", run_id = excluded.run_id, '
    "mark = excluded.mark, claim = excluded.claim"
)
_FORGET = 'DELETE FROM feast_assets_ledger WHERE project = :project AND "view" = :view'
_NEWEST_MARK = 'SELECT max(number) FROM feast_assets_marks WHERE project = :project AND "view" = :view'
_NEWEST_MARK_OF_TABLE = f'{_NEWEST_MARK} AND "identity" = :identity'
_NOTE_MARK = (
    'INSERT INTO feast_assets_marks (project, "view", number, "identity", previous, kind) '
    "VALUES (:project, :view, :number, :identity, :previous, :kind) "
    'ON CONFLICT (project, "view", number) DO UPDATE SET "identity" = excluded."identity", '
    "previous = excluded.previous, kind = excluded.kind"
)
_DROP_OLD_MARKS = (
    'DELETE FROM feast_assets_marks WHERE project = :project AND "view" = :view AND number < '
    '(SELECT number FROM feast_assets_marks WHERE project = :project AND "view" = :view '
    "ORDER BY number DESC LIMIT 1 OFFSET :newer)"
)
_FORGET_MARKS = 'DELETE FROM feast_assets_marks WHERE project = :project AND "view" = :view'
_REMOVE = tuple(
    f"DELETE FROM feast_assets_{table} WHERE project = :project"  # noqa: S608 - names of ours
    for table in (
        "projects",
        "revisions",
        "objects",
        "feature_lists",
        "inputs",
        "pushes",
        "push_rows",
        "ledger",
        "marks",
    )
)

_Key = tuple[str, str]


class Transaction(Query, Protocol):
    """Runs statements in one transaction.

    Attributes:
        lock_rows: what a SELECT ends with to lock its rows; "" where the transaction has locked the whole database.
    """

    lock_rows: str

    def each(self, statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Runs a statement that returns nothing, once for each row of values; of those there may be none."""


@dataclass(frozen=True, slots=True)
class ProjectWriting:
    """Writes one project's part of a registry."""

    transaction: Transaction
    project: str

    def lock(self) -> int:
        """Makes this the only writer of the project, and returns the newest revision."""
        self._each(_NEW_PROJECT, [{}])
        ((newest,),) = self.transaction(_LOCK + self.transaction.lock_rows, project=self.project)
        return int(newest)

    def commit(
        self,
        newest: int,
        upserts: Mapping[_Key, Definition],
        deletes: Collection[_Key],
        made_from: Mapping[_Key, str],
        by: str,
    ) -> int:
        """Makes what differs from the newest revision another one, and returns the revision that is then the newest."""
        specs = {key: canonical_text(definition.to_spec()) for key, definition in upserts.items()}
        hashes = {key: text_hash(spec) for key, spec in specs.items()}
        standing, created = {}, {}
        for object_type, name, stored_hash, at in self.transaction(_STANDING, project=self.project):
            standing[object_type, name], created[object_type, name] = stored_hash, at
        changed = {key: upserts[key] for key in upserts if standing.get(key) != hashes[key]}
        removed = sorted(set(deletes) & set(standing))
        self._each(_INPUTS, [{**_named(key), "inputs": text} for key, text in made_from.items()])
        if not changed and not removed:
            return newest
        number, now = newest + 1, to_micros(datetime.now(UTC))
        ended = [*removed, *(key for key in changed if key in standing)]
        self._each(_END, [{**_named(key), "number": number} for key in ended])
        begun = [
            {
                **_named(key),
                "number": number,
                "content_hash": hashes[key],
                "spec": specs[key],
                "created": created.get(key, now),
                "updated": now,
            }
            for key in changed
        ]
        self._each(_BEGIN, begun)
        self._remember_feature_lists(changed.values(), number)
        self.forget([name for kind, name in removed if kind in _MATERIALIZED_TYPES])
        summary = _summary(changed, standing, removed)
        self._each(_REVISION, [{"number": number, "at": now, "by": by, "summary": summary}])
        self._each(_NUMBER, [{"number": number}])
        return number

    def _remember_feature_lists(self, changed: Iterable[Definition], number: int) -> None:
        rows = []
        for definition in changed:
            if isinstance(definition, FeatureView):
                fields = canonical_text([f.to_spec() for f in bare_fields(definition)])
                listed = {"list_hash": text_hash(fields), "fields": fields}
                rows.append({"view": definition.name, "number": number, **listed})
        self._each(_LIST, rows)

    def entries(self, view: str) -> list[LedgerEntry]:
        """Returns a view's entries of the ledger, by window."""
        return [entry for entry, _ in self._claimed(view)]

    def entries_of(self, claim: Claim) -> tuple[list[LedgerEntry], set[Window]]:
        """Returns the entries of a claim's view, and the windows that the claim still stands for."""
        entries = self._claimed(claim.view)
        return [entry for entry, _ in entries], {entry.window for entry, token in entries if token == claim.token}

    def _claimed(self, view: str) -> list[tuple[LedgerEntry, str]]:
        return ProjectReading(self.transaction, self.project).claimed_ledger(view)

    def exchange(self, view: str, exchange: Exchange, claim: str) -> None:
        """Makes the exchange; ``claim`` is what entries that are not settled are marked with."""
        stay = {e.window for e in exchange.added}
        self._each(_LEAVE, ({"view": view, **_window(e)} for e in exchange.removed if e.window not in stay))
        self._each(_ENTER, ({**_row(e), "claim": "" if e.settled else e.doubt or claim} for e in exchange.added))

    def draw_marks(self, view: str, table: OnlineTable, now: int) -> tuple[int, int]:
        """Draws two numbers; see `feast_assets.registry.base.Registry.draw_marks`.

        Args:
            now: UTC microseconds.
        """
        begins, settles = self._drawn(view, now, table.number, 2)
        self.note_marks(view, table.identity, [DrawnMark(begins, table.number), DrawnMark(settles, begins)])
        return begins, settles

    def note_missing(self, view: str, identity: str, now: int) -> None:
        """Remembers that a table was found without a number."""
        (number,) = self._drawn(view, now, 0, 1)
        self.note_marks(view, identity, [DrawnMark(number, 0, "missing")])

    def _drawn(self, view: str, now: int, above: int, count: int) -> tuple[int, ...]:
        ((newest,),) = self.transaction(_NEWEST_MARK, project=self.project, view=view)
        return drawn_numbers(now, [_number(newest), above], [secrets.randbits(31) for _ in range(count)])

    def note_marks(self, view: str, identity: str, marks: Sequence[DrawnMark]) -> None:
        """Makes numbers of a table's mark known; the oldest of many are forgotten."""
        of_table = {"view": view, "identity": identity}
        self._each(
            _NOTE_MARK,
            [{**of_table, "number": m.number, "previous": m.previous, "kind": m.kind} for m in marks],
        )
        self._each(_DROP_OLD_MARKS, [{"view": view, "newer": NUMBERS_KEPT - 1}])

    def newest_mark(self, view: str, identity: str) -> int:
        """Returns the newest number of a table's mark that is known; 0 for none."""
        ((newest,),) = self.transaction(_NEWEST_MARK_OF_TABLE, project=self.project, view=view, identity=identity)
        return _number(newest)

    def forget(self, views: Sequence[str]) -> None:
        """Removes the entries of views from the ledger, and the numbers of their tables' marks."""
        for statement in (_FORGET, _FORGET_MARKS):
            self._each(statement, [{"view": view} for view in views])

    def remove_project(self) -> None:
        """Removes everything of the project, its history included."""
        for statement in _REMOVE:
            self._each(statement, [{}])

    def _each(self, statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        # One by one, as Python's garbage collector comes by the sooner the more objects there are at once.
        self.transaction.each(statement, ({"project": self.project, **row} for row in rows))


def _named(key: _Key) -> dict[str, str]:
    return {"object_type": key[0], "name": key[1]}


def _window(entry: LedgerEntry) -> dict[str, int]:
    return {"window_start": to_micros(entry.window.start), "window_end": to_micros(entry.window.end)}


def _row(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "view": entry.view,
        **_window(entry),
        "fingerprint": entry.fingerprint,
        "version": entry.version,
        "definition_hash": entry.definition_hash,
        "rows": entry.rows,
        "written": entry.written,
        "at": to_micros(entry.at),
        "run_id": entry.run_id,
        "mark": entry.mark,
    }


def _number(value: Any) -> int:
    """Returns a number of the database; 0 for null, and for what SQLite keeps in its place after damage."""
    return value if isinstance(value, int) else 0


def _summary(changed: Collection[_Key], standing: Collection[_Key], removed: Sequence[_Key]) -> str:
    said = [f"{'updated' if k in standing else 'created'} {k[0]} {k[1]}" for k in sorted(changed)]
    said += [f"deleted {k[0]} {k[1]}" for k in removed]
    if len(said) > _SUMMARY_OBJECTS:
        said = [*said[:_SUMMARY_OBJECTS], f"and {len(said) - _SUMMARY_OBJECTS} more"]
    return "; ".join(said)
