"""Conformance suites that every backend passes, ours or a third party's; importing them needs pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_assets.testing.compute_engine import ComputeEngineConformance as ComputeEngineConformance
    from feast_assets.testing.offline_store import CanProfileConformance as CanProfileConformance
    from feast_assets.testing.offline_store import CanReplaceWindowsConformance as CanReplaceWindowsConformance
    from feast_assets.testing.offline_store import OfflineStoreConformance as OfflineStoreConformance
    from feast_assets.testing.offline_store import ReadsQueriesConformance as ReadsQueriesConformance
    from feast_assets.testing.offline_store import ReadsTextsConformance as ReadsTextsConformance
    from feast_assets.testing.offline_store import RunsTransformationsConformance as RunsTransformationsConformance
    from feast_assets.testing.offline_store import SummarizesPartsConformance as SummarizesPartsConformance
    from feast_assets.testing.offline_store import TracksPartsConformance as TracksPartsConformance
    from feast_assets.testing.offline_store import WritesOnceConformance as WritesOnceConformance
    from feast_assets.testing.online_store import CanEvictConformance as CanEvictConformance
    from feast_assets.testing.online_store import CanExpireConformance as CanExpireConformance
    from feast_assets.testing.online_store import CanHoldForeignValuesConformance as CanHoldForeignValuesConformance
    from feast_assets.testing.online_store import CanReplaceConformance as CanReplaceConformance
    from feast_assets.testing.online_store import CanSampleConformance as CanSampleConformance
    from feast_assets.testing.online_store import CanTellRestartsConformance as CanTellRestartsConformance
    from feast_assets.testing.online_store import OnlineStoreConformance as OnlineStoreConformance
    from feast_assets.testing.registry import KeepsCheckpointsConformance as KeepsCheckpointsConformance
    from feast_assets.testing.registry import KeepsMarksConformance as KeepsMarksConformance
    from feast_assets.testing.registry import KeepsPartStatisticsConformance as KeepsPartStatisticsConformance
    from feast_assets.testing.registry import NotesPushesConformance as NotesPushesConformance
    from feast_assets.testing.registry import RegistryConformance as RegistryConformance

_MODULES = {
    "CanEvictConformance": "feast_assets.testing.online_store",
    "CanExpireConformance": "feast_assets.testing.online_store",
    "CanHoldForeignValuesConformance": "feast_assets.testing.online_store",
    "CanProfileConformance": "feast_assets.testing.offline_store",
    "CanReplaceConformance": "feast_assets.testing.online_store",
    "CanReplaceWindowsConformance": "feast_assets.testing.offline_store",
    "CanSampleConformance": "feast_assets.testing.online_store",
    "CanTellRestartsConformance": "feast_assets.testing.online_store",
    "ComputeEngineConformance": "feast_assets.testing.compute_engine",
    "KeepsCheckpointsConformance": "feast_assets.testing.registry",
    "KeepsMarksConformance": "feast_assets.testing.registry",
    "KeepsPartStatisticsConformance": "feast_assets.testing.registry",
    "NotesPushesConformance": "feast_assets.testing.registry",
    "OfflineStoreConformance": "feast_assets.testing.offline_store",
    "OnlineStoreConformance": "feast_assets.testing.online_store",
    "ReadsQueriesConformance": "feast_assets.testing.offline_store",
    "ReadsTextsConformance": "feast_assets.testing.offline_store",
    "RegistryConformance": "feast_assets.testing.registry",
    "RunsTransformationsConformance": "feast_assets.testing.offline_store",
    "SummarizesPartsConformance": "feast_assets.testing.offline_store",
    "TracksPartsConformance": "feast_assets.testing.offline_store",
    "WritesOnceConformance": "feast_assets.testing.offline_store",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
