"""Reading YAML: variables come through whole, and nothing takes more than a moment or shows a value."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets.errors import ConfigError
from feast_assets.settings.yaml_file import read_yaml_file

SECRET = "hunter2"


def read(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return read_yaml_file(file)


# --- variables


@pytest.mark.parametrize(
    "value",
    [
        "a #b",
        "#",
        "'",
        '"',
        "it's",
        "line\nonline_store: none\nprovider: evil",
        "a: b",
        "{a: b",
        "[",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`",
        "- a",
        "",
        " ",
        "null",
        "no",
        "1e3",
        "0123",
        "${OTHER}",
        "$OTHER",
        "$$",
        "\\n",
        "\t",
        "é\u2028😀",
    ],
)
@pytest.mark.parametrize("written", ["${PASSWORD}", "$PASSWORD", '"${PASSWORD}"', "'$PASSWORD'"])
def test_a_variable_comes_through_whole_and_adds_nothing(
    tmp_path: Path, value: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", value)
    monkeypatch.setenv("OTHER", "is not looked at again")
    assert read(tmp_path, f"a: 1\npassword: {written}\nb: [x, {written}]\nc: {{d: {written}, e: {written}}}\n") == {
        "a": 1,
        "password": value,
        "b": ["x", value],
        "c": {"d": value, "e": value},
    }


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_through_whole(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", value)
    read_back = read(tmp_path, "u: postgresql://u:${PASSWORD}@h/$PASSWORD\nafter: ok\n")
    assert read_back == {"u": f"postgresql://u:{value}@h/{value}", "after": "ok"}


def test_keys_and_comments_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "x")
    text = "$NAME: 1 # ${UNSET}\n${NAME}: {${NAME}: 2}\nb: $UNSET\nc: a$ b${ }$\n"
    assert read(tmp_path, text) == {"$NAME": 1, "${NAME}": {"${NAME}": 2}, "b": "$UNSET", "c": "a$ b${ }$"}


@pytest.mark.parametrize(
    ("text", "where"),
    [("a: ${UNSET_NAME}", "a"), ("a: {b: [1, {c: 'x${UNSET_NAME}'}]}", r"a\.b\.c"), ("a: &x ${UNSET_NAME}", "a")],
)
def test_a_variable_that_is_not_set_is_named_with_its_place(
    tmp_path: Path, text: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET_NAME", raising=False)
    with pytest.raises(ConfigError, match=rf"settings\.yaml: {where} uses \$\{{UNSET_NAME\}}, but there is no such"):
        read(tmp_path, text)


# --- limits


def _chained(first: str, each: str) -> str:
    """Returns YAML in which every line stands for nine times what the line before stands for."""
    lines = [f"a{i}: &a{i} {each.format(', '.join([f'*a{i - 1}'] * 9))}" for i in range(1, 40)]
    return "\n".join([f"a0: &a0 {first}", *lines])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(_chained("[x, x]", "[{}]"), "more than 10000 values", id="lists of aliases"),
        pytest.param(_chained("{k: 1}", "{{<<: [{}]}}"), "more than 10000 values", id="merged aliases"),
        pytest.param("a: [" + "x," * 60_000 + "]", "more than 10000 values", id="many values"),
        pytest.param("a: " + "[" * 100_000, "nested more than 50 deep", id="flow lists"),
        pytest.param("a: " + "{a: " * 50_000, "nested more than 50 deep", id="flow mappings"),
        pytest.param("- " * 50_000 + "x", "nested more than 50 deep", id="block lists"),
        pytest.param("\n".join(" " * i + "a:" for i in range(600)), "nested more than 50 deep", id="block mappings"),
        pytest.param("? " * 50_000 + "x", "nested more than 50 deep", id="keys"),
        pytest.param("a: &a [*a]", "something that it is itself a part of", id="a list in itself"),
        pytest.param("a: &a {b: {c: *a}}", "something that it is itself a part of", id="a mapping in itself"),
        pytest.param("a: &a {<<: *a}", "something that it is itself a part of", id="a mapping merged into itself"),
        pytest.param("a: " + "9" * 200_000, "a number or date that long", id="a long number"),
        pytest.param("a: " + ":".join(["1"] * 60_000), "a number or date that long", id="a long number to base 60"),
        pytest.param("a: " + "x" * 300_000, "larger than 256 KiB", id="a large file"),
        pytest.param("#" * 300_000, "larger than 256 KiB", id="a large comment"),
    ],
)
def test_what_nests_or_repeats_without_end_is_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text)
    assert time.process_time() - start < 1


def test_aliases_and_merges_that_end_are_read(tmp_path: Path) -> None:
    text = "base: &base {type: redis, ttl: 5}\nonline: {<<: *base, ttl: 6}\nagain: [*base, *base]\n"
    assert read(tmp_path, text) == {
        "base": {"type": "redis", "ttl": 5},
        "online": {"type": "redis", "ttl": 6},
        "again": [{"type": "redis", "ttl": 5}] * 2,
    }


# --- what is wrong


@pytest.mark.parametrize(
    "value",
    [
        "!hunter2",
        "!hunter'2x",
        "*hunter2",
        "&hunter2 x\nb: &hunter2 y\nc: *hunter2x",
        "%hunter2",
        "@hunter2",
        "`hunter2",
        "hunter2: hunter2: x",
        "'hunter2",
        '"hunter2\\q"',
        "{hunter2",
        "[hunter2 : {x]",
        "|hunter2",
        "hunter2\0",
        "!!bool hunter2",
        "!!int hunter2",
        "!!timestamp hunter2",
        "!!binary hunter2-",
        "!!omap [hunter2]",
        "!!python/object/apply:os.system [hunter2]",
        "!!python/name:hunter2",
        "2024-99-99",
    ],
)
def test_an_error_says_where_but_shows_no_value(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="is not YAML") as failed:
        read(tmp_path, f"password: {value}\n")
    assert SECRET not in str(failed.value)
    assert "hunter'2" not in str(failed.value)
    assert failed.value.__cause__ is failed.value.__context__ is None


@given(text=st.text(st.sampled_from("ab:#&*!|>'\"%@`{}[],?- \n\t0.~\\<"), max_size=60))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_raises_anything_else(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(ConfigError):
        read(tmp_path, text)


def test_a_key_that_is_given_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 3, column 3: the key 'b' is given twice"):
        read(tmp_path, "a:\n  b: 1\n  b: 2\n")
