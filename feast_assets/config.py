"""``feature_store.yaml``: which project this is, and where its registry and stores are.

A backend is found by its ``type``: among the entry points ``feast_assets.online_stores``, ``.offline_stores``,
``.registries`` and ``.compute_engines``, or by the path of its class. The class is imported when it is first needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
)
from pydantic_core import from_json

from feast_assets.auth.client_tokens import SendsTokens, client_tokens
from feast_assets.auth.settings import AUTH_TYPES
from feast_assets.backends import COMPUTE_ENGINES, OFFLINE_STORES, ONLINE_STORES, REGISTRIES, Backends, is_class_path
from feast_assets.definitions.branches import namespace
from feast_assets.definitions.project import check_project_name
from feast_assets.errors import ConfigError, FeastProviderNotImplementedError, FeastRegistryNotSetError, suggest
from feast_assets.settings.feast_keys import CLOUD_PROVIDERS, OLD_KEYS, OTHER_PROVIDERS, SECTIONS, without_feast_keys
from feast_assets.settings.feature_server import FeatureServerSettings, feature_logging_of
from feast_assets.settings.model import Settings
from feast_assets.settings.postgres import POSTGRES_SCHEMES
from feast_assets.settings.redaction import (
    HIDDEN,
    is_type_name,
    masked,
    secrets_in,
    shown_if_near,
    shown_key,
    without_secrets,
)
from feast_assets.settings.registry_config import RegistryConfig
from feast_assets.settings.section import Section
from feast_assets.settings.streams import StreamSettings
from feast_assets.settings.warn_once import warn_once
from feast_assets.settings.yaml_file import read_yaml_file

if TYPE_CHECKING:
    from feast_assets.offline_stores.base import OfflineStore
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.base import Registry

_Store = TypeVar("_Store")

FILE_NAME = "feature_store.yaml"
FILE_VARIABLE = "FEAST_FS_YAML_FILE_PATH"

DEFAULT_REGISTRY = "data/registry.db"

_PROVIDER_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.(?=[A-Z])\w*Provider", re.ASCII)
_NO_STORE = ("none", "null")
_ERRORS = {"provider": FeastProviderNotImplementedError, "registry": FeastRegistryNotSetError}
"""The errors of wrong settings that Feast has classes for."""
_SECTION_NAMES = ("registry", "online_store", "offline_store", "batch_engine", "auth")
_TYPES_OF_URLS = {"redis": "redis", "rediss": "redis", **dict.fromkeys(POSTGRES_SCHEMES, "postgres")}
"""Scheme of a URL that stands for a whole ``online_store`` section -> the section's type."""
_TYPES_LEFT_OUT = {"registry": "file", "online_store": "sqlite", "offline_store": "duckdb", "batch_engine": "local"}


class RepoConfig(BaseModel):
    """The settings of ``feature_store.yaml``; in Python, arguments of the same names.

    Args:
        project: letters, digits, underscores and hyphens.
        deployment: such as the name of a branch: it reads the same sources, and has definitions, online rows and kept
            results of its own. ``""`` is production.
        registry: a file path, a database URL, the URL of a folder in an object store, or a mapping: see
            `feast_assets.registry.sql.config.SqlRegistryConfig` and
            `feast_assets.registry.file.config.FileRegistryConfig`.
            ``data/registry.db`` when left out.
        provider: "local", or Feast's "aws", "azure" or "gcp". As in Feast, none of them chooses a store.
        online_store: a type, a ``redis://`` or ``postgresql://`` URL, or a mapping; "none" or None for no online store.
            ``sqlite`` when it, or its ``type``, is left out.
        offline_store: likewise; ``duckdb`` when left out. Feast's ``file`` and ``dask`` mean the same.
        batch_engine: what runs materialization: a type, or a mapping with type; ``local``, in the process that asks for
            it, when left out.
        streams: settings of consumers; see `feast_assets.settings.streams.StreamSettings`.
        feature_server: see `feast_assets.settings.feature_server.FeatureServerSettings`.
        auth: how servers know their callers, and what clients send: "no_auth", or a mapping with ``type``, see
            `feast_assets.auth.settings`.
        entity_key_serialization_version: Feast's; has no effect, because keys are stored in a form of our own.
        coerce_tz_aware: only true: naive times are UTC.
        enforce_online_ttl: whether online values older than their view's ttl are withheld, with the status
            OUTSIDE_MAX_AGE; false serves them, as Feast does.
        historical_on_demand_inputs: whether `get_historical_features` also returns the features that on-demand views
            have as inputs, as Feast does.

    Raises:
        ConfigError: a key is not known, or a value is not one of those that are supported.
    """

    model_config = ConfigDict(
        extra="forbid", populate_by_name=False, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    project: str
    deployment: str = ""
    project_description: str | None = None
    provider: str = "local"
    registry_section: object = Field(default=DEFAULT_REGISTRY, alias="registry")
    online_store_section: object = Field(default="sqlite", alias="online_store")
    offline_store_section: object = Field(default="duckdb", alias="offline_store")
    batch_engine_section: object = Field(default="local", alias="batch_engine")
    streams: StreamSettings = Field(default_factory=StreamSettings)
    feature_server: FeatureServerSettings = Field(default_factory=FeatureServerSettings)
    auth_section: object = Field(default="no_auth", alias="auth")
    entity_key_serialization_version: int = 3
    coerce_tz_aware: bool = True
    enforce_online_ttl: bool = True
    historical_on_demand_inputs: bool = False
    repo_path: Path | None = None

    _origin: str = PrivateAttr("RepoConfig")
    # The folder that is searched for classes of backends before the installed packages.
    _root: Path | None = PrivateAttr(None)
    _file: Path | None = PrivateAttr(None)

    def __init__(self, **values: Any):
        origin = values.pop("_origin", "RepoConfig")
        root = values.pop("_root", values.get("repo_path"))
        file = values.pop("_file", None)
        values, logging = feature_logging_of(values, origin)
        given = {"registry": DEFAULT_REGISTRY, **_with_known_engine(without_feast_keys(values, origin), origin)}
        if logging:
            given["feature_server"] = {"feature_logging": logging}
        known = {name: _held(name, value) for name, value in given.items()}
        problem = ""
        try:
            super().__init__(**known)
        except ValidationError as error:
            problem = _explained(error, type(self), origin)
            kind = _ERRORS.get(str(error.errors(include_url=False, include_input=False)[0]["loc"][0]), ConfigError)
        if problem:  # outside of the handler, since a validation error holds the values, secrets too
            raise kind(problem)
        self._origin = origin
        self._root = None if root is None else Path(root)
        self._file = file
        _ = self.auth  # A mistake here is said now, not when somebody is let in because of it.
        if self.provider != "local" and "online_store" not in known:
            warn_once(
                origin,
                f"provider {self.provider} chooses no store, as in Feast. There is no online_store, so the latest "
                "values are kept in a SQLite file on this machine; set online_store.",
            )

    @classmethod
    def model_validate(cls, obj: object, **options: Any) -> Self:
        """Returns a configuration made of a mapping; raises `ConfigError`, as pydantic's error would show secrets."""
        return cls(**obj) if isinstance(obj, Mapping) else super().model_validate(obj, **options)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: object) -> Self:
        """Returns a configuration made of a JSON object; see `model_validate`."""
        return cls.model_validate(from_json(json_data), **options)

    @field_validator("project")
    @classmethod
    def _valid_project(cls, value: str) -> str:
        return check_project_name(value)

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, value: str) -> str:
        known = ("local", *CLOUD_PROVIDERS)
        if value not in known:
            is_feasts = value in OTHER_PROVIDERS or _PROVIDER_CLASS.fullmatch(value)
            shown = f"{value!r} is not supported" if is_feasts else "is not known"
            raise ValueError(
                f"{shown}. {suggest(value, known)} Stores are chosen by online_store and offline_store, whose type may "
                "be the path of a class; nothing else uses a provider"
            )
        return value

    @field_validator("registry_section", "online_store_section", "offline_store_section", "batch_engine_section")
    @classmethod
    def _a_section(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name).removesuffix("_section")
        if name == "registry" and (value is None or value == ""):
            raise ValueError("must say where definitions are kept, for example registry: data/registry.db")
        if value is None or isinstance(value, BaseModel | Section) or is_type_name(value):
            return value
        if isinstance(value, str):
            raise ValueError(
                "must be a type such as sqlite, or a section of settings with type; its value is not shown, as it may "
                "contain a password"
            )
        raise ValueError("must be a text or a mapping with type")

    @field_validator("auth_section")
    @classmethod
    def _known_auth(cls, value: object) -> object:
        if isinstance(value, Section | Settings) or value in (None, "no_auth"):
            return value
        if isinstance(value, str):
            raise ValueError(
                f"must be no_auth, or a mapping with type{shown_if_near(value, AUTH_TYPES)}. The types are "
                f"{', '.join(AUTH_TYPES)}"
            )
        raise ValueError("must be a mapping with type")

    @field_validator("entity_key_serialization_version")
    @classmethod
    def _known_version(cls, value: int) -> int:
        if value not in (1, 2, 3):
            raise ValueError("is 3, or an older version of Feast's: 1 or 2")
        return value

    @field_validator("coerce_tz_aware")
    @classmethod
    def _always_aware(cls, value: bool) -> bool:
        if not value:
            raise ValueError("false is not supported: naive times are always UTC")
        return value

    @property
    def namespace(self) -> str:
        """The project's name in registry and online store; each deployment has its own."""
        return namespace(self.project, self.deployment)

    @property
    def registry(self) -> Any:
        """The registry's typed settings."""
        return self._settings(REGISTRIES, self.registry_section)

    @property
    def online_store(self) -> Any:
        """The online store's typed settings; None where there is none."""
        if self.store_type("online_store") is None:
            return None
        return self._settings(ONLINE_STORES, self.online_store_section)

    @property
    def offline_store(self) -> Any:
        """The offline store's typed settings."""
        return self._settings(OFFLINE_STORES, self.offline_store_section or "duckdb")

    @property
    def batch_engine(self) -> Any:
        """The compute engine's typed settings."""
        return self._settings(COMPUTE_ENGINES, self.batch_engine_section or "local")

    @property
    def auth(self) -> Any:
        """How servers know their callers, and what clients send: typed settings, see `feast_assets.auth.settings`."""
        from feast_assets.auth.settings import auth_model

        section = self.auth_section
        if isinstance(section, Settings):
            return section
        values = section.revealed() if isinstance(section, Section) else {}
        problem = ""
        try:
            model = auth_model(values)
        except ValueError:
            near = shown_if_near(values.get("type"), AUTH_TYPES)
            raise ConfigError(
                f"{self._origin}: auth.type{near} is not known. The types are {', '.join(AUTH_TYPES)}."
            ) from None
        try:
            return model.model_validate(values, context={"origin": self._origin, "section": "auth"})
        except ValidationError as error:
            problem = _explained(error, model, self._origin, "auth")
        raise ConfigError(without_secrets(problem, secrets_in(values)))

    auth_config = auth
    """Feast's name of the same."""

    @property
    def origin(self) -> str:
        """Where the settings come from, for messages."""
        return self._origin

    @property
    def file(self) -> Path | None:
        """The file that all settings were read from, for another process to read; None if any was given in Python."""
        return self._file

    def store_type(self, section: str) -> str | None:
        """Returns the type of ``"online_store"`` or ``"offline_store"`` without loading it; None where there is none.

        Returns ``""`` for a value that cannot be a type, as it may be a secret.
        """
        value = getattr(self, f"{section}_section")
        if isinstance(value, Section | Mapping):
            value = (value.revealed() if isinstance(value, Section) else value).get("type", _TYPES_LEFT_OUT[section])
        kind = getattr(value, "type", value)
        if kind is None or str(kind).lower() in _NO_STORE:
            return None
        return str(kind) if is_type_name(str(kind)) else ""

    def with_sections(self, **sections: Mapping[str, Any]) -> RepoConfig:
        """Returns the same configuration with other sections.

        Args:
            sections: ``registry``, ``online_store``, ``offline_store`` or ``batch_engine``, as in
                ``feature_store.yaml``.
        """
        changed = self.model_copy(update={f"{name}_section": _held(name, value) for name, value in sections.items()})
        changed._file = None
        return changed

    def of_repository(self, root: Path) -> RepoConfig:
        """Returns the same configuration, in which class paths also lead to the modules of a folder."""
        if self._root == root:
            return self
        copy = self.model_copy()
        copy._root = root
        return copy

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        # Sections may hold passwords; their typed settings know which.
        for name, value in super().__repr_args__():
            yield name, "..." if str(name).endswith("_section") and not isinstance(value, Settings) else value

    @field_serializer(
        "registry_section", "online_store_section", "offline_store_section", "batch_engine_section", "auth_section"
    )
    def _without_secrets(self, value: object, info: FieldSerializationInfo) -> object:
        # As for what is shown: a section may hold passwords, and only its typed settings know where.
        try:
            settings = getattr(self, str(info.field_name).removesuffix("_section"))
        except ConfigError:
            return value.shown() if isinstance(value, Section) else HIDDEN
        return None if settings is None else masked(settings.model_dump(mode="json"))

    def _settings(self, backends: Backends, section: object) -> object:
        """Returns a section as the backend's own model."""
        if isinstance(section, BaseModel):
            return section
        section = _held(backends.section, section)
        values = section.revealed() if isinstance(section, Section) else {backends.key: section}
        left_out = backends.key not in values
        values.setdefault(backends.key, _TYPES_LEFT_OUT[backends.section])
        kind = backends.type_of(str(values[backends.key]), self._origin, values.get("path"))
        model = backends.config_class(kind, self._origin, self._root)
        values[backends.key] = backends.written(str(values[backends.key]), kind)
        try:
            return model.model_validate(values, context={"origin": self._origin, "section": backends.section})
        except ValidationError as error:
            problem = _explained(error, model, self._origin, backends.section)
            refuses_type = error.errors(include_url=False, include_input=False)[0]["loc"] == (backends.key,)
        if refuses_type and is_class_path(kind):
            problem += f". {model.__module__}.{model.__name__} must take {kind!r} as its {backends.key}, as a str does."
        if left_out and backends.section != REGISTRIES.section:
            problem += f" ({backends.section}.{backends.key} is left out, which means {kind}.)"
        raise ConfigError(without_secrets(problem, secrets_in(values)))


def find_config_file(repo_path: Path, fs_yaml_file: Path | None = None) -> Path:
    """Returns the file to read: the given one, or the one that FEAST_FS_YAML_FILE_PATH names, or the repository's."""
    if fs_yaml_file is not None:
        return Path(fs_yaml_file)
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else Path(repo_path) / FILE_NAME


def load_repo_config(repo_path: Path, fs_yaml_file: Path | None = None) -> RepoConfig:
    """Reads a ``feature_store.yaml``. In texts, ``$NAME`` and ``${NAME}`` are replaced by environment variables.

    Args:
        repo_path: the file, or a directory: then see `find_config_file`.
        fs_yaml_file: a file elsewhere, instead.

    Raises:
        ConfigError: there is no such file, or it is wrong; says what and where.
    """
    path = Path(repo_path)
    file = path if path.is_file() and fs_yaml_file is None else find_config_file(path, fs_yaml_file)
    values = read_yaml_file(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} must hold settings such as 'project: my_project', but it holds {_kind(values)}.")
    root = path.parent if path.is_file() else path
    return RepoConfig(**{str(k): v for k, v in values.items()}, _origin=str(file), _root=root, _file=file.resolve())


def make_online_store(config: RepoConfig, root: Path) -> OnlineStore | None:
    """Returns the online store that the settings name; None where they turn it off.

    Args:
        root: the directory that relative paths start from.
    """
    settings = config.of_repository(root).online_store
    if settings is None:
        return None
    store: OnlineStore = ONLINE_STORES.make(settings, config._origin, root)
    return _with_tokens(store, config)


def make_offline_store(config: RepoConfig, root: Path) -> OfflineStore:
    """Returns the offline store that the settings name."""
    store: OfflineStore = OFFLINE_STORES.make(config.of_repository(root).offline_store, config._origin, root)
    return _with_tokens(store, config)


def make_registry(config: RepoConfig, root: Path, project: str = "") -> Registry:
    """Returns the project's registry.

    Args:
        root: the directory that relative paths start from.
        project: another project of the same registry.
    """
    settings = config.of_repository(root).registry
    registry: Registry = REGISTRIES.make(settings, config._origin, root, project or config.namespace)
    return _with_tokens(registry, config)


def _with_tokens(store: _Store, config: RepoConfig) -> _Store:
    """Returns a store that sends a token to its server, if it has one and the settings say so."""
    if isinstance(store, SendsTokens) and (tokens := client_tokens(config.auth)) is not None:
        store.send_tokens(tokens)
    return store


def _with_known_engine(values: dict[str, object], origin: str) -> dict[str, object]:
    """Returns settings without a compute engine that only Feast has, and warns of it.

    Raises:
        ConfigError: ``batch_engine`` has no type, or one that is not known; the message holds no values.
    """
    section = values.get("batch_engine")
    if section is None or section == "":
        return {name: value for name, value in values.items() if name != "batch_engine"}
    if isinstance(section, BaseModel):
        return values
    revealed = section.revealed() if isinstance(section, Section) else section
    kind = revealed.get("type") if isinstance(revealed, Mapping) else revealed
    known = COMPUTE_ENGINES.types()
    if kind is None:
        raise ConfigError(f"{origin}: batch_engine has no 'type'. {suggest('', known)}")
    if not isinstance(kind, str):
        raise ConfigError(f"{origin}: batch_engine.type must be a text. {suggest('', known)}")
    if COMPUTE_ENGINES.is_only_in_feast(kind):
        warn_once(
            origin,
            f"batch_engine {kind!r} is not supported yet, so its settings have no effect: materialization runs in the "
            "process that asks for it (local).",
        )
        return {name: value for name, value in values.items() if name != "batch_engine"}
    if not is_class_path(kind) and kind not in known:
        named = [*known, *COMPUTE_ENGINES.feast_types]
        raise ConfigError(
            f"{origin}: batch_engine.type{shown_if_near(kind, named)} is not known. {suggest(kind, named)}"
        )
    return values


def _held(name: str, value: object) -> object:
    """Returns a setting as the configuration keeps it; from here on, what may hold a secret is not shown."""
    if name not in _SECTION_NAMES:
        return value
    if isinstance(value, RegistryConfig):
        value = value.given()
    if isinstance(value, Mapping):
        return Section(value)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    text = value.strip()
    if name != "registry" and text.lower() in _NO_STORE:
        return None
    if name == "registry" and value:
        return Section({"path": value})
    if name == "online_store" and (kind := _TYPES_OF_URLS.get(text.partition("://")[0].lower())) and "://" in text:
        return Section({"type": kind, "connection_string": text})
    return value


def _explained(error: ValidationError, model: type[BaseModel], origin: str, section: str = "") -> str:
    """Returns the first problem in words, without the values, which may be secrets."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(p) for p in first["loc"]]
    where = ".".join([*([section] if section else []), *path])
    if first["type"] == "extra_forbidden":
        inside = ".".join([*([section] if section else []), *path[:-1]])
        known = suggest(path[-1], _keys(model, path[:-1]))
        return f"{origin}: unknown key {shown_key(path[-1])}{f' in {inside}' if inside else ''}. {known}"
    if first["type"] == "missing":
        return f"{origin}: the key {where!r} is missing."
    said = first["msg"].removeprefix("Value error, ")
    return f"{origin}: {where + ': ' if where else ''}{said}"


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Returns the keys that a model knows at a path."""
    for part in path:
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    keys = [f.alias or name for name, f in model.model_fields.items() if name != "repo_path"]
    if issubclass(model, Settings):
        return [*keys, *model.feast_keys]
    return [*keys, *SECTIONS, *OLD_KEYS] if model is RepoConfig else keys


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
