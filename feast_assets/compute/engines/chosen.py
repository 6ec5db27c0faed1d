"""The compute engine that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.backends import COMPUTE_ENGINES

if TYPE_CHECKING:
    from feast_assets.compute.engines.base import ComputeEngine
    from feast_assets.config import RepoConfig


def make_compute_engine(config: RepoConfig, root: Path) -> ComputeEngine:
    """Returns the engine that ``batch_engine`` names; the local one where it is left out.

    Args:
        root: the directory that relative paths start from.
    """
    engine: ComputeEngine = COMPUTE_ENGINES.make(config.of_repository(root).batch_engine, config.origin, root)
    return engine
