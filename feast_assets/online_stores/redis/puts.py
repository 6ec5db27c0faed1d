"""Putting rows into Redis: the commands of each round trip, for the blocking and the asynchronous put alike.

A script keeps the newest of the stored rows and the rows that are put. Keys that the server does not have yet need no
script: ``MSETNX`` writes them in half the time. So a put of many rows begins with that, until a key exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redis.exceptions import NoScriptError

from feast_assets.online_stores.base import NOTHING_PUT, EncodedRows, PutResult
from feast_assets.online_stores.redis.commands import bulk_strings, checked, command, evalsha, msetnx
from feast_assets.online_stores.redis.values import HEADER, HEADER_WIDTH, SIGN, headers
from feast_assets.online_stores.rows.foreign_values import LEAST_PAYLOAD, NEWEST_EVENT, NEWEST_VERSION, OLDEST_EVENT

ROWS_AT_ONCE = 500
"""How many of many rows one command writes. The data of larger ones does not fit the processor's caches, on both sides.
"""
ROWS_PUT_WHOLE = 2_000
"""A batch of so many rows is written by one command all the same, whole or not at all, so that a push of them needs no
note in the registry. Lua passes at most some thousand keys and values to a command."""
_COMMANDS_PER_ROUND_TRIP = 4
# The first bytes of event times from year 1 to 9999, and of the largest version.
_FIRST_BYTES = [HEADER.pack(event + SIGN, 0, 0)[0] for event in (OLDEST_EVENT, NEWEST_EVENT)]
_LARGEST_VERSION_BYTE = NEWEST_VERSION >> 56

# Lua's numbers are doubles, and it compares strings by the server's locale. So timestamps and versions are compared as
# exact numbers of 32 bits, and payloads byte by byte, which only happens where all three are equal.
#
# MGET returns nothing for a key of another type than string, and SET and MSET overwrite it. Such keys are looked for
# only to name them.
_SCRIPT = f"""
local unpack_header, byte = struct.unpack, string.byte
local function newer(a, b)
  if a == b then return false end
  local a1, a2 = unpack_header('>I4I4', a)
  local b1, b2 = unpack_header('>I4I4', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  local a3, a4, a5, a6 = unpack_header('>I4I4I4I4', a, 9)
  local b3, b4, b5, b6 = unpack_header('>I4I4I4I4', b, 9)
  if a3 ~= b3 then return a3 > b3 end
  if a4 ~= b4 then return a4 > b4 end
  if a5 ~= b5 then return a5 > b5 end
  if a6 ~= b6 then return a6 > b6 end
  for i = {HEADER_WIDTH + 1}, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
local stored = redis.call('MGET', unpack(KEYS))
if not stored[1] then redis.call('SET', KEYS[1], ARGV[1]) end
local ttl = tonumber(ARGV[#KEYS + 1])
local only_existing, of_codec = ARGV[#KEYS + 2] == '1', ARGV[#KEYS + 3] == '1'
local least = of_codec and {HEADER_WIDTH + LEAST_PAYLOAD} or {HEADER_WIDTH}
local changed, absent, foreign, n = {{}}, {{}}, {{}}, 0
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
        or byte(old, 17) > {_LARGEST_VERSION_BYTE}
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
  if not old and only_existing then
    absent[#absent + 1] = i - 2
  elseif not old or newer(new, old) then
    n = n + 1
    if ttl > 0 then
      redis.call('SET', KEYS[i], new, 'EX', ttl)
    else
      changed[2 * n - 1], changed[2 * n] = KEYS[i], new
    end
  end
end
if ttl <= 0 and n > 0 then redis.call('MSET', unpack(changed)) end
return {{n, absent, foreign}}
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

    def take(self, answers: Sequence[object]) -> None:
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
        keys: n entity keys.
        values: n values, as `feast_assets.online_stores.redis.values` says.
        of_codec: as `EncodedRows` has it.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    of_codec: bool

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(slots=True)
class Put:
    """One put into a table.

    Attributes:
        prefix: of the keys of the table's rows.
        identity_key: under which the table's identity is.
        draw: draws an identity to write there if there is none; anew each time, as one that is gone must not come back.
        ttl: how many seconds a row stays; 0 is for ever.
        only_existing: whether only keys are written that hold a row; see `CanReplace.put_existing`.
        overwritten: called with the key of each value that could not be a row and was overwritten.
    """

    prefix: bytes
    identity_key: bytes
    draw: Callable[[], bytes]
    ttl: int
    only_existing: bool
    overwritten: Callable[[bytes], None]
    _counts: PutResult = field(default=NOTHING_PUT, init=False)
    _absent: list[bytes] = field(default_factory=list, init=False)

    @property
    def result(self) -> PutResult:
        """What became of the rows whose round trips were answered."""
        return replace(self._counts, absent=tuple(self._absent)) if self._absent else self._counts

    def round_trips(self, batches: Iterable[EncodedRows]) -> Iterator[RoundTrip]:
        """Yields round trips; the caller gives each its answers before it asks for the next."""
        # There is no MSETNX of rows that expire. For few rows a second trip would cost more than it saves.
        may_be_new = not self.ttl and not self.only_existing
        for parts in _together(batches):
            if may_be_new and sum(map(len, parts)) >= ROWS_AT_ONCE:
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
                self._counts += PutResult(len(part), 0)
            else:
                others.append(part)
        return others

    def _compared(self, parts: list[_Part]) -> Iterator[RoundTrip]:
        """Puts the rows that are newer than the stored ones."""
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
        for part, (count, absent, foreign) in zip(parts, answers, strict=True):
            self._counts += PutResult(count, len(part) - count)
            self._absent += [part.keys[index] for index in absent]
            for index in set(foreign).difference(absent):
                self.overwritten(part.keys[index])

    def _script(self, part: _Part) -> bytes:
        """Returns the command that runs the script.

        Its keys are that of the table's identity, then those of the rows. Its arguments are an identity, the rows'
        values, the ttl, and two flags: whether only existing keys are written, and whether the rows are the codec's.

        It returns how many rows it wrote, and two lists of indices of rows: those that were not written because there
        is no row under their key, and those under whose keys were values that could not be rows.
        """
        flags = [b"%d" % flag for flag in (self.only_existing, part.of_codec)]
        keys = [bulk_strings(b"", [self.identity_key]), bulk_strings(self.prefix, part.keys)]
        arguments = [bulk_strings(b"", values) for values in ([self.draw()], part.values, [b"%d" % self.ttl, *flags])]
        return evalsha(_SHA, keys, len(part) + 1, arguments, len(part) + 2 + len(flags))


def _together(batches: Iterable[EncodedRows]) -> Iterator[list[_Part]]:
    """Yields the rows that one round trip carries."""
    parts: list[_Part] = []
    for batch in batches:
        stamps = headers(batch)
        size = max(len(batch), 1) if len(batch) <= ROWS_PUT_WHOLE else ROWS_AT_ONCE
        for at in range(0, len(batch), size):
            some = slice(at, at + size)
            values = list(map(bytes.__add__, stamps[some], batch.payloads[some]))
            parts.append(_Part(batch.keys[some], values, batch.of_codec))
            if len(parts) == _COMMANDS_PER_ROUND_TRIP:
                yield parts
                parts = []
    if parts:
        yield parts
