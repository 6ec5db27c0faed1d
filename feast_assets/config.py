"""``feature_store.yaml``: which project this is, and where its registry and stores are.

A store is found by its ``type`` among the entry points ``feast_assets.online_stores``, ``.offline_stores`` and
``.registries``; its class is imported when it is first needed.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    PrivateAttr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from feast_assets.backends import OFFLINE_STORES, ONLINE_STORES, REGISTRIES, Backends
from feast_assets.definitions.deployments import namespace
from feast_assets.definitions.project import check_project_name
from feast_assets.errors import ConfigError, suggest

if TYPE_CHECKING:
    from feast_assets.offline_stores.base import OfflineStore
    from feast_assets.online_stores.base import OnlineStore
    from feast_assets.registry.base import Registry

FILE_NAME = "feature_store.yaml"
FILE_VARIABLE = "FEAST_FS_YAML_FILE_PATH"

# Feast's keys for what is not here, with what leaves it off.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "batch_engine": ("local", {"type": "local"}),
    "feature_server": ({"enabled": False}, {"type": "local"}, {"type": "local", "enabled": False}),
    "embedding_model": (),
    "materialization": ({"pull_latest_features": False},),
    "openlineage": ({"enabled": False},),
    "mlflow": ({"enabled": False},),
    "data_quality_monitoring": ({"auto_baseline": True}, {"auto_baseline": False}),
}
_UNSET_VARIABLE = re.compile(r"\$\{\w+\}")


class RepoConfig(BaseModel):
    """What ``feature_store.yaml`` says; can be made in Python with the same names.

    Args:
        project: letters, digits, underscores and hyphens.
        deployment: such as the name of a branch: it reads the same sources, and has definitions, online rows and kept
            results of its own. ``""`` is production.
        registry: a file path, a database URL, or a mapping: see `feast_assets.registry.sql_config.SqlRegistryConfig`.
        provider: only "local".
        online_store: a type, or a mapping with ``type``; "none" or None for no online store. ``sqlite`` when left out.
        offline_store: likewise; ``duckdb`` when left out. Feast's ``file`` and ``dask`` mean the same.
        auth: only "no_auth".
        entity_key_serialization_version: Feast's; has no effect, because keys are stored in a form of our own.
        coerce_tz_aware: only true: naive times are UTC.
        enforce_online_ttl: whether online values older than their view's ttl are withheld, with the status
            OUTSIDE_MAX_AGE; false serves them, as Feast does.
        historical_on_demand_inputs: whether `get_historical_features` also returns the stored features that on-demand
            views take, as Feast does.

    Raises:
        ConfigError: a key is not known, or a value is not one of those that are supported.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=False, arbitrary_types_allowed=True)

    project: str
    deployment: str = ""
    project_description: str | None = None
    provider: str = "local"
    registry_section: Any = Field(alias="registry")
    online_store_section: Any = Field(default="sqlite", alias="online_store")
    offline_store_section: Any = Field(default="duckdb", alias="offline_store")
    auth: Any = "no_auth"
    entity_key_serialization_version: int = 3
    coerce_tz_aware: bool = True
    enforce_online_ttl: bool = True
    historical_on_demand_inputs: bool = False
    flags: Any = None
    repo_path: Path | None = None

    _origin: str = PrivateAttr("RepoConfig")

    def __init__(self, **values: Any):
        origin = values.pop("_origin", "RepoConfig")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explained(error, type(self), origin)) from None
        self._origin = origin
        if self.flags:
            warnings.warn(f"{origin}: flags have no effect; remove them.", stacklevel=2)

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_here(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name, off in _UNSUPPORTED.items():
            if values.get(name) and values[name] not in off:
                raise ValueError(f"{name!r} is not supported; remove it.")
        if values.get("registry") in (None, ""):
            raise ValueError("'registry' must say where definitions are kept, for example registry: data/registry.db")
        return {k: v for k, v in values.items() if k not in _UNSUPPORTED}

    @field_validator("project")
    @classmethod
    def _valid_project(cls, value: str) -> str:
        return check_project_name(value)

    @field_validator("provider")
    @classmethod
    def _only_local(cls, value: str) -> str:
        if value != "local":
            raise ValueError(
                f"{value!r} is not supported; use local, and choose stores by online_store and offline_store"
            )
        return value

    @field_validator("registry_section", "online_store_section", "offline_store_section")
    @classmethod
    def _a_section(cls, value: Any) -> Any:
        if value is None or isinstance(value, (str, BaseModel)) or (isinstance(value, Mapping) and value):
            return value
        raise ValueError("must be a text or a mapping with type")

    @field_validator("auth")
    @classmethod
    def _no_auth(cls, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else value
        if kind not in (None, "no_auth") or (isinstance(value, Mapping) and set(value) != {"type"}):
            raise ValueError(f"auth type {kind!r} is not supported; use no_auth, or leave auth out")
        return value

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
        """The project as registry and online store know it: of its own for each deployment."""
        return namespace(self.project, self.deployment)

    @property
    def registry(self) -> Any:
        """The registry's typed settings."""
        return self._settings(REGISTRIES, _registry_section(self.registry_section))

    @property
    def online_store(self) -> Any:
        """The online store's typed settings; None where there is none."""
        if self.online_store_section is None or self.online_store_section in ("none", "null", {"type": "none"}):
            return None
        return self._settings(ONLINE_STORES, self.online_store_section)

    @property
    def offline_store(self) -> Any:
        """The offline store's typed settings."""
        return self._settings(OFFLINE_STORES, self.offline_store_section or "duckdb")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # Sections may hold passwords; their typed settings know which.
        for name, value in super().__repr_args__():
            yield name, "..." if str(name).endswith("_section") and not isinstance(value, BaseModel) else value

    @field_serializer("registry_section", "online_store_section", "offline_store_section")
    def _without_secrets(self, value: Any, info: FieldSerializationInfo) -> Any:
        # As for what is shown: a section may hold passwords, and only its typed settings know where.
        settings = getattr(self, str(info.field_name).removesuffix("_section"))
        return None if settings is None else settings.model_dump(mode="json")

    def _settings(self, backends: Backends, section: Any) -> Any:
        """Returns a section as the backend's own model."""
        if isinstance(section, BaseModel):
            return section
        values = {backends.key: section} if isinstance(section, str) else {str(k): v for k, v in section.items()}
        if backends.key not in values:
            raise ConfigError(
                f"{self._origin}: {backends.section} has no {backends.key!r}. Known: {', '.join(backends.types())}."
            )
        kind = backends.type_of(str(values[backends.key]), self._origin)
        model: type[BaseModel] = backends.load(kind, self._origin).config_class
        try:
            return model(**{**values, backends.key: backends.written(str(values[backends.key]), kind)})
        except ValidationError as error:
            raise ConfigError(_explained(error, model, self._origin, backends.section)) from None


def find_config_file(repo_path: Path, fs_yaml_file: Path | None = None) -> Path:
    """Returns the file to read: the one given, else the one FEAST_FS_YAML_FILE_PATH names, else the repository's."""
    if fs_yaml_file is not None:
        return Path(fs_yaml_file)
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else Path(repo_path) / FILE_NAME


def load_repo_config(path: Path, fs_yaml_file: Path | None = None) -> RepoConfig:
    """Reads a ``feature_store.yaml``. ``$NAME`` and ``${NAME}`` are replaced by environment variables.

    Args:
        path: the file, or a directory: then see `find_config_file`.
        fs_yaml_file: a file elsewhere, instead.

    Raises:
        ConfigError: there is no such file, or it is wrong; says what and where.
    """
    path = Path(path)
    file = path if path.is_file() and fs_yaml_file is None else find_config_file(path, fs_yaml_file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {file}. Run this in a feature repository, or make one with `feast-assets init`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {file}: {error}") from error
    try:
        values = yaml.load(os.path.expandvars(text), Loader=_NoRepeats)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {_first_lines(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} must hold settings such as 'project: my_project', but it holds {_kind(values)}.")
    _check_variables(values, "", file)
    return RepoConfig(**{str(k): v for k, v in values.items()}, _origin=str(file))


def make_online_store(config: RepoConfig, root: Path) -> OnlineStore | None:
    """Returns the online store that the settings name; None where they turn it off.

    Args:
        root: the directory that relative paths start from.
    """
    settings = config.online_store
    return None if settings is None else ONLINE_STORES.make(settings, config._origin, root)


def make_offline_store(config: RepoConfig, root: Path) -> OfflineStore:
    """Returns the offline store that the settings name."""
    store: OfflineStore = OFFLINE_STORES.make(config.offline_store, config._origin, root)
    return store


def make_registry(config: RepoConfig, root: Path) -> Registry:
    """Returns the project's registry."""
    registry: Registry = REGISTRIES.make(config.registry, config._origin, root, config.namespace)
    return registry


def _registry_section(section: Any) -> Any:
    if isinstance(section, str):
        return {"registry_type": "file", "path": section}
    if isinstance(section, Mapping):
        return {"registry_type": "file", **section}
    return section


class _NoRepeats(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _check_variables(value: Any, where: str, file: Path) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_variables(inner, f"{where}.{key}" if where else str(key), file)
    elif isinstance(value, list):
        for inner in value:
            _check_variables(inner, where, file)
    elif isinstance(value, str) and (found := _UNSET_VARIABLE.search(value)):
        raise ConfigError(f"{file}: {where} uses {found[0]}, but there is no such environment variable; set it.")


def _explained(error: ValidationError, model: type[BaseModel], origin: str, section: str = "") -> str:
    """Returns the first problem in words, without the values, which may be secrets."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = [str(p) for p in first["loc"]]
    where = ".".join([*([section] if section else []), *path])
    if first["type"] == "extra_forbidden":
        inside = ".".join([*([section] if section else []), *path[:-1]])
        known = suggest(path[-1], _keys(model, path[:-1]))
        return f"{origin}: unknown key {path[-1]!r}{f' in {inside}' if inside else ''}. {known}"
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
    return [f.alias or name for name, f in model.model_fields.items() if name != "repo_path"]


def _first_lines(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
