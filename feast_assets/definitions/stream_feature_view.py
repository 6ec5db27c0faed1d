"""Stream feature views: feature views whose newest rows arrive one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from feast_assets.definitions.aggregation import Aggregation
from feast_assets.definitions.automation import Automation
from feast_assets.definitions.base import refuse_arguments
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import DAILY
from feast_assets.definitions.field import Field
from feast_assets.definitions.freshness import Freshness
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.definitions.transformation import Transformation, TransformationMode
from feast_assets.errors import DefinitionError, NotSupportedError, shown

MODES = (TransformationMode.SQL, TransformationMode.PANDAS, TransformationMode.PYTHON)


class StreamFeatureView(BatchFeatureView):
    """A feature view of a stream, with or without a function that makes features of the stream's rows.

    The function sees rows as the source has them, and returns the join keys, the features and the event time, in the
    manner of a `BatchFeatureView`. It runs over pushed rows and over the rows of the batch source, so a row has the
    same features online and in history. It must make the features of each row of this row alone: how rows are pushed
    together is chance.

    Args:
        source: a `PushSource`, `KafkaSource` or `KinesisSource` with a ``batch_source``.
        mode: ``python``, ``pandas``, or ``sql``, which the offline store runs.
        timestamp_field: the event time of the stream's rows, which is that of the batch source; may be left out.
        udf, udf_string, feature_transformation: the function, or a `Transformation`; not both. None of them: the
            stream's rows hold the features.
        aggregations, tiling_hop_size: windows of time over the rows, or over the function's result; see
            `BatchFeatureView`.
        enable_tiling: of no effect: windows are always computed of tiles.

    See `FeatureView` for the other arguments.
    """

    object_type = "stream feature view"

    def __init__(
        self,
        *,
        name: str,
        source: StreamSource,
        sink_source: DataSource | None = None,
        entities: Sequence[Entity] | None = None,
        ttl: timedelta | None = timedelta(0),
        tags: Mapping[str, str] | None = None,
        online: bool = True,
        offline: bool = False,
        description: str = "",
        owner: str = "",
        org: str = "",
        schema: Sequence[Field] | None = None,
        aggregations: Sequence[Aggregation] | None = None,
        mode: TransformationMode | str = TransformationMode.PYTHON,
        timestamp_field: str | None = "",
        udf: Callable[..., object] | None = None,
        udf_string: str | None = "",
        feature_transformation: Transformation | None = None,
        stream_engine: Mapping[str, object] | None = None,
        enable_tiling: bool = False,
        tiling_hop_size: timedelta | None = None,
        enable_validation: bool | None = None,
        version: str = "latest",
        enabled: bool = True,
        partitions: Partitions | None = DAILY,
        automation: Automation | None = None,
        freshness: timedelta | Freshness | None = None,
    ):
        subject = f"StreamFeatureView {name!r}"
        refuse_arguments(subject, stream_engine=stream_engine)
        if not isinstance(source, StreamSource):
            raise DefinitionError(
                f"{subject}: source must be a stream: a PushSource, KafkaSource or KinesisSource with a batch_source, "
                f"not {shown(source)}."
            )
        self._check_mode(mode, udf, feature_transformation, subject)
        super().__init__(
            name=name,
            mode=mode,
            source=source,
            sink_source=sink_source,
            entities=entities,
            ttl=ttl,
            tags=tags,
            online=online,
            offline=offline,
            description=description,
            owner=owner,
            org=org,
            schema=schema,
            udf=udf,
            udf_string=udf_string or "",
            feature_transformation=feature_transformation,
            enable_validation=enable_validation,
            version=version,
            enabled=enabled,
            partitions=partitions,
            automation=automation,
            freshness=freshness,
            aggregations=aggregations,
            tiling_hop_size=tiling_hop_size,
        )
        read = self.sources[0].timestamp_field
        if timestamp_field and read and timestamp_field != read:
            raise DefinitionError(
                f"{subject}: timestamp_field is {timestamp_field!r}, but that of its batch source "
                f"{self.sources[0].name!r} is {read!r}; leave it out."
            )

    @staticmethod
    def _check_mode(mode: object, udf: object, feature_transformation: Transformation | None, subject: str) -> None:
        given = feature_transformation.mode if feature_transformation is not None else mode
        if udf is None and feature_transformation is None:
            return
        if given not in (*MODES, *(each.value for each in MODES)):
            shown_mode = given.value if isinstance(given, TransformationMode) else given
            raise NotSupportedError(
                f"{subject}: mode {shown_mode!r} is not supported for stream feature views; use sql, python or pandas. "
                "(@stream_feature_view has mode 'spark' unless said otherwise, as in Feast.)"
            )


def stream_feature_view(
    *,
    entities: Sequence[Entity] | None = None,
    ttl: timedelta | None = None,
    tags: Mapping[str, str] | None = None,
    online: bool | None = True,
    description: str | None = "",
    owner: str | None = "",
    org: str | None = "",
    schema: Sequence[Field] | None = None,
    source: StreamSource | None = None,
    aggregations: Sequence[Aggregation] | None = None,
    mode: TransformationMode | str | None = "spark",
    timestamp_field: str | None = "",
    enable_validation: bool | None = None,
    version: str = "latest",
    partitions: Partitions | None = DAILY,
    automation: Automation | None = None,
    freshness: timedelta | Freshness | None = None,
) -> Callable[[Callable[..., object]], StreamFeatureView]:
    """Makes a `StreamFeatureView` of a function, whose name is the view's.

    ``mode`` must be given: what it is unless said otherwise, Feast's ``spark``, is not supported.
    """

    def decorate(function: Callable[..., object]) -> StreamFeatureView:
        return StreamFeatureView(
            name=function.__name__,
            source=source,  # type: ignore[arg-type] # what is no stream is refused
            entities=entities,
            ttl=ttl,
            tags=tags,
            online=bool(online),
            description=description or "",
            owner=owner or "",
            org=org or "",
            schema=schema,
            aggregations=aggregations,
            mode=mode or TransformationMode.PYTHON,
            timestamp_field=timestamp_field,
            udf=function,
            enable_validation=enable_validation,
            version=version,
            partitions=partitions,
            automation=automation,
            freshness=freshness,
        )

    return decorate
