"""Decoding messages of each format: values, wrong messages, and that company changes nothing."""

from __future__ import annotations

import http.server
import io
import json
import struct
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import (
    Array,
    AvroFormat,
    Bool,
    ConfluentAvroFormat,
    CustomFormat,
    Float32,
    Float64,
    Int32,
    Int64,
    JsonFormat,
    Map,
    ProtoFormat,
    String,
    UnixTimestamp,
)
from feast_assets.compute.versions import is_push
from feast_assets.definitions.spec import to_micros
from feast_assets.errors import ConfigError, DefinitionError, StoreUnavailableError
from feast_assets.streams.columns import StreamColumn, StreamColumns
from feast_assets.streams.formats.base import decode
from feast_assets.streams.formats.chosen import fields_of, make_decoder
from feast_assets.streams.formats.json import JsonDecoder
from feast_assets.streams.intake import rows_of_messages

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
COLUMNS = [
    StreamColumn("id", "id", Int64, is_key=True),
    StreamColumn("f", "fare", Float64),
    StreamColumn("small", "small", Int32),
    StreamColumn("short", "short", Float32),
    StreamColumn("ok", "ok", Bool),
    StreamColumn("city", "city", String),
    StreamColumn("tags", "tags", Array(String)),
    StreamColumn("at", "at", UnixTimestamp),
]


def rows_of(decoder, values) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Returns the rows and the reasons, by message."""
    pieces, rejected = decode(decoder, values)
    rows = {i: row for indices, table in pieces for i, row in zip(indices, table.to_pylist(), strict=True)}
    return rows, {each.index: each.reason for each in rejected}


def alone(decoder, values):
    """Returns what each message gives by itself."""
    rows, reasons = {}, {}
    for i, value in enumerate(values):
        more, failed = rows_of(decoder, [value])
        if more:
            rows[i] = more[0]
        if failed:
            reasons[i] = failed[0]
    return rows, reasons


FIELDS = {
    "id": 1,
    "f": 2.5,
    "small": 3,
    "short": 0.1,
    "ok": True,
    "city": "x",
    "tags": ["a", "b"],
    "at": NOON.isoformat(),
}


def test_a_json_object_is_a_row_under_the_names_of_the_source():
    rows, reasons = rows_of(JsonDecoder(COLUMNS), [json.dumps(FIELDS).encode()] * 3)
    assert reasons == {}
    assert rows[2] == {
        "id": 1,
        "fare": 2.5,
        "small": 3,
        "short": pa.scalar(0.1, pa.float32()).as_py(),
        "ok": True,
        "city": "x",
        "tags": ["a", "b"],
        "at": NOON,
    }


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-5, 5),
    st.floats(),
    st.floats(-100, 100).map(lambda value: round(value, 1)),
    st.text(max_size=4),
    st.sampled_from(["2024-06-01", "2024-06-01T12:00:00Z", "2024-06-01 12:00:00+02:00", "5", "true"]),
    st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=2),
    st.dictionaries(st.text(max_size=1), st.integers(0, 1), max_size=1),
)
OBJECTS = st.one_of(
    st.just(FIELDS),
    st.fixed_dictionaries({}, optional={name: st.one_of(st.just(FIELDS[name]), SCALARS) for name in FIELDS}),
).map(json.dumps)
GARBAGE = st.sampled_from(
    [
        *("", " ", "{", "}", "{}", "[]", "5", "null", "{} {}", " {} ", "\ufeff{}", "{}]}"),
        *('{"id": 1}{"id": 2}', '{"id": 1}\n{"id": 2}', '{"id": 1,\n"f": 2}', '{"id": 1, "id": 2}'),
        *('{"a": [{}', '{"city": "}', '{"}', '{"f": NaN}', '{"f": Inf}', '{"city": "\\ud800"}'),
    ]
)


@settings(max_examples=100)
@given(st.lists(st.one_of(OBJECTS, OBJECTS, GARBAGE, st.none()), max_size=12))
def test_a_json_message_becomes_the_same_in_any_company(messages):
    values = [None if message is None else message.encode("utf-8", "surrogatepass") for message in messages]
    together, apart = rows_of(JsonDecoder(COLUMNS), values), alone(JsonDecoder(COLUMNS), values)
    assert repr(together) == repr(apart)
    assert sorted([*together[0], *together[1]]) == list(range(len(values)))


def test_columns_that_arrow_cannot_parse_are_read_one_by_one():
    columns = [StreamColumn("id", "id", Int64, is_key=True), StreamColumn("m", "m", Map)]
    values = [b'{"id": 1, "m": {"a": [1, {"b": null}]}}', b'{"id": "x"}', b'{"id": 2}']
    rows, reasons = rows_of(JsonDecoder(columns), values)
    assert json.loads(rows[0]["m"]) == {"a": [1, {"b": None}]}
    assert rows[2]["m"] is None
    assert list(reasons) == [1]


def test_fields_that_a_json_format_declares():
    declared = fields_of(JsonFormat("a bigint, b double, `c` string, at timestamp, d array<map<string,int>>"), Path())
    assert declared == {"a": Int64, "b": Float64, "c": String, "at": UnixTimestamp, "d": None}
    assert fields_of(JsonFormat('{"properties": {"a": {}, "b": {}}}'), Path()) == {"a": None, "b": None}
    assert fields_of(JsonFormat(""), Path()) == {}


SCHEMA = {
    "type": "record",
    "name": "Ride",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "f", "type": ["null", "double"], "default": None},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
NARROW = [COLUMNS[0], COLUMNS[1], COLUMNS[-1]]
RIDE = {"id": 1, "f": 2.5, "at": NOON}


def avro(record, schema=SCHEMA) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def test_avro_records_are_rows_and_other_bytes_are_not():
    message_format = AvroFormat(json.dumps(SCHEMA))
    assert fields_of(message_format, Path()) == {"id": Int64, "f": Float64, "at": UnixTimestamp}
    decoder = make_decoder(message_format, NARROW, Path(), {})
    whole = avro(RIDE)
    rows, reasons = rows_of(decoder, [whole, whole[:-1], b"", whole + b"\0", avro({**RIDE, "f": None})])
    assert rows == {0: {"id": 1, "fare": 2.5, "at": NOON}, 4: {"id": 1, "fare": None, "at": NOON}}
    assert sorted(reasons) == [1, 2, 3]
    assert "1 bytes are left" in reasons[3]


@pytest.mark.parametrize("schema", ["", "5", '{"type": "long"}', '{"type": "record"}'])
def test_what_is_no_avro_schema_is_refused(schema):
    with pytest.raises(DefinitionError, match="AvroFormat: schema_json"):
        make_decoder(AvroFormat(schema), NARROW, Path(), {})


class _Registry(http.server.BaseHTTPRequestHandler):
    """A schema registry as far as readers ask it."""

    schemas: dict[str, dict[str, Any]] = {}
    asked: list[tuple[str, str | None]] = []
    status = 200
    answers: bytes | None = None

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.answers is not None:
            self.wfile.write(self.answers)
            return
        known = self.schemas.get(self.path)
        self.send_response(self.status if self.status != 200 else 200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps(known or {"error_code": 40403}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def schema_registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    _Registry.asked, _Registry.status, _Registry.answers = [], 200, None
    wider = {**SCHEMA, "fields": [*SCHEMA["fields"][::-1], {"name": "more", "type": "string"}]}
    _Registry.schemas = {
        "/schemas/ids/1": {"schema": json.dumps(SCHEMA)},
        "/schemas/ids/2": {"schema": json.dumps(wider), "schemaType": "AVRO"},
        "/schemas/ids/3": {"schema": "{}", "schemaType": "JSON"},
        "/schemas/ids/4": {"schema": json.dumps(SCHEMA), "references": [{"name": "x"}]},
    }
    try:
        yield f"http://127.0.0.1:{server.server_port}", wider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def confluent(number: int, payload: bytes) -> bytes:
    return struct.pack(">bI", 0, number) + payload


def test_confluent_avro_is_read_with_the_schema_that_wrote_it(schema_registry):
    url, wider = schema_registry
    login = {"url": url, "username": "me", "password": "s3cret-word"}
    decoder = make_decoder(ConfluentAvroFormat(), NARROW, Path(), login)
    one, two = confluent(1, avro(RIDE)), confluent(2, avro({**RIDE, "more": "x"}, wider))
    wrong = [confluent(9, b""), confluent(3, b""), confluent(4, b""), b"", b"\1" + one[1:], one[:-1]]
    rows, reasons = rows_of(decoder, [one, two, one, *wrong])
    row = {"id": 1, "fare": 2.5, "at": NOON}
    assert rows == {0: row, 1: row, 2: row}
    assert sorted(reasons) == [3, 4, 5, 6, 7, 8]
    assert "has no schema 9" in reasons[3] and "of type JSON" in reasons[4]
    paths = [path for path, _ in _Registry.asked]
    assert paths.count("/schemas/ids/1") == paths.count("/schemas/ids/2") == 1
    assert {given for _, given in _Registry.asked} == {"Basic bWU6czNjcmV0LXdvcmQ="}


def test_a_schema_registry_that_does_not_answer_makes_no_dead_letters(schema_registry):
    url, _ = schema_registry
    decoder = make_decoder(ConfluentAvroFormat(url), NARROW, Path(), {})
    _Registry.status = 503
    with pytest.raises(StoreUnavailableError, match="status 503"):
        decode(decoder, [confluent(1, avro(RIDE))] * 2)
    _Registry.status = 200
    assert len(rows_of(decoder, [confluent(1, avro(RIDE))] * 2)[0]) == 2
    with pytest.raises(ConfigError, match="needs the URL of a schema registry"):
        make_decoder(ConfluentAvroFormat(), NARROW, Path(), {})


@pytest.mark.parametrize(
    "answers",
    [
        b"nothing of HTTP",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<p>Log in</p>   ",
    ],
    ids=["no HTTP", "broken off", "a list", "a page"],
)
def test_what_only_a_broken_registry_answers_makes_no_dead_letters(schema_registry, answers):
    url, _ = schema_registry
    decoder = make_decoder(ConfluentAvroFormat(url), NARROW, Path(), {})
    _Registry.answers = answers
    with pytest.raises(StoreUnavailableError, match="schema registry"):
        decode(decoder, [confluent(1, avro(RIDE))] * 2)
    _Registry.answers = None
    assert len(rows_of(decoder, [confluent(1, avro(RIDE))] * 2)[0]) == 2


def test_the_password_goes_to_the_schema_registry_alone(schema_registry):
    url, _ = schema_registry
    elsewhere = url.replace("127.0.0.1", "localhost").encode()
    login = {"url": url, "username": "me", "password": "s3cret-word"}
    decoder = make_decoder(ConfluentAvroFormat(), NARROW, Path(), login)
    _Registry.answers = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s/stolen\r\n\r\n" % elsewhere
    with pytest.raises(StoreUnavailableError, match="status 302"):
        decode(decoder, [confluent(1, avro(RIDE))])
    assert [path for path, _ in _Registry.asked] == ["/schemas/ids/1"]
    with pytest.raises(ConfigError, match="must not hold a name and a password") as raised:
        make_decoder(ConfluentAvroFormat("http://me:s3cret-word@registry"), NARROW, Path(), {})
    assert "s3cret-word" not in str(raised.value)


def test_a_schema_that_is_not_there_is_asked_for_once_by_many_messages(schema_registry):
    url, _ = schema_registry
    decoder = make_decoder(ConfluentAvroFormat(url), NARROW, Path(), {})
    rows, reasons = rows_of(decoder, [confluent(9, b"")] * 8 + [confluent(1, avro(RIDE))])
    assert (list(rows), len(reasons)) == ([8], 8)
    assert sorted(path for path, _ in _Registry.asked) == ["/schemas/ids/1", "/schemas/ids/9"]


def test_a_record_that_is_nested_without_end_is_a_dead_letter():
    """The compiled reader of Avro would overflow the stack, and end the process."""
    node = {"type": "record", "name": "Ride", "namespace": "of.tests", "fields": [*SCHEMA["fields"]]}
    node["fields"].append({"name": "before", "type": ["null", "Ride"]})
    decoder = make_decoder(AvroFormat(json.dumps(node)), NARROW, Path(), {})
    good = avro({**RIDE, "before": {**RIDE, "before": None}}, node)
    without_end = (avro(RIDE) + b"\2") * 200_000
    rows, reasons = rows_of(decoder, [good, without_end])
    assert rows == {0: {"id": 1, "fare": 2.5, "at": NOON}}
    assert "nested too deep" in reasons[1]


def _message_class():
    file = descriptor_pb2.FileDescriptorProto(name="rides_for_tests.proto", package="rides", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="Ride")
    kinds = descriptor_pb2.FieldDescriptorProto
    message.oneof_decl.add(name="_f")
    message.field.add(name="id", number=1, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    message.field.add(
        name="f", number=2, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL, proto3_optional=True, oneof_index=0
    )
    message.field.add(
        name="at", number=3, type=kinds.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=kinds.LABEL_OPTIONAL
    )
    message.field.add(name="tags", number=4, type=kinds.TYPE_STRING, label=kinds.LABEL_REPEATED)
    pool = descriptor_pool.Default()
    from google.protobuf import timestamp_pb2  # noqa: F401 - it adds itself to the pool

    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rides.Ride"))


Ride = _message_class()
not_a_message = 5


def test_protobuf_messages_are_rows():
    message_format = ProtoFormat(f"{__name__}:Ride")
    types = {"id": Int64, "f": Float64, "at": UnixTimestamp, "tags": None}
    decoder = make_decoder(message_format, [*NARROW, COLUMNS[6]], Path(__file__).parent, {})
    assert fields_of(message_format, Path(__file__).parent) == types
    ride = Ride(id=1, f=2.5, tags=["a", "b"])
    ride.at.FromDatetime(NOON)
    rows, reasons = rows_of(decoder, [ride.SerializeToString(), b"\xff", Ride(id=2).SerializeToString()])
    assert rows == {
        0: {"id": 1, "fare": 2.5, "at": NOON, "tags": ["a", "b"]},
        2: {"id": 2, "fare": None, "at": None, "tags": []},
    }
    assert list(reasons) == [1]
    with pytest.raises(DefinitionError, match="not the class of a protobuf message"):
        make_decoder(ProtoFormat(f"{__name__}.Path"), NARROW, Path(__file__).parent, {})
    with pytest.raises(DefinitionError, match="there is no module 'nowhere'"):
        make_decoder(ProtoFormat("nowhere.Ride"), NARROW, Path(__file__).parent, {})


def test_a_function_of_the_repository_decodes_custom_messages(tmp_path):
    (tmp_path / "my_formats_for_tests.py").write_text(
        "def decode(value):\n"
        "    number, fare = value.decode().split(';')\n"
        "    return None if fare == '-' else {'id': int(number), 'f': float(fare), 'at': 1717243200}\n"
    )
    decoder = make_decoder(CustomFormat("my_formats_for_tests.decode"), NARROW, tmp_path, {})
    rows, reasons = rows_of(decoder, [b"1;2.5", b"1", b"1;-", b"2;1"])
    assert rows == {0: {"id": 1, "fare": 2.5, "at": NOON}, 3: {"id": 2, "fare": 1.0, "at": NOON}}
    assert "ValueError" in reasons[1] and "returned None instead of a dict" in reasons[2]
    with pytest.raises(DefinitionError, match="there is no function encode"):
        make_decoder(CustomFormat("my_formats_for_tests.encode"), NARROW, tmp_path, {})
    with pytest.raises(DefinitionError, match="must name a module and a function"):
        CustomFormat("decode")


def test_a_message_from_the_future_does_not_win_over_all_later_corrections():
    columns = StreamColumns(NARROW, "at", "", ("id", "at"))
    decoder = make_decoder(JsonFormat(""), NARROW, Path(), {})
    ahead = 4_102_444_800_000_000  # in 2100
    times = [1_700_000_000_000_000, ahead, None]
    values = [json.dumps({"id": 1, "f": 2.5, "at": "2024-06-01"}).encode()] * 3
    versions = rows_of_messages(decoder, columns, values, times).versions.tolist()
    assert versions[::2] == [1_700_000_000_000_001, 1]
    assert versions[1] < to_micros(datetime.now(UTC) + timedelta(hours=2))
    assert all(map(is_push, versions))
