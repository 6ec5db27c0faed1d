"""What is kept of the parts of a source, as bytes in the registry and as numbers in memory.

Every run that has read parts adds a segment, or puts one in the place of all others. In it are the parts, by hashes of
their names and identities, and what they contribute to windows. A later entry of a part takes the place of an earlier
one, and one without an identity says that the part is gone. A segment that is damaged counts as if it were not there.

The bytes are: `_MAGIC`, the format (2 bytes), the CRC-32 of what follows (4 bytes), and that, compressed: numbers of
parts and contributions, the texts that tell how parts are read (JSON), hashes, and columns of int64. Columns that rise
are kept as differences, and of each column all first bytes come first, then all second ones; so most of them are zeros.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING

from feast_assets.offline_stores.fingerprints import MAGIC, KnownFingerprints
from feast_assets.offline_stores.part_summaries import COLUMNS, Contributions, concatenated
from feast_assets.stored_formats import PART_STATISTICS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feast_assets.offline_stores.parts import Part
    from feast_assets.registry.part_statistics import Segment

_MAGIC = b"FAPS"
_HEAD = struct.Struct("<4sHI")
_COUNTS = struct.Struct("<III")
_NAME_BYTES, _IDENTITY_BYTES = 8, 12
_GONE = bytes(_IDENTITY_BYTES)
_RISING = ("part", "first", "oldest", "created")
_MOST_SEGMENTS = 16


@dataclass(frozen=True, slots=True)
class KeptPart:
    """A part that was read.

    Attributes:
        name, identity: hashes of those of the part; an identity of zeros where it is gone.
        alone, read_as: how its values are read alone, and how they were read beside others; see `SummarizesParts`.
        null_times: its rows without an event time.
    """

    name: bytes
    identity: bytes
    alone: str
    read_as: str
    null_times: int

    @classmethod
    def of(cls, part: Part, alone: str, read_as: str, null_times: int) -> KeptPart:
        """Returns what is kept of a part."""
        return cls(*hashes_of(part), alone, read_as, null_times)


def hashes_of(part: Part) -> tuple[bytes, bytes]:
    """Returns the hashes of a part's name and identity."""
    return _hash(part.name, _NAME_BYTES), _hash(part.identity, _IDENTITY_BYTES)


def _hash(text: str, size: int) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=size).digest()


class KeptParts:
    """What is kept of the parts of a source.

    Args:
        segments: as the registry keeps them. Some hold no parts, but what is known of the windows' fingerprints; an
            earlier version takes them for damaged.

    Attributes:
        fingerprints: of the windows, as they were last seen.
        notes: the numbers of the segments that hold these.
    """

    def __init__(self, segments: Sequence[Segment]):
        notes = [segment for segment in segments if segment.content.startswith(MAGIC)]
        segments = [segment for segment in segments if not segment.content.startswith(MAGIC)]
        self.notes = [segment.number for segment in notes]
        self.fingerprints = KnownFingerprints.of(notes[-1].content) if notes else KnownFingerprints()
        self._segments = [segment.number for segment in segments]
        self._parts: dict[bytes, tuple[int, KeptPart]] = {}
        self._names: dict[str, bytes] = {}
        several = []
        count = 0
        for segment in segments:
            unpacked = _unpacked(segment.content)
            if unpacked is None:
                continue
            parts, contributions = unpacked
            several.append(contributions.with_parts_from(count))
            for number, part in enumerate(parts, count):
                if part.identity == _GONE:
                    self._parts.pop(part.name, None)
                else:
                    self._parts[part.name] = number, part
            count += len(parts)
        self._contributions = concatenated(several)
        self._count = count

    def find(self, part: Part) -> KeptPart | None:
        """Returns what is kept of a part; None where it was never read, or is another one by now."""
        _, kept = self._parts.get(self._name_of(part), (0, None))
        return kept if kept is not None and kept.identity == _hash(part.identity, _IDENTITY_BYTES) else None

    def _name_of(self, part: Part) -> bytes:
        """Returns the hash of a part's name; the parts of a source are asked for several times."""
        name = self._names.get(part.name)
        if name is None:
            name = self._names[part.name] = _hash(part.name, _NAME_BYTES)
        return name

    def in_order(self, parts: Mapping[str, KeptPart]) -> dict[str, KeptPart]:
        """Returns some kept parts, by any names, in the order in which they were first kept as they are."""
        return dict(sorted(parts.items(), key=lambda item: self._parts[item[1].name][0]))

    def has_name(self, part: Part) -> bool:
        """Whether a part of this name is kept, perhaps in another state."""
        return self._name_of(part) in self._parts

    def without(self, parts: Iterable[Part]) -> list[KeptPart]:
        """Returns the kept parts whose names none of some parts has."""
        there = {self._name_of(part) for part in parts}
        return [kept for name, (_, kept) in self._parts.items() if name not in there]

    def contributions(self, parts: Sequence[KeptPart]) -> Contributions:
        """Returns what some kept parts contribute; they are numbered in their order."""
        return self._contributions.of_parts({self._parts[p.name][0]: number for number, p in enumerate(parts)})

    def added(
        self, parts: Sequence[KeptPart], contributions: Contributions, gone: Sequence[KeptPart]
    ) -> tuple[bytes, list[int]]:
        """Returns a segment to keep, and the numbers of those that it takes the place of.

        Args:
            parts: that were read.
            contributions: theirs.
            gone: parts that are not there any more.
        """
        names = {part.name for part in (*parts, *gone)}
        # In the order in which they were kept, which tells what was added to windows later.
        stay = [kept for _, kept in sorted(self._parts.values(), key=itemgetter(0)) if kept.name not in names]
        of_stay = self.contributions(stay)
        are_few = len(self._segments) < _MOST_SEGMENTS and self._count <= 2 * len(stay) + 64
        if self._segments and are_few and len(self._contributions) <= 2 * len(of_stay) + 1000:
            tombs = [KeptPart(part.name, _GONE, "", "", 0) for part in gone]
            return _packed([*parts, *tombs], contributions), []
        everything = concatenated([of_stay, contributions.with_parts_from(len(stay))])
        return _packed([*stay, *parts], everything), self._segments


def _packed(parts: Sequence[KeptPart], contributions: Contributions) -> bytes:
    import numpy as np

    readings = sorted({text for part in parts for text in (part.alone, part.read_as)})
    position = {text: number for number, text in enumerate(readings)}
    texts = json.dumps(readings).encode()
    columns = [np.array([position[part.alone] for part in parts], np.int64)]
    columns += [np.array([position[part.read_as] for part in parts], np.int64)]
    columns += [np.array([part.null_times for part in parts], np.int64)]
    columns += [_differences(name, getattr(contributions, name), contributions) for name in COLUMNS]
    body = zlib.compress(
        b"".join(
            [
                _COUNTS.pack(len(parts), len(contributions), len(texts)),
                texts,
                *(part.name for part in parts),
                *(part.identity for part in parts),
                *(column.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes() for column in columns),
            ]
        ),
        level=1,
    )
    return _HEAD.pack(_MAGIC, PART_STATISTICS.number, zlib.crc32(body)) + body


def _unpacked(content: bytes) -> tuple[list[KeptPart], Contributions] | None:
    """Returns what a segment holds; None where it is damaged, or of another format."""
    import numpy as np

    if len(content) < _HEAD.size:
        return None
    magic, number, checksum = _HEAD.unpack_from(content)
    body = content[_HEAD.size :]
    if magic != _MAGIC or number != PART_STATISTICS.number or zlib.crc32(body) != checksum:
        return None
    body = zlib.decompress(body)
    parts, rows, length = _COUNTS.unpack_from(body)
    at = _COUNTS.size + length
    readings = json.loads(body[_COUNTS.size : at])
    names, identities = at, at + parts * _NAME_BYTES
    at = identities + parts * _IDENTITY_BYTES

    def column(count: int) -> npt.NDArray[np.int64]:
        nonlocal at
        planes = np.frombuffer(body, np.uint8, 8 * count, at).reshape(8, count)
        at += 8 * count
        return np.ascontiguousarray(planes.T).view("<i8").reshape(-1).astype(np.int64, copy=False)

    alone, read_as, null_times = (column(parts).tolist() for _ in range(3))
    kept = [
        KeptPart(
            body[names + i * _NAME_BYTES : names + (i + 1) * _NAME_BYTES],
            body[identities + i * _IDENTITY_BYTES : identities + (i + 1) * _IDENTITY_BYTES],
            readings[alone[i]],
            readings[read_as[i]],
            null_times[i],
        )
        for i in range(parts)
    ]
    return kept, _summed({name: column(rows) for name in COLUMNS})


def _differences(name: str, column: npt.NDArray[np.int64], of: Contributions) -> npt.NDArray[np.int64]:
    """Returns a column as numbers that are small where its values are alike."""
    import numpy as np

    if name in _RISING:
        return np.diff(column, prepend=0)
    if name == "last":
        return column - of.first
    return column - of.oldest if name == "newest" else column


def _summed(columns: dict[str, npt.NDArray[np.int64]]) -> Contributions:
    import numpy as np

    for name in _RISING:
        columns[name] = np.cumsum(columns[name])
    columns["last"] = columns["last"] + columns["first"]
    columns["newest"] = columns["newest"] + columns["oldest"]
    return Contributions(**columns)
