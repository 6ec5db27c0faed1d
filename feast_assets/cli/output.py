"""What commands print: tables for people, plain text for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table (plain aligned text when piped), or a JSON list of records.",
)


def is_terminal() -> bool:
    """Whether standard output is read by a person."""
    return sys.stdout.isatty()


def print_json(data: object) -> None:
    """Prints JSON-able data, indented; text stays readable in any alphabet."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_records(headers: Sequence[str], rows: Sequence[Sequence[object]], output: str) -> None:
    """Prints rows under headers.

    In JSON the headers, in lower case, are the keys and values keep their type; in tables lists are joined by commas
    and None is empty.
    """
    if output == "json":
        print_json([dict(zip((_key(h) for h in headers), row, strict=True)) for row in rows])
        return
    cells = [[_cell(value) for value in row] for row in rows]
    if is_terminal():
        _print_rich(headers, cells, rows)
    else:
        _print_plain(headers, cells)


def _print_rich(headers: Sequence[str], cells: list[list[str]], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", box=None, pad_edge=False)
    for position, header in enumerate(headers):
        numbers = bool(rows) and all(isinstance(r[position], (int, float)) for r in rows)
        table.add_column(header, overflow="fold", justify="right" if numbers else "left")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def _print_plain(headers: Sequence[str], cells: list[list[str]]) -> None:
    lines = [list(headers), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _key(header: str) -> str:
    return header.lower().replace(" ", "_")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, dict):
        return ", ".join(f"{k}:{v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return " ".join(str(value).split())
