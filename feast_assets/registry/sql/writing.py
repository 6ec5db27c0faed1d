"""The statements that write a SQL registry; see `feast_assets.registry.sql.transaction`.

Each runs within the caller's transaction, and is sent once for all of its rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.spec import canonical_text, text_hash, to_micros
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.registry.base import DrawnMark, OnlineTable
from feast_assets.registry.changes import Key, summary_of
from feast_assets.registry.marks import NUMBERS_KEPT, drawn_numbers
from feast_assets.registry.snapshot import TYPES_WITH_ROWS, bare_fields
from feast_assets.registry.spec_text import compressed
from feast_assets.registry.sql.schema import FEATURE_LISTS, INPUTS, MARKS, META, NUMBER, OF_PROJECT, PROJECTS, SEGMENTS
from feast_assets.registry.sql.transaction import Row, Transaction

if TYPE_CHECKING:
    from feast_assets.registry.segments import SegmentedLedger

_LOCK = "SELECT revision FROM feast_assets_projects WHERE project = :project"
_LOCK_ALL = f"SELECT value FROM {META} WHERE \"key\" = '{NUMBER}'"  # noqa: S608 - names of ours
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
_FORGET = f'DELETE FROM {SEGMENTS} WHERE project = :project AND "view" = :view'  # noqa: S608 - names of ours
_NEWEST_MARK = 'SELECT max(number) FROM feast_assets_marks WHERE project = :project AND "view" = :view'
_NEWEST_MARK_OF_TABLE = f'{_NEWEST_MARK} AND "identity" = :identity'
_FORGET_MARKS = 'DELETE FROM feast_assets_marks WHERE project = :project AND "view" = :view'
_RENAME = f'UPDATE {SEGMENTS} SET "view" = :new WHERE project = :project AND "view" = :old'  # noqa: S608 - names of ours
_RENAME_MARKS = 'UPDATE feast_assets_marks SET "view" = :new WHERE project = :project AND "view" = :old'
_REMOVE = tuple(f"DELETE FROM {table} WHERE project = :project" for table in OF_PROJECT)  # noqa: S608 - names of ours
_OLDEST_KEPT_MARK = (
    'SELECT number FROM feast_assets_marks WHERE project = :project AND "view" = :view '
    "ORDER BY number DESC LIMIT 1 OFFSET :newer"
)
_DROP_OLDER_MARKS = 'DELETE FROM feast_assets_marks WHERE project = :project AND "view" = :view AND number < :number'


@dataclass(frozen=True, slots=True)
class ProjectWriting:
    """Writes one project's part of a registry."""

    transaction: Transaction
    project: str

    def lock(self) -> int:
        """Makes this the only writer of the project, and returns the newest revision."""
        locked = self._locked_revision()
        if locked is None:
            # Two writers that begin a project wait for each other here, as there is no row of the project to lock yet.
            self.transaction(_LOCK_ALL + self.transaction.lock_rows)
            locked = self._locked_revision()
        if locked is None:
            locked = 0
            self._upsert(PROJECTS, [{"revision": locked}])
        return locked

    def _locked_revision(self) -> int | None:
        rows = self.transaction(_LOCK + self.transaction.lock_rows, project=self.project)
        return int(rows[0][0]) if rows else None

    def commit(
        self,
        newest: int,
        upserts: Mapping[Key, Definition],
        deletes: Collection[Key],
        made_from: Mapping[Key, str],
        by: str,
    ) -> int:
        """Commits the objects that differ from the newest revision as a new one; returns the newest revision then."""
        specs = {key: canonical_text(definition.to_spec()) for key, definition in upserts.items()}
        hashes = {key: text_hash(spec) for key, spec in specs.items()}
        standing, created = {}, {}
        for object_type, name, stored_hash, at in self.transaction(_STANDING, project=self.project):
            standing[object_type, name], created[object_type, name] = stored_hash, at
        changed = {key: upserts[key] for key in upserts if standing.get(key) != hashes[key]}
        removed = sorted(set(deletes) & set(standing))
        self._upsert(INPUTS, [{**_named(key), "inputs": text} for key, text in made_from.items()])
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
                "spec": compressed(specs[key]),
                "created": created.get(key, now),
                "updated": now,
            }
            for key in changed
        ]
        self._each(_BEGIN, begun)
        self._remember_feature_lists(changed.values(), number)
        self.forget([name for kind, name in removed if kind in (*TYPES_WITH_ROWS, ViewVersion.object_type)])
        summary = summary_of(changed, standing, removed)
        self._each(_REVISION, [{"number": number, "at": now, "by": by, "summary": summary}])
        self._each(_NUMBER, [{"number": number}])
        return number

    def _remember_feature_lists(self, changed: Iterable[Definition], number: int) -> None:
        rows: list[Row] = []
        for definition in changed:
            if isinstance(definition, FeatureView):
                fields = canonical_text([f.to_spec() for f in bare_fields(definition)])
                listed = {"list_hash": text_hash(fields), "fields": fields}
                rows.append({"view": definition.name, "newest_revision": number, **listed})
        self._upsert(FEATURE_LISTS, rows)

    def ledger(self, view: str) -> SegmentedLedger:
        """Returns what reads and writes the ledger of a view."""
        from feast_assets.registry.segments import SegmentedLedger
        from feast_assets.registry.sql.segments import SqlSegments

        return SegmentedLedger(SqlSegments(self.transaction, self.project, view), view)

    def draw_marks(self, view: str, table: OnlineTable, now: int) -> tuple[int, int]:
        """Draws two numbers; see `feast_assets.registry.marks.KeepsMarks.draw_marks`.

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
        self._upsert(
            MARKS,
            [{**of_table, "number": m.number, "previous": m.previous, "kind": m.kind} for m in marks],
        )
        oldest_kept = self.transaction(_OLDEST_KEPT_MARK, project=self.project, view=view, newer=NUMBERS_KEPT - 1)
        self._each(_DROP_OLDER_MARKS, ({"view": view, "number": number} for (number,) in oldest_kept))

    def newest_mark(self, view: str, identity: str) -> int:
        """Returns the newest number of a table's mark that is known; 0 for none."""
        ((newest,),) = self.transaction(_NEWEST_MARK_OF_TABLE, project=self.project, view=view, identity=identity)
        return _number(newest)

    def forget(self, views: Sequence[str]) -> None:
        """Removes the entries of views from the ledger, and the numbers of their tables' marks."""
        for statement in (_FORGET, _FORGET_MARKS):
            self._each(statement, [{"view": view} for view in views])

    def rename_ledgers(self, renamed: Sequence[tuple[str, str]]) -> None:
        """Moves the entries of views in the ledger, and the numbers of their tables' marks, to other names."""
        for old, new in renamed:
            self.forget([new])
            for statement in (_RENAME, _RENAME_MARKS):
                self._each(statement, [{"old": old, "new": new}])

    def remove_project(self) -> None:
        """Removes everything of the project, its history included."""
        for statement in _REMOVE:
            self._each(statement, [{}])

    def _each(self, statement: str, rows: Iterable[Row]) -> None:
        # One by one: the more objects there are at once, the more often Python's garbage collector runs.
        self.transaction.each(statement, ({"project": self.project, **row} for row in rows))

    def _upsert(self, table: str, rows: Iterable[Row]) -> None:
        self.transaction.upsert(table, ({"project": self.project, **row} for row in rows))


def _named(key: Key) -> dict[str, str]:
    return {"object_type": key[0], "name": key[1]}


def _number(value: object) -> int:
    """Returns a number of the database; 0 for null, and for what SQLite keeps in its place after damage."""
    return value if isinstance(value, int) else 0
