"""The formats in which this package stores data, each with a number.

A number grows when older versions of the package would misread or damage what a newer one writes; additions that older
versions can ignore leave it as it is. Data of an older number is read, or upgraded in place. Data of a newer one is
refused before anything is read from it. `docs/stored-formats.md` lists the numbers and what changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.errors import StoredFormatError


@dataclass(frozen=True, slots=True)
class StoredFormat:
    """A format and its numbers.

    Attributes:
        title: what is stored in it, as messages call it.
        number: the format that this version of the package writes.
        oldest: the oldest number that it reads.
    """

    title: str
    number: int
    oldest: int = 1

    def check(self, number: object, store: str, *, written_by: str = "") -> int:
        """Returns the number that data has, if this version reads it.

        Args:
            number: as stored with the data: an integer, or its text.
            store: where the data is, for the message: ``Registry data/registry.db``.
            written_by: the version of the package that wrote it, where the data says so.

        Raises:
            StoredFormatError: it is of a newer format, of one too old, or says no number.
        """
        known = int(number) if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()) else None
        if known is not None and self.oldest <= known <= self.number:
            return known
        reads = f"format {self.number}" if self.oldest == self.number else f"formats {self.oldest} to {self.number}"
        installed = f"the installed feast-assets {package_version()} reads {reads} of {self.title}"
        if known is None:
            raise StoredFormatError(f"{store} says no format ({number!r}); {installed}. Restore it from a backup.")
        writer = f"feast-assets {written_by}" if written_by else "the version of feast-assets that wrote it"
        newer = ", or a newer one" if known > self.number else ""
        raise StoredFormatError(f"{store} has format {known}; {installed}. Use {writer}{newer}.")


def package_version() -> str:
    """Returns the version of this package; "unknown" where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("feast-assets")
    except PackageNotFoundError:
        return "unknown"


REGISTRY = StoredFormat("registries", 2, oldest=1)
REGISTRY_FILES = StoredFormat("file registries", 1)
SQLITE_ROWS = StoredFormat("SQLite files of online rows", 1, oldest=0)
REDIS_ROWS = StoredFormat("online rows in Redis", 1)
POSTGRES_ROWS = StoredFormat("online rows in Postgres", 1)
KEPT_RESULTS = StoredFormat("kept results", 1)
TRAINING_SETS = StoredFormat("training sets", 1)
NOTED_PUSHES = StoredFormat("noted pushes", 1)
PART_STATISTICS = StoredFormat("part statistics", 1)
