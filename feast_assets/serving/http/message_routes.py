"""Methods that clients of our own call by HTTP: MessagePack in, MessagePack or a stream of it out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextvars import copy_context
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any

import msgspec

from feast_assets.errors import FeastAssetsError, FeastError, printable
from feast_assets.remote.message_client import (
    CONTENT_TYPE,
    DATA_FRAME,
    ERROR_FRAME,
    FORMAT_HEADER,
    LAST_FRAME,
    MESSAGE_FORMAT,
    decoder_of,
    encode_message,
    frame,
)
from feast_assets.serving.failures import failure_of
from feast_assets.serving.http.messages import JSON, Answer, Headers

FORMAT: Headers = ((FORMAT_HEADER.encode(), b"%d" % MESSAGE_FORMAT),)
_KIND = CONTENT_TYPE.encode()
# Whose classes `FeastError.from_error_detail` makes.
_MODULES_OF_ERRORS = (FeastError.__module__, "feast_assets.feast_errors")


def own_detail(error: Exception) -> dict[str, str]:
    """Returns the error detail from which a client of this package makes the same error.

    A client of Feast's gets the nearest class that Feast has instead.
    """
    failure = failure_of(error)
    if not isinstance(error, FeastError):
        return {**failure.detail(), "class": "FeastError"}
    own = next(
        (kind.__name__ for kind in type(error).__mro__ if kind.__module__ in _MODULES_OF_ERRORS),
        FeastAssetsError.__name__,
    )
    return {"module": FeastError.__module__, "class": own, "message": failure.message}


def failed(error: Exception) -> Answer:
    """Returns the answer to a call that failed."""
    status = failure_of(error).status
    body = json.dumps(json.dumps(own_detail(error))).encode()
    retry = ((b"retry-after", b"1"),) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()
    return Answer(status, body, JSON, (*FORMAT, *retry))


class MessageRoute:
    """Answers the calls of one method."""

    def __init__(self, kind: Any, method: Callable[[Any], Any], executor: Executor | None):
        """Creates it.

        Args:
            kind: the type of the request.
            method: answers it. One that is no coroutine function runs in a thread; an iterator that it returns is sent
                as a stream.
            executor: has the threads.
        """
        self._decoder = decoder_of(kind)
        self._method = method
        self._executor = executor
        self._is_async = iscoroutinefunction(method)

    async def __call__(self, request: Any) -> Answer:
        """Answers a request.

        Args:
            request: a `feast_assets.serving.http.app.Request`.
        """
        spoken = request.header(FORMAT_HEADER.encode())
        if spoken != b"%d" % MESSAGE_FORMAT:
            said = f"format {printable(spoken.decode('latin-1'), 40)}" if spoken else "no format"
            return Answer.of_json(
                400, {"detail": f"The request says {said} of messages; this server speaks {MESSAGE_FORMAT}."}, FORMAT
            )
        try:
            message = self._decoder.decode(request.body)
        except (msgspec.MsgspecError, RecursionError) as error:
            return Answer.of_json(422, {"detail": f"The request is malformed: {printable(error)}."}, FORMAT)
        try:
            answer = await self._answered(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return failed(error)
        if isinstance(answer, Iterator):
            return Answer(200, b"", _KIND, FORMAT, self._frames(answer))
        return Answer(200, encode_message(answer), _KIND, FORMAT)

    async def _answered(self, message: Any) -> Any:
        if self._is_async:
            return await self._method(message)
        return await self._in_thread(self._method, message)

    def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        # The thread acts on behalf of the caller too.
        return asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, work, *arguments)

    async def _frames(self, answers: Iterator[Any]) -> AsyncIterator[bytes]:
        """Yields the parts of a stream; the iterator is closed whatever happens."""
        end = object()
        try:
            while True:
                try:
                    answer = await self._in_thread(next, answers, end)
                except Exception as error:  # noqa: BLE001 - the answer has begun, so its status cannot tell
                    yield frame(ERROR_FRAME, json.dumps(json.dumps(own_detail(error))).encode())
                    return
                if answer is end:
                    yield LAST_FRAME
                    return
                yield frame(DATA_FRAME, encode_message(answer))
        finally:
            close = getattr(answers, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await self._in_thread(close)
