"""The command that converts a Feast repository: migrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from feast_assets.errors import presentable

if TYPE_CHECKING:
    from feast_assets.migration.repository import MigratedFile


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Change the files; without it the changes are only shown.")
def migrate(path: Path, write: bool) -> None:
    """Rewrites the imports of a Feast repository, and lists what is left to do by hand.

    PATH is a folder or a file. Imports of feast, at any depth and under any name, become imports of feast_assets, in
    Python files and notebooks; nothing else changes. Then it lists the names of Feast that feast_assets does not have,
    each with what to do instead, and settings in feature_store.yaml that are not supported. No code of the repository
    is run, and no store is opened.

    \b
    Example:
      feast-assets migrate my_project/feature_repo --write
    """
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
    _print_next(root, len(changed), write)


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
