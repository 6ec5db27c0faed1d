"""The messages of gRPC: Feast's fields, and bytes as protobuf itself makes them."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import math
import os
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st
from record_feast_messages import described

from feast_assets.errors import InputError
from feast_assets.serving.grpc import answers, messages
from feast_assets.serving.grpc.answers import _FIXED as FIXED
from feast_assets.serving.grpc.answers import _MOST_PACKED as MOST_PACKED
from feast_assets.serving.grpc.answers import features_message
from feast_assets.serving.grpc.turnstile import Turnstile
from feast_assets.serving.grpc.values import to_python, to_python_list, writer
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

HERE = Path(__file__).parent
RECORDED = HERE / "feast_messages.json"
FEAST_PYTHON = os.environ.get("FEAST_PYTHON", "")
MOMENT = dt.datetime(2024, 5, 1, 12, 30, 1, tzinfo=dt.UTC)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def ours() -> dict[str, Any]:
    pool = messages.own_pool()
    return described([pool.FindFileByName(file.name) for file in messages.FILES if "google" not in file.name])


def test_fields_and_services_are_those_of_feast() -> None:
    feast, own = json.loads(RECORDED.read_text()), json.loads(json.dumps(ours()))
    assert own["services"] == feast["services"]
    assert own["enums"].items() <= feast["enums"].items()
    assert own["messages"].items() <= feast["messages"].items()
    # The code of types, and an old request that no service takes.
    assert set(feast["messages"]) - set(own["messages"]) == {
        "ValueType",
        "FeatureReferenceV2",
        "GetOnlineFeaturesRequestV2",
        "GetOnlineFeaturesRequestV2.EntityRow",
        "GetOnlineFeaturesRequestV2.EntityRow.FieldsEntry",
    }


@pytest.mark.skipif(not FEAST_PYTHON, reason="FEAST_PYTHON does not name a Python that has Feast")
def test_what_was_recorded_is_so_in_the_feast_that_is_installed(tmp_path: Path) -> None:
    target = tmp_path / "recorded.json"
    subprocess.run([FEAST_PYTHON, str(HERE / "record_feast_messages.py"), str(target)], check=True, timeout=120)
    assert json.loads(target.read_text()) == json.loads(RECORDED.read_text())


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    from grpc_tools import protoc

    target = tmp_path / "descriptors.binpb"
    well_known = Path(protoc.__file__).parent / "_proto"
    files = sorted(str(path.relative_to(messages.PROTOS)) for path in messages.PROTOS.rglob("*.proto"))
    words = ["", f"-I{messages.PROTOS}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={target}"]
    assert protoc.main([*words, *files]) == 0
    made = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    assert list(made.file) == list(messages.FILES), "run `make protos`"


def test_feasts_own_names_are_left_to_feast() -> None:
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindServiceByName(messages.SERVING_SERVICE)


TYPED = [
    (Bytes, b"\x00\xff", "bytes_val", b"\x00\xff"),
    (String, "Köln", "string_val", "Köln"),
    (Int32, -(2**31), "int32_val", -(2**31)),
    (Int64, 2**63 - 1, "int64_val", 2**63 - 1),
    (Float64, 0.0, "double_val", 0.0),
    (Float32, 0.5, "float_val", 0.5),
    (Bool, False, "bool_val", False),
    (UnixTimestamp, MOMENT, "unix_timestamp_val", int(MOMENT.timestamp())),
    (Json, {"a": [1, None]}, "json_val", '{"a":[1,null]}'),
    (Uuid, ID, "uuid_val", str(ID)),
    (TimeUuid, ID, "time_uuid_val", str(ID)),
    (Decimal, decimal.Decimal("1.50"), "decimal_val", "1.50"),
    (Array(Int64), [1, -2], "int64_list_val", [1, -2]),
    (Array(Int32), [], "int32_list_val", []),
    (Array(Float64), [0.5], "double_list_val", [0.5]),
    (Array(Float32), [0.5], "float_list_val", [0.5]),
    (Array(Bool), [True, False], "bool_list_val", [True, False]),
    (Array(String), ["a", ""], "string_list_val", ["a", ""]),
    (Array(Bytes), [b"a"], "bytes_list_val", [b"a"]),
    (Array(UnixTimestamp), [MOMENT], "unix_timestamp_list_val", [int(MOMENT.timestamp())]),
    (Array(Json), [{"a": 1}], "json_list_val", ['{"a":1}']),
    (Array(Uuid), [ID], "uuid_list_val", [str(ID)]),
    (Array(Decimal), [decimal.Decimal("2")], "decimal_list_val", ["2"]),
    (Set(Int64), {5}, "int64_set_val", [5]),
    (Set(String), {"x"}, "string_set_val", ["x"]),
    (Set(UnixTimestamp), {MOMENT}, "unix_timestamp_set_val", [int(MOMENT.timestamp())]),
    (Set(Uuid), {ID}, "uuid_set_val", [str(ID)]),
]


@pytest.mark.parametrize(("feast_type", "given_value", "field", "held"), TYPED, ids=lambda each: str(each)[:30])
def test_a_value_is_in_the_field_of_its_type(feast_type: Any, given_value: Any, field: str, held: Any) -> None:
    message = messages.Value()
    writer(feast_type)(message, given_value)
    assert message.WhichOneof("val") == field
    read = getattr(message, field)
    assert (list(read.val) if hasattr(read, "val") else read) == held


RETURNED = [
    (Bytes, b"\x00"),
    (Int64, -5),
    (UnixTimestamp, MOMENT),
    (UnixTimestamp, dt.datetime(1900, 1, 1, tzinfo=dt.UTC)),
    (Array(UnixTimestamp), [MOMENT]),
    (Array(Int64), [1, None]),
    (Array(Array(Int64)), [[1], [], [None, 2], None]),
    (Array(Struct({"a": Int32})), [{"a": 1}, {"a": None}]),
    (Array(Struct({"a": Int32})), [{"a": 1}, None]),
    (Array(Map), [{"a": "b"}]),
    (Struct({"name": String, "age": Int32, "tags": Array(String)}), {"name": "x", "age": None, "tags": ["y"]}),
    (Map, {"a": {"b": [1, 2.5, None, "x"]}, "big": [1, 2], "flag": True, "none": None, "maps": [{"c": 1}]}),
    (Map, {}),
    (ScalarMap, {5: "five", True: None}),
    (ZonedTimestamp, MOMENT.astimezone(ZoneInfo("Europe/Berlin"))),
    (ZonedTimestamp, MOMENT.astimezone(dt.timezone(dt.timedelta(hours=-3, minutes=-30)))),
]


@pytest.mark.parametrize(("feast_type", "given_value"), RETURNED, ids=lambda each: str(each)[:30])
def test_a_value_comes_back_as_it_was(feast_type: Any, given_value: Any) -> None:
    message = messages.Value()
    writer(feast_type)(message, given_value)
    back = to_python(messages.Value.FromString(message.SerializeToString()))
    assert back == given_value
    if feast_type == ZonedTimestamp:
        assert back.utcoffset() == given_value.utcoffset()


def test_an_integer_of_a_map_that_no_field_holds_keeps_its_digits() -> None:
    message = messages.Value()
    writer(Map)(message, {"n": 2**70, "l": [2**70]})
    assert message.map_val.val["n"].decimal_val == str(2**70)
    assert to_python(message) == {"n": str(2**70), "l": [str(2**70)]}


@pytest.mark.parametrize("key", ["12345678-1234-5678-1234-567812345678", "1.5", "a word"])
def test_keys_of_a_scalar_map_that_are_text_get_the_field_that_they_look_like(key: str) -> None:
    message = messages.Value()
    writer(ScalarMap)(message, {key: 1})
    (entry,) = message.scalar_map_val.val
    field = {"1": "uuid_key", ".": "decimal_key", " ": "bytes_key"}[key[1] if key[1] in ". " else "1"]
    assert entry.key.WhichOneof("key") == field


def test_null_is_no_field_or_the_field_of_null() -> None:
    assert to_python(messages.Value()) is None
    assert to_python(messages.Value(null_val=0)) is None


def test_lists_of_one_type_and_of_several_are_read_alike() -> None:
    def listed(*each: Any) -> Any:
        return messages.RepeatedValue(val=[messages.Value(**fields) for fields in each])

    assert to_python_list(listed()) == []
    assert to_python_list(listed({"int64_val": 0}, {"int64_val": 7})) == [0, 7]
    assert to_python_list(listed({"int64_val": 5}, {"int64_val": 7})) == [5, 7]
    assert to_python_list(listed({"int64_val": 5}, {"int32_val": 7})) == [5, 7]
    assert to_python_list(listed({"string_val": "x"}, {"string_val": "y"})) == ["x", "y"]
    assert to_python_list(listed({"int64_val": 0}, {})) == [0, None]
    assert to_python_list(listed({"string_val": ""}, {"string_val": "x"})) == ["", "x"]
    assert to_python_list(listed({"string_val": ""}, {"int64_val": 1})) == ["", 1]


@pytest.mark.parametrize(
    "fields",
    [
        {"unix_timestamp_val": 2**62},
        {"zoned_timestamp_val": {"unix_timestamp": 0, "zone": "No/Where"}},
        {"zoned_timestamp_val": {"unix_timestamp": 0, "zone": "+99"}},
        {"zoned_timestamp_val": {"unix_timestamp": 0, "zone": "../../etc/passwd"}},
        {"scalar_map_val": {"val": [{"value": {"int64_val": 1}}]}},
    ],
)
def test_what_holds_no_value_is_the_callers_mistake(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        to_python(messages.Value(**fields))


class Given:
    """A join key of a response, by hand."""

    def __init__(self, name: str, dtype: Any):
        self.name, self.dtype, self.request_data = name, dtype, False


class Computed:
    def __init__(self, dtype: Any, values: list[Any]):
        self.type, self._values = dtype, values

    def to_pylist(self) -> list[Any]:
        return self._values


class Read:
    """A read of one view, by hand; also what `features` of it is."""

    def __init__(self, columns: list[tuple[Any, list[Any]]], statuses: list[list[int]], times: list[int]):
        self.features = self
        self.fields = [(f"f{number}", dtype) for number, (dtype, _) in enumerate(columns)]
        self.event_timestamps = times
        self._values = [values for _, values in columns]
        self._statuses = statuses
        self.all_present = all(set(each) == {1} for each in statuses)

    def to_pylists(self, positions: list[int] | None) -> list[list[Any]]:
        return [self._values[index] for index in (range(len(self._values)) if positions is None else positions)]

    def statuses(self, index: int) -> list[int]:
        return self._statuses[index]


class Shape:
    pass


class Response:
    """An answer of given columns, then those of reads, of which each has all its columns, then computed ones."""

    def __init__(
        self, rows: int, given: dict[str, tuple[Any, list[Any]]], reads: list[Read], computed: list[Computed]
    ) -> None:
        self.shape: Any = Shape()
        self.shape.given = [Given(name, dtype) for name, (dtype, _) in given.items()]
        self.shape.of_reads = [([f"{n}_{name}" for name, _ in read.fields], None) for n, read in enumerate(reads)]
        # The other way round than they are read.
        places = [(n, index) for n, read in enumerate(reads) for index in range(len(read.fields))]
        self.shape.places_of_stored = places if len(reads) == 1 else places[::-1]
        self.shape.view_versions = {f"view_{n}": n for n in range(len(reads))}
        self.feature_view_metadata = [{"name": name, "version": n} for name, n in self.shape.view_versions.items()]
        names = [self.shape.of_reads[n][0][index] for n, index in self.shape.places_of_stored]
        self.feature_names = [*given, *names, *(f"computed_{n}" for n in range(len(computed)))]
        self.reads, self.computed = reads, computed
        self._given, self._rows = given, rows

    def given(self, name: str) -> list[Any]:
        return self._given[name][1]

    def __len__(self) -> int:
        return self._rows

    def columns(self) -> Any:
        """Yields type, values, statuses and times of each column."""
        nothing = [0] * self._rows
        for dtype, values in self._given.values():
            yield dtype, values, [2 if value is None else 1 for value in values], nothing
        for n, index in self.shape.places_of_stored:
            read = self.reads[n]
            yield read.fields[index][1], read._values[index], read.statuses(index), read.event_timestamps
        for each in self.computed:
            values = each.to_pylist()
            yield each.type, values, [2 if value is None else 1 for value in values], nothing


def by_protobuf(response: Response) -> bytes:
    """Returns the same answer, made of a message for each value."""
    message = messages.GetOnlineFeaturesResponse()
    message.metadata.feature_names.val.extend(response.feature_names)
    for each in response.feature_view_metadata:
        message.metadata.feature_view_metadata.add(**each)
    for dtype, values, statuses, times in response.columns():
        vector = message.results.add()
        for value in values:
            target = vector.values.add()
            if value is not None:
                writer(dtype)(target, value)
        vector.statuses.extend(statuses)
        for moment in times:
            time = vector.event_timestamps.add()
            if moment:
                time.seconds, time.nanos = moment // 1_000_000, moment % 1_000_000 * 1_000
    return message.SerializeToString()


FLOAT32 = st.floats(width=32)
OF_TYPE: dict[Any, Any] = {
    Float64: st.floats(),
    Float32: FLOAT32,
    Bool: st.booleans(),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Int32: st.integers(-(2**31), 2**31 - 1),
    String: st.text(max_size=8),
    Bytes: st.binary(max_size=200),
    Array(Float32): st.lists(FLOAT32, max_size=3),
}
MOMENTS = st.one_of(st.just(0), st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))


@st.composite
def responses(draw: Any) -> Response:
    rows = draw(st.integers(0, 6))

    def column() -> tuple[Any, list[Any]]:
        dtype = draw(st.sampled_from(list(OF_TYPE)))
        value = draw(st.sampled_from([OF_TYPE[dtype], st.none() | OF_TYPE[dtype]]))
        return dtype, draw(st.lists(value, min_size=rows, max_size=rows))

    reads = []
    for _ in range(draw(st.integers(0, 3))):
        columns = [column() for _ in range(draw(st.integers(0, 3)))]
        status = draw(st.sampled_from([st.just(1), st.integers(1, 4)]))
        statuses = [draw(st.lists(status, min_size=rows, max_size=rows)) for _ in columns]
        reads.append(Read(columns, statuses, draw(st.lists(MOMENTS, min_size=rows, max_size=rows))))
    computed = [Computed(*column()) for _ in range(draw(st.integers(0, 2)))]
    return Response(rows, {f"key_{n}": column() for n in range(draw(st.integers(0, 2)))}, reads, computed)


@given(responses())
def test_an_answer_has_the_bytes_that_protobuf_gives_it(response: Any) -> None:
    expected = by_protobuf(response)
    # A second time, from what is remembered of the first.
    assert [features_message(response) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize("rows", [127, 128, MOST_PACKED, MOST_PACKED + 1, 20_000])
def test_an_answer_of_many_rows_has_the_bytes_that_protobuf_gives_it(rows: int) -> None:
    times = [1_704_067_200_000_000 + i * 250_000 for i in range(rows)]
    columns = [(Float64, [i / 3 for i in range(rows)]), (Float32, [math.nan] * rows), (String, ["x" * 100] * rows)]
    read = Read(columns, [[1] * rows] * 3, times)
    response: Any = Response(rows, {"key": (Int64, list(range(rows)))}, [read], [])
    assert features_message(response) == by_protobuf(response)


def test_values_that_do_not_return_are_not_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_VALUES_REMEMBERED", 100)
    made: list[int] = []

    def encode(values: Any) -> bytes:
        made.append(len(values))
        return b"".join(b"%d," % value for value in values)

    remembering = answers._Remembering(encode)
    for begin in range(0, 2_000, 10):
        values = list(range(begin, begin + 10))
        assert remembering(values) == b"".join(b"%d," % value for value in values)
        assert len(remembering) <= 100
    assert made.count(10) > 150, "most columns are made as a whole"
    made.clear()
    for _ in range(200):
        assert remembering([1, 2]) == b"1,2,"
    assert made.count(1) <= 2, "what returns is remembered again"


async def test_reads_that_come_while_another_is_under_way_pass_together() -> None:
    turnstile, done, passed = Turnstile(), asyncio.Event(), []

    async def read(number: int) -> None:
        async with turnstile:
            passed.append(number)
            await done.wait()

    first = asyncio.create_task(read(0))
    others = [asyncio.create_task(read(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    assert passed == [0]
    # Nobody waits for ever for one that is slow, and one that is cancelled holds up nobody.
    others[1].cancel()
    while len(passed) < 3:
        await asyncio.sleep(0.001)
    assert passed == [0, 1, 3]
    late = asyncio.create_task(read(4))
    done.set()
    await asyncio.gather(first, others[0], others[2], late)
    assert passed == [0, 1, 3, 4]
    async with turnstile:
        passed.append(5)
    assert turnstile._under_way == 0


def test_the_fixed_widths_are_those_of_their_formats() -> None:
    for before, form in FIXED.values():
        assert before[1] == struct.calcsize("<" + form) - 2
