"""The base of typed settings: Feast's other keys are named in a warning, and errors hold no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from feast_assets.settings.redaction import is_secret_name, is_type_name, masked_text
from feast_assets.settings.server_url import MASK, is_plain_path, masked_url
from feast_assets.settings.warn_once import warn_once


class SecretUrl(SecretStr):
    """A URL with a login. Its text and repr show all but the secrets; `get_secret_value` returns the whole."""

    def __str__(self) -> str:
        return masked_url(self.get_secret_value())

    def __repr__(self) -> str:
        return f"SecretUrl({str(self)!r})"


def _plain_path(path: object) -> object:
    text = _revealed(path)
    if isinstance(text, str) and not is_plain_path(text):
        raise ValueError("must be a path of this machine; its value looks like a URL or a login, so it is not shown")
    return text


PlainPath = Annotated[str, BeforeValidator(_plain_path)]
"""A path of this machine. A URL is refused and not shown, since it may hold a password."""


class Settings(BaseModel):
    """Settings of a store.

    Attributes:
        feast_keys: Feast's settings without effect here -> the value that needs no warning.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    feast_keys: ClassVar[Mapping[str, object]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _known_and_concealed(
        cls, values: object, handler: ModelWrapValidatorHandler[Settings], info: ValidationInfo
    ) -> Settings:
        if not isinstance(values, Mapping):
            return handler(values)
        ignored = {name: _revealed(values[name]) for name in cls.feast_keys if name in values}
        context = info.context or {}
        for name, value in ignored.items():
            if value not in (None, cls.feast_keys[name]):
                key = f"{context['section']}.{name}" if "section" in context else name
                origin = context.get("origin", cls.__name__)
                warn_once(origin, f"{key} is a setting of Feast's that has no effect here; remove it.")
        # A key that is not a name may be a value after a forgotten blank, and the error would show it.
        return handler(
            {
                name if is_type_name(name) else MASK: cls._concealed(name, value)
                for name, value in values.items()
                if name not in ignored
            }
        )

    @classmethod
    def _concealed(cls, name: object, value: Any) -> object:
        """Returns a value in a form that a validation error may show: a misspelt setting may be a secret."""
        if name not in cls.model_fields:
            return SecretStr(str(value))
        if isinstance(value, list):
            return [cls._concealed(name, each) for each in value]
        annotation = cls.model_fields[name].annotation
        if SecretUrl in (annotation, *get_args(annotation)) and isinstance(text := _revealed(value), str):
            return SecretUrl(text)
        is_secret = isinstance(value, str) and (is_secret_name(name) or masked_text(value) != value)
        return SecretStr(value) if is_secret else value


def _revealed(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
