from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from feast_assets.cli.main import cli


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(cli))
EVERY = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_the_commands_of_the_public_surface_are_there() -> None:
    plain = """
    init apply plan teardown materialize materialize-incremental get-online-features get-historical-features
    registry-dump configuration audit migrate compare serve serve_offline serve_registry listen consume dead-letters
    validate version delete
    """
    kinds = """
    entities feature-views on-demand-feature-views stream-feature-views label-views feature-services data-sources
    saved-datasets validation-references projects
    features permissions
    """
    assert set(cli.commands) == {*plain.split(), *kinds.split()}
    for kind in kinds.split():
        assert {(kind, "list"), (kind, "describe")} <= set(COMMANDS)


@EVERY
def test_every_command_has_help_with_an_example_that_names_it(path, run) -> None:
    text = run(*path, "--help").output
    example = text.partition("Example:\n")[2].strip().partition("\n")[0]
    assert re.search(rf"feast-assets (-c \S+ )?{' '.join(path)}\b", example), text


@EVERY
def test_every_example_is_correct_usage(path) -> None:
    command = COMMANDS[path]
    if isinstance(command, click.Group):
        return
    example = inspect.cleandoc(command.help or "").partition("Example:\n")[2].partition("|")[0].replace("\\\n", "")
    example = re.sub(r"\$\([^)]*\)", "2026-01-31", example)
    words = shlex.split(example)
    arguments = words[words.index(path[-1]) + 1 :]
    command.make_context(" ".join(path), arguments)


@EVERY
def test_every_option_and_command_says_what_it_is(path) -> None:
    command = COMMANDS[path]
    assert command.get_short_help_str(200)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts}"


def test_commands_that_take_dates_say_which_time_zone(run) -> None:
    for command in ("materialize", "materialize-incremental", "get-historical-features"):
        assert "UTC" in run(command, "--help").output


@pytest.mark.parametrize("arguments", ["--help", "version", "materialize --help", "-h"])
def test_help_and_version_load_no_heavy_library(arguments) -> None:
    probe = (
        "import sys\n"
        "from feast_assets.cli.main import cli\n"
        f"cli({arguments.split()!r}, standalone_mode=False)\n"
        "print('LOADED', sorted({'pandas', 'pyarrow', 'duckdb', 'sqlalchemy', 'numpy', 'pydantic', 'rich', 'yaml'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["LOADED []"] or (done.stdout and "LOADED" not in done.stdout), done.stderr


def test_an_unknown_command_is_wrong_usage(run) -> None:
    assert "No such command" in run("aply", exit_code=2).output


@pytest.mark.parametrize("command", ["mcp", "ui", "monitor"])
def test_a_command_that_only_feast_has_says_so(run, command) -> None:
    result = run(command, "--port", "1", exit_code=1)
    assert result.stderr == f"Error: The command {command!r} is in Feast, and not supported here yet.\n"


def test_a_failure_is_one_line_on_standard_error(run, tmp_path: Path) -> None:
    result = run("-c", str(tmp_path), "apply", exit_code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: There is no feature_store.yaml in ")
    assert "feast-assets init" in result.stderr


def test_log_level_debug_shows_the_traceback_of_a_failure(run, tmp_path: Path) -> None:
    result = run("-c", str(tmp_path), "--log-level", "debug", "apply", exit_code=1)
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_the_repository_and_its_configuration_can_be_named_by_environment_variables(
    run, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text((repo / "feature_store.yaml").read_text().replace("project: taxis", "project: from_other"))
    monkeypatch.setenv("FEATURE_REPO_DIR_ENV_VAR", str(repo))
    assert "project: taxis" in run("configuration").output
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(other))
    assert "project: from_other" in run("configuration").output
    assert "project: taxis" in run("-f", str(repo / "feature_store.yaml"), "configuration").output


def test_the_installed_command_prints_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "feast_assets.cli", "version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"feast-assets \d+\.\d+\S*\n", done.stdout)
