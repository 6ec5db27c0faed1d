"""A registry that announces every revision in a file, for people who follow what is applied."""

from __future__ import annotations

from pathlib import Path

from feast_assets.registry.base import Changes
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.settings.model import PlainPath


class AnnouncedRegistryConfig(SqlRegistryConfig):
    """The ``registry`` section: a SQL registry's, and a file.

    Attributes:
        announcements: the file, relative to the repository.
    """

    registry_type: str = "announced"  # type: ignore[assignment]
    announcements: PlainPath = "data/announcements.txt"


class AnnouncedRegistry(SqlRegistry):
    """A SQL registry; each new revision adds a line to the file of announcements."""

    config_class = AnnouncedRegistryConfig

    def __init__(self, config: AnnouncedRegistryConfig, root: Path, project: str):
        super().__init__(config, root, project)
        self._announcements = Path(root) / config.announcements

    def commit(self, changes: Changes, *, based_on: int | None = None, by: str = "") -> int:
        before = self.revision()
        revision = super().commit(changes, based_on=based_on, by=by)
        if revision > before:
            self._announcements.parent.mkdir(parents=True, exist_ok=True)
            with self._announcements.open("a", encoding="utf-8") as opened:
                opened.write(f"{self.project} revision {revision}: {self.revisions()[-1].summary}\n")
        return revision
