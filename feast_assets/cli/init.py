"""The command that starts a project: init."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command()
@click.argument("directory", required=False, metavar="[DIR]")
@click.option(
    "-t",
    "--template",
    type=click.Choice(["local", "minimal", "dagster"]),
    default="local",
    show_default=True,
    help="local: a worked example on one machine. minimal: an empty repository. dagster: a Dagster project around one.",
)
@click.option("-m", "--minimal", is_flag=True, help="The same as --template minimal.")
@click.option(
    "--repo-path",
    type=click.Path(path_type=Path),
    help="Where to make it. [default: a folder named DIR in the current one]",
)
def init(directory: str | None, template: str, minimal: bool, repo_path: Path | None) -> None:
    """Makes a new project: DIR/feature_repo with a configuration and definitions, ready to apply.

    DIR is also the project's name; without it, a name is invented. A folder that is not empty is never
    written to.

    \b
    Example:
      feast-assets init my_project --template dagster
    """
    from feast_assets.cli.names import random_project_name
    from feast_assets.cli.scaffold import scaffold
    from feast_assets.definitions.project import check_project_name
    from feast_assets.errors import DefinitionError

    directory_path = Path(directory or random_project_name())
    try:
        project = check_project_name(directory_path.name)
    except DefinitionError as error:
        raise click.BadParameter(str(error), param_hint="'DIR'") from error
    target = repo_path if repo_path is not None else directory_path
    template = "minimal" if minimal else template
    scaffold(template, target, project)
    click.echo(f"Created {template} project {click.style(project, bold=True)} in {target.resolve()}")
    click.echo("\nNext:")
    for step in _NEXT[template]:
        click.echo(f"  {step.format(target=shlex.quote(str(target)))}")


_NEXT = {
    "local": ("cd {target}/feature_repo", "feast-assets apply", "python test_workflow.py"),
    "minimal": ("cd {target}/feature_repo", "feast-assets apply"),
    "dagster": (
        "cd {target}",
        "pip install 'feast-assets[dagster]'",
        "feast-assets -c feature_repo apply",
        "dagster dev",
    ),
}
