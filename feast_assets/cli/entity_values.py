"""Entities of the command line: pairs of key and value, or the rows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from feast_assets.cli.column_types import value_from_text
from feast_assets.errors import InputError, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.types import FeastType

TIME = "event_timestamp"


def split_pair(pair: str) -> tuple[str, str]:
    """Returns the key and the value of ``KEY=VALUE``."""
    name, equals, value = pair.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"{pair!r} is not KEY=VALUE, such as driver_id=1001.", param_hint="'-e'")
    return name.strip(), value


def columns_of_pairs(pairs: list[tuple[str, str]], types: dict[str, FeastType]) -> dict[str, list[object]]:
    """Returns key -> its values, read by their types."""
    columns: dict[str, list[object]] = {}
    for name, text in pairs:
        columns.setdefault(name, []).append(value_from_text(text, types.get(name), name))
    return columns


def rows_of_file(path: Path, types: dict[str, FeastType], option: str) -> pa.Table:
    """Returns the rows of a CSV or Parquet file.

    Args:
        types: of the columns that are known.
        option: that names the file, for messages.

    Raises:
        InputError: it cannot be read.
    """
    import pyarrow as pa

    try:
        table = _read_csv(path, types) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{option} {path}: cannot be read as {path.suffix or 'Parquet'} ({printable(error)})."
        ) from error
    if TIME in table.column_names and pa.types.is_string(table.schema.field(TIME).type):
        raise InputError(
            f"{option} {path}: {TIME} has values that are not ISO 8601 dates, such as 2026-01-31T18:30:00."
        )
    return table


def _read_csv(path: Path, types: dict[str, FeastType]) -> pa.Table:
    from pyarrow import csv

    from feast_assets.types.arrow import to_arrow_type

    # Arrow would read a text key such as 007 as a number; the registry knows that it is text.
    known = {name: to_arrow_type(feast_type) for name, feast_type in types.items()}
    return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=known))


def _read_parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(path)
