"""The ``feast-assets`` command: global options, and the commands of the other modules."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TextIO

import click

from feast_assets.cli.apply import apply, plan, teardown
from feast_assets.cli.audit import audit
from feast_assets.cli.compare import compare
from feast_assets.cli.consume import consume
from feast_assets.cli.dead_letters import dead_letters
from feast_assets.cli.errors import ErrorReportingGroup
from feast_assets.cli.historical import get_historical_features
from feast_assets.cli.init import init
from feast_assets.cli.inspect import configuration, registry_dump, version
from feast_assets.cli.lifecycle import delete
from feast_assets.cli.listen import listen
from feast_assets.cli.listing import GROUPS
from feast_assets.cli.materialize import materialize, materialize_incremental
from feast_assets.cli.migrate import migrate
from feast_assets.cli.online import get_online_features
from feast_assets.cli.permissions import permissions
from feast_assets.cli.serve import serve
from feast_assets.cli.servers import serve_offline, serve_registry
from feast_assets.cli.session import LOG_LEVELS, Session
from feast_assets.cli.validate import validate


@click.group(
    cls=ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "-c",
    "--chdir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="FEATURE_REPO_DIR_ENV_VAR",
    show_envvar=True,
    help="The feature repository: the folder of feature_store.yaml and the definitions. [default: the current folder]",
)
@click.option(
    "-f",
    "--feature-store-yaml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="FEAST_FS_YAML_FILE_PATH",
    show_envvar=True,
    help="The configuration, where it is not feature_store.yaml in the feature repository.",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="warning",
    show_default=True,
    help="What is logged to standard error; debug also shows the traceback of an error.",
)
@click.pass_context
def cli(context: click.Context, chdir: Path | None, feature_store_yaml: Path | None, log_level: str) -> None:
    """A feature store: define features in Python, keep their history offline and their newest values online.

    \b
    A first try, in a new folder:
      feast-assets init my_project
      cd my_project/feature_repo
      feast-assets apply
      feast-assets materialize-incremental 2030-01-01
      feast-assets get-online-features -e driver_id=1001 -f driver_stats:trips_today
      feast-assets teardown

    Dates are ISO 8601; a date without an offset is UTC. Exit codes: 0 done, 1 failed, 2 wrong usage.

    \b
    Example:
      feast-assets -c my_project/feature_repo plan
    """
    context.obj = Session.start(chdir, feature_store_yaml, log_level)


for _command in (
    init,
    apply,
    plan,
    teardown,
    delete,
    materialize,
    materialize_incremental,
    consume,
    dead_letters,
    audit,
    compare,
    get_online_features,
    get_historical_features,
    listen,
    serve,
    serve_offline,
    serve_registry,
    registry_dump,
    configuration,
    migrate,
    validate,
    version,
    *GROUPS,
    permissions,
):
    cli.add_command(_command)


def main() -> None:
    """Runs the command line; the entry point of the installed script."""
    # Python would show the line of this package's code that gives it.
    warnings.showwarning = _show
    cli(prog_name="feast-assets")


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows a warning on standard error."""
    click.echo(f"Warning: {message}", err=True)
