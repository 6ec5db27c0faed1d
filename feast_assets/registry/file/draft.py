"""A change of a file registry that is being made: the next root, and the blobs that it will name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from feast_assets.registry.file.blobs import Blobs
from feast_assets.registry.file.objects import Objects
from feast_assets.registry.file.roots import LedgerState, Root, Roots, StoredBlob, digest_of


class WrittenBlobs:
    """What a change has written, kept for the next attempt if another change is faster."""

    def __init__(self, objects: Objects, roots: Roots):
        self._objects = objects
        self._roots = roots
        self._by_content: dict[tuple[str, int], StoredBlob] = {}

    def write(self, contents: Mapping[StoredBlob, bytes]) -> None:
        """Writes blobs and returns when they are there to stay."""
        self._objects.write({blob.name: content for blob, content in contents.items()})
        for blob, content in contents.items():
            self._by_content[blob.digest, len(content)] = blob

    def named(self, content: bytes) -> tuple[StoredBlob, bool]:
        """Returns the name of a blob, and whether it has been written already."""
        digest = digest_of(content)
        blob = self._by_content.get((digest, len(content)))
        if blob is not None:
            return blob, True
        return StoredBlob(self._roots.blob_name(uuid.uuid4().hex), digest), False

    def remove_all_but(self, named: set[str]) -> None:
        """Removes what no root got to name."""
        self._objects.remove([blob.name for blob in self._by_content.values() if blob.name not in named])

    def forget(self) -> None:
        """Forgets what was written, because a teardown may have removed it."""
        self._by_content.clear()


class Draft:
    """The next root, made from another. `root` is to be replaced by what changes."""

    def __init__(self, base: Root, blobs: Blobs, written: WrittenBlobs):
        self.base = base
        self.blobs = blobs
        self.root = replace(
            base, number=base.number + 1, id=uuid.uuid4().hex, life=base.life or uuid.uuid4().hex, dropped=()
        )
        self._written = written
        self._new: dict[StoredBlob, bytes] = {}
        self._named: set[str] = set()
        self._dropped: set[str] = set()

    @property
    def has_changes(self) -> bool:
        """Whether the root differs from the one that it is made from."""
        return any(
            getattr(self.root, name) != getattr(self.base, name)
            for name in ("older_revisions", "revisions", "inputs", "ledgers", "pushes", "statistics", "checkpoints")
        )

    def change(self, **values: Any) -> None:
        """Sets attributes of the root."""
        self.root = replace(self.root, **values)

    def write(self, content: bytes) -> StoredBlob:
        """Returns a blob with this content; it is written before the root is."""
        blob, is_written = self._written.named(content)
        self._named.add(blob.name)
        if not is_written:
            self._new[blob] = content
        return blob

    def drop(self, *names: str) -> None:
        """Says that the root does not name some blobs any more."""
        self._dropped.update(names)

    def set_ledger(self, view: str, state: LedgerState | None) -> None:
        """Sets where the ledger of a view is; None for none."""
        ledgers = dict(self.root.ledgers)
        ledgers.pop(view, None)
        if state is not None:
            ledgers[view] = state
        self.change(ledgers=ledgers)

    def write_blobs(self) -> None:
        """Writes the blobs of the root."""
        new = {blob: content for blob, content in self._new.items() if blob.name not in self._dropped}
        self._written.write(new)
        for blob, content in new.items():
            self.blobs.keep(blob, content)

    def finish(self) -> Root:
        """Returns the root to create."""
        self.change(dropped=tuple(sorted(self._dropped - self._named)))
        return self.root

    @property
    def named(self) -> set[str]:
        """The names of the blobs that the draft has written and its root names."""
        return self._named - self._dropped
