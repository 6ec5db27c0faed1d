"""What is taken as rows, and what is said of anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_project import hours

from feast_assets import PushMode, PushSource
from feast_assets.compute.handed_in_rows import to_table
from feast_assets.errors import DataFrameSerializationError, InputError

ONE = {"a": [1, 2], "b": ["x", None]}


@pytest.mark.parametrize(
    "rows",
    [
        ONE,
        {"a": np.array([1, 2]), "b": pa.array(["x", None])},
        {"a": pd.Series([1, 2]), "b": ("x", None)},
        {"a": (i for i in (1, 2)), "b": pa.chunked_array([["x"], [None]])},
        [{"a": 1, "b": "x"}, {"a": 2}],
        ({"a": 1, "b": "x"}, {"b": None, "a": 2}),
        pd.DataFrame(ONE),
        pl.DataFrame(ONE),
        pa.table(ONE),
        pa.RecordBatch.from_pydict(ONE),
    ],
)
def test_rows_are_taken_in_many_forms(rows):
    assert to_table(rows, "push").to_pydict() == ONE


def test_a_key_that_only_a_later_dict_has_is_not_lost():
    assert to_table([{"a": 1}, {"a": 2, "b": "x"}], "push").to_pydict() == {"a": [1, 2], "b": [None, "x"]}


NO_ROWS = {
    "nothing": (None, "DataFrame, .* not None"),
    "a text": ("rows", "a list of dicts, not 'rows'"),
    "bytes": (b"rows", "not b'rows'"),
    "a number": (7, "not 7"),
    "a list of numbers": ([1, 2], "a list must hold dicts, but row 0 is 1"),
    "a list with one wrong row": ([{"a": 1}, None], "row 1 is None"),
    "a generator": (({"a": i} for i in range(2)), r"generator can be read only once; hand in list\(rows\)"),
    "a dict without columns": ({}, "a dict without columns; hand in join keys"),
    "empty dicts": ([{}], "the dicts are empty"),
    "columns of unequal length": ({"a": [1, 2], "b": [1]}, "unequal length: 'a' has 2, 'b' has 1"),
    "a value for a column": ({"a": 1}, "column 'a' is 1, not a list of values"),
    "a text for a column": ({"a": "xyz"}, "column 'a' is str 'xyz', not a list"),
    "a dict for a column": ({"a": {"0": 1}}, "column 'a' is dict {'0': 1}, not a list"),
    "a set for a column": ({"a": {1}}, r"column 'a' is \{1\}, not a list"),
    "names that are no texts": ({1: [1]}, "column names are texts, not 1"),
    "mixed types": ({"a": [1, "x"]}, "column 'a'"),
    "integers beyond 64 bits": ({"a": [2**70]}, "column 'a'"),
    "one name twice": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "columns of the same name: 'a'. Rename"),
    "one name twice in Arrow": (pa.table([[1], [2]], names=["a", "a"]), "columns of the same name: 'a'"),
    "a pandas series": (pd.Series([1]), "not Series"),
    "a numpy array": (np.array([1]), "not ndarray"),
    "an object": (object(), "not object"),
}


def handed_in(case):
    rows, message = NO_ROWS[case]
    return (r for r in [{"a": 1}]) if case == "a generator" else rows, message


@pytest.mark.parametrize("case", NO_ROWS)
def test_what_is_no_table_is_named_with_what_would_be_right(case):
    rows, message = handed_in(case)
    with pytest.raises(DataFrameSerializationError, match=message) as raised:
        to_table(rows, "push to 'live'")
    assert str(raised.value).startswith("push to 'live': the rows cannot be read as a table: ")
    assert len(str(raised.value)) < 300


@pytest.fixture
def pushed(project):
    project.write([{"driver_id": 1, "ts": hours(1), "trips": 10, "city": "x"}])
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
    return project


def every_write(store):
    for to in PushMode:
        yield f"push to {to.name}", lambda rows, to=to: store.push("live", rows, to=to)
    yield "write_to_online_store", lambda rows: store.write_to_online_store("stats", rows)
    yield "inputs", lambda rows: store.write_to_online_store("stats", inputs=rows)
    yield "write_to_offline_store", lambda rows: store.write_to_offline_store("stats", rows)


@pytest.mark.parametrize("case", NO_ROWS)
def test_every_write_refuses_them_and_changes_nothing(pushed, case):
    before = pushed.path.read_bytes()
    for name, write in every_write(pushed.store):
        rows, message = handed_in(case)
        if rows is None and name in ("write_to_online_store", "inputs"):
            message = "give one of df and inputs"
        with pytest.raises(InputError, match=message):
            write(rows)
    assert pushed.path.read_bytes() == before and pushed.trips([1]) == [None]
    assert pushed.store.list_unfinished_pushes() == []


@pytest.mark.parametrize(
    "rows",
    [
        [],
        pd.DataFrame(),
        pd.DataFrame({"anything": []}),
        {"driver_id": [], "trips": [], "city": [], "ts": []},
        pa.table({"driver_id": pa.array([], pa.int64())}),
        pl.DataFrame({"driver_id": []}),
    ],
)
def test_no_rows_are_a_warning_as_in_feast(pushed, rows):
    before = pushed.path.read_bytes()
    for _, write in every_write(pushed.store):
        with pytest.warns(UserWarning, match="there are no rows, so nothing is written") as told:
            write(rows)
        assert len(told) == 1 and told[0].filename == __file__
    assert pushed.path.read_bytes() == before and pushed.trips([1]) == [None]


async def test_no_rows_are_a_warning_in_async_calls_too(pushed):
    with pytest.warns(UserWarning, match="there are no rows"):
        await pushed.store.push_async("live", [], to=PushMode.ONLINE_AND_OFFLINE)
    with pytest.warns(UserWarning, match="there are no rows"):
        await pushed.store.write_to_online_store_async("stats", pd.DataFrame())


def test_null_keys_and_times_are_counted_and_the_first_is_named(pushed):
    before = pushed.path.read_bytes()
    good = {"driver_id": [1, 2, 3, 4], "trips": [1] * 4, "city": ["x"] * 4, "ts": [hours(5)] * 4}
    for column in ("driver_id", "ts"):
        bad = {**good, column: [good[column][0], None, good[column][2], None]}
        message = (
            rf"{column!r} holds nulls \(2 nulls in 4 rows, the first in row 1, counted from 0\)\. .* must be given"
        )
        for _, write in every_write(pushed.store):
            for form in (dict, pd.DataFrame):
                with pytest.raises(InputError, match=message):
                    write(form(bad))
    assert pushed.path.read_bytes() == before and pushed.trips([1, 3]) == [None, None]


def test_null_features_are_values(pushed):
    """Feast leaves out rows whose features are all null, with a warning; a null is what became known."""
    rows = {"driver_id": [1], "trips": [None], "city": [None], "ts": [hours(50)]}
    pushed.store.push("live", rows, to=PushMode.ONLINE_AND_OFFLINE)
    read = pushed.store.get_online_features(["stats:trips"], {"driver_id": [1]})
    assert read.statuses()["trips"] == ["NULL_VALUE"]


def test_rows_with_other_names_of_before_the_mapping_are_checked_for_nulls_too(project):
    source = project.view().batch_source
    source.field_mapping = {"driver": "driver_id"}
    project.write([])
    table = pa.table({"driver": [1], "trips": [1], "city": ["x"], "ts": [hours(1)]})
    pq.write_table(table, project.path)
    project.apply(source=source)
    with pytest.raises(InputError, match="column 'driver' holds nulls .1 null in 2 rows, the first in row 0"):
        project.store.write_to_offline_store(
            "stats", {"driver_id": [None, 2], "trips": [1, 1], "city": ["x"] * 2, "ts": [hours(1)] * 2}
        )
    assert pq.read_table(project.path).num_rows == 1
