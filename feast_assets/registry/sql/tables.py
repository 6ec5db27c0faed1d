"""The tables of a SQL registry. All times are UTC microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, Table

from feast_assets.registry.sql.column_types import Blob, Key, LongText
from feast_assets.registry.sql.schema import (
    CHECKPOINTS,
    FEATURE_LISTS,
    INPUTS,
    MARKS,
    META,
    OBJECTS,
    PART_STATISTICS,
    PROJECTS,
    PUSH_ROWS,
    PUSHES,
    REVISIONS,
    SEGMENTS,
)

metadata = MetaData()

meta = Table(
    META,
    metadata,
    Column("key", Key, primary_key=True),
    Column("value", LongText, nullable=False),
)

projects = Table(
    PROJECTS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)
"""One row per project, with its newest revision. Writers lock it, so they wait for each other."""

revisions = Table(
    REVISIONS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", LongText, nullable=False),
    Column("summary", LongText, nullable=False),
)

objects = Table(
    OBJECTS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("object_type", Key, primary_key=True),
    Column("name", Key, primary_key=True),
    Column("valid_from", BigInteger, primary_key=True, autoincrement=False),
    Column("valid_to", BigInteger),
    Column("content_hash", LongText, nullable=False),
    Column("spec", LongText, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index(OBJECTS + "_valid", "project", "valid_to"),
)
"""Versions of objects: of revisions ``valid_from`` to before ``valid_to``, which is null for the current ones."""

feature_lists = Table(
    FEATURE_LISTS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("view", Key, primary_key=True),
    Column("list_hash", Key, primary_key=True),
    Column("fields", LongText, nullable=False),
    Column("newest_revision", BigInteger, nullable=False),
)
"""Every list of features that a view has had, with the last revision that set it."""

inputs = Table(
    INPUTS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("object_type", Key, primary_key=True),
    Column("name", Key, primary_key=True),
    Column("inputs", LongText, nullable=False),
)
"""Digests of what the current objects were made from; an older registry has no such table until it is written."""

pushes = Table(
    PUSHES,
    metadata,
    Column("project", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("call", LongText, nullable=False),
    Column("online_views", LongText, nullable=False),
    Column("offline_view", LongText, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", LongText, nullable=False),
)
"""Pushes that were begun and are not known to be complete; ``online_views`` is a JSON list of names."""

push_rows = Table(
    PUSH_ROWS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("piece", BigInteger, primary_key=True, autoincrement=False),
    Column("content", Blob, nullable=False),
)
"""The rows of these pushes, in pieces."""

segments = Table(
    SEGMENTS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("view", Key, primary_key=True),
    Column("first_start", BigInteger, primary_key=True, autoincrement=False),
    Column("last_end", BigInteger, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("content", Blob, nullable=False),
)
"""The ledger: stretches of windows of a view, which do not overlap.

``first_start`` is where the first window of a segment starts, ``last_end`` where its last one ends. ``content`` is what
`feast_assets.registry.segment_codec` makes of its entries, and ``stamp`` a number that the content decides.
"""

marks = Table(
    MARKS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("view", Key, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", LongText, nullable=False),
    Column("previous", BigInteger, nullable=False),
    Column("kind", LongText, nullable=False),
)
"""Numbers of the marks of views' online tables; an older registry has no such table until it is written."""

part_statistics = Table(
    PART_STATISTICS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("digest", Key, primary_key=True),
    Column("segment", BigInteger, primary_key=True, autoincrement=False),
    Column("piece", BigInteger, primary_key=True, autoincrement=False),
    Column("source", LongText, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("content", Blob, nullable=False),
)
"""What was read of the parts of sources, in segments that are divided in pieces; an older registry has no such table
until it is written."""

checkpoints = Table(
    CHECKPOINTS,
    metadata,
    Column("project", Key, primary_key=True),
    Column("source", Key, primary_key=True),
    Column("reader_hash", Key, primary_key=True),
    Column("reader", LongText, nullable=False),
    Column("partition", LongText, nullable=False),
    Column("identity", LongText, nullable=False),
    Column("position", LongText, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""How far streams have been consumed; ``position`` is a decimal number of any length, and ``reader_hash`` that of
reader and partition. An older registry has no such table until it is written."""
