"""What becomes of registered views: enabling, disabling, their states, and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING

from feast_assets.arguments import name_of
from feast_assets.auth.identity import own_work
from feast_assets.definitions.base import Definition
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.feature_view_state import NOT_MATERIALIZED, TRANSITIONS, FeatureViewState
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.view_version import NO_OWN_TABLES, parse_version, versioned_name
from feast_assets.errors import (
    ConcurrentApplyError,
    DefinitionError,
    InputError,
    shown,
)
from feast_assets.writing import Writing

if TYPE_CHECKING:
    from feast_assets.registry.snapshot import RegistrySnapshot

_BECOMES_AVAILABLE = (FeatureViewState.GENERATED, FeatureViewState.MATERIALIZING)
"""States that a view leaves when it has been materialized."""
_ATTEMPTS = 20
"""To change the state of a view of which rows were written, while others apply."""


class Lifecycle(Writing):
    """Changes of single registered objects. Each is an apply of that object, in one transaction."""

    if TYPE_CHECKING:

        def apply(
            self,
            objects: Definition | Iterable[Definition],
            objects_to_delete: Iterable[Definition] | None = None,
            partial: bool = True,
        ) -> None: ...

    def enable_feature_view(self, name: str) -> None:
        """Lets a view of any kind be served and materialized.

        It stays so until an apply of a declaration that says otherwise.

        Raises:
            FeatureViewNotFoundException: there is no such view.
        """
        self._set_enabled(name, True)

    def disable_feature_view(self, name: str) -> None:
        """Keeps a view of any kind from being served and materialized; its rows stay.

        It stays so until the next apply of its declaration. Declare ``enabled=False`` to keep it so.

        Raises:
            FeatureViewNotFoundException: there is no such view.
        """
        self._set_enabled(name, False)

    def set_feature_view_state(self, name: str, state: FeatureViewState) -> None:
        """Puts a view of any kind in another state. An apply of its declaration does not change the state.

        Views in the states CREATED, GENERATED and MATERIALIZING are not read, and one in CREATED is not materialized. A
        view in another state that is materialized becomes AVAILABLE_ONLINE.

        Raises:
            FeatureViewNotFoundException: there is no such view.
            InputError: the state does not follow the present one.
        """
        if not isinstance(state, FeatureViewState):
            raise InputError(f"state must be a FeatureViewState, such as FeatureViewState.CREATED, not {shown(state)}.")
        view = self._view_of_any_kind(name)
        if not view.state.can_transition_to(state):
            following = " or ".join(sorted(each.name for each in TRANSITIONS[view.state]))
            raise InputError(
                f"View {name!r} cannot go from state {view.state.name} to {state.name}; {following} follows it."
            )
        changed = copy(view)
        changed.state = state
        self.apply([changed])

    def delete_feature_view(self, name: str) -> None:
        """Removes a view of any kind from the registry, with its online rows.

        Raises:
            FeatureViewNotFoundException: there is no such view.
            DefinitionError: something else uses it; nothing was changed.
        """
        self._delete(self._view_of_any_kind(name))

    def delete_feature_service(self, name: str) -> None:
        """Removes a feature service from the registry.

        Raises:
            FeatureServiceNotFoundException: there is no such service.
        """
        self._delete(self._cache.fresh().feature_service(name))

    def _set_enabled(self, name: str, enabled: bool) -> None:
        view = self._view_of_any_kind(name)
        if view.enabled != enabled:
            changed = copy(view)
            changed.enabled = enabled
            self.apply([changed])

    def _note_available(self, views: Sequence[FeatureView]) -> None:
        """Puts views that have been materialized in the state AVAILABLE_ONLINE, if they have a state at all."""
        for view in views:
            if view.online and not view.table_of and view.state in _BECOMES_AVAILABLE:
                self._make_available(view.name)

    def _make_available(self, name: str) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            view = self._view_of_any_kind(name)
            if view.state not in _BECOMES_AVAILABLE:
                return  # Another run has done so.
            changed = copy(view)
            changed.state = FeatureViewState.AVAILABLE_ONLINE
            try:
                with own_work():  # Who may materialize a view need not be allowed to change it.
                    self.apply([changed])
                return
            except ConcurrentApplyError:
                if attempt == _ATTEMPTS:
                    raise

    def _delete(self, definition: Definition) -> None:
        self.apply([], objects_to_delete=[definition], partial=False)

    def _view_of_any_kind(self, name: str) -> FeatureView | OnDemandFeatureView:
        view_name, at, _ = name_of(name, "feature view").partition("@")
        if at:
            raise InputError(f"{name!r} is a version of a view, which changes only with the view: name {view_name!r}.")
        view = self._cache.fresh().view(name)
        assert isinstance(view, (FeatureView, OnDemandFeatureView))
        return view


def may_be_materialized(view: FeatureView) -> bool:
    """Whether a view's state lets it be materialized."""
    return view.state not in NOT_MATERIALIZED


def check_state(view: FeatureView) -> None:
    """Raises InputError for a view whose state does not let it be materialized."""
    if not may_be_materialized(view):
        raise InputError(
            f"Feature view {view.name!r} is in state {view.state.name}, in which it is not materialized; move it on "
            "with set_feature_view_state."
        )


def check_version(view: FeatureView, snapshot: RegistrySnapshot) -> None:
    """Raises InputError for a version of a view whose rows would take the place of another version's."""
    from feast_assets.retrieval.versions import refuse_shared_table

    refuse_shared_table(view, snapshot)
    if view.table_of and view.keeps_result:
        raise InputError(
            f"Feature view {view.name!r} is not materialized: the result that it keeps would replace that of the "
            "version in use. Put the view back to this version instead."
        )


def of_version(names: Sequence[str] | None, version: str | None, versions_have_tables: bool) -> Sequence[str] | None:
    """Returns the names of views to materialize, in a version.

    Args:
        names: of views; None for all.
        version: such as ``"v1"``; None for the version in use.
        versions_have_tables: whether versions have online tables of their own.

    Raises:
        InputError: it is no version, or not of just one view, or versions share a table.
    """
    try:
        number = parse_version(version, "materialize")
    except DefinitionError as error:
        raise InputError(str(error)) from None
    if number is None:
        return names
    if isinstance(names, str) or names is None or len(names) != 1:
        raise InputError(f"version={version!r} needs feature_views with the name of just one view.")
    if not versions_have_tables:
        raise InputError(f"version={version!r} of feature view {names[0]!r}: {NO_OWN_TABLES}")
    return [versioned_name(name_of(names[0], "feature view"), number)]
