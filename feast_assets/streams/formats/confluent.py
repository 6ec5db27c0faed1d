"""Messages that are Avro records whose schema is in a schema registry.

A message begins with a zero byte and four bytes of the schema's number; the record follows. Every schema is asked for
once. It is read with the writer's schema, so fields that were added or removed since are no matter.
"""

from __future__ import annotations

import base64
import http.client
import json
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feast_assets.errors import ConfigError, DefinitionError, StoreUnavailableError, reason_of
from feast_assets.streams.formats.avro import parsed_schema, read_record
from feast_assets.streams.formats.base import Decoder, MessageError

if TYPE_CHECKING:
    from feast_assets.streams.columns import StreamColumn

_NO_SCHEMA = "the schema registry has no schema {}."
_HEADER = struct.Struct(">bI")
_SECONDS = 10.0
_LARGEST_ANSWER = 16 << 20
_ASK_AGAIN_SECONDS = 10.0
"""After which a schema that was not there is asked for again."""
_MISSING_KEPT = 10_000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Does not follow an answer to another place, which would be told the password."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class SchemaRegistry:
    """Asks a schema registry for schemas by number, each one once.

    Args:
        url: of the registry, ``http`` or ``https``.
        username, password: "" for none.
    """

    def __init__(self, url: str, username: str = "", password: str = ""):
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(
                "ConfluentAvroFormat needs the URL of a schema registry: schema_registry_url, or url in the section "
                "streams.schema_registry of feature_store.yaml."
            )
        if "@" in urlsplit(url).netloc:
            raise ConfigError(
                "The URL of the schema registry must not hold a name and a password. Set username and password in the "
                "section streams.schema_registry of feature_store.yaml."
            )
        self._url = url.rstrip("/")
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if username or password:
            word = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {word}"
        self._schemas: dict[int, object] = {}
        self._missing: dict[int, float] = {}

    def schema(self, number: int) -> object:
        """Returns the Avro schema of a number, as fastavro takes it.

        Raises:
            MessageError: there is no such schema, or it is none of Avro.
            StoreUnavailableError: the registry cannot be reached.
        """
        if number not in self._schemas:
            # A message may hold any number; each one that is wrong is not asked for with every attempt to decode it.
            if self._missing.get(number, 0.0) > time.monotonic():
                raise MessageError(_NO_SCHEMA.format(number))
            self._schemas[number] = self._asked(number)
        return self._schemas[number]

    def _asked(self, number: int) -> object:
        # The scheme was checked.
        request = urllib.request.Request(f"{self._url}/schemas/ids/{number}", headers=self._headers)  # noqa: S310
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                said = answer.read(_LARGEST_ANSWER + 1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    self._note_missing(number)
                    raise MessageError(_NO_SCHEMA.format(number)) from None
                raise StoreUnavailableError(f"The schema registry answered with status {error.code}.") from None
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailableError(f"The schema registry cannot be read: {reason_of(error)}") from error
        content = self._content(said)
        kind = content.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise MessageError(f"schema {number} is of type {kind}, not AVRO.")
        if content.get("references"):
            raise MessageError(f"schema {number} refers to other schemas, which is not supported.")
        try:
            return parsed_schema(content["schema"])
        except (DefinitionError, KeyError) as error:
            raise MessageError(f"schema {number} of the schema registry is no Avro schema of a record.") from error

    def _content(self, said: bytes) -> dict[str, Any]:
        """Returns what an answer holds; whatever a registry does not answer says nothing about a message."""
        try:
            content = json.loads(said) if len(said) <= _LARGEST_ANSWER else None
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or not isinstance(content.get("schema"), str):
            raise StoreUnavailableError(f"What answers at {self._url} is no schema registry.")
        return content

    def _note_missing(self, number: int) -> None:
        if len(self._missing) >= _MISSING_KEPT:
            self._missing.clear()
        self._missing[number] = time.monotonic() + _ASK_AGAIN_SECONDS


class ConfluentAvroDecoder(Decoder):
    """Decodes one Avro record with the number of its schema a message."""

    def __init__(self, columns: Sequence[StreamColumn], registry: SchemaRegistry):
        super().__init__(columns)
        self._registry = registry

    def fields(self, value: bytes) -> Mapping[str, object]:
        if len(value) < _HEADER.size or value[0] != 0:
            raise MessageError("it does not begin with a zero byte and the number of a schema.")
        _, number = _HEADER.unpack_from(value)
        return read_record(value[_HEADER.size :], self._registry.schema(number))
