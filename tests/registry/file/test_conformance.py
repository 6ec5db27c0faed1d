"""The registry's conformance suite on a folder, S3, GCS and Azure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from feast_assets.registry.base import Registry
from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.store import FileRegistry
from feast_assets.testing.registry import (
    KeepsCheckpointsConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    RegistryConformance,
    RegistryFactory,
    commit,
    entity,
    entry,
    record,
)
from feast_assets.testing.registry.objects import DAY, FIRST
from feast_assets.testing.registry.processes import commit_entities, in_processes

ALL = bool(os.environ.get("ALL_OBJECT_STORES"))
"""Whether the whole suite runs on every object store, which takes minutes; else it does on a folder only."""


class TestFolder(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    KeepsCheckpointsConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(path="file://data/registry"), tmp_path)


@pytest.mark.skipif(not ALL, reason="ALL_OBJECT_STORES is not set; TestS3InShort runs")
class TestS3(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    KeepsCheckpointsConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, s3_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**s3_registry), tmp_path)


@pytest.mark.skipif(not ALL, reason="ALL_OBJECT_STORES is not set; TestGcsInShort runs")
class TestGcs(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    KeepsCheckpointsConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, gcs_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**gcs_registry), tmp_path)


@pytest.mark.skipif(not ALL, reason="ALL_OBJECT_STORES is not set; TestAzureInShort runs")
class TestAzure(
    RegistryConformance,
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    KeepsCheckpointsConformance,
):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, azure_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**azure_registry), tmp_path)


class InShort:
    """What depends on the store: that an object is created once, read by everybody at once, large, and removed."""

    def test_a_change_is_read_by_another_handle_and_a_teardown_removes_it(
        self, registry_factory: RegistryFactory
    ) -> None:
        registry, other = registry_factory("shop"), registry_factory("shop")
        before = other.snapshot()
        commit(registry, entity("driver"))
        record(registry, *(entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(3)))
        assert [e.name for e in other.refreshed(before).entities] == ["driver"]
        assert len(other.ledger("trips")) == 3
        assert [p.name for p in other.projects()] == ["shop"]
        registry.teardown()
        assert other.projects() == []
        assert commit(other, entity("rider")) == 1
        registry.close()
        other.close()

    def test_many_bytes_are_kept(self, registry_factory: RegistryFactory) -> None:
        registry = registry_factory("shop")
        assert isinstance(registry, FileRegistry)
        registry.keep_part_statistics("digest", "trips", bytes(9_000_000))
        (segment,) = registry_factory("shop").part_statistics("digest")  # type: ignore[attr-defined]
        assert segment.content == bytes(9_000_000)

    def test_processes_that_apply_at_once_lose_nothing(self, registry_factory: RegistryFactory) -> None:
        in_processes(commit_entities, [(registry_factory, worker, 6) for worker in range(2)])
        assert len(registry_factory("shop").snapshot().entities) == 12


class TestS3InShort(InShort):
    """Of S3, the store that most use, also what two processes and several threads change at once in a ledger."""

    test_threads_share_one_handle = RegistryConformance.test_threads_share_one_handle
    test_processes_that_record_at_once = RegistryConformance.test_processes_that_record_at_once_lose_nothing

    @pytest.fixture
    def registry_factory(self, tmp_path: Path, s3_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**s3_registry), tmp_path)

    @pytest.fixture
    def registry(self, registry_factory: RegistryFactory) -> Iterator[Registry]:
        registry = registry_factory("shop")
        yield registry
        registry.close()


class TestGcsInShort(InShort):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, gcs_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**gcs_registry), tmp_path)


class TestAzureInShort(InShort):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, azure_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**azure_registry), tmp_path)
