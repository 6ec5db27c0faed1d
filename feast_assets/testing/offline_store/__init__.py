"""Conformance suites of offline stores: one for all of them, and one for each ability.

A backend's tests subclass `OfflineStoreConformance` and the suites of the abilities that it has.
"""

from __future__ import annotations

from feast_assets.testing.offline_store.cases import (
    CITY,
    DAY,
    FARE,
    KEY,
    TIME,
    Put,
    StoreFixtures,
    by_driver,
    history,
    hour,
    joined,
    spine,
    trips,
)
from feast_assets.testing.offline_store.parts import TracksPartsConformance
from feast_assets.testing.offline_store.profile import CanProfileConformance
from feast_assets.testing.offline_store.queries import ReadsQueriesConformance
from feast_assets.testing.offline_store.replace import CanReplaceWindowsConformance
from feast_assets.testing.offline_store.store import OfflineStoreConformance
from feast_assets.testing.offline_store.summarizes_parts import SummarizesPartsConformance
from feast_assets.testing.offline_store.texts import ReadsTextsConformance
from feast_assets.testing.offline_store.transformations import RunsTransformationsConformance
from feast_assets.testing.offline_store.writes_once import WritesOnceConformance

__all__ = [
    "CITY",
    "DAY",
    "FARE",
    "KEY",
    "TIME",
    "CanProfileConformance",
    "CanReplaceWindowsConformance",
    "OfflineStoreConformance",
    "Put",
    "ReadsQueriesConformance",
    "ReadsTextsConformance",
    "RunsTransformationsConformance",
    "StoreFixtures",
    "SummarizesPartsConformance",
    "TracksPartsConformance",
    "WritesOnceConformance",
    "by_driver",
    "history",
    "hour",
    "joined",
    "spine",
    "trips",
]
