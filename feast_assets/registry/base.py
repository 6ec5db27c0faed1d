"""What a registry is: definitions by revision, and the ledger of what has been materialized."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feast_assets.definitions.base import Definition
from feast_assets.definitions.partitions import Window
from feast_assets.definitions.project import Project
from feast_assets.definitions.spec import content_hash

if TYPE_CHECKING:
    from pydantic import BaseModel

    from feast_assets.registry.snapshot import RegistrySnapshot


@dataclass(frozen=True, slots=True)
class Changes:
    """What one apply changes.

    Attributes:
        upserts: objects to create or to replace by type and name; those that equal what is stored change nothing.
        deletes: (object type, name) of objects to remove.
        inputs: (object type, name) -> what `Registry.inputs` is to say of it from now on. It makes no revision.
    """

    upserts: Sequence[Definition] = ()
    deletes: Sequence[tuple[str, str]] = ()
    inputs: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revision:
    """One apply, as the registry remembers it.

    Attributes:
        number: 1 for the first.
        at: UTC.
        by: who, as far as is known.
        summary: what changed, such as "created feature view a; updated entity b".
    """

    number: int
    at: datetime
    by: str
    summary: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One window of one view that is in the online store, or that somebody has set out to put there.

    Attributes:
        fingerprint: of the source's content in the window when it was read; "" where it had no rows.
        version: UTC microseconds at which this content was first seen, rounded up to an even number; orders
            corrections.
        definition_hash: of what in the definition decides the rows.
        rows: rows read from the window's history.
        written: rows that were newer than what the online store held.
        at: when it was recorded, UTC.
        run_id: who ran it, "" if nobody said.
        settled: whether the store holds it. If not, a run is under way, was killed, or met another; what the store
            holds of the window is not known, and it has to be run again.
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


@dataclass(frozen=True, slots=True)
class Claim:
    """Windows that a run has set out to write.

    Attributes:
        versions: of the windows, in the order in which they were claimed.
        replaced: for each of them, the entries that it overlapped until then: what the store may hold of it.
    """

    view: str
    token: str
    versions: tuple[int, ...]
    replaced: tuple[tuple[LedgerEntry, ...], ...]


@dataclass(frozen=True, slots=True)
class WindowContent:
    """What a run is about to write of a window: see `LedgerEntry`."""

    window: Window
    fingerprint: str
    definition_hash: str


class Registry(ABC):
    """The definitions of one project, and its ledger.

    Every change is one transaction: it happened, with a revision number, or it did not. Raises
    `feast_assets.errors.StoreUnavailableError` when the database cannot be reached or written.
    """

    config_class: ClassVar[type[BaseModel]]

    @abstractmethod
    def __init__(self, config: BaseModel, root: Path, project: str): ...

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
            based_on: the revision that the changes were worked out from; if another apply came between,
                `feast_assets.errors.ConcurrentApplyError` is raised and nothing changes. None for no such check.
        """

    def projects(self) -> list[Project]:
        """Returns every project that was applied to this registry, by name; one without description if none was given.

        A registry that holds one project only need not override this.
        """
        snapshot = self.snapshot()
        return [snapshot.project_object() or Project(name=snapshot.project)] if snapshot.revision else []

    def inputs(self) -> Mapping[tuple[str, str], str]:
        """Returns (object type, name) -> the text that the last commit with one gave, for what is made from the same
        inputs to be left as it is.

        A registry that forgets them stays right: what it does not know is made again.
        """
        return {}

    def refreshed(self, snapshot: RegistrySnapshot) -> RegistrySnapshot:
        """Returns the newest snapshot; the given one if it is that."""
        return snapshot if self.revision() == snapshot.revision else self.snapshot()

    @abstractmethod
    def revisions(self) -> list[Revision]:
        """Returns all revisions, oldest first."""

    @abstractmethod
    def ledger(self, view: str) -> list[LedgerEntry]:
        """Returns what of a view is materialized, by window start then end."""

    def ledger_states(self, views: Sequence[str]) -> dict[str, str]:
        """Returns for each view a text that changes whenever its entries in the ledger do.

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
    ) -> Claim:
        """Says, in one transaction, that windows are about to be written; done before anything is.

        A window's version stays what it was if the ledger has just this window with this content; else it is the
        present, and in any case higher than that of every entry that it overlaps. Entries that it overlaps go,
        because what they say may no longer hold; what of them lies outside stays, unsettled if it may have rows. So
        entries never overlap, and what the store may hold is never forgotten. Versions are even.

        Args:
            contents: windows that do not overlap; may be none.
            empty: windows that were looked at and have no rows; noted, as settled, where the ledger has nothing that
                overlaps them.
        """

    @abstractmethod
    def settle(self, claim: Claim, entries: Sequence[LedgerEntry]) -> None:
        """Says, in one transaction, that claimed windows are in the store.

        Where another run has claimed the window since, nobody knows whose rows the store has: unless it wrote the same
        content, the window stays unsettled, and is run again. The same holds of entries that are handed in unsettled,
        by a run that does not know what it wrote.
        """

    @abstractmethod
    def forget(self, view: str) -> None:
        """Removes a view's entries from the ledger."""

    @abstractmethod
    def teardown(self) -> None:
        """Removes everything of the project, its history included."""

    def close(self) -> None:  # noqa: B027
        """Releases connections."""
