"""Fingerprints of very many windows, which are made only where they may differ from those that were recorded.

A fingerprint is a cryptographic hash of few numbers. To make one takes a microsecond or two, so those of a ledger of
years take longer than anything else that is asked of it, though nearly all of them are as they were. So windows are
compared in blocks, and of each block it is known by one hash of its numbers which fingerprints they have had.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    ByteTexts = npt.NDArray[np.bytes_]

_TEXT_BYTES = 32
_BLOCK_BITS = 10
"""A block has at most two to the power of so many windows."""
_FEW = 4096
"""So many fingerprints are rather made than looked up, or kept."""
_HASH_BYTES = 16
_HEAD = struct.Struct("<4sHI")
MAGIC = b"FAFP"
_FORMAT = 1

Save = Callable[[bytes], None]


@dataclass
class KnownFingerprints:
    """Which fingerprints blocks of numbers have.

    Both are kept as hashes, so what is known never becomes wrong, and losing it costs no more than time.

    Attributes:
        save: keeps `content`.
    """

    known: Mapping[bytes, bytes] = field(default_factory=dict)
    save: Save | None = None

    @classmethod
    def of(cls, content: bytes) -> KnownFingerprints:
        """Returns what was kept; nothing is known if that is damaged, or of another format."""
        if len(content) < _HEAD.size:
            return cls()
        magic, number, checksum = _HEAD.unpack_from(content)
        body = content[_HEAD.size :]
        if magic != MAGIC or number != _FORMAT or zlib.crc32(body) != checksum or len(body) % (2 * _HASH_BYTES):
            return cls()
        hashes = [body[at : at + _HASH_BYTES] for at in range(0, len(body), _HASH_BYTES)]
        return cls(dict(zip(hashes[::2], hashes[1::2], strict=True)))

    def keep(self, known: Mapping[bytes, bytes]) -> None:
        """Keeps what is known of the present blocks, in the place of what was."""
        self.known = known
        if self.save is not None:
            body = b"".join(b"".join(pair) for pair in known.items())
            self.save(_HEAD.pack(MAGIC, _FORMAT, zlib.crc32(body)) + body)


class Fingerprints:
    """The fingerprints of some windows in order of time, empty of those without rows.

    Args:
        sums: int64 of shape (windows, 4): rows, the sums of the lower and upper halves of their hashes, and the
            exclusive or of the hashes; see `feast_assets.offline_stores.part_summaries.Contributions`.
        numbers: of the windows, by which they are put into blocks.
        quote: what stands around the text that is hashed; see `statistics_of`.
    """

    def __init__(self, sums: Int64s, numbers: Int64s, quote: str, known: KnownFingerprints | None = None):
        self._sums, self._numbers, self._quote, self._known = sums, numbers, quote, known

    @classmethod
    def concatenated(cls, several: Sequence[Fingerprints | ByteTexts]) -> Fingerprints | ByteTexts:
        """Returns several, one after the other."""
        first = next((each for each in several if isinstance(each, Fingerprints)), None)
        if first is None or any(len(each) and each.any() for each in several if not isinstance(each, Fingerprints)):
            return np.concatenate([each.values if isinstance(each, Fingerprints) else each for each in several])
        parts = [each if isinstance(each, Fingerprints) else first._of_none(len(each)) for each in several]
        sums, numbers = (np.concatenate(each) for each in zip(*((p._sums, p._numbers) for p in parts), strict=True))
        return cls(sums, numbers, first._quote, first._known)

    def _of_none(self, count: int) -> Fingerprints:
        return Fingerprints(np.zeros((count, 4), np.int64), np.zeros(count, np.int64), self._quote, self._known)

    def __len__(self) -> int:
        return len(self._sums)

    def __getitem__(self, rows: slice | Bools | npt.NDArray[np.intp]) -> Fingerprints:
        return Fingerprints(self._sums[rows], self._numbers[rows], self._quote, self._known)

    def text(self, position: int) -> bytes:
        """Returns one."""
        return bytes(_made(self._sums[position : position + 1], self._quote)[0])

    @cached_property
    def values(self) -> ByteTexts:
        """All of them."""
        return _made(self._sums, self._quote)

    def differ_from(self, others: ByteTexts) -> Bools:
        """Returns for each window whether its fingerprint is another one than that at its place among others."""
        if len(self) <= _FEW or others.dtype.itemsize > _TEXT_BYTES or self._known is None:
            return np.asarray(self.values != others)
        differ: Bools = others != b""
        with_rows = np.flatnonzero(self._sums[:, 0])
        sums = np.ascontiguousarray(self._sums[with_rows])
        compared = others[with_rows].astype(f"S{_TEXT_BYTES}")
        of_rows = np.zeros(len(with_rows), np.bool_)
        blocks = self._numbers[with_rows] >> _BLOCK_BITS
        edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(blocks)]
        known, present = self._known, dict[bytes, bytes]()
        made = 0
        for start, end in pairwise(edges):
            key = _hash(sums[start:end], self._quote)
            is_as_known = known.known.get(key)
            present[key] = _hash(compared[start:end])
            if is_as_known == present[key]:
                continue
            own = _made(sums[start:end], self._quote)
            of_rows[start:end] = own != compared[start:end]
            present[key] = _hash(own)
            made += 0 if is_as_known == present[key] else end - start
        if made > _FEW:
            known.keep(present)
        differ[with_rows] = of_rows
        return differ


def fingerprint_of(rows: int, low: int, high: int, mix: int) -> str:
    """Returns the fingerprint of one window of a view; see `Fingerprints` for the numbers."""
    return bytes(_made(np.array([[rows, low, high, mix]], np.int64), "")[0]).decode()


def _made(sums: Int64s, quote: str) -> ByteTexts:
    texts = np.zeros(len(sums), f"S{_TEXT_BYTES}")
    have_rows = sums[:, 0] > 0
    rows, low, high, mix = np.ascontiguousarray(sums[have_rows].T)
    columns = (rows.tolist(), low.tolist(), high.tolist(), mix.view(np.uint64).tolist())
    texts[have_rows] = [
        sha256(f"{quote}{count}:{(upper << 32) + lower:x}:{mixed:x}{quote}".encode()).hexdigest()[:_TEXT_BYTES]
        for count, lower, upper, mixed in zip(*columns, strict=True)
    ]
    return texts


def _hash(values: npt.NDArray[np.generic], more: str = "") -> bytes:
    return sha256(more.encode() + values.tobytes()).digest()[:_HASH_BYTES]
