"""How fast online rows are encoded, stored and read back; run it on an otherwise idle machine.

python benchmarks/online_codec.py [--rows 1000000] [--redis HOST:PORT]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feast_assets.online_stores.base import EncodedRows, OnlineRead, OnlineStore
from feast_assets.online_stores.codec import RowDecoder, RowSchema, encode_rows
from feast_assets.online_stores.keys import encode_keys
from feast_assets.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast_assets.types import Array, Float32, Float64, Int64, String

NUMBERS = RowSchema.of({f"f{i}": Float64 if i % 2 else Int64 for i in range(10)})
MIXED = RowSchema.of(
    {"city": String, "name": String, "embedding": Array(Float32), **{f"f{i}": Float64 for i in range(5)}}
)


def best(work: Callable[[], Any], repeats: int = 5) -> float:
    """Returns the seconds of the fastest of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def numbers(rows: int) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table({f"f{i}": rng.random(rows) if i % 2 else rng.integers(0, 9**9, rows) for i in range(10)})


def mixed(rows: int) -> pa.Table:
    rng = np.random.default_rng(2)
    columns: dict[str, Any] = {
        "city": [f"city {i % 1000}" for i in range(rows)],
        "name": [f"name of driver {i}" for i in range(rows)],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rng.random(rows * 64, np.float32)), 64).cast(
            pa.list_(pa.float32())
        ),
    }
    return pa.table(columns | {f"f{i}": rng.random(rows) for i in range(5)})


def report(name: str, rows: int, seconds: float) -> None:
    print(f"{name:<44} {rows / seconds / 1e6:8.2f} M rows/s {seconds * 1e3:10.2f} ms")


def measure_codec(rows: int) -> None:
    for label, schema, table in (
        ("10 numbers", NUMBERS, numbers(rows)),
        ("2 texts, 64 floats, 5 numbers", MIXED, mixed(rows // 10)),
    ):
        report(f"encode {label}", table.num_rows, best(lambda s=schema, t=table: encode_rows(s, t), 3))  # type: ignore[misc]
        payloads = encode_rows(schema, table.slice(0, 1000))
        decoder = RowDecoder({schema.schema_id: schema}, schema.fields)
        with_gaps = [None if i % 10 == 0 else payload for i, payload in enumerate(payloads)]
        for name, given in (("", payloads), (", a tenth missing", with_gaps)):
            seconds = best(lambda d=decoder, g=given: [c.to_pylist() for c in d.decode(g)], 50)  # type: ignore[misc]
            report(f"decode 1000 x {label}{name}", 1000, seconds)
    ids = pa.array(np.arange(rows))
    report("encode integer keys from Arrow", rows, best(lambda: encode_keys(["id"], [Int64], [ids]), 3))
    few = list(range(1000))
    report("encode 1000 integer keys from Python", 1000, best(lambda: encode_keys(["id"], [Int64], [few]), 50))
    texts = [f"driver-{i}" for i in range(1000)]
    report("encode 1000 text keys from Python", 1000, best(lambda: encode_keys(["id"], [String], [texts]), 50))


def batches(rows: int, shift: int) -> Iterator[EncodedRows]:
    size = 50_000
    for start in range(0, rows, size):
        table = numbers(min(size, rows - start))
        ids = pa.array(np.arange(start, start + table.num_rows))
        stamps = np.full(table.num_rows, 1_700_000_000_000_000 + shift)
        yield EncodedRows(encode_keys(["id"], [Int64], [ids]), stamps, stamps, encode_rows(NUMBERS, table))


def measure_store(name: str, store: OnlineStore, rows: int) -> None:
    store.setup(["bench"])
    for label, shift in (("new", 0), ("newer", 1), ("older", 0)):
        made = list(batches(rows, shift))
        report(f"{name} put, {label} rows", rows, best(lambda m=made: store.put_many("bench", m), 1))  # type: ignore[misc]
    keys = encode_keys(["id"], [Int64], [np.random.default_rng(3).integers(0, rows, 1000)])
    decoder = RowDecoder({NUMBERS.schema_id: NUMBERS}, NUMBERS.fields)

    def read() -> None:
        (stored,) = store.get_many([OnlineRead("bench", keys)])
        for column in decoder.decode(stored.payloads):
            column.to_pylist()

    report(f"{name} read and decode 1000 x 10", 1000, best(read, 50))
    one = [OnlineRead("bench", keys[:1])]
    report(f"{name} read one row", 1, best(lambda: store.get_many(one), 200))
    store.drop(["bench"])
    store.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--redis", help="host:port of a Redis server that may be written to")
    given = arguments.parse_args()
    measure_codec(given.rows)
    with tempfile.TemporaryDirectory() as directory:
        config = SqliteOnlineStoreConfig(path="online.db")
        measure_store("SQLite", SqliteOnlineStore(config, Path(directory)), given.rows)
    if given.redis:
        from feast_assets.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig

        redis_config = RedisOnlineStoreConfig.model_validate({"connection_string": given.redis})
        measure_store("Redis", RedisOnlineStore(redis_config, Path()), given.rows)


if __name__ == "__main__":
    main()
