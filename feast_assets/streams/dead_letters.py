"""Messages that did not become rows: kept with the reason, counted, and given back for a replay."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.atomic_files import new_file
from feast_assets.errors import StoreUnavailableError, reason_of

if TYPE_CHECKING:
    import pyarrow as pa

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_CANNOT_WRITE = "Dead letters cannot be written to"
_LONGEST_NAME = 60
"""Letters of a file's name that say of which partition it is."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that did not become a row.

    Attributes:
        source: the stream source.
        identity: of the stream; see `feast_assets.streams.base.StreamReader.identity`.
        partition, offset: where the message is in the stream.
        view: the feature view that could not take it; "" where none could.
        reason: as a sentence.
        time: when the message was written, UTC microseconds; None where the stream does not say.
        key, value: as they were sent; None for none.
        in_history: whether history has the message's row, because another view could take it, or is not appended to.
    """

    source: str
    identity: str
    partition: str
    offset: int
    view: str
    reason: str
    time: int | None
    key: bytes | None
    value: bytes | None
    in_history: bool = False

    @property
    def origin(self) -> tuple[str, str, int, str]:
        """Which message it is, and for which view."""
        return self.identity, self.partition, self.offset, self.view


class DeadLetters:
    """The dead letters of one stream source, in Parquet files of a folder.

    Args:
        folder: of all sources.
        source: the stream source's name.
    """

    def __init__(self, folder: Path, source: str):
        self.folder = folder / _UNSAFE.sub("_", source)
        self._source = source

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keeps dead letters of one partition, on disk when this returns. Keeping them again is without effect.

        Raises:
            StoreUnavailableError: they cannot be written.
        """
        import pyarrow.parquet as pq

        if not letters:
            return
        first = letters[0]
        partition = _UNSAFE.sub("_", f"{first.identity[:16]}_{first.partition}")[:_LONGEST_NAME]
        # The file of other letters has another name: a file that is there is kept.
        digest = hashlib.blake2b(repr([letter.origin for letter in letters]).encode(), digest_size=16).hexdigest()
        name = f"{partition}_{first.offset:020d}_{letters[-1].offset:020d}_{digest}.parquet"
        with new_file(self.folder / name, if_exists="keep", cannot_write=_CANNOT_WRITE) as temporary:
            pq.write_table(_table_of(letters), temporary)

    def files(self) -> list[Path]:
        """Returns the files with dead letters, by name."""
        return sorted(path for path in self.folder.glob("*.parquet") if not path.name.startswith("."))

    def read(self) -> Iterator[DeadLetter]:
        """Yields the dead letters, each one once, even if a consumer that was killed has kept it twice."""
        seen: set[tuple[str, str, int, str]] = set()
        for path in self.files():
            for letter in self.read_file(path):
                if letter.origin not in seen:
                    seen.add(letter.origin)
                    yield letter

    def read_file(self, path: Path) -> list[DeadLetter]:
        """Returns the dead letters of one file; none where it was removed meanwhile."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            rows = pq.read_table(path).to_pylist()
        except FileNotFoundError:
            return []
        except (pa.ArrowException, OSError) as error:
            raise StoreUnavailableError(f"The dead letters {path} cannot be read: {reason_of(error)}") from error
        return [DeadLetter(**{**row, "offset": int(row["offset"])}) for row in rows]

    def remove(self, path: Path) -> None:
        """Removes a file."""
        path.unlink(missing_ok=True)


def _table_of(letters: Sequence[DeadLetter]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("source", pa.string()),
            ("identity", pa.string()),
            ("partition", pa.string()),
            ("offset", pa.string()),
            ("view", pa.string()),
            ("reason", pa.string()),
            ("time", pa.int64()),
            ("key", pa.binary()),
            ("value", pa.binary()),
            ("in_history", pa.bool_()),
        ]
    )
    columns = {
        name: [str(letter.offset) if name == "offset" else getattr(letter, name) for letter in letters]
        for name in schema.names
    }
    return pa.table(columns, schema=schema)
