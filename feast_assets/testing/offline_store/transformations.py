"""What an offline store that runs transformations does, as tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from feast_assets.definitions.transformation import Transformation, TransformationMode
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import TransformationError
from feast_assets.offline_stores.abilities import CanProfile, RunsTransformations
from feast_assets.offline_stores.base import History, OfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store.cases import Put, StoreFixtures, by_driver, history, hour, joined, spine, trips


class RunsTransformationsConformance(StoreFixtures):
    """The contract of `RunsTransformations` as tests; for stores that run functions of mode ``python``."""

    @pytest.fixture(autouse=True)
    def _runs_python(self, store: OfflineStore) -> None:
        assert isinstance(store, RunsTransformations)
        assert TransformationMode.PYTHON in store.modes

    def test_a_transformation_computes_the_rows(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b")]))

        def double(rows: dict[str, list[Any]]) -> dict[str, list[object]]:
            return {**rows, "fare": [v * 2 for v in rows["fare"]]}

        computed = history(source, transformation=Transformation("python", double))
        assert by_driver(store.latest(computed, [ALWAYS]))[1]["fare"] == 4.0
        table = joined(store, spine([(1, hour(1.5))]), [PointInTimeJoin(computed, {}, {})])
        assert table["fare"].to_pylist() == [2.0]

    def test_a_transformation_sees_the_lookback_and_its_result_is_cut_to_the_window(
        self, store: OfflineStore, put: Put
    ) -> None:
        source = put(trips([(i, hour(i), float(i), "") for i in range(6)]))
        seen: list[list[object]] = []

        def spy(rows: dict[str, list[Any]]) -> dict[str, list[object]]:
            seen.append(sorted(rows["driver"]))
            return rows

        computed = history(source, transformation=Transformation("python", spy), lookback=timedelta(hours=2))
        table = store.scan(computed, Window(hour(3), hour(5))).read_all()
        assert seen == [[1, 2, 3, 4]]
        assert sorted(table["driver"].to_pylist()) == [3, 4]

    def test_statistics_of_a_transformation_are_of_its_inputs(self, store: OfflineStore, put: Put) -> None:
        rows = [(i, hour(i), float(i), "") for i in range(6)]
        windows = [Window(hour(3), hour(5)), Window(hour(5), hour(7))]

        def computed(rows: Sequence[tuple[object, ...]]) -> History:
            return history(
                put(trips(rows)), transformation=Transformation("python", dict), lookback=timedelta(hours=2)
            ).with_features(["fare"])

        first, second = store.statistics(computed(rows), windows)
        assert (first.rows, second.rows) == (4, 3)
        # Row 1 is in the lookback of the first window only; column city is no feature, but the function may use it.
        changed = store.statistics(computed([rows[0], (1, hour(1), 1.0, "changed"), *rows[2:]]), windows)
        assert changed[0].fingerprint != first.fingerprint
        assert changed[1].fingerprint == second.fingerprint

    def test_the_oldest_event_of_a_transformation_is_that_of_its_inputs(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(None, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b")]))
        computed = history(source, transformation=Transformation("python", lambda rows: rows))
        assert store.oldest_event(computed) == store.statistics(computed, [ALWAYS])[0].oldest_event == hour(1)

    def test_profiles_of_a_transformation_are_of_its_result(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (1, hour(2), 2.0, "b")]))
        calls = []

        def double(rows: dict[str, list[Any]]) -> dict[str, list[object]]:
            calls.append(1)
            return {**rows, "fare": [v * 2 for v in rows["fare"]]}

        computed = history(source, transformation=Transformation("python", double))
        if not isinstance(store, CanProfile):
            pytest.skip("The store does not profile.")
        first, second = store.profile(computed, [Window(hour(0), hour(1)), Window(hour(2), hour(3))])
        assert (first.columns["fare"].maximum, second.columns["fare"].maximum, len(calls)) == (2.0, 4.0, 1)

    def test_failures_of_a_transformation_name_the_view(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a")]))

        def fails(rows: object) -> object:
            raise KeyError("fair")

        def forgets(rows: dict[str, list[object]]) -> dict[str, list[object]]:
            return {"driver": rows["driver"], "fair": rows["fare"], **{k: rows[k] for k in ("city", "event_timestamp")}}

        with pytest.raises(TransformationError, match=r"'trips'.*KeyError") as caught:
            store.latest(history(source, transformation=Transformation("python", fails)), [ALWAYS])
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(TransformationError, match=r"'trips'.*'fare'.*'fair'"):
            store.latest(history(source, transformation=Transformation("python", forgets)), [ALWAYS])
        unloaded = Transformation.from_spec(Transformation("python", fails).to_spec())
        with pytest.raises(TransformationError, match="importable"):
            store.latest(history(source, transformation=unloaded), [ALWAYS])
