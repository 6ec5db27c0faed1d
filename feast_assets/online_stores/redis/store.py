"""Redis: the online store of many machines.

A row is one string value under ``fa:<length of the table's name>:<table>:<entity key>``; see
`feast_assets.online_stores.redis.values`. A script on the server keeps the newest. Marks are under keys of their own,
see `feast_assets.online_stores.redis.marks`.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.abilities import (
    CanEvict,
    CanExpire,
    CanHoldForeignValues,
    CanReplace,
    CanSample,
    CanTellRestarts,
    RowStamps,
)
from feast_assets.online_stores.base import (
    LARGEST_VERSION,
    EncodedRows,
    Mark,
    OnlineRead,
    OnlineStore,
    PutResult,
    StoredRows,
    closing_source,
)
from feast_assets.online_stores.merged_reads import MergedReads
from feast_assets.online_stores.redis.commands import (
    bulk_strings,
    checked,
    command,
    mget,
    run,
    run_all,
    run_all_async,
    run_async,
)
from feast_assets.online_stores.redis.config import RedisOnlineStoreConfig
from feast_assets.online_stores.redis.values import (
    HEADER,
    HEADER_WIDTH,
    SIGN,
    StampedRows,
    foreign_value,
    headers,
    stamps_of,
)

try:
    import redis
    import redis.asyncio
    import redis.asyncio.retry
    import redis.retry
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import RedisError

    from feast_assets.online_stores.redis import format as redis_format
    from feast_assets.online_stores.redis import marks as redis_marks
    from feast_assets.online_stores.redis.eviction import evicting_policy
    from feast_assets.online_stores.redis.puts import ROWS_AT_ONCE, ROWS_PUT_WHOLE, Put
except ImportError as error:
    raise ImportError("The redis online store needs the redis package: pip install 'feast-assets[redis]'.") from error

_KEYS_PER_UNLINK = 1000
_KEYS_PER_SCAN = 1000
_STEPS_PER_SAMPLE = 50
# Enough for a connection that went stale; a request cannot wait for a server that is down.
_RETRIES = 2
# How long a call waits for a connection when all are in use.
_POOL_SECONDS = 10.0


# One step of a scan, which returns only the rows that are asked for. GETRANGE of a key of another type than string is
# an error, which pcall returns as a table.
_SCAN_SCRIPT = f"""
local unpack_stamps = struct.unpack
local s1, s2, _, _, _, _ = unpack_stamps('>I4I4I4I4I4I4', ARGV[4])
local e1, e2, _, _, b1, b2 = unpack_stamps('>I4I4I4I4I4I4', ARGV[5])
local step = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local rows, n = {{}}, 0
for _, key in ipairs(step[2]) do
  local value = redis.pcall('GETRANGE', key, 0, {HEADER_WIDTH - 1})
  if type(value) == 'string' and #value == {HEADER_WIDTH} then
    local t1, t2, _, _, v1, v2 = unpack_stamps('>I4I4I4I4I4I4', value)
    local inside = (t1 > s1 or (t1 == s1 and t2 >= s2)) and (t1 < e1 or (t1 == e1 and t2 < e2))
    if inside and (v1 < b1 or (v1 == b1 and v2 < b2)) then
      rows[n + 1], rows[n + 2] = key, value
      n = n + 2
    end
  end
end
return {{step[1], rows}}
"""

_REPLACE_SCRIPT = f"""
local n, replaced, ttl = #KEYS, 0, tonumber(ARGV[#ARGV])
for i = 1, n do
  if redis.pcall('GETRANGE', KEYS[i], 0, {HEADER_WIDTH - 1}) == ARGV[i] then
    local new = ARGV[n + i]
    if new == '' then
      redis.call('DEL', KEYS[i])
    elseif ttl > 0 then
      redis.call('SET', KEYS[i], new, 'EX', ttl)
    else
      redis.call('SET', KEYS[i], new)
    end
    replaced = replaced + 1
  end
end
return replaced
"""


class RedisOnlineStore(OnlineStore, CanReplace, CanSample, CanExpire, CanEvict, CanTellRestarts, CanHoldForeignValues):
    """The latest row per key in a Redis server.

    ``put_many`` is atomic for a batch of up to two thousand rows, and for each five hundred of a larger one; a put that
    fails half-way is made whole by putting the same rows again. ``get_many`` is one ``MGET`` for all tables, and so are
    all the ``get_many_async`` that begin in one turn of an event loop. When a connection breaks while rows are put,
    they may have been written before the connection is tried again, and then count as ignored.
    """

    config_class: ClassVar[type[RedisOnlineStoreConfig]] = RedisOnlineStoreConfig
    rows_put_whole = ROWS_PUT_WHOLE

    def __init__(self, config: RedisOnlineStoreConfig, root: Path | None = None):
        """Creates the store without connecting. ``root`` is there for all stores alike; this one has no files."""
        self._address = config.address
        self._server = self._address.host_port
        self._ttl = config.key_ttl_seconds or 0
        self._client: redis.Redis = redis.Redis.from_pool(
            redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
                timeout=_POOL_SECONDS,
                connection_class=redis.SSLConnection if self._address.ssl else redis.Connection,
                retry=redis.retry.Retry(_backoff(), _RETRIES),
                **self._address.pool_arguments(),
            )
        )
        self._async_clients: dict[asyncio.AbstractEventLoop, redis.asyncio.Redis] = {}
        self._reads: dict[asyncio.AbstractEventLoop, MergedReads[bytes, bytes | None]] = {}
        # Those of the event loop that read last, which nearly always reads next.
        self._last_reads: MergedReads[bytes, bytes | None] | None = None
        self._warned_of_eviction = False
        self._is_format_known = False

    def __repr__(self) -> str:
        return f"RedisOnlineStore({self._address.host_port!r})"

    def setup(self, tables: Iterable[str]) -> None:
        """Draws the identities of tables that have none, and checks that the server answers."""
        named = list(tables)
        self._check_format()
        with self._mapped_errors():
            if not self._warned_of_eviction:
                self._warned_of_eviction = True
                self._warn_of_eviction()
            if not named:
                self._client.ping()
                return
            redis_marks.begin(self._client, named)

    def evicts(self) -> str:
        """See `CanEvict.evicts`; ``""`` where the server does not let this client ask."""
        try:
            with self._mapped_errors():
                return evicting_policy(self._client, rows_expire=self._ttl > 0)
        except StoreUnavailableError:
            return ""

    @property
    def key_ttl(self) -> timedelta | None:
        return timedelta(seconds=self._ttl) if self._ttl else None

    def _warn_of_eviction(self) -> None:
        if policy := self.evicts():
            warnings.warn(
                f"Redis at {self._server} removes rows when its memory is full (maxmemory-policy {policy}); their "
                "entities then read as NOT_FOUND. Set the policy noeviction, unless rows may be lost.",
                stacklevel=3,
            )

    def marks(self, tables: Sequence[str]) -> list[Mark]:
        self._check_format()
        with self._mapped_errors():
            return redis_marks.marks(self._client, tables)

    def advance(self, table: str, expected: int, new: int) -> Mark:
        with self._mapped_errors():
            return redis_marks.advance(self._client, table, expected, new)

    def restart_token(self) -> str:
        with self._mapped_errors():
            return redis_marks.restart_token(self._client.connection_pool)

    def evicts_marks(self) -> bool:
        with self._mapped_errors():
            # A mark does not expire, so policies for keys that do spare it.
            return bool(evicting_policy(self._client, rows_expire=False))

    def put_many(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._run_put(self._put(table), batches)

    def put_existing(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        return self._run_put(self._put(table, only_existing=True), batches)

    def _run_put(self, put: Put, batches: Iterable[EncodedRows]) -> PutResult:
        pool = self._client.connection_pool
        self._check_format()
        with closing_source(batches) as source:
            for trip in put.round_trips(source):
                with self._mapped_errors():
                    trip.take(run_all(pool, trip.commands))
        return put.result

    async def put_many_async(self, table: str, batches: Iterable[EncodedRows]) -> PutResult:
        pool = self._async_client().connection_pool
        await self._check_format_async(pool)
        with closing_source(batches) as source:
            put = self._put(table)
            for trip in put.round_trips(source):
                with self._mapped_errors():
                    trip.take(await run_all_async(pool, trip.commands))
        return put.result

    def get_many(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        arguments, counts = _asked(reads)
        values: list[bytes | None] = []
        if keys := sum(counts):
            self._check_format()
            try:
                values = run(self._client.connection_pool, mget((arguments,), keys))
            except (RedisError, OSError) as error:
                raise self._unavailable(error) from None
        return self._split(counts, values)

    async def get_many_async(self, reads: Sequence[OnlineRead]) -> list[StoredRows]:
        arguments, counts = _asked(reads)
        return self._split(counts, await self._merged_reads().get(arguments, sum(counts)))

    def scan(self, table: str, start: int, end: int, *, version_below: int | None = None) -> Iterator[RowStamps]:
        prefix = _prefix(table)
        step = self._client.register_script(_SCAN_SCRIPT)
        below = LARGEST_VERSION + 1 if version_below is None else version_below
        bounds = [HEADER.pack(start + SIGN, 0, 0), HEADER.pack(end + SIGN, 0, below)]
        cursor: Any = b"0"
        while True:
            with self._mapped_errors():
                cursor, pairs = step(args=[cursor, _glob(prefix), _KEYS_PER_SCAN, *bounds])
            if pairs:
                yield stamps_of([key[len(prefix) :] for key in pairs[::2]], pairs[1::2])
            if cursor == b"0":
                return

    def sample_keys(self, table: str, count: int, seed: int) -> list[bytes]:
        """See `CanSample.sample_keys`; of the keys that a limited number of steps through the server returns."""
        prefix = _prefix(table)
        seen: set[bytes] = set()
        cursor: Any = 0
        keys: Any
        with self._mapped_errors():
            for _ in range(_STEPS_PER_SAMPLE):
                cursor, keys = self._client.scan(cursor, match=_glob(prefix), count=_KEYS_PER_SCAN)
                seen.update(keys)
                if not cursor:
                    break
        chosen = Random(seed).sample(sorted(seen), min(count, len(seen)))  # noqa: S311 - protects nothing
        return [key[len(prefix) :] for key in chosen]

    def replace_many(self, table: str, held: RowStamps, rows: EncodedRows) -> int:
        """See `CanReplace.replace_many`; atomic for each five hundred rows."""
        prefix = _prefix(table)
        new = dict(zip(rows.keys, map(bytes.__add__, headers(rows), rows.payloads), strict=True))
        expected = headers(held)
        replace = self._client.register_script(_REPLACE_SCRIPT)
        replaced = 0
        for at in range(0, len(held), ROWS_AT_ONCE):
            keys = held.keys[at : at + ROWS_AT_ONCE]
            values = [new.get(key, b"") for key in keys]
            with self._mapped_errors():
                count: Any = replace(
                    keys=[prefix + key for key in keys], args=[*expected[at : at + ROWS_AT_ONCE], *values, self._ttl]
                )
            replaced += int(count)
        return replaced

    def foreign(self, table: str, keys: Sequence[bytes]) -> Mapping[bytes, str]:
        """See `CanHoldForeignValues.foreign`; keys of other types than string, and strings that are too short."""
        prefix = _prefix(table)
        reasons: dict[bytes, str] = {}
        for at in range(0, len(keys), _KEYS_PER_SCAN):
            some = keys[at : at + _KEYS_PER_SCAN]
            with self._mapped_errors():
                types = run_all(self._client.connection_pool, [command([b"TYPE", prefix + key]) for key in some])
                values: list[Any] = list(self._client.mget([prefix + key for key in some]))
            for key, kind, value in zip(some, checked(types), values, strict=True):
                if kind not in (b"string", b"none"):
                    reasons[key] = f"it is a Redis {kind.decode()}"
                elif value is not None and (reason := foreign_value(value)):
                    reasons[key] = reason
        return reasons

    def drop(self, tables: Iterable[str]) -> None:
        with self._mapped_errors():
            for table in tables:
                # First, so that a drop that breaks off cannot leave a table that seems whole.
                redis_marks.remove(self._client, [table])
                chunk: list[bytes] = []
                for key in self._client.scan_iter(match=_glob(_prefix(table)), count=_KEYS_PER_UNLINK):
                    chunk.append(key)
                    if len(chunk) == _KEYS_PER_UNLINK:
                        self._client.unlink(*chunk)
                        chunk = []
                if chunk:
                    self._client.unlink(*chunk)

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        self._last_reads = None
        self._reads.pop(asyncio.get_running_loop(), None)
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _merged_reads(self) -> MergedReads[bytes, bytes | None]:
        loop = asyncio.get_running_loop()
        last = self._last_reads
        if last is not None and last.loop is loop:
            return last
        reads = self._reads.get(loop)
        if reads is None:
            pool = self._async_client().connection_pool
            reads = self._reads[loop] = MergedReads(loop, partial(self._run_async, pool))
        self._last_reads = reads
        return reads

    async def _run_async(
        self, pool: redis.asyncio.ConnectionPool, arguments: Sequence[bytes], keys: int
    ) -> list[bytes | None]:
        await self._check_format_async(pool)
        try:
            values: list[bytes | None] = await run_async(pool, mget(arguments, keys)) if keys else []
            return values
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from None

    def _check_format(self) -> None:
        """Asks once what format the rows have; raises StoredFormatError where a newer version wrote them."""
        if not self._is_format_known:
            with self._mapped_errors():
                answer = run(self._client.connection_pool, redis_format.ASK)
            redis_format.check(answer, self._server)
            self._is_format_known = True

    async def _check_format_async(self, pool: redis.asyncio.ConnectionPool) -> None:
        if not self._is_format_known:
            with self._mapped_errors():
                answer = await run_async(pool, redis_format.ASK)
            redis_format.check(answer, self._server)
            self._is_format_known = True

    def _async_client(self) -> redis.asyncio.Redis:
        # A connection belongs to the event loop that opened it.
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            self._forget_closed_loops()
            client = self._async_clients[loop] = redis.asyncio.Redis.from_pool(
                redis.asyncio.BlockingConnectionPool(
                    timeout=_POOL_SECONDS,
                    connection_class=redis.asyncio.SSLConnection if self._address.ssl else redis.asyncio.Connection,
                    retry=redis.asyncio.retry.Retry(_backoff(), _RETRIES),
                    **self._address.pool_arguments(),
                )
            )
        return client

    def _forget_closed_loops(self) -> None:
        # Of a loop that ended without `aclose`. Its connections close their sockets when nobody holds them any more.
        for loop in [loop for loop in list(self._async_clients) if loop.is_closed()]:
            self._async_clients.pop(loop, None)
            self._reads.pop(loop, None)

    def _put(self, table: str, *, only_existing: bool = False) -> Put:
        def overwritten(key: bytes) -> None:
            self.foreign_values.warn(table, key, "its value was damaged or written by others", overwritten=True)

        return Put(
            _prefix(table),
            redis_marks.identity_key(table),
            redis_marks.drawn_identity,
            self._ttl,
            only_existing,
            overwritten,
        )

    def _split(self, counts: Sequence[int], values: Sequence[bytes | None]) -> list[StoredRows]:
        if len(counts) == 1:
            return [StampedRows(values)]
        ends = list(accumulate(counts))
        return [StampedRows(values[end - count : end]) for count, end in zip(counts, ends, strict=True)]

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        return StoreUnavailableError(f"Redis at {self._server} cannot be used: {self._address.cleaned(error)}")


def _backoff() -> ExponentialBackoff:
    return ExponentialBackoff(cap=0.2, base=0.02)


def _asked(reads: Sequence[OnlineRead]) -> tuple[bytes, Sequence[int]]:
    """Returns the arguments of the ``MGET`` that answers some reads, and how many of them are of each read."""
    if len(reads) == 1:
        (read,) = reads
        return bulk_strings(_prefix(read.table), read.keys), (len(read.keys),)
    arguments = [bulk_strings(_prefix(read.table), read.keys) for read in reads]
    return b"".join(arguments), [len(read.keys) for read in reads]


@lru_cache(maxsize=1024)
def _prefix(table: str) -> bytes:
    # The length first: no table's prefix can be the beginning of another's.
    name = table.encode("utf-8", "surrogatepass")
    return b"fa:%d:%b:" % (len(name), name)


def _glob(prefix: bytes) -> bytes:
    escaped = b"".join(b"\\" + bytes([c]) if bytes([c]) in b"*?[]^-\\" else bytes([c]) for c in prefix)
    return escaped + b"*"
