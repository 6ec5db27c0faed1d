"""The names and keys of a SQL registry's tables, for code that reads or writes them without SQLAlchemy.

`feast_assets.registry.sql.tables` says what the columns are.
"""

from __future__ import annotations

META = "feast_assets_meta"
PROJECTS = "feast_assets_projects"
REVISIONS = "feast_assets_revisions"
OBJECTS = "feast_assets_objects"
FEATURE_LISTS = "feast_assets_feature_lists"
INPUTS = "feast_assets_inputs"
PUSHES = "feast_assets_pushes"
PUSH_ROWS = "feast_assets_push_rows"
SEGMENTS = "feast_assets_ledger_segments"
MARKS = "feast_assets_marks"
PART_STATISTICS = "feast_assets_part_statistics"
CHECKPOINTS = "feast_assets_checkpoints"

KEYS: dict[str, tuple[str, ...]] = {
    META: ("key",),
    PROJECTS: ("project",),
    REVISIONS: ("project", "number"),
    OBJECTS: ("project", "object_type", "name", "valid_from"),
    FEATURE_LISTS: ("project", "view", "list_hash"),
    INPUTS: ("project", "object_type", "name"),
    PUSHES: ("project", "id"),
    PUSH_ROWS: ("project", "id", "version", "piece"),
    SEGMENTS: ("project", "view", "first_start"),
    MARKS: ("project", "view", "number"),
    PART_STATISTICS: ("project", "digest", "segment", "piece"),
    CHECKPOINTS: ("project", "source", "reader_hash"),
}
"""Table -> the columns of its primary key."""

NUMBER = "schema_version"
WRITTEN_BY = "written_by"
"""Keys of `META`: the number of the registry's format, and the version of this package that created it."""

OF_PROJECT = tuple(table for table in KEYS if table != META)
"""Tables whose rows belong to a project."""

LATER_TABLES = (INPUTS, PUSHES, PUSH_ROWS, MARKS, PART_STATISTICS, SEGMENTS, CHECKPOINTS)
"""Tables that an older registry lacks until it is written."""

WINDOWS = "feast_assets_ledger"
"""The ledger of format 1, with a row for each window. The first write turns it into `SEGMENTS` and removes it; it has
the column ``mark`` where the registry has the table `MARKS`."""
