"""Integers keep every digit in pandas, and a column has one type whoever else is in the request."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import (
    Array,
    BatchFeatureView,
    Bool,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int32,
    Int64,
    OnDemandFeatureView,
    RequestSource,
    SavedDatasetFileStorage,
    Struct,
)
from feast_assets.errors import TransformationError
from feast_assets.types.arrow import to_arrow_type
from feast_assets.types.pandas_columns import exact_column, exact_frame, frame_of

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 1, 2, tzinfo=UTC)
BIG = 2**53 + 1
FEATURES = {"big": Int64, "small": Int32, "flag": Bool, "many": Array(Int64), "pair": Struct({"n": Int64})}
VALUES = {
    "big": [BIG, None, -BIG],
    "small": [1, None, 2],
    "flag": [True, None, False],
    "many": [[BIG, None], [BIG], None],
    "pair": [{"n": BIG}, {"n": None}, None],
}
REFERENCES = [f"v:{name}" for name in FEATURES]


def _same(frame):
    return pd.DataFrame({"seen": frame["big"] + 0, "asked": frame["request"]})


SEEN = OnDemandFeatureView(
    name="seen",
    sources=[
        FeatureView(name="v", entities=[Entity(name="e", join_keys=["id"])], schema=[Field(name="big", dtype=Int64)]),
        RequestSource(name="given", schema=[Field(name="request", dtype=Int64)]),
    ],
    schema=[Field(name="seen", dtype=Int64), Field(name="asked", dtype=Int64)],
    udf=_same,
    mode="pandas",
)


@pytest.fixture
def store(tmp_path):
    columns = {name: pa.array(VALUES[name], to_arrow_type(dtype)) for name, dtype in FEATURES.items()}
    rows = pa.table({"id": [1, 2, 3], "ts": pa.array([NOON] * 3), **columns})
    pq.write_table(rows, tmp_path / "s.parquet")
    (tmp_path / "feature_store.yaml").write_text("project: p\nregistry: registry.db\nonline_store: sqlite\n")
    store = FeatureStore(tmp_path)
    entity = Entity(name="e", join_keys=["id"])
    view = FeatureView(
        name="v",
        entities=[entity],
        schema=[Field(name="id", dtype=Int64), *(Field(name=n, dtype=t) for n, t in FEATURES.items())],
        source=FileSource(name="s", path="s.parquet", timestamp_field="ts"),
    )
    store.apply([entity, view, SEEN])
    store.materialize_incremental(LATER)
    return store


def entities(*ids, **columns):
    return pd.DataFrame({"id": ids, "event_timestamp": [LATER] * len(ids), **columns})


def online(store, *ids):
    return store.get_online_features(REFERENCES, {"id": list(ids)}).to_df()


def history(store, *ids):
    return store.get_historical_features(entities(*ids), REFERENCES).to_df().drop(columns="event_timestamp")


def plain(values):
    """Returns the values of a column as Python has them, None for missing ones."""
    return [
        value.tolist() if isinstance(value, np.ndarray) else None if value is None or value is pd.NA else value
        for value in values
    ]


@pytest.mark.parametrize("read", [online, history])
def test_no_digit_is_lost_beside_a_missing_value(store, read):
    frame = read(store, 1, 2, 3)
    assert {name: plain(frame[name]) for name in FEATURES} == VALUES
    assert frame["id"].dtype == np.int64


@pytest.mark.parametrize("read", [online, history])
def test_a_type_does_not_depend_on_the_other_entities_of_the_request(store, read):
    wanted = {"big": "Int64", "small": "Int32", "flag": "boolean", "many": "object", "pair": "object"}
    for ids in ([1], [3], [2], [9], [1, 2, 3, 9]):
        assert read(store, *ids)[list(wanted)].dtypes.astype(str).to_dict() == wanted
    cells = read(store, 2, 3)["many"][0], read(store, 1, 2)["many"][1]
    if read is online:
        assert [{*map(type, cell)} for cell in cells] == [{int}, {int}]
    else:
        assert [cell.dtype for cell in cells] == [np.int64, np.int64]


def test_an_on_demand_function_sees_the_same_integers_online_and_in_history(store):
    references = ["seen:seen", "seen:asked"]
    asked = [BIG, None, BIG]
    served = store.get_online_features(references, {"id": [1, 2, 3], "request": asked}).to_dict()
    table = pa.Table.from_pandas(entities(1, 2, 3)).append_column("request", pa.array(asked))
    trained = store.get_historical_features(table, references).to_arrow().to_pydict()
    assert served["seen"] == trained["seen"] == VALUES["big"]
    assert served["asked"] == trained["asked"] == asked


def test_a_function_that_does_not_expect_missing_integers_is_told_what_to_do(store):
    def doubled(frame):
        return pd.DataFrame({"seen": np.where(frame["big"] > 0, 1, 0), "asked": frame["request"]})

    view = OnDemandFeatureView(
        name="doubled",
        sources=[SEEN.source_projections[0], SEEN.request_sources[0]],
        schema=SEEN.features,
        udf=doubled,
        mode="pandas",
    )
    store.apply(view)
    assert store.get_online_features(["doubled:seen"], [{"id": 1, "request": 1}]).to_dict()["seen"] == [1]
    with pytest.raises(TransformationError, match=r"fillna.*astype\('float64'\)"):
        store.get_online_features(["doubled:seen"], [{"id": 2, "request": 1}])


def test_a_saved_dataset_has_the_types_of_the_retrieval(store):
    for full in (False, True):
        job = store.get_historical_features(entities(1, 2), REFERENCES[:3], full_feature_names=full)
        storage = SavedDatasetFileStorage(path=f"saved_{full}.parquet")
        saved = store.create_saved_dataset(job, f"saved_{full}", storage)
        pd.testing.assert_frame_equal(saved.to_df(), job.to_df())


def test_a_batch_view_computes_the_same_whatever_rows_come_together(tmp_path):
    def kept(frame):
        assert str(frame["big"].dtype) == "Int64"
        return frame[["id", "ts", "big"]]

    rows = pa.table({"id": [1, 2], "ts": pa.array([NOON, LATER]), "big": pa.array([BIG, None], pa.int64())})
    pq.write_table(rows, tmp_path / "s.parquet")
    (tmp_path / "feature_store.yaml").write_text("project: p\nregistry: registry.db\nonline_store: sqlite\n")
    store = FeatureStore(tmp_path)
    entity = Entity(name="e", join_keys=["id"])
    view = BatchFeatureView(
        name="v",
        entities=[entity],
        schema=[Field(name="id", dtype=Int64), Field(name="big", dtype=Int64)],
        source=FileSource(name="s", path="s.parquet", timestamp_field="ts"),
        udf=kept,
        mode="pandas",
        online=True,
    )
    store.apply([entity, view])
    store.materialize_incremental(datetime(2024, 1, 3, tzinfo=UTC))
    assert store.get_online_features(["v:big"], {"id": [1, 2]}).to_dict()["big"] == [BIG, None]


def test_integers_of_the_entity_rows_keep_their_digits_too(store):
    given = pa.Table.from_pandas(entities(1, 2)).append_column("label", pa.array([BIG, None], pa.int64()))
    frame = store.get_historical_features(given, ["v:big"]).to_df()
    assert plain(frame["label"]) == [BIG, None]
    assert frame["id"].dtype == np.int64


integers = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(integers), st.lists(st.one_of(st.none(), st.booleans())), st.integers(0, 3), st.integers(1, 3))
def test_any_slice_of_any_integers_and_booleans_is_exact(numbers, booleans, start, pieces):
    for values, kind in ((numbers, pa.int64()), (booleans, pa.bool_())):
        whole = pa.array(values, kind).slice(start)
        chunked = pa.chunked_array([whole] * pieces, kind)
        assert plain(pd.Series(exact_column(whole))) == values[start:]
        frame = exact_frame(pa.table({"n": chunked, "f": pa.nulls(len(chunked), pa.float64())}))
        assert plain(frame["n"]) == values[start:] * pieces


def test_what_comes_out_may_be_written_to():
    frame = frame_of(pa.table({"id": [1, 2], "n": [3, 4], "b": [True, None]}), {"n", "b"})
    frame.loc[0, "n"] = 9
    frame.loc[1, "b"] = False
    assert frame["n"].tolist() == [9, 4]
    assert frame["b"].tolist() == [True, False]


def test_a_division_of_integers_gives_floats_with_nan_and_null(store):
    def share(frame):
        return pd.DataFrame({"seen": frame["big"] / frame["request"]})

    view = OnDemandFeatureView(
        name="share",
        sources=[SEEN.source_projections[0], SEEN.request_sources[0]],
        schema=[Field(name="seen", dtype=Float64)],
        udf=share,
        mode="pandas",
    )
    store.apply(view)
    found = store.get_online_features(["share:seen"], {"id": [1, 2], "request": [2, 2]}).to_dict()["seen"]
    assert found == [BIG / 2, None]
