"""Progress of a materialization: bars on a terminal, lines elsewhere, both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

_LINE_EVERY_SECONDS = 5.0


@contextmanager
def view_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Gives a callback of (view, windows done, windows in all) that shows the progress until the block ends."""
    if not sys.stderr.isatty():
        yield _Lines().report
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("windows"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def report(view: str, done: int, total: int) -> None:
            if view not in tasks:
                tasks[view] = bars.add_task(view, total=total)
            bars.update(tasks[view], completed=done, total=total)

        yield report


class _Lines:
    """A line when a view begins, when it ends, and every few seconds between."""

    def __init__(self) -> None:
        self._last_line: dict[str, float] = {}

    def report(self, view: str, done: int, total: int) -> None:
        now = time.monotonic()
        due = view not in self._last_line or now - self._last_line[view] >= _LINE_EVERY_SECONDS
        if due or done == total:
            self._last_line[view] = now
            click.echo(f"{view}: {done} of {total} windows", err=True)
