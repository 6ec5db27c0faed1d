"""What a feature store keeps of one project; it may work with several of one registry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.auth.access import Access
from feast_assets.registry.base import Registry
from feast_assets.registry.cache import SnapshotCache
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.repository.user_functions import UserFunctions
from feast_assets.repository.user_profilers import UserProfilers

if TYPE_CHECKING:
    from feast_assets.retrieval.online import OnlinePlan

CurrentProject = Token["ProjectState"]
"""What `FeatureStore.set_current_project` returns."""


@dataclass
class ProjectState:
    """One project of a feature store.

    Attributes:
        project: its name, as the registry and the online store know it.
        cache: its definitions.
        access: what an acting identity may do in it.
        functions, profilers: of its objects.
        completing: held while its unfinished pushes are completed.
        completed_by: the snapshot whose unfinished pushes were completed last.
        plans: of its online requests.
    """

    project: str
    registry: Registry
    cache: SnapshotCache
    access: Access
    functions: UserFunctions
    profilers: UserProfilers
    completing: threading.Lock = field(default_factory=threading.Lock)
    completed_by: RegistrySnapshot | None = None
    plans: dict[object, OnlinePlan] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        project: str,
        registry: Registry,
        access: Access,
        repo_path: Path,
        ttl_seconds: float,
        wait: bool,
        complete_pushes: Callable[[RegistrySnapshot, bool], bool],
    ) -> ProjectState:
        """Returns a project of which nothing was read yet; see `SnapshotCache`."""
        cache = SnapshotCache(registry, ttl_seconds, wait=wait, complete_pushes=complete_pushes)
        return cls(project, registry, cache, access, UserFunctions(repo_path), UserProfilers(repo_path))


class ProjectStates:
    """The projects of a feature store, of which one is current in each context (thread or asynchronous task).

    Args:
        own: the project that is current unless another one was made so.
        open_project: opens another one.
    """

    def __init__(self, own: ProjectState, open_project: Callable[[str], ProjectState]):
        self.own = own
        self._open = open_project
        self._others: dict[str, ProjectState] = {}
        self._lock = threading.Lock()
        self._current: ContextVar[ProjectState] = ContextVar("feast_assets_project", default=own)
        self.current: Callable[[], ProjectState] = self._current.get

    def set_current(self, project: str | None) -> CurrentProject:
        """Makes a project the current one in this context; None for the feature store's own."""
        return self._current.set(self.state(project))

    def reset(self, token: CurrentProject) -> None:
        """Undoes `set_current`."""
        self._current.reset(token)

    def state(self, project: str | None) -> ProjectState:
        """Returns a project, which is opened the first time; None for the feature store's own."""
        if project is None or project == self.own.project:
            return self.own
        with self._lock:
            if project not in self._others:
                self._others[project] = self._open(project)
            return self._others[project]

    def all(self) -> list[ProjectState]:
        """Returns those that were opened."""
        return [self.own, *self._others.values()]

    def forget_locks(self) -> None:
        """Makes all locks free, in a forked child."""
        self._lock = threading.Lock()
        for state in self.all():
            state.completing = threading.Lock()
            state.cache.forget_locks()
