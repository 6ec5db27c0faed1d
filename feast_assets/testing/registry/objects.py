"""Definitions and ledger entries that the suites put into a registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import Window
from feast_assets.registry.base import (
    Changes,
    LedgerEntry,
    Registry,
    WindowContent,
)
from feast_assets.types import FeastType, Float64, Int64

RegistryFactory = Callable[[str], Registry]
"""Returns a handle on the registry of a project; each call a new one, on the same place."""

DAY = timedelta(days=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def entity(name: str, description: str = "") -> Entity:
    """Returns an entity."""
    return Entity(name=name, join_keys=[f"{name}_id"], description=description)


def view(name: str, features: Sequence[tuple[str, FeastType]] = (("fare", Float64),)) -> FeatureView:
    """Returns a feature view of an entity that is named ``driver``."""
    return FeatureView(
        name=name,
        entities=[entity("driver")],
        source=FileSource(name="trips", path="trips.parquet", timestamp_field="at"),
        schema=[Field(name="driver_id", dtype=Int64), *(Field(name=n, dtype=t) for n, t in features)],
    )


def entry(view_name: str, start: datetime, end: datetime, fingerprint: str = "f", version: int = 1) -> LedgerEntry:
    """Returns a ledger entry."""
    return LedgerEntry(
        view=view_name,
        window=Window(start, end),
        fingerprint=fingerprint,
        version=version,
        definition_hash="d",
        rows=7,
        written=5,
        at=datetime(2024, 6, 1, 12, 30, 0, 123456, tzinfo=UTC),
        run_id="run",
    )


def record(registry: Registry, *entries: LedgerEntry) -> list[LedgerEntry]:
    """Claims and settles windows of one view; returns the entries with the versions that they were given."""
    contents = [WindowContent(e.window, e.fingerprint, e.definition_hash) for e in entries]
    claim = registry.claim(entries[0].view, contents, run_id="run")
    settled = [replace(e, version=v) for e, v in zip(entries, claim.versions, strict=True)]
    registry.settle(claim, settled)
    return settled


def commit(registry: Registry, *upserts: Definition, deletes: Sequence[tuple[str, str]] = ()) -> int:
    """Commits without looking at what is there."""
    return registry.commit(Changes(upserts, deletes))
