"""The registry in a SQL database: a SQLite file, or Postgres."""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.partitions import Window
from feast_assets.definitions.spec import content_hash, from_micros, to_micros
from feast_assets.errors import ConcurrentApplyError, DefinitionError, FeastObjectNotFoundException
from feast_assets.registry.base import Changes, Claim, LedgerEntry, Registry, Revision, WindowContent
from feast_assets.registry.ledger import Exchange, claimed, overlap, settled
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject, bare_fields
from feast_assets.registry.sql_config import SqlRegistryConfig
from feast_assets.registry.sql_database import SqlDatabase
from feast_assets.registry.tables import OF_PROJECT, feature_lists, ledger, objects, projects, revisions

_MATERIALIZED_TYPES = (FeatureView.object_type, LabelView.object_type)
_SUMMARY_OBJECTS = 50
_CONFLICT = "conflict"
"""Marks windows that two runs wrote at once; no run's token."""

_Key = tuple[str, str]


class RevisionNotFoundError(FeastObjectNotFoundException):
    """The registry has no such revision."""

    kind = "revision"


class SqlRegistry(Registry):
    """Definitions by revision, and the ledger, in a SQL database that several projects may share.

    The tables are created by the first write; before that there is an empty registry. Safe to share between threads and
    processes.
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
        self._database = SqlDatabase(config, root)

    def __repr__(self) -> str:
        return f"SqlRegistry({self._database.name!r}, project={self.project!r})"

    def revision(self) -> int:
        with self._database.reading() as connection:
            return 0 if connection is None else self._newest(connection)

    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        with self._database.reading() as connection:
            newest = 0 if connection is None else self._newest(connection)
            wanted = newest if revision is None else revision
            if not 0 <= wanted <= newest:
                raise RevisionNotFoundError(str(wanted), self.project, map(str, range(newest, max(0, newest - 10), -1)))
            if connection is None or wanted == 0:
                return RegistrySnapshot(self.project, wanted, ())
            rows = connection.execute(select(objects).where(self._valid_at(wanted, newest))).all()
            lists = connection.execute(
                select(feature_lists.c.view, feature_lists.c.fields)
                .where(feature_lists.c.project == self.project)
                .order_by(feature_lists.c.newest_revision.desc(), feature_lists.c.list_hash)
            ).all()
        return RegistrySnapshot(self.project, wanted, map(_stored_object, rows), _FeatureLists(lists))

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        upserts = _distinct(changes.upserts)
        hashes = {key: definition.content_hash() for key, definition in upserts.items()}
        deletes = set(changes.deletes) - set(upserts)
        now = datetime.now(UTC)
        with self._database.writing() as connection:
            newest = self._lock(connection)
            if based_on is not None and based_on != newest:
                raise ConcurrentApplyError(
                    f"The registry of project {self.project!r} is at revision {newest}, but these changes were worked "
                    f"out from revision {based_on}: somebody else applied in between. Nothing was changed; apply again."
                )
            standing = {
                (row.object_type, row.name): row
                for row in connection.execute(
                    select(objects.c.object_type, objects.c.name, objects.c.content_hash, objects.c.created).where(
                        objects.c.project == self.project, objects.c.valid_to.is_(None)
                    )
                )
            }
            changed = {
                key: definition
                for key, definition in upserts.items()
                if key not in standing or standing[key].content_hash != hashes[key]
            }
            removed = sorted(deletes & set(standing))
            if not changed and not removed:
                return newest
            number = newest + 1
            self._end(connection, [*removed, *(key for key in changed if key in standing)], number)
            self._begin(connection, changed, hashes, standing, number, to_micros(now))
            self._remember_feature_lists(connection, changed, number)
            self._forget(connection, [name for kind, name in removed if kind in _MATERIALIZED_TYPES])
            connection.execute(
                insert(revisions).values(
                    project=self.project,
                    number=number,
                    at=to_micros(now),
                    by=by or _user(),
                    summary=_summary(changed, standing, removed),
                )
            )
            connection.execute(update(projects).where(projects.c.project == self.project).values(revision=number))
            return number

    def revisions(self) -> list[Revision]:
        with self._database.reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(
                select(revisions).where(revisions.c.project == self.project).order_by(revisions.c.number)
            ).all()
        return [Revision(r.number, from_micros(r.at), r.by, r.summary) for r in rows]

    def ledger(self, view: str) -> list[LedgerEntry]:
        with self._database.reading() as connection:
            if connection is None:
                return []
            return self._entries(connection, view)

    def claim(self, view: str, contents: Sequence[WindowContent], *, run_id: str = "") -> Claim:
        token = uuid.uuid4().hex
        with self._database.writing() as connection:
            self._lock(connection)
            standing = self._entries(connection, view)
            made = claimed(standing, view, contents, to_micros(datetime.now(UTC)), run_id)
            self._exchange(connection, view, made, token)
        return Claim(view, token, made.versions)

    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        if not entries:
            return
        with self._database.writing() as connection:
            self._lock(connection)
            standing = self._entries(connection, claim.view)
            own = self._claimed_by(connection, claim)
            self._exchange(connection, claim.view, settled(standing, entries, own), _CONFLICT)

    def cover(self, entries: Sequence[LedgerEntry]) -> None:
        if not entries:
            return
        with self._database.writing() as connection:
            self._lock(connection)
            for view in {e.view for e in entries}:
                standing = self._entries(connection, view)
                free = [e for e in entries if e.view == view and not any(overlap(e.window, o.window) for o in standing)]
                self._exchange(connection, view, Exchange((), tuple(free), ()), "")

    def forget(self, view: str) -> None:
        with self._database.reading() as connection:
            if connection is None:
                return
        with self._database.writing() as connection:
            self._lock(connection)
            self._forget(connection, [view])

    def teardown(self) -> None:
        with self._database.reading() as connection:
            if connection is None:
                return
        with self._database.writing() as connection:
            self._lock(connection)
            for table in OF_PROJECT:
                connection.execute(delete(table).where(table.c.project == self.project))

    def close(self) -> None:
        self._database.close()

    # --- inside a transaction

    def _newest(self, connection: Connection) -> int:
        found = connection.execute(select(projects.c.revision).where(projects.c.project == self.project)).scalar()
        return int(found or 0)

    def _lock(self, connection: Connection) -> int:
        """Makes this the only writer of the project, and returns the newest revision."""
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(projects).values(project=self.project, revision=0).on_conflict_do_nothing())
        found = connection.execute(
            select(projects.c.revision).where(projects.c.project == self.project).with_for_update()
        ).scalar()
        return int(found or 0)

    def _valid_at(self, revision: int, newest: int) -> Any:
        if revision == newest:
            return and_(objects.c.project == self.project, objects.c.valid_to.is_(None))
        return and_(
            objects.c.project == self.project,
            objects.c.valid_from <= revision,
            or_(objects.c.valid_to.is_(None), objects.c.valid_to > revision),
        )

    def _end(self, connection: Connection, keys: Sequence[_Key], number: int) -> None:
        for object_type, name in keys:
            connection.execute(
                update(objects)
                .where(
                    objects.c.project == self.project,
                    objects.c.object_type == object_type,
                    objects.c.name == name,
                    objects.c.valid_to.is_(None),
                )
                .values(valid_to=number)
            )

    def _begin(
        self,
        connection: Connection,
        changed: Mapping[_Key, Definition],
        hashes: Mapping[_Key, str],
        standing: Mapping[_Key, Row[*tuple[Any, ...]]],
        number: int,
        now: int,
    ) -> None:
        if changed:
            connection.execute(
                insert(objects),
                [
                    {
                        "project": self.project,
                        "object_type": key[0],
                        "name": key[1],
                        "valid_from": number,
                        "valid_to": None,
                        "content_hash": hashes[key],
                        "spec": json.dumps(definition.to_spec(), separators=(",", ":")),
                        "created": standing[key].created if key in standing else now,
                        "updated": now,
                    }
                    for key, definition in changed.items()
                ],
            )

    def _remember_feature_lists(self, connection: Connection, changed: Mapping[_Key, Definition], number: int) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        for definition in changed.values():
            if isinstance(definition, FeatureView):
                fields = [f.to_spec() for f in bare_fields(definition)]
                row = dialect.insert(feature_lists).values(
                    project=self.project,
                    view=definition.name,
                    list_hash=content_hash(fields),
                    fields=json.dumps(fields, separators=(",", ":")),
                    newest_revision=number,
                )
                connection.execute(
                    row.on_conflict_do_update(
                        index_elements=["project", "view", "list_hash"], set_={"newest_revision": number}
                    )
                )

    def _forget(self, connection: Connection, views: Sequence[str]) -> None:
        for view in views:
            connection.execute(delete(ledger).where(ledger.c.project == self.project, ledger.c.view == view))

    def _entries(self, connection: Connection, view: str) -> list[LedgerEntry]:
        rows = connection.execute(
            select(ledger)
            .where(ledger.c.project == self.project, ledger.c.view == view)
            .order_by(ledger.c.window_start, ledger.c.window_end)
        ).all()
        return [_entry(row) for row in rows]

    def _claimed_by(self, connection: Connection, claim: Claim) -> set[Window]:
        rows = connection.execute(
            select(ledger.c.window_start, ledger.c.window_end).where(
                ledger.c.project == self.project, ledger.c.view == claim.view, ledger.c.claim == claim.token
            )
        ).all()
        return {Window(from_micros(r.window_start), from_micros(r.window_end)) for r in rows}

    def _exchange(self, connection: Connection, view: str, exchange: Exchange, claim: str) -> None:
        """Makes the exchange; ``claim`` is what entries that are not settled are marked with."""
        if exchange.removed:
            ours = and_(
                ledger.c.project == self.project,
                ledger.c.view == view,
                ledger.c.window_start == bindparam("start"),
                ledger.c.window_end == bindparam("end"),
            )
            connection.execute(
                delete(ledger).where(ours),
                [{"start": to_micros(e.window.start), "end": to_micros(e.window.end)} for e in exchange.removed],
            )
        if exchange.added:
            connection.execute(
                insert(ledger),
                [{"project": self.project, **_row(e), "claim": "" if e.settled else claim} for e in exchange.added],
            )


class _FeatureLists(Mapping[str, tuple[tuple[Field, ...], ...]]):
    """The lists of features by view, read when they are asked for: few of many are."""

    def __init__(self, rows: Sequence[Row[*tuple[Any, ...]]]):
        self._texts: dict[str, list[str]] = {}
        for row in rows:
            self._texts.setdefault(row.view, []).append(row.fields)
        self._read: dict[str, tuple[tuple[Field, ...], ...]] = {}

    def __getitem__(self, view: str) -> tuple[tuple[Field, ...], ...]:
        if view not in self._read:
            self._read[view] = tuple(
                tuple(Field.from_spec(spec) for spec in json.loads(text)) for text in self._texts[view]
            )
        return self._read[view]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _distinct(upserts: Sequence[Definition]) -> dict[_Key, Definition]:
    found: dict[_Key, Definition] = {}
    for definition in upserts:
        key = type(definition).object_type, definition.name
        if key in found and found[key] != definition:
            raise DefinitionError(f"One apply has two different versions of {key[0]} {key[1]!r}.")
        found[key] = definition
    return found


def _row(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "view": entry.view,
        "window_start": to_micros(entry.window.start),
        "window_end": to_micros(entry.window.end),
        "fingerprint": entry.fingerprint,
        "version": entry.version,
        "definition_hash": entry.definition_hash,
        "rows": entry.rows,
        "written": entry.written,
        "at": to_micros(entry.at),
        "run_id": entry.run_id,
    }


def _entry(row: Row[*tuple[Any, ...]]) -> LedgerEntry:
    return LedgerEntry(
        view=row.view,
        window=Window(from_micros(row.window_start), from_micros(row.window_end)),
        fingerprint=row.fingerprint,
        version=row.version,
        definition_hash=row.definition_hash,
        rows=row.rows,
        written=row.written,
        at=from_micros(row.at),
        run_id=row.run_id,
        settled=not row.claim,
    )


def _stored_object(row: Row[*tuple[Any, ...]]) -> StoredObject:
    return StoredObject(
        row.object_type, row.name, row.content_hash, row.spec, from_micros(row.created), from_micros(row.updated)
    )


def _summary(
    changed: Mapping[_Key, Definition], standing: Mapping[_Key, Row[*tuple[Any, ...]]], removed: Sequence[_Key]
) -> str:
    said = [f"{'updated' if k in standing else 'created'} {k[0]} {k[1]}" for k in sorted(changed)]
    said += [f"deleted {k[0]} {k[1]}" for k in removed]
    if len(said) > _SUMMARY_OBJECTS:
        said = [*said[:_SUMMARY_OBJECTS], f"and {len(said) - _SUMMARY_OBJECTS} more"]
    return "; ".join(said)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
