"""The command that reads history: get-historical-features."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from feast_assets.cli.column_types import row_types
from feast_assets.cli.entity_values import TIME, rows_of_file
from feast_assets.cli.moments import moment_callback, parse_moment
from feast_assets.cli.online import check_choice, features_option, full_names_option
from feast_assets.cli.output import print_json
from feast_assets.cli.session import Session, pass_session
from feast_assets.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.types import FeastType


@click.command("get-historical-features")
@click.option(
    "-d",
    "--dataframe",
    metavar="JSON",
    help="The entity rows: a JSON list of objects with the join keys, request fields and event_timestamp.",
)
@click.option(
    "--entity-df",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the entity rows, .csv (with a header) or .parquet, instead of -d.",
)
@features_option
@click.option("--service", metavar="NAME", help="A feature service, instead of -f.")
@click.option(
    "-s",
    "--start-date",
    callback=moment_callback,
    help="Without entity rows: the newest row of each entity from this date on.",
)
@click.option("-e", "--end-date", callback=moment_callback, help="Without entity rows: as of this date. [default: now]")
@full_names_option
@pass_session
def get_historical_features(
    session: Session,
    dataframe: str | None,
    entity_df: Path | None,
    features: tuple[str, ...],
    service: str | None,
    start_date: datetime | None,
    end_date: datetime | None,
    full_feature_names: bool,
) -> None:
    """Prints features as they were at each row's event_timestamp, as a JSON list of records.

    One record is printed for each given row, in the same order; a feature without a value at that time is
    null. Dates are ISO 8601; without an offset they are UTC.

    \b
    Example:
      feast-assets get-historical-features -f driver_stats:trips_today \\
        -d '[{"driver_id": 1001, "event_timestamp": "2026-01-31T12:00:00"}]'
    """
    check_choice(features, service)
    if [dataframe is not None, entity_df is not None, bool(start_date or end_date)].count(True) != 1:
        raise click.UsageError("Give entity rows by -d or by --entity-df, or else --start-date and/or --end-date.")
    store = session.store()
    chosen = store.get_feature_service(service) if service else list(features)
    from feast_assets.retrieval.references import resolve

    request = resolve(store.snapshot(), chosen, full_feature_names=full_feature_names)
    types = row_types(request)
    rows = None
    if dataframe is not None:
        rows = _rows_of_json(dataframe, types)
    elif entity_df is not None:
        rows = rows_of_file(entity_df, types, "--entity-df")
    job = store.get_historical_features(
        entity_df=rows,
        features=chosen,
        full_feature_names=full_feature_names,
        start_date=start_date,
        end_date=end_date,
    )
    print_json(_records(job.to_arrow(), {output.name: output.field.dtype for output in request.outputs}))


def _records(table: pa.Table, types: dict[str, FeastType]) -> list[dict[str, object]]:
    from feast_assets.types.json import to_json_values
    from feast_assets.types.python import to_python_values

    columns = [
        to_json_values(to_python_values(column, types[name]) if name in types else column.to_pylist())
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _rows_of_json(text: str, types: dict[str, FeastType]) -> pa.Table:
    try:
        records = json.loads(text)
    except ValueError as error:
        raise InputError(f"-d is not JSON: {error}.") from error
    if not isinstance(records, list) or not records or not all(isinstance(r, dict) for r in records):
        raise InputError(
            '-d must be a JSON list of objects, such as [{"driver_id": 1001, "event_timestamp": "2026-01-31"}].'
        )
    names = list(dict.fromkeys(name for record in records for name in record))
    import pyarrow as pa

    return pa.table({name: _column([r.get(name) for r in records], name, types) for name in names})


def _column(values: list[object], name: str, types: dict[str, FeastType]) -> object:
    import pyarrow as pa

    from feast_assets.types.python import to_arrow_column

    if name == TIME:
        return pa.array([_moment(value) for value in values], pa.timestamp("us", "UTC"))
    if name in types:
        return to_arrow_column(values, types[name], f"column {name!r} of -d")
    try:
        return pa.array(values)
    except pa.ArrowException as error:
        raise InputError(f"-d: the values of {name!r} are not of one type ({error}).") from error


def _moment(value: object) -> datetime:
    try:
        return parse_moment(value if isinstance(value, str) else str(value))
    except ValueError as error:
        raise InputError(f"-d: {TIME} {error}") from error
