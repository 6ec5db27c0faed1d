"""Sends messages of our own to our own servers: MessagePack in, MessagePack out, with the number of its format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from feast_assets.errors import (
    FeastAssetsError,
    FeastError,
    InputError,
    NotSupportedError,
    StoredFormatError,
    StoreUnavailableError,
    UnauthenticatedError,
    printable,
)
from feast_assets.remote.http_client import HttpClient
from feast_assets.stored_formats import package_version

MESSAGE_FORMAT = 1
"""Of the messages; it grows when an older client or server would misread them."""

FORMAT_HEADER = "feast-assets-format"
CONTENT_TYPE = "application/vnd.feast-assets+msgpack"
ERROR_FRAME = 1
DATA_FRAME = 0

_LENGTH_BYTES = 4
_LARGEST_FRAME = 64 * 2**20

_Answer = TypeVar("_Answer")

encode_message = msgspec.msgpack.Encoder().encode


@lru_cache(maxsize=128)
def decoder_of(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Returns what reads messages of a type."""
    return msgspec.msgpack.Decoder(kind)


class MessageClient:
    """Asks a server of this package for what its methods return.

    All methods raise `StoreUnavailableError` where the server cannot be reached or understood, `StoredFormatError`
    where it speaks another format, and otherwise the error that the server raised.
    """

    def __init__(self, client: HttpClient, prefix: str, holder: str):
        """Creates it without connecting.

        Args:
            prefix: what the paths of all methods begin with.
            holder: what the server must have, for messages, such as ``an online store``.
        """
        self._client = client
        self._prefix = prefix
        self._holder = holder

    def call(self, method: str, message: object, answer: type[_Answer] | Any, *, repeatable: bool) -> Any:
        """Sends a message and returns the answer.

        Args:
            answer: the answer's type.
            repeatable: as in `HttpClient.ask`.
        """
        got = self._client.ask("POST", self._prefix + method, encode_message(message), _HEADERS, repeatable=repeatable)
        self._check(got.status, got.headers, got.body)
        return self._decoded(got.body, answer)

    @contextmanager
    def stream(self, method: str, message: object, answer: type[_Answer]) -> Iterator[Iterator[_Answer]]:
        """Sends a message, and yields its answers as they come."""
        with self._client.stream("POST", self._prefix + method, encode_message(message), _HEADERS) as got:
            if got.status != 200 or FORMAT_HEADER not in got.headers:
                self._check(got.status, got.headers, b"".join(got.pieces))
            self._check(got.status, got.headers, b"")
            yield self._answers(got.pieces, answer)

    def _answers(self, pieces: Iterator[bytes], answer: type[_Answer]) -> Iterator[_Answer]:
        for kind, content in _frames(pieces):
            if kind == ERROR_FRAME:
                raise self._error_of(content)
            yield self._decoded(content, answer)

    def _decoded(self, content: bytes, answer: Any) -> Any:
        try:
            return decoder_of(answer).decode(content)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise StoreUnavailableError(f"{self._client.name} sent a malformed answer: {printable(error)}.") from None

    def _check(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        spoken = headers.get(FORMAT_HEADER)
        if spoken is not None and spoken != str(MESSAGE_FORMAT):
            raise StoredFormatError(
                f"{self._client.name} speaks format {printable(spoken, 40)} of messages; the installed feast-assets "
                f"{package_version()} speaks format {MESSAGE_FORMAT}. Install the version that the server has."
            )
        if status == 200 and spoken is not None:
            return
        if spoken is not None or body[:1] == b'"':
            raise self._error_of(body, status)
        raise self._not_ours(status, body)

    def _error_of(self, body: bytes, status: int = 500) -> FeastError:
        try:
            detail = json.loads(body)
        except (ValueError, RecursionError):
            detail = None
        error = FeastError.from_error_detail(detail) if isinstance(detail, str) else None
        if error is None:
            return self._not_ours(status, body)
        if type(error) is FeastError:
            return StoreUnavailableError(f"{self._client.name} failed: {error}")
        return error

    def _not_ours(self, status: int, body: bytes) -> FeastAssetsError:
        said = printable(body.decode("utf-8", "replace"), 200)
        if status == 401:
            return UnauthenticatedError(f"{self._client.name} does not know this client: {said}")
        if status == 403:
            return InputError(f"{self._client.name} refuses this client with status {status}: {said}")
        if status == 413:
            return InputError(f"{self._client.name} does not take a request of this size: {said}")
        if status in (404, 405):
            return NotSupportedError(
                f"{self._client.name} has no {self._prefix.rstrip('/')}: it is no feast_assets server with "
                f"{self._holder}, or one of an older version. Feast's own servers cannot be used in this way."
            )
        return StoreUnavailableError(f"{self._client.name} answered with status {status}: {said}")


_HEADERS = {"Content-Type": CONTENT_TYPE, FORMAT_HEADER: str(MESSAGE_FORMAT)}


def frame(kind: int, content: bytes) -> bytes:
    """Returns a part of a stream: its length, its kind, and its content."""
    return (len(content) + 1).to_bytes(_LENGTH_BYTES, "big") + bytes([kind]) + content


LAST_FRAME = (0).to_bytes(_LENGTH_BYTES, "big")
"""Ends a stream; one that breaks off before has failed."""


def _frames(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yields kind and content of each frame of a stream.

    Raises:
        StoreUnavailableError: the stream breaks off.
    """
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= _LENGTH_BYTES:
            size = int.from_bytes(buffer[:_LENGTH_BYTES], "big")
            if size == 0:
                return
            if size > _LARGEST_FRAME:
                raise StoreUnavailableError("The server sent a malformed stream: a part of it is too long.")
            end = _LENGTH_BYTES + size
            if len(buffer) < end:
                break
            kind, content = buffer[_LENGTH_BYTES], bytes(buffer[_LENGTH_BYTES + 1 : end])
            del buffer[:end]
            yield kind, content
    raise StoreUnavailableError("The server broke off its answer; ask again.")
