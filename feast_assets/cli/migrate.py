"""The command that converts a Feast repository: migrate."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from feast_assets.errors import InputError, presentable

if TYPE_CHECKING:
    from feast_assets.migration.repository import MigratedFile


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Change the files; without it the changes are only shown.")
@click.option("--import-registry", is_flag=True, help="Read Feast's registry too; with --write, import it.")
@click.option(
    "--from",
    "source",
    metavar="REGISTRY",
    help="Where Feast's registry is: a path or URL.  [default: the registry of feature_store.yaml]",
)
def migrate(path: Path, write: bool, import_registry: bool, source: str | None) -> None:
    """Rewrites the imports of a Feast repository, and lists what is left to do by hand.

    PATH is a folder or a file. Imports of feast, at any depth and under any name, become imports of feast_assets, in
    Python files and notebooks; nothing else changes. Then it lists the names of Feast that feast_assets does not have,
    each with what to do instead, and settings in feature_store.yaml that are not supported. No code of the repository
    is run, and no store is opened.

    With --import-registry it also reads the registry of Feast: a file, an object in a bucket, or tables of a database.
    With --write it applies what that holds. Functions come from the files of the repository, which are then loaded as
    by apply; nothing that Feast pickled is unpickled. Nothing is materialized: what Feast materialized is proposed as
    the first run.

    \b
    Example:
      feast-assets migrate my_project/feature_repo --write
    """
    if source is not None and not import_registry:
        raise click.UsageError("--from is of use with --import-registry only.")
    from feast_assets.migration.repository import configuration_findings, migrated_files

    path = path.resolve()
    root = path if path.is_dir() else path.parent
    files = list(migrated_files(path))
    changed = [file for file in files if file.changed]
    for file in changed:
        if write:
            file.write()
            click.echo(presentable(f"Rewritten: {file.path.relative_to(root)}"))
        else:
            _print_difference(file, root)
    left = [f"{file.path.relative_to(root)}:{f.line}: {f.message}" for file in files for f in file.findings]
    left += [f"{file.relative_to(root)}: {message}" for file, message in configuration_findings(path)]
    if left:
        click.echo(f"\nLeft to do by hand ({len(left)}):")
        for each in left:
            click.echo(f"  {presentable(each)}")
    if import_registry:
        _import_registry(root, source, write)
    _print_next(root, len(changed), write)


def _import_registry(root: Path, source: str | None, write: bool) -> None:
    from feast_assets.config import load_repo_config
    from feast_assets.feature_store import FeatureStore
    from feast_assets.migration.feast_registry_place import making_room, read_feast_registry
    from feast_assets.repository.loading import load_repository

    config = load_repo_config(root)
    feast_registry = read_feast_registry(config, root, source)
    if config.project not in (names := feast_registry.registry.projects()):
        raise InputError(
            f"The registry of Feast {feast_registry.title} has no project {config.project!r}, but {names}."
        )
    declared = load_repository(root).objects() if write else None
    project = feast_registry.registry.project(config.project, declared)
    click.echo(presentable(f"\nThe registry of Feast {feast_registry.title} has of project {config.project!r}:"))
    for definition in project.definitions:
        click.echo(presentable(f"  {type(definition).object_type} {definition.name}"))
    if project.from_repository:
        click.echo("With functions, which come from the files of the repository:")
        for kind, name in project.from_repository:
            click.echo(presentable(f"  {kind} {name}"))
    for problem in project.problems:
        click.secho(presentable(problem), fg="yellow")
    if others := [name for name in names if name != config.project]:
        click.echo(presentable(f"Its other projects are not imported here: {', '.join(others)}."))
    if write:
        with making_room(feast_registry, config, root) as aside:
            store = FeatureStore(repo_path=root)
            try:
                store.apply(project.definitions)
            finally:
                store.close()
        click.echo(f"Imported {len(project.definitions)} objects.")
        click.echo(
            "`feast-assets apply` removes what no file declares, as Feast's does; `feast-assets plan` shows what."
        )
        if aside is not None:
            click.echo(presentable(f"The registry of Feast is {aside} now; it is not needed any more."))
    if project.intervals:
        click.echo("Feast recorded that it materialized these times into its own store. To have them here:")
        for view, intervals in project.intervals.items():
            for start, end in intervals:
                # Quoted, as the name is what the registry says, and the line is there to be run.
                times = f"{start.isoformat()} {end.isoformat()}"
                command = f"feast-assets -c {quote(str(root))} materialize {times} --views {quote(view)}"
                click.echo(presentable(f"  {command}"))


def _print_difference(file: MigratedFile, root: Path) -> None:
    for line in file.difference(root):
        color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        click.secho(presentable(line), fg=color, bold=line.startswith(("---", "+++")))


def _print_next(root: Path, changed: int, write: bool) -> None:
    if not changed:
        click.echo(presentable(f"Nothing in {root} imports feast."))
    elif write:
        click.echo(presentable(f"\nNext: feast-assets -c {root} plan"))
    else:
        files = "1 file" if changed == 1 else f"{changed} files"
        click.echo(f"\nNothing was changed. Run it again with --write to change {files}.")
