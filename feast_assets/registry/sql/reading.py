"""The statements that read a SQL registry; see `feast_assets.registry.sql.transaction`.

They need no SQLAlchemy: a process that only serves features from a SQLite registry never loads it. What the tables hold
is said in `feast_assets.registry.sql.tables`.
"""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import from_micros, text_hash
from feast_assets.registry.base import DrawnMark, Revision
from feast_assets.registry.feature_lists import FeatureListTexts
from feast_assets.registry.snapshot import StoredObject, StoredRow
from feast_assets.registry.sql.schema import INPUTS, MARKS, META, NUMBER, PUSHES, SEGMENTS, WINDOWS, WRITTEN_BY
from feast_assets.registry.sql.transaction import Query
from feast_assets.stored_formats import REGISTRY

if TYPE_CHECKING:
    from feast_assets.registry.ledger_columns import LedgerColumns

_NEWEST = (
    'SELECT p.revision, r."at" FROM feast_assets_projects p LEFT JOIN feast_assets_revisions r '
    "ON r.project = p.project AND r.number = p.revision WHERE p.project = :project"
)
# All in one statement, because a refresh that finds nothing new sends only this one.
_STATE = _NEWEST.replace(
    " FROM feast_assets_projects",
    f", EXISTS (SELECT 1 FROM {PUSHES} n WHERE n.project = p.project) FROM feast_assets_projects",
    1,
)
_COMMITTED = 'SELECT "at" FROM feast_assets_revisions WHERE project = :project AND number = :revision'
_OBJECTS = (
    "SELECT object_type, name, content_hash, spec, created, updated FROM feast_assets_objects WHERE project = :project"
)
_STANDING = f"{_OBJECTS} AND valid_to IS NULL"
_STANDING_SINCE = f"{_STANDING} AND valid_from > :since"
_AS_OF = f"{_OBJECTS} AND valid_from <= :revision AND (valid_to IS NULL OR valid_to > :revision)"
_ENDED_SINCE = "SELECT object_type, name FROM feast_assets_objects WHERE project = :project AND valid_to > :since"
# A view that has had one list has it still: its definition tells.
_LISTS = (
    "SELECT view, fields FROM feast_assets_feature_lists WHERE project = :project AND view IN ("
    "SELECT view FROM feast_assets_feature_lists WHERE project = :project GROUP BY view HAVING count(*) > 1) "
    "ORDER BY newest_revision DESC, list_hash"
)
_INPUTS = f"SELECT object_type, name, inputs FROM {INPUTS} WHERE project = :project"
_REVISIONS = 'SELECT number, "at", "by", summary FROM feast_assets_revisions WHERE project = :project ORDER BY number'
_PROJECTS = (
    "SELECT p.project, o.object_type, o.name, o.content_hash, o.spec, o.created, o.updated "
    "FROM feast_assets_projects p LEFT JOIN feast_assets_objects o "
    "ON o.project = p.project AND o.object_type = :object_type AND o.valid_to IS NULL "
    "WHERE p.revision > 0 ORDER BY p.project"
)
_SEGMENTS = (
    f'SELECT first_start, last_end, stamp, content FROM {SEGMENTS} WHERE project = :project AND "view" = :view '
    "ORDER BY first_start"
)
# The ledger of format 1.
_WINDOWS = (
    'SELECT window_start, window_end, fingerprint, version, definition_hash, "rows", written, "at", run_id, '
    f'mark, claim FROM {WINDOWS} WHERE project = :project AND "view" = :view ORDER BY window_start, window_end'
)
_WINDOWS_WITHOUT_MARKS = _WINDOWS.replace("mark, claim", "0, claim")
_VIEWS_OF_WINDOWS = f'SELECT DISTINCT "view" FROM {WINDOWS} WHERE project = :project'
_MARKS = (
    f"SELECT number, previous, kind FROM {MARKS} "
    'WHERE project = :project AND "view" = :view AND "identity" = :identity ORDER BY number'
)
_STAMPS = f'SELECT "view", stamp FROM {SEGMENTS} WHERE project = :project ORDER BY "view", first_start'
_FORMAT = f"SELECT value FROM {META} WHERE \"key\" = '{NUMBER}'"


@dataclass(frozen=True, slots=True)
class ProjectReading:
    """One project in one state of the database."""

    query: Query
    project: str

    def newest(self) -> tuple[int, int]:
        """Returns the number of the newest revision and when it was committed (UTC microseconds); zeros without one."""
        rows = self.query(_NEWEST, project=self.project)
        return (int(rows[0][0]), int(rows[0][1] or 0)) if rows else (0, 0)

    def state(self) -> tuple[int, int, bool]:
        """Returns as `newest`, and whether pushes are noted; the tables of these must be there."""
        rows = self.query(_STATE, project=self.project)
        return (int(rows[0][0]), int(rows[0][1] or 0), bool(rows[0][2])) if rows else (0, 0, False)

    def committed(self, revision: int) -> int:
        """Returns when a revision was committed, in UTC microseconds; 0 where there is no such revision."""
        rows = self.query(_COMMITTED, project=self.project, revision=revision)
        return int(rows[0][0]) if rows else 0

    def standing(self) -> Sequence[StoredRow]:
        """Returns the objects of the newest revision."""
        return self.query(_STANDING, project=self.project)

    def standing_since(self, revision: int) -> Sequence[StoredRow]:
        """Returns the objects of the newest revision that came, or changed, after a revision."""
        return self.query(_STANDING_SINCE, project=self.project, since=revision)

    def ended_since(self, revision: int) -> set[tuple[str, str]]:
        """Returns (object type, name) of the objects that were removed or changed after a revision."""
        return {(kind, name) for kind, name in self.query(_ENDED_SINCE, project=self.project, since=revision)}

    def as_of(self, revision: int) -> Sequence[StoredRow]:
        """Returns the objects of a revision."""
        return self.query(_AS_OF, project=self.project, revision=revision)

    def feature_lists(self) -> FeatureListTexts:
        """Returns the lists of features that views have had, where these are more than one."""
        return FeatureListTexts(self.query(_LISTS, project=self.project))

    def inputs(self) -> dict[tuple[str, str], str]:
        """Returns (object type, name) -> what it was made from."""
        return {(kind, name): inputs for kind, name, inputs in self.query(_INPUTS, project=self.project)}

    def revisions(self) -> list[Revision]:
        """Returns all revisions, oldest first."""
        rows = self.query(_REVISIONS, project=self.project)
        return [Revision(number, from_micros(at), by, summary) for number, at, by, summary in rows]

    def has_segments(self) -> bool:
        """Returns whether the ledger is in the table `SEGMENTS`, as it is from format 2 on."""
        return any(str(number) != "1" for (number,) in self.query(_FORMAT))

    def ledger(self, view: str) -> LedgerColumns | None:
        """Returns a view's entries; None where there are none. Only where there are segments."""
        rows = self.query(_SEGMENTS, project=self.project, view=view)
        if not rows:
            return None
        from feast_assets.registry.segments import columns_of

        return columns_of(view, rows)

    def ledger_of_windows(self, view: str, *, has_marks: bool) -> LedgerColumns | None:
        """Returns a view's entries where there are no segments; None where there are none.

        Args:
            has_marks: whether the database has the table `MARKS`.
        """
        statement = _WINDOWS if has_marks else _WINDOWS_WITHOUT_MARKS
        rows = self.query(statement, project=self.project, view=view)
        return _columns_of_windows(view, rows) if rows else None

    def views_of_windows(self) -> list[str]:
        """Returns the views that have entries where there are no segments."""
        return [view for (view,) in self.query(_VIEWS_OF_WINDOWS, project=self.project)]

    def known_marks(self, view: str, identity: str) -> list[DrawnMark]:
        """Returns the numbers of a table's mark, ascending."""
        rows = self.query(_MARKS, project=self.project, view=view, identity=identity)
        # Damaged numbers are left out: the table that has one is then unknown, and run again.
        return [DrawnMark(*row) for row in rows if isinstance(row[0], int) and isinstance(row[1], int)]

    def ledger_change_tokens(self) -> dict[str, str]:
        """Returns the change token of each view that has entries; only where there are segments."""
        stamps: dict[str, list[int]] = {}
        for view, stamp in self.query(_STAMPS, project=self.project):
            stamps.setdefault(view, []).append(stamp)
        return {view: text_hash(repr(of_view)) for view, of_view in stamps.items()}


def all_projects(query: Query) -> list[Project]:
    """Returns the projects of the whole database that were applied, by name."""
    rows = query(_PROJECTS, object_type=Project.object_type)
    projects = []
    for name, *stored in rows:
        project = Project(name=name) if stored[0] is None else StoredObject(*stored).definition()
        assert isinstance(project, Project)
        projects.append(project)
    return projects


def is_written(query: Query, name: str) -> bool:
    """Returns whether a database that has the table `META` is a complete registry of a format that can be read.

    MySQL creates each table by itself, so that a registry can be seen when its tables are there and it has no number
    yet.

    Args:
        name: of the registry, for the message.

    Raises:
        StoredFormatError: another version of this package wrote it.
    """
    said = dict(query(f'SELECT "key", value FROM {META}'))
    if not said:
        return False
    REGISTRY.check(said.get(NUMBER), f"Registry {name}", written_by=said.get(WRITTEN_BY, ""))
    return True


def _columns_of_windows(view: str, rows: Sequence[tuple[Any, ...]]) -> LedgerColumns:
    import numpy as np

    from feast_assets.registry.ledger_columns import LedgerColumns, TextColumn, byte_texts

    starts, ends, fingerprints, versions, definitions, counts, written, at, runs, marks, claims = zip(
        *rows, strict=True
    )
    return LedgerColumns(
        view,
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        byte_texts(fingerprints),
        np.array(versions, np.int64),
        TextColumn.of(definitions),
        np.array(counts, np.int64),
        np.array(written, np.int64),
        np.array(at, np.int64),
        TextColumn.of(runs),
        np.array([mark if isinstance(mark, int) else 0 for mark in marks], np.int64),
        # An entry whose mark is damaged is run again.
        TextColumn.of(
            [claim if isinstance(mark, int) else claim or "damaged" for mark, claim in zip(marks, claims, strict=True)]
        ),
    )
