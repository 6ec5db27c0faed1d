"""What every registry must do, as tests; `feast_assets.testing.registry` says how a backend uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from feast_assets.registry.base import (
    Registry,
)
from feast_assets.testing.registry.concurrency import Concurrency
from feast_assets.testing.registry.ledger import Ledger
from feast_assets.testing.registry.objects import DAY, FIRST, RegistryFactory, commit, entity, entry, record, view
from feast_assets.testing.registry.revisions import Revisions


class RegistryConformance(Revisions, Ledger, Concurrency):
    """What every registry must do. Subclasses give `registry_factory`."""

    @pytest.fixture
    def registry_factory(self) -> RegistryFactory:
        raise NotImplementedError("Define the fixture registry_factory in the subclass.")

    @pytest.fixture
    def registry(self, registry_factory: RegistryFactory) -> Iterator[Registry]:
        """A handle on an empty registry."""
        registry = registry_factory("shop")
        yield registry
        registry.close()

    def test_teardown_removes_everything_and_may_be_repeated(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        commit(registry, view("trips"))
        record(registry, entry("trips", FIRST, FIRST + DAY))
        registry.teardown()
        registry.teardown()
        assert registry.revision() == 0
        assert registry.revisions() == []
        assert registry.snapshot().objects() == []
        assert registry.ledger("trips") == []
        assert registry.snapshot().feature_lists("trips") == ()
        assert commit(registry, entity("driver")) == 1

    def test_teardown_of_nothing_is_no_error(self, registry: Registry) -> None:
        registry.teardown()
        assert registry.revision() == 0

    def test_a_closed_registry_can_be_used_again(self, registry: Registry) -> None:
        commit(registry, entity("driver"))
        registry.close()
        registry.close()
        assert registry.snapshot().entity("driver").name == "driver"
