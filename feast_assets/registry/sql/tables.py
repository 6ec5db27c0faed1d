"""The tables of a SQL registry. All times are UTC microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table, Text

from feast_assets.registry.sql.reading import INPUTS, MARKS, META, PUSH_ROWS, PUSHES

PREFIX = "feast_assets_"

metadata = MetaData()

meta = Table(
    META,
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

projects = Table(
    PREFIX + "projects",
    metadata,
    Column("project", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)
"""One row per project, with its newest revision. Writers lock it, so they follow one another."""

revisions = Table(
    PREFIX + "revisions",
    metadata,
    Column("project", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("summary", Text, nullable=False),
)

objects = Table(
    PREFIX + "objects",
    metadata,
    Column("project", Text, primary_key=True),
    Column("object_type", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("valid_from", BigInteger, primary_key=True, autoincrement=False),
    Column("valid_to", BigInteger),
    Column("content_hash", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index(PREFIX + "objects_valid", "project", "valid_to"),
)
"""Versions of objects: of revisions ``valid_from`` to before ``valid_to``, which is null for those that stand."""

feature_lists = Table(
    PREFIX + "feature_lists",
    metadata,
    Column("project", Text, primary_key=True),
    Column("view", Text, primary_key=True),
    Column("list_hash", Text, primary_key=True),
    Column("fields", Text, nullable=False),
    Column("newest_revision", BigInteger, nullable=False),
)
"""Every list of features that a view has had, with the last revision that set it."""

inputs = Table(
    INPUTS,
    metadata,
    Column("project", Text, primary_key=True),
    Column("object_type", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("inputs", Text, nullable=False),
)
"""What objects that stand were made from; a registry of before has no such table until it is written."""

pushes = Table(
    PUSHES,
    metadata,
    Column("project", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("call", Text, nullable=False),
    Column("online_views", Text, nullable=False),
    Column("offline_view", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
)
"""Pushes that were begun and are not known to be complete; ``online_views`` is a JSON list of names."""

push_rows = Table(
    PUSH_ROWS,
    metadata,
    Column("project", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("piece", BigInteger, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
"""The rows of these pushes, in pieces."""

ledger = Table(
    PREFIX + "ledger",
    metadata,
    Column("project", Text, primary_key=True),
    Column("view", Text, primary_key=True),
    Column("window_start", BigInteger, primary_key=True, autoincrement=False),
    Column("window_end", BigInteger, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("definition_hash", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("written", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("claim", Text, nullable=False),
    Column("mark", BigInteger, nullable=False, server_default="0"),
)
"""Windows of a view, which never overlap.

``claim`` is empty for those that are settled. ``mark`` is the number of the online table's mark under which a window
was settled; a registry of before has no such column until it is written.
"""

marks = Table(
    MARKS,
    metadata,
    Column("project", Text, primary_key=True),
    Column("view", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False),
    Column("previous", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
)
"""Numbers of the marks of views' online tables; a registry of before has no such table until it is written."""
