"""Suite of the ability to keep what was read of the parts of sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from feast_assets.registry.part_statistics import KeepsPartStatistics
from feast_assets.testing.registry.objects import RegistryFactory
from feast_assets.testing.registry.processes import in_processes


def _keep_many(factory: RegistryFactory, worker: int, count: int) -> None:
    registry = factory("shop")
    assert isinstance(registry, KeepsPartStatistics)
    for i in range(count):
        registry.keep_part_statistics("digest", "trips", f"{worker}-{i}".encode())
    registry.close()


class KeepsPartStatisticsConformance:
    """What a registry that keeps part statistics must do. Subclasses give `registry_factory`."""

    @pytest.fixture
    def keeper(self, registry_factory: RegistryFactory) -> Iterator[KeepsPartStatistics]:
        """A handle on an empty registry."""
        registry = registry_factory("shop")
        assert isinstance(registry, KeepsPartStatistics)
        yield registry
        registry.close()

    def test_nothing_is_kept_in_a_new_registry(self, keeper: KeepsPartStatistics) -> None:
        assert keeper.part_statistics("digest") == []
        keeper.forget_part_statistics("digest")

    @pytest.mark.parametrize("size", [0, 1, 9_000_000])
    def test_segments_come_back_as_they_were_in_order(
        self, keeper: KeepsPartStatistics, registry_factory: RegistryFactory, size: int
    ) -> None:
        contents = [bytes([i]) * size for i in range(3)]
        for content in contents:
            keeper.keep_part_statistics("digest", "trips", content)
        keeper.keep_part_statistics("other digest", "trips", b"other")
        another = registry_factory("shop")
        assert isinstance(another, KeepsPartStatistics)
        kept = another.part_statistics("digest")
        assert [segment.content for segment in kept] == contents
        assert [segment.number for segment in kept] == sorted({segment.number for segment in kept})
        assert [segment.content for segment in another.part_statistics("other digest")] == [b"other"]
        another.close()

    def test_a_segment_takes_the_place_of_others(self, keeper: KeepsPartStatistics) -> None:
        for content in (b"a", b"b", b"c"):
            keeper.keep_part_statistics("digest", "trips", content)
        first, second, _ = keeper.part_statistics("digest")
        keeper.keep_part_statistics("digest", "trips", b"ab", instead_of=[first.number, second.number])
        assert [segment.content for segment in keeper.part_statistics("digest")] == [b"c", b"ab"]
        keeper.keep_part_statistics("digest", "trips", b"d", instead_of=[first.number])
        assert [segment.content for segment in keeper.part_statistics("digest")] == [b"c", b"ab", b"d"]

    def test_what_is_kept_is_forgotten_by_digest_and_with_the_project(
        self, keeper: KeepsPartStatistics, registry_factory: RegistryFactory
    ) -> None:
        other = registry_factory("other shop")
        assert isinstance(other, KeepsPartStatistics)
        for registry in (keeper, other):
            for digest in ("one", "two"):
                registry.keep_part_statistics(digest, "trips", b"content")
        keeper.forget_part_statistics("one")
        assert keeper.part_statistics("one") == []
        assert len(keeper.part_statistics("two")) == 1
        torn_down = registry_factory("shop")
        torn_down.teardown()
        assert keeper.part_statistics("two") == []
        assert len(other.part_statistics("one")) == 1
        torn_down.close()
        other.close()

    def test_several_processes_keep_segments_at_once(
        self, keeper: KeepsPartStatistics, registry_factory: RegistryFactory
    ) -> None:
        keeper.keep_part_statistics("digest", "trips", b"first")
        in_processes(_keep_many, [(registry_factory, worker, 5) for worker in range(2)])
        kept = keeper.part_statistics("digest")
        written = sorted(f"{worker}-{i}".encode() for worker in range(2) for i in range(5))
        assert sorted(segment.content for segment in kept) == sorted([b"first", *written])
        assert len({segment.number for segment in kept}) == 11
