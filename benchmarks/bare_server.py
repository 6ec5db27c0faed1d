"""A feature server by hand, for one route: raw ASGI, one ``MGET``, the same body. Run by uvicorn as its factory.

What it serves comes from the environment: ``BARE_SERVER`` is JSON of the Redis address, the database, the prefix of
keys, the names of views and the number of features.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from benchmarks.datasets import feature_names, is_integer

VARIABLE = "BARE_SERVER"


def application() -> Any:
    """Returns the ASGI application."""
    # Not at the top: the environments of other sides, which only read the variable's name, may lack them.
    import msgspec
    import redis.asyncio

    request_type = msgspec.defstruct("Request", [("entities", dict[str, list[int]])])
    about = json.loads(os.environ[VARIABLE])
    host, port = about["redis"].split(":")
    client = redis.asyncio.Redis(host=host, port=int(port), db=about["database"])
    views, features, prefix, key = about["views"], about["features"], about["prefix"], about["key"]
    packer = struct.Struct("<q" + "".join("q" if is_integer(i) else "d" for i in range(features)))
    names = [key, *(name for _ in views for name in feature_names(features))]
    decode: Any = msgspec.json.Decoder(request_type).decode
    encode = msgspec.json.Encoder().encode

    async def answer(body: bytes) -> bytes:
        ids = decode(body).entities[key]
        values: list[Any] = await client.mget([f"{prefix}:{view}:{each}" for view in views for each in ids])
        present, never = ["PRESENT"] * len(ids), ["1970-01-01T00:00:00Z"] * len(ids)
        results = [{"values": ids, "statuses": present, "event_timestamps": never}]
        for number in range(len(views)):
            of_view = values[number * len(ids) : (number + 1) * len(ids)]
            times, *columns = zip(*[packer.unpack(value) for value in of_view], strict=True)
            texts = [_text(micros) for micros in times]
            results += [{"values": c, "statuses": present, "event_timestamps": texts} for c in columns]
        return encode({"results": results, "metadata": {"feature_names": names}})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/health":
            body = b""
        else:
            message = await receive()
            given = message["body"]
            while message.get("more_body"):
                message = await receive()
                given += message["body"]
            body = await answer(given)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _text(micros: int) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()[:-6] + "Z"
