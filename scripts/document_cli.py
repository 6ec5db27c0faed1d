"""Writes the reference part of docs/cli.md from the commands' own help; a test asserts that it is current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
BEGIN = "<!-- written by `make docs` from here on -->\n"
WIDTH = 100


def reference(cli: click.Group, name: str = "feast-assets") -> str:
    """Returns a section for the group and each command below it, with what ``--help`` says."""
    return "\n".join(
        f"## {title}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
        for title, command, context in _all(cli, name)
    )


def page(text: str, cli: click.Group) -> str:
    """Returns the page with its reference part made anew."""
    return text.partition(BEGIN)[0] + BEGIN + "\n" + reference(cli)


def _all(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None:
                yield from _all(child, child_name, context)


def main() -> None:
    from feast_assets.cli.main import cli

    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), cli), encoding="utf-8")


if __name__ == "__main__":
    main()
