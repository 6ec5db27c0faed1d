"""Connections to one Postgres server, for threads and event loops that come and go, and for processes that fork."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from psycopg import AsyncConnection, AsyncRawCursor, BaseConnection, Connection, OperationalError, RawCursor
from psycopg.errors import AdminShutdown, CrashShutdown, DeadlockDetected, SerializationFailure
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from feast_assets.online_stores.postgres import arrays

_Result = TypeVar("_Result")
# A server that was started again has closed all idle connections; a deadlock is over when one of its parties gives up.
_TRIES = 4
# How long a call waits for a connection when all are in use.
_WAIT_SECONDS = 10.0
# What a parent opened; closing it in a child would end the parent's session.
_INHERITED: list[BaseConnection[TupleRow]] = []
_POOLS: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


class NoFreeConnectionError(OperationalError):
    """All connections are in use, and stay so."""

    def __init__(self, most: int):
        super().__init__(
            f"all {most} connections of this process have been in use for {_WAIT_SECONDS:.0f} seconds; raise max_conn"
        )


class ConnectionPool:
    """Hands out a connection for each piece of work; safe to share between threads and to use after a fork.

    A piece of work is a function of a connection that may be run again: it is when the connection turns out to be
    broken, or when the server ends a deadlock. Connections are in autocommit mode.

    Args:
        parameters: libpq's.
        most: connections that may be open at once.
    """

    def __init__(self, parameters: Mapping[str, Any], most: int):
        self._parameters = parameters
        self._most = most
        # Changed in place only: the finalizer holds it.
        self._idle: list[Connection[TupleRow]] = []
        self._free = threading.BoundedSemaphore(most)
        self._generation = 0
        self._loops: dict[asyncio.AbstractEventLoop, _LoopConnections] = {}
        weakref.finalize(self, _finish, self._idle)
        _POOLS.add(self)

    def run(self, work: Callable[[Connection[TupleRow]], _Result]) -> _Result:
        """Returns what a piece of work returns.

        Raises:
            psycopg.Error: what it raises in the end, or the server cannot be reached.
        """
        free = self._free
        if not free.acquire(timeout=_WAIT_SECONDS):
            raise NoFreeConnectionError(self._most)
        try:
            return self._run(work)
        finally:
            free.release()

    def _run(self, work: Callable[[Connection[TupleRow]], _Result]) -> _Result:
        tries = 0
        while True:
            tries += 1
            generation = self._generation
            try:
                connection = self._idle.pop()
                is_fresh = False
            except IndexError:
                connection = self._opened()
                is_fresh = True
            try:
                result = work(connection)
            except BaseException as error:
                is_lost = _is_lost(connection, error)
                self._give_back(connection, generation)
                if not _may_pass(error, is_lost=is_lost, is_fresh=is_fresh) or tries == _TRIES:
                    raise
                if is_lost:
                    self._finish_idle()
            else:
                self._give_back(connection, generation)
                return result

    async def run_async(self, work: Callable[[AsyncConnection[TupleRow]], Awaitable[_Result]]) -> _Result:
        """As `run`, without blocking the event loop, by connections of that loop's own."""
        loop = asyncio.get_running_loop()
        connections = self._loops.get(loop)
        if connections is None:
            self._forget_closed_loops()
            connections = self._loops[loop] = _LoopConnections(self._parameters, self._most)
        return await connections.run(work)

    def close(self) -> None:
        """Closes all connections of threads: idle ones now, others when their work ends."""
        self._generation += 1
        self._finish_idle()

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        if connections := self._loops.pop(asyncio.get_running_loop(), None):
            connections.close()

    def _opened(self) -> Connection[TupleRow]:
        connection = Connection.connect(**self._parameters, autocommit=True, cursor_factory=RawCursor)
        arrays.register(connection)
        return connection

    def _give_back(self, connection: Connection[TupleRow], generation: int) -> None:
        if generation == self._generation and _is_idle(connection):
            self._idle.append(connection)
        else:
            connection.close()

    def _finish_idle(self) -> None:
        _finish(self._idle)

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in list(self._loops) if loop.is_closed()]:
            self._loops.pop(loop).close()

    def _after_fork(self) -> None:
        _INHERITED.extend(self._idle)
        self._idle.clear()
        self._free = threading.BoundedSemaphore(self._most)
        for connections in self._loops.values():
            connections.leave_open()
        self._loops.clear()


class _LoopConnections:
    """The connections of one event loop."""

    def __init__(self, parameters: Mapping[str, Any], most: int):
        self._parameters = parameters
        self._most = most
        self._idle: list[AsyncConnection[TupleRow]] = []
        self._free = asyncio.BoundedSemaphore(most)
        # Idle or in use. Changed in place only: the finalizer holds it.
        self._open: set[AsyncConnection[TupleRow]] = set()
        weakref.finalize(self, _finish, self._open)

    async def run(self, work: Callable[[AsyncConnection[TupleRow]], Awaitable[_Result]]) -> _Result:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise NoFreeConnectionError(self._most) from None
        try:
            return await self._run(work)
        finally:
            self._free.release()

    async def _run(self, work: Callable[[AsyncConnection[TupleRow]], Awaitable[_Result]]) -> _Result:
        tries = 0
        while True:
            tries += 1
            is_fresh = not self._idle
            connection = await self._opened() if is_fresh else self._idle.pop()
            try:
                result = await work(connection)
            except BaseException as error:
                is_lost = _is_lost(connection, error)
                self._give_back(connection)
                if not _may_pass(error, is_lost=is_lost, is_fresh=is_fresh) or tries == _TRIES:
                    raise
                if is_lost:
                    self._finish_idle()
            else:
                self._give_back(connection)
                return result

    def close(self) -> None:
        self._idle.clear()
        _finish(self._open)

    def leave_open(self) -> None:
        """Keeps the connections from being closed by this process, which is a child of the one that opened them."""
        _INHERITED.extend(self._open)
        self._open.clear()

    async def _opened(self) -> AsyncConnection[TupleRow]:
        connection = await AsyncConnection.connect(**self._parameters, autocommit=True, cursor_factory=AsyncRawCursor)
        arrays.register(connection)
        self._open.add(connection)
        return connection

    def _give_back(self, connection: AsyncConnection[TupleRow]) -> None:
        if _is_idle(connection):
            self._idle.append(connection)
        else:
            self._open.discard(connection)
            connection.pgconn.finish()

    def _finish_idle(self) -> None:
        self._open.difference_update(self._idle)
        _finish(self._idle)


def _is_lost(connection: BaseConnection[TupleRow], error: BaseException) -> bool:
    """Says whether a connection is of no more use, and finishes it if so."""
    if isinstance(error, AdminShutdown | CrashShutdown):
        # The server says so before the end of the connection is seen.
        connection.pgconn.finish()
    return connection.closed


def _is_idle(connection: BaseConnection[TupleRow]) -> bool:
    return connection.pgconn.transaction_status == TransactionStatus.IDLE


def _may_pass(error: BaseException, *, is_lost: bool, is_fresh: bool) -> bool:
    """Says whether the same work may succeed if it is done again."""
    if isinstance(error, DeadlockDetected | SerializationFailure):
        return True
    return isinstance(error, OperationalError) and is_lost and not is_fresh


def _finish(
    connections: list[Connection[TupleRow]] | list[AsyncConnection[TupleRow]] | set[AsyncConnection[TupleRow]],
) -> None:
    # Other threads may take from the list meanwhile.
    with suppress(IndexError, KeyError):
        while True:
            connection = connections.pop()
            # Not by its method, which is a coroutine in one of the classes; this waits for nobody.
            connection.pgconn.finish()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
