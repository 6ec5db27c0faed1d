"""A source in Postgres: what it takes, and where Feast's users import it from."""

from __future__ import annotations

import pytest

from feast_assets import PostgreSQLSource
from feast_assets.errors import DefinitionError


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "either table=... or query=..., and has neither"),
        ({"name": "s", "table": "t", "query": "SELECT 1"}, "and has both"),
        ({"query": "SELECT 1"}, "a source with a query needs a name"),
        ({"table": 7}, "table must be a text"),
        ({"name": "s", "query": "  "}, "has neither"),
    ],
)
def test_it_is_a_table_or_a_query(arguments, why):
    with pytest.raises(DefinitionError, match=why):
        PostgreSQLSource(**arguments)


def test_it_takes_feasts_arguments_and_is_found_under_feasts_path():
    from feast_assets.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
        PostgreSQLSource as FeastPath,
    )

    made = FeastPath("s", "SELECT 1", None, "at", "created", {"a": "b"}, "words", {"k": "v"}, "me")
    assert made == PostgreSQLSource.from_spec(made.to_spec())
    assert (made.query, made.field_mapping, made.owner) == ("SELECT 1", {"a": "b"}, "me")
    assert PostgreSQLSource(table="raw.t").name == "raw.t"
