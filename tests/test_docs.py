"""The documentation is true of the code: its Python runs, what it names exists, and it leaves nothing out."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import feast_assets

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->"
OF_A_FILE = re.compile(r"In `([\w.]+)`:")
"""The line before a block that is a part of a file; the tests of such pages write the files and run them."""


def _blocks(language: str) -> Iterator[tuple[str, str, str]]:
    """Yields page name, the line before, and the text of each block of a language."""
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if block["language"] == language:
                yield page.name, block["before"].strip(), block["text"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The feature repository of a project as `feast-assets init` makes it, applied and materialized."""
    target = tmp_path_factory.mktemp("docs") / "my_project"
    runner = CliRunner()
    repository = target / "feature_repo"
    for words in (
        ["init", "my_project", "--repo-path", str(target)],
        ["-c", str(repository), "apply"],
        ["-c", str(repository), "materialize-incremental", "2030-01-01"],
    ):
        done = runner.invoke(_cli(), words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    return repository


def _pages_with_python() -> list[str]:
    return sorted({page for page, _, _ in _blocks("python")})


@pytest.mark.parametrize("page", _pages_with_python())
def test_python_blocks_of_a_page_run_one_after_the_other(
    page: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    namespace: dict[str, object] = {"__name__": "docs"}
    for where, before, text in _blocks("python"):
        # Without the annotations import of this file, which Dagster cannot see through.
        code = compile(text, where, "exec", dont_inherit=True)
        if where == page and before != NOT_RUN and not OF_A_FILE.fullmatch(before):
            exec(code, namespace)


def test_the_code_of_the_page_of_own_assets_is_that_of_the_project_that_init_makes(tmp_path: Path) -> None:
    """That project is run as a whole in its own test; what is not of it here, the test of such views runs."""
    target = tmp_path / "my_project"
    done = CliRunner().invoke(_cli(), ["init", "my_project", "-t", "dagster", "--repo-path", str(target)])
    assert done.exit_code == 0, done.output
    written = [file.read_text(encoding="utf-8") for file in target.rglob("*.py")]
    shown = [text for page, before, text in _blocks("python") if (page, before) == ("own-assets.md", NOT_RUN)]
    others = [text for text in shown if not any(text in whole for whole in written)]
    assert len(shown) == 7
    assert ["open_dagster_pipes" in text for text in others] == [True]


def _commands() -> list[tuple[str, str]]:
    """Returns page and line for each shell line of the documentation."""
    return [
        (page, line.removeprefix("$ ").strip())
        for language in ("bash", "console", "sh")
        for page, _, text in _blocks(language)
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def _cli() -> click.Group:
    from feast_assets.cli.main import cli

    return cli


def _tree(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _tree(command, (*path, name))


@pytest.mark.parametrize(("page", "line"), [c for c in _commands() if c[1].startswith("make")])
def test_make_targets_that_are_named_exist(page: str, line: str) -> None:
    targets = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    assert set(targets) <= _make_targets(), f"{page}: {line}"


@pytest.mark.parametrize(("page", "line"), [c for c in _commands() if c[1].startswith("feast-assets")])
def test_commands_that_are_named_exist_and_take_the_options_given(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    context = click.Context(_cli(), info_name="feast-assets", **_cli().context_settings)
    command: click.Command = _cli()
    while isinstance(command, click.Group):
        # Reading the words only: nothing is run.
        _, rest, _ = command.make_parser(context).parse_args(list(words))
        assert rest, f"{page}: {line} names no command"
        found = command.get_command(context, rest[0])
        assert found is not None, f"{page}: {line}: there is no command {rest[0]!r}"
        command, words, context = found, rest[1:], click.Context(found, parent=context, info_name=rest[0])
    command.make_parser(context).parse_args(words)


def test_the_reference_of_commands_is_current() -> None:
    spec = importlib.util.spec_from_file_location("document_cli", ROOT / "scripts" / "document_cli.py")
    assert spec is not None
    assert spec.loader is not None
    document_cli = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(document_cli)
    written = document_cli.PAGE.read_text(encoding="utf-8")
    assert written == document_cli.page(written, _cli()), "run `make docs`"


def test_every_command_is_in_the_reference() -> None:
    documented = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    names = [" ".join(("feast-assets", *path)) for path, _ in _tree(_cli())]
    assert len(names) > 20
    assert [name for name in names if f"\n## {name}\n" not in documented] == []


def _settings() -> Iterator[str]:
    from feast_assets.config import RepoConfig

    for name, field in RepoConfig.model_fields.items():
        if name != "repo_path":
            yield field.alias or name
    for group in ("online_stores", "offline_stores", "registries"):
        for entry in entry_points(group=f"feast_assets.{group}"):
            if entry.dist is not None and entry.dist.name == "feast-assets":
                yield from entry.load().config_class.model_fields


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert [s for s in sorted(set(_settings())) if f"`{s}`" not in documented] == []


def test_every_public_class_is_documented() -> None:
    documented = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = {name for name in feast_assets.__all__ if name[0].isupper()}
    assert sorted(n for n in names if not re.search(rf"\b{n}\b", documented)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def _sections(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_sections_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if link[1] not in _sections(page.parent / link[0] if link[0] else page)] == []
