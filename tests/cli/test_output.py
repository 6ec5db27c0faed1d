from __future__ import annotations

import io
import json

import pytest

from feast_assets.cli import output

ROWS = [["a", 1, None, True], ["longer", 20, ["x", "y"], False]]
HEADERS = ["NAME", "SIZE", "FEATURE VIEWS", "ON"]


def test_piped_tables_are_aligned_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_records(HEADERS, ROWS, "table")
    assert capsys.readouterr().out.splitlines() == [
        "NAME    SIZE  FEATURE VIEWS  ON",
        "a       1                    yes",
        "longer  20    x, y           no",
    ]


def test_json_keeps_types_and_lists_every_record(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_records(HEADERS, ROWS, "json")
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a", "size": 1, "feature_views": None, "on": True},
        {"name": "longer", "size": 20, "feature_views": ["x", "y"], "on": False},
    ]


def test_nothing_found_is_a_header_or_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_records(HEADERS, [], "table")
    assert capsys.readouterr().out == "NAME  SIZE  FEATURE VIEWS  ON\n"
    output.print_records(HEADERS, [], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_a_terminal_gets_a_table_in_which_square_brackets_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    output.print_records(["NAME"], [["[red]x[/red]"]], "table")
    assert "[red]x[/red]" in terminal.getvalue()
    assert "NAME" in terminal.getvalue()
