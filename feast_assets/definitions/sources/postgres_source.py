"""History in a table of a Postgres database, or in the result of a query."""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.definitions.base import refuse_arguments
from feast_assets.definitions.connection_ref import ConnectionRef
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, shown


class PostgreSQLSource(DataSource):
    """A table or a query of the database that the offline store ``postgres`` reads.

    Args:
        name: left out, the table.
        query: a SELECT statement in Postgres' SQL. It runs unchanged, so it may read whatever the login may.
        table: a table or view; in another schema than the store's ``db_schema``, ``schema.table``. As in SQL, letters
            outside of double quotes are taken for small ones.
    """

    _spec = {**DataSource._spec, "table": "", "query": ""}

    table: str
    query: str

    def __init__(
        self,
        name: str | None = None,
        query: str | None = None,
        table: str | None = None,
        timestamp_field: str | None = "",
        created_timestamp_column: str | None = "",
        field_mapping: Mapping[str, str] | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
        connection_ref: ConnectionRef | None = None,
    ):
        refuse_arguments(f"PostgreSQLSource {name or table!r}", connection_ref=connection_ref)
        for subject, value in (("query", query), ("table", table)):
            if value is not None and not isinstance(value, str):
                raise DefinitionError(f"PostgreSQLSource {name!r}: {subject} must be a text, not {shown(value)}.")
        self.table = (table or "").strip()
        self.query = (query or "").strip()
        if bool(self.table) == bool(self.query):
            both = "both" if self.table else "neither"
            raise DefinitionError(
                f"PostgreSQLSource {name or table!r} needs either table=... or query=..., and has {both}."
            )
        if not (name or self.table):
            raise DefinitionError("PostgreSQLSource: a source with a query needs a name.")
        self._init_source(
            name or self.table,
            timestamp_field,
            created_timestamp_column,
            field_mapping,
            None,
            description,
            tags,
            owner,
        )
