"""The registry in a SQL database: a SQLite file, Postgres or MySQL."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import (
    Changes,
    Claim,
    DrawnMark,
    LedgerEntry,
    MarkDoubt,
    OnlineTable,
    Registry,
    Revision,
    WindowContent,
)
from feast_assets.registry.changes import Key, check_revision, distinct, refuse_other_base
from feast_assets.registry.checkpoints import Checkpoint, KeepsCheckpoints
from feast_assets.registry.current_user import current_user
from feast_assets.registry.ledger import claimed, doubted, settled
from feast_assets.registry.marks import KeepsMarks
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.registry.part_statistics import KeepsPartStatistics, Segment
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.registry.sql import checkpoints as sql_checkpoints
from feast_assets.registry.sql import part_statistics as sql_part_statistics
from feast_assets.registry.sql import pushes as sql_pushes
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.reading import ProjectReading, all_projects
from feast_assets.registry.sql.schema import CHECKPOINTS, INPUTS, LATER_TABLES, MARKS, PART_STATISTICS, PUSHES
from feast_assets.registry.sql.sqlite_file import SqliteFile
from feast_assets.registry.sql.writing import ProjectWriting

if TYPE_CHECKING:
    from feast_assets.registry.ledger_columns import LedgerColumns
    from feast_assets.registry.sql.database import SqlDatabase

_CONFLICT = "conflict"
"""The claim of windows that two runs wrote at the same time; no run has it as its id."""


class SqlRegistry(Registry, KeepsMarks, KeepsPartStatistics, NotesPushes, KeepsCheckpoints):
    """Definitions by revision, and the ledger, in a SQL database that several projects may share.

    The tables are created by the first write; before that there is an empty registry. Safe to share between threads and
    processes. SQLAlchemy connects to servers and creates tables. A SQLite file is read and written without it, because
    importing it takes longer than reading the registry.
    """

    config_class: ClassVar[type[SqlRegistryConfig]] = SqlRegistryConfig

    def __init__(self, config: SqlRegistryConfig, root: Path, project: str):
        """Creates the registry without touching disk or network.

        Args:
            config: names the database.
            root: the directory that a relative file path starts from.
            project: whose definitions these are.
        """
        self.project = project
        self._config = config
        self._file = SqliteFile(config.file(root)) if config.is_file else None
        self._opened: SqlDatabase | None = None
        # What was read last, and the signature of the file before that.
        self._refreshed: tuple[RegistrySnapshot | None, tuple[object, ...] | None] = (None, None)
        self._opening = threading.Lock()

    def reading_at_once(self) -> AbstractContextManager[None]:
        return nullcontext() if self._file is None else self._file.reading_at_once()

    def __repr__(self) -> str:
        where = str(self._file.path) if self._file else self._config.display_path
        return f"SqlRegistry({where!r}, project={self.project!r})"

    # --- definitions

    def revision(self) -> int:
        with self._reading() as reading:
            return 0 if reading is None else reading.newest()[0]

    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        with self._reading() as reading:
            newest, committed, noted = self._state(reading)
            number = newest if revision is None else revision
            check_revision(self.project, number, newest)
            if reading is None or number == 0:
                return RegistrySnapshot(self.project, number, (), has_noted_pushes=noted)
            if number < newest:
                stored, committed = reading.as_of(number), reading.committed(number)
            else:
                stored = reading.standing()
            return RegistrySnapshot(
                self.project, number, stored, reading.feature_lists(), committed=committed, has_noted_pushes=noted
            )

    def refreshed(self, snapshot: RegistrySnapshot) -> RegistrySnapshot:
        signature = None if self._file is None else self._file.signature()
        newest, as_of = self._refreshed
        if newest is snapshot and signature is not None and signature == as_of:
            return snapshot
        newest = self._read_since(snapshot)
        self._refreshed = newest, signature
        return newest

    def _read_since(self, snapshot: RegistrySnapshot) -> RegistrySnapshot:
        with self._reading() as reading:
            newest, committed, noted = self._state(reading)
            since = snapshot.revision
            if (newest, committed) == (since, snapshot.committed):
                return snapshot.with_noted_pushes(noted)
            # A project that was removed and applied anew counts from 1 again.
            if reading is not None and 0 < since < newest and reading.committed(since) == snapshot.committed:
                return snapshot.with_changes(
                    newest,
                    committed,
                    reading.standing_since(since),
                    reading.ended_since(since),
                    reading.feature_lists(),
                ).with_noted_pushes(noted)
        return self.snapshot()

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        upserts = distinct(changes.upserts)
        deletes = set(changes.deletes) - set(upserts)
        if not upserts and not deletes and not changes.inputs:
            newest = self.revision()
            refuse_other_base(self.project, based_on, newest)
            return newest
        with self._writing() as writing:
            newest = writing.lock()
            refuse_other_base(self.project, based_on, newest)
            writing.rename_ledgers(changes.renamed_ledgers)
            return writing.commit(newest, upserts, deletes, changes.inputs, by or current_user())

    def projects(self) -> list[Project]:
        with (self._file or self._database).reading() as query:
            return [] if query is None else all_projects(query)

    def inputs(self) -> Mapping[Key, str]:
        with self._reading() as reading:
            if reading is None or not self._has_table(INPUTS):
                return {}
            return reading.inputs()

    def revisions(self) -> list[Revision]:
        with self._reading() as reading:
            return [] if reading is None else reading.revisions()

    # --- the ledger

    def ledger(self, view: str) -> list[LedgerEntry]:
        columns = self._ledger(view)
        return [] if columns is None else columns.entries()

    def materialization_intervals(self, view: str) -> list[tuple[datetime, datetime]]:
        columns = self._ledger(view)
        return [] if columns is None else columns.intervals()

    def ledger_columns(self, view: str) -> LedgerColumns:
        from feast_assets.registry.ledger_columns import LedgerColumns

        return self._ledger(view) or LedgerColumns.of(view, [])

    def _ledger(self, view: str) -> LedgerColumns | None:
        """Returns a view's entries; None where there are none, which is told without loading numpy."""
        with self._reading() as reading:
            if reading is None:
                return None
            if reading.has_segments():
                return reading.ledger(view)
            return reading.ledger_of_windows(view, has_marks=self._has_table(MARKS))

    def ledger_change_tokens(self, views: Sequence[str]) -> dict[str, str]:
        with self._reading() as reading:
            if reading is not None and not reading.has_segments():
                return super().ledger_change_tokens(views)
            tokens = {} if reading is None else reading.ledger_change_tokens()
        return {view: tokens.get(view, "") for view in views}

    def claim(
        self,
        view: str,
        contents: Sequence[WindowContent],
        *,
        empty: Sequence[WindowContent] = (),
        run_id: str = "",
        table: OnlineTable | None = None,
    ) -> Claim:
        claim_id, now = uuid.uuid4().hex, _now()
        with self._writing() as writing:
            writing.lock()
            ledger = writing.ledger(view)
            standing = ledger.overlapping(content.window for content in (*contents, *empty))
            made = claimed(standing, view, contents, empty, now, run_id)
            ledger.exchange(made, claim_id)
            begins, settles = (0, 0) if table is None else writing.draw_marks(view, table, now)
        return Claim(view, claim_id, made.versions, made.replaced, begins, settles)

    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        if not entries:
            return
        with self._writing() as writing:
            writing.lock()
            ledger = writing.ledger(claim.view)
            standing, own = ledger.overlapping_and_own([e.window for e in entries], claim.id)
            ledger.exchange(settled(standing, entries, own), _CONFLICT)

    def draw_marks(self, view: str, table: OnlineTable) -> tuple[int, int]:
        with self._writing() as writing:
            writing.lock()
            return writing.draw_marks(view, table, _now())

    def known_marks(self, view: str, identity: str) -> list[DrawnMark]:
        with self._reading() as reading:
            if reading is None or not self._has_table(MARKS):
                return []
            return reading.known_marks(view, identity)

    def distrust(
        self,
        view: str,
        identity: str,
        doubt: MarkDoubt,
        *,
        newest: int,
        gaps: Sequence[Window] = (),
        above: int = 0,
    ) -> bool:
        now = _now()
        with self._writing() as writing:
            writing.lock()
            if writing.newest_mark(view, identity) != newest:
                return False
            ledger = writing.ledger(view)
            ledger.exchange(doubted(ledger.entries(), view, doubt, gaps, above, now), "")
            if doubt.kind == "unknown":
                writing.note_marks(view, identity, [DrawnMark(doubt.number_in_store, 0, "found")])
            if doubt.kind == "missing":
                writing.note_missing(view, identity, now)
        return True

    def forget(self, view: str) -> None:
        if not self._exists():
            return
        with self._writing() as writing:
            writing.lock()
            writing.forget([view])

    # --- what was read of the parts of sources

    def part_statistics(self, digest: str) -> list[Segment]:
        with self._reading() as reading:
            if reading is None or not self._has_table(PART_STATISTICS):
                return []
            return sql_part_statistics.segments(reading.query, self.project, digest)

    def keep_part_statistics(
        self, digest: str, source: str, content: bytes, *, instead_of: Collection[int] = ()
    ) -> None:
        with self._writing() as writing:
            writing.lock()
            sql_part_statistics.keep(writing.transaction, self.project, digest, source, content, instead_of, _now())

    def forget_part_statistics(self, digest: str) -> None:
        if not self._exists():
            return
        with self._writing() as writing:
            sql_part_statistics.forget(writing.transaction, self.project, digest)

    # --- how far streams have been consumed

    def checkpoints(self, source: str) -> list[Checkpoint]:
        with self._reading() as reading:
            if reading is None or not self._has_table(CHECKPOINTS):
                return []
            return sql_checkpoints.checkpoints(reading.query, self.project, source)

    def keep_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        with self._writing() as writing:
            writing.lock()
            sql_checkpoints.keep(writing.transaction, self.project, checkpoints)

    def forget_checkpoints(self, source: str, readers: Sequence[str]) -> None:
        if not self._exists():
            return
        with self._writing() as writing:
            sql_checkpoints.forget(writing.transaction, self.project, source, readers)

    # --- pushes that were begun

    def note_push(self, push: NotedPush, rows: bytes) -> NotedPush:
        while True:
            with self._writing() as writing:
                noted = sql_pushes.note(writing.transaction, self.project, push, rows)
            if noted is not None:
                return noted

    def noted_pushes(self) -> list[NotedPush]:
        with self._reading() as reading:
            if reading is None or not self._has_table(PUSHES):
                return []
            return sql_pushes.noted(reading.query, self.project)

    def rows_of_push(self, push: NotedPush) -> bytes | None:
        with self._reading() as reading:
            if reading is None or not self._has_table(PUSHES):
                return None
            return sql_pushes.noted_rows(reading.query, self.project, push)

    def forget_push(self, push: NotedPush) -> None:
        if not self._exists():
            return
        with self._writing() as writing:
            sql_pushes.forget(writing.transaction, self.project, push)

    def _state(self, reading: ProjectReading | None) -> tuple[int, int, bool]:
        """Returns the newest revision, when it was committed, and whether pushes are noted."""
        if reading is None:
            return 0, 0, False
        return reading.state() if self._has_table(PUSHES) else (*reading.newest(), False)

    # --- the database

    def teardown(self) -> None:
        if not self._exists():
            return
        with self._writing() as writing:
            writing.lock()
            writing.remove_project()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _database(self) -> SqlDatabase:
        from feast_assets.registry.sql.database import SqlDatabase

        with self._opening:
            if self._opened is None:
                self._opened = SqlDatabase(self._config, self._file)
            return self._opened

    @contextmanager
    def _reading(self) -> Iterator[ProjectReading | None]:
        """Gives what reads one state of the project; None where there is no registry yet."""
        with (self._file or self._database).reading() as query:
            yield None if query is None else ProjectReading(query, self.project)

    @contextmanager
    def _writing(self) -> Iterator[ProjectWriting]:
        """Gives what writes the project, in one transaction."""
        if self._file is None:
            with self._database.writing() as transaction:
                yield ProjectWriting(transaction, self.project)
            return
        if not (self._file.path.exists() and all(map(self._file.has_table, LATER_TABLES))):
            self._database.create_tables()
        with self._file.writing() as transaction:
            yield ProjectWriting(transaction, self.project)

    def _exists(self) -> bool:
        with self._reading() as reading:
            return reading is not None

    def _has_table(self, name: str) -> bool:
        return (self._file or self._database).has_table(name)


def _now() -> int:
    return to_micros(datetime.now(UTC))
