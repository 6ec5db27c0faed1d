"""What a result gives belongs to the caller: changing one value changes no other row, result or stored value."""

from __future__ import annotations

import pytest
from drivers import DAY, DRIVER, NOW, PROFILE, snapshot

from feast_assets import Array, FeatureView, Field, FileSource, Int64, Json, Map, OnDemandFeatureView, Set, Struct
from feast_assets.definitions.sources.request_source import RequestSource

ROW = {
    "driver_id": 1,
    "ts": NOW - DAY,
    "numbers": [1, 2],
    "nested": [[1], [2]],
    "names": '{"a":[1]}',
    "choices": [1, 2],
    "pair": {"n": 1},
    "text": "[1]",
}
SHAPES = FeatureView(
    name="shapes",
    entities=[DRIVER],
    source=FileSource(name="shapes_file", path="shapes.parquet", timestamp_field="ts"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="numbers", dtype=Array(Int64)),
        Field(name="nested", dtype=Array(Array(Int64))),
        Field(name="names", dtype=Map),
        Field(name="choices", dtype=Set(Int64)),
        Field(name="pair", dtype=Struct({"n": Int64})),
        Field(name="text", dtype=Json),
    ],
)
REFERENCES = [f"shapes:{f.name}" for f in SHAPES.features]


def changed(value):
    if isinstance(value, dict):
        value["more"] = 1
    elif isinstance(value, set):
        value.add(99)
    else:
        value.append(99)


@pytest.mark.parametrize("feature", [f.name for f in SHAPES.features])
@pytest.mark.parametrize("ids", [[1, 1, 1], [1, 1, 1, 1, 2, 2, 2], [2, 2, 1, 1, 1, 9, 9]])
def test_rows_of_one_entity_share_no_list_or_dict(project, feature, ids):
    other = {**ROW, "driver_id": 2}
    project.put(SHAPES, ROW, other)
    response = project.read(REFERENCES, {"driver_id": ids}, snapshot(SHAPES))
    untouched = response.to_dict()[feature]
    found = response.to_dict()[feature]
    row = ids.index(1)
    changed(found[row])
    assert [value for place, value in enumerate(found) if place != row] == [
        value for place, value in enumerate(untouched) if place != row
    ]
    assert response.to_dict()[feature] == untouched


def test_what_a_function_changes_in_place_stays_in_it(project):
    seen = []

    def greedy(inputs):
        seen.append([list(values) for values in inputs["numbers"]])
        for values in (*inputs["numbers"], *inputs["asked"]):
            values.append(99)
        return {"all": inputs["numbers"]}

    def view(name):
        return OnDemandFeatureView(
            name=name,
            sources=[SHAPES, RequestSource(name="request", schema=[Field(name="asked", dtype=Array(Int64))])],
            schema=[Field(name="all", dtype=Array(Int64))],
            udf=greedy,
            mode="python",
        )

    project.put(SHAPES, ROW)
    one, other = view("one"), view("other")
    asked = [[5], [5], [5]]
    references = ["one:all", "other:all", "shapes:numbers"]
    response = project.read(
        references,
        {"driver_id": [1, 1, 1], "asked": asked},
        snapshot(SHAPES, one, other),
        full_feature_names=True,
    )
    assert seen == [[[1, 2]] * 3] * 2
    assert asked == [[5], [5], [5]]
    assert response.to_dict()["shapes__numbers"] == [[1, 2]] * 3
    first = response.to_dict()["one__all"]
    assert first == [[1, 2, 99]] * 3
    first[0].append(7)
    assert first[1] == [1, 2, 99]
    assert response.to_dict()["one__all"] == [[1, 2, 99]] * 3


def test_lists_of_a_profile_are_separate_too(project):
    project.put(PROFILE, {"driver_id": 1, "ts": NOW - DAY, "badges": ["a"], "extra": "{}"})
    found = project.read(["profile:badges"], [{"driver_id": 1}] * 5).to_dict()["badges"]
    found[0].append("b")
    assert found[1:] == [["a"]] * 4
