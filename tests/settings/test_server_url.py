"""A URL is read in one way or not at all, and its password is never in what is shown of it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.settings.server_url import MASK, is_plain_path, masked_url, parse_server_url

secrets = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=4, max_size=20)
users = st.text("abcdefgh0123", max_size=6)


@given(users, secrets)
def test_an_escaped_password_is_read_whole_and_never_shown(user, password) -> None:
    written = quote(password, safe="")
    url = parse_server_url(f"postgresql://{user}:{written}@db.example.com:5432/features?sslmode=require")
    assert url is not None
    assert (url.username, url.password) == (user, password)
    assert (url.scheme, url.host, url.port, url.path) == ("postgresql", "db.example.com", 5432, "/features")
    assert str(url) == f"postgresql://{user}:{MASK}@db.example.com:5432/features?sslmode=require"
    assert {password, written} <= set(url.secrets())
    assert password not in repr(url) or password in repr(parse_server_url(str(url)))


@given(st.text(min_size=0, max_size=40), secrets)
def test_masking_a_url_that_cannot_be_read_shows_its_scheme_at_most(noise, password) -> None:
    text = f"redis://{noise}@{password}@h:99999/0"
    assert parse_server_url(text) is None
    assert masked_url(text) == f"redis://{MASK}"


@pytest.mark.parametrize(
    "text",
    [
        "redis://:pass/word@h:6379",
        "redis://:pass?word@h",
        "redis://:pass#word@h",
        "redis://:pass@word@h",
        "redis://us:er:password@h/x@y",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis:/h",
        "//h",
        "",
    ],
)
def test_a_url_with_two_readings_has_none(text) -> None:
    assert parse_server_url(text) is None


def test_the_value_of_an_unknown_option_is_masked_as_its_name_may_be_misspelt() -> None:
    url = parse_server_url("redis://h/0?passwort=hunter2&db=3&socket_timeout=5")
    assert url is not None
    assert str(url) == f"redis://h/0?passwort={MASK}&db=3&socket_timeout=5"
    assert list(url.secrets()) == ["hunter2"]
    assert dict(url.options)["passwort"] == "hunter2"


def test_an_address_of_ipv6_loses_its_brackets_only() -> None:
    url = parse_server_url("redis://[::1]:6379/0")
    assert url is not None
    assert (url.host, url.port) == ("::1", 6379)


@pytest.mark.parametrize("path", ["data/registry.db", "/srv/a:b.db", "C:/data/registry.db", "registry.db"])
def test_a_file_is_a_plain_path(path) -> None:
    assert is_plain_path(path)


@pytest.mark.parametrize(
    "text", ["redis://h", "postgresql:u:pw@h/d", "sqlite:file.db", "host=h password=hunter2", "u:hunter2@h"]
)
def test_what_may_hold_a_password_is_no_plain_path(text) -> None:
    assert not is_plain_path(text)
    assert "hunter2" not in masked_url(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_urls(text) -> None:
    url = parse_server_url(text)
    if url is None:
        assert MASK in masked_url(text)
    else:
        assert masked_url(str(url)) == str(url), "what is shown has the same one reading"
