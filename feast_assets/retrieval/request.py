"""What a list of references comes to: reads of views, runs of on-demand functions, and output columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.types import FeastType


@dataclass(frozen=True, slots=True)
class JoinKey:
    """One join key of a read.

    Attributes:
        field: the view's join key.
        column: the column of the entity rows that holds it.
    """

    field: Field
    column: str


@dataclass(frozen=True, slots=True)
class ViewRead:
    """One read of one view; two uses of a view with the same join keys share it.

    Attributes:
        view: the view.
        join_keys: in the view's order; none where there is one row for all.
        features: what is read, each once, requested or only needed by an on-demand view.
    """

    view: FeatureView
    join_keys: tuple[JoinKey, ...]
    features: tuple[Field, ...]

    @property
    def ttl(self) -> timedelta | None:
        """How long values stand; None for ever."""
        return self.view.ttl or None


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output column that is read.

    Attributes:
        name: the column's name.
        reference: ``view:feature`` as it was asked for.
        field: the feature.
        read, position: which feature of which read it is.
    """

    name: str
    reference: str
    field: Field
    read: int
    position: int


@dataclass(frozen=True, slots=True)
class ComputedOutput:
    """An output column that an on-demand view computes: feature ``position`` of run ``run``."""

    name: str
    reference: str
    field: Field
    run: int
    position: int


@dataclass(frozen=True, slots=True)
class FeatureInput:
    """An input of a function that is feature ``position`` of read ``read``."""

    read: int
    position: int


@dataclass(frozen=True, slots=True)
class RowInput:
    """An input of a function that comes with the entity rows: a join key or a request value."""

    column: str


@dataclass(frozen=True, slots=True)
class FunctionInput:
    """An input of an on-demand function.

    Attributes:
        names: what the function knows it by; a feature's bare name, unless that is ambiguous, and ``view__feature``.
        dtype: its type.
        origin: where its values come from.
    """

    names: tuple[str, ...]
    dtype: FeastType
    origin: FeatureInput | RowInput


@dataclass(frozen=True, slots=True)
class OnDemandRun:
    """One run of one on-demand function.

    Attributes:
        view: whose function it is.
        inputs: what it is given.
        features: which of its results are wanted, each once.
    """

    view: OnDemandFeatureView
    inputs: tuple[FunctionInput, ...]
    features: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class RowColumn:
    """A column that the entity rows must have.

    Attributes:
        dtype: its type.
        needed_by: the first view that needs it.
        alias: the view's name in the request; "" if that is its own.
    """

    dtype: FeastType
    needed_by: str
    alias: str = ""

    @property
    def reader(self) -> str:
        """The view that needs it, quoted, for messages: ``'friend' ('users')`` if it has another name there."""
        return f"{self.alias!r} ({self.needed_by!r})" if self.alias else repr(self.needed_by)


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """References, resolved against one revision of the registry.

    Attributes:
        reads: of feature views.
        runs: of on-demand functions.
        stored, computed: the output columns, each in the order asked for. Results have the stored ones first.
        join_keys, request_fields: the columns that the entity rows must have, in order of first need.
        entity_columns: entity name -> the column with its join key, for rows that use the entity's name.
        full_feature_names: whether outputs are named ``view__feature``.
    """

    reads: tuple[ViewRead, ...]
    runs: tuple[OnDemandRun, ...]
    stored: tuple[StoredOutput, ...]
    computed: tuple[ComputedOutput, ...]
    join_keys: Mapping[str, RowColumn]
    request_fields: Mapping[str, RowColumn]
    entity_columns: Mapping[str, str]
    full_feature_names: bool

    def with_function_inputs(self) -> FeatureRequest:
        """Returns the request that also gives back the stored features that on-demand functions take, as Feast does.

        Those that were not asked for come after those that were, in the order in which the functions take them.
        """
        given_back = {(output.read, output.position) for output in self.stored}
        added: list[StoredOutput] = []
        for run in self.runs:
            for each in run.inputs:
                origin = each.origin
                if not isinstance(origin, FeatureInput) or (origin.read, origin.position) in given_back:
                    continue
                given_back.add((origin.read, origin.position))
                field = self.reads[origin.read].features[origin.position]
                full_name = each.names[-1]
                name = full_name if self.full_feature_names else each.names[0]
                reference = f"{full_name.removesuffix(f'__{field.name}')}:{field.name}"
                added.append(StoredOutput(name, reference, field, origin.read, origin.position))
        return replace(self, stored=(*self.stored, *added))

    @property
    def outputs(self) -> tuple[StoredOutput | ComputedOutput, ...]:
        """All output columns, in the order that results have."""
        return (*self.stored, *self.computed)

    @property
    def views(self) -> list[FeatureView | OnDemandFeatureView]:
        """The views that are read, and those whose functions run."""
        return [*(read.view for read in self.reads), *self.on_demand_views]

    @property
    def on_demand_views(self) -> list[OnDemandFeatureView]:
        return [run.view for run in self.runs]
