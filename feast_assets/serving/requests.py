"""The bodies of requests, as Feast's HTTP server takes them. Keys that are not known are ignored, as there."""

from __future__ import annotations

from typing import Any

import msgspec


class OnlineFeaturesRequest(msgspec.Struct):
    """Of ``/get-online-features``.

    Attributes:
        entities: name of a join key or request field -> one value per entity.
        feature_service: the name of one; if it is given, ``features`` does not count, as in Feast.
        features: references such as ``"view:feature"``.
        full_feature_names: whether features are called ``view__feature``.
        include_feature_view_version_metadata: whether the answer tells which versions of views were read.
        include_row_origins: whether the answer tells where its values come from; see
            `feast_assets.audit.row_origins`.
    """

    entities: dict[str, list[Any]]
    feature_service: str | None = None
    features: list[str] = []
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False
    include_row_origins: bool = False


class PushRequest(msgspec.Struct):
    """Of ``/push``.

    Attributes:
        push_source_name: whose views the rows go to.
        df: column -> one value per row.
        allow_registry_cache: whether the definitions in memory will do.
        to: ``online``, ``offline`` or ``online_and_offline``.
        transform_on_write: as in `FeatureStore.push`.
    """

    push_source_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    to: str = "online"
    transform_on_write: bool = True


class WriteRequest(msgspec.Struct):
    """Of ``/write-to-online-store``.

    Attributes:
        feature_view_name: whose rows they are.
        df: column -> one value per row.
        allow_registry_cache: whether the definitions in memory will do.
        transform_on_write: as in `FeatureStore.write_to_online_store`.
    """

    feature_view_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class MaterializeRequest(msgspec.Struct):
    """Of ``/materialize``.

    Attributes:
        start_ts, end_ts: ISO 8601, UTC where there is no offset; needed unless ``disable_event_timestamp``.
        feature_views: names; all that can be materialized when left out.
        disable_event_timestamp: all of history until now.
        full_feature_names: without effect, as in `FeatureStore.materialize`.
        version: of every view that is run; see `FeatureStore.materialize`.
    """

    start_ts: str | None = None
    end_ts: str | None = None
    feature_views: list[str] | None = None
    disable_event_timestamp: bool = False
    full_feature_names: bool = False
    version: str | None = None


class MaterializeIncrementalRequest(msgspec.Struct):
    """Of ``/materialize-incremental``; see `MaterializeRequest`."""

    end_ts: str
    feature_views: list[str] | None = None
    full_feature_names: bool = False
    version: str | None = None
