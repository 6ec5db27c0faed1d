"""What an apply would change, worked out before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.apply.diff import RegistryDiff
from feast_assets.apply.infrastructure import OnlineTables
from feast_assets.definitions.base import Definition
from feast_assets.registry.base import Changes


@dataclass(frozen=True, slots=True)
class InfraDiff:
    """Online tables that an apply creates and drops.

    Attributes:
        created, dropped: their names for people: ``project.view``.
    """

    created: tuple[str, ...]
    dropped: tuple[str, ...]

    @classmethod
    def between(cls, before: OnlineTables, after: OnlineTables) -> InfraDiff:
        """Returns how the online tables differ before and after an apply."""
        created = sorted(label for table, label in after.items() if table not in before)
        dropped = sorted(label for table, label in before.items() if table not in after)
        return cls(tuple(created), tuple(dropped))

    def __str__(self) -> str:
        if not self.created and not self.dropped:
            return "No changes to infrastructure"
        return "\n".join(
            [f"Created online table {t}" for t in self.created] + [f"Dropped online table {t}" for t in self.dropped]
        )


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """What an apply would change, and the revision that it was worked out from.

    Attributes:
        declared: the definitions that were given, unchanged.
        changes: what the registry is asked to commit.
        based_on: the registry's revision when the plan was made.
        tables: the online tables that exist after the apply.
        obsolete: the online tables that the apply drops.
    """

    declared: tuple[Definition, ...]
    changes: Changes
    based_on: int
    registry_diff: RegistryDiff
    infra_diff: InfraDiff
    tables: tuple[str, ...]
    obsolete: tuple[str, ...]
