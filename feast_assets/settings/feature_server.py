"""The section ``feature_server`` of ``feature_store.yaml``: what of it has an effect here."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from feast_assets.settings.warn_once import warn_once

_WITHOUT_EFFECT = ("write_to_disk_interval_secs", "emit_timeout_micro_secs")


class FeatureLoggingSettings(BaseModel):
    """How a feature server logs what it serves, of feature services with a ``logging_config``.

    Args:
        enabled: whether it does.
        flush_interval_secs: seconds after which what was served goes to the services' destinations.
        queue_capacity: how many answers wait for that at most; what is served beyond is not logged, and counted.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    enabled: bool = False
    flush_interval_secs: float = Field(default=600, gt=0, allow_inf_nan=False)
    queue_capacity: int = Field(default=10_000, gt=0)


class FeatureServerSettings(BaseModel):
    """Settings of feature servers; their other options are those of the command ``serve``."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    feature_logging: FeatureLoggingSettings = Field(default_factory=FeatureLoggingSettings)


def feature_logging_of(values: Mapping[str, object], origin: str) -> tuple[dict[str, object], Mapping[str, object]]:
    """Takes the settings of feature logging out of the section ``feature_server``.

    Args:
        values: the file's top level.
        origin: the file, for warnings.

    Returns:
        the file's top level without them, and the settings. Those of Feast's that have no effect are left out with a
        warning.
    """
    section = values.get("feature_server")
    logging = section.get("feature_logging") if isinstance(section, Mapping) else None
    if not isinstance(section, Mapping) or not isinstance(logging, Mapping):
        return dict(values), {}
    for name in _WITHOUT_EFFECT:
        if logging.get("enabled") and name in logging:
            warn_once(origin, f"feature_server.feature_logging.{name} has no effect: answers wait in memory.")
    rest = {name: value for name, value in section.items() if name != "feature_logging"}
    return (
        {**values, "feature_server": rest},
        {name: value for name, value in logging.items() if name not in _WITHOUT_EFFECT},
    )
