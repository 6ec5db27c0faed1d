"""What of settings is shown, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from feast_assets.settings.model import SecretUrl, Settings
from feast_assets.settings.redaction import clean_error, masked, masked_text, secrets_in, without_secrets
from feast_assets.settings.section import Section
from feast_assets.settings.server_url import is_plain_path, masked_url, parse_server_url


def test_masking_keeps_what_is_no_secret() -> None:
    assert masked(
        {
            "path": "postgresql://me:hunter2@host:5432/db?sslmode=require",
            "address": "host:6379,ssl=true,password=hunter2,x",
            "aws": {"secret_access_key": "hunter2", "region": "eu-west-1"},
            "tokens": ["hunter2"],
            "api_key": "",
            "port": 6379,
            "url": "s3://bucket/key",
            "odd": "postgresql://me:hun/ter2@host/db",
            "none": None,
        }
    ) == {
        "path": "postgresql://me:***@host:5432/db?sslmode=require",
        "address": "host:6379,ssl=true,password=***",
        "aws": {"secret_access_key": "**********", "region": "eu-west-1"},
        "tokens": ["**********"],
        "api_key": "",
        "port": 6379,
        "url": "s3://bucket/key",
        "odd": "postgresql://***",
        "none": None,
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:pw@h:5432/d", "postgresql://ann:***@h:5432/d"),
        ("postgresql://ann:@h/d", "postgresql://ann:***@h/d"),
        ("postgresql://h/d?connect_timeout=2&pasword=x", "postgresql://h/d?connect_timeout=2&pasword=***"),
        ("redis://[::1]:7/0", "redis://[::1]:7/0"),
        ("postgresql://ann:p/w@h/d", "postgresql://***"),
        ("postgresql:ann:pw@h/d", "***"),
        ("pw@h", "***"),
    ],
)
def test_a_url_is_shown_without_its_secrets_or_not_at_all(url: str, shown: str) -> None:
    assert masked_url(url) == shown


PASSWORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6, max_size=20)


@given(
    password=PASSWORDS, user=st.sampled_from(["u", "", "ann"]), end=st.sampled_from(["h", "h:5432/d", "h/d?sslmode=a"])
)
def test_no_password_is_shown_however_it_is_written(password: str, user: str, end: str) -> None:
    url = f"postgresql://{user}:Zq{password}qZ@{end}"
    for shown in (masked_url(url), masked_text(url), repr(SecretUrl(url)), repr(Section({"path": url}))):
        assert "Zq" not in shown
        assert "qZ" not in shown
    parsed = parse_server_url(url)
    if parsed is not None:
        assert "Zq" not in repr(parsed) + str(parsed)
        assert parsed.password is not None
        assert parsed.password.startswith("Zq")
        assert parsed.host == "h"
        assert without_secrets(f"refused: {parsed.password}", parsed.secrets()) == "refused: ***"
    assert not is_plain_path(url)


def test_secrets_of_settings_are_found_at_any_depth() -> None:
    settings = {
        "password": "one",
        "options": [{"api_key": "two"}, "redis://:three@h"],
        "url": "x://u:fo/ur@h",
        "text": "h,password=five",
        "region": "eu",
    }
    assert {"one", "two", "three", "x://u:fo/ur@h", "five"} <= set(secrets_in(settings))
    assert "eu" not in set(secrets_in(settings))


def test_an_error_and_those_before_it_are_cleaned() -> None:
    driver, inner, outer = RuntimeError("driver hunter2"), KeyError("inner hunter2", 5), ValueError("outer hunter2")
    inner.orig = driver  # type: ignore[attr-defined]
    outer.__context__, driver.__cause__ = inner, outer
    clean_error(outer, ["hunter2", ""])
    assert (str(outer), inner.args, str(driver)) == ("outer ***", ("inner ***", 5), "driver ***")


class Mine(Settings):
    feast_keys = {"old": False}

    type: str = "mine"
    password: str = ""
    size: int = 1


def test_a_wrong_setting_holds_no_secret_in_its_error() -> None:
    for values in ({"pasword": "hunter2"}, {"size": "x", "password": "hunter2"}, {"options": {"a": "hunter2"}}):
        with pytest.raises(ValidationError) as failed:
            Mine.model_validate(values)
        assert "hunter2" not in str(failed.value) + str(failed.value.errors()) + failed.value.json()


def test_feasts_other_settings_are_warned_of_once() -> None:
    with pytest.warns(UserWarning, match="Mine: old is a setting of Feast's that has no effect here") as warned:
        assert Mine.model_validate({"old": True}) == Mine.model_validate({"old": True}) == Mine()
    assert len(warned) == 1


def test_a_section_shows_its_type_and_the_names_of_its_settings() -> None:
    section = Section({"type": "redis", "connection_string": "h,password=hunter2", "key_ttl_seconds": 5})
    assert repr(section) == "Section(type='redis', connection_string='***', key_ttl_seconds=5)"
    assert section.revealed()["connection_string"] == "h,password=hunter2"
    assert section == Section(section.revealed())

    class Holder(BaseModel):
        section: Any

    assert "hunter2" not in repr(Holder(section=section))
