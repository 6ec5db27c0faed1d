"""Suite of the ability to keep how far streams have been consumed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from feast_assets.registry.checkpoints import Checkpoint, KeepsCheckpoints
from feast_assets.testing.registry.objects import RegistryFactory
from feast_assets.testing.registry.processes import in_processes

_AT = datetime(2024, 6, 1, 12, 0, 0, 1, tzinfo=UTC)


def _checkpoint(position: int, *, reader: str = "view a", partition: str = "0", identity: str = "first") -> Checkpoint:
    return Checkpoint(reader, "rides", partition, identity, position, _AT)


def _keep_many(factory: RegistryFactory, worker: int, count: int) -> None:
    registry = factory("shop")
    assert isinstance(registry, KeepsCheckpoints)
    for i in range(count):
        registry.keep_checkpoints(
            [_checkpoint(i * 10 + worker), _checkpoint(i, reader=f"view {worker}"), _checkpoint(i, partition="1")]
        )
    registry.close()


class KeepsCheckpointsConformance:
    """What a registry that keeps checkpoints must do. Subclasses give `registry_factory`."""

    @pytest.fixture
    def keeper(self, registry_factory: RegistryFactory) -> Iterator[KeepsCheckpoints]:
        """A handle on an empty registry."""
        registry = registry_factory("shop")
        assert isinstance(registry, KeepsCheckpoints)
        yield registry
        registry.close()

    def test_nothing_is_kept_in_a_new_registry(self, keeper: KeepsCheckpoints) -> None:
        assert keeper.checkpoints("rides") == []
        keeper.forget_checkpoints("rides", ["view a"])

    def test_checkpoints_come_back_as_they_were(
        self, keeper: KeepsCheckpoints, registry_factory: RegistryFactory
    ) -> None:
        given = [
            _checkpoint(0),
            _checkpoint(2**70, partition="shardId-000000000001"),
            _checkpoint(3, reader="view b", partition="trips-2024.jsonl"),
        ]
        keeper.keep_checkpoints(given[::-1])
        another = registry_factory("shop")
        assert isinstance(another, KeepsCheckpoints)
        assert another.checkpoints("rides") == given
        assert another.checkpoints("other") == []
        another.close()

    def test_a_checkpoint_only_moves_forwards(self, keeper: KeepsCheckpoints) -> None:
        keeper.keep_checkpoints([_checkpoint(9), _checkpoint(5, partition="1")])
        keeper.keep_checkpoints([_checkpoint(8), _checkpoint(10, partition="1")])
        assert [each.position for each in keeper.checkpoints("rides")] == [9, 10]

    def test_positions_compare_as_numbers(self, keeper: KeepsCheckpoints) -> None:
        for position in (9, 10, 2**70):
            keeper.keep_checkpoints([_checkpoint(position)])
            assert [each.position for each in keeper.checkpoints("rides")] == [position]

    def test_another_stream_of_the_name_begins_anew(self, keeper: KeepsCheckpoints) -> None:
        keeper.keep_checkpoints([_checkpoint(9)])
        keeper.keep_checkpoints([_checkpoint(2, identity="second")])
        assert [(each.identity, each.position) for each in keeper.checkpoints("rides")] == [("second", 2)]

    def test_the_checkpoints_of_a_reader_are_forgotten(self, keeper: KeepsCheckpoints) -> None:
        keeper.keep_checkpoints([_checkpoint(9), _checkpoint(9, partition="1"), _checkpoint(4, reader="view b")])
        keeper.forget_checkpoints("rides", ["view a", "view c"])
        assert [(each.reader, each.position) for each in keeper.checkpoints("rides")] == [("view b", 4)]

    def test_processes_that_keep_at_once_lose_nothing(
        self, keeper: KeepsCheckpoints, registry_factory: RegistryFactory
    ) -> None:
        in_processes(_keep_many, [(registry_factory, worker, 10) for worker in range(3)])
        kept = {(each.reader, each.partition): each.position for each in keeper.checkpoints("rides")}
        assert kept == {
            ("view a", "0"): 92,
            ("view a", "1"): 9,
            **{(f"view {worker}", "0"): 9 for worker in range(3)},
        }
