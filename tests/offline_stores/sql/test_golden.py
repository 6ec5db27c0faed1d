"""The plan's text for each engine.

Postgres and DuckDB also run it (`test_oracle`, `test_store`). For snowflake, bigquery, spark and trino the SQL is
checked, which means that it parses in that dialect, and not run. After a wanted change of the plan, write the files
anew: ``GOLDEN=write pytest tests/offline_stores/sql/test_golden.py``.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.definitions.window import Bounds
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.sql import plan
from feast_assets.offline_stores.sql.dialect import DIALECTS
from feast_assets.offline_stores.sql.relation import Relation
from feast_assets.offline_stores.sql.rows import SqlRows
from feast_assets.types import Decimal, Float64, Int64, String

FOLDER = Path(__file__).parent / "golden"
DAY = timedelta(days=1) // timedelta(microseconds=1)
START = 1_704_067_200_000_000
TIME = pa.timestamp("us", "UTC")


def statements(dialect):
    """One statement of each kind, by name."""
    schema = pa.schema(
        {
            "driver": pa.int32(),
            "zone": pa.string(),
            "at": TIME,
            "written": pa.timestamp("us"),
            "fare": pa.float64(),
            "Paid By": pa.string(),
            "amount": pa.decimal128(10, 2),
        }
    )
    relation = Relation(
        dialect,
        "Source 'trips'",
        exp.Table(this=exp.to_identifier("trips", quoted=True), db=exp.to_identifier("raw", quoted=True)),
        schema,
        mapping={"Paid By": "paid_by"},
        timestamp="at",
        created="written",
    )
    history = History(
        "trips",
        (PostgreSQLSource(table="raw.trips"),),
        (Field(name="driver", dtype=Int64), Field(name="zone", dtype=String)),
        (Field(name="fare", dtype=Float64), Field(name="paid_by", dtype=String), Field(name="amount", dtype=Decimal)),
        "at",
        "written",
    )
    rows = SqlRows(history, relation)
    fractional = SqlRows(
        History("trips", history.sources, (Field(name="fare", dtype=Int64),), history.features[1:2], "at"),
        Relation(dialect, "Source 'trips'", relation.table, schema, {"Paid By": "paid_by"}, "written"),
    )
    week = [Bounds(START, START + 7 * DAY)]
    return {
        "point in time": plan.point_in_time(rows, "spine", ["k_a", "k_b"], "oldest_1", week, known_only=True),
        "latest": plan.latest(rows, week),
        "latest of some entities": plan.latest(rows, [Bounds(None, START), week[0]], "entities"),
        "scan": plan.scan(rows, [Bounds()]),
        "statistics": plan.statistics(dialect, rows.hashed(week), [START, START + DAY, START + 7 * DAY]),
        "grid": plan.grid_statistics(dialect, rows.hashed(week), "daily"),
        "keys that may lose something": plan.scan(fractional, week),
        "what a transformation sees": relation.seen(week[0]),
    }


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_the_text_for_each_engine_is_the_golden_one_and_parses(name):
    dialect = DIALECTS[name]
    texts = {kind: dialect.render(statement) for kind, statement in statements(dialect).items()}
    head = "Run by the tests." if dialect.verified else f"SQL checked (parsed by sqlglot as {name}), not run."
    written = f"-- {head}\n" + "".join(f"\n-- {kind}\n{text};\n" for kind, text in texts.items())
    file = FOLDER / f"{name}.sql"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(written)
    assert written == file.read_text()
    for text in texts.values():
        (parsed,) = sqlglot.parse(text, read=name)
        assert isinstance(parsed, exp.Query)
        assert parsed.sql(dialect=name) == text


def test_only_engines_that_the_tests_run_count_as_verified():
    assert {name for name, dialect in DIALECTS.items() if dialect.verified} == {"duckdb", "postgres"}
