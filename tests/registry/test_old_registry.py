"""A registry as version 0.1 wrote it, before pushes were noted, is read as it is and upgraded by the first write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from feast_assets.registry.base import Changes
from feast_assets.registry.noted_pushes import NotedPush
from feast_assets.registry.sql import tables
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing.registry import entity

DUMP = Path(__file__).with_name("registry_of_0_1.sql")
LATER = {"feast_assets_pushes", "feast_assets_push_rows", "feast_assets_part_statistics", "feast_assets_checkpoints"}
PUSH = NotedPush("p", "push to 'live'", ("stats",), "stats", 7, datetime(2024, 1, 1, tzinfo=UTC))


def tables_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text())
    assert not LATER & tables_of(path)
    return path


def handle(path: Path) -> SqlRegistry:
    return SqlRegistry(SqlRegistryConfig(path=path.name), path.parent, "shop")


def test_reading_an_old_registry_changes_nothing(old: Path) -> None:
    registry = handle(old)
    snapshot = registry.refreshed(registry.snapshot())
    assert snapshot.revision == 1 and snapshot.feature_view("stats").entities == ["driver"]
    assert not snapshot.has_noted_pushes
    assert len([e for e in registry.ledger("stats") if e.rows]) == 1
    assert registry.noted_pushes() == [] and registry.rows_of_push(PUSH) is None
    assert registry.part_statistics("digest") == [] and registry.checkpoints("live") == []
    assert not LATER & tables_of(old)


def test_the_first_push_upgrades_an_old_registry(old: Path) -> None:
    reader, writer = handle(old), handle(old)
    before = reader.snapshot()
    assert writer.note_push(PUSH, b"rows") == PUSH
    assert tables_of(old) >= LATER
    assert reader.refreshed(before).has_noted_pushes, "a handle that was opened before sees it too"
    assert reader.noted_pushes() == [PUSH] and reader.rows_of_push(PUSH) == b"rows"
    assert reader.snapshot().feature_view("stats") == before.feature_view("stats")
    assert writer.ledger("stats") == reader.ledger("stats") != []


def test_keeping_part_statistics_upgrades_an_old_registry(old: Path) -> None:
    reader, writer = handle(old), handle(old)
    assert reader.part_statistics("digest") == []
    writer.keep_part_statistics("digest", "trips", b"content")
    assert tables_of(old) >= LATER
    assert [segment.content for segment in reader.part_statistics("digest")] == [b"content"]
    assert writer.ledger("stats") == reader.ledger("stats") != []


def test_an_apply_and_a_teardown_upgrade_an_old_registry(old: Path) -> None:
    registry = handle(old)
    assert registry.commit(Changes([entity("rider")])) == 2
    assert tables_of(old) >= LATER
    registry.note_push(PUSH, b"rows")
    registry.teardown()
    assert registry.noted_pushes() == [] and registry.snapshot().revision == 0


def test_an_old_registry_on_a_server_is_upgraded_alike(tmp_path: Path, postgres_url: str) -> None:
    def registry() -> SqlRegistry:
        return SqlRegistry(SqlRegistryConfig(path=postgres_url), tmp_path, "shop")

    first = registry()
    first.commit(Changes([entity("driver")]))
    first.close()
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for name in LATER:
            connection.execute(text(f"DROP TABLE {name}"))
    engine.dispose()
    assert set(tables.metadata.tables) >= LATER
    reader, writer = registry(), registry()
    before = reader.snapshot()
    assert reader.noted_pushes() == [] and not reader.refreshed(before).has_noted_pushes
    assert writer.note_push(PUSH, b"rows") == PUSH
    assert reader.refreshed(before).has_noted_pushes and reader.rows_of_push(PUSH) == b"rows"
    reader.close()
    writer.close()
