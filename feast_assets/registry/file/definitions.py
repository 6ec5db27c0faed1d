"""The definitions in a file registry: for each revision what it changed, and at times all of them.

A process that knows a revision reads only what came after it; another one reads the last *checkpoint*, and what came
after that.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.spec import canonical_text, text_hash
from feast_assets.registry.changes import Key, summary_of
from feast_assets.registry.feature_lists import FeatureListTexts
from feast_assets.registry.file.blobs import Blobs
from feast_assets.registry.file.draft import Draft
from feast_assets.registry.file.roots import RevisionState, Root, revision_json, revision_of
from feast_assets.registry.snapshot import StoredObject, bare_fields
from feast_assets.registry.spec_text import compressed

CHECKPOINT_EVERY = 16
"""How many revisions one checkpoint serves."""
PAGE_REVISIONS = 32
"""How many revisions a page of `Root.older_revisions` has."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """All definitions as of one revision.

    Attributes:
        rows: by type and name, the attributes of `StoredObject`.
        lists: by view and hash, each list of features that it has had, as JSON, and the last revision that set it.
    """

    rows: Mapping[Key, Sequence[Any]] = field(default_factory=dict)
    lists: Mapping[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    def after(self, delta: Mapping[str, Any]) -> Definitions:
        """Returns the definitions as of the next revision."""
        gone = {(kind, name) for kind, name in delta["removed"]}
        rows = {key: row for key, row in self.rows.items() if key not in gone}
        rows |= {(row[0], row[1]): row for row in delta["objects"]}
        lists = {**self.lists, **{(v, h): (fields, number) for v, h, fields, number in delta["lists"]}}
        return Definitions(rows, lists)

    def stored(self, keys: Iterable[Key] | None = None) -> list[StoredObject]:
        """Returns some objects, left out: all; those that are not there are left out."""
        return [StoredObject(*self.rows[key]) for key in (self.rows if keys is None else keys) if key in self.rows]

    def feature_lists(self) -> FeatureListTexts:
        """Returns the lists of features of views that have had more than one, newest first."""
        by_view: dict[str, list[tuple[int, str, str]]] = {}
        for (view, list_hash), (fields, number) in self.lists.items():
            by_view.setdefault(view, []).append((-number, list_hash, fields))
        several = {view: of_view for view, of_view in by_view.items() if len(of_view) > 1}
        return FeatureListTexts((view, fields) for view, of in several.items() for _, _, fields in sorted(of))

    def encoded(self) -> bytes:
        """Returns a checkpoint."""
        lists = [[view, list_hash, fields, number] for (view, list_hash), (fields, number) in self.lists.items()]
        return pack({"objects": list(self.rows.values()), "removed": [], "lists": lists})


def revisions_of(root: Root, blobs: Blobs) -> list[RevisionState]:
    """Returns all revisions, oldest first."""
    pages = [unpack(page) for page in blobs.read_all(root.older_revisions)]
    return [*(revision_of(each) for page in pages for each in page), *root.revisions]


def revisions_to(root: Root, number: int, blobs: Blobs) -> list[RevisionState]:
    """Returns the revisions from the last checkpoint to a revision, oldest first."""
    first = number - number % CHECKPOINT_EVERY or 1
    revisions = list(root.revisions)
    if not revisions or revisions[0].number > first:
        page = (first - 1) // PAGE_REVISIONS
        pages = blobs.read_all(root.older_revisions[page : page + 2])
        revisions = [*(revision_of(each) for content in pages for each in unpack(content)), *revisions]
    return [revision for revision in revisions if first <= revision.number <= number]


def definitions_as_of(root: Root, number: int, blobs: Blobs) -> Definitions:
    """Returns the definitions as of a revision."""
    revisions = revisions_to(root, number, blobs)
    steps = [revision.checkpoint or revision.delta for revision in revisions]
    definitions = Definitions()
    for content in blobs.read_all(steps):
        definitions = definitions.after(unpack(content))
    return definitions


def add_revision(
    draft: Draft,
    standing: Definitions,
    upserts: Mapping[Key, Definition],
    deletes: Collection[Key],
    by: str,
    now: int,
) -> list[Key]:
    """Adds a revision with what differs, if anything does, and returns the objects that were removed.

    Args:
        now: UTC microseconds.
    """
    specs = {key: canonical_text(definition.to_spec()) for key, definition in upserts.items()}
    hashes = {key: text_hash(spec) for key, spec in specs.items()}
    changed = {key: upserts[key] for key in upserts if key not in standing.rows or standing.rows[key][2] != hashes[key]}
    removed = sorted(set(deletes) & set(standing.rows))
    if not changed and not removed:
        return []
    revisions = draft.root.revisions
    number = revisions[-1].number + 1 if revisions else 1
    objects = [
        [*key, hashes[key], compressed(specs[key]), standing.rows[key][4] if key in standing.rows else now, now]
        for key in changed
    ]
    lists = []
    for definition in changed.values():
        if isinstance(definition, FeatureView):
            fields = canonical_text([f.to_spec() for f in bare_fields(definition)])
            lists.append([definition.name, text_hash(fields), fields, number])
    delta = {"objects": objects, "removed": removed, "lists": lists}
    checkpoint = standing.after(delta).encoded() if number % CHECKPOINT_EVERY == 0 else None
    revision = RevisionState(
        number,
        now,
        by,
        summary_of(changed, standing.rows.keys(), removed),
        draft.write(pack(delta)),
        None if checkpoint is None else draft.write(checkpoint),
    )
    _append(draft, revision)
    return removed


def _append(draft: Draft, revision: RevisionState) -> None:
    revisions = (*draft.root.revisions, revision)
    pages = draft.root.older_revisions
    # The rest has a checkpoint, so the newest definitions are read without a page.
    if len(revisions) == PAGE_REVISIONS + CHECKPOINT_EVERY:
        page = draft.write(pack([revision_json(each) for each in revisions[:PAGE_REVISIONS]]))
        pages, revisions = (*pages, page), revisions[PAGE_REVISIONS:]
    draft.change(revisions=revisions, older_revisions=pages)


def pack(document: object) -> bytes:
    """Returns a document as a blob."""
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)


def unpack(content: bytes) -> Any:
    """Returns the document of a blob."""
    return json.loads(zlib.decompress(content))
