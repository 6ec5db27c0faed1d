"""A value stored as text that is not of the declared type: how a query reports it, and the error that users get."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feast_assets.errors import printable

MARK = "feast_assets text that is not as declared: "
"""What the message of a query's error begins with; the rest is a JSON object."""

_SMALL_FILE = 2**28
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class UnfitText:
    """A value that cannot be read as declared.

    Attributes:
        column: by its name in the files.
        value: its text.
        declared: the declared type.
        file: that it is in, by the name that DuckDB read it by; "" where that is not known.
        from_folder: whether it is the name of a ``key=value`` folder.
    """

    column: str
    value: str
    declared: str
    file: str
    from_folder: bool

    @classmethod
    def of(cls, message: str) -> UnfitText | None:
        """Returns the value that an error's message is about; None if it is about something else."""
        _, mark, rest = message.partition(MARK)
        if not mark:
            return None
        try:
            reported: Mapping[str, Any] = json.JSONDecoder().raw_decode(rest)[0]
        except json.JSONDecodeError:
            return None
        return cls(
            reported["column"], reported["value"], reported["declared"], str(reported["file"] or ""), reported["folder"]
        )

    def message(self, subject: str) -> str:
        """Returns the message for the user.

        Args:
            subject: the source.
        """
        shown = printable(repr(self.value), _SHOWN_CHARACTERS)
        if self.from_folder:
            held = f"there is a folder {self.column}={printable(self.value, _SHOWN_CHARACTERS)}"
            remedy = "Rename the folder"
        else:
            held = f"it holds {shown}{self._location()}"
            remedy = "Correct the value in the file"
        return (
            f"{subject}: column {self.column!r} is declared {self.declared}, but {held}. {remedy}, or declare the "
            "column String."
        )

    def _location(self) -> str:
        if not self.file:
            return ""
        row = self._row()
        return f" in {f'row {row} of ' if row else ''}{self.file}"

    def _row(self) -> int | None:
        """Returns the row that the value is first in, from 1 on, not counting the header; None where finding it is
        dear."""
        import duckdb

        try:
            if self.file.lower().endswith(".gz") or os.path.getsize(self.file) > _SMALL_FILE:
                return None
            with duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": 1}) as connection:
                column = '"' + self.column.replace('"', '""') + '"'
                row = connection.execute(
                    f"SELECT min(place) FROM (SELECT row_number() OVER () AS place, {column} AS value "  # noqa: S608
                    "FROM read_csv(?, header = true, all_varchar = true)) WHERE value = ?",
                    [self.file, self.value],
                ).fetchone()
        except (duckdb.Error, OSError):
            return None
        return row[0] if row else None
