"""Putting rows into Redis: what each round trip carries, whoever sends it.

A script keeps the newest of what is stored and what is put. Rows of which the server has none yet need no script:
``MSETNX`` takes them in half the time. So a put of many rows begins with that, until one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from feast_assets.online_stores.base import EncodedRows, PutResult, counted
from feast_assets.online_stores.redis.commands import bulk_strings, checked, command, evalsha, msetnx
from feast_assets.online_stores.redis.values import HEADER, HEADER_WIDTH, SIGN, headers
from feast_assets.online_stores.rows.foreign_values import FIRST_PAYLOAD_BYTE, LEAST_PAYLOAD, NEWEST_EVENT, OLDEST_EVENT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROWS_AT_ONCE = 500
"""How many rows one command writes. With more, what it carries leaves the processor's caches, on both sides."""
_COMMANDS_PER_ROUND_TRIP = 4
_FIRST_BYTES = [HEADER.pack(event + SIGN, 0)[0] for event in (OLDEST_EVENT, NEWEST_EVENT)]

# Lua compares strings by the server's locale, and its numbers are doubles; so timestamps are compared as four exact
# 32 bit numbers, and payloads byte by byte, which only happens where both timestamps are equal.
#
# MGET finds nothing under a key of another type than string, and SET and MSET overwrite it; so only to name such keys
# they are looked for. The first byte of an event time of the years 1 to 9999 is one of five.
_SCRIPT = f"""
local unpack_header, byte = struct.unpack, string.byte
local function newer(a, b)
  if a == b then return false end
  local a1, a2, a3, a4 = unpack_header('>I4I4I4I4', a)
  local b1, b2, b3, b4 = unpack_header('>I4I4I4I4', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  if a4 ~= b4 then return a4 > b4 end
  for i = 17, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
local stored = redis.call('MGET', unpack(KEYS))
if not stored[1] then redis.call('SET', KEYS[1], ARGV[1]) end
local ttl, tells = tonumber(ARGV[#KEYS + 1]), ARGV[#KEYS + 2] == '1'
local only_replaces, of_codec = ARGV[#KEYS + 3] == '1', ARGV[#KEYS + 4] == '1'
local least = of_codec and {HEADER_WIDTH + LEAST_PAYLOAD} or {HEADER_WIDTH}
local changed, places, absent, foreign, n = {{}}, {{}}, {{}}, {{}}, 0
local missing = {{}}
for i = 2, #KEYS do
  local old = stored[i]
  if not old then
    missing[#missing + 1] = i
  else
    local is_foreign = #old < least
    if of_codec and not is_foreign then
      local first = byte(old, 1)
      is_foreign = first < {_FIRST_BYTES[0]} or first > {_FIRST_BYTES[1]}
        or byte(old, {HEADER_WIDTH + 1}) ~= {FIRST_PAYLOAD_BYTE}
    end
    if is_foreign then
      stored[i] = false
      foreign[#foreign + 1] = i - 2
    end
  end
end
if #missing > 0 then
  local keys = {{}}
  for j, i in ipairs(missing) do keys[j] = KEYS[i] end
  if redis.call('EXISTS', unpack(keys)) > 0 then
    for _, i in ipairs(missing) do
      if redis.call('EXISTS', KEYS[i]) > 0 then foreign[#foreign + 1] = i - 2 end
    end
  end
end
for i = 2, #KEYS do
  local old, new = stored[i], ARGV[i]
  if not old and only_replaces then
    absent[#absent + 1] = i - 2
  elseif not old or newer(new, old) then
    n = n + 1
    if tells then places[n] = i - 2 end
    if ttl > 0 then
      redis.call('SET', KEYS[i], new, 'EX', ttl)
    else
      changed[2 * n - 1], changed[2 * n] = KEYS[i], new
    end
  end
end
if ttl <= 0 and n > 0 then redis.call('MSET', unpack(changed)) end
return {{n, places, absent, foreign}}
"""
# Redis names scripts by this digest; it protects nothing.
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class RoundTrip:
    """Commands that are sent together.

    Attributes:
        brings_script: whether the script is among them, so that the server has to know it.
        answers: to each command; `NoScriptError` where the server does not know the script, and need not.
    """

    commands: Sequence[bytes]
    brings_script: bool = False
    answers: Sequence[Any] = ()

    def take(self, answers: Sequence[Any]) -> None:
        """Takes the server's answers.

        Raises:
            RedisError: the first of them that is one, unless the server only does not know the script yet.
        """
        checked([a for a in answers if self.brings_script or not isinstance(a, NoScriptError)])
        self.answers = answers


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that are written by one command.

    Attributes:
        groups: int64[rows]; those that they are counted by, if any.
        only_replaces, of_codec: as `EncodedRows` has them.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    groups: NDArray[np.int64] | None
    only_replaces: bool
    of_codec: bool

    def __len__(self) -> int:
        return len(self.keys)

    def all_written(self) -> PutResult:
        return PutResult(len(self), 0, () if self.groups is None else counted(self.groups.tolist()))

    def written(self, count: int, places: Sequence[int]) -> PutResult:
        """Returns what became of the rows, by how many the script wrote and, where they have groups, which."""
        by_group = () if self.groups is None else counted(self.groups[places].tolist())
        return PutResult(count, len(self) - count, by_group)


@dataclass(slots=True)
class Put:
    """One put into a table.

    Attributes:
        prefix: what the keys of the table's rows begin with.
        identity_key: under which the table's identity is.
        draw: draws an identity to write there if there is none; anew each time, as one that is gone must not come back.
        ttl: how many seconds a row stays; 0 is for ever.
        overwritten: is told of the keys of values that could not be rows, once rows have been put in their place.
    """

    prefix: bytes
    identity_key: bytes
    draw: Callable[[], bytes]
    ttl: int
    overwritten: Callable[[bytes], None]
    _counts: PutResult = field(default_factory=lambda: PutResult(0, 0), init=False)
    _absent: list[bytes] = field(default_factory=list, init=False)

    @property
    def result(self) -> PutResult:
        """What became of the rows whose round trips were answered."""
        return replace(self._counts, absent=tuple(self._absent)) if self._absent else self._counts

    def round_trips(self, batches: Iterable[EncodedRows]) -> Iterator[RoundTrip]:
        """Yields what to send; each is to be answered before the next is asked for."""
        # There is no MSETNX of rows that expire. For few rows a second trip would cost more than it saves.
        may_be_new = not self.ttl
        for parts in _together(batches):
            if may_be_new and sum(map(len, parts)) >= ROWS_AT_ONCE and not any(p.only_replaces for p in parts):
                parts = yield from self._new(parts)
                may_be_new = not parts
            if parts:
                yield from self._compared(parts)

    def _new(self, parts: list[_Part]) -> Generator[RoundTrip, None, list[_Part]]:
        """Puts the parts of which the server has no row; returns the others."""
        # The identity goes first: rows are without one only if the table is dropped in between, and then the next setup
        # draws another than the ledger has, so that the table is filled anew.
        identity = command([b"SET", self.identity_key, self.draw(), b"NX"])
        yield (trip := RoundTrip([identity, *(msetnx(self.prefix, part.keys, part.values) for part in parts)]))
        others = []
        for part, is_new in zip(parts, trip.answers[1:], strict=True):
            if is_new:
                self._counts += part.all_written()
            else:
                others.append(part)
        return others

    def _compared(self, parts: list[_Part]) -> Iterator[RoundTrip]:
        """Puts the rows that are newer than what is stored."""
        commands = [self._script(part) for part in parts]
        yield (trip := RoundTrip(commands))
        answers = list(trip.answers)
        if unknown := [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]:
            # The server was restarted or its scripts were flushed. Those that ran would change nothing when run again,
            # but only the others are, so that the counts stay right.
            load = command([b"SCRIPT", b"LOAD", _SCRIPT.encode()])
            yield (trip := RoundTrip([load, *(commands[i] for i in unknown)], brings_script=True))
            for i, answer in zip(unknown, trip.answers[1:], strict=True):
                answers[i] = answer
        for part, (count, places, absent, foreign) in zip(parts, answers, strict=True):
            self._counts += part.written(count, places)
            self._absent += [part.keys[place] for place in absent]
            for place in set(foreign).difference(absent):
                self.overwritten(part.keys[place])

    def _script(self, part: _Part) -> bytes:
        """Returns the command that runs the script.

        Its keys are that of the table's identity, then those of the rows; its arguments are an identity, the rows'
        values, the ttl, and three flags: whether to tell which rows it wrote, and the two of `_Part`.

        It returns how many rows it wrote, and three lists of rows by their position. The first has those that it
        wrote, if that is to be told. The second has those that only replace and had nothing to replace. The third has
        those under whose keys were values that could not be rows.
        """
        flags = [b"%d" % flag for flag in (part.groups is not None, part.only_replaces, part.of_codec)]
        keys = [bulk_strings(b"", [self.identity_key]), bulk_strings(self.prefix, part.keys)]
        arguments = [bulk_strings(b"", values) for values in ([self.draw()], part.values, [b"%d" % self.ttl, *flags])]
        return evalsha(_SHA, keys, len(part) + 1, arguments, len(part) + 2 + len(flags))


def _together(batches: Iterable[EncodedRows]) -> Iterator[list[_Part]]:
    """Yields the rows that one round trip carries."""
    parts: list[_Part] = []
    for batch in batches:
        stamps = headers(batch.event_timestamps, batch.created_timestamps)
        for at in range(0, len(batch), ROWS_AT_ONCE):
            some = slice(at, at + ROWS_AT_ONCE)
            values = list(map(bytes.__add__, stamps[some], batch.payloads[some]))
            groups = None if batch.groups is None else batch.groups[some]
            parts.append(_Part(batch.keys[some], values, groups, batch.only_replaces, batch.of_codec))
            if len(parts) == _COMMANDS_PER_ROUND_TRIP:
                yield parts
                parts = []
    if parts:
        yield parts
