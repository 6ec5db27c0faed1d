"""Feature views: features of entities over time, from a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from feast_assets.definitions.automation import Automation
from feast_assets.definitions.base import listed, spec_of
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, DUMMY_FIELD, Entity
from feast_assets.definitions.feature_view_state import FeatureViewState
from feast_assets.definitions.field import Field
from feast_assets.definitions.freshness import Freshness
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.definitions.view import BaseFeatureView, check_features, check_fields, refuse_checks
from feast_assets.errors import DefinitionError, NotSupportedError, shown
from feast_assets.types import ValueType
from feast_assets.types.names import repeated_names

if TYPE_CHECKING:
    from feast_assets.definitions.transformation import Transformation

DAILY = Partitions("daily")


class FeatureView(BaseFeatureView):
    """Features of entities over time.

    Attributes:
        online_generation: which of its online tables is in use; apply sets it.
        table_of: of a version of a view, the view's name; "" elsewhere.
        materialization_intervals: the times that were materialized when `FeatureStore.get_feature_view` returned the
            view, as ``[start, end)`` in order.

    Args:
        name: unique among all views of the project, letter case aside.
        source: where rows come from. A stream, such as a `PushSource`, needs a ``batch_source``.
        schema: fields; those named like a join key are the view's entity columns, the rest its features. Left out,
            apply infers it.
        entities: whose features they are; none means one row for all.
        ttl: how long a value is valid after its event time, in reads; ``timedelta(0)`` or None for ever.
        online: whether the latest values are kept in the online store.
        offline: whether pushed rows, or a transformation's result, are kept in the offline store.
        enable_validation: whether materialization refuses windows with rows that break their fields' `Checks`, so that
            what was served before stays. Left out, it does where checks are declared. Names and types are always
            compared with the source.
        partitions: the grid of windows that it is materialized in; None for a source without a meaningful time (a
            lookup table), which is materialized whole.
        version: "latest", or a version that the view is put back to, such as "v2".
        enabled: a disabled view is neither materialized nor served.
        automation: when it is materialized automatically; None if its grain's schedule or a user runs it.
        freshness: how recently it should have been materialized: a duration, or a `Freshness`; None for no such demand.
    """

    object_type = "feature view"
    _spec = spec_of(
        batch_source=None,
        stream_source=None,
        entities=[],
        join_keys=[],
        entity_columns=[],
        features=[],
        ttl=timedelta(0),
        online=True,
        offline=False,
        org="",
        enable_validation=False,
        partitions=DAILY,
        enabled=True,
        automation=None,
        freshness=None,
        online_generation="",
        state=FeatureViewState.STATE_UNSPECIFIED,
        version="latest",
        current_version_number=0,
    )

    batch_source: DataSource | None
    stream_source: DataSource | None
    entities: list[str]
    join_keys: list[str]
    entity_columns: list[Field]
    ttl: timedelta | None
    online: bool
    offline: bool
    org: str
    enable_validation: bool
    partitions: Partitions | None
    enabled: bool
    automation: Automation | None
    freshness: Freshness | None
    online_generation: str = ""
    table_of: str = ""
    materialization_intervals: Sequence[tuple[datetime, datetime]] = ()

    def __init__(
        self,
        *,
        name: str,
        source: DataSource | FeatureView | Sequence[FeatureView] | None = None,
        sink_source: DataSource | None = None,
        schema: Sequence[Field] | None = None,
        entities: Sequence[Entity] | None = None,
        ttl: timedelta | None = timedelta(0),
        online: bool = True,
        offline: bool = False,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        org: str = "",
        mode: object = None,
        enable_validation: bool | None = None,
        version: str = "latest",
        enabled: bool = True,
        partitions: Partitions | None = DAILY,
        automation: Automation | None = None,
        freshness: timedelta | Freshness | None = None,
    ):
        subject = f"{type(self).__name__} {name!r}"
        self._init_meta(name, description, tags, owner)
        if mode is not None or sink_source is not None:
            raise NotSupportedError(
                f"{subject}: mode and sink_source are for views with a transformation; use BatchFeatureView."
            )
        self._init_sources(source, subject)
        self._init_view(schema, entities, ttl, online, offline, org, enable_validation, version, enabled, partitions)
        self._init_automation(automation, freshness, subject)

    def _init_sources(self, source: object, subject: str) -> None:
        self.stream_source = None
        self.batch_source = None
        if source is None:
            return
        if isinstance(source, (FeatureView, list, tuple)):
            raise NotSupportedError(
                f"{subject}: a source that is itself a feature view is not supported without a function; use a "
                "BatchFeatureView with one, or the view's data source."
            )
        if isinstance(source, RequestSource) or not isinstance(source, DataSource):
            raise DefinitionError(
                f"{subject}: source must be a data source with history, or a stream such as a PushSource, not "
                f"{shown(source)}."
            )
        if isinstance(source, StreamSource):
            if source.batch_source is None:
                raise DefinitionError(
                    f"{subject}: its source {source.name!r} is a stream, and needs a batch_source, which holds the "
                    "history."
                )
            self.stream_source = source
            self.batch_source = source.batch_source
        else:
            self.batch_source = source

    def _init_view(
        self,
        schema: Sequence[Field] | None,
        entities: Sequence[Entity] | None,
        ttl: timedelta | None,
        online: bool,
        offline: bool,
        org: str,
        enable_validation: bool | None,
        version: str,
        enabled: bool,
        partitions: Partitions | None,
    ) -> None:
        subject = f"{type(self).__name__} {self.name!r}"
        if ttl is not None and (not isinstance(ttl, timedelta) or ttl < timedelta(0)):
            raise DefinitionError(f"{subject}: ttl must be a timedelta of zero or more, got {shown(ttl)}.")
        if partitions is not None and not isinstance(partitions, Partitions):
            raise DefinitionError(
                f"{subject}: partitions must be Partitions(grain, start) or None, got {shown(partitions)}."
            )
        if not isinstance(version, str):
            raise DefinitionError(f"{subject}: version must be text such as 'latest' or 'v2', not {shown(version)}.")
        self.version = version
        self.ttl = ttl
        self.online = online
        self.offline = offline
        self.org = org
        self.enabled = enabled
        self.partitions = partitions
        self._init_entities(check_fields(schema, subject), entities, subject)
        check_features(self.features, subject)
        mapped = {s: f for s, f in (self.batch_source.field_mapping if self.batch_source else {}).items() if s != f}
        for field in (*self.features, *self.entity_columns):
            if field.name in mapped:
                raise DefinitionError(
                    f"{subject}: field {field.name!r} is renamed to {mapped[field.name]!r} by its source's "
                    f"field_mapping; call it {mapped[field.name]!r}."
                )
        refuse_checks(
            self.entity_columns, subject, "rows whose join key is null are no rows, and checks are for features"
        )
        declares_checks = any(f.checks is not None for f in self.features)
        self.enable_validation = declares_checks if enable_validation is None else enable_validation
        self.projection = self._whole()

    def _init_automation(self, automation: object, freshness: object, subject: str) -> None:
        if automation is not None and not isinstance(automation, Automation):
            raise DefinitionError(
                f"{subject}: automation must be Automation.on_cron(...), Automation.eager(), Automation.on_late_data() "
                f"or None, got {shown(automation)}."
            )
        self.automation = automation
        if isinstance(freshness, timedelta):
            try:
                freshness = Freshness.within(freshness)
            except DefinitionError:
                raise DefinitionError(
                    f"{subject}: freshness must be a minute or more, got {shown(freshness)}."
                ) from None
        if freshness is not None and not isinstance(freshness, Freshness):
            raise DefinitionError(
                f"{subject}: freshness must be a timedelta, Freshness.within(...), Freshness.by(...) or None, got "
                f"{shown(freshness)}."
            )
        self.freshness = freshness

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        # A view without them keeps the hash that it had before the attributes existed.
        if self.freshness is None:
            del spec["freshness"]
        if not self.state:
            del spec["state"]
        if self.version == "latest":
            del spec["version"]
        if not self.current_version_number:
            del spec["current_version_number"]
        return spec

    def _init_entities(self, fields: list[Field], entities: Sequence[Entity] | None, subject: str) -> None:
        given = listed(entities, f"{subject}: entities must be a list of Entity objects")
        for entity in given:
            if not isinstance(entity, Entity):
                raise DefinitionError(f"{subject}: entities must be a list of Entity objects, found {shown(entity)}.")
        if not given:
            self.entities = [DUMMY_ENTITY_NAME]
            self.join_keys = [DUMMY_FIELD.name]
            self.entity_columns = [DUMMY_FIELD]
            self.features = fields
            return
        self.entities = [e.name for e in given]
        self.join_keys = [e.join_key for e in given]
        repeated = repeated_names(self.join_keys)
        if repeated:
            raise DefinitionError(f"{subject}: two of its entities have the join key {repeated[0]!r}.")
        self.entity_columns = [f for f in fields if f.name in self.join_keys]
        self.features = [f for f in fields if f.name not in self.join_keys]
        for entity in given:
            for field in self.entity_columns:
                if (
                    field.name == entity.join_key
                    and entity.value_type is not ValueType.UNKNOWN
                    and field.dtype.to_value_type() is not entity.value_type
                ):
                    raise DefinitionError(
                        f"{subject}: field {field.name!r} is {field.dtype}, but entity {entity.name!r} says "
                        f"{entity.value_type.name}."
                    )

    @property
    def schema(self) -> list[Field]:
        """All fields: join key columns and features."""
        return [*self.entity_columns, *self.features]

    @property
    def most_recent_end_time(self) -> datetime | None:
        """The end of the last materialized interval."""
        return self.materialization_intervals[-1][1] if self.materialization_intervals else None

    @property
    def entityless(self) -> bool:
        """Whether there is one row for all."""
        return self.entities == [DUMMY_ENTITY_NAME]

    @property
    def source(self) -> DataSource | None:
        """The source as declared: the stream source if there is one."""
        return self.stream_source or self.batch_source

    @property
    def transformation(self) -> Transformation | None:
        """What makes the features from the source; None where the source holds them."""
        return None

    @property
    def declared_transformation(self) -> Transformation | None:
        """The transformation that the user wrote; None where there is none."""
        return self.transformation

    def online_table(self, project: str) -> str:
        """Returns the name of its table in the online store.

        A view that starts again (it was removed before, or its keys or time columns changed) gets a new table, so that
        earlier rows are never taken for its own, even if an apply is interrupted; apply gives it a new generation.
        """
        return f"{project}:{self.table_of or self.name}:{self.online_generation}"

    @property
    def keeps_result(self) -> bool:
        """Whether the transformation's result is kept in the offline store."""
        return self.transformation is not None and self.offline

    @property
    def is_computed_when_read(self) -> bool:
        """Whether a transformation makes its rows whenever they are read, as the result is not kept."""
        return self.transformation is not None and not self.offline

    @property
    def materializable(self) -> bool:
        """Whether materialization writes it to the online store."""
        return self.online and self.enabled and self.batch_source is not None

    @property
    def makes_something(self) -> bool:
        """Whether materialization writes anything for it: online rows, or a kept result."""
        return self.enabled and (self.materializable or self.keeps_result)
