"""What every registry backend must do, as tests: one suite for all, and one for each ability.

A backend's test module subclasses the suites of what it can do, and says how a registry is made::

    class TestMyRegistry(RegistryConformance, KeepsMarksConformance, NotesPushesConformance):
        @pytest.fixture
        def registry_factory(self, tmp_path):
            return functools.partial(MyRegistry, MyRegistryConfig(...), tmp_path)

The factory takes a project's name, and makes a new handle on the same registry each time it is called. It must pickle
(an importable class or function, or a ``functools.partial`` of one), because tests hand it to other processes. Each
test needs an empty registry of its own.
"""

from __future__ import annotations

from feast_assets.testing.registry.conformance import RegistryConformance as RegistryConformance
from feast_assets.testing.registry.keeps_checkpoints import KeepsCheckpointsConformance as KeepsCheckpointsConformance
from feast_assets.testing.registry.keeps_marks import KeepsMarksConformance as KeepsMarksConformance
from feast_assets.testing.registry.keeps_part_statistics import (
    KeepsPartStatisticsConformance as KeepsPartStatisticsConformance,
)
from feast_assets.testing.registry.notes_pushes import NotesPushesConformance as NotesPushesConformance
from feast_assets.testing.registry.objects import DAY as DAY
from feast_assets.testing.registry.objects import FIRST as FIRST
from feast_assets.testing.registry.objects import RegistryFactory as RegistryFactory
from feast_assets.testing.registry.objects import commit as commit
from feast_assets.testing.registry.objects import entity as entity
from feast_assets.testing.registry.objects import entry as entry
from feast_assets.testing.registry.objects import record as record
from feast_assets.testing.registry.objects import view as view
