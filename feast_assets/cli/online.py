"""The command that reads the online store: get-online-features."""

from __future__ import annotations

import click

from feast_assets.cli.column_types import row_types
from feast_assets.cli.entity_values import columns_of_pairs, split_pair
from feast_assets.cli.output import print_json
from feast_assets.cli.session import Session, pass_session

features_option = click.option(
    "-f",
    "--features",
    multiple=True,
    metavar="VIEW:FEATURE",
    help="A feature, such as driver_stats:trips_today; may be repeated.",
)
full_names_option = click.option(
    "--full-feature-names", is_flag=True, help="Call features view__feature instead of feature."
)


@click.command("get-online-features")
@click.option(
    "-e",
    "--entities",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A join key or request field and its value, read by its registered type; repeat a key for several entities.",
)
@features_option
@click.option("-s", "--service", metavar="NAME", help="A feature service, instead of -f.")
@full_names_option
@click.option("--statuses", is_flag=True, help="Also print why a value is null: name -> one status per entity.")
@click.option("--origins", is_flag=True, help="Also print where values come from: view, times, partition and run.")
@pass_session
def get_online_features(
    session: Session,
    entities: tuple[str, ...],
    features: tuple[str, ...],
    service: str | None,
    full_feature_names: bool,
    statuses: bool,
    origins: bool,
) -> None:
    """Prints the newest values of entities' features as JSON: name -> one value per entity.

    A value that is missing, or older than its view's ttl, is null; --statuses says which, and prints the values
    under "values" and one of PRESENT, NULL_VALUE, NOT_FOUND and OUTSIDE_MAX_AGE for each under "statuses".
    --origins adds a list "origins": the stored row behind each view's values, and the run or push that wrote it.
    Timestamps are ISO 8601, UTC.

    \b
    Example:
      feast-assets get-online-features -e driver_id=1001 -e driver_id=1002 -f driver_stats:trips_today
    """
    check_choice(features, service)
    pairs = [split_pair(pair) for pair in entities]
    store = session.store()
    chosen = store.get_feature_service(service) if service else list(features)
    from feast_assets.retrieval.references import resolve

    types = row_types(resolve(store.snapshot(), chosen))
    response = store.get_online_features(
        features=chosen, entity_rows=columns_of_pairs(pairs, types), full_feature_names=full_feature_names
    )
    from feast_assets.types.json import to_json_values

    values = {name: to_json_values(column) for name, column in response.to_dict().items()}
    if not statuses and not origins:
        print_json(values)
        return
    printed: dict[str, object] = {"values": values}
    if statuses:
        printed["statuses"] = response.statuses()
    if origins:
        printed["origins"] = [origin.to_json() for origin in store.get_row_origins(response)]
    print_json(printed)


def check_choice(features: tuple[str, ...], service: str | None) -> None:
    """Refuses a call that gives both features and a service, or neither."""
    if bool(features) == bool(service):
        raise click.UsageError("Say what to read: either -f VIEW:FEATURE (may be repeated), or --service NAME.")
