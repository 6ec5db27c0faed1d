"""A reference to credentials that are kept elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_TAG = "feast.connection-ref."
_PARAMETER = f"{_TAG}param."
_TAGS = {
    name: f"{_TAG}{name.replace('_', '-')}"
    for name in ("provider", "name", "namespace", "connection_type", "auth_type")
}


@dataclass(frozen=True)
class ConnectionRef:
    """Names a connection and where its credentials are kept, such as a Kubernetes secret.

    It can be made and read; no source takes it yet, since nothing here resolves it.

    Attributes:
        provider: the system that keeps the credentials.
        name: theirs in that system.
        namespace: where in that system they are.
        connection_type: the type of store that they are for.
        auth_type: how they authenticate.
        params: settings that are no secrets.
    """

    provider: str
    name: str
    namespace: str = ""
    connection_type: str = ""
    auth_type: str = "secret"
    params: Mapping[str, str] = field(default_factory=dict)

    def to_tags(self) -> dict[str, str]:
        """Returns it as tags of a data source, as Feast stores it."""
        values = {name: getattr(self, name) for name in _TAGS}
        given = {name: value for name, value in values.items() if value and (name, value) != ("auth_type", "secret")}
        tags = {_TAGS[name]: value for name, value in given.items()}
        return {**tags, **{f"{_PARAMETER}{name}": value for name, value in self.params.items()}}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> ConnectionRef | None:
        """Returns what `to_tags` wrote; None where the tags name no provider or no connection."""
        values = {name: tags[tag] for name, tag in _TAGS.items() if tags.get(tag)}
        if not {"provider", "name"} <= values.keys():
            return None
        params = {tag.removeprefix(_PARAMETER): value for tag, value in tags.items() if tag.startswith(_PARAMETER)}
        return cls(**values, params=params)
