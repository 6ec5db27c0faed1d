"""The command that compares what two stores serve: compare."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feast_assets.cli.column_types import row_types
from feast_assets.cli.entity_values import columns_of_pairs, rows_of_file, split_pair
from feast_assets.cli.online import check_choice, features_option
from feast_assets.cli.output import print_json, print_records
from feast_assets.cli.session import Session, pass_session
from feast_assets.errors import InputError

if TYPE_CHECKING:
    from feast_assets.audit.comparison import Comparison
    from feast_assets.types import FeastType

_BATCH = 500
_SHOWN = 20
_ENTITIES = "A join key or request field and its value; repeat a key for several entities."
_TOKEN = "FEAST_ASSETS_COMPARE_TOKEN"  # noqa: S105 - a name

Entities = Mapping[str, Sequence[object]]


@click.command()
@click.option(
    "--server", metavar="URL", help="The other store's feature server: Feast's, such as http://localhost:6566."
)
@click.option(
    "--repo",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The feature repository of another store of this package, instead of --server.",
)
@features_option
@click.option("-s", "--service", metavar="NAME", help="A feature service of both stores, instead of -f.")
@click.option("-e", "--entities", multiple=True, metavar="KEY=VALUE", help=_ENTITIES)
@click.option(
    "--entity-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the join keys and request fields, .csv (with a header) or .parquet, instead of -e.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-9,
    show_default=True,
    help="Floating-point numbers that are this close, relative to the larger, are equal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
@pass_session
def compare(
    session: Session,
    server: str | None,
    repo: Path | None,
    features: tuple[str, ...],
    service: str | None,
    entities: tuple[str, ...],
    entity_file: Path | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Reads the same entities from this store and from another one, and reports which values differ.

    For the change from Feast: while both run on the same sources, it shows whether they serve the same. The exit code
    is 1 if any value differs. Values that are only there because they are older than their view's ttl, which Feast
    serves, are counted under EXPIRED HERE; enforce_online_ttl: false in feature_store.yaml serves them here as well. A
    token for the server is taken from the environment variable FEAST_ASSETS_COMPARE_TOKEN.

    \b
    Example:
      feast-assets compare --server http://localhost:6566 --service model -e driver_id=1001 -e driver_id=1002
    """
    check_choice(features, service)
    if bool(server) == bool(repo):
        raise click.UsageError("Say what to compare with: either --server URL or --repo FOLDER.")
    if bool(entities) == bool(entity_file):
        raise click.UsageError("Say which entities: either -e KEY=VALUE (may be repeated), or --entity-file.")
    from feast_assets.audit.comparison import Comparison
    from feast_assets.retrieval.references import resolve
    from feast_assets.types import Array, Float32

    store = session.store()
    chosen = store.get_feature_service(service) if service else list(features)
    request = resolve(store.snapshot(), chosen, full_feature_names=True)
    types = row_types(request)
    columns: Entities
    if entity_file is None:
        columns = columns_of_pairs([split_pair(pair) for pair in entities], types)
    else:
        columns = _columns_of_file(entity_file, types)
    single = frozenset(o.name for o in request.outputs if o.field.dtype in (Float32, Array(Float32)))
    comparison = Comparison(single, tolerance)
    there = _other_store(session, server, repo, features, service)
    for batch in _batches(columns):
        here = store.get_online_features(features=chosen, entity_rows=dict(batch), full_feature_names=True)
        comparison.add(here.to_json(), there(batch, types), list(batch))
    if as_json:
        print_json(comparison.to_dict())
    else:
        _print(comparison)
    if comparison.different:
        click.get_current_context().exit(1)


def _other_store(
    session: Session, server: str | None, repo: Path | None, features: Sequence[str], service: str | None
) -> Callable[[Entities, dict[str, FeastType]], Mapping[str, Any]]:
    if server is not None:
        from feast_assets.audit.feature_server_client import FeatureServerClient

        feature_server = FeatureServerClient(server, os.environ.get(_TOKEN, ""))
        return lambda batch, types: feature_server.online_features(
            _in_json(batch, types), features=features, service=service or ""
        )
    from feast_assets.feature_store import FeatureStore

    other = FeatureStore(repo_path=repo)
    click.get_current_context().call_on_close(other.close)
    chosen = other.get_feature_service(service) if service else list(features)
    return lambda batch, _: other.get_online_features(
        features=chosen, entity_rows=dict(batch), full_feature_names=True
    ).to_json()


def _in_json(batch: Entities, types: dict[str, FeastType]) -> Entities:
    from feast_assets.types.feast_json import feast_json_converter

    converters = {name: feast_json_converter(types[name]) for name in batch if name in types}
    return {name: convert(list(batch[name])) if (convert := converters.get(name)) else batch[name] for name in batch}


def _columns_of_file(path: Path, types: dict[str, FeastType]) -> Entities:
    from feast_assets.types.python import to_python_values

    table = rows_of_file(path, types, "--entity-file")
    columns = {
        name: to_python_values(column, types[name])
        for name, column in zip(table.column_names, table.columns, strict=True)
        if name in types
    }
    if not columns or not table.num_rows:
        raise InputError(f"--entity-file {path}: it has none of {', '.join(types)}.")
    return columns


def _batches(columns: Entities) -> list[Entities]:
    rows = max(map(len, columns.values()))
    return [
        {name: values[start : start + _BATCH] for name, values in columns.items()} for start in range(0, rows, _BATCH)
    ]


def _print(comparison: Comparison) -> None:
    from feast_assets.audit.comparison import shown_value

    print_records(
        ["FEATURE", "EQUAL", "DIFFERENT", "ONLY HERE", "ONLY THERE", "EXPIRED HERE"],
        [
            [each.feature, each.equal, each.differing, each.only_here, each.only_there, each.expired_here]
            for each in comparison.features.values()
        ],
        "table",
    )
    if not comparison.different:
        click.echo(f"All values of {comparison.entities} entities are equal.")
        return
    click.echo()
    differences = [
        [each.feature, d.entity, shown_value(d.here), shown_value(d.there), d.status_here, d.status_there]
        for each in comparison.features.values()
        for d in each.samples
    ]
    print_records(["FEATURE", "ENTITY", "HERE", "THERE", "STATUS HERE", "STATUS THERE"], differences[:_SHOWN], "table")
    if comparison.different > min(_SHOWN, len(differences)):
        click.echo(f"{comparison.different} values differ; the first of each feature are shown, and --json has more.")
