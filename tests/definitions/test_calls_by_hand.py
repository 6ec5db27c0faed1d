"""On-demand functions that users call by hand, as Feast's methods do."""

from __future__ import annotations

import pyarrow as pa
import pytest

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    OnDemandFeatureView,
    RequestSource,
    Transformation,
    TransformationMode,
    ValueType,
)
from feast_assets.errors import DefinitionError, InputError

SOURCE = FileSource(name="file", path="stats.parquet", timestamp_field="ts")
STATS = FeatureView(
    name="stats",
    entities=[Entity(name="driver", join_keys=["driver_id"])],
    source=SOURCE,
    schema=[Field(name="x", dtype=Int64)],
)
REQUEST = RequestSource(name="request", schema=[Field(name="y", dtype=Float64)])


def lists(inputs):
    return {"sum": [x + y for x, y in zip(inputs["stats__x"], inputs["y"], strict=True)]}


def row(inputs):
    return {"sum": inputs["x"] + inputs["y"]}


def frame(inputs):
    return inputs[["x"]].assign(sum=inputs["x"] + inputs["y"])


def view(udf, mode="python", **changes):
    return OnDemandFeatureView(
        name="sums", sources=[STATS, REQUEST], schema=[Field(name="sum", dtype=Float64)], udf=udf, mode=mode, **changes
    )


@pytest.mark.parametrize("name", ["x", "stats__x"])
def test_a_dict_is_transformed_with_bare_and_with_full_names(name):
    given = {name: [1, 2], "y": [0.5, 1.5]}
    assert view(lists).transform_dict(given) == {**given, "sum": [1.5, 3.5]}
    assert given.keys() == {name, "y"}, "what was given is left as it was"
    assert view(row, singleton=True).transform_dict({name: [1], "y": [0.5]}) == {name: 1, "y": 0.5, "sum": 1.5}


def test_a_table_is_transformed_as_the_mode_takes_it():
    table = pa.table({"stats__x": [1, 2], "y": [0.5, 1.5]})
    assert view(lists).transform_arrow(table).to_pydict() == {"sum": [1.5, 3.5]}
    assert view(lists).transform_arrow(table, full_feature_names=True).column_names == ["sums__sum"]
    # The function returned a name that was only added for it.
    assert view(frame, "pandas").transform_arrow(table).to_pydict() == {"sum": [1.5, 3.5]}
    with pytest.raises(InputError, match="takes an Arrow table"):
        view(lists).transform_arrow({"x": [1]})


def test_a_function_is_called_with_its_mode():
    assert Transformation("python", lists).transform({"stats__x": [1], "y": [2]})["sum"] == [3]
    assert Transformation("pandas", lambda frame: frame * 2).transform(3) == 6
    assert Transformation("python", row).transform_singleton({"x": [1], "y": [2]}) == {"x": 1, "y": 2, "sum": 3}


def test_a_view_read_from_a_registry_has_no_function_to_call():
    read = OnDemandFeatureView.from_spec(view(lists).to_spec())
    with pytest.raises(DefinitionError, match="take it from the module that declares it"):
        read.transform_dict({"x": [1], "y": [1.0]})


def test_a_view_tells_its_function_and_what_a_request_brings():
    sums = view(lists)
    assert sums.get_request_data_schema() == {"y": ValueType.DOUBLE}
    assert sums.get_feature_transformation().udf is lists
    assert "def lists" in sums.udf_string
    batch = BatchFeatureView(
        name="batch", source=SOURCE, schema=[Field(name="x", dtype=Int64)], mode="pandas", udf=frame
    )
    assert (batch.mode, batch.udf, batch.timestamp_field) == (TransformationMode.PANDAS, frame, "ts")
    assert batch.get_feature_transformation().udf_string == batch.udf_string
