"""Answers of the HTTP door, and what it refuses before a verb is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from feast_assets.serving.failures import Failure

JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"
TEXT = b"text/plain; charset=utf-8"

Headers = tuple[tuple[bytes, bytes], ...]

to_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: the HTTP status.
        body: its bytes.
        content_type: of the body; ``b""`` where there is none.
        headers: further headers.
        pieces: the body where its length is not known from the beginning; ``body`` is empty then.
    """

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: Headers = ()
    pieces: AsyncIterator[bytes] | None = None

    @classmethod
    def of_json(cls, status: int, value: Any, headers: Headers = ()) -> Answer:
        """Returns a value as JSON."""
        return cls(status, to_json(value), JSON, headers)


EMPTY = Answer(200, b"", b"")
NULL = Answer(200, b"null")


class Refused(Exception):
    """A request that does not reach a verb.

    Attributes:
        answer: what is answered.
    """

    def __init__(self, status: HTTPStatus, detail: Any, headers: Headers = ()):
        super().__init__(status, detail)
        self.answer = Answer.of_json(status, {"detail": detail}, headers)


CLOSE: Headers = ((b"connection", b"close"),)


def of_failure(failure: Failure) -> Answer:
    """Returns the answer to a request that failed: as Feast's, JSON text whose content is JSON again."""
    headers: Headers = ()
    if failure.retry_after is not None:
        headers = ((b"retry-after", b"%d" % failure.retry_after),)
    return Answer(failure.status, to_json(to_json(failure.detail()).decode()), JSON, headers)
