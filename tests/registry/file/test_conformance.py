"""The registry's conformance suite on a folder, S3, GCS and Azure."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.store import FileRegistry
from feast_assets.testing.registry import (
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    RegistryConformance,
    RegistryFactory,
)


class TestFolder(RegistryConformance, KeepsMarksConformance, KeepsPartStatisticsConformance, NotesPushesConformance):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(path="file://data/registry"), tmp_path)


class TestS3(RegistryConformance, KeepsMarksConformance, KeepsPartStatisticsConformance, NotesPushesConformance):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path, s3_registry: dict[str, object]) -> RegistryFactory:
        return partial(FileRegistry, FileRegistryConfig(**s3_registry), tmp_path)
