"""Errors at the terminal: one line, and an exit code."""

from __future__ import annotations

import logging
import traceback
from typing import IO, Any

import click

from feast_assets.errors import FeastAssetsError, MaterializationError

_FEAST_COMMANDS = frozenset(
    (
        "dbt",
        "delete",
        "demo-notebooks",
        "endpoint",
        "mcp",
        "mlflow",
        "monitor",
        "registry",
        "serve_lineage",
        "serve_offline",
        "serve_registry",
        "serve_transformations",
        "stream-feature-views",
        "ui",
    )
)


class CommandFailed(click.ClickException):
    """A `FeastAssetsError` as the terminal shows it: one line on standard error, exit code 1.

    If several views failed, each gets a line.
    """

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"{click.style('Error:', fg='red', bold=True)} {line}", file=file, err=file is None)


class ErrorReportingGroup(click.Group):
    """A group whose commands may raise `FeastAssetsError`; other exceptions are bugs and keep their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FeastAssetsError as error:
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                click.echo(traceback.format_exc(), err=True)
            raise CommandFailed(_lines(error)) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in _FEAST_COMMANDS and self.get_command(ctx, args[0]) is None:
            raise CommandFailed(f"The command {args[0]!r} is in Feast, and not supported here yet.")
        return super().resolve_command(ctx, args)


def _lines(error: FeastAssetsError) -> str:
    if not isinstance(error, MaterializationError):
        return one_line(error)
    lines = [f"{name}: {one_line(each)}" for name, each in error.failed.items()]
    return "\n".join([*lines, f"{len(lines)} feature views could not be materialized."])


def one_line(error: FeastAssetsError) -> str:
    """Returns an error's message without its line breaks, or its class where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
