"""What a registry is: definitions by revision, and the ledger of what has been materialized."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from feast_assets.definitions.base import Definition
from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import Window
from feast_assets.registry.feast_verbs import BaseRegistry

if TYPE_CHECKING:
    from pydantic import BaseModel

    from feast_assets.registry.ledger_columns import LedgerColumns
    from feast_assets.registry.snapshot import RegistrySnapshot


@dataclass(frozen=True, slots=True)
class Changes:
    """What one apply changes.

    Attributes:
        upserts: objects to create, or to replace by type and name. One that equals the stored object changes nothing.
        deletes: (object type, name) of objects to remove.
        renamed_ledgers: (name, other name) of views whose entries in the ledger, and whose tables' marks, are those of
            the other name from now on, as its online table is now the other's. They replace what the other name had,
            one after the other. A registry that ignores it makes runs of these views begin anew.
        inputs: (object type, name) -> what `Registry.inputs` returns for it from now on. It makes no revision.
    """

    upserts: Sequence[Definition] = ()
    deletes: Sequence[tuple[str, str]] = ()
    inputs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    renamed_ledgers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """One apply, as the registry records it.

    Attributes:
        number: 1 for the first.
        at: UTC.
        by: who applied; "" if that is not known.
        summary: what changed, such as "created feature view a; updated entity b".
    """

    number: int
    at: datetime
    by: str
    summary: str


DoubtKind = Literal["", "restored", "unknown", "missing"]
"""Why an entry was unsettled though a run had settled it; "" where it was not. See `MarkDoubt`."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One window of one view that is in the online store, or that a run has begun to put there.

    Attributes:
        fingerprint: of the source's content in the window when it was read; "" where it had no rows.
        version: UTC microseconds at which this content was first seen, rounded up to an even number; orders
            corrections.
        definition_hash: of what in the definition decides the rows.
        rows: rows read from the window's history.
        written: rows that were newer than what the online store held.
        at: when it was recorded, UTC.
        run_id: the run that recorded it; "" if it gave no id.
        settled: whether the store holds it. If not, a run is under way, was killed, or wrote the window at the same
            time as another; it is not known what the store holds of the window, and it has to be run again.
        mark: the number of the online table's mark under which it was settled; 0 where the rows do not go online, and
            in entries of versions without marks.
        doubt: why it was unsettled, where that was because of the mark of the online table.
    """

    view: str
    window: Window
    fingerprint: str
    version: int
    definition_hash: str
    rows: int
    written: int
    at: datetime
    run_id: str = ""
    settled: bool = True
    mark: int = 0
    doubt: DoubtKind = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Windows that a run has begun to write.

    Attributes:
        versions: of the windows, in the order in which they were claimed.
        replaced: for each of them, the entries that it overlapped until then: what the store may hold of it.
        begins, settles: numbers drawn for the online table's mark, see `KeepsMarks.draw_marks`: to be set before the
            first row is put, and after the last; 0 where no table was named, or the registry keeps no marks.
    """

    view: str
    id: str
    versions: tuple[int, ...]
    replaced: tuple[tuple[LedgerEntry, ...], ...]
    begins: int = 0
    settles: int = 0


@dataclass(frozen=True, slots=True)
class OnlineTable:
    """An online table as a run found it.

    Attributes:
        identity: which table it is; what the registry knows of a table with another identity does not apply to it.
        number: of its mark.
    """

    identity: str
    number: int


@dataclass(frozen=True, slots=True)
class DrawnMark:
    """A number of an online table's mark that the registry knows.

    Attributes:
        number: tells when it was drawn, see `feast_assets.registry.marks.moment_of`.
        previous: the only number that the mark was to be advanced from to this one; 0 where that is not known.
        kind: ``"drawn"``: for a run; ``"found"``: in a store that the registry did not know in this state;
            ``"missing"``: never set, drawn when a store was found without a number.
    """

    number: int
    previous: int
    kind: Literal["drawn", "found", "missing"] = "drawn"


@dataclass(frozen=True, slots=True)
class MarkDoubt:
    """What the mark of an online table says against the ledger.

    Attributes:
        kind: ``"restored"``: the store is in a state from before some entries were settled. ``"unknown"``: the number
            was never drawn by this registry, so the registry was put back to an earlier state, or another one writes
            the table. ``"missing"``: the table has no number any more.
        number_in_store: the number that the store has; 0 where it is missing.
        lost: numbers under which entries were settled that do not hold any more; with ``"restored"`` only, otherwise no
            entry holds.
    """

    kind: Literal["restored", "unknown", "missing"]
    number_in_store: int
    lost: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class WindowContent:
    """The content of a window that a run is about to write; the attributes are those of `LedgerEntry`."""

    window: Window
    fingerprint: str
    definition_hash: str


class Registry(BaseRegistry, ABC):
    """The definitions of one project, and its ledger.

    Every change is one transaction: all of it is there afterwards, or nothing. What only some registries can do is in
    small base classes beside this one: `feast_assets.registry.marks.KeepsMarks` notices an online store that was
    restored, and `feast_assets.registry.noted_pushes.NotesPushes` completes a push that was interrupted. A backend
    passes `feast_assets.testing.RegistryConformance`, and the suite of each ability that it has.

    All methods raise `feast_assets.errors.StoreUnavailableError` when the database cannot be reached or written.
    """

    config_class: ClassVar[type[BaseModel]]

    @abstractmethod
    def __init__(self, config: BaseModel, root: Path, project: str): ...

    def reading_at_once(self) -> AbstractContextManager[None]:
        """Returns a context in which a backend may answer all that this thread asks from one state, opened once.

        Nothing is to be written in it.
        """
        return nullcontext()

    @abstractmethod
    def revision(self) -> int:
        """Returns the number of the newest revision; 0 before the first apply."""

    @abstractmethod
    def snapshot(self, revision: int | None = None) -> RegistrySnapshot:
        """Returns all definitions as of a revision; the newest when left out. Always read fresh.

        Raises:
            LookupError: there is no such revision.
        """

    @abstractmethod
    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        """Makes the changes in one transaction and returns the revision; the present one if nothing changes.

        Args:
            based_on: the revision that the changes were made from; if another apply was committed since,
                `feast_assets.errors.ConcurrentApplyError` is raised and nothing changes. None for no such check.
        """

    def projects(self) -> list[Project]:
        """Returns every project that was applied to this registry, by name; one without description if none was given.

        A registry that holds one project only need not override this.
        """
        snapshot = self.snapshot()
        return [snapshot.project_object() or Project(name=snapshot.project)] if snapshot.revision else []

    def inputs(self) -> Mapping[tuple[str, str], str]:
        """Returns (object type, name) -> the text that the last commit gave in `Changes.inputs`.

        Apply uses it to skip objects whose inputs have not changed. A registry need not keep the texts: where one is
        missing, apply makes the object again.
        """
        return {}

    def refreshed(self, snapshot: RegistrySnapshot) -> RegistrySnapshot:
        """Returns the newest snapshot, which is the given one if nothing was committed since.

        Backends that can tell without reading all definitions override this. The number of the revision alone does not
        tell: a project that was removed and applied again counts from 1.
        """
        newest = self.snapshot()
        is_same = (
            newest.revision == snapshot.revision
            and newest.committed == snapshot.committed
            and newest.has_noted_pushes == snapshot.has_noted_pushes
        )
        return snapshot if is_same else newest

    @abstractmethod
    def revisions(self) -> list[Revision]:
        """Returns all revisions, oldest first."""

    @abstractmethod
    def ledger(self, view: str) -> list[LedgerEntry]:
        """Returns a view's entries, in order of window start, then end."""

    def materialization_intervals(self, view: str) -> list[tuple[datetime, datetime]]:
        """Returns the times that are settled, as the fewest ``[start, end)`` intervals, in order."""
        from feast_assets.registry.ledger import intervals

        return intervals(self.ledger(view))

    def ledger_columns(self, view: str) -> LedgerColumns:
        """Returns the same entries as columns, which take no object for each window.

        Backends that store them so override this.
        """
        from feast_assets.registry.ledger_columns import LedgerColumns

        return LedgerColumns.of(view, self.ledger(view))

    def ledger_change_tokens(self, views: Sequence[str]) -> dict[str, str]:
        """Returns a change token for each view: another one whenever its entries in the ledger change.

        Backends that can tell without reading the entries override this.
        """
        return {view: content_hash([repr(entry) for entry in self.ledger(view)]) for view in views}

    @abstractmethod
    def claim(
        self,
        view: str,
        contents: Sequence[WindowContent],
        *,
        empty: Sequence[WindowContent] = (),
        run_id: str = "",
        table: OnlineTable | None = None,
    ) -> Claim:
        """Records, in one transaction, that windows are about to be written. A run calls it before it writes.

        A window keeps its version if the ledger has an entry for exactly this window with this content. Otherwise its
        version is the current time, or higher, so that it is above the versions of all entries that it overlaps.
        Overlapped entries are removed, because they may no longer be true. The parts of them outside the window stay,
        unsettled if they may have rows. So entries never overlap, and the ledger never forgets a time for which the
        store may hold rows. Versions are even.

        Args:
            contents: windows that do not overlap; may be none.
            empty: windows whose source has no rows; entered as settled where no entry overlaps them.
            table: the online table that gets the rows. A registry that is `KeepsMarks` draws two numbers for its mark:
                the first follows the table's current number, the second follows the first. Others ignore it.
        """

    @abstractmethod
    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        """Records, in one transaction, that claimed windows are in the store.

        If another run has claimed a window since, it is not known whose rows the store has: the window stays
        unsettled and is run again, unless that run wrote the same content. The same applies to entries that are given
        as unsettled, by a run that does not know what it wrote.
        """

    @abstractmethod
    def forget(self, view: str) -> None:
        """Removes a view's entries from the ledger, and the numbers of its table's mark."""

    @abstractmethod
    def teardown(self) -> None:
        """Removes everything of the project, its history included."""

    def close(self) -> None:
        """Releases connections."""
