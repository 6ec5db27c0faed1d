"""Feast's keys of ``feature_store.yaml`` that have no effect here. They cause a warning, so that nothing is ignored
silently; a misspelt key is refused."""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.errors import ConfigError, suggest
from feast_assets.settings.redaction import is_type_name, shown_if_near, shown_key
from feast_assets.settings.warn_once import warn_once

CLOUD_PROVIDERS = ("aws", "azure", "gcp")
"""Feast's providers that choose nothing: stores are named by ``online_store`` and ``offline_store``."""

OTHER_PROVIDERS = ("chronon", "unity_catalog")
"""Feast's providers that are not supported here."""

_FEATURE_SERVERS = ("aws_lambda", "gcp_cloudrun", "local", "mcp")

# A key -> the keys below it, where it is a section.
_Keys = Mapping[str, "_Keys | None"]


def _names(text: str) -> dict[str, _Keys | None]:
    return dict.fromkeys(text.split())


SECTIONS: Mapping[str, _Keys] = {
    "feature_server": {
        **_names(
            "type enabled offline_push_batching_enabled offline_push_batching_batch_size "
            "offline_push_batching_batch_interval_seconds transformation_service_endpoint mcp_enabled mcp_server_name "
            "mcp_server_version mcp_transport public execution_role_name"
        ),
        "metrics": _names(
            "enabled resource request online_features push materialization freshness offline_features "
            "feature_count_bins audit_logging"
        ),
        "feature_logging": _names(
            "enabled flush_interval_secs write_to_disk_interval_secs queue_capacity emit_timeout_micro_secs"
        ),
        "audit_logging": _names("enabled sink file_path log_successful_reads"),
    },
    "materialization": _names("pull_latest_features online_write_batch_size"),
    "openlineage": {
        **_names(
            "enabled transport_type transport_url transport_endpoint api_key namespace producer emit_on_apply "
            "emit_on_materialize"
        ),
        "consumer": _names(
            "enabled store_type connection_string api_key namespace_mapping retention_days "
            "retention_check_interval_hours standalone_server"
        ),
    },
    "mlflow": {
        **_names(
            "enabled tracking_uri ui_url auto_log auto_log_entity_df entity_df_max_rows log_operations "
            "ops_experiment_suffix ca_bundle supported_artifact_formats request_timeout max_retries "
            "retry_backoff_factor"
        ),
        "dataset_sync": _names("default_field_mapping watermark_key default_batch_size"),
    },
    "embedding_model": _names("provider model"),
    "data_quality_monitoring": _names("auto_baseline"),
}
"""Feast's sections that are not supported here -> their keys."""

OLD_KEYS = ("flags", "go_feature_retrieval", "go_feature_serving")
"""Top-level keys of older versions of Feast and its plug-ins."""

_OFF_UNLESS_ENABLED = ("openlineage", "mlflow")
_OFF: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "feature_server": ({"enabled": False}, {"type": "local"}, {"type": "local", "enabled": False}),
    "materialization": ({"pull_latest_features": False},),
    "data_quality_monitoring": ({"auto_baseline": True}, {"auto_baseline": False}),
}


def without_feast_keys(values: Mapping[str, object], origin: str) -> dict[str, object]:
    """Returns the settings without Feast's keys that have no effect; warns of each that asks for something.

    Args:
        values: the file's top level.
        origin: the file, for messages.

    Raises:
        ConfigError: a section of Feast's has a key or type that Feast does not know; the message holds no values.
    """
    for name in OLD_KEYS:
        if values.get(name):
            message = f"{name} have no effect" if name == "flags" else f"{name} has no effect"
            warn_once(origin, f"{message}; remove the key.")
    for name, keys in SECTIONS.items():
        section = values.get(name)
        if section is None or section == "":
            continue
        settings = _checked(name, section, keys, origin)
        if not _is_off(name, settings):
            warn_once(origin, f"{name} is not supported yet, so its settings have no effect. Feast reads this section.")
    return {name: value for name, value in values.items() if name not in SECTIONS and name not in OLD_KEYS}


def _is_off(name: str, section: Mapping[str, object]) -> bool:
    if name in _OFF_UNLESS_ENABLED and section.get("enabled") in (None, False, "false"):
        return True
    return not section or section in _OFF.get(name, ())


def _checked(name: str, section: object, keys: _Keys, origin: str) -> Mapping[str, object]:
    if not isinstance(section, Mapping):
        raise ConfigError(f"{origin}: {name} should be a section of settings.")
    if name == "feature_server":
        _check_type(name, section.get("type", "local"), _FEATURE_SERVERS, origin)
    _check_keys(name, section, keys, origin)
    return section


def _check_type(name: str, kind: object, known: tuple[str, ...], origin: str) -> None:
    if kind in known or (is_type_name(kind) and "." in kind and kind.endswith("Engine")):
        return
    if kind is None:
        raise ConfigError(f"{origin}: {name} has no 'type'. {suggest('', known)}")
    raise ConfigError(f"{origin}: {name}.type{shown_if_near(kind, known)} is not known. {suggest(str(kind), known)}")


def _check_keys(name: str, section: Mapping[str, object], keys: _Keys, origin: str) -> None:
    for key, value in section.items():
        if key not in keys:
            raise ConfigError(f"{origin}: unknown key {shown_key(str(key))} in {name}. {suggest(str(key), keys)}")
        if isinstance(value, Mapping) and (below := keys[key]):
            _check_keys(f"{name}.{key}", value, below, origin)
