"""From references to a request: which views are read, which functions run, and what the columns are called."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.feature_view_state import SERVED
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.view_version import split_name, versioned_name
from feast_assets.errors import (
    DefinitionError,
    EntityNotFoundException,
    FeatureNameCollisionError,
    FeatureNotFoundError,
    FeatureViewNotFoundException,
    InputError,
    InvalidFeaturesParameterType,
    shown,
    suggest,
)
from feast_assets.retrieval.request import (
    ComputedOutput,
    FeatureInput,
    FeatureRequest,
    FunctionInput,
    JoinKey,
    OnDemandRun,
    RowColumn,
    RowInput,
    StoredOutput,
    ViewRead,
)

if TYPE_CHECKING:
    from feast_assets.registry.snapshot import RegistrySnapshot

_JoinKeyMap = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """Some features of one view, as a request uses them.

    Attributes:
        view: the registry's view.
        alias: the view's name in the request; its own unless a feature service has another one.
        features: the features asked for, in order.
        join_key_map: the view's join key -> the column of the entity rows; only what differs.
    """

    view: FeatureView | OnDemandFeatureView
    alias: str
    features: tuple[Field, ...]
    join_key_map: Mapping[str, str]


def resolve(
    snapshot: RegistrySnapshot,
    features: Sequence[str] | FeatureService,
    *,
    full_feature_names: bool = False,
    reads_stored: bool = False,
) -> FeatureRequest:
    """Returns what references ask for.

    A name of an on-demand view's source is looked up among the projections of the request first: where a feature
    service uses the source with a join key map, the on-demand view reads it the same way, unless it has a map of its
    own.

    Args:
        features: references, ``"view:feature"``, or a feature service, of which the registry's version counts.
        full_feature_names: whether columns are named ``view__feature`` (with the alias where there is one).
        reads_stored: whether on-demand views that are written to the online store are read from there, like feature
            views; if not, they are computed.

    Raises:
        InvalidFeaturesParameterType: ``features`` is of another type.
        InputError: a reference is malformed, or there is none, or a view is disabled.
        FeatureViewVersionNotFound: a view has no such version.
        FeatureViewNotFoundException, FeatureNotFoundError, FeatureServiceNotFoundException: the registry lacks it.
        FeatureNameCollisionError: two columns would have one name.
    """
    views = _SnapshotViews(snapshot)
    projections = _project(views, features)
    for projection in projections:
        _check_enabled(projection.view)
        _check_state(projection.view)
    if reads_stored:
        projections = [_stored(projection, snapshot) for projection in projections]
    return _Builder(views, projections, full_feature_names).build()


class _SnapshotViews:
    """A snapshot's views, each looked up once.

    Args:
        known: views by name that need no looking up.
    """

    def __init__(self, snapshot: RegistrySnapshot, known: Mapping[str, FeatureView] | None = None):
        self.snapshot = snapshot
        self._known_views: dict[str, FeatureView | OnDemandFeatureView] = dict(known or {})

    def __getitem__(self, name: str) -> FeatureView | OnDemandFeatureView:
        known_view = self._known_views.get(name)
        if known_view is None:
            view = self.snapshot.view(name)
            if not isinstance(view, (FeatureView, OnDemandFeatureView)):
                raise FeatureViewNotFoundException(name, self.snapshot.project)
            known_view = self._known_views[name] = view
        return known_view


def _project(views: _SnapshotViews, features: Sequence[str] | FeatureService) -> list[Projection]:
    """Returns the projections that references or a feature service stand for, in order."""
    if isinstance(features, FeatureService):
        registered = views.snapshot.feature_service(features.name)
        if _differs(features, registered, views):
            warnings.warn(
                f"Feature service {features.name!r} differs from the registry's, which is used. Apply it first.",
                UserWarning,
                stacklevel=4,
            )
        projections = [_of_service(p, views) for p in registered.feature_view_projections]
        if not projections:
            raise InputError(f"Feature service {features.name!r} has no features.")
        return projections
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise InvalidFeaturesParameterType(
            f"features must be a list of references such as ['view:feature'], or a FeatureService, "
            f"not {type(features).__name__} {shown(features)}."
        )
    if not features:
        raise InputError("features is empty; give references such as 'view:feature', or a feature service.")
    return [_of_reference(reference, views) for reference in features]


def function_inputs(
    view: OnDemandFeatureView, sources: Mapping[str, FeatureView]
) -> tuple[tuple[FunctionInput, ...], tuple[ViewRead, ...]]:
    """Returns what an on-demand view's function is given when only that view is asked for, and the reads behind it.

    Args:
        sources: the feature views that it reads, by name.
    """
    from feast_assets.registry.snapshot import RegistrySnapshot

    views = _SnapshotViews(RegistrySnapshot(view.name, 0, ()), sources)
    builder = _Builder(views, [], full_feature_names=False)
    inputs = builder._inputs(view)
    return inputs, builder.reads()


def split_reference(reference: object) -> tuple[str, str]:
    """Returns the view and the feature of a reference; a view's version is part of its name, such as ``stats@v1``.

    Raises:
        InvalidFeaturesParameterType: it is not text.
        InputError: it does not have the form ``view:feature``.
    """
    if not isinstance(reference, str):
        raise InvalidFeaturesParameterType(
            f"References are texts of the form 'view:feature', not {type(reference).__name__} {shown(reference)}."
        )
    view, separator, feature = reference.partition(":")
    if not separator or not view or not feature or ":" in feature:
        raise InputError(f"Reference {shown(reference)} does not have the form 'view:feature'.")
    try:
        name, number = split_name(view)
    except DefinitionError as error:
        raise InputError(f"Reference {shown(reference)}: {error}") from None
    return name if number is None else versioned_name(name, number), feature


def _of_reference(reference: object, views: _SnapshotViews) -> Projection:
    view_name, feature = split_reference(reference)
    view = views[view_name]
    return Projection(view, view_name, (view.feature(feature),), {})


def _of_service(projection: FeatureViewProjection, views: _SnapshotViews) -> Projection:
    view = views[projection.name]
    join_key_map: dict[str, str] = {}
    if isinstance(view, FeatureView):
        join_key_map = _checked_map(projection, view)
    return Projection(view, projection.name_to_use(), _fields(projection, view), join_key_map)


def _fields(projection: FeatureViewProjection, view: FeatureView | OnDemandFeatureView) -> tuple[Field, ...]:
    """Returns the view's present fields by the projection's names; a projection without names is the whole view."""
    names = [f.name for f in projection.features] or projection.desired_features
    return tuple(view.feature(name) for name in names) if names else tuple(view.features)


def _checked_map(projection: FeatureViewProjection, view: FeatureView) -> dict[str, str]:
    for key in projection.join_key_map:
        if key not in view.join_keys:
            raise InputError(
                f"The join key map of view {view.name!r} maps {key!r}, which is no join key of it. "
                f"{suggest(key, view.join_keys)}"
            )
    return {key: column for key, column in projection.join_key_map.items() if key != column}


def _check_enabled(view: FeatureView | OnDemandFeatureView) -> None:
    if not view.enabled:
        raise InputError(f"View {view.name!r} is disabled; enable it, or leave it out of the features.")


def _stored(projection: Projection, snapshot: RegistrySnapshot) -> Projection:
    """Returns a projection of what is stored of an on-demand view; others, and where nothing is stored, as they are."""
    view = projection.view
    if not isinstance(view, OnDemandFeatureView) or not view.write_to_online_store:
        return projection
    stored = snapshot.stored_on_demand_view(view.name)
    return projection if stored is None else replace(projection, view=stored)


def _check_state(view: FeatureView | OnDemandFeatureView) -> None:
    if view.state not in SERVED:
        raise InputError(
            f"View {view.name!r} is in state {view.state.name}, in which it is not read; materialize it, or move it on "
            "with set_feature_view_state."
        )


def _differs(passed: FeatureService, registered: FeatureService, views: _SnapshotViews) -> bool:
    def content(service: FeatureService) -> list[tuple[str, str, tuple[str, ...], _JoinKeyMap]]:
        projections = [_of_service(p, views) for p in service.feature_view_projections]
        return [
            (p.view.name, p.alias, tuple(f.name for f in p.features), tuple(sorted(p.join_key_map.items())))
            for p in projections
        ]

    expected = content(registered)
    try:
        return content(passed) != expected
    except (FeatureViewNotFoundException, FeatureNotFoundError, InputError):
        return True


class _Builder:
    """Collects reads and runs, so that what is needed twice is read and computed once."""

    def __init__(self, views: _SnapshotViews, projections: Sequence[Projection], full_feature_names: bool):
        self._views = views
        self._projections = projections
        self._full = full_feature_names
        self._reads: dict[tuple[str, _JoinKeyMap], tuple[FeatureView, Mapping[str, str], dict[str, Field]]] = {}
        self._runs: dict[str, tuple[OnDemandFeatureView, tuple[FunctionInput, ...], dict[str, Field]]] = {}
        self._join_keys: dict[str, RowColumn] = {}
        self._request_fields: dict[str, RowColumn] = {}

    def build(self) -> FeatureRequest:
        stored: list[StoredOutput] = []
        computed: list[ComputedOutput] = []
        for projection in self._projections:
            for field in projection.features:
                name = f"{projection.alias}__{field.name}" if self._full else field.name
                reference = f"{projection.alias}:{field.name}"
                if isinstance(projection.view, FeatureView):
                    at = self._feature(projection.view, projection.join_key_map, field, projection.alias)
                    stored.append(StoredOutput(name, reference, field, at.read, at.position))
                else:
                    run, position = self._run(projection.view, field)
                    computed.append(ComputedOutput(name, reference, field, run, position))
        request = FeatureRequest(
            reads=self.reads(),
            runs=tuple(OnDemandRun(view, inputs, tuple(f.values())) for view, inputs, f in self._runs.values()),
            stored=tuple(stored),
            computed=tuple(computed),
            join_keys=self._join_keys,
            request_fields=self._request_fields,
            entity_columns=self._entity_columns(),
            full_feature_names=self._full,
        )
        check_names(request)
        return request

    def reads(self) -> tuple[ViewRead, ...]:
        """Returns the reads that were collected so far."""
        return tuple(
            ViewRead(view, tuple(_join_keys(view, keys)), tuple(fields.values()))
            for view, keys, fields in self._reads.values()
        )

    def _feature(self, view: FeatureView, join_key_map: Mapping[str, str], field: Field, alias: str) -> FeatureInput:
        key = (view.name, tuple(sorted(join_key_map.items())))
        if key not in self._reads:
            self._reads[key] = (view, join_key_map, {})
            for join_key in _join_keys(view, join_key_map):
                needed = RowColumn(join_key.field.dtype, view.name, alias if alias != view.name else "")
                self._join_keys.setdefault(join_key.column, needed)
        fields = self._reads[key][2]
        fields.setdefault(field.name, field)
        return FeatureInput(list(self._reads).index(key), list(fields).index(field.name))

    def _run(self, view: OnDemandFeatureView, field: Field) -> tuple[int, int]:
        if view.name not in self._runs:
            self._runs[view.name] = (view, self._inputs(view), {})
        features = self._runs[view.name][2]
        features.setdefault(field.name, field)
        return list(self._runs).index(view.name), list(features).index(field.name)

    def _inputs(self, view: OnDemandFeatureView) -> tuple[FunctionInput, ...]:
        rows: dict[str, FunctionInput] = {}
        for field in view.request_fields:
            self._request_fields.setdefault(field.name, RowColumn(field.dtype, view.name))
            rows[field.name] = FunctionInput((field.name,), field.dtype, RowInput(field.name))
        features: list[tuple[str, Field, FeatureInput]] = []
        for declared in view.source_projections:
            source = self._views[declared.name]
            if not isinstance(source, FeatureView):
                raise InputError(
                    f"On-demand view {view.name!r} has source {declared.name!r}, which is no feature view."
                )
            _check_enabled(source)
            join_key_map = _checked_map(declared, source) or self._map_in_request(declared)
            for key in _join_keys(source, join_key_map):
                rows.setdefault(key.field.name, FunctionInput((key.field.name,), key.field.dtype, RowInput(key.column)))
            for field in _fields(declared, source):
                full_name = f"{declared.name_to_use()}__{field.name}"
                features.append((full_name, field, self._feature(source, join_key_map, field, declared.name_to_use())))
        bare = Counter(field.name for _, field, _ in features)
        inputs = list(rows.values())
        for full_name, field, origin in features:
            unambiguous = bare[field.name] == 1 and field.name not in rows
            names = (field.name, full_name) if unambiguous else (full_name,)
            inputs.append(FunctionInput(names, field.dtype, origin))
        return tuple(inputs)

    def _map_in_request(self, declared: FeatureViewProjection) -> Mapping[str, str]:
        for projection in self._projections:
            if projection.view.name == declared.name and projection.alias == declared.name_to_use():
                return projection.join_key_map
        return {}

    def _entity_columns(self) -> dict[str, str]:
        columns: dict[str, str] = {}
        for view, join_key_map, _ in self._reads.values():
            if view.entityless:
                continue
            for entity_name in view.entities:
                try:
                    join_key = self._views.snapshot.entity(entity_name).join_key
                except EntityNotFoundException:
                    continue  # The view alone says enough; the entity's name just cannot stand for its key.
                column = join_key_map.get(join_key, join_key)
                if entity_name != column:
                    columns.setdefault(entity_name, column)
        return columns


def _join_keys(view: FeatureView, join_key_map: Mapping[str, str]) -> Iterator[JoinKey]:
    fields = {f.name: f for f in view.entity_columns}
    for key in view.join_keys:
        if key == DUMMY_JOIN_KEY:
            continue
        if key not in fields:
            raise InputError(f"Feature view {view.name!r} has join key {key!r} of unknown type; apply it first.")
        yield JoinKey(fields[key], join_key_map.get(key, key))


def check_names(request: FeatureRequest) -> None:
    """Raises FeatureNameCollisionError where two columns of a request's result would have one name."""
    references: dict[str, str] = {}
    for output in request.outputs:
        other = references.get(output.name)
        if other is None:
            references[output.name] = output.reference
            continue
        if other == output.reference:
            raise FeatureNameCollisionError(f"Feature {other!r} is asked for twice; leave one out.")
        advice = (
            "Give one of the views another name in a feature service (view.with_name)."
            if request.full_feature_names
            else "Ask with full_feature_names=True; a view that a service uses twice needs two names (view.with_name)."
        )
        raise FeatureNameCollisionError(
            f"Features {other!r} and {output.reference!r} would both be column {output.name!r}. {advice}"
        )
    for kind, columns in (("join key", request.join_keys), ("request field", request.request_fields)):
        for name, column in columns.items():
            if name in references:
                advice = "" if request.full_feature_names else " Ask with full_feature_names=True."
                raise FeatureNameCollisionError(
                    f"Feature {references[name]!r} would have the same column as {kind} {name!r} of view "
                    f"{column.reader}.{advice}"
                )
