"""The command that compares logs of served features with what they should be: validate."""

from __future__ import annotations

from datetime import datetime

import click

from feast_assets.cli.moments import moment_callback
from feast_assets.cli.output import print_json
from feast_assets.cli.session import Session, pass_session


@click.command()
@click.option("-f", "--feature-service", required=True, metavar="NAME", help="The feature service whose logs are read.")
@click.option("-r", "--reference", required=True, metavar="NAME", help="The validation reference to compare with.")
@click.option("--no-profile-cache", is_flag=True, help="Do not register the reference anew after a success.")
@click.argument("start", callback=moment_callback)
@click.argument("end", callback=moment_callback)
@pass_session
def validate(
    session: Session, feature_service: str, reference: str, no_profile_cache: bool, start: datetime, end: datetime
) -> None:
    """Compares the logs of a feature service from START to END, both included, with a validation reference.

    What differs is printed as JSON, and the exit code is then 1.

    \b
    Example:
      feast-assets validate -f trip_pricing_v1 -r january_2026 2026-01-01 2026-02-01
    """
    store = session.store()
    failure = store.validate_logged_features(
        source=store.get_feature_service(feature_service),
        start=start,
        end=end,
        reference=store.get_validation_reference(reference),
        throw_exception=False,
        cache_profile=not no_profile_cache,
    )
    if failure is None:
        click.echo("Validation successful!")
        return
    click.echo("Validation failed!", err=True)
    print_json([error.to_dict() for error in failure.report.errors])
    raise click.exceptions.Exit(1)
