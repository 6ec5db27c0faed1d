"""The global options, and the feature store that they choose."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from feast_assets.errors import ConfigError

if TYPE_CHECKING:
    from feast_assets.config import RepoConfig
    from feast_assets.feature_store import FeatureStore

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line.

    Attributes:
        repo_path: the feature repository.
        yaml_path: its configuration.
    """

    repo_path: Path
    yaml_path: Path

    @classmethod
    def start(cls, chdir: Path | None, yaml: Path | None, log_level: str) -> Session:
        """Takes the global options; sets up logging."""
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger().setLevel(log_level.upper())
        repo_path = (chdir or Path.cwd()).resolve()
        return cls(repo_path, yaml.resolve() if yaml else repo_path / "feature_store.yaml")

    def store(self) -> FeatureStore:
        """Returns the feature store of the repository; it is closed when the command ends.

        Raises:
            ConfigError: there is no configuration, or it is wrong.
        """
        self._check_yaml()
        from feast_assets.feature_store import FeatureStore

        store = FeatureStore(repo_path=self.repo_path, fs_yaml_file=self.yaml_path)
        click.get_current_context().call_on_close(store.close)
        return store

    def config(self) -> RepoConfig:
        """Returns the configuration alone, opening no store.

        Raises:
            ConfigError: there is none, or it is wrong.
        """
        self._check_yaml()
        from feast_assets.config import load_repo_config

        return load_repo_config(self.repo_path, self.yaml_path)

    def _check_yaml(self) -> None:
        if not self.yaml_path.is_file():
            raise ConfigError(
                f"There is no {self.yaml_path.name} in {self.yaml_path.parent}. Run this in a feature repository, "
                "name one with --chdir (before the command), or make one with 'feast-assets init'."
            )


pass_session = click.make_pass_decorator(Session)
