"""Whatever is handed to a public verb: it works, or an error of this package says what was wrong, in a few words."""

from __future__ import annotations

import decimal
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    OnDemandFeatureView,
    PushMode,
    PushSource,
    RequestSource,
    SavedDatasetFileStorage,
    ScalarMap,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)
from feast_assets.errors import FeastAssetsError
from feast_assets.types.arrow import to_arrow_type

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 1, 2, tzinfo=UTC)
LONGEST_MESSAGE = 8_200
TYPES = {
    "i": Int64,
    "n": Int32,
    "f": Float64,
    "g": Float32,
    "s": String,
    "b": Bool,
    "t": UnixTimestamp,
    "y": Bytes,
    "u": Uuid,
    "d": Decimal,
    "j": Json,
    "m": Map,
    "sm": ScalarMap,
    "li": Array(Int64),
    "ls": Array(String),
    "ll": Array(Array(Int64)),
    "st": Struct({"a": Int64, "b": String}),
    "se": Set(Int64),
    "z": ZonedTimestamp,
}


class Raises:
    """A value of which every method fails."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __len__(self):
        raise RuntimeError("no length")

    def __iter__(self):
        raise RuntimeError("no items")

    def __index__(self):
        raise RuntimeError("no number")


def nested(depth, kind):
    value = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


# Made anew for each try: iterators end, and a verb might change what it is given.
WRONG = {
    "None": lambda: None,
    "true": lambda: True,
    "zero": lambda: 0,
    "one": lambda: 1,
    "2**63": lambda: 2**63,
    "huge integer": lambda: 10**5000,
    "float": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "empty text": lambda: "",
    "text": lambda: "a",
    "digits": lambda: "1" * 10_000,
    "surrogate": lambda: "a\ud800",
    "control characters": lambda: "a\x00\x1b[31m\u202e",
    "reference of megabytes": lambda: "v:" + "x" * 3_000_000,
    "bytes": lambda: b"\xff",
    "memoryview": lambda: memoryview(b"a"),
    "empty list": list,
    "list": lambda: [1],
    "list of a huge integer": lambda: [2**70],
    "list of None": lambda: [None],
    "mixed list": lambda: ["a", 1],
    "set": lambda: {1, 2},
    "dict": lambda: {"a": 1},
    "dict of numbers": lambda: {1: 2},
    "dict of None": lambda: {None: 1},
    "dict of a huge integer": lambda: {"a": {"b": [2**70]}},
    "deep list": lambda: nested(3000, list),
    "deep dict": lambda: nested(3000, dict),
    "object": object,
    "raising": Raises,
    "type": lambda: int,
    "complex": lambda: 1j,
    "decimal": lambda: decimal.Decimal("1.5"),
    "signalling nan": lambda: decimal.Decimal("sNaN"),
    "huge decimal": lambda: decimal.Decimal("1e1000000"),
    "uuid": uuid.uuid4,
    "moment": lambda: NOON,
    "last moment": lambda: datetime.max,
    "last moment in the west": lambda: datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    "first moment in the east": lambda: datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    "date": lambda: date(2024, 1, 1),
    "time": lambda: time(1),
    "longest duration": lambda: timedelta.max,
    "array of no dimensions": lambda: np.array(5),
    "array": lambda: np.array([1, 2]),
    "matrix": lambda: np.array([[1, 2], [3, 4]]),
    "structured array": lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "uint64": lambda: np.uint64(2**64 - 1),
    "float16": lambda: np.float16(1.5),
    "float32 nan": lambda: np.float32("nan"),
    "longdouble": lambda: np.longdouble("1.5"),
    "numpy complex": lambda: np.complex128(1j),
    "void": lambda: np.void(b"abc"),
    "NaT": lambda: np.datetime64("NaT"),
    "far seconds": lambda: np.datetime64(2**62, "s"),
    "attoseconds": lambda: np.datetime64(1, "as"),
    "timedelta64": lambda: np.timedelta64(1, "D"),
    "pandas NaT": lambda: pd.NaT,
    "pandas NA": lambda: pd.NA,
    "last pandas moment": lambda: pd.Timestamp.max,
    "series": lambda: pd.Series([1, 2]),
    "series of a huge integer": lambda: pd.Series([2**63], dtype=object),
    "dataframe": lambda: pd.DataFrame({"id": [1, 2]}),
    "empty dataframe": pd.DataFrame,
    "categorical": lambda: pd.Categorical(["a"]),
    "arrow array": lambda: pa.array([1]),
    "arrow scalar": lambda: pa.scalar(1),
    "arrow table": lambda: pa.table({"id": [1]}),
    "generator": lambda: (i for i in range(2)),
    "failing iterator": lambda: map(int, ["x"]),
    "range": lambda: range(3),
    "function": lambda: len,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("wrong")
    columns = {name: pa.nulls(1, to_arrow_type(dtype)) for name, dtype in TYPES.items()}
    rows = pa.table({"id": [1], "ts": pa.array([NOON], pa.timestamp("us", "UTC")), **columns})
    pq.write_table(rows, root / "s.parquet")
    (root / "feature_store.yaml").write_text("project: p\nregistry: registry.db\nonline_store: sqlite\n")
    store = FeatureStore(root)
    entity = Entity(name="e", join_keys=["id"])
    fields = [Field(name=name, dtype=dtype) for name, dtype in TYPES.items()]
    source = PushSource(name="live", batch_source=FileSource(name="s", path="s.parquet", timestamp_field="ts"))
    view = FeatureView(name="v", entities=[entity], schema=[Field(name="id", dtype=Int64), *fields], source=source)
    given = RequestSource(name="given", schema=[Field(name=f"r_{n}", dtype=t) for n, t in TYPES.items()])

    def computed(mode, make):
        return OnDemandFeatureView(
            name=mode,
            sources=[view, given],
            schema=[Field(name=f"{mode}_{name}", dtype=dtype) for name, dtype in TYPES.items()],
            udf=lambda inputs: make({f"{mode}_{name}": inputs[f"r_{name}"] for name in TYPES}),
            mode=mode,
        )

    store.apply([entity, view, computed("python", dict), computed("pandas", pd.DataFrame)])
    store.materialize_incremental(LATER)
    return store


def read(response):
    response.to_dict()
    response.to_df()
    response.to_json()
    response.to_arrow()
    response.statuses()


def pushed(**changes):
    return {"id": [1], "ts": [LATER], **{name: [None] for name in TYPES}, **changes}


def entity_rows(name, value):
    return [{"id": 1, **{f"r_{each}": None for each in TYPES}, f"r_{name}": value}]


VERBS = {
    "features": lambda s, x: read(s.get_online_features(x, [{"id": 1}])),
    "a reference": lambda s, x: read(s.get_online_features([x], [{"id": 1}])),
    "entity rows": lambda s, x: read(s.get_online_features(["v:i"], x)),
    "an entity row": lambda s, x: read(s.get_online_features(["v:i"], [{"id": 1}, x])),
    "a column of entity rows": lambda s, x: read(s.get_online_features(["v:i"], {"id": x})),
    "a key": lambda s, x: read(s.get_online_features(["v:i"], [{"id": x}])),
    "an ignored column": lambda s, x: read(s.get_online_features(["v:i"], {"id": [1], "other": x})),
    "entity_df": lambda s, x: s.get_historical_features(x, ["v:i"]).to_df() if not isinstance(x, str) else None,
    "a column of entity_df": lambda s, x: s.get_historical_features(
        {"id": x, "event_timestamp": [LATER]}, ["v:i"]
    ).to_df(),
    "a key of entity_df": lambda s, x: s.get_historical_features(
        pd.DataFrame({"id": pd.Series([x], dtype=object), "event_timestamp": [LATER]}), ["v:i"]
    ).to_df(),
    "a time of entity_df": lambda s, x: s.get_historical_features(
        pd.DataFrame({"id": [1, 1], "event_timestamp": pd.Series([x, LATER], dtype=object)}), ["v:i"]
    ).to_df(),
    "features of history": lambda s, x: s.get_historical_features({"id": [1], "event_timestamp": [LATER]}, x).to_df(),
    "start_date": lambda s, x: s.get_historical_features(None, ["v:i"], start_date=x).to_arrow(),
    "end_date": lambda s, x: s.get_historical_features(None, ["v:i"], end_date=x).to_arrow(),
    "pushed rows": lambda s, x: s.push("live", x),
    "a pushed row": lambda s, x: s.push("live", [x]),
    "a pushed key": lambda s, x: s.push("live", pushed(id=[x])),
    "a pushed time": lambda s, x: s.push("live", pushed(ts=[x])),
    "a pushed column": lambda s, x: s.push("live", pushed(i=x)),
    "a push source": lambda s, x: s.push(x, pushed()),
    "where to push": lambda s, x: s.push("live", pushed(), to=x),
    "rows written online": lambda s, x: s.write_to_online_store("v", x),
    "a view written online": lambda s, x: s.write_to_online_store(x, pushed()),
    "a view written offline": lambda s, x: s.write_to_offline_store(x, pushed()),
    "a key pushed offline": lambda s, x: s.push("live", pushed(id=[x], i=["no"]), to=PushMode.OFFLINE),
    "the start of a materialization": lambda s, x: s.materialize(x, LATER, ["v"]),
    "the end of a materialization": lambda s, x: s.materialize(NOON, x, ["v"]),
    "views to materialize": lambda s, x: s.materialize(NOON, NOON, x),
    "a view to materialize": lambda s, x: s.materialize(NOON, NOON, [x]),
    "the end of an increment": lambda s, x: s.materialize_incremental(x, ["v"]),
    "windows": lambda s, x: s.materialize_windows("v", x) if x is not None else None,
    "a window": lambda s, x: s.materialize_windows("v", [x]),
    "stale windows": lambda s, x: s.stale_windows("v", x),
    "sample": lambda s, x: s.audit(["v"], sample=x) if not isinstance(x, int) or x < 100 else None,
    "seed": lambda s, x: s.audit(["v"], sample=1, seed=x),
    "moment of an audit": lambda s, x: s.audit(["v"], sample=1, at=x),
    "views of an audit": lambda s, x: s.audit(x, sample=1),
    "definitions": lambda s, x: s.apply(x),
    "a definition": lambda s, x: s.apply([x]),
    "definitions to delete": lambda s, x: s.apply([], objects_to_delete=x, partial=False),
    "a retrieval to save": lambda s, x: s.create_saved_dataset(x, "saved", SavedDatasetFileStorage(path="a.parquet")),
    "a saved dataset": lambda s, x: s.get_saved_dataset(x),
    "a feature view": lambda s, x: s.get_feature_view(x),
    "a project": lambda s, x: s.get_project(x),
    "intervals": lambda s, x: s.materialization_intervals(x),
    "tags": lambda s, x: s.list_feature_views(tags=x),
    "the name of an entity": lambda s, x: Entity(name=x, join_keys=["id"]),
    "join keys": lambda s, x: Entity(name="e", join_keys=x),
    "the name of a field": lambda s, x: Field(name=x, dtype=Int64),
    "a dtype": lambda s, x: Field(name="a", dtype=x),
    "the schema of a view": lambda s, x: FeatureView(name="w", schema=x),
    "the entities of a view": lambda s, x: FeatureView(name="w", entities=x),
    "the ttl of a view": lambda s, x: FeatureView(name="w", ttl=x),
    "the source of a view": lambda s, x: FeatureView(name="w", source=x),
    "the tags of a view": lambda s, x: FeatureView(name="w", tags=x),
    "the features of a service": lambda s, x: FeatureService(name="w", features=x),
    "the schema of request data": lambda s, x: RequestSource(name="w", schema=x),
    "the path of a source": lambda s, x: FileSource(name="w", path=x),
}
for each in TYPES:
    VERBS |= {
        f"request data {each}": lambda s, x, n=each: read(
            s.get_online_features([f"python:python_{n}"], entity_rows(n, x))
        ),
        f"pandas results {each}": lambda s, x, n=each: read(
            s.get_online_features([f"pandas:pandas_{n}"], entity_rows(n, x))
        ),
        f"a pushed {each}": lambda s, x, n=each: s.push("live", pushed(**{n: [x]})),
    }


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_value_gives_an_error_that_can_be_read(store, verb):
    for name, wrong in WRONG.items():
        try:
            VERBS[verb](store, wrong())
        except FeastAssetsError as error:
            message = str(error)
            assert len(message) <= LONGEST_MESSAGE, name
            assert message.replace("\n", "").replace("\t", "").isprintable(), name
            message.encode()
        except Exception as error:
            raise AssertionError(f"{verb}: {name} raised {type(error).__name__}: {error}") from error


def test_a_message_keeps_its_beginning_and_its_remedy():
    error = FeastAssetsError("View 'v' " + "x" * 10_000_000 + " Did you mean 'w'?")
    assert len(str(error)) <= LONGEST_MESSAGE
    assert str(error).startswith("View 'v'")
    assert str(error).endswith("Did you mean 'w'?")


def test_a_message_can_be_printed_and_encoded_whatever_it_quotes():
    assert str(FeastAssetsError("a\x1b[31m\ud800\u202e\x00\nb")) == "a\\x1b[31m\\ud800\\u202e\\x00\nb"
