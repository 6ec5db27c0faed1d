"""The registry's conformance suite on SQLite, Postgres and MariaDB."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing.registry import (
    KeepsCheckpointsConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    RegistryConformance,
    RegistryFactory,
)


class TestSqlite(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    KeepsCheckpointsConformance,
    NotesPushesConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path) -> RegistryFactory:
        return partial(SqlRegistry, SqlRegistryConfig(path="data/registry.db"), tmp_path)


class TestPostgres(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    KeepsCheckpointsConformance,
    NotesPushesConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, postgres_url: str) -> RegistryFactory:
        return partial(SqlRegistry, SqlRegistryConfig(path=postgres_url), tmp_path)


class TestMariaDb(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    KeepsCheckpointsConformance,
    NotesPushesConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, mariadb_url: str) -> RegistryFactory:
        return partial(SqlRegistry, SqlRegistryConfig(path=mariadb_url), tmp_path)
