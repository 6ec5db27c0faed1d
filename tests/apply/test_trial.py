"""On-demand functions are tried at apply: what is wrong shows there, and what is left out is inferred."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    Array,
    Bool,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    Map,
    OnDemandFeatureView,
    RepoConfig,
    RequestSource,
    Set,
    String,
    Struct,
    Transformation,
    UnixTimestamp,
    ValueType,
)
from feast_assets.apply.trial import sample_value
from feast_assets.errors import (
    DefinitionError,
    RegistryInferenceFailure,
    SpecifiedFeaturesNotPresentError,
    TransformationError,
)
from feast_assets.types.feast_type import PRIMITIVES
from feast_assets.types.python import to_arrow_column, to_python_values

REQUEST = RequestSource(name="request", schema=[Field(name="extra", dtype=Float64)])
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    rows = {
        "driver_id": pa.array([1], pa.int64()),
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "fare": [2.5],
        "city": ["Bern"],
    }
    pq.write_table(pa.table(rows), tmp_path / "trips.parquet")
    return FeatureStore(tmp_path, RepoConfig(project="shop", registry="registry.db"))


TRIPS = FeatureView(
    name="trips",
    entities=[DRIVER],
    source=FileSource(name="trips_source", path="trips.parquet", timestamp_field="at"),
    schema=[Field(name="fare", dtype=Float64), Field(name="city", dtype=String)],
)


def view(udf: Callable[..., Any], mode: str = "python", **arguments: Any) -> OnDemandFeatureView:
    arguments = {"schema": [Field(name="total", dtype=Float64)], "sources": [TRIPS, REQUEST], **arguments}
    return OnDemandFeatureView(name="totals", udf=udf, mode=mode, **arguments)


def total(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"total": [a + b for a, b in zip(inputs["fare"], inputs["extra"], strict=True)]}


def test_a_function_that_does_what_is_declared_is_registered(store: FeatureStore) -> None:
    store.apply([DRIVER, TRIPS, view(total)])
    assert [f.name for f in store.get_on_demand_feature_view("totals").features] == ["total"]


@pytest.mark.parametrize(
    ("function", "mode", "error", "message"),
    [
        (lambda i: {"sum": i["fare"]}, "python", SpecifiedFeaturesNotPresentError, "did not return feature 'total'"),
        (lambda i: {"total": i["city"]}, "python", SpecifiedFeaturesNotPresentError, "'total'.*Float64"),
        (lambda i: i.assign(total="x"), "pandas", SpecifiedFeaturesNotPresentError, "'total'.*Float64"),
        (lambda i: i[["fare"]], "pandas", SpecifiedFeaturesNotPresentError, "did not return feature 'total'"),
        (lambda i: {"total": i["fair"]}, "python", TransformationError, "KeyError: 'fair'. Did you mean 'fare'"),
        (lambda i: {"total": [1 / 0]}, "python", TransformationError, "ZeroDivisionError"),
        (lambda i: [1.0], "python", SpecifiedFeaturesNotPresentError, "should return a dict of lists, not list"),
        (
            lambda i: {"total": [1.0, 2.0]},
            "python",
            SpecifiedFeaturesNotPresentError,
            "returned 2 values .* for 1 rows",
        ),
    ],
)
def test_what_is_wrong_with_a_function_is_an_error_of_apply(
    store: FeatureStore, function: Callable[..., Any], mode: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"(?s)'totals'.*{message}.*fare=1.0.*skip_feature_view_validation=True"):
        store.apply([DRIVER, TRIPS, view(function, mode)])
    assert store.list_all_feature_views() == []


def test_a_function_is_not_tried_where_that_is_not_wanted(store: FeatureStore) -> None:
    store.apply([DRIVER, TRIPS, view(lambda i: 1 / 0)], skip_feature_view_validation=True)
    assert [v.name for v in store.list_on_demand_feature_views()] == ["totals"]


def test_an_unchanged_view_is_not_tried_again(store: FeatureStore) -> None:
    calls: list[int] = []

    def counted(inputs: dict[str, Any]) -> dict[str, Any]:
        calls.append(1)
        return total(inputs)

    store.apply([DRIVER, TRIPS, view(counted)])
    assert len(calls) == 1
    store.apply([DRIVER, TRIPS, view(counted)])
    assert len(calls) == 1


def sums_frame(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {"total": inputs["fare"] + inputs["extra"], "long": inputs["city"].str.len() > 3, "name": inputs["city"]}
    )


def sums_lists(inputs: dict[str, Any]) -> dict[str, Any]:
    return {**total(inputs), "long": [len(c) > 3 for c in inputs["city"]], "name": list(inputs["city"])}


def sums_row(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"total": inputs["fare"] + inputs["extra"], "long": len(inputs["city"]) > 3, "name": inputs["city"]}


@pytest.mark.parametrize(
    ("function", "mode", "singleton"),
    [(sums_frame, "pandas", False), (sums_lists, "python", False), (sums_row, "python", True)],
)
def test_features_that_are_left_out_are_inferred_and_served(
    store: FeatureStore, function: Callable[..., Any], mode: str, singleton: bool
) -> None:
    on_demand = view(function, mode, schema=None, singleton=singleton)
    store.apply([DRIVER, TRIPS, on_demand, FeatureService(name="all", features=[on_demand])])
    inferred = {f.name: f.dtype for f in store.get_on_demand_feature_view("totals").features}
    assert inferred == {"total": Float64, "long": Bool, "name": String}
    store.materialize_incremental(datetime(2024, 2, 1, tzinfo=UTC))
    rows = store.get_online_features(store.get_feature_service("all"), [{"driver_id": 1, "extra": 1.0}]).to_dict()
    assert rows == {"driver_id": [1], "total": [3.5], "long": [True], "name": ["Bern"]}


def test_features_cannot_be_inferred_from_a_function_that_is_not_tried(store: FeatureStore) -> None:
    with pytest.raises(RegistryInferenceFailure, match="needs a schema"):
        store.apply([DRIVER, TRIPS, view(total, schema=None)], skip_feature_view_validation=True)


def test_a_type_that_cannot_be_told_must_be_declared(store: FeatureStore) -> None:
    with pytest.raises(TransformationError, match="returned 'total', whose type cannot be told"):
        store.apply([DRIVER, TRIPS, view(lambda i: {"total": [None]}, schema=None)])


@pytest.mark.parametrize(
    "dtype",
    [
        *PRIMITIVES.values(),
        Array(Int64),
        Array(Array(String)),
        Set(UnixTimestamp),
        Set(Array(Int64)),
        Struct({"a": Int64, "b": Array(Map)}),
    ],
    ids=str,
)
def test_there_is_a_sample_of_every_type(dtype: Any) -> None:
    column = to_arrow_column([sample_value(dtype)], dtype, "Sample")
    assert to_python_values(column, dtype) == [sample_value(dtype)]


def test_a_mode_beside_a_transformation_of_another_mode_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"mode is 'python', but its feature_transformation has mode 'pandas'"):
        OnDemandFeatureView(
            name="totals",
            sources=[REQUEST],
            mode="python",
            feature_transformation=Transformation("pandas", sums_frame),
        )
