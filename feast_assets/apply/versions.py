"""Which version of its views an apply puts in use, and which it keeps beside that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import (
    ViewVersion,
    declared_parts,
    normal_version,
    parse_version,
    schema_or_function,
    versioned_name,
)
from feast_assets.errors import DefinitionError, FeatureViewPinConflict
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject, copy_definition


@dataclass
class Versions:
    """Decides on the versions of the views of one apply.

    The first apply of a view makes version 0. A change of its schema or its function makes the next one, which is put
    in use. A view that is declared with a version is put back to it.

    Args:
        snapshot: the registry that is applied to.
        no_promote: whether the version in use stays, and a new one is only kept.
        own_tables: whether each version has an online table of its own; if not, they share the view's.

    Attributes:
        kept: versions to register beside those in use.
        tables: view name -> the generation of its online table, where the version in use changes; "" for a new one.
        renamed_ledgers: as `Changes.renamed_ledgers`: a table that goes to another version takes its ledger along.
    """

    snapshot: RegistrySnapshot
    no_promote: bool = False
    own_tables: bool = False
    kept: dict[str, ViewVersion] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    renamed_ledgers: list[tuple[str, str]] = field(default_factory=list)

    def in_use(self, view: BaseFeatureView) -> BaseFeatureView | StoredObject:
        """Returns the view that is to be registered for a declared one, which is complete; or the registered one, which
        stays.

        Raises:
            DefinitionError: the version is no version, or its function is not the repository's.
            FeatureViewPinConflict: the view is put back to a version, and declared otherwise than any of its versions.
        """
        subject = f"{type(view).__name__} {view.name!r}"
        number = parse_version(view.version, subject)
        view.version = normal_version(view.version, subject)
        stored = self.snapshot.stored(view.object_type, view.name)
        if stored is None:
            view.current_version_number = number or 0
            return view
        before = cast(BaseFeatureView, stored.definition())
        known = {v.number: v for v in self.snapshot.view_versions(view.name)}
        if number is not None:
            return self._pinned(view, number, before, known)
        if schema_or_function(view) == schema_or_function(before):
            view.current_version_number = before.current_version_number
            return view
        newest = max([before.current_version_number, *known])
        if self.no_promote:
            # Unless an earlier apply has kept it already.
            if newest not in known or declared_parts(known[newest].view) != declared_parts(view):
                self._keep_new(view, newest + 1, before)
            return stored
        self._replace(before)
        view.current_version_number = newest + 1
        return view

    def _pinned(
        self, view: BaseFeatureView, number: int, before: BaseFeatureView, known: dict[int, ViewVersion]
    ) -> BaseFeatureView:
        if number != before.current_version_number and number not in known:
            self._replace(before)
            view.current_version_number = number
            return view
        declared = declared_parts(view)
        if all(declared != declared_parts(each) for each in (before, *(v.view for v in known.values()))):
            raise FeatureViewPinConflict(view.name, f"v{number}")
        if number == before.current_version_number:
            restored = copy_definition(before)
        else:
            restored = copy_definition(known[number].view)
            self._check_function(restored, view, number)
            self._replace(before)
            replaced = (number, before.current_version_number)
            others = [before, *(each.view for n, each in known.items() if n not in replaced)]
            if self.own_tables and _has_what_it_wrote(restored, others):
                self.tables[view.name] = cast(FeatureView, restored).online_generation
                self.renamed_ledgers.append((versioned_name(view.name, number), view.name))
        restored.version, restored.current_version_number = view.version, number
        restored.state, restored.enabled = view.state, view.enabled
        return restored

    def _check_function(self, restored: BaseFeatureView, view: BaseFeatureView, number: int) -> None:
        old, declared = (getattr(v, "feature_transformation", None) for v in (restored, view))
        if old is not None and (declared is None or declared.code() != old.code()):
            raise DefinitionError(
                f"{type(view).__name__} {view.name!r} cannot be put back to v{number}: that version has another "
                "function, and functions are loaded from the repository only. Put the function back there, and leave "
                "out the version."
            )

    def _replace(self, before: BaseFeatureView) -> None:
        """Keeps the version that was in use; what replaces it gets a table, where tables are not shared."""
        number = before.current_version_number
        self._keep(ViewVersion.of(copy_definition(before), number, before.last_updated_timestamp))
        # What is stored of an on-demand view has one table and one ledger for all versions.
        if self.own_tables and isinstance(before, FeatureView):
            self.tables[before.name] = ""
            self.renamed_ledgers.append((before.name, versioned_name(before.name, number)))

    def _keep_new(self, view: BaseFeatureView, number: int, before: BaseFeatureView) -> None:
        view.current_version_number = number
        if isinstance(view, FeatureView) and isinstance(before, FeatureView):
            view.online_generation = (
                f"{to_micros(datetime.now(UTC)):x}" if self.own_tables else before.online_generation
            )
        self._keep(ViewVersion.of(view, number, datetime.now(UTC)))

    def _keep(self, version: ViewVersion) -> None:
        self.kept[version.name] = version


def _has_what_it_wrote(version: BaseFeatureView, others: Iterable[BaseFeatureView]) -> bool:
    """Whether a version's rows are as it has left them: none of the others wrote to its table, or in its kept result.

    Versions that were made before each had a table of its own share one.
    """
    if not isinstance(version, FeatureView) or version.keeps_result:
        return False
    return all(version.online_generation != getattr(other, "online_generation", "") for other in others)
