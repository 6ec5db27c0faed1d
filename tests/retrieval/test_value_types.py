"""Null, empty and extreme values of every type through Parquet, history, every online store, Arrow, Python and JSON."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
    parse_type,
)
from feast_assets.types.json import to_json_values
from feast_assets.types.python import to_arrow_column, to_python_values

UTC = dt.UTC
NOON = dt.datetime(2024, 1, 1, 12, tzinfo=UTC)
FIRST, LAST = dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
LONG = "ß√\x00\U0001f600 " * 2000
INFINITY = float("inf")
PARIS = dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1)
TIME_UUID = uuid.UUID("7d444840-9dc0-11d1-b245-5ffdce74fad2")
DEEP = {"a": {"b": [{"c": [1, 2.5, None, "x", {}]}]}}

PRIMITIVES: dict[FeastType, list[Any]] = {
    Bytes: [b"", bytes(range(256)) * 40],
    String: ["", LONG],
    Bool: [False, True],
    Int32: [0, -(2**31)],
    Int64: [2**63 - 1, -(2**63)],
    Float32: [0.0, 3.4028234663852886e38],
    Float64: [5e-324, -INFINITY],
    UnixTimestamp: [FIRST, LAST],
    PdfBytes: [b"", b"%PDF-1.7\x00\xff"],
    ImageBytes: [b"", b"\x89PNG\r\n\x1a\n"],
    Map: [{}, DEEP],
    Json: [[], DEEP],
    Uuid: [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    TimeUuid: [TIME_UUID, TIME_UUID],
    Decimal: [decimal.Decimal("0.00"), decimal.Decimal("-123456789012345678901234567890.1234567890")],
    ScalarMap: [{}, {1: "one", "1": None, -5: [True]}],
    ZonedTimestamp: [dt.datetime(1970, 1, 1, tzinfo=UTC), PARIS],
}
NESTED: dict[FeastType, list[Any]] = {
    Array(Array(Int64)): [[], [[1, None], [], None, [2**63 - 1]]],
    Array(Set(String)): [[set()], [{"a", "ß"}, None]],
    Set(Set(Int64)): [[], [{1}, {2, 3}]],
    Set(Array(Int64)): [[], [[1, 2], [2, 1]]],
    Array(Struct({"name": String, "age": Int64})): [[], [{"name": None, "age": 5}, None]],
    Struct({"a b": Int64, "in": Struct({"s": Set(Int32), "m": Map, "at": UnixTimestamp})}): [
        {"a b": None, "in": None},
        {"a b": -1, "in": {"s": {1, 2}, "m": DEEP, "at": LAST}},
    ],
    Array(Array(Array(Float32))): [[[[]]], [[[0.5, None]], [None], []]],
}
NOT_IN_ARRAYS = (PdfBytes, ImageBytes, ScalarMap, ZonedTimestamp)
NOT_IN_SETS = (*NOT_IN_ARRAYS, Map, Json)


def _all_types() -> dict[str, tuple[FeastType, list[Any]]]:
    """Returns column name -> type and values: null, the empty one, an extreme one."""
    values = dict(PRIMITIVES)
    for base, examples in PRIMITIVES.items():
        if base not in NOT_IN_ARRAYS:
            values[Array(base)] = [[], [*examples, None]]
        if base not in NOT_IN_SETS:
            values[Set(base)] = [set(), set(examples)]
    values |= NESTED
    return {f"f{n}": (feast_type, [None, *examples]) for n, (feast_type, examples) in enumerate(values.items())}


COLUMNS = _all_types()
VALUES = {name: values for name, (_, values) in COLUMNS.items()}
ARROW = pa.table({name: to_arrow_column(values, t, name) for name, (t, values) in COLUMNS.items()})
KEYS = [1, 2, 3]
WRITTEN: dict[str, list[Any]] = {"key": [11, 12, 13], "at": [NOON] * 3, **VALUES}
Settings = dict[str, Any]


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The section of an online store that is running."""
    if request.param == "sqlite":
        return {"type": "sqlite", "path": str(tmp_path / "online.db")}
    if request.param == "redis":
        host, port = request.getfixturevalue("redis_server")
        return {"type": "redis", "connection_string": f"{host}:{port}"}
    url = urlsplit(request.getfixturevalue("postgres_url"))
    place = {"host": url.hostname, "port": url.port, "user": url.username, "password": url.password or "x"}
    return {"type": "postgres", "database": url.path.strip("/"), "sslmode": "disable", **place}


@pytest.fixture
def store(tmp_path: Path, settings: Settings) -> Iterator[FeatureStore]:
    rows = pa.table({"key": KEYS, "at": pa.array([NOON] * 3, pa.timestamp("us", "UTC"))})
    for name in ARROW.column_names:
        rows = rows.append_column(name, ARROW.column(name))
    pq.write_table(rows, tmp_path / "rows.parquet")
    store = FeatureStore(tmp_path, RepoConfig(project=f"p{uuid.uuid4().hex}", registry="r.db", online_store=settings))
    entity = Entity(name="key", value_type=ValueType.INT64)
    view = FeatureView(
        name="all",
        entities=[entity],
        source=FileSource(path="rows.parquet", timestamp_field="at"),
        schema=[Field(name=name, dtype=feast_type) for name, (feast_type, _) in COLUMNS.items()],
    )
    store.apply([entity, view])
    yield store
    store.close()


REFERENCES = [f"all:{name}" for name in COLUMNS]


def check_online(store: FeatureStore, keys: list[int]) -> None:
    answer = store.get_online_features(REFERENCES, {"key": keys})
    read = answer.to_dict()
    assert {name: read[name] for name in VALUES} == VALUES
    assert all(status[0] == "NULL_VALUE" and status[1] == "PRESENT" for status in list(answer.statuses().values())[1:])
    assert answer.to_arrow().select(list(COLUMNS)).equals(ARROW)
    told = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    columns = dict(zip(told["metadata"]["feature_names"], told["results"], strict=True))
    for name, values in VALUES.items():
        assert [value is None for value in columns[name]["values"]] == [value is None for value in values]


def test_values_of_every_type_are_served_as_they_are_in_history(store: FeatureStore) -> None:
    store.materialize_incremental(NOON + dt.timedelta(days=1))
    check_online(store, KEYS)


@pytest.mark.parametrize("how", ["columns", "rows", "pandas", "arrow"])
def test_values_of_every_type_can_be_written_online(store: FeatureStore, how: str) -> None:
    given: dict[str, Callable[[], Any]] = {
        "columns": lambda: WRITTEN,
        "rows": lambda: [dict(zip(WRITTEN, row, strict=True)) for row in zip(*WRITTEN.values(), strict=True)],
        "pandas": lambda: pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in WRITTEN.items()}),
        "arrow": lambda: pa.table(
            {
                "key": [11, 12, 13],
                "at": pa.array([NOON] * 3, pa.timestamp("us", "UTC")),
                **{name: ARROW.column(name) for name in ARROW.column_names},
            }
        ),
    }
    store.write_to_online_store("all", given[how]())
    check_online(store, [11, 12, 13])


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_values_of_every_type_are_in_training_sets(store: FeatureStore) -> None:
    asked = pd.DataFrame({"key": KEYS, "event_timestamp": [NOON] * 3})
    table = store.get_historical_features(asked, REFERENCES).to_arrow()
    assert table.select(list(COLUMNS)).combine_chunks().equals(ARROW.combine_chunks())
    for name, (feast_type, values) in COLUMNS.items():
        assert to_python_values(table.column(name), feast_type) == values


def _comes_back(feast_type: FeastType) -> bool:
    """Whether JSON has the values of a type in a form that is taken back: bytes, infinities, zones' names and keys that
    are no text are told in another."""
    return not any(name in str(feast_type) for name in ("Bytes", "Float64", "ScalarMap", "ZonedTimestamp"))


@pytest.mark.parametrize("name", [n for n in COLUMNS if _comes_back(COLUMNS[n][0])], ids=lambda n: str(COLUMNS[n][0]))
def test_values_of_most_types_come_back_from_json(name: str) -> None:
    feast_type, values = COLUMNS[name]
    told = json.loads(json.dumps(to_json_values(values), allow_nan=False))
    assert to_python_values(to_arrow_column(told, feast_type, name), feast_type) == values


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_dict_keeps_its_own_keys_beside_others(store: FeatureStore) -> None:
    """Arrow, left to infer a type of dicts, would give each the keys of all."""
    maps = next(name for name, (feast_type, _) in COLUMNS.items() if feast_type == Map)
    other = [{"a": 1}, {"b": "x"}, {}]
    store.write_to_online_store("all", {**WRITTEN, maps: other})
    assert store.get_online_features([f"all:{maps}"], {"key": [11, 12, 13]}).to_dict()[maps] == other


def test_every_type_reads_back_from_its_text() -> None:
    for feast_type, _ in COLUMNS.values():
        assert parse_type(str(feast_type)) == feast_type
    odd = Struct(dict.fromkeys(("a b", "(x)", '"', '("q")', "\\", "a:b,c{d}", "ü"), Int64))
    assert parse_type(str(Array(odd))) == Array(odd)
    assert str(Struct({'say"it': Int64})) == 'Struct({say"it: Int64})', "as it was always written"
