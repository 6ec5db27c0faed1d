"""How failures reach the terminal: one line, and an exit code."""

from __future__ import annotations

import logging
import traceback
from typing import IO, Any

import click

from feast_assets.errors import FeastAssetsError


class CommandFailed(click.ClickException):
    """What a `FeastAssetsError` becomes at the terminal: a line on standard error, exit code 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {self.message}", file=file, err=file is None)


class ErrorReportingGroup(click.Group):
    """A group whose commands may raise `FeastAssetsError`; other exceptions are defects and keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FeastAssetsError as error:
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                click.echo(traceback.format_exc(), err=True)
            raise CommandFailed(one_line(error)) from error


def one_line(error: FeastAssetsError) -> str:
    """Returns an error's message without its line breaks, or its class where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
