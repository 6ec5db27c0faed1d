"""What the remote registry and a registry server say to each other, in MessagePack.

The methods of `feast_assets.registry.base.Registry` are asked for one by one; each is one transaction of the registry
that the server has. Definitions travel in their stored form, which holds no code.
"""

from __future__ import annotations

from typing import Any

import msgspec

from feast_assets.definitions.window import Window
from feast_assets.registry.base import Claim, LedgerEntry, MarkDoubt, OnlineTable, WindowContent
from feast_assets.registry.noted_pushes import NotedPush

PREFIX = "/feast-assets/registry/"
"""What the paths of all methods begin with."""


class OfProject(msgspec.Struct, array_like=True):
    """Of methods that take nothing but the project."""

    project: str


class SnapshotRequest(msgspec.Struct, array_like=True):
    """Of ``snapshot``."""

    project: str
    revision: int | None = None


class KnownState(msgspec.Struct, array_like=True):
    """Of ``refreshed``: the state that the client has.

    Attributes:
        committed: UTC microseconds; see `RegistrySnapshot`.
    """

    project: str
    revision: int
    committed: int
    has_noted_pushes: bool


class ObjectMessage(msgspec.Struct, array_like=True):
    """A `feast_assets.registry.snapshot.StoredObject`."""

    object_type: str
    name: str
    content_hash: str
    spec: str
    created: int
    updated: int


class SnapshotMessage(msgspec.Struct, array_like=True):
    """Definitions as of a revision.

    Attributes:
        objects: all of them, or what is new or changed since the state that the client has.
        went: (object type, name) of objects that were removed since then.
        is_whole: whether ``objects`` are all.
        feature_lists: view -> the lists of features that it has had, as stored forms; None for those that the client
            has.
    """

    revision: int
    committed: int
    has_noted_pushes: bool
    objects: list[ObjectMessage]
    went: list[tuple[str, str]]
    is_whole: bool
    feature_lists: dict[str, list[list[dict[str, Any]]]]


class CommitMessage(msgspec.Struct, array_like=True):
    """Of ``commit``; the attributes are those of `feast_assets.registry.base.Changes`.

    Attributes:
        upserts: definitions in their stored form.
        inputs: (object type, name, text).
    """

    project: str
    upserts: list[dict[str, Any]]
    deletes: list[tuple[str, str]]
    inputs: list[tuple[str, str, str]]
    renamed_ledgers: list[tuple[str, str]]
    based_on: int | None
    by: str


class OfView(msgspec.Struct, array_like=True):
    """Of methods that take a view."""

    project: str
    view: str


class OfViews(msgspec.Struct, array_like=True):
    """Of methods that take several views."""

    project: str
    views: list[str]


class TextColumnMessage(msgspec.Struct, array_like=True):
    """A `feast_assets.registry.ledger_columns.TextColumn`.

    Attributes:
        codes: little-endian 32-bit integers.
    """

    codes: bytes
    texts: list[str]


class LedgerMessage(msgspec.Struct, array_like=True):
    """A `feast_assets.registry.ledger_columns.LedgerColumns`; numbers are little-endian 64-bit integers."""

    numbers: list[bytes]
    fingerprints: list[bytes]
    definitions: TextColumnMessage
    runs: TextColumnMessage
    claims: TextColumnMessage


class ClaimRequest(msgspec.Struct, array_like=True):
    """Of ``claim``."""

    project: str
    view: str
    contents: list[WindowContent]
    empty: list[WindowContent]
    run_id: str
    table: OnlineTable | None


class Settle(msgspec.Struct, array_like=True):
    """Of ``settle``."""

    project: str
    claim: Claim
    entries: list[LedgerEntry]


class DrawMarks(msgspec.Struct, array_like=True):
    """Of ``draw-marks``."""

    project: str
    view: str
    table: OnlineTable


class OfTable(msgspec.Struct, array_like=True):
    """Of ``known-marks``."""

    project: str
    view: str
    identity: str


class Distrust(msgspec.Struct, array_like=True):
    """Of ``distrust``."""

    project: str
    view: str
    identity: str
    doubt: MarkDoubt
    newest: int
    gaps: list[Window]
    above: int


class OfDigest(msgspec.Struct, array_like=True):
    """Of methods that take a digest."""

    project: str
    digest: str


class KeepStatistics(msgspec.Struct, array_like=True):
    """Of ``keep-part-statistics``."""

    project: str
    digest: str
    source: str
    content: bytes
    instead_of: list[int]


class NotePush(msgspec.Struct, array_like=True):
    """Of ``note-push``."""

    project: str
    push: NotedPush
    rows: bytes


class OfPush(msgspec.Struct, array_like=True):
    """Of methods that take a noted push."""

    project: str
    push: NotedPush


class ProjectMessage(msgspec.Struct, array_like=True):
    """A project in its stored form, with its times in UTC microseconds; 0 for none."""

    spec: dict[str, Any]
    created: int
    updated: int
