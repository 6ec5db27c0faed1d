"""Commands that show everything at once: registry-dump, configuration, version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from feast_assets.cli.output import print_json
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.definitions.base import Definition

_SECTIONS = ("registry", "online_store", "offline_store")


@click.command("registry-dump")
@pass_session
def registry_dump(session: Session) -> None:
    """Prints everything that is registered as one JSON document.

    Each object has "spec", its definition (types, durations and times as text), and "meta", when it was created
    and last updated (ISO 8601, UTC).

    \b
    Example:
      feast-assets registry-dump | jq '.feature_views[].spec.name'
    """
    store = session.store()
    snapshot = store.snapshot()
    print_json(
        {
            "project": store.project,
            "revision": snapshot.revision,
            **{
                name: [_dumped(d) for d in getattr(snapshot, name)]
                for name in (
                    "entities",
                    "data_sources",
                    "feature_views",
                    "stream_feature_views",
                    "on_demand_feature_views",
                    "label_views",
                    "feature_services",
                    "saved_datasets",
                    "validation_references",
                )
            },
        }
    )


@click.command()
@pass_session
def configuration(session: Session) -> None:
    """Prints the configuration as YAML: defaults and variables filled in, secrets masked.

    \b
    Example:
      feast-assets -c my_project/feature_repo configuration
    """
    from feast_assets.cli.yaml_text import yaml_text

    config = session.config()
    shown = config.model_dump(mode="json", exclude={"repo_path"})
    for name in _SECTIONS:
        getattr(config, name)  # raises where the section is wrong
    click.echo(yaml_text({name.removesuffix("_section"): value for name, value in shown.items()}))


@click.command()
def version() -> None:
    """Prints the version of feast-assets.

    \b
    Example:
      feast-assets version
    """
    import feast_assets

    click.echo(f"feast-assets {feast_assets.__version__}")


def _dumped(definition: Definition) -> dict[str, object]:
    from feast_assets.cli.readable import readable
    from feast_assets.types.json import iso_text

    moments = {n: getattr(definition, n) for n in ("created_timestamp", "last_updated_timestamp")}
    return {
        "spec": readable(definition.to_spec(), whole=True),
        "meta": {n: iso_text(m) for n, m in moments.items() if m is not None},
    }
