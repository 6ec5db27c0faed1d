"""The section ``streams`` of ``feature_store.yaml``: how streams are consumed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer, field_validator

from feast_assets.settings.redaction import HIDDEN, is_secret_name


class SchemaRegistrySettings(BaseModel):
    """The schema registry of `ConfluentAvroFormat`.

    Args:
        url: of the registry.
        username, password: for basic authentication.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str = ""
    username: str = ""
    password: SecretStr = SecretStr("")

    def revealed(self) -> dict[str, str]:
        """Returns the settings, secrets and all."""
        return {"url": self.url, "username": self.username, "password": self.password.get_secret_value()}


class StreamSettings(BaseModel):
    """Settings of consumers of streams.

    Args:
        kafka: settings of librdkafka for all Kafka sources, such as ``security.protocol: SASL_SSL``. They are not
            shown, as they may hold secrets.
        kinesis_endpoint: the URL of Kinesis; left out, that of AWS for the source's region.
        schema_registry: see `SchemaRegistrySettings`.
        dead_letters: the folder of messages that cannot be taken; relative to the feature repository.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kafka: dict[str, str | int | float | bool | None] = Field(default_factory=dict, repr=False)
    kinesis_endpoint: str = ""
    schema_registry: SchemaRegistrySettings = Field(default_factory=SchemaRegistrySettings)
    dead_letters: str = "data/dead_letters"

    @field_validator("dead_letters")
    @classmethod
    def _a_path(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must be the path of a folder")
        return value

    @field_serializer("kafka")
    def _without_secrets(self, value: dict[str, object]) -> dict[str, object]:
        # Certificates and keys may be given as texts, under names that do not sound like secrets.
        plain = (int, float, bool, type(None))
        shown = ("security.protocol", "sasl.mechanism", "sasl.mechanisms", "bootstrap.servers", "client.id")
        return {
            name: given if (isinstance(given, plain) or name in shown) and not is_secret_name(name) else HIDDEN
            for name, given in value.items()
        }
