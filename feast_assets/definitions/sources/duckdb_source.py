"""Tables, views and queries of DuckDB database files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, shown

_NAME = r'(?:"((?:[^"]|"")+)"|([^".\s]+))'
_TABLE = re.compile(rf"(?:{_NAME}\.)?{_NAME}")


class DuckDBSource(DataSource):
    """A table or view of a DuckDB database file, or a query over one such file.

    The file is only read, and open no longer than a read takes: DuckDB lets one process write to a file, and nobody
    else open it meanwhile. A source with a ``table`` can also be written to, by a push or as the ``sink_source`` of a
    `BatchFeatureView`; the table is then made if it is not there.

    Args:
        database: the file's path; a relative one is resolved against the feature repository.
        table: a table or view, with its schema unless that is ``main``: ``"orders"`` or ``"shop.orders"``. Names that
            hold dots, spaces or quotes are put in double quotes, as in SQL.
        query: in place of ``table``: one SELECT over tables and views of the file. It can read nothing else.
        name: left out, the table; a query needs one.

    See `DataSource` for the other arguments.
    """

    _spec = {**DataSource._spec, "database": "", "table": "", "query": ""}

    database: str
    table: str
    query: str

    def __init__(
        self,
        *,
        database: str,
        table: str | None = None,
        query: str | None = None,
        name: str = "",
        timestamp_field: str | None = None,
        created_timestamp_column: str | None = None,
        field_mapping: Mapping[str, str] | None = None,
        date_partition_column: str | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
    ):
        subject = f"DuckDBSource {name or table or ''!r}"
        if not isinstance(database, str) or not database.strip():
            raise DefinitionError(f"{subject}: database must be the path of a DuckDB file, got {shown(database)}.")
        if "://" in database or database.startswith((":", "md:")):
            raise DefinitionError(
                f"{subject}: database must be the path of a local DuckDB file, not {shown(database)}: other processes "
                "read it too."
            )
        if (table is None) == (query is None):
            raise DefinitionError(f"{subject}: give either table or query.")
        if query is not None and (not isinstance(query, str) or not query.strip()):
            raise DefinitionError(f"{subject}: query must be a SELECT statement as text, got {shown(query)}.")
        if query is not None and not name:
            raise DefinitionError(f"{subject}: a source with a query needs a name.")
        if table is not None:
            table_path(table, subject)
        self._init_source(
            name or table or "",
            timestamp_field,
            created_timestamp_column,
            field_mapping,
            date_partition_column,
            description,
            tags,
            owner,
        )
        self.database = database
        self.table = table or ""
        self.query = query or ""


def table_path(table: str, subject: str) -> tuple[str, str]:
    """Returns the schema and the name of a table that is written as in SQL; the schema is ``main`` if none is given.

    Args:
        subject: names the source, for messages.

    Raises:
        DefinitionError: it is not one name, or two with a dot between them.
    """
    match = _TABLE.fullmatch(table) if isinstance(table, str) else None
    if match is None:
        raise DefinitionError(
            f"{subject}: table must be a name such as 'orders', or 'shop.orders' with its schema, got {shown(table)}. "
            "Put names with dots, spaces or quotes in double quotes; leave out the name of the database."
        )
    schema = _plain(match[1], match[2]) if match[1] or match[2] else "main"
    return schema, _plain(match[3], match[4])


def _plain(quoted: str | None, plain: str) -> str:
    return plain if quoted is None else quoted.replace('""', '"')
