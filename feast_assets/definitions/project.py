"""A project: the namespace of all other objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from feast_assets.definitions.base import Definition, spec_of
from feast_assets.errors import DefinitionError


def check_project_name(name: object) -> str:
    """Returns the name if registries and stores can use it.

    Raises:
        DefinitionError: it holds other than letters, digits, underscores and hyphens, or starts with one of the
            last two.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII):
        raise DefinitionError(
            f"Project name {name!r} is not valid: use letters, digits, underscores and hyphens, "
            "starting with a letter or digit."
        )
    return name


class Project(Definition):
    """The namespace of a feature repository's objects."""

    object_type = "project"
    _spec = spec_of()

    def __init__(
        self,
        *,
        name: str,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        created_timestamp: datetime | None = None,
        last_updated_timestamp: datetime | None = None,
    ):
        self._init_meta(check_project_name(name), description, tags, owner)
        self.created_timestamp = created_timestamp
        self.last_updated_timestamp = last_updated_timestamp

    def is_valid(self) -> None:
        """Does nothing: a project is checked when it is made."""

    @property
    def protected(self) -> bool:
        """Whether the tag ``feast.dev/protected-project`` forbids teardown."""
        return self.tags.get("feast.dev/protected-project", "").lower() == "true"
