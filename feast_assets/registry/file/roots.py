"""The states of a project in a file registry, each an object with a number of its own: a *root*.

A root is never changed. A writer reads the newest, writes what is new into objects of their own (*blobs*, whose names
nobody else has), and creates the root with the next number. If somebody else was faster, that number is taken, and the
writer starts again from the other's root; so no change is lost, and a reader sees all of a change or nothing. What a
writer leaves behind that was killed is blobs that no root names.

The number after the newest tells readers whether there is a newer one: it is asked for, and mostly not there. This
holds as long as roots that were passed are kept; they are, for `KEPT_SECONDS`. A process that has not looked for a part
of that time lists the roots again.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

from feast_assets.errors import StoreUnavailableError
from feast_assets.registry.file.objects import Objects
from feast_assets.stored_formats import REGISTRY_FILES, package_version

KEPT_SECONDS = 900.0
"""How long a root is kept at least after another has taken its place."""
TRUSTED_SECONDS = 300.0
"""How long after it was looked at a number that was not taken shows that there is no newer root. It is far shorter than
`KEPT_SECONDS`, so a number that was taken and removed again is never seen as free."""
ORPHANED_SECONDS = 86_400.0
"""How old a blob that no root names must be to be removed."""
PRUNED_EVERY = 64
"""After how many roots old ones are removed."""
_SWEPT_EVERY = 1024
"""After how many roots blobs of killed writers are looked for."""
_FOLLOWED = 8
"""How many newer roots are read one after the other before they are listed."""
_ATTEMPTS = 5
_MOST_PAUSE_SECONDS = 1.0

_ROOTS = "roots"
_BLOBS = "blobs"
_DIGITS = 20


class StoredBlob(NamedTuple):
    """Where some bytes are.

    Attributes:
        name: of the object.
        digest: of the bytes.
    """

    name: str
    digest: str


def digest_of(content: bytes) -> str:
    """Returns a text that another content does not have."""
    return blake2b(content, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Where the ledger of a view is.

    Attributes:
        blob: the list of its segments, and the numbers of the table's mark.
        token: another one whenever an entry changes; "" where there is none.
    """

    blob: StoredBlob
    token: str


@dataclass(frozen=True, slots=True)
class RevisionState:
    """One revision.

    Attributes:
        number: 1 for the first.
        at: UTC microseconds.
        by, summary: as in `feast_assets.registry.base.Revision`.
        delta: the objects that it changed.
        checkpoint: all objects as of it; None where they follow from those before.
    """

    number: int
    at: int
    by: str
    summary: str
    delta: StoredBlob
    checkpoint: StoredBlob | None


@dataclass(frozen=True, slots=True)
class Root:
    """One state of a project.

    Attributes:
        number: 1 for the first; 0 where there is none yet.
        id: of the change that made it.
        life: of the project: another one after a teardown.
        older_revisions: pages of earlier revisions, oldest first.
        revisions: the newest revisions, oldest first.
        inputs: what `Registry.inputs` returns.
        ledgers: by view.
        pushes: noted pushes, with where their rows are.
        statistics: what is kept of the parts of sources, by digest.
        checkpoints: how far streams have been consumed: by source, lists of reader, partition, identity, position and
            time.
        dropped: names of blobs that the root before this one named, and this one does not.
    """

    number: int = 0
    id: str = ""
    life: str = ""
    older_revisions: tuple[StoredBlob, ...] = ()
    revisions: tuple[RevisionState, ...] = ()
    inputs: StoredBlob | None = None
    ledgers: Mapping[str, LedgerState] = field(default_factory=dict)
    pushes: tuple[Mapping[str, Any], ...] = ()
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        """Returns the root as it is stored."""
        document = {
            "format": REGISTRY_FILES.number,
            "written_by": package_version(),
            "number": self.number,
            "id": self.id,
            "life": self.life,
            "older_revisions": self.older_revisions,
            "revisions": [revision_json(revision) for revision in self.revisions],
            "inputs": self.inputs,
            "ledgers": {view: [state.blob, state.token] for view, state in self.ledgers.items()},
            "pushes": self.pushes,
            "statistics": self.statistics,
            "checkpoints": self.checkpoints,
            "dropped": self.dropped,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decoded(cls, content: bytes, title: str) -> Root:
        """Returns a stored root.

        Args:
            title: of the registry, for the message.

        Raises:
            StoredFormatError: a newer version of this package wrote it.
            StoreUnavailableError: it is damaged.
        """
        try:
            document = json.loads(content)
            number, written_by = document["format"], str(document["written_by"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(title) from error
        REGISTRY_FILES.check(number, f"Registry {title}", written_by=written_by)
        try:
            return cls(
                number=document["number"],
                id=document["id"],
                life=document["life"],
                older_revisions=tuple(StoredBlob(*blob) for blob in document["older_revisions"]),
                revisions=tuple(revision_of(each) for each in document["revisions"]),
                inputs=_blob(document["inputs"]),
                ledgers={v: LedgerState(StoredBlob(*blob), token) for v, (blob, token) in document["ledgers"].items()},
                pushes=tuple(document["pushes"]),
                statistics=document["statistics"],
                checkpoints=document.get("checkpoints", {}),
                dropped=tuple(document["dropped"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(title) from error

    def named_blobs(self) -> Iterator[str]:
        """Yields the names of the blobs that the root names itself."""
        for blob in (*self.older_revisions, *(state.blob for state in self.ledgers.values())):
            yield blob.name
        for revision in self.revisions:
            yield from revision_blobs(revision)
        if self.inputs is not None:
            yield self.inputs.name
        for push in self.pushes:
            yield push["rows"][0]
        for kept in self.statistics.values():
            yield from (blob[0] for _, blob, _ in kept["segments"])


def revision_json(revision: RevisionState) -> list[object]:
    """Returns a revision as it is stored."""
    return [revision.number, revision.at, revision.by, revision.summary, revision.delta, revision.checkpoint]


def revision_of(stored: Sequence[Any]) -> RevisionState:
    """Returns a stored revision."""
    number, at, by, summary, delta, checkpoint = stored
    return RevisionState(number, at, by, summary, StoredBlob(*delta), _blob(checkpoint))


def revision_blobs(revision: RevisionState) -> list[str]:
    """Returns the names of the blobs of a revision."""
    return [blob.name for blob in (revision.delta, revision.checkpoint) if blob is not None]


class Roots:
    """The roots of one project. Safe to share between threads."""

    def __init__(self, objects: Objects, folder: str):
        """Creates it without reaching the store.

        Args:
            folder: of the project.
        """
        self._objects = objects
        self.folder = folder
        self._lock = threading.Lock()
        self._known: tuple[Root, float] | None = None

    def newest(self) -> tuple[Root, float]:
        """Returns the newest root, and when it was known to be that, by `now_seconds`."""
        with self._lock:
            known = self._known
        if known is None or now_seconds() - known[1] > TRUSTED_SECONDS:
            known = self._listed(), now_seconds()
        root = known[0]
        followed = 0
        while True:
            asked_at = now_seconds()
            newer = self._read(root.number + 1)
            if newer is None:
                break
            root, followed = newer, followed + 1
            if followed % _FOLLOWED == 0:
                listed = self._listed()
                root = listed if listed.number > root.number else root
        with self._lock:
            if self._known is None or self._known[0].number <= root.number:
                self._known = root, asked_at
        return root, asked_at

    def create(self, root: Root) -> bool:
        """Creates a root; returns whether it did, or another change has taken the number.

        Raises:
            StoreUnavailableError: the store does not answer; the change is made, or it is not.
        """
        name, content = self._name(root.number), root.encoded()
        for attempt in range(_ATTEMPTS):
            problem: StoreUnavailableError | None = None
            try:
                if self._objects.create(name, content):
                    return True
            except StoreUnavailableError as error:
                problem = error
            # An answer may be lost, and clients repeat what was not answered: the root that is there may be this one.
            try:
                standing = self._read(root.number)
            except StoreUnavailableError as error:
                standing, problem = None, error
            if standing is not None:
                return standing.id == root.id
            if problem is not None and attempt == _ATTEMPTS - 1:
                raise problem
            pause(attempt)
        raise StoreUnavailableError(f"Registry {self._objects.title} cannot be written: it refuses {name}.")

    def prune(self, newest: Root) -> None:
        """Removes roots that others took the place of long ago, and the blobs that only they named."""
        times = self._times()
        if newest.number not in times:
            return
        now = max(times.values())  # the store's clock, so that those of the writers need not agree
        numbers = sorted(times)
        old = []
        for number, after in pairwise(numbers):
            if after != number + 1 or now - times[after] < KEPT_SECONDS:
                break
            old.append(number)
        if not old:
            return
        # What only a root and those before it name is what the root after it dropped. Blobs go first: if this process
        # is killed in between, the next one removes the rest.
        followers = self._objects.read_all([self._name(number + 1) for number in old])
        dropped = [
            name
            for content in followers
            if content is not None
            for name in Root.decoded(content, self._objects.title).dropped
        ]
        self._objects.remove(dropped)
        self._objects.remove([self._name(number) for number in old])

    def sweep(self, newest: Root, named: Callable[[Root], set[str]]) -> None:
        """Removes blobs of writers that were killed before their root.

        Args:
            named: returns the names of all blobs that belong to a root.
        """
        times = self._objects.listed(f"{self.folder}/{_BLOBS}")
        if not times:
            return
        now = max([*times.values(), *self._times().values()])
        old = {name for name, at in times.items() if now - at > ORPHANED_SECONDS}
        if not old:
            return
        contents = self._objects.read_all([self._name(number) for number in sorted(self._times())])
        roots = [Root.decoded(content, self._objects.title) for content in contents if content is not None]
        kept = named(newest).union(*(root.dropped for root in roots), *(set(root.named_blobs()) for root in roots))
        self._objects.remove(old - kept)

    def remove_others(self, newest: Root, blobs: Sequence[str]) -> None:
        """Removes, after a teardown, what the project had.

        Args:
            newest: the root that the teardown made; it stays, since a number must not be used twice.
            blobs: those that there were before.
        """
        self._objects.remove(blobs)
        times = self._times()
        now = max(times.values(), default=0.0)
        gone = [number for number in times if number < newest.number and now - times[number] > KEPT_SECONDS]
        self._objects.remove([self._name(number) for number in gone])
        # Others may still want to create these numbers, so they stay taken.
        taken = {number for number in times if number < newest.number} - set(gone)
        self._objects.write({self._name(n): replace(Root(), number=n, life=newest.life).encoded() for n in taken})

    def blobs(self) -> list[str]:
        """Returns the names of all blobs that there are."""
        return list(self._objects.listed(f"{self.folder}/{_BLOBS}"))

    def blob_name(self, unique: str) -> str:
        """Returns the name of a blob."""
        return f"{self.folder}/{_BLOBS}/{unique}"

    def _listed(self) -> Root:
        """Returns the newest root that a listing has; one without number if there is none."""
        for attempt in range(_ATTEMPTS):
            number = max(self._times(), default=0)
            root = self._read(number) if number else Root()
            if root is not None:
                return root
            pause(attempt)  # it was removed since
        raise StoreUnavailableError(f"Registry {self._objects.title} cannot be read: what it lists is not there.")

    def _times(self) -> dict[int, float]:
        listed = self._objects.listed(f"{self.folder}/{_ROOTS}")
        names = {name.rpartition("/")[2].removesuffix(".json"): at for name, at in listed.items()}
        return {int(name): at for name, at in names.items() if len(name) == _DIGITS and name.isdecimal()}

    def _read(self, number: int) -> Root | None:
        content = self._objects.read(self._name(number))
        return None if content is None else Root.decoded(content, self._objects.title)

    def _name(self, number: int) -> str:
        return f"{self.folder}/{_ROOTS}/{number:0{_DIGITS}}.json"


def is_time_to_prune(root: Root) -> bool:
    """Says whether the writer of a root is to remove old ones."""
    return root.number % PRUNED_EVERY == 0


def is_time_to_sweep(root: Root) -> bool:
    """Says whether the writer of a root is to look for blobs of killed writers."""
    return root.number % _SWEPT_EVERY == 0


def now_seconds() -> float:
    """Returns a time that goes on while the machine sleeps, and is never set back."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def pause(attempt: int) -> None:
    """Waits before something is tried again: a random time, which is longer after more attempts."""
    time.sleep(random.uniform(0, min(_MOST_PAUSE_SECONDS, 0.01 * 2**attempt)))  # noqa: S311 - nothing is secret


def _blob(stored: Sequence[str] | None) -> StoredBlob | None:
    return None if stored is None else StoredBlob(*stored)


def _damaged(title: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"Registry {title} is damaged: its newest state cannot be read. Restore it from a backup, or remove it and "
        "apply again."
    )
