"""The profilers of validation references, loaded from where the user wrote them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from feast_assets.definitions.base import Definition
from feast_assets.definitions.validation_reference import Profiler, ValidationReference
from feast_assets.errors import RepositoryError


class UserProfilers:
    """Finds the profiler of a validation reference: the one that this process applied it with, or the one that the
    feature repository declares for the reference of that name. The registry holds none, since none is loaded from it.
    """

    def __init__(self, repo_path: Path):
        self._repo_path = repo_path
        self._known: dict[str, Profiler] = {}

    def remember(self, objects: Iterable[Definition]) -> None:
        """Keeps the profilers of references that were applied in this process."""
        for each in objects:
            if isinstance(each, ValidationReference) and each.profiler is not None:
                self._known[each.name] = each.profiler

    def of(self, reference: ValidationReference) -> Profiler | None:
        """Returns the profiler of a registered reference; None where it was applied without one.

        Raises:
            RepositoryError: it was not applied in this process, and the feature repository does not declare it.
        """
        if reference.name not in self._known and reference.profiler_path:
            from feast_assets.repository.loading import load_until

            module = reference.profiler_path.partition(":")[0]

            def is_wanted(each: Definition) -> bool:
                return isinstance(each, ValidationReference) and each.name == reference.name

            self.remember(filter(is_wanted, load_until(self._repo_path, module, is_wanted)))
            if reference.name not in self._known:
                raise RepositoryError(
                    f"The profiler of validation reference {reference.name!r} ({reference.profiler_path}) is not "
                    f"declared in the feature repository {self._repo_path}. Profilers are loaded from the repository, "
                    "never from the registry: put the ValidationReference at the top level of a file there."
                )
        return self._known.get(reference.name)
